//! HubSpot: contacts, or another object, as one kind of source.
//!
//! What changed is found by search and read directly: the search index lags behind, and shows no more than 10,000 results,
//! so it is asked for ids alone, in windows by modification time that are paged by id. Every property is dated by its own
//! history. Records that are deleted are listed as archived; merged ones answer with the record that carries on. There is no
//! conditional write. It must not know the checkpoint, the engine or mappings.
//!
//! The facts are HubSpot's public documentation (<https://developers.hubspot.com/docs/api-reference/overview>) and what its
//! users report; no HubSpot was at hand.
//!
//! - `api`: the calls, their two quotas, and what failures mean
//! - `properties`: which properties there are, how values are spelt, and making missing ones
//! - `read`: feeds, sweeps, direct reads
//! - `lifecycle`: making and archiving records
//! - `lookup`: finding records by a value
//! - `rows`: what answers show of records
//! - `write`: batches of updates, and what became of each record

mod api;
mod lifecycle;
mod lookup;
mod properties;
mod read;
mod rows;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use tokio_util::sync::CancellationToken;

use self::properties::{Found, Property};
use super::paid::Paid;
use super::{Connector, Dating, FieldWanted, Lane, Lifecycle, Limits, Lookup, Page, Prepared, Quota, Reservation};
use crate::http::{Caller, Client, Credential, FixedQuota, SecretProvider, Throttle, ThrottleSettings};
use crate::model::{Failure, FieldType, Key, Observed, Outcome, Side, Timestamp, Write};

/// The feed of records by their modification time.
const FEED_RECORDS: &str = "records";
/// The feed of records that were deleted.
const FEED_ARCHIVED: &str = "archived";
/// The feed of contacts whose company changed.
const FEED_COMPANIES: &str = "companies";

/// The records of one direct read with history; without it HubSpot takes 100.
const ROWS_PER_READ: usize = 50;

/// The records of one batch update.
const ROWS_PER_WRITE: usize = 100;

/// Calls at the same time.
const IN_FLIGHT_MAX: usize = 4;

/// The part of the account's quota that is ours: others use it too.
const SHARE: f64 = 0.8;

/// The searches of an account in a second, which are counted apart and not told in headers.
pub const SEARCHES_PER_SECOND: u64 = 4;

/// What the configuration says about one HubSpot account (`[crm.NAME]` with `kind = "hubspot"`).
pub struct Settings {
    /// The source's name in the configuration, for messages.
    pub name: String,
    /// Scheme and host of the API: `https://api.hubapi.com`.
    pub url: String,
    /// Where the private app's access token comes from.
    pub access_token: SecretProvider,
    /// The object: `contacts`, or a custom object's type.
    pub object: String,
    /// The group in which missing properties are made; none: they are not made.
    pub create_in_group: Option<String>,
    /// A quota to keep to, for an account that does not tell its own.
    pub quota: Option<FixedQuota>,
    /// How many searches may be made in a second ([`SEARCHES_PER_SECOND`]).
    pub searches_per_second: u64,
    /// The fields, in the order that cells and writes index.
    pub fields: Vec<FieldWanted>,
    /// How long a read that fails for a passing reason is repeated before the failure is handed on.
    pub patience: Duration,
    /// Ends every wait at once.
    pub cancel: CancellationToken,
    /// The process's client.
    pub client: Client,
}

/// One object of one HubSpot account. Nothing is reached before the first call.
pub struct HubSpot {
    name: String,
    object: String,
    create_in_group: Option<String>,
    names: Vec<String>,
    kinds: Vec<FieldType>,
    patience: Duration,
    caller: Caller,
    /// Searches leave through the other one, when both quotas let them.
    searches: Caller,
    /// What the last look found: one for each field, none where it cannot be used.
    properties: Mutex<Option<Arc<Vec<Option<Property>>>>>,
}

impl fmt::Debug for HubSpot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HubSpot")
            .field("object", &self.object)
            .field("fields", &self.names)
            .finish_non_exhaustive()
    }
}

impl HubSpot {
    /// A connector for these settings; nothing is called.
    ///
    /// # Errors
    /// Of class `Misconfigured`: an address that is not HTTPS (or loopback).
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let caller = |in_flight_max: usize, share: f64, fixed: Option<(u64, Duration)>| {
            let throttle =
                ThrottleSettings { side: Side::Crm, name: settings.name.clone(), share, fixed, in_flight_max };
            Caller::new(crate::http::Settings {
                client: settings.client.clone(),
                base: settings.url.clone(),
                credential: Credential {
                    header: AUTHORIZATION,
                    prefix: "Bearer ".into(),
                    secret: Arc::clone(&settings.access_token).into(),
                },
                headers: HeaderMap::new(),
                throttle: Throttle::new(throttle, settings.cancel.clone()),
                body_bytes_max: None,
            })
        };
        let fixed = settings.quota.map(|quota| (quota.calls, quota.per));
        let in_flight_max = settings.quota.map_or(IN_FLIGHT_MAX, |quota| quota.in_flight_max);
        Ok(Self {
            caller: caller(in_flight_max, SHARE, fixed)?,
            searches: caller(1, 1.0, Some((settings.searches_per_second, Duration::from_secs(1))))?,
            name: settings.name,
            object: settings.object,
            create_in_group: settings.create_in_group,
            kinds: settings.fields.iter().map(|field| field.kind).collect(),
            names: settings.fields.into_iter().map(|field| field.name).collect(),
            patience: settings.patience,
            properties: Mutex::new(None),
        })
    }

    fn maps_companies(&self) -> bool {
        self.object == "contacts" && self.names.iter().any(|name| name.starts_with(properties::COMPANY_PREFIX))
    }

    /// What the properties were found to be; looked at now if they never were.
    async fn properties(&self) -> Result<Arc<Vec<Option<Property>>>, Failure> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        self.find_properties(false).await?;
        Ok(self.known().unwrap_or_default())
    }

    /// What the last look found.
    fn known(&self) -> Option<Arc<Vec<Option<Property>>>> {
        self.properties.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Connector for HubSpot {
    fn kind(&self) -> &'static str {
        "hubspot"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        Limits {
            batches_per_round: 1,
            // A record has a write for each field that changed: of one field, so many batches leave at once.
            writes_per_batch: ROWS_PER_WRITE * self.names.len().clamp(1, IN_FLIGHT_MAX),
            keys_per_fetch: ROWS_PER_READ,
            conditional_writes: false,
            shows_nulls: true,
        }
    }

    /// Every property has a history of its own.
    fn dating(&self, _field: usize) -> Dating {
        Dating::Itself
    }

    /// Properties are known by their names, which cannot change: there is nothing to remember of them.
    async fn prepare(&self, _known: &[Option<String>], may_create: bool) -> Result<Prepared, Failure> {
        let Found { definitions, clock, choices } = self.find_properties(may_create).await?;
        let identity = self.identity().await?;
        Ok(Prepared { identity, clock, definitions, warnings: Vec::new(), choices })
    }

    fn feeds(&self) -> &'static [&'static str] {
        if self.maps_companies() {
            &[FEED_RECORDS, FEED_ARCHIVED, FEED_COMPANIES]
        } else {
            &[FEED_RECORDS, FEED_ARCHIVED]
        }
    }

    fn changes(&self, feed: &'static str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        self.read_changes(feed, since)
    }

    fn everything(&self) -> BoxStream<'_, Result<Page, Failure>> {
        self.read_everything()
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
        self.update(batch, reservation).await
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
