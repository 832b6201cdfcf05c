//! `attune sync`: one pass over every pair.

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Sync};
use super::exit::Exit;
use super::output::{self, counted, plain};
use super::progress::Progress;
use super::reach::{self, Reached};
use super::session::{Access, Session, Trouble, exit_of_class};
use crate::daemon::{Blueprint, Failed, Fleet, SyncOutcome};
use crate::engine::{Balance, Error, Pair, PairStatus, PassOptions, PlanTotals, Reach, ReadBack, Request};
use crate::model::Side;
use crate::telemetry::Event;

/// What one store needs from another through a shared CRM takes another round; so many at the most.
const ROUNDS_MAX: usize = 5;

/// Differing fields that are named after `--limit`.
const DIFFERING_SHOWN: usize = 20;

/// Runs the command.
///
/// # Errors
/// When it could not begin, or was told to stop.
pub async fn run(common: &Common, options: &Sync, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Act, stop).await?;
    if session.beside {
        return ask_daemon(common, &session, options).await;
    }
    let mut progress = Progress::begin();
    let depth = if options.sweep { Reach::Sweep } else { Reach::Changes };
    let mut reached = reach::reach(&session, depth, &mut progress).await?;
    let pairs: Vec<Arc<Pair>> = reached.pairs().into_iter().cloned().collect();
    if let Some(expected) = &options.expect {
        let found = digest(&session, &pairs).await?;
        if found != *expected {
            drop(progress);
            reached.troubles.say();
            let moved = Trouble::from(Error::PlanMoved { found });
            return Err(Trouble { exit: moved.exit.combine(reached.troubles.exit()), ..moved });
        }
    }
    let limit = options.limit.and_then(|limit| usize::try_from(limit.get()).ok());
    let passes = pass(&session, &pairs, limit, &mut reached).await?;
    let back = if limit.is_some() { read_back(&session, &passes, &mut reached).await? } else { Vec::new() };
    drop(progress);
    reached.note_torn();
    report(&session, &reached, &passes, &back, options).await
}

/// What the passes of one pair came to.
struct Passed {
    pair: Arc<Pair>,
    /// The number of the last that had something to look at.
    number: u64,
    /// Of all rounds: what was looked at in the first, what was written in any.
    balance: Balance,
}

/// Passes over every pair, and again while what one wrote is news to another.
async fn pass(
    session: &Session,
    pairs: &[Arc<Pair>],
    limit: Option<usize>,
    reached: &mut Reached,
) -> Result<Vec<Passed>, Trouble> {
    let mut passes: Vec<Passed> =
        pairs.iter().map(|pair| Passed { pair: Arc::clone(pair), number: 0, balance: Balance::default() }).collect();
    for round in 0..ROUNDS_MAX {
        let mut written = 0;
        for passed in &mut passes {
            if !reached.is_sound(&passed.pair) {
                continue;
            }
            match session.engine.pass(&passed.pair, PassOptions { limit }).await {
                Ok(report) => {
                    written += report.balance.written;
                    passed.number = passed.number.max(report.pass);
                    passed.take(round, &report.balance);
                    if let Some(error) = report.failure {
                        failed(session, &passed.pair, report.pass, error, reached).await?;
                    }
                }
                Err(error) => failed(session, &passed.pair, 0, error, reached).await?,
            }
        }
        if written == 0 || pairs.len() < 2 || limit.is_some() {
            break;
        }
    }
    Ok(passes)
}

impl Passed {
    fn take(&mut self, round: usize, balance: &Balance) {
        if round == 0 {
            self.balance = *balance;
            return;
        }
        self.balance.written += balance.written;
        self.balance.store_writes += balance.store_writes;
        self.balance.crm_writes += balance.crm_writes;
        self.balance.conflicts += balance.conflicts;
        self.balance.links_created += balance.links_created;
    }
}

/// A source's failure is noted, so that other pairs go on; any other ends the command.
async fn failed(session: &Session, pair: &Pair, pass: u64, error: Error, reached: &mut Reached) -> Result<(), Trouble> {
    let Error::Source { side, name, failure } = &error else { return Err(error.into()) };
    if session.stop().is_cancelled() {
        return Err(Trouble::stopped());
    }
    Event::PassFailed {
        pair: pair.event(),
        pass,
        duration_ms: 0,
        class: failure.class,
        reason: &failure.message,
        status: failure.status.map(u64::from),
        request_id: failure.request_id.as_deref(),
        retry_in_ms: None,
        detail: failure.detail.as_deref(),
    }
    .emit();
    reached.troubles.note(*side, name, &error);
    reach::note_failure(session, *side, name, &error).await
}

async fn digest(session: &Session, pairs: &[Arc<Pair>]) -> Result<String, Trouble> {
    let mut totals = Vec::new();
    for pair in pairs {
        totals.push(session.engine.plan(pair, &mut |_| {}).await?);
    }
    Ok(PlanTotals::digest(&totals))
}

/// Reads both sides of what was written again.
async fn read_back(
    session: &Session,
    passes: &[Passed],
    reached: &mut Reached,
) -> Result<Vec<(Arc<Pair>, ReadBack)>, Trouble> {
    let mut found = Vec::new();
    for passed in passes {
        if passed.number == 0 || !reached.is_sound(&passed.pair) {
            continue;
        }
        match session.engine.read_back(&passed.pair, passed.number).await {
            Ok(back) => found.push((Arc::clone(&passed.pair), back)),
            Err(error) => failed(session, &passed.pair, passed.number, error, reached).await?,
        }
    }
    Ok(found)
}

/// How a pair stands after all, whether it was passed over or not.
struct Standing {
    store: String,
    crm: String,
    status: PairStatus,
    balance: Balance,
}

async fn report(
    session: &Session,
    reached: &Reached,
    passes: &[Passed],
    back: &[(Arc<Pair>, ReadBack)],
    options: &Sync,
) -> Result<Exit, Trouble> {
    let mut exit = reached.troubles.exit();
    let standings = standings(session, reached, passes).await?;
    for standing in &standings {
        let status = &standing.status;
        if status.held > 0 || status.pending > 0 || status.state == "stopped" {
            exit = exit.combine(Exit::Attention);
        }
    }
    if back.iter().any(|(_, back)| !back.differing.is_empty()) {
        exit = exit.combine(Exit::Attention);
    }
    if options.json {
        output::document(&document(reached, &standings, back))?;
    } else {
        for standing in &standings {
            let is_told =
                reached.troubles.has(Side::Store, &standing.store) || reached.troubles.has(Side::Crm, &standing.crm);
            output::show(&text_of(standing, is_told))?;
        }
        for (pair, back) in back {
            output::show(&text_of_back(pair, back))?;
        }
    }
    reached.say_paused();
    reached.troubles.say();
    Ok(exit)
}

/// In the configuration's order. A pair that was not passed over stands as it is remembered, where it is.
async fn standings(session: &Session, reached: &Reached, passes: &[Passed]) -> Result<Vec<Standing>, Trouble> {
    let of = |store: &str, crm: &str| passes.iter().find(|p| p.pair.store.name == store && p.pair.crm.name == crm);
    let Blueprint { sources, pairs } = &reached.blueprint;
    let resting: Vec<_> = pairs.iter().filter(|plan| of(&plan.store, &plan.crm).is_none()).cloned().collect();
    let remembered = if resting.is_empty() {
        Vec::new()
    } else {
        Fleet::recall(&session.engine, &Blueprint { sources: sources.clone(), pairs: resting }).await.pairs
    };
    let mut standings = Vec::new();
    for plan in pairs {
        let slot = remembered.iter().find(|slot| slot.plan.store == plan.store && slot.plan.crm == plan.crm);
        let (pair, balance) = match (of(&plan.store, &plan.crm), slot.and_then(|slot| slot.pair.as_ref())) {
            (Some(passed), _) => (&passed.pair, passed.balance),
            (None, Some(Ok(pair))) => (pair, Balance::default()),
            (None, _) => continue,
        };
        let status = session.engine.pair_status(pair).await?;
        standings.push(Standing { store: plan.store.clone(), crm: plan.crm.clone(), status, balance });
    }
    Ok(standings)
}

fn document(reached: &Reached, standings: &[Standing], back: &[(Arc<Pair>, ReadBack)]) -> serde_json::Value {
    let store = |standing: &Standing| {
        let Standing { store, crm, status, balance } = standing;
        json!({
            "name": store, "crm": crm, "state": status.state, "reason": status.reason, "linked": status.linked,
            "pending": status.pending, "held": status.held, "pass": balance,
        })
    };
    let failed = |((side, name), trouble): (&(Side, String), &Trouble)| json!({ "side": side, "name": name, "reason": trouble.message });
    let read = |(pair, back): &(Arc<Pair>, ReadBack)| {
        let differing: Vec<_> = back
            .differing
            .iter()
            .map(|(store, crm, field)| json!({ "store_key": store, "crm_key": crm, "field": field }))
            .collect();
        json!({
            "name": pair.store.name, "crm": pair.crm.name, "records": back.records, "fields": back.fields,
            "differing": differing,
        })
    };
    json!({
        "stores": standings.iter().map(store).collect::<Vec<_>>(),
        "failed": reached.troubles.iter().map(failed).collect::<Vec<_>>(),
        "read_back": back.iter().map(read).collect::<Vec<_>>(),
    })
}

/// `is_told`: why it stands so is said on stderr.
fn text_of(standing: &Standing, is_told: bool) -> String {
    let Standing { store, crm, status, balance } = standing;
    let reason = status.reason.as_deref().filter(|_| !is_told).map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!(
        "{store} ⇄ {crm}: {}{reason}; {} linked, {} to the store, {} to the CRM, {} pending, {} held",
        status.state, status.linked, balance.store_writes, balance.crm_writes, status.pending, status.held
    )
}

fn text_of_back(pair: &Pair, back: &ReadBack) -> String {
    let what = format!(
        "{} ⇄ {}: {} of {} read back:",
        pair.store.name,
        pair.crm.name,
        counted(back.fields, "field", "fields"),
        counted(back.records, "record", "records")
    );
    if back.differing.is_empty() {
        return format!("{what} both sides agree");
    }
    let mut lines = vec![format!("{what} {} not agree yet", counted(back.differing.len() as u64, "does", "do"))];
    for (customer, contact, field) in back.differing.iter().take(DIFFERING_SHOWN) {
        lines.push(plain(&format!("  customer {customer} ⇄ contact {contact}  {field}")));
    }
    lines.join("\n")
}

/// Beside a daemon a pass is asked for, and waited for: it may wait for a quota, which is not failing.
async fn ask_daemon(common: &Common, session: &Session, options: &Sync) -> Result<Exit, Trouble> {
    if options.limit.is_some() || options.expect.is_some() {
        return Err(Trouble::new(Exit::Usage, "a daemon is running: --limit and --expect need it stopped first"));
    }
    let request = Request::Sync { stores: common.store.clone(), sweep: options.sweep };
    let answer = session.ask(&request, None).await?;
    if !answer.done {
        return Err(Trouble::new(Exit::Unreachable, answer.message));
    }
    let SyncOutcome { held, pending, stopped, failed } = serde_json::from_str(&answer.message)
        .map_err(|error| Trouble::new(Exit::Defect, format!("the daemon's answer is unreadable: {error}")))?;
    let mut exit: Exit = failed.iter().map(|failed| exit_of_class(failed.class, failed.status)).collect();
    if held + pending + stopped > 0 {
        exit = exit.combine(Exit::Attention);
    }
    let said = |failed: &Failed| format!("{} {}: {}", failed.side, failed.name, failed.message);
    let standings = remembered(session).await?;
    if options.json {
        let failed: Vec<_> = failed
            .iter()
            .map(|failed| json!({ "side": failed.side, "name": failed.name, "reason": said(failed) }))
            .collect();
        let stores: Vec<_> = standings.iter().map(store_beside).collect();
        output::document(
            &json!({ "stores": stores, "failed": failed, "held": held, "pending": pending, "stopped": stopped }),
        )?;
    } else {
        for (store, crm, status) in &standings {
            let is_told = failed.iter().any(|failed| failed.name == *store || failed.name == *crm);
            let reason = status.reason.as_deref().filter(|_| !is_told);
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            output::show(&plain(&format!(
                "{store} ⇄ {crm}: {}{reason}; {} linked, {} pending, {} held",
                status.state, status.linked, status.pending, status.held
            )))?;
        }
    }
    failed.iter().for_each(|failed| output::note(&said(failed)));
    Ok(exit)
}

/// How each pair stands by what the daemon has written down, in the configuration's order.
async fn remembered(session: &Session) -> Result<Vec<(String, String, PairStatus)>, Trouble> {
    let mut standings = Vec::new();
    for slot in Fleet::recall(&session.engine, &session.blueprint().await).await.pairs {
        if let Some(Ok(pair)) = slot.pair {
            let status = session.engine.pair_status(&pair).await?;
            standings.push((slot.plan.store, slot.plan.crm, status));
        }
    }
    Ok(standings)
}

fn store_beside((store, crm, status): &(String, String, PairStatus)) -> serde_json::Value {
    json!({
        "name": store, "crm": crm, "state": status.state, "reason": status.reason, "linked": status.linked,
        "pending": status.pending, "held": status.held,
    })
}
