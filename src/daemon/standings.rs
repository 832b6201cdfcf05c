//! How every store and CRM stands, by what is remembered: the facts of `attune status` and of the page. Reaches nothing.
//!
//! Must not know: who asks, and how it is shown.

use std::time::Duration;

use serde_json::Value as Json;

use super::blueprint::PairPlan;
use super::fleet::Fleet;
use crate::checkpoint::SourceRow;
use crate::engine::{Engine, Error, Pair};
use crate::model::{Failure, Side, Timestamp};

/// Everything that is shown.
pub struct Standings {
    /// Each store with each of its CRMs.
    pub stores: Vec<StoreStanding>,
    /// The CRMs.
    pub crms: Vec<CrmStanding>,
}

/// How one store stands with one CRM.
pub struct StoreStanding {
    /// The store's label.
    pub name: String,
    /// The CRM's label.
    pub crm: String,
    /// In a word.
    pub state: String,
    /// Why, where it is not `ok`.
    pub reason: Option<String>,
    /// How long the oldest of what is pending waits.
    pub lag_ms: u64,
    /// Fields that are not known equal, and neither held nor kept.
    pub pending: u64,
    /// Fields and records that wait for a person.
    pub held: u64,
    /// Linked records.
    pub linked: u64,
    /// Ours.
    pub last_pass: Option<Timestamp>,
    /// Ours: of the store.
    pub last_sweep: Option<Timestamp>,
    /// Changes that the last sweeps found and the feeds had missed.
    pub drift: u64,
    /// Of the store, as it last told; null: it has none.
    pub quota: Json,
}

/// How one CRM stands.
pub struct CrmStanding {
    /// Its label.
    pub name: String,
    /// In a word.
    pub state: String,
    /// Why, where it is not `ok`.
    pub reason: Option<String>,
    /// As it last told; null: it has none.
    pub quota: Json,
    /// Ours.
    pub last_read: Option<Timestamp>,
}

/// A pair of the configuration, as far as it is known.
pub(super) struct Known<'a> {
    pub plan: &'a PairPlan,
    /// None: it was never read under its mapping.
    pub pair: Option<&'a Pair>,
}

/// A source whose settings are unusable, and why.
pub(super) type Unusable<'a> = (Side, &'a str, &'a Failure);

impl Standings {
    /// How all sources and pairs of a fleet stand.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn of(engine: &Engine, fleet: &Fleet) -> Result<Self, Error> {
        let plans = fleet.sources.iter().map(|slot| &slot.plan);
        let unusable: Vec<Unusable<'_>> = plans
            .clone()
            .filter_map(|plan| Some((plan.side, plan.name.as_str(), plan.settings.as_ref().err()?)))
            .collect();
        let pairs = fleet.pairs.iter().map(|slot| {
            let pair = slot.pair.as_ref().and_then(|pair| pair.as_ref().ok());
            Known { plan: &slot.plan, pair: pair.map(AsRef::as_ref) }
        });
        let crms = plans.filter(|plan| plan.side == Side::Crm).map(|plan| plan.name.as_str());
        Self::look(engine, pairs, crms, &unusable, || Duration::MAX).await
    }

    /// The same of these pairs and CRMs. For each pair it is asked how much `patience` there is for what it has left to do.
    pub(super) async fn look<'a>(
        engine: &Engine,
        pairs: impl Iterator<Item = Known<'a>>,
        crms: impl Iterator<Item = &'a str>,
        unusable: &[Unusable<'_>],
        patience: impl Fn() -> Duration,
    ) -> Result<Self, Error> {
        let mut transaction = engine.checkpoint().read().await?;
        let rows = transaction.sources().await?;
        transaction.end().await?;
        let row = |side: Side, name: &str| rows.iter().find(|row| row.side == side && row.name == name);
        let mut stores = Vec::new();
        for known in pairs {
            let plan = known.plan;
            let status = match known.pair {
                Some(pair) => engine.pair_status_within(pair, patience()).await?,
                None => {
                    let sources = (row(Side::Store, &plan.store), row(Side::Crm, &plan.crm));
                    engine.recalled_status(sources, state_by_rows(plan, sources, unusable)).await?
                }
            };
            stores.push(StoreStanding {
                name: plan.store.clone(),
                crm: plan.crm.clone(),
                state: status.state,
                reason: status.reason,
                lag_ms: status.lag_ms,
                pending: status.pending,
                held: status.held,
                linked: status.linked,
                last_pass: status.last_pass,
                last_sweep: status.last_sweep,
                drift: status.drift,
                quota: parsed(status.quota.as_deref()),
            });
        }
        let crms = crms.map(|name| crm_standing(name, row(Side::Crm, name), unusable)).collect();
        Ok(Self { stores, crms })
    }
}

fn crm_standing(name: &str, row: Option<&SourceRow>, unusable: &[Unusable<'_>]) -> CrmStanding {
    let (state, reason) = troubled(row).unwrap_or_else(|| {
        match unusable.iter().find(|(side, other, _)| *side == Side::Crm && *other == name) {
            Some((_, _, failure)) => ("misconfigured".to_owned(), Some(failure.to_string())),
            None => (row.map_or("new", |row| row.state.as_str()).to_owned(), None),
        }
    });
    CrmStanding {
        name: name.to_owned(),
        state,
        reason,
        quota: parsed(row.and_then(|row| row.quota.as_deref())),
        last_read: row.and_then(|row| row.read_at),
    }
}

/// What a source's row says, where something keeps it from working.
pub(super) fn troubled(row: Option<&SourceRow>) -> Option<(String, Option<String>)> {
    let row = row?;
    if row.paused {
        return Some(("paused".to_owned(), Some(format!("`attune resume {}` goes on", row.name))));
    }
    (row.state != "ok" && row.state != "new").then(|| (row.state.clone(), row.reason.clone()))
}

/// In which state a pair is that was never read, or cannot be read as it is configured now, and why.
fn state_by_rows(
    plan: &PairPlan,
    (store, crm): (Option<&SourceRow>, Option<&SourceRow>),
    unusable: &[Unusable<'_>],
) -> (String, Option<String>) {
    let troubled = [store, crm].into_iter().find_map(|row| {
        let (state, reason) = troubled(row)?;
        let row = row?;
        Some((state, Some(format!("{} {}: {}", row.side, row.name, reason.unwrap_or_default()))))
    });
    let names = [(Side::Store, plan.store.as_str()), (Side::Crm, plan.crm.as_str())];
    let own = unusable.iter().find(|(side, name, _)| names.contains(&(*side, *name)));
    let misconfigured = own.map(|(_, _, failure)| ("misconfigured".to_owned(), Some(failure.to_string())));
    troubled.or(misconfigured).unwrap_or_else(|| {
        let reason = if store.is_some_and(|row| row.read_at.is_some()) && crm.is_some_and(|row| row.read_at.is_some()) {
            "not read yet under this mapping"
        } else {
            "not read yet"
        };
        ("new".to_owned(), Some(format!("{reason}; `attune sync` or `attune run` reads it")))
    })
}

/// JSON that the checkpoint holds as text; null where there is none.
fn parsed(text: Option<&str>) -> Json {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Json::Null)
}
