//! How each store, CRM and pair of a daemon at work stands, by what is remembered: for metrics and alerts. It reaches
//! nothing. The words are those of `attune status`.

use std::collections::BTreeMap;

use super::works::Works;
use crate::checkpoint::SourceRow;
use crate::engine::{Engine, Error, Pair};
use crate::model::{HeldReason, Side, Timestamp};

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// Stores with CRMs.
    pub pairs: Vec<WatchedPair>,
    /// Stores and CRMs.
    pub sources: Vec<WatchedSource>,
}

/// How one store stands with one CRM.
#[derive(Clone, Debug)]
pub(super) struct WatchedPair {
    /// The store's label.
    pub store: String,
    /// The CRM's label.
    pub crm: String,
    /// In a word: as [`crate::engine::PairStatus::state`].
    pub state: String,
    /// Why, where it is not `ok`.
    pub reason: Option<String>,
    /// How old the oldest change is that is not on both sides yet, in milliseconds; 0: none.
    pub lag_ms: u64,
    /// Fields that are not known equal, and neither held nor kept.
    pub pending: u64,
    /// Fields and records that wait for a person.
    pub held: u64,
    /// The same by reason, those that there are.
    pub held_by_reason: Vec<(HeldReason, u64)>,
    /// Linked records.
    pub linked: u64,
    /// When its last pass completed.
    pub last_pass: Option<Timestamp>,
}

/// How one store or CRM stands.
#[derive(Clone, Debug)]
pub(super) struct WatchedSource {
    /// Its side.
    pub side: Side,
    /// Its label.
    pub name: String,
    /// In a word: `ok`, `new`, `paused`, or what is wrong.
    pub state: String,
    /// Why, where it is not `ok`.
    pub reason: Option<String>,
    /// Its quota as it last told, JSON.
    pub quota: Option<String>,
    /// When it was last read to the end.
    pub last_read: Option<Timestamp>,
    /// When it was last read whole.
    pub last_sweep: Option<Timestamp>,
    /// Changes that its last sweep found and its feeds had missed.
    pub drift: u64,
    /// Its clock minus ours, in milliseconds; none before the first read.
    pub offset_ms: Option<i64>,
    /// How far its slowest feed's cursor is behind its own clock, in milliseconds.
    pub cursor_age_ms: Option<u64>,
}

impl Watched {
    /// Of the sources and pairs of a daemon at work, through an engine on a checkpoint that was opened beside it.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn of(engine: &Engine, works: &Works) -> Result<Self, Error> {
        let now = engine.clock().now();
        let mut transaction = engine.checkpoint().read().await?;
        let rows = transaction.sources().await?;
        let mut oldest = BTreeMap::new();
        for row in &rows {
            let cursors = transaction.cursors(row.id).await?;
            oldest.insert(row.id, cursors.values().map(|cursor| cursor.at).min());
        }
        transaction.end().await?;
        let row = |side: Side, name: &str| rows.iter().find(|row| row.side == side && row.name == name);
        let mut watched = Self { pairs: Vec::new(), sources: Vec::new() };
        for state in &works.pairs {
            let (store, crm) = (state.plan.store.as_str(), state.plan.crm.as_str());
            watched.pairs.push(match state.pair() {
                Some(pair) => by_pair(engine, &pair).await?,
                None => by_rows(engine, (store, row(Side::Store, store)), (crm, row(Side::Crm, crm))).await?,
            });
        }
        for state in &works.sources {
            let row = row(state.side, &state.name);
            let oldest = row.and_then(|row| oldest.get(&row.id).copied().flatten());
            watched.sources.push(of_source(state.side, &state.name, row, oldest, now));
        }
        Ok(watched)
    }
}

fn of_source(
    side: Side,
    name: &str,
    row: Option<&SourceRow>,
    oldest: Option<Timestamp>,
    now: Timestamp,
) -> WatchedSource {
    // What cannot be used as it is configured is remembered by the loop that found it so.
    let (state, reason) =
        obstacle(row).unwrap_or_else(|| (row.map_or("new", |row| row.state.as_str()).to_owned(), None));
    let read = row.filter(|row| row.read_at.is_some());
    let behind = |row: &SourceRow| {
        let theirs = Timestamp::from_millis(now.as_millis() + row.offset_ms);
        Some(u64::try_from(theirs.millis_since(oldest?)).unwrap_or(0))
    };
    WatchedSource {
        side,
        name: name.to_owned(),
        state,
        reason,
        quota: row.and_then(|row| row.quota.clone()),
        last_read: row.and_then(|row| row.read_at),
        last_sweep: row.and_then(|row| row.swept_at),
        drift: row.map_or(0, |row| row.drift),
        offset_ms: read.map(|row| row.offset_ms),
        cursor_age_ms: read.and_then(behind),
    }
}

/// What a source's row says, where something keeps it from working.
fn obstacle(row: Option<&SourceRow>) -> Option<(String, Option<String>)> {
    let row = row?;
    if row.paused {
        return Some(("paused".to_owned(), Some("a person paused it".to_owned())));
    }
    (row.state != "ok" && row.state != "new").then(|| (row.state.clone(), row.reason.clone()))
}

async fn by_pair(engine: &Engine, pair: &Pair) -> Result<WatchedPair, Error> {
    let status = engine.pair_status(pair).await?;
    Ok(WatchedPair {
        store: pair.store.name.clone(),
        crm: pair.crm.name.clone(),
        state: status.state,
        reason: status.reason,
        lag_ms: status.lag_ms,
        pending: status.pending,
        held: status.held,
        held_by_reason: status.held_by_reason,
        linked: status.linked,
        last_pass: status.last_pass,
    })
}

/// A pair of which one source was not reached since the process began: what the checkpoint has of it.
async fn by_rows(
    engine: &Engine,
    (store, store_row): (&str, Option<&SourceRow>),
    (crm, crm_row): (&str, Option<&SourceRow>),
) -> Result<WatchedPair, Error> {
    let obstacle = obstacle(store_row).or_else(|| obstacle(crm_row));
    let (state, reason) = obstacle.unwrap_or_else(|| ("new".to_owned(), None));
    let mut watched = WatchedPair {
        store: store.to_owned(),
        crm: crm.to_owned(),
        state,
        reason,
        lag_ms: 0,
        pending: 0,
        held: 0,
        held_by_reason: Vec::new(),
        linked: 0,
        last_pass: None,
    };
    let (Some(store), Some(crm)) = (store_row, crm_row) else { return Ok(watched) };
    let mut transaction = engine.checkpoint().read().await?;
    if let Some(pair) = transaction.pair_of(store.id, crm.id).await? {
        let (pending, since) = transaction.unsettled(pair.id).await?;
        let now = engine.clock().now();
        watched.pending = pending;
        watched.lag_ms = since.map_or(0, |since| u64::try_from(now.millis_since(since)).unwrap_or(0));
        watched.held_by_reason = transaction.count_held_by_reason(pair.id).await?;
        watched.held = watched.held_by_reason.iter().map(|(_, count)| count).sum();
        watched.linked = transaction.count_links(pair.id).await?;
        watched.last_pass = pair.passed_at;
    }
    transaction.end().await?;
    Ok(watched)
}
