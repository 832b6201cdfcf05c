//! The sources and pairs of a blueprint as far as they could be reached. What cannot be reached is here with its reason,
//! and keeps nobody else.

use std::sync::Arc;

use futures::future::join_all;

use super::{Blueprint, PairPlan, SourcePlan};
use crate::engine::{Engine, Error, Pair, Source};
use crate::model::Side;

/// A source of the blueprint, reached or not.
pub struct SourceSlot {
    /// What was asked for.
    pub plan: SourcePlan,
    /// What came of it.
    pub source: Result<Arc<Source>, Error>,
}

/// A pair of the blueprint; none while one of its sources is not reached.
pub struct PairSlot {
    /// What was asked for.
    pub plan: PairPlan,
    /// What came of it.
    pub pair: Option<Result<Arc<Pair>, Error>>,
}

/// All sources and pairs.
pub struct Fleet {
    /// Stores and CRMs.
    pub sources: Vec<SourceSlot>,
    /// Stores with CRMs.
    pub pairs: Vec<PairSlot>,
}

impl Fleet {
    /// Reaches every source, all at the same time, and makes the pairs that can be made.
    pub async fn attach(engine: &Engine, blueprint: &Blueprint) -> Self {
        let reached = join_all(blueprint.sources.iter().map(|plan| attach_one(engine, plan))).await;
        let sources = zip(blueprint, reached);
        Self::assemble(engine, blueprint, sources).await
    }

    /// The sources and pairs as they are remembered, none of them reached: for reading beside a running daemon. A source
    /// that was never read is [`Error::Stopped`].
    pub async fn recall(engine: &Engine, blueprint: &Blueprint) -> Self {
        let mut recalled = Vec::new();
        for plan in &blueprint.sources {
            recalled.push(match &plan.settings {
                Err(failure) => Err(failed(plan, failure)),
                Ok(settings) => match engine.recall(settings).await {
                    Ok(Some(source)) => Ok(Arc::new(source)),
                    Ok(None) => Err(Error::Stopped),
                    Err(error) => Err(error),
                },
            });
        }
        let sources = zip(blueprint, recalled);
        let mut pairs = Vec::new();
        for plan in &blueprint.pairs {
            let pair = match (source_of(&sources, Side::Store, &plan.store), source_of(&sources, Side::Crm, &plan.crm))
            {
                (Some(store), Some(crm)) => engine.recall_pair(&plan.settings, &store, &crm).await.transpose(),
                _ => None,
            };
            pairs.push(PairSlot { plan: plan.clone(), pair: pair.map(|pair| pair.map(Arc::new)) });
        }
        Self { sources, pairs }
    }

    async fn assemble(engine: &Engine, blueprint: &Blueprint, sources: Vec<SourceSlot>) -> Self {
        let mut pairs = Vec::new();
        for plan in &blueprint.pairs {
            let pair = match (source_of(&sources, Side::Store, &plan.store), source_of(&sources, Side::Crm, &plan.crm))
            {
                (Some(store), Some(crm)) => Some(engine.pair(&plan.settings, &store, &crm).await),
                _ => None,
            };
            pairs.push(PairSlot { plan: plan.clone(), pair });
        }
        Self { sources, pairs }
    }

    /// The pairs that were made.
    pub fn ready(&self) -> impl Iterator<Item = &Arc<Pair>> {
        self.pairs.iter().filter_map(|slot| slot.pair.as_ref()?.as_ref().ok())
    }
}

/// Reaches one source.
///
/// # Errors
/// When its settings are unusable or it cannot be reached; see [`Engine::attach`].
pub(crate) async fn attach_one(engine: &Engine, plan: &SourcePlan) -> Result<Arc<Source>, Error> {
    match &plan.settings {
        Ok(settings) => engine.attach(settings).await.map(Arc::new),
        Err(failure) => Err(failed(plan, failure)),
    }
}

fn failed(plan: &SourcePlan, failure: &crate::model::Failure) -> Error {
    Error::Source { side: plan.side, name: plan.name.clone(), failure: Box::new(failure.clone()) }
}

fn zip(blueprint: &Blueprint, reached: Vec<Result<Arc<Source>, Error>>) -> Vec<SourceSlot> {
    let plans = blueprint.sources.iter().cloned();
    plans.zip(reached).map(|(plan, source)| SourceSlot { plan, source }).collect()
}

fn source_of(sources: &[SourceSlot], side: Side, name: &str) -> Option<Arc<Source>> {
    let slot = sources.iter().find(|slot| slot.plan.side == side && slot.plan.name == name)?;
    slot.source.as_ref().ok().map(Arc::clone)
}
