//! `attune undo`: what past writes replaced goes back, where nothing changed since. It is shown before it is done.

use std::io::IsTerminal;
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Undo};
use super::exit::Exit;
use super::output::{self, counted, plain, value};
use super::plan::{Kind, Out, spool_item, word};
use super::progress::Progress;
use super::prompt::confirmed;
use super::reach::{self, Reached};
use super::session::{Access, Session, Trouble};
use super::spool::Spool;
use crate::engine::{LeftAlone, Pair, PassReport, Reach, Request, UndoLine, UndoSelection, UndoTotals};
use crate::model::{Mode, Why};

/// What was done in a pair.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
struct Done {
    /// The pass that did it; 0: none, or a daemon's.
    pass: u64,
    /// Put back.
    written: u64,
    /// Still to be put back.
    pending: u64,
    /// Refused, and held.
    held: u64,
}

/// Runs the command.
///
/// # Errors
/// When it could not begin, or was told to stop.
pub async fn run(common: &Common, options: &Undo, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Act, stop).await?;
    let mut reached: Option<Reached> = None;
    let pairs: Vec<Arc<Pair>> = if session.beside {
        reach::recall(&session).await?
    } else {
        let mut progress = Progress::begin();
        let now = reached.insert(reach::reach(&session, Reach::Changes, &mut progress).await?);
        now.pairs().into_iter().cloned().collect()
    };
    let now = session.engine.clock().now();
    let selection = UndoSelection {
        stores: common.store.clone(),
        pass: options.pass.map(|pass| i64::try_from(pass.get()).unwrap_or(i64::MAX)),
        since: options.since.map(|since| since.moment(now)),
        until: options.until.map(|until| until.moment(now)),
        side: options.side.map(Into::into),
        fields: options.field.clone(),
        newest: session.engine.newest_write().await?,
    };
    let outcome = if options.json {
        as_document(&session, &pairs, &selection, options.yes, reached.as_mut()).await
    } else {
        as_text(&session, &pairs, &selection, options, reached.as_mut()).await
    };
    let mut exit = outcome?;
    if let Some(reached) = &mut reached {
        reached.note_torn();
        reached.say_paused();
        reached.troubles.say();
        exit = exit.combine(reached.troubles.exit());
    }
    Ok(exit)
}

/// One document: what is undone, what is left alone, and with `--yes` what became of it.
async fn as_document(
    session: &Session,
    pairs: &[Arc<Pair>],
    selection: &UndoSelection,
    yes: bool,
    reached: Option<&mut Reached>,
) -> Result<Exit, Trouble> {
    let mut planned = Vec::new();
    for pair in pairs {
        let (mut writes, mut left) = (Spool::default(), Spool::default());
        let mut each = |line: UndoLine| {
            let spool = if line.left.is_some() { &mut left } else { &mut writes };
            let reason = line.left.as_ref().map_or_else(|| Why::Undone.as_str().to_owned(), LeftAlone::sentence);
            let item = json!({
                "side": line.side, "store_key": line.store_key, "crm_key": line.crm_key, "field": line.field,
                "old": line.old, "new": line.new, "reason": reason,
            });
            spool_item(spool, &item);
        };
        let totals = session.engine.plan_undo(pair, selection, &mut each).await?;
        planned.push((totals, writes, left));
    }
    let mut done = Vec::new();
    if yes && planned.iter().any(|(totals, ..)| totals.writes() > 0) {
        done = act(session, pairs, selection, reached).await?;
    }
    let mut out = Out::stdout();
    out.text("{\"stores\":[");
    for (at, (pair, (_, writes, left))) in pairs.iter().zip(&mut planned).enumerate() {
        out.text(if at > 0 { "," } else { "" });
        out.text(&format!("{{\"name\":{},\"crm\":{},\"writes\":[", json!(pair.store.name), json!(pair.crm.name)));
        out.pour(writes);
        out.text("],\"left\":[");
        out.pour(left);
        out.text(&format!("],\"done\":{}}}", json!(done.get(at))));
    }
    out.text("]}\n");
    out.end()?;
    Ok(exit_of(session, &done))
}

/// The same for people, who are asked.
async fn as_text(
    session: &Session,
    pairs: &[Arc<Pair>],
    selection: &UndoSelection,
    options: &Undo,
    reached: Option<&mut Reached>,
) -> Result<Exit, Trouble> {
    let mut out = Out::stdout();
    let mut fields = 0;
    for pair in pairs {
        let mut kinds = [Kind::new("Put back", options.all), Kind::new("Left alone", options.all)];
        let mut each = |line: UndoLine| {
            let [writes, left] = &mut kinds;
            let who = format!("customer {} ⇄ contact {}  {}", line.store_key, line.crm_key, line.field);
            let (old, new, side) = (value(line.old.as_ref()), value(line.new.as_ref()), word(line.side));
            match &line.left {
                None => writes.add(|| format!("    {}  {old} → {new} in the {side}\n", plain(&who))),
                Some(why) => {
                    left.add(|| format!("    {}  {old} in the {side}: {}\n", plain(&who), plain(&why.sentence())))
                }
            }
        };
        let totals = session.engine.plan_undo(pair, selection, &mut each).await?;
        fields += totals.writes();
        out.text(&summary(pair, &totals));
        kinds.iter_mut().for_each(|kind| kind.write(&mut out));
    }
    if pairs.is_empty() {
        out.text("Nothing can be undone now.\n");
    }
    out.end()?;
    if fields == 0 {
        return Ok(Exit::Done);
    }
    if !options.yes && !std::io::stdin().is_terminal() {
        output::note("nothing was undone; --yes does it");
        return Ok(Exit::Done);
    }
    let question = format!("Put back {}?", counted(fields, "value", "values"));
    if !options.yes && !confirmed(&question, session.stop()).await {
        output::note("nothing was undone");
        return Ok(Exit::Done);
    }
    let done = act(session, pairs, selection, reached).await?;
    if session.beside {
        let what = counted(fields, "value is", "values are");
        output::show(&format!("{what} put back by the daemon's next pass, which begins now"))?;
    } else {
        let acted = |(_, done): &(&Arc<Pair>, &Done)| done.written + done.pending + done.held > 0;
        for (pair, done) in pairs.iter().zip(&done).filter(acted) {
            output::show(&said(pair, done))?;
        }
    }
    Ok(exit_of(session, &done))
}

fn summary(pair: &Pair, totals: &UndoTotals) -> String {
    let observes = if pair.mode == Mode::Observe { "; it only observes: nothing is sent" } else { "" };
    format!(
        "{} ⇄ {}\n  {} back to the store, {} back to the CRM (of these {} cleared); {} left alone{observes}\n",
        pair.store.name,
        pair.crm.name,
        counted(totals.store_writes, "value", "values"),
        counted(totals.crm_writes, "value", "values"),
        totals.clears,
        totals.left,
    )
}

fn said(pair: &Pair, done: &Done) -> String {
    let who = format!("{} ⇄ {}", pair.store.name, pair.crm.name);
    let pending = if done.pending > 0 { format!(", {} by a later pass", done.pending) } else { String::new() };
    let held = if done.held > 0 { format!(", {} held", done.held) } else { String::new() };
    format!("{who}: {} put back by pass {}{pending}{held}", counted(done.written, "value", "values"), done.pass)
}

/// Does it, or has the daemon do it.
async fn act(
    session: &Session,
    pairs: &[Arc<Pair>],
    selection: &UndoSelection,
    mut reached: Option<&mut Reached>,
) -> Result<Vec<Done>, Trouble> {
    if session.beside {
        let answer = session.ask(&Request::Undo(selection.clone()), Some(session.surroundings.patience)).await?;
        if !answer.done {
            return Err(Trouble::new(Exit::Attention, answer.message));
        }
    }
    let mut done = Vec::new();
    for pair in pairs {
        let mut report = PassReport::default();
        if !session.beside && session.engine.want_undo(pair, selection).await? > 0 {
            report = match session.engine.undo(pair).await {
                Ok(report) => report,
                Err(error) => PassReport { failure: Some(error), ..PassReport::default() },
            };
        }
        if let Some(error) = report.failure.take() {
            let crate::engine::Error::Source { side, name, .. } = &error else { return Err(error.into()) };
            if session.stop().is_cancelled() {
                return Err(Trouble::stopped());
            }
            if let Some(reached) = reached.as_deref_mut() {
                reached.troubles.note(*side, name, &error);
                reach::note_failure(session, *side, name, &error).await?;
            }
        }
        done.push(Done {
            pass: report.pass,
            written: report.balance.store_writes + report.balance.crm_writes,
            pending: session.engine.undo_pending(pair).await?,
            held: report.newly_held,
        });
    }
    Ok(done)
}

/// What the daemon has taken is done.
fn exit_of(session: &Session, done: &[Done]) -> Exit {
    let waits = done.iter().any(|done| done.pending + done.held > 0);
    if waits && !session.beside { Exit::Attention } else { Exit::Done }
}
