//! Tryton: parties with their contact mechanisms, or another model, as one kind of source.
//!
//! Tryton dates whole records, to the microsecond, by the beginning of the transaction. It refuses a write of a record that
//! changed since it was read, in batches too: what is written here is always what the recheck saw, or nothing. A contact
//! mechanism is a record of its own with its own date, so the feed looks at both and shows the party. Nothing here is called
//! for one record alone. It must not know the checkpoint, the engine or mappings.
//!
//! - `session`: logins, and never one too many
//! - `rpc`: calls, and what exceptions mean
//! - `fields`, `states`, `values`: which fields a model has, which of them can be written, how values are spelt
//! - `read`, `rows`: the feed, the sweep, direct reads, related records
//! - `mechanisms`: the first contact mechanism of a type, read and written
//! - `lookup`: finding records by a value
//! - `lifecycle`: making and archiving records
//! - `write`: conditional writes in batches, and what became of each record

mod fields;
mod lifecycle;
mod lookup;
mod mechanisms;
mod read;
mod rows;
mod rpc;
mod session;
mod states;
#[cfg(test)]
mod tests;
mod values;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use self::fields::{Field, Model};
use self::rpc::{Call, PATH, is_refusal, plain_context};
use self::session::{Door, DoorSettings};
use super::paid::Paid;
use super::{Connector, FieldWanted, Lane, Lifecycle, Limits, Lookup, Page, Prepared, Quota, Reservation};
use crate::http::{
    Caller, Client, Credential, Endpoint, FixedQuota, SecretProvider, SecretSource, Throttle, ThrottleSettings,
};
use crate::model::{Failure, Key, Observed, Outcome, Side, Timestamp, Write};

/// The one feed: records by the dates of theirs and of all that is shown with them.
const FEED_RECORDS: &str = "records";

/// The records of a page and of a direct read.
const PAGE_ROWS: usize = 1_000;

/// The records of one write: about 2.5 ms each.
const ROWS_PER_WRITE: usize = 200;

/// Calls at the same time, where the configuration names no number.
const IN_FLIGHT_MAX: usize = 4;

/// How long a call may take: Tryton itself gives a read up after a minute, and says nothing before it is done.
pub const TIMEOUTS: crate::http::Timeouts = crate::http::Timeouts {
    connect: Duration::from_secs(10),
    total: Duration::from_secs(125),
    read: Duration::from_secs(125),
};

/// What the configuration says about one Tryton (`[crm.NAME]` with `kind = "tryton"`).
pub struct Settings {
    /// The source's name in the configuration, for messages.
    pub name: String,
    /// Scheme and host, and the path where it is not at the root.
    pub url: String,
    /// The database.
    pub database: String,
    /// The login of the user.
    pub user: String,
    /// Where the user's password comes from.
    pub password: SecretProvider,
    /// The model: `party.party`.
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

/// One model of one Tryton. Nothing is reached before the first call.
pub struct Tryton {
    name: String,
    /// What identifies it: Tryton has no name of its own.
    address: String,
    database: String,
    model: String,
    names: Vec<String>,
    patience: Duration,
    caller: Caller,
    endpoint: Endpoint,
    /// What the last look found.
    ready: Mutex<Option<Arc<Ready>>>,
}

/// Everything that reads and writes need, found by looking.
struct Ready {
    /// The context of every call: the user's company, one language.
    context: Map<String, Value>,
    model: Model,
}

impl fmt::Debug for Tryton {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tryton")
            .field("model", &self.model)
            .field("fields", &self.names)
            .finish_non_exhaustive()
    }
}

impl Tryton {
    /// A connector for these settings; nothing is called.
    ///
    /// # Errors
    /// Of class `Misconfigured`: an address that is not HTTPS (or loopback).
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let fixed = settings.quota.map(|quota| (quota.calls, quota.per));
        let in_flight_max = settings.quota.map_or(IN_FLIGHT_MAX, |quota| quota.in_flight_max);
        let throttle =
            ThrottleSettings { side: Side::Crm, name: settings.name.clone(), share: 1.0, fixed, in_flight_max };
        let base = format!("{}/{}", settings.url.trim_end_matches('/'), settings.database);
        let door = Door::new(DoorSettings {
            name: settings.name.clone(),
            base: base.clone(),
            user: settings.user,
            password: settings.password,
            client: settings.client.clone(),
            cancel: settings.cancel.clone(),
        })?;
        let secret = SecretSource::Fetched(Arc::new(door));
        let caller = Caller::new(crate::http::Settings {
            client: settings.client,
            base,
            credential: Credential { header: AUTHORIZATION, prefix: "Session ".into(), secret },
            headers: HeaderMap::new(),
            throttle: Throttle::new(throttle, settings.cancel),
            body_bytes_max: None,
        })?;
        Ok(Self {
            name: settings.name,
            address: settings.url,
            database: settings.database,
            model: settings.model,
            names: settings.fields.into_iter().map(|field| field.name).collect(),
            patience: settings.patience,
            caller,
            endpoint: Endpoint::new(PATH, in_flight_max),
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
        let context = self.find_context().await?;
        let (model, definitions, clock) = self.find_fields(&context).await?;
        let identity = format!("tryton {} at {} {}", self.database, self.address, self.model);
        let warnings = self.unfollowed(&model);
        let ready = Arc::new(Ready { context, model });
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready.clone());
        Ok((ready, Prepared { identity, clock, definitions, warnings, choices: Vec::new() }))
    }

    /// A sentence for each link whose other end the feed cannot look at.
    fn unfollowed(&self, model: &Model) -> Vec<String> {
        let is_read = |index: usize| {
            model.fields.iter().any(|field| matches!(field, Field::Related { relation, .. } if *relation == index))
        };
        let unfollowed =
            model.relations.iter().enumerate().filter(|(index, relation)| !relation.is_searchable && is_read(*index));
        unfollowed
            .map(|(_, relation)| {
                format!(
                    "Tryton computes the link `{}`, so that records cannot be searched by it: what changes in `{}` alone is seen \
                     by the sweep only",
                    relation.link, relation.model
                )
            })
            .collect()
    }

    /// The user's own context: rules and fields may go by its company.
    async fn find_context(&self) -> Result<Map<String, Value>, Failure> {
        let call = Call::new("res.user", "get_preferences", json!([true]));
        let preferences = match self.ask(&plain_context(), &call, Paid::in_lane(Lane::Fresh)).await {
            Ok(answered) => answered.result,
            Err(failure) if is_refusal(&failure) => return Err(self.forbidden()),
            Err(failure) => return Err(failure),
        };
        let Value::Object(mut context) = preferences else { return Err(self.senseless("get_preferences")) };
        context.retain(|name, _| !name.starts_with('_') && !["locale", "language_direction"].contains(&name.as_str()));
        context.extend(plain_context());
        Ok(context)
    }
}

#[async_trait]
impl Connector for Tryton {
    fn kind(&self) -> &'static str {
        "tryton"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        Limits {
            batches_per_round: 1,
            // A record has a write for each field that changed: of one field, so many batches leave at once.
            writes_per_batch: ROWS_PER_WRITE * self.names.len().clamp(1, IN_FLIGHT_MAX),
            keys_per_fetch: PAGE_ROWS,
            conditional_writes: true,
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
        self.send(batch, reservation).await
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
