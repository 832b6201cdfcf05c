//! What all loops of one configuration share. A new configuration gets new works; checkpoint and lock stay.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::blueprint::{Surroundings, pairs_of, sources_of};
use super::pair::PairState;
use super::pulse::Pulse;
use super::source::SourceState;
use crate::config::Config;
use crate::engine::Engine;
use crate::model::Side;

/// One configuration at work.
pub(super) struct Works {
    /// On the checkpoint; stops with these works.
    pub engine: Engine,
    pub config: Config,
    pub surroundings: Surroundings,
    /// Ends every wait of these works.
    pub stop: CancellationToken,
    pub sources: Vec<Arc<SourceState>>,
    pub pairs: Vec<Arc<PairState>>,
    /// Of the loop that takes requests.
    pub requests_pulse: Pulse,
    /// Requests that were begun: one that made its loop panic is not begun again.
    pub requests_begun: Mutex<BTreeSet<i64>>,
    /// Panics since the process began.
    pub panics: Arc<AtomicU64>,
    /// Why the checkpoint does not work, while it does not.
    checkpoint_failure: Mutex<Option<String>>,
}

impl Works {
    /// The works of a configuration; nothing runs yet. Pairs that have `passed` before need no first pass to be ready.
    pub fn new(
        engine: Engine,
        config: Config,
        surroundings: Surroundings,
        panics: Arc<AtomicU64>,
        passed: &BTreeSet<(String, String)>,
    ) -> Self {
        let plans = pairs_of(&config);
        let source = |(side, name): (Side, &str)| {
            let times = match side {
                Side::Store => &config.stores.get(name)?.times,
                Side::Crm => &config.crms.get(name)?.times,
            };
            let pairs = plans.iter().enumerate().filter(|(_, plan)| plan.name_on(side) == name).map(|(at, _)| at);
            Some(Arc::new(SourceState::new(side, name, times, pairs.collect())))
        };
        let sources: Vec<Arc<SourceState>> = sources_of(&config).into_iter().filter_map(source).collect();
        let found = |side, name: &str| sources.iter().find(|source| source.side == side && source.name == name);
        let pairs = plans.into_iter().enumerate().filter_map(|(at, plan)| {
            let store = Arc::clone(found(Side::Store, &plan.store)?);
            let crm = Arc::clone(found(Side::Crm, &plan.crm)?);
            let has_passed = passed.contains(&(plan.store.clone(), plan.crm.clone()));
            Some(Arc::new(PairState::new(at, plan, (store, crm), has_passed, engine.clock().now())))
        });
        Self {
            stop: surroundings.stop.clone(),
            pairs: pairs.collect(),
            sources,
            engine,
            config,
            surroundings,
            requests_pulse: Pulse::default(),
            requests_begun: Mutex::default(),
            panics,
            checkpoint_failure: Mutex::new(None),
        }
    }

    /// The pairs that have passed, by the labels of store and CRM.
    pub fn passed(&self) -> BTreeSet<(String, String)> {
        let passed = self.pairs.iter().filter(|pair| pair.has_passed());
        passed.map(|pair| (pair.plan.store.clone(), pair.plan.crm.clone())).collect()
    }

    /// Rings for the pairs of a source, one apart.
    pub fn ring_pairs(&self, source: &SourceState, but: Option<usize>) {
        for at in source.pairs.iter().filter(|at| Some(**at) != but) {
            if let Some(pair) = self.pairs.get(*at) {
                pair.bell.ring();
            }
        }
    }

    /// Notes that the checkpoint failed, and says it once; none: that it works.
    pub fn note_checkpoint(&self, failure: Option<&str>) {
        let mut known = self.checkpoint_failure.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.as_deref(), failure) {
            (None, Some(reason)) => {
                tracing::error!(target: "attune", event = "note", "{reason}; it is tried again by itself");
                *known = Some(reason.to_owned());
            }
            (Some(_), None) => {
                tracing::info!(target: "attune", event = "note", "the checkpoint works again");
                *known = None;
            }
            _ => {}
        }
    }

    /// Why the checkpoint does not work, if it does not.
    pub fn checkpoint_failure(&self) -> Option<String> {
        self.checkpoint_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
