//! BigCommerce: customers and what belongs to them, as one kind of source.
//!
//! The facts about the API that the code relies on are stated where they are used; they come from BigCommerce's public
//! documentation and, where that is silent, from what users reported. What is uncertain is read in the way that cannot
//! lose data.
//!
//! What every resource shares:
//!
//! - `clock`: the store's time where answers are not dated
//! - `endpoints`: what may be called, and how often at once
//! - `field`: which store fields exist, whose each is, and who writes it
//! - `wire`: the JSON, borrowed from the answer
//! - `query`: query strings, written by hand
//! - `paging`: walking pages, and whether what was seen is whole
//! - `read`: customers: feed, sweep, direct reads
//! - `write`: packs writes by who writes them
//! - `lookup`, `lifecycle`: customers found by e-mail, made and deleted
//! - `beside`: what a sweep reads before the customers
//! - `ids`: what a DELETE names, which is never nothing
//!
//! A room for each resource, with what its fields hold, how they are shown and how they are written:
//!
//! - `attributes`: definitions, values with a feed of their own, upserts and deletes
//! - `customers`: the customer's own fields
//! - `groups`: its group, by name
//! - `form_fields`: what it entered at sign-up
//! - `metafields`: what apps keep about it
//! - `addresses`: one of its addresses
//! - `subscribers`: which mail its e-mail consented to
//! - `segments`: which segments it is in, by its shopper profile
//!
//! A new one adds a variant to `field::Field` (and to `field::Writer`, where its calls are its own); the compiler names the
//! places that must know it.

mod addresses;
mod attributes;
mod beside;
mod clock;
mod customers;
mod endpoints;
mod field;
mod form_fields;
mod groups;
mod ids;
mod lifecycle;
mod lookup;
mod metafields;
mod paging;
mod query;
mod read;
mod segments;
mod subscribers;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use reqwest::header::{HeaderMap, HeaderName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::attributes::Attributes;
use self::clock::StoreClock;
use self::endpoints::{Endpoints, IN_FLIGHT_PER_ENDPOINT};
use self::field::{Field, Fields, Writer};
use self::form_fields::FormFields;
use self::groups::Groups;
pub use self::ids::{Ids, deletion};
use self::segments::{Roster, Segments};
use super::paid::Paid;
use super::retry::Attempts;
use super::{
    Connector, Dating, Destination, FieldWanted, Lane, Lifecycle, Limits, Lookup, Page, Prepared, Quota, Reservation,
};
use crate::http::{Answer, Caller, Client, Credential, Endpoint, Request, SecretProvider, Throttle, ThrottleSettings};
use crate::model::{
    Class, Definition, DefinitionState, Failure, FieldShape, Key, Observed, Outcome, Side, Timestamp, Write,
};

/// The feed of customers: new ones, and changed fields of their own.
pub const FEED_CUSTOMERS: &str = "customers";

/// The feed of attribute values: a change of a value does not date its customer.
pub const FEED_ATTRIBUTE_VALUES: &str = "attribute_values";

/// The feed of who is in which segment: nothing dates it.
pub const FEED_SEGMENTS: &str = "segments";

/// The feed of metafields, which date themselves.
pub const FEED_METAFIELDS: &str = "metafields";

/// The feed of subscribers, who are customers by their e-mails.
pub const FEED_SUBSCRIBERS: &str = "subscribers";

/// The rows of a page; 250 is the documented maximum.
const PAGE_ROWS: usize = 250;

/// All endpoints of a store together.
const IN_FLIGHT_MAX: usize = 8;

/// A store to connect to.
pub struct Settings {
    /// Its name in the configuration: a label, for events.
    pub name: String,
    /// What the store is: its hash.
    pub store_hash: String,
    /// Scheme and host of the API: `https://api.bigcommerce.com`.
    pub api_url: String,
    /// Where the access token comes from.
    pub access_token: SecretProvider,
    /// The part of the store's quota that is ours (0.8).
    pub share: f64,
    /// The store fields to observe, in the order of cells.
    pub fields: Vec<FieldWanted>,
    /// Whether missing attributes may be created.
    pub create_attributes: bool,
    /// Whether customer groups that are to be assigned and are missing may be created.
    pub create_groups: bool,
    /// How long a read is repeated before it has failed; waiting for the quota not counted.
    pub patience: Duration,
    /// Ends every wait and every read.
    pub cancel: CancellationToken,
    /// The process's client.
    pub client: Client,
}

/// One BigCommerce store.
pub struct BigCommerce {
    name: String,
    store_hash: String,
    names: Vec<String>,
    fields: Fields,
    feeds: Vec<&'static str>,
    create_attributes: bool,
    create_groups: bool,
    patience: Duration,
    caller: Caller,
    endpoints: Endpoints,
    clock: StoreClock,
    /// The most ids in one address: fewer once the store has refused as many.
    ids_per_call: AtomicUsize,
    /// Attributes that were asked to be made, and when: not asked for again while they may still appear.
    asked_for: Mutex<HashMap<String, Instant>>,
    /// What [`Connector::prepare`] found; none before.
    attributes: RwLock<Option<Arc<Attributes>>>,
    groups: Groups,
    form_fields: FormFields,
    /// The same of segments.
    segments: RwLock<Option<Arc<Segments>>>,
    /// Whether customers were seen to show their segments.
    segments_shown: AtomicBool,
    roster: Mutex<Roster>,
    /// How many pages all mapped metafields fill, as the last sweep found.
    metafield_pages: AtomicU64,
    subscribers: Mutex<subscribers::Known>,
}

impl fmt::Debug for BigCommerce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BigCommerce")
            .field("store_hash", &self.store_hash)
            .field("fields", &self.names)
            .finish_non_exhaustive()
    }
}

/// Nothing that could change the meaning of a path.
const fn is_hash_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

impl BigCommerce {
    /// Checks the settings; nothing is called, and the token is not read yet.
    ///
    /// # Errors
    /// Of class `Misconfigured`: a store hash that is none, an address that is not HTTPS.
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let hash = settings.store_hash;
        if hash.is_empty() || hash.len() > 64 || !hash.chars().all(is_hash_character) {
            let sentence = "a store hash has only letters, digits, `-` and `_`: it is what follows `/stores/` in the API path \
                            of the store's API account";
            return Err(Failure::new(Class::Misconfigured, sentence));
        }
        let throttle = Throttle::new(
            ThrottleSettings {
                side: Side::Store,
                name: settings.name.clone(),
                share: settings.share,
                fixed: None,
                in_flight_max: IN_FLIGHT_MAX,
            },
            settings.cancel,
        );
        let caller = Caller::new(crate::http::Settings {
            client: settings.client,
            base: format!("{}/stores/{hash}", settings.api_url.trim_end_matches('/')),
            credential: Credential {
                header: HeaderName::from_static("x-auth-token"),
                prefix: "".into(),
                secret: settings.access_token.into(),
            },
            headers: HeaderMap::new(),
            throttle,
            body_bytes_max: None,
        })?;
        let names = settings.fields.iter().map(|field| field.name.clone()).collect();
        let fields = Fields::new(settings.fields);
        let mut feeds = vec![FEED_CUSTOMERS];
        if fields.iter().any(|field| field.writer() == Some(Writer::AttributeValues)) {
            feeds.push(FEED_ATTRIBUTE_VALUES);
        }
        if fields.iter().any(Field::is_about_segments) {
            feeds.push(FEED_SEGMENTS);
        }
        if fields.iter().any(|field| matches!(field, Field::Metafield(_))) {
            feeds.push(FEED_METAFIELDS);
        }
        if fields.iter().any(|field| matches!(field, Field::Subscriber(_))) {
            feeds.push(FEED_SUBSCRIBERS);
        }
        Ok(Self {
            name: settings.name,
            store_hash: hash,
            names,
            fields,
            feeds,
            create_attributes: settings.create_attributes,
            create_groups: settings.create_groups,
            patience: settings.patience,
            caller,
            endpoints: Endpoints::new(),
            clock: StoreClock::default(),
            ids_per_call: AtomicUsize::new(PAGE_ROWS),
            asked_for: Mutex::default(),
            attributes: RwLock::new(None),
            groups: Groups::default(),
            form_fields: FormFields::default(),
            segments: RwLock::default(),
            segments_shown: AtomicBool::new(false),
            roster: Mutex::default(),
            metafield_pages: AtomicU64::new(u64::MAX),
            subscribers: Mutex::default(),
        })
    }

    fn maps_attributes(&self) -> bool {
        self.feeds.contains(&FEED_ATTRIBUTE_VALUES)
    }

    /// The attributes as the last [`Connector::prepare`] found them.
    fn attributes(&self) -> Result<Arc<Attributes>, Failure> {
        if !self.maps_attributes() {
            return Ok(Arc::default());
        }
        self.attributes.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| {
            let sentence = format!(
                "the attributes of store {} are not known yet: it must be prepared before it is read or written; \
                 please report this as a defect of Attune",
                self.store_hash
            );
            Failure::new(Class::Broken, sentence)
        })
    }

    /// Finds the definition of each field, whatever its room.
    async fn find_definitions(&self, known: &[Option<String>], may_create: bool) -> Result<Prepared, Failure> {
        let paid = Paid::in_lane(Lane::Fresh);
        let (mut attributes, clock) = self.define_attributes(known, may_create).await?;
        self.find_groups(paid).await?;
        let (mut form_fields, mut warnings) = self.define_form_fields(known, paid).await?;
        let (mut segments, more) = self.define_segments(known, may_create).await?;
        warnings.extend(more);
        let usable = |shape: FieldShape| Definition { id: None, state: DefinitionState::Usable(shape) };
        let mut definitions = Vec::with_capacity(self.fields.len());
        for (index, field, wanted) in self.fields.wanted() {
            let found = match field {
                Field::Attribute(_) => attributes.remove(&index),
                Field::Customer(field) => Some(usable(field.shape(&wanted.options))),
                Field::Group => Some(usable(groups::shape())),
                Field::Form(_) => form_fields.remove(&index),
                Field::Segment(_) | Field::Segments => segments.remove(&index),
                Field::Metafield(_) => Some(usable(metafields::shape())),
                Field::Subscriber(_) => Some(usable(subscribers::shape())),
                Field::Address(field) => Some(usable(field.shape())),
                Field::Unusable(sentence) => {
                    Some(Definition { id: None, state: DefinitionState::Unusable(sentence.clone()) })
                }
            };
            let Some(found) = found else {
                let sentence =
                    format!("`{}` was not looked for; please report this as a defect of Attune", wanted.name);
                return Err(Failure::new(Class::Broken, sentence));
            };
            definitions.push(found);
        }
        let identity = self.store_hash.clone();
        Ok(Prepared { identity, clock, definitions, warnings, choices: Vec::new() })
    }

    /// Repeats one read until it is answered and `parse` can read the answer, or patience is spent.
    async fn read<T>(
        &self,
        endpoint: &Endpoint,
        query: &str,
        paid: Paid<'_>,
        parse: impl Fn(&Answer) -> Result<T, Failure> + Send + Sync,
    ) -> Result<T, Failure> {
        let request = Request::get(query);
        let mut attempts = Attempts::new(self.patience, self.caller.throttle().cancelled());
        loop {
            let turn = self.caller.turn(endpoint, paid.read()).await?;
            attempts.begin();
            let asked_at = Instant::now();
            match self.caller.send(turn, &request).await {
                Ok(mut answer) => {
                    if !self.date(&mut answer, asked_at, paid).await {
                        continue;
                    }
                    match parse(&answer) {
                        Ok(parsed) => return Ok(parsed),
                        Err(failure) => attempts.unreadable(failure).await?,
                    }
                }
                Err(failure) => attempts.failed(explained(failure)).await.map_err(refused_read)?,
            }
        }
    }
}

/// What BigCommerce's refusals of credentials mean, and what to do.
fn explained(mut failure: Failure) -> Failure {
    match failure.status {
        Some(401) => {
            "BigCommerce refuses the access token; check `access_token`, that its API account still exists, and that it is one \
             of the store that `store_hash` names"
                .clone_into(&mut failure.message);
        }
        Some(403) => {
            "BigCommerce says that the access token may not do this; its API account needs the scope Customers \
             (modify), and `store_hash` must be the store it was made for"
                .clone_into(&mut failure.message);
        }
        _ => {}
    }
    failure
}

/// A read that is refused as wrong was written wrong by us.
fn refused_read(mut failure: Failure) -> Failure {
    if failure.class == Class::Rejected {
        failure.class = Class::Broken;
        failure.message.push_str("; please report this as a defect of Attune");
    }
    failure
}

#[async_trait]
impl Connector for BigCommerce {
    fn kind(&self) -> &'static str {
        "bigcommerce"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        Limits {
            batches_per_round: IN_FLIGHT_PER_ENDPOINT,
            writes_per_batch: attributes::VALUES_PER_UPSERT,
            keys_per_fetch: PAGE_ROWS,
            conditional_writes: false,
            shows_nulls: false,
        }
    }

    fn dating(&self, field: usize) -> Dating {
        self.fields.get(field).map_or(Dating::Nothing, Field::dating)
    }

    fn destination(&self, field: usize) -> Destination {
        let writer = self.fields.get(field).and_then(Field::writer);
        writer.unwrap_or(Writer::AttributeValues).destination()
    }

    async fn prepare(&self, known: &[Option<String>], may_create: bool) -> Result<Prepared, Failure> {
        self.find_definitions(known, may_create).await
    }

    fn feeds(&self) -> &[&'static str] {
        &self.feeds
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
        self.pack(writes)
    }

    async fn reserve(&self, lane: Lane, calls: usize) -> Result<Box<dyn Reservation>, Failure> {
        Ok(Box::new(self.caller.throttle().reserve(lane, calls).await?))
    }

    async fn write(&self, batch: &[Write], reservation: &dyn Reservation) -> Vec<Outcome> {
        self.write_batch(batch, reservation).await
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
