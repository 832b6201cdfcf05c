//! What `plan`, `link` and `sync` begin with: reach every source, read it, and remember what could not be reached, so
//! that one system's trouble is said and keeps nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;

use super::exit::Exit;
use super::output;
use super::progress::Progress;
use super::session::{Session, Trouble, exit_of, exit_of_checkpoint, said};
use crate::daemon::{Blueprint, Fleet, PairPlan};
use crate::engine::{Error, Pair, Reach, Source};
use crate::model::{Class, Failure, Side};
use crate::telemetry::{self, Event};

/// A source, by side and label.
type Name = (Side, String);

/// What went wrong, by the source it went wrong with.
#[derive(Default)]
pub struct Troubles(BTreeMap<Name, Trouble>);

impl Troubles {
    /// Notes the first that went wrong with a source.
    pub fn note(&mut self, side: Side, name: &str, error: &Error) {
        self.0.entry((side, name.to_owned())).or_insert_with(|| trouble_of(side, name, error));
    }

    /// Whether something went wrong with a source.
    pub fn has(&self, side: Side, name: &str) -> bool {
        self.0.contains_key(&(side, name.to_owned()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Trouble)> {
        self.0.iter()
    }

    /// What to end with.
    pub fn exit(&self) -> Exit {
        self.0.values().map(|trouble| trouble.exit).collect()
    }

    /// Says all of them on stderr.
    pub fn say(&self) {
        self.0.values().for_each(|trouble| output::note(&trouble.message));
    }
}

fn trouble_of(side: Side, name: &str, error: &Error) -> Trouble {
    match error {
        Error::Source { side, name, failure } => Trouble::new(exit_of(failure), said(*side, name, failure)),
        Error::Checkpoint(error) => Trouble::new(exit_of_checkpoint(error), error.to_string()),
        Error::Stopped => Trouble::stopped(),
        Error::PlanMoved { .. } => Trouble::new(Exit::Defect, format!("{side} {name}: {error}")),
    }
}

/// The sources and pairs of the configuration as far as they could be reached and read.
pub struct Reached {
    /// All that is configured, in its order.
    pub blueprint: Blueprint,
    /// What was reached; sources that a person paused are not in it.
    pub fleet: Fleet,
    /// What went wrong.
    pub troubles: Troubles,
    /// What a person paused.
    paused: BTreeSet<Name>,
    /// What was not read whole: what was read of it counts, but nobody can say that the sides agree.
    torn: BTreeSet<Name>,
}

/// Reaches every source that is not paused, all at the same time, and reads it.
///
/// # Errors
/// When the checkpoint fails, or we are told to stop.
pub async fn reach(session: &Session, reach: Reach, progress: &mut Progress) -> Result<Reached, Trouble> {
    let blueprint = session.blueprint().await;
    let paused = paused(session).await?;
    let is_awake = |side: Side, name: &str| !paused.contains(&(side, name.to_owned()));
    let awake = Blueprint {
        sources: blueprint.sources.iter().filter(|source| is_awake(source.side, &source.name)).cloned().collect(),
        pairs: blueprint
            .pairs
            .iter()
            .filter(|pair| is_awake(Side::Store, &pair.store) && is_awake(Side::Crm, &pair.crm))
            .cloned()
            .collect(),
    };
    let attaching = Fleet::attach(&session.engine, &awake);
    let fleet = session.stop().run_until_cancelled(attaching).await.ok_or_else(Trouble::stopped)?;
    let mut reached = Reached { blueprint, fleet, troubles: Troubles::default(), paused, torn: BTreeSet::new() };
    still_going(session)?;
    for slot in &reached.fleet.sources {
        if let Err(error) = &slot.source {
            reached.troubles.note(slot.plan.side, &slot.plan.name, error);
            note_failure(session, slot.plan.side, &slot.plan.name, error).await?;
        }
    }
    for slot in &reached.fleet.pairs {
        if let Some(Err(error)) = &slot.pair {
            reached.troubles.note(Side::Store, &slot.plan.store, error);
        }
    }
    let sources: Vec<Arc<Source>> =
        reached.fleet.sources.iter().filter_map(|slot| slot.source.as_ref().ok()).map(Arc::clone).collect();
    progress.watch(session, sources.clone());
    pull(session, &mut reached, &sources, reach).await?;
    Ok(reached)
}

/// That we were not told to stop: what failed because of it is no failure.
fn still_going(session: &Session) -> Result<(), Trouble> {
    if session.stop().is_cancelled() { Err(Trouble::stopped()) } else { Ok(()) }
}

async fn pull(session: &Session, reached: &mut Reached, sources: &[Arc<Source>], reach: Reach) -> Result<(), Trouble> {
    let pulls = join_all(sources.iter().map(|source| session.engine.pull(source, reach))).await;
    still_going(session)?;
    for (source, pulled) in sources.iter().zip(pulls) {
        match pulled {
            Ok(pulled) if pulled.torn => drop(reached.torn.insert((source.side, source.name.clone()))),
            Ok(_) => {}
            Err(error @ Error::Source { .. }) => {
                reached.troubles.note(source.side, &source.name, &error);
                note_failure(session, source.side, &source.name, &error).await?;
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

async fn paused(session: &Session) -> Result<BTreeSet<Name>, Trouble> {
    let mut transaction = session.engine.checkpoint().read().await?;
    let rows = transaction.sources().await?;
    transaction.end().await?;
    Ok(rows.into_iter().filter(|row| row.paused).map(|row| (row.side, row.name)).collect())
}

/// Remembers for `status` how a source failed, and says so where there is an event for it.
///
/// # Errors
/// When the checkpoint fails.
pub async fn note_failure(session: &Session, side: Side, name: &str, error: &Error) -> Result<(), Trouble> {
    let (exit, reason) = match error {
        Error::Source { failure, .. } => (exit_of(failure), failure.to_string()),
        Error::Checkpoint(error) if error.is_configuration() => (Exit::Misconfigured, error.to_string()),
        _ => return Ok(()),
    };
    let state = match exit {
        Exit::Unauthorized => "unauthorized",
        Exit::Misconfigured => "misconfigured",
        Exit::Defect => "failing",
        _ => "unreachable",
    };
    if let Error::Source { failure, .. } = error {
        say_failure(side, name, exit, failure);
    }
    let mut transaction = session.engine.checkpoint().begin().await?;
    transaction.note_state(side, name, state, Some(&reason)).await?;
    Ok(transaction.commit().await?)
}

fn say_failure(side: Side, name: &str, exit: Exit, failure: &Failure) {
    let source = telemetry::Source::of(side, name);
    let (reason, detail) = (failure.message.as_str(), failure.detail.as_deref());
    let (status, request_id) = (failure.status.map(u64::from), failure.request_id.as_deref());
    match exit {
        Exit::Unauthorized => {
            Event::SourceUnauthorized { source, reason, status, request_id, retry_in_ms: None, detail }.emit();
        }
        Exit::Unreachable => {
            let failures = 1;
            Event::SourceUnreachable { source, reason, status, request_id, failures, retry_in_ms: None, detail }.emit();
        }
        _ => {}
    }
}

fn paused_sentence(side: Side, name: &str) -> String {
    format!("{side} {name} is paused: nothing is read or written there until `attune resume {name}`")
}

impl Reached {
    /// The pairs whose sources were both reached and read, and have not failed since.
    pub fn pairs(&self) -> Vec<&Arc<Pair>> {
        self.fleet.ready().filter(|pair| self.is_sound(pair)).collect()
    }

    /// Whether nothing went wrong with the sources of a pair.
    pub fn is_sound(&self, pair: &Pair) -> bool {
        !self.troubles.has(Side::Store, &pair.store.name) && !self.troubles.has(Side::Crm, &pair.crm.name)
    }

    /// Notes what was not read whole, which kept no pair from what could be done: to be called when that is done.
    pub fn note_torn(&mut self) {
        for (side, name) in std::mem::take(&mut self.torn) {
            let what = "it changed every time while it was read, so that not all of it was seen; try again";
            let failure = Failure::new(Class::Retry, what);
            self.troubles.note(side, &name, &Error::Source { side, name: name.clone(), failure: Box::new(failure) });
        }
    }

    /// The sources of a pair that a person paused, as words; none: it is not paused.
    pub fn paused(&self, pair: &PairPlan) -> Option<String> {
        let names = [(Side::Store, &pair.store), (Side::Crm, &pair.crm)];
        let (side, name) = names.into_iter().find(|(side, name)| self.paused.contains(&(*side, (*name).clone())))?;
        Some(paused_sentence(side, name))
    }

    /// Says of every pair that a person paused that it is, on stderr.
    pub fn say_paused(&self) {
        for pair in &self.blueprint.pairs {
            if let Some(reason) = self.paused(pair) {
                output::note(&format!("{} ⇄ {}: {reason}", pair.store, pair.crm));
            }
        }
    }
}

/// The pairs of the configuration as they are remembered, for reading beside a running daemon; on stderr how old that
/// is, and which were never read.
///
/// # Errors
/// When the checkpoint fails.
pub async fn recall(session: &Session) -> Result<Vec<Arc<Pair>>, Trouble> {
    let fleet = Fleet::recall(&session.engine, &session.blueprint().await).await;
    let mut transaction = session.engine.checkpoint().read().await?;
    let rows = transaction.sources().await?;
    transaction.end().await?;
    let now = session.engine.clock().now();
    let mut seen = Vec::new();
    for slot in &fleet.sources {
        let plan = &slot.plan;
        let row = rows.iter().find(|row| row.side == plan.side && row.name == plan.name);
        seen.push(format!("{} {} {}", plan.side, plan.name, output::ago(row.and_then(|row| row.read_at), now)));
    }
    output::note(&format!("a daemon is running: this is by what it has read last: {}", seen.join(", ")));
    for row in rows.iter().filter(|row| row.paused) {
        if fleet.sources.iter().any(|slot| slot.plan.side == row.side && slot.plan.name == row.name) {
            output::note(&paused_sentence(row.side, &row.name));
        }
    }
    let mut pairs = Vec::new();
    for slot in fleet.pairs {
        match slot.pair {
            Some(Ok(pair)) => pairs.push(pair),
            _ => output::note(&format!(
                "{} ⇄ {}: not read yet under this mapping; the daemon reads it with its next pass",
                slot.plan.store, slot.plan.crm
            )),
        }
    }
    Ok(pairs)
}
