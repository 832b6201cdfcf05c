//! What other processes ask of this one, through the checkpoint: taken several times a second, also while passes run, so
//! that a pause or an approval counts before the next batch.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::outage::Failed;
use super::pair::{PairState, Passed};
use super::source::{SourceState, Told};
use super::works::Works;
use crate::engine::{Answer, Engine, Error, Request, UndoSelection};
use crate::model::{Class, Failure, Side};

/// How often requests are looked for.
const POLL: Duration = Duration::from_millis(250);

/// What one store needs from another through a shared CRM takes another round; so many at the most.
const ROUNDS_MAX: usize = 5;

const PANICKED: &str = "this request made the daemon panic: a defect of Attune, please report it";

/// What `attune sync` beside a daemon is told: the message of its [`Answer`], as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncOutcome {
    /// Fields and records that wait for a person, in all of the pairs.
    pub held: u64,
    /// Fields that are not known equal and wait for nobody.
    pub pending: u64,
    /// Pairs that stand at a rail.
    pub stopped: u64,
    /// What failed, each source at most once.
    pub failed: Vec<Failed>,
}

/// Answers on their way: a request's number, and what it came to; none: it is left for whoever comes next. Each is a task
/// of its own: polled only between other work, one could be granted the checkpoint, not notice, and stop everybody.
type Syncing = JoinSet<(i64, Option<Answer>)>;

/// Takes requests until stopped.
pub(super) async fn run(works: Arc<Works>) {
    let mut syncing = Syncing::new();
    let mut under_way = BTreeSet::new();
    loop {
        works.requests_pulse.beat();
        tokio::select! {
            biased;
            () = works.stop.cancelled() => return,
            Some(synced) = syncing.join_next() => {
                // Whatever happens in it, it ends with an answer: it is aborted only with us.
                let Ok((id, answer)) = synced else { continue };
                if let Some(answer) = answer {
                    reply(&works, id, &answer).await;
                }
                under_way.remove(&id);
            }
            () = tokio::time::sleep(POLL) => take(&works, &mut syncing, &mut under_way).await,
        }
    }
}

async fn take(works: &Arc<Works>, syncing: &mut Syncing, under_way: &mut BTreeSet<i64>) {
    let rows = match open_requests(&works.engine).await {
        Ok(rows) => rows,
        Err(error) => return works.note_checkpoint(Some(&error.to_string())),
    };
    for (id, text) in rows {
        if under_way.contains(&id) || works.stop.is_cancelled() {
            continue;
        }
        let answer = match serde_json::from_str::<Request>(&text) {
            Err(_) => Some(Answer::refused("the daemon does not know this request: is it another version of Attune?")),
            Ok(_) if !works.requests_begun.lock().unwrap_or_else(PoisonError::into_inner).insert(id) => {
                Some(Answer::refused(PANICKED))
            }
            Ok(Request::Sync { stores, sweep }) => {
                let works = Arc::clone(works);
                under_way.insert(id);
                syncing.spawn(async move {
                    let synced = AssertUnwindSafe(sync(&works, &stores, sweep)).catch_unwind().await;
                    (id, synced.unwrap_or_else(|_| Some(Answer::refused(PANICKED))))
                });
                None
            }
            Ok(request @ (Request::Undo(_) | Request::Forget { .. })) => {
                // Of much history these take a while: nobody else is kept waiting.
                let works = Arc::clone(works);
                under_way.insert(id);
                syncing.spawn(async move {
                    let doing = async {
                        match &request {
                            Request::Undo(selection) => undo(&works, selection).await,
                            other => operate(&works, other).await,
                        }
                    };
                    let done = AssertUnwindSafe(doing).catch_unwind().await;
                    (id, Some(done.unwrap_or_else(|_| Answer::refused(PANICKED))))
                });
                None
            }
            Ok(request) => Some(operate(works, &request).await),
        };
        if let Some(answer) = answer {
            reply(works, id, &answer).await;
        }
    }
}

async fn open_requests(engine: &Engine) -> Result<Vec<(i64, String)>, crate::checkpoint::Error> {
    let mut transaction = engine.checkpoint().read().await?;
    let rows = transaction.open_requests().await?;
    transaction.end().await?;
    Ok(rows.into_iter().map(|row| (row.id, row.request)).collect())
}

async fn reply(works: &Works, id: i64, answer: &Answer) {
    if let Err(error) = answer_request(&works.engine, id, answer).await {
        works.note_checkpoint(Some(&error.to_string()));
    }
}

async fn answer_request(engine: &Engine, id: i64, answer: &Answer) -> Result<(), crate::checkpoint::Error> {
    let text = serde_json::to_string(answer).map_err(|error| crate::checkpoint::Error::Encoding(error.to_string()))?;
    let mut transaction = engine.checkpoint().begin().await?;
    transaction.answer_request(id, &text, engine.clock().now()).await?;
    transaction.commit().await
}

/// At the end of the process: nobody is left waiting for an answer that will not come.
pub(super) async fn refuse_all(engine: &Engine) -> Result<(), Error> {
    for (id, _) in open_requests(engine).await? {
        let answer = Answer::refused("the daemon was stopped before this was done; ask again, or run it by yourself");
        answer_request(engine, id, &answer).await?;
    }
    Ok(())
}

/// What the engine does by itself; then the loops that it concerns look at once.
pub(super) async fn operate(works: &Works, request: &Request) -> Answer {
    let answer = match works.engine.operate(request).await {
        Ok(answer) => answer,
        Err(error) => return Answer::refused(error.to_string()),
    };
    let of_store =
        |store: &str| works.pairs.iter().filter(|pair| pair.plan.store == store).for_each(|p| p.bell.demand());
    match request {
        Request::Sync { .. } | Request::Undo(_) | Request::Forget { .. } => {}
        Request::Approve { store } | Request::LinkAdd { store, .. } | Request::LinkRemove { store, .. } => {
            of_store(store);
        }
        Request::Pause { name } | Request::Resume { name } => {
            works.sources.iter().filter(|source| source.name == *name).for_each(|source| source.bell.demand());
        }
        Request::Held { selection, .. } => {
            let concerned =
                |pair: &&Arc<PairState>| selection.stores.is_empty() || selection.stores.contains(&pair.plan.store);
            works.pairs.iter().filter(concerned).for_each(|pair| pair.bell.demand());
        }
    }
    answer
}

/// Remembers what is to be put back, and lets the pairs that it concerns pass.
async fn undo(works: &Works, selection: &UndoSelection) -> Answer {
    let wanted = |pair: &&Arc<PairState>| selection.stores.is_empty() || selection.stores.contains(&pair.plan.store);
    let mut count = 0;
    let mut unread = Vec::new();
    for state in works.pairs.iter().filter(wanted) {
        let Some(pair) = state.pair() else {
            unread.push(format!("{} ⇄ {}", state.plan.store, state.plan.crm));
            continue;
        };
        match works.engine.want_undo(&pair, selection).await {
            Ok(more) => count += more,
            Err(error) => return Answer::refused(error.to_string()),
        }
        state.bell.demand();
    }
    let unread = if unread.is_empty() {
        String::new()
    } else {
        format!("; the daemon has not reached {} yet: ask again then", unread.join(", "))
    };
    Answer { done: unread.is_empty(), count, message: format!("{count} put back by the next pass{unread}") }
}

/// Reads the sources of these stores (none: of all), then lets their pairs pass until nothing is written any more.
async fn sync(works: &Works, stores: &[String], sweep: bool) -> Option<Answer> {
    if let Some(unknown) = stores.iter().find(|store| !works.pairs.iter().any(|pair| pair.plan.store == **store)) {
        return Some(Answer::refused(format!("the daemon's configuration has no store {unknown:?}")));
    }
    let wanted = |pair: &&Arc<PairState>| stores.is_empty() || stores.contains(&pair.plan.store);
    let pairs: Vec<&Arc<PairState>> = works.pairs.iter().filter(wanted).collect();
    let mut sources: BTreeMap<(Side, &str), &SourceState> = BTreeMap::new();
    for source in pairs.iter().flat_map(|pair| [&pair.store, &pair.crm]) {
        sources.insert((source.side, &source.name), source);
    }
    let mut failed: BTreeMap<(Side, String), Failed> = BTreeMap::new();
    let mut note = |failure: Failed| failed.insert((failure.side, failure.name.clone()), failure);

    let reading: Vec<_> = sources.values().map(|source| source.bell.ask(sweep)).collect();
    for (source, told) in sources.values().zip(join_all(reading).await) {
        match told {
            Ok(Told::Read | Told::Paused) => {}
            Ok(Told::Failed(failure)) => drop(note(failure)),
            Err(silence) => drop(note(silenced(works, source.side, &source.name, silence)?)),
        }
    }
    let mut stopped = 0;
    for _ in 0..ROUNDS_MAX {
        let passing: Vec<_> = pairs.iter().map(|pair| pair.bell.ask(false)).collect();
        let mut wrote = false;
        stopped = 0;
        for (pair, passed) in pairs.iter().zip(join_all(passing).await) {
            let passed = match passed {
                Ok(passed) => passed,
                Err(silence) => {
                    let failed = Some(silenced(works, Side::Store, &pair.plan.store, silence)?);
                    Passed { failed, ..Passed::default() }
                }
            };
            wrote |= passed.wrote;
            stopped += u64::from(passed.stopped);
            if let Some(failure) = passed.failed {
                note(failure);
                wrote = false;
            }
        }
        if !wrote {
            break;
        }
    }
    let mut outcome = SyncOutcome { stopped, failed: failed.into_values().collect(), ..SyncOutcome::default() };
    for made in pairs.iter().filter_map(|pair| pair.pair()) {
        match works.engine.pair_status(&made).await {
            Ok(status) => {
                outcome.held += status.held;
                outcome.pending += status.pending;
            }
            Err(error) => outcome.failed.extend(Failed::of(&error, Side::Store, &made.store.name)),
        }
    }
    let message = serde_json::to_string(&outcome).unwrap_or_default();
    Some(Answer { done: true, count: pairs.len() as u64, message })
}

/// A loop that ends without a word was stopped (none: the request is left), or panicked.
fn silenced(works: &Works, side: Side, name: &str, _: oneshot::error::RecvError) -> Option<Failed> {
    let what = "its loop panicked: a defect of Attune, please report it; it starts again by itself";
    (!works.stop.is_cancelled()).then(|| Failed::of_source(side, name, &Failure::new(Class::Broken, what)))
}
