//! Odoo: a model's records as one kind of source, on every version from 14 to 19 and on.
//!
//! Odoo dates whole records (`write_date`: the beginning of the transaction, shown in whole seconds), has no conditional
//! write and no trace of what was deleted. So its feed is a window with a lower bound only, paged by id; a write follows its
//! recheck at once and is read back; records that are gone are found by the sweep. Nothing here is called for one record
//! alone. It must not know the checkpoint, the engine or mappings.
//!
//! - `rpc`: calls in both protocols, and what exceptions mean
//! - `fields`: which fields a model has, and how their values are spelt
//! - `read`: the feed, the sweep, direct reads, related records
//! - `lifecycle`: making and archiving records
//! - `lookup`: finding records by a value
//! - `write`: batches of `load`, and what became of each record

mod fields;
mod lifecycle;
mod lookup;
mod read;
mod rpc;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::fields::{Field, Model};
pub use self::rpc::TIMEOUTS;
use self::rpc::{Call, Protocol};
use super::paid::Paid;
use super::{Connector, FieldWanted, Lane, Lifecycle, Limits, Lookup, Page, Prepared, Quota, Reservation};
use crate::http::{Caller, Client, Credential, FixedQuota, SecretProvider, Throttle, ThrottleSettings};
use crate::model::{Class, Failure, Key, Observed, Outcome, Side, Timestamp, Write};

/// The one feed: records by `write_date`.
const FEED_RECORDS: &str = "records";

/// The records of a page and of a direct read. Odoo has no limit of its own.
const PAGE_ROWS: usize = 1_000;

/// The records of one `load`: it works through them one by one, about 5 ms each.
const ROWS_PER_LOAD: usize = 200;

/// Calls at the same time, where the configuration names no number: a small server has two workers.
const IN_FLIGHT_MAX: usize = 4;

/// How long before a key expires it is spoken of.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// What the configuration says about one Odoo (`[crm.NAME]` with `kind = "odoo"`).
pub struct Settings {
    /// The source's name in the configuration, for messages.
    pub name: String,
    /// Scheme and host, and the path where it is not at the root.
    pub url: String,
    /// The database.
    pub database: String,
    /// The login of the user that the key belongs to; servers before version 19 ask for it.
    pub user: Option<String>,
    /// Where the API key comes from.
    pub api_key: SecretProvider,
    /// The model: `res.partner`.
    pub model: String,
    /// The quota to keep to; none: only four calls at the same time.
    pub quota: Option<FixedQuota>,
    /// The fields, in the order that cells and writes index.
    pub fields: Vec<FieldWanted>,
    /// How long a read that fails for a passing reason is repeated before the failure is handed on.
    pub patience: Duration,
    /// Ends every wait at once.
    pub cancel: CancellationToken,
    /// A client with [`TIMEOUTS`].
    pub client: Client,
}

/// One model of one Odoo. Nothing is reached before the first call.
pub struct Odoo {
    name: String,
    /// What identifies it where it does not say so itself.
    address: String,
    database: String,
    user: Option<String>,
    model: String,
    names: Vec<String>,
    patience: Duration,
    caller: Caller,
    /// What the last look found.
    ready: Mutex<Option<Arc<Ready>>>,
}

/// Everything that reads and writes need, found by looking.
struct Ready {
    protocol: Protocol,
    model: Model,
}

impl fmt::Debug for Odoo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Odoo").field("model", &self.model).field("fields", &self.names).finish_non_exhaustive()
    }
}

impl Odoo {
    /// A connector for these settings; nothing is called.
    ///
    /// # Errors
    /// Of class `Misconfigured`: an address that is not HTTPS (or loopback), a database whose name no header can hold.
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let fixed = settings.quota.map(|quota| (quota.calls, quota.per));
        let in_flight_max = settings.quota.map_or(IN_FLIGHT_MAX, |quota| quota.in_flight_max);
        let throttle =
            ThrottleSettings { side: Side::Crm, name: settings.name.clone(), share: 1.0, fixed, in_flight_max };
        let database = HeaderValue::from_str(&settings.database).map_err(|_invalid| {
            Failure::new(Class::Misconfigured, "`database` holds characters that no database has")
        })?;
        let headers: HeaderMap = [(HeaderName::from_static("x-odoo-database"), database)].into_iter().collect();
        let credential =
            Credential { header: AUTHORIZATION, prefix: "bearer ".into(), secret: settings.api_key.into() };
        let caller = Caller::new(crate::http::Settings {
            client: settings.client,
            base: settings.url.clone(),
            credential,
            headers,
            throttle: Throttle::new(throttle, settings.cancel),
            body_bytes_max: None,
        })?;
        Ok(Self {
            name: settings.name,
            address: settings.url,
            database: settings.database,
            user: settings.user,
            model: settings.model,
            names: settings.fields.into_iter().map(|field| field.name).collect(),
            patience: settings.patience,
            caller,
            ready: Mutex::new(None),
        })
    }

    /// What the model was found to be; looked at now if it never was.
    async fn ready(&self) -> Result<Arc<Ready>, Failure> {
        match self.known() {
            Some(ready) => Ok(ready),
            None => Ok(self.look().await?.0),
        }
    }

    /// What the last look found.
    fn known(&self) -> Option<Arc<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the server and remembers what was found.
    async fn look(&self) -> Result<(Arc<Ready>, Prepared), Failure> {
        let protocol = self.find_protocol().await?;
        let (model, definitions, clock) = self.find_fields(protocol).await?;
        let identity = self.identity(protocol).await?;
        let mut warnings = self.expiring_keys(protocol, clock).await?;
        let mut choices = Vec::new();
        for (index, field) in model.fields.iter().enumerate() {
            let Field::Own(column, _) = field else { continue };
            if column.is_translated {
                let (name, model) = (&column.name, &self.model);
                warnings.push(format!(
                    "`{name}` of `{model}` has a text for each language; Attune reads and writes the English one (en_US) alone"
                ));
            }
            if !column.choices.is_empty() {
                choices.push((index, column.choices.clone()));
            }
        }
        let ready = Arc::new(Ready { protocol, model });
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready.clone());
        Ok((ready, Prepared { identity, clock, definitions, warnings, choices }))
    }

    /// The database's own id, where this user may see it (an administrator); otherwise where it is and what it is called.
    async fn identity(&self, protocol: Protocol) -> Result<String, Failure> {
        let call = Call::new("ir.config_parameter", "get_param", json!({ "key": "database.uuid" }));
        match self.ask(protocol, &call, Paid::in_lane(Lane::Fresh)).await {
            Ok(answered) => match answered.result.as_str().filter(|uuid| !uuid.is_empty()) {
                Some(uuid) => Ok(format!("odoo {uuid} {}", self.model)),
                None => Ok(self.place()),
            },
            Err(failure) if has_said_no(&failure) => Ok(self.place()),
            Err(failure) => Err(failure),
        }
    }

    fn place(&self) -> String {
        format!("odoo {} at {} {}", self.database, self.address, self.model)
    }

    /// A sentence about keys of this user that expire soon. Servers before version 18 do not say.
    async fn expiring_keys(&self, protocol: Protocol, clock: Timestamp) -> Result<Vec<String>, Failure> {
        let soon = fields::odoo_time(clock + EXPIRES_SOON);
        let call = Call::new(
            "res.users.apikeys",
            "search_read",
            json!({ "domain": [["expiration_date", "<", soon]], "fields": ["expiration_date"], "order": "id", "limit": 100 }),
        );
        let answered = match self.ask(protocol, &call, Paid::in_lane(Lane::Fresh)).await {
            Ok(answered) => answered,
            // No such model, no such field, no right to see it.
            Err(failure) if has_said_no(&failure) => return Ok(Vec::new()),
            Err(failure) => return Err(failure),
        };
        let rows = answered.result.as_array().map(Vec::as_slice).unwrap_or_default();
        let first = rows.iter().filter_map(|row| row.get("expiration_date").and_then(Value::as_str)).min();
        Ok(first
            .map(|at| {
                format!(
                    "an API key of this Odoo user expires at {at} UTC; if it is the one in [crm.{}], make a new one in time: \
                     a running Attune takes it as soon as it is where `api_key` says",
                    self.name
                )
            })
            .into_iter()
            .collect())
    }
}

/// Whether a server understood a question and will not answer it.
fn has_said_no(failure: &Failure) -> bool {
    failure.code.is_some() && matches!(failure.class, Class::Auth | Class::Misconfigured)
}

#[async_trait]
impl Connector for Odoo {
    fn kind(&self) -> &'static str {
        "odoo"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        Limits {
            batches_per_round: 1,
            // A record has a write for each field that changed: of one field, so many batches leave at once.
            writes_per_batch: ROWS_PER_LOAD * self.names.len().clamp(1, IN_FLIGHT_MAX),
            keys_per_fetch: PAGE_ROWS,
            conditional_writes: false,
            shows_nulls: true,
        }
    }

    /// Fields are never created, and are known by their names: both arguments are without meaning here.
    async fn prepare(&self, _known: &[Option<String>], _may_create: bool) -> Result<Prepared, Failure> {
        Ok(self.look().await?.1)
    }

    fn feeds(&self) -> &'static [&'static str] {
        &[FEED_RECORDS]
    }

    fn changes(&self, _feed: &'static str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        self.pages(Some(since))
    }

    fn everything(&self) -> BoxStream<'_, Result<Page, Failure>> {
        self.pages(None)
    }

    async fn fetch(
        &self,
        keys: &[Key],
        fields: &[usize],
        reservation: &dyn Reservation,
    ) -> Result<Vec<Observed>, Failure> {
        self.read_directly(keys, fields, Paid::by(reservation, reservation.lane())).await
    }

    fn batches(&self, writes: Vec<Write>) -> Vec<Vec<Write>> {
        write::batches(writes)
    }

    async fn reserve(&self, lane: Lane, calls: usize) -> Result<Box<dyn Reservation>, Failure> {
        Ok(Box::new(self.caller.throttle().reserve(lane, calls).await?))
    }

    async fn write(&self, batch: &[Write], reservation: &dyn Reservation) -> Vec<Outcome> {
        self.load(batch, reservation).await
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        Some(self)
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }

    fn quota(&self) -> Option<Quota> {
        self.caller.throttle().quota()
    }

    fn seconds_for(&self, calls: u64) -> f64 {
        self.caller.throttle().seconds_for(calls)
    }
}
