//! `attune sync`: one pass over every pair.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::arguments::{Common, Sync};
use super::exit::Exit;
use super::session::{Access, Session, Trouble, exit_of, said};
use crate::daemon::Fleet;
use crate::engine::{Balance, Error, Pair, PassOptions, PlanTotals, Reach, Request, Source, Standing};
use crate::model::Side;
use crate::telemetry::Event;

/// What one store needs from another through a shared CRM takes another round; so many at the most.
const ROUNDS_MAX: usize = 5;

/// Runs the command.
///
/// # Errors
/// When it could not begin.
pub async fn run(common: &Common, options: &Sync) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Act, "attune sync").await?;
    if session.beside {
        return ask_daemon(common, &session, options).await;
    }
    let fleet = Fleet::attach(&session.engine, &session.blueprint().await).await;
    let mut troubles: BTreeMap<(Side, String), Trouble> = BTreeMap::new();
    for slot in &fleet.sources {
        if let Err(error) = &slot.source {
            note(&mut troubles, &slot.plan.name, slot.plan.side, error);
        }
    }
    pull(&session, &fleet, options.sweep, &mut troubles).await;
    let pairs: Vec<_> = fleet.ready().filter(|pair| is_reached(pair, &troubles)).collect();
    if let Some(expected) = &options.expect {
        let found = digest(&session, &pairs).await?;
        if found != *expected {
            return Err(Error::PlanMoved { found }.into());
        }
    }
    let limit = options.limit.and_then(|limit| usize::try_from(limit.get()).ok());
    let balances = pass(&session, &pairs, limit, &mut troubles).await?;
    report(&session, &fleet, &pairs, &balances, &troubles, options).await
}

async fn pull(session: &Session, fleet: &Fleet, sweep: bool, troubles: &mut BTreeMap<(Side, String), Trouble>) {
    let reach = if sweep { Reach::Sweep } else { Reach::Changes };
    let sources: Vec<_> = fleet.sources.iter().filter_map(|slot| slot.source.as_ref().ok()).collect();
    let pulls = join_all(sources.iter().map(|source| pull_one(session, source, reach))).await;
    for (source, pulled) in sources.iter().zip(pulls) {
        if let Err(error) = pulled {
            note(troubles, &source.name, source.side, &error);
        }
    }
}

async fn pull_one(session: &Session, source: &Source, reach: Reach) -> Result<(), Error> {
    let mut transaction = session.engine.checkpoint().read().await?;
    let paused = transaction.is_paused(source.id).await?;
    transaction.end().await?;
    if !paused {
        session.engine.pull(source, reach).await?;
    }
    Ok(())
}

/// Passes over every pair, and again while what one wrote is news to another.
async fn pass(
    session: &Session,
    pairs: &[&std::sync::Arc<Pair>],
    limit: Option<usize>,
    troubles: &mut BTreeMap<(Side, String), Trouble>,
) -> Result<Vec<Balance>, Trouble> {
    let mut balances = vec![Balance::default(); pairs.len()];
    for _ in 0..ROUNDS_MAX {
        let mut written = 0;
        for (balance, pair) in balances.iter_mut().zip(pairs) {
            if !is_reached(pair, troubles) {
                continue;
            }
            match session.engine.pass(pair, PassOptions { limit }).await {
                Ok(report) => {
                    written += report.balance.written;
                    if report.standing == Standing::Done && balance.observed == 0 {
                        *balance = report.balance;
                    }
                    if let Some(error) = report.failure {
                        failed(pair, report.pass, &error, troubles);
                    }
                }
                Err(error @ Error::Source { .. }) => failed(pair, 0, &error, troubles),
                Err(other) => return Err(other.into()),
            }
        }
        if written == 0 || pairs.len() < 2 || limit.is_some() {
            break;
        }
    }
    Ok(balances)
}

fn failed(pair: &Pair, pass: u64, error: &Error, troubles: &mut BTreeMap<(Side, String), Trouble>) {
    let Error::Source { side, name, failure } = error else { return };
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
    note(troubles, name, *side, error);
}

fn note(troubles: &mut BTreeMap<(Side, String), Trouble>, name: &str, side: Side, error: &Error) {
    let trouble = match error {
        Error::Source { side, name, failure } => Trouble::new(exit_of(failure), said(*side, name, failure)),
        Error::Checkpoint(error) => {
            let exit = if error.is_configuration() { Exit::Misconfigured } else { Exit::Defect };
            Trouble::new(exit, error.to_string())
        }
        other => Trouble::new(Exit::Attention, other.to_string()),
    };
    troubles.insert((side, name.to_owned()), trouble);
}

fn is_reached(pair: &Pair, troubles: &BTreeMap<(Side, String), Trouble>) -> bool {
    let fine = |source: &Source| !troubles.contains_key(&(source.side, source.name.clone()));
    fine(&pair.store) && fine(&pair.crm)
}

async fn digest(session: &Session, pairs: &[&std::sync::Arc<Pair>]) -> Result<String, Trouble> {
    let mut totals = Vec::new();
    for pair in pairs {
        totals.push(session.engine.plan(pair, &mut |_| {}).await?);
    }
    Ok(PlanTotals::digest(&totals))
}

async fn report(
    session: &Session,
    fleet: &Fleet,
    pairs: &[&std::sync::Arc<Pair>],
    balances: &[Balance],
    troubles: &BTreeMap<(Side, String), Trouble>,
    options: &Sync,
) -> Result<Exit, Trouble> {
    let mut exit = troubles.values().map(|trouble| trouble.exit).collect::<Exit>();
    let mut stores = Vec::new();
    for (pair, balance) in pairs.iter().zip(balances) {
        let status = session.engine.pair_status(pair).await?;
        if status.held > 0 || status.pending > 0 || status.state == "stopped" {
            exit = exit.combine(Exit::Attention);
        }
        stores.push((pair, balance, status));
    }
    for slot in &fleet.pairs {
        if let Some(Err(error)) = &slot.pair {
            eprintln!("{error}");
            exit = exit.combine(Exit::Defect);
        }
    }
    if options.json {
        let stores: Vec<_> = stores
            .iter()
            .map(|(pair, balance, status)| {
                serde_json::json!({
                    "name": pair.store.name, "crm": pair.crm.name, "state": status.state, "reason": status.reason,
                    "linked": status.linked, "pending": status.pending, "held": status.held, "pass": balance,
                })
            })
            .collect();
        let failed: Vec<_> = troubles
            .iter()
            .map(|((side, name), trouble)| serde_json::json!({ "side": side, "name": name, "reason": trouble.message }))
            .collect();
        println!("{}", serde_json::json!({ "stores": stores, "failed": failed }));
    } else {
        for (pair, balance, status) in &stores {
            let reason = status.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            println!(
                "{} ⇄ {}: {}{reason}; {} linked, {} written, {} agreed, {} pending, {} held",
                pair.store.name,
                pair.crm.name,
                status.state,
                status.linked,
                balance.written,
                balance.agreed + balance.unchanged,
                status.pending,
                status.held
            );
        }
    }
    for trouble in troubles.values() {
        eprintln!("attune: {}", trouble.message);
    }
    Ok(exit)
}

/// Beside a daemon a pass is asked for, and waited for.
async fn ask_daemon(common: &Common, session: &Session, options: &Sync) -> Result<Exit, Trouble> {
    if options.limit.is_some() || options.expect.is_some() {
        return Err(Trouble::new(Exit::Usage, "a daemon is running: --limit and --expect need it stopped first"));
    }
    let request = Request::Sync { stores: common.store.clone(), sweep: options.sweep };
    // A pass may wait for a quota, which is not failing: give it ten times as long as a system that does not answer.
    let answer = session.ask(&request, common.patience.saturating_mul(10)).await?;
    println!("{}", answer.message);
    Ok(if answer.done { Exit::Done } else { Exit::Attention })
}
