//! What the configuration names, as the engine takes it: sources with their connectors, pairs with their mappings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::{Config, Crm, CrmKind, Environment, ModifiedBy, SqlRelation, SqlSettings, Store, Sweep, Times};
use crate::connector::bigcommerce::{self, BigCommerce};
use crate::connector::sql::{self, Sql};
use crate::connector::{Connector, FieldWanted};
use crate::engine::{self, PairSettings, SourceSettings};
use crate::http::{Client, SecretProvider};
use crate::model::{Class, Failure, FieldType, Mapping, Side};

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
    pub(super) fn name_on(&self, side: Side) -> &str {
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
struct Wanted {
    fields: BTreeMap<String, FieldType>,
    matches: BTreeSet<(String, bool)>,
    create_attributes: bool,
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
        wanted.fields.insert(name(&rule.store, &rule.crm), rule.kind);
    }
    for rule in &mapping.matches {
        let field = name(&rule.store, &rule.crm);
        wanted.fields.entry(field.clone()).or_insert(FieldType::String);
        wanted.matches.insert((field, engine::folds_case(&rule.store)));
    }
    let only = if side == Side::Store { &mapping.only.store } else { &mapping.only.crm };
    for field in only.keys() {
        wanted.fields.entry(field.clone()).or_insert(FieldType::String);
    }
    wanted.create_attributes |= mapping.create_attributes;
}

impl Wanted {
    fn fields(&self) -> Vec<FieldWanted> {
        self.fields.iter().map(|(name, kind)| FieldWanted { name: name.clone(), kind: *kind }).collect()
    }
}

fn times(times: &Times) -> engine::Times {
    engine::Times { overlap: times.overlap, quarantine: times.quarantine, replica_lag: times.replica_lag }
}

fn plan(
    side: Side,
    name: &str,
    own: &Times,
    wanted: Wanted,
    connector: Result<Arc<dyn Connector>, Failure>,
) -> SourcePlan {
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
    let (secret, environment) = (store.access_token.clone(), Arc::clone(&surroundings.environment));
    let runtime = tokio::runtime::Handle::current();
    // The caller asks on a thread that may block: the secret may be a file or a command.
    let access_token: SecretProvider = Arc::new(move || runtime.block_on(secret.resolve(&environment)));
    let connector = BigCommerce::new(bigcommerce::Settings {
        name: store.name.clone(),
        store_hash: store.store_hash.clone(),
        api_url: store.api_url.clone(),
        access_token,
        share: store.share,
        fields: wanted.fields(),
        create_attributes: wanted.create_attributes,
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
        client: surroundings.client.clone(),
    });
    let connector = connector.map(|connector| Arc::new(connector) as Arc<dyn Connector>);
    plan(Side::Store, &store.name, &store.times, wanted, connector)
}

async fn crm_plan(crm: &Crm, wanted: Wanted, surroundings: &Surroundings) -> SourcePlan {
    let connector = match &crm.kind {
        CrmKind::Sql(settings) => sql_connector(crm, settings, &wanted, surroundings).await,
    };
    plan(Side::Crm, &crm.name, &crm.times, wanted, connector)
}

async fn sql_connector(
    crm: &Crm,
    settings: &SqlSettings,
    wanted: &Wanted,
    surroundings: &Surroundings,
) -> Result<Arc<dyn Connector>, Failure> {
    let url = settings.url.resolve(&surroundings.environment).await.map_err(|why| {
        Failure::new(Class::Misconfigured, format!("the url of crm {} cannot be read: {why}", crm.name))
    })?;
    let connector = Sql::new(sql::Settings {
        name: crm.name.clone(),
        url,
        table: settings.table.clone(),
        key: settings.key.clone(),
        modified: settings.modified.clone(),
        modified_by: match settings.modified_by {
            ModifiedBy::Attune => sql::ModifiedBy::Attune,
            ModifiedBy::Database => sql::ModifiedBy::Database,
        },
        deleted: settings.deleted.clone(),
        relations: settings
            .relations
            .iter()
            .map(|(name, relation)| {
                let SqlRelation { table, from, key, modified } = relation.clone();
                (name.clone(), sql::Relation { table, from, key, modified })
            })
            .collect(),
        fields: wanted.fields(),
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
    });
    Ok(Arc::new(connector))
}
