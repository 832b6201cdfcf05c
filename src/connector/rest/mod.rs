//! Any JSON API that the configuration describes: REST, or OData v4.
//!
//! What an API can do is said by its description alone (`model::Api`): nothing here knows a product. Records are listed in
//! pages and found by their keys; new records may have no modification time, so that the feed goes by the later of creation
//! and modification. A status of 2xx proves nothing: what became of a write is read from the answer where that shows the
//! record as it is stored, or read back. Where records have an ETag, writes are conditional. It must not know the
//! checkpoint, the engine or mappings.
//!
//! - `settings`: what it is opened with
//! - `template`: paths and queries with places to fill in
//! - `values`: JSON digit for digit, times, and how values are spelt
//! - `auth`: credentials, and tokens that are fetched
//! - `call`: reads again and again, writes once, what failures mean
//! - `query`: requests for pages and for keys
//! - `paging`: how pages follow each other, and whether all were seen
//! - `read`: what records show, and direct reads
//! - `shape`: what the API was found to be: fields, and what they hold
//! - `lifecycle`: making and removing records
//! - `write`: what is sent, `outcome`: what became of it, `batch`: OData batches

mod auth;
mod batch;
mod call;
mod lifecycle;
mod outcome;
mod paging;
mod query;
mod read;
mod settings;
mod shape;
mod template;
#[cfg(test)]
mod tests;
mod values;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use self::auth::{Shared, Tokens};
use self::query::Queries;
pub use self::settings::{Auth, Settings};
use super::paid::Paid;
use super::{Connector, FieldWanted, Lane, Lifecycle, Limits, Page, Prepared, Quota, Reservation};
use crate::http::{Caller, Throttle, ThrottleSettings};
use crate::model::{Api, ApiBody, ApiWrite, Class, Failure, Holds, Key, Observed, Outcome, Side, Timestamp, Write};

/// The one feed: records by the later of creation and modification.
const FEED_RECORDS: &str = "records";

/// Calls at the same time, where the configuration names no number.
const IN_FLIGHT_MAX: usize = 4;

/// The records of one round where each takes a call: they must leave soon after they were read.
const SINGLE_WRITES_PER_ROUND: usize = 20;

/// The keys of one direct read where each takes a call.
const SINGLE_KEYS_PER_FETCH: usize = 20;

/// The records that one API has in one collection. Nothing is reached before the first call.
pub struct Rest {
    name: String,
    names: Vec<String>,
    wanted: Vec<FieldWanted>,
    api: Api,
    queries: Queries,
    method: Method,
    list_headers: HeaderMap,
    read_headers: HeaderMap,
    write_headers: HeaderMap,
    create_headers: HeaderMap,
    delete_headers: HeaderMap,
    patience: Duration,
    caller: Caller,
    tokens: Option<Arc<Tokens>>,
    /// What each field was last found to hold; none before anybody looked.
    found: Mutex<Option<Arc<Vec<Holds>>>>,
}

impl fmt::Debug for Rest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rest").field("name", &self.name).field("fields", &self.names).finish_non_exhaustive()
    }
}

impl Rest {
    /// A connector for these settings; nothing is called.
    ///
    /// # Errors
    /// Of class `Misconfigured`: an address that is not HTTPS (or loopback), a header or a method that is none.
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let Settings { name, url, auth, api, quota, fields, patience, cancel, client } = settings;
        let shared = Shared { name: &name, client: &client, patience, cancel: &cancel };
        let (credential, tokens) = auth::credential(auth, &shared)?;
        let headers = |table: &std::collections::BTreeMap<String, String>| {
            let one = |(name, value): (&String, &String)| {
                Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_str(value).ok()?))
            };
            let why =
                || format!("`headers` in [crm.{name}] holds what no header can: letters, digits and `-` in names");
            table.iter().map(|pair| one(pair).ok_or_else(|| Failure::new(Class::Misconfigured, why()))).collect()
        };
        let throttle = ThrottleSettings {
            side: Side::Crm,
            name: name.clone(),
            share: 1.0,
            fixed: quota.map(|quota| (quota.calls, quota.per)),
            in_flight_max: quota.map_or(IN_FLIGHT_MAX, |quota| quota.in_flight_max),
        };
        let caller = Caller::new(crate::http::Settings {
            client: client.clone(),
            base: url,
            credential,
            headers: headers(&api.headers)?,
            throttle: Throttle::new(throttle, cancel.clone()),
            body_bytes_max: None,
        })?;
        let method = api.write.as_ref().map_or("PATCH", |write| write.method.as_str());
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_invalid| Failure::new(Class::Misconfigured, "`method` of `write` is no method"))?;
        Ok(Self {
            list_headers: headers(&api.list.headers)?,
            read_headers: api.read.as_ref().map_or_else(|| Ok(HeaderMap::new()), |read| headers(&read.headers))?,
            write_headers: api.write.as_ref().map_or_else(|| Ok(HeaderMap::new()), |write| headers(&write.headers))?,
            create_headers: api.create.as_ref().map_or_else(|| Ok(HeaderMap::new()), |one| headers(&one.headers))?,
            delete_headers: api.delete.as_ref().map_or_else(|| Ok(HeaderMap::new()), |one| headers(&one.headers))?,
            names: fields.iter().map(|field| field.name.clone()).collect(),
            queries: Queries::new(&api, &fields),
            wanted: fields,
            name,
            method,
            api,
            patience,
            caller,
            tokens,
            found: Mutex::new(None),
        })
    }

    /// How many records one write may have.
    fn records_per_write(&self) -> usize {
        match &self.api.write {
            Some(ApiWrite { body: ApiBody::Array | ApiBody::Batch(_), batch, .. }) => *batch,
            _ => 1,
        }
    }
}

#[async_trait]
impl Connector for Rest {
    fn kind(&self) -> &'static str {
        "rest"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        let writes_per_batch = self.records_per_write();
        Limits {
            batches_per_round: if writes_per_batch == 1 { SINGLE_WRITES_PER_ROUND } else { 1 },
            writes_per_batch,
            keys_per_fetch: if self.api.list.keys.is_some() { self.api.list.keys_max } else { SINGLE_KEYS_PER_FETCH },
            conditional_writes: self.api.etag.is_some(),
            shows_nulls: !self.api.omits_nulls,
        }
    }

    /// Fields are never created, and are known by their names: both arguments are without meaning here.
    async fn prepare(&self, _known: &[Option<String>], _may_create: bool) -> Result<Prepared, Failure> {
        self.look().await
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
        let found = self.by_keys(keys, fields, Paid::by(reservation, reservation.lane())).await?;
        Ok(keys.iter().map(|key| found.get(key).cloned().unwrap_or_else(|| self.gone(key, None))).collect())
    }

    fn batches(&self, writes: Vec<Write>) -> Vec<Vec<Write>> {
        write::batches(writes, self.records_per_write())
    }

    async fn reserve(&self, lane: Lane, calls: usize) -> Result<Box<dyn Reservation>, Failure> {
        Ok(Box::new(self.caller.throttle().reserve(lane, calls).await?))
    }

    async fn write(&self, batch: &[Write], reservation: &dyn Reservation) -> Vec<Outcome> {
        self.send(batch, reservation).await
    }

    /// Where the description says how.
    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        (self.api.create.is_some() || self.api.delete.is_some()).then_some(self)
    }

    fn quota(&self) -> Option<Quota> {
        self.caller.throttle().quota()
    }

    fn seconds_for(&self, calls: u64) -> f64 {
        self.caller.throttle().seconds_for(calls)
    }
}
