//! What the configuration names, as the engine takes it: sources with their connectors, pairs with their mappings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::connectors::{self, Made};
use crate::config::{Config, Crm, Environment, Store, Sweep, Times};
use crate::connector::FieldWanted;
use crate::engine::{self, PairSettings, SourceSettings};
use crate::http::Client;
use crate::model::{Failure, FieldOptions, FieldType, Mapping, Side};

/// All sources and pairs of a configuration. Nothing was reached yet.
pub struct Blueprint {
    /// Stores and CRMs that some pair uses.
    pub sources: Vec<SourcePlan>,
    /// Stores with CRMs.
    pub pairs: Vec<PairPlan>,
}

/// One store or CRM.
#[derive(Clone)]
pub struct SourcePlan {
    /// Its side.
    pub side: Side,
    /// Its label.
    pub name: String,
    /// How often its feeds are read.
    pub poll: Duration,
    /// When it is swept.
    pub sweep: Sweep,
    /// How it is reached; or why it cannot be, whoever asks.
    pub settings: Result<SourceSettings, Failure>,
}

/// One store with one CRM.
#[derive(Clone)]
pub struct PairPlan {
    /// The store's label.
    pub store: String,
    /// The CRM's label.
    pub crm: String,
    /// Mapping, mode and rails.
    pub settings: PairSettings,
}

impl PairPlan {
    /// The label of its store or CRM.
    pub(crate) fn name_on(&self, side: Side) -> &str {
        match side {
            Side::Store => &self.store,
            Side::Crm => &self.crm,
        }
    }
}

/// What connectors need beside the configuration.
#[derive(Clone)]
pub struct Surroundings {
    /// Where secrets are looked for.
    pub environment: Arc<Environment>,
    /// How long reads of a failing system are repeated.
    pub patience: Duration,
    /// Ends every wait.
    pub stop: CancellationToken,
    /// The process's HTTP client.
    pub client: Client,
}

/// The fields of one source that its pairs name, and those that links are found by.
#[derive(Default)]
pub(super) struct Wanted {
    fields: BTreeMap<String, (FieldType, FieldOptions)>,
    matches: BTreeSet<(String, bool)>,
    pub(super) create_attributes: bool,
    pub(super) create_groups: bool,
}

impl Blueprint {
    /// Draws the blueprint. A source whose secret is missing is in it, with the reason.
    pub async fn draw(config: &Config, surroundings: &Surroundings) -> Self {
        let mut sources = Vec::new();
        for (side, name) in sources_of(config) {
            sources.extend(draw_source(config, surroundings, side, name).await);
        }
        Self { sources, pairs: pairs_of(config) }
    }
}

/// Each store with each of its CRMs, and the mapping between them.
fn meetings(config: &Config) -> impl Iterator<Item = (&Store, &str, &Mapping)> {
    config.stores.values().flat_map(move |store| {
        store.pairs.iter().filter_map(move |pair| Some((store, pair.crm.as_str(), config.mappings.get(&pair.mapping)?)))
    })
}

/// The stores and CRMs that some pair uses, by side and name.
pub(super) fn sources_of(config: &Config) -> BTreeSet<(Side, &str)> {
    meetings(config).flat_map(|(store, crm, _)| [(Side::Store, store.name.as_str()), (Side::Crm, crm)]).collect()
}

/// The pairs of a configuration.
pub(super) fn pairs_of(config: &Config) -> Vec<PairPlan> {
    let plan = |(store, crm, mapping): (&Store, &str, &Mapping)| PairPlan {
        store: store.name.clone(),
        crm: crm.to_owned(),
        settings: PairSettings { mapping: mapping.clone(), mode: store.mode, rails: store.rails },
    };
    meetings(config).map(plan).collect()
}

/// One source of a configuration; none if it has no such source. Its secrets are looked for, which may take seconds.
pub(super) async fn draw_source(
    config: &Config,
    surroundings: &Surroundings,
    side: Side,
    name: &str,
) -> Option<SourcePlan> {
    let mut wanted = Wanted::default();
    for (store, crm, mapping) in meetings(config) {
        let one = if side == Side::Store { store.name.as_str() } else { crm };
        if one == name {
            want(&mut wanted, side, mapping);
        }
    }
    match side {
        Side::Store => config.stores.get(name).map(|store| store_plan(store, wanted, surroundings)),
        Side::Crm => match config.crms.get(name) {
            Some(crm) => Some(crm_plan(crm, wanted, surroundings).await),
            None => None,
        },
    }
}

fn want(wanted: &mut Wanted, side: Side, mapping: &Mapping) {
    let name = |store: &str, crm: &str| if side == Side::Store { store.to_owned() } else { crm.to_owned() };
    for rule in &mapping.fields {
        let (kind, options) = wanted.fields.entry(name(&rule.store, &rule.crm)).or_default();
        *kind = rule.kind;
        *options = std::mem::take(options).and(rule.options.clone());
    }
    for rule in &mapping.matches {
        let field = name(&rule.store, &rule.crm);
        wanted.fields.entry(field.clone()).or_default();
        wanted.matches.insert((field, engine::folds_case(&rule.store)));
    }
    let only = if side == Side::Store { &mapping.only.store } else { &mapping.only.crm };
    for field in only.keys() {
        wanted.fields.entry(field.clone()).or_default();
    }
    wanted.create_attributes |= mapping.create_attributes;
    wanted.create_groups |= mapping.create_groups;
}

impl Wanted {
    pub(super) fn fields(&self) -> Vec<FieldWanted> {
        let wanted = |(name, (kind, options)): (&String, &(FieldType, FieldOptions))| FieldWanted {
            name: name.clone(),
            kind: *kind,
            options: options.clone(),
        };
        self.fields.iter().map(wanted).collect()
    }
}

fn times(times: &Times) -> engine::Times {
    engine::Times { overlap: times.overlap, quarantine: times.quarantine, replica_lag: times.replica_lag }
}

fn plan(side: Side, name: &str, own: &Times, wanted: Wanted, connector: Made) -> SourcePlan {
    SourcePlan {
        side,
        name: name.to_owned(),
        poll: own.poll,
        sweep: own.sweep.clone(),
        settings: connector.map(|connector| SourceSettings {
            side,
            name: name.to_owned(),
            times: times(own),
            connector,
            match_fields: wanted.matches.into_iter().collect(),
        }),
    }
}

fn store_plan(store: &Store, wanted: Wanted, surroundings: &Surroundings) -> SourcePlan {
    let connector = connectors::of_store(store, &wanted, surroundings);
    plan(Side::Store, &store.name, &store.times, wanted, connector)
}

async fn crm_plan(crm: &Crm, wanted: Wanted, surroundings: &Surroundings) -> SourcePlan {
    let connector = connectors::of_crm(crm, &wanted, surroundings).await;
    plan(Side::Crm, &crm.name, &crm.times, wanted, connector)
}
