//! The checked configuration: what every other room is given. Plain data; secrets are named here, never held.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{Keep, Mapping, Mode, Rails};

use super::{
    HubSpotSettings, OdooSettings, Problem, RestSettings, SalesforceSettings, Secret, SqlSettings, TrytonSettings,
    UrlSource, nearest,
};

/// Everything that was configured, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where everything is remembered.
    pub state: State,
    /// The status page.
    pub server: Server,
    /// What is logged, and how.
    pub log: Log,
    /// Where messages go when something changes; none: nowhere.
    pub alerts: Option<Alerts>,
    /// By name. A name is a label, used in logs, metrics and commands; what it stands for, the system itself says.
    pub crms: BTreeMap<String, Crm>,
    /// By name; never empty.
    pub stores: BTreeMap<String, Store>,
    /// By name.
    pub mappings: BTreeMap<String, Mapping>,
    /// What is unusual or has no effect, for a person to hear of: shown by `check` and logged at start.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// The same with these stores only, and the CRMs they meet (`--store NAME`); all of it if `names` is empty.
    ///
    /// # Errors
    /// A sentence for a name that no store has.
    pub fn narrowed(mut self, names: &[String]) -> Result<Self, String> {
        if names.is_empty() {
            return Ok(self);
        }
        if let Some(unknown) = names.iter().find(|name| !self.stores.contains_key(*name)) {
            let hint = nearest::hint(unknown, self.stores.keys().map(String::as_str));
            return Err(format!("no store is called `{unknown}` in the configuration{hint}"));
        }
        self.stores.retain(|name, _| names.contains(name));
        let crms: BTreeSet<&String> =
            self.stores.values().flat_map(|store| store.pairs.iter().map(|pair| &pair.crm)).collect();
        self.crms.retain(|name, _| crms.contains(name));
        Ok(self)
    }
}

/// The checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// `sqlite:PATH`, relative to the working directory.
    pub url: UrlSource,
    /// How long history is kept.
    pub keep: Keep,
}

/// The HTTP server for health, metrics and the status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// None: there is no server (`"off"`).
    pub listen: Option<SocketAddr>,
    /// What a person signs in to the page with; none: nobody can, and the page is read-only.
    pub admin_token: Option<Secret>,
}

/// Messages when something changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// The address of a webhook: HTTPS, or loopback.
    pub url: Secret,
    /// The shape of the messages.
    pub format: AlertFormat,
    /// How long a state has lasted before it is told, and is over before its end is.
    pub after: Duration,
}

/// The shape of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertFormat {
    /// A JSON object of ours.
    Json,
    /// What Slack, Mattermost and others take: `{"text": "…"}`.
    Slack,
}

/// Logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// None: text on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
    /// What is less than this is not written.
    pub level: LogLevel,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For machines.
    Json,
    /// For people.
    Text,
}

/// The least level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors alone.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    Info,
    /// And each record; may hold personal data.
    Debug,
    /// Everything; may hold personal data.
    Trace,
}

impl LogLevel {
    /// The word in the configuration, which is a filter directive too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Whatever stands on the other side of a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Crm {
    /// Its label.
    pub name: String,
    /// How it is reached.
    pub kind: CrmKind,
    /// When it is read.
    pub times: Times,
    /// The quota to keep to, where one was given.
    pub quota: Option<Calls>,
}

/// The kinds of CRM.
#[derive(Clone, Debug, PartialEq)]
pub enum CrmKind {
    /// A table of a database.
    Sql(SqlSettings),
    /// A model of an Odoo.
    Odoo(OdooSettings),
    /// An object of a HubSpot account.
    HubSpot(HubSpotSettings),
    /// An object of a Salesforce org.
    Salesforce(SalesforceSettings),
    /// A model of a Tryton.
    Tryton(TrytonSettings),
    /// An API that the configuration describes.
    Rest(Box<RestSettings>),
}

/// A quota in calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Calls in each `per`.
    pub calls: u64,
    /// The window.
    pub per: Duration,
    /// Calls at the same time.
    pub concurrency: u64,
}

/// When a source is read, and how far its answers are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two reads of its feeds.
    pub poll: Duration,
    /// When everything is read.
    pub sweep: Sweep,
    /// How far reads reach back behind the cursor, at start and once in this time.
    pub overlap: Duration,
    /// How long a write of unknown outcome may still take effect.
    pub quarantine: Duration,
    /// How old a read may be.
    pub replica_lag: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(30),
            sweep: Sweep::Daily,
            overlap: Duration::from_secs(5 * 60),
            quarantine: Duration::from_secs(2 * 60),
            replica_lag: Duration::from_secs(60),
        }
    }
}

/// When a source is swept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sweep {
    /// At a minute of the night that is derived from its name.
    #[default]
    Daily,
    /// By this cron pattern, checked, in UTC: always six fields, seconds first.
    Cron(String),
    /// Never by itself.
    Off,
}

/// One BigCommerce store.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// Its label.
    pub name: String,
    /// What it is.
    pub store_hash: String,
    /// What it is reached with.
    pub access_token: Secret,
    /// The API's host, without a slash at the end; HTTPS, or loopback.
    pub api_url: String,
    /// The CRMs it is kept in agreement with; never empty, each CRM at most once.
    pub pairs: Vec<PairSettings>,
    /// Whether its pairs write.
    pub mode: Mode,
    /// When it is read.
    pub times: Times,
    /// What part of its quota is ours: above 0, at most 1.
    pub share: f64,
    /// What a day may change, for each of its pairs.
    pub rails: Rails,
}

/// A store with a CRM under a mapping; both names exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSettings {
    /// The CRM's name.
    pub crm: String,
    /// The mapping's name.
    pub mapping: String,
}
