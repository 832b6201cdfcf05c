//! How each store, CRM and pair of a daemon at work stands, by what is remembered: for metrics and alerts. It reaches
//! nothing. The words are those of `attune status`.

use std::collections::BTreeMap;

use super::works::Works;
use crate::checkpoint::SourceRow;
use crate::engine::{Engine, Error, PairStatus};
use crate::model::{Side, Timestamp};

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
    /// How it stands.
    pub status: PairStatus,
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
            let (store, crm) = (&state.plan.store, &state.plan.crm);
            let status = match state.pair() {
                Some(pair) => engine.pair_status(&pair).await?,
                // One of its sources was not reached since the process began.
                None => {
                    let (store, crm) = (row(Side::Store, store), row(Side::Crm, crm));
                    let obstacle = obstacle(store).or_else(|| obstacle(crm));
                    let state = obstacle.unwrap_or_else(|| ("new".to_owned(), None));
                    engine.recalled_status((store, crm), state).await?
                }
            };
            watched.pairs.push(WatchedPair { store: store.clone(), crm: crm.clone(), status });
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
