//! Salesforce: contacts, or another object, as one kind of source.
//!
//! Salesforce dates whole records, twice: `SystemModstamp` moves for reasons of its own and finds what changed,
//! `LastModifiedDate` decides conflicts. Windows are paged by id; deleted rows are part of them for as long as the bin holds
//! them, and merged ones name the record that carries on. Writes go 200 records a call, each answered for on its own, and are
//! read back. There is no conditional write for many records. It must not know the checkpoint, the engine or mappings.
//!
//! The facts are Salesforce's public documentation (REST API and SOQL, version 62) and what its users report; no Salesforce was
//! at hand.
//!
//! - `token`: access tokens by a client's secret or by a signed assertion
//! - `api`: the calls, the org's daily limit, and what error codes mean
//! - `fields`: which fields an object has, how values are spelt, ids of 15 and 18 characters
//! - `read`: windows, sweeps, direct reads
//! - `lifecycle`: making and deleting records
//! - `lookup`: finding records by a value
//! - `write`: collections of 200, and what became of each record

mod api;
mod fields;
mod lifecycle;
mod lookup;
mod read;
mod token;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio_util::sync::CancellationToken;

use self::api::Usage;
use self::fields::{Found, Object};
pub use self::token::Grant;
use self::token::Tokens;
use super::paid::Paid;
use super::{Connector, FieldWanted, Lane, Lifecycle, Limits, Lookup, Page, Prepared, Quota, Reservation};
use crate::http::{Caller, Client, Credential, FixedQuota, SecretSource, Throttle, ThrottleSettings};
use crate::model::{Class, Failure, Key, Observed, Outcome, Side, Timestamp, Write};

/// The one feed: records by `SystemModstamp`.
const FEED_RECORDS: &str = "records";

/// The rows of a page.
const ROWS_PER_PAGE: usize = 2_000;

/// The ids of one direct read: an address of a few thousand characters.
const KEYS_PER_FETCH: usize = 200;

/// The records of one collection.
const ROWS_PER_WRITE: usize = 200;

/// Calls at the same time: an org allows 25 that take long.
const IN_FLIGHT_MAX: usize = 4;

/// What the configuration says about one org (`[crm.NAME]` with `kind = "salesforce"`).
pub struct Settings {
    /// The source's name in the configuration, for messages.
    pub name: String,
    /// The org's own address: `https://example.my.salesforce.com`.
    pub url: String,
    /// How a token is asked for.
    pub grant: Grant,
    /// The object: `Contact`.
    pub object: String,
    /// The object's external id field that holds the token of a creation; none: creations leave no token.
    pub external_id: Option<String>,
    /// A quota to keep to.
    pub quota: Option<FixedQuota>,
    /// The fields, in the order that cells and writes index.
    pub fields: Vec<FieldWanted>,
    /// How long a read that fails for a passing reason is repeated before the failure is handed on.
    pub patience: Duration,
    /// Ends every wait at once.
    pub cancel: CancellationToken,
    /// The process's client.
    pub client: Client,
}

/// One object of one Salesforce org. Nothing is reached before the first call.
pub struct Salesforce {
    name: String,
    object: String,
    external_id: Option<String>,
    names: Vec<String>,
    patience: Duration,
    caller: Caller,
    usage: Mutex<Usage>,
    /// What the last look found.
    found: Mutex<Option<Arc<Object>>>,
}

impl fmt::Debug for Salesforce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Salesforce")
            .field("object", &self.object)
            .field("fields", &self.names)
            .finish_non_exhaustive()
    }
}

impl Salesforce {
    /// A connector for these settings; nothing is called.
    ///
    /// # Errors
    /// Of class `Misconfigured`: an address that is not HTTPS (or loopback), or one that is no org's own.
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        if is_for_people(&settings.url) {
            let why = format!(
                "`url` of [crm.{}] is an address for people to log in at; give the org's own, https://NAME.my.salesforce.com, which \
                 Setup shows under My Domain",
                settings.name
            );
            return Err(Failure::new(Class::Misconfigured, why));
        }
        let fixed = settings.quota.map(|quota| (quota.calls, quota.per));
        let in_flight_max = settings.quota.map_or(IN_FLIGHT_MAX, |quota| quota.in_flight_max);
        let throttle =
            ThrottleSettings { side: Side::Crm, name: settings.name.clone(), share: 1.0, fixed, in_flight_max };
        let tokens = Tokens::new(
            &settings.name,
            &settings.url,
            settings.grant,
            settings.client.clone(),
            settings.cancel.clone(),
        )?;
        // Rules that hand a new record to somebody also write to them.
        let headers = [("sforce-query-options", "batchSize=2000"), ("sforce-auto-assign", "FALSE")];
        let headers: HeaderMap = headers
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        let caller = Caller::new(crate::http::Settings {
            client: settings.client,
            base: settings.url,
            credential: Credential {
                header: AUTHORIZATION,
                prefix: "Bearer ".into(),
                secret: SecretSource::Fetched(Arc::new(tokens)),
            },
            headers,
            throttle: Throttle::new(throttle, settings.cancel),
            body_bytes_max: None,
        })?;
        Ok(Self {
            name: settings.name,
            object: settings.object,
            external_id: settings.external_id,
            names: settings.fields.into_iter().map(|field| field.name).collect(),
            patience: settings.patience,
            caller,
            usage: Mutex::default(),
            found: Mutex::new(None),
        })
    }

    /// What the object was found to be; looked at now if it never was.
    async fn found(&self) -> Result<Arc<Object>, Failure> {
        match self.known() {
            Some(known) => Ok(known),
            None => Ok(self.look().await?.0),
        }
    }

    /// What the last look found.
    fn known(&self) -> Option<Arc<Object>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look(&self) -> Result<(Arc<Object>, Prepared), Failure> {
        let me = self.who_am_i().await?;
        let (object, Found { definitions, clock, choices }) = self.find_fields(me.user).await?;
        let found = Arc::new(object);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&found));
        let identity = format!("salesforce {} {}", me.organization, self.object);
        Ok((found, Prepared { identity, clock, definitions, warnings: Vec::new(), choices }))
    }
}

/// Whether an address is the login page of all orgs, or one that a browser shows: neither answers calls about an org's data.
fn is_for_people(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or(url).split(['/', ':']).next().unwrap_or_default().to_ascii_lowercase();
    ["login.salesforce.com", "test.salesforce.com"].contains(&host.as_str())
        || [".lightning.force.com", ".salesforce-setup.com"].iter().any(|end| host.ends_with(end))
}

#[async_trait]
impl Connector for Salesforce {
    fn kind(&self) -> &'static str {
        "salesforce"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        Limits {
            batches_per_round: 1,
            // A record has a write for each field that changed: of one field, so many batches leave at once.
            writes_per_batch: ROWS_PER_WRITE * self.names.len().clamp(1, IN_FLIGHT_MAX),
            keys_per_fetch: KEYS_PER_FETCH,
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
        self.update(batch, reservation).await
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        Some(self)
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }

    /// The org's own limit, over a day that slides.
    fn quota(&self) -> Option<Quota> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).quota()
    }

    fn seconds_for(&self, calls: u64) -> f64 {
        self.caller.throttle().seconds_for(calls)
    }
}
