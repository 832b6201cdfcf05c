//! `attune plan`: what a pass would write, and what it costs. It writes nothing anywhere but observations.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Plan};
use super::exit::Exit;
use super::output::{self, counted, plain, value};
use super::progress::Progress;
use super::reach::{self, Reached};
use super::session::{Access, Session, Trouble};
use super::spool::Spool;
use crate::engine::{Pair, PlanLine, PlanTotals, Planned, Reach};
use crate::model::{Side, Why};

/// Lines of a kind that are shown without `--all`.
const LINES_SHOWN: u64 = 20;

/// Runs the command.
///
/// # Errors
/// When it could not begin, or its output cannot be written.
pub async fn run(common: &Common, options: &Plan, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Act, stop).await?;
    let mut progress = Progress::begin();
    let mut reached: Option<Reached> = None;
    let pairs: Vec<Arc<Pair>> = if session.beside {
        reach::recall(&session).await?
    } else {
        let now = reached.insert(reach::reach(&session, Reach::Changes, &mut progress).await?);
        now.pairs().into_iter().cloned().collect()
    };
    drop(progress);
    let writes = if options.json {
        as_document(&session, &pairs).await?
    } else {
        as_text(&session, &pairs, options.all).await?
    };
    let mut exit = Exit::Done;
    if let Some(reached) = &mut reached {
        reached.note_torn();
        reached.say_paused();
        reached.troubles.say();
        exit = reached.troubles.exit();
    }
    if options.exit_code && writes > 0 {
        exit = exit.combine(Exit::Attention);
    }
    Ok(exit)
}

/// One document, written as it is found: writes at once, the rarer kinds after them. Answers how many writes there are.
async fn as_document(session: &Session, pairs: &[Arc<Pair>]) -> Result<u64, Trouble> {
    let mut out = Out::stdout();
    let mut totals = Vec::new();
    out.text("{\"stores\":[");
    for (at, pair) in pairs.iter().enumerate() {
        let (name, crm) = (json!(pair.store.name), json!(pair.crm.name));
        out.text(if at > 0 { "," } else { "" });
        out.text(&format!("{{\"name\":{name},\"crm\":{crm},\"writes\":["));
        let (mut conflicts, mut held) = (Spool::default(), Spool::default());
        let mut first = true;
        let mut sink = |line: PlanLine| match written(&line) {
            Some(write) => {
                out.item(&write, &mut first);
                if let Some(conflict) = conflict(&line) {
                    spool_item(&mut conflicts, &conflict);
                }
            }
            None => spool_item(&mut held, &held_item(&line)),
        };
        let total = session.engine.plan(pair, &mut sink).await?;
        out.text("],\"conflicts\":[");
        out.pour(&mut conflicts);
        out.text("],\"held\":[");
        out.pour(&mut held);
        let calls = json!({ "store": total.store_cost, "crm": total.crm_cost });
        out.text(&format!("],\"calls\":{calls},\"seconds\":{}}}", json!(total.seconds)));
        totals.push(total);
    }
    out.text(&format!("],\"digest\":{}}}\n", json!(PlanTotals::digest(&totals))));
    out.end()?;
    Ok(totals.iter().map(PlanTotals::writes).sum())
}

fn written(line: &PlanLine) -> Option<Json> {
    let Planned::Write { side, old, new, why } = &line.what else { return None };
    Some(json!({
        "side": side, "store_key": line.store_key, "crm_key": line.crm_key, "field": line.field,
        "old": old, "new": new, "reason": why.as_str(),
    }))
}

/// A write that decides a conflict is one of the conflicts too.
fn conflict(line: &PlanLine) -> Option<Json> {
    let Planned::Write { side, why: Why::Conflict, .. } = &line.what else { return None };
    Some(json!({
        "store_key": line.store_key, "crm_key": line.crm_key, "field": line.field,
        "store_value": line.store_value, "crm_value": line.crm_value, "winner": side.other(),
    }))
}

fn held_item(line: &PlanLine) -> Json {
    let reason = if let Planned::Hold(reason) = &line.what { reason.as_str() } else { "" };
    json!({
        "store_key": line.store_key, "crm_key": line.crm_key, "field": line.field, "reason": reason,
        "store_value": line.store_value, "crm_value": line.crm_value,
    })
}

pub(super) fn spool_item(spool: &mut Spool, item: &Json) {
    let comma = if spool.pieces() > 0 { "," } else { "" };
    spool.add(format!("{comma}{item}").as_bytes());
}

/// Stdout that remembers its first failure, for lines that come from where none can be told.
pub(super) struct Out<W> {
    to: W,
    failed: Option<io::Error>,
}

impl Out<io::BufWriter<io::Stdout>> {
    pub(super) fn stdout() -> Self {
        Self { to: output::stdout(), failed: None }
    }
}

impl<W: Write> Out<W> {
    fn attempt(&mut self, write: impl FnOnce(&mut W) -> io::Result<()>) {
        if self.failed.is_none() {
            self.failed = write(&mut self.to).err();
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.attempt(|to| to.write_all(text.as_bytes()));
    }

    fn item(&mut self, item: &Json, first: &mut bool) {
        let comma = if std::mem::take(first) { "" } else { "," };
        self.attempt(|to| write!(to, "{comma}{item}"));
    }

    pub(super) fn pour(&mut self, spool: &mut Spool) {
        self.attempt(|to| spool.pour(to));
    }

    pub(super) fn end(mut self) -> Result<(), Trouble> {
        self.attempt(Write::flush);
        self.failed.map_or(Ok(()), |error| Err(output::unwritable(error)))
    }
}

/// The same for people: totals first, then lines of each kind. Answers how many writes there are.
async fn as_text(session: &Session, pairs: &[Arc<Pair>], all: bool) -> Result<u64, Trouble> {
    let mut out = Out::stdout();
    let mut totals = Vec::new();
    for pair in pairs {
        let mut kinds = [
            Kind::new("Writes", all),
            Kind::new("Conflicts that the mapping decides", all),
            Kind::new("Held for a person", all),
        ];
        let mut sink = |line: PlanLine| {
            let [writes, conflicts, held] = &mut kinds;
            match &line.what {
                Planned::Write { side, old, new, why } => {
                    writes.add(|| {
                        line_of(
                            &line,
                            &format!(
                                "{} → {} in the {} ({})",
                                value(old.as_ref()),
                                value(new.as_ref()),
                                word(*side),
                                why.as_str()
                            ),
                        )
                    });
                    if *why == Why::Conflict {
                        conflicts.add(|| line_of(&line, &format!("{}; the {} wins", both(&line), word(side.other()))));
                    }
                }
                Planned::Hold(reason) => held.add(|| line_of(&line, &format!("{}: {reason}", both(&line)))),
            }
        };
        let total = session.engine.plan(pair, &mut sink).await?;
        out.text(&summary(pair, &total));
        for kind in &mut kinds {
            kind.write(&mut out);
        }
        out.text("\n");
        totals.push(total);
    }
    if pairs.is_empty() {
        out.text("Nothing can be planned.\n");
    } else {
        let digest = PlanTotals::digest(&totals);
        out.text(&format!(
            "Digest {digest}\n`attune sync --expect {digest}` writes this, or nothing if it has changed.\n"
        ));
    }
    out.end()?;
    Ok(totals.iter().map(PlanTotals::writes).sum())
}

/// The lines of one kind: as many as are shown, and how many there are.
pub(super) struct Kind {
    title: &'static str,
    most: u64,
    count: u64,
    lines: Spool,
}

impl Kind {
    pub(super) fn new(title: &'static str, all: bool) -> Self {
        Self { title, most: if all { u64::MAX } else { LINES_SHOWN }, count: 0, lines: Spool::default() }
    }

    pub(super) fn add(&mut self, line: impl FnOnce() -> String) {
        self.count += 1;
        if self.count <= self.most {
            self.lines.add(line().as_bytes());
        }
    }

    pub(super) fn write(&mut self, out: &mut Out<impl Write>) {
        if self.count == 0 {
            return;
        }
        out.text(&format!("  {}: {}\n", self.title, self.count));
        out.pour(&mut self.lines);
        if self.count > self.most {
            out.text(&format!("    … and {} more: --all shows them\n", self.count - self.most));
        }
    }
}

fn line_of(line: &PlanLine, what: &str) -> String {
    let customer = line.store_key.as_ref().map(|key| format!("customer {key}"));
    let contact = line.crm_key.as_ref().map(|key| format!("contact {key}"));
    let who = [customer, contact].into_iter().flatten().collect::<Vec<_>>().join(" ⇄ ");
    let field = line.field.as_ref().map(|field| format!("  {field}")).unwrap_or_default();
    format!("    {}  {what}\n", plain(&format!("{who}{field}")))
}

/// What both sides hold; nothing to say of a record.
fn both(line: &PlanLine) -> String {
    if line.field.is_none() {
        return "the record".to_owned();
    }
    format!("store {}, CRM {}", value(line.store_value.as_ref()), value(line.crm_value.as_ref()))
}

pub(super) const fn word(side: Side) -> &'static str {
    match side {
        Side::Store => "store",
        Side::Crm => "CRM",
    }
}

fn summary(pair: &Pair, total: &PlanTotals) -> String {
    let mut text = format!("{} ⇄ {}\n", pair.store.name, pair.crm.name);
    let _ = writeln!(
        text,
        "  {} to the store, {} to the CRM (of these {} cleared, {} in conflict); {} held, {} pending",
        counted(total.store_writes, "value", "values"),
        counted(total.crm_writes, "value", "values"),
        total.clears,
        total.conflicts,
        total.held,
        total.pending
    );
    if total.store_creates + total.crm_creates > 0 {
        let _ = writeln!(
            text,
            "  {} and {} made for lack of a partner",
            counted(total.store_creates, "customer", "customers"),
            counted(total.crm_creates, "contact", "contacts")
        );
    }
    if total.links + total.unlinked > 0 {
        let _ = writeln!(
            text,
            "  {} made, {} ended because a record is gone",
            counted(total.links, "link", "links"),
            total.unlinked
        );
    }
    let cost = |side: Side| {
        let cost = if side == Side::Store { total.store_cost } else { total.crm_cost };
        let (reads, writes) = (counted(cost.reads, "read", "reads"), counted(cost.writes, "write", "writes"));
        format!("{reads} and {writes} at the {}", word(side))
    };
    let time = output::lasting(Duration::from_secs_f64(total.seconds.clamp(0.0, 1e9)));
    let _ = writeln!(text, "  Calls: {}, {}; at least {time}", cost(Side::Store), cost(Side::Crm));
    for crossed in &total.crossed {
        let _ = writeln!(
            text,
            "  The rail `{}` would stop it: {} in 24 hours, where {} are allowed; `attune approve {}` after a `sync`",
            crossed.rail, crossed.count, crossed.limit, pair.store.name
        );
    }
    text
}
