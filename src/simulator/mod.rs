//! A BigCommerce on loopback: customers, their attributes, groups and form fields over HTTP, strict where the real one is, with its
//! quotas, its concurrency limits, its whole-second times, and with faults on demand.
//!
//! It is our own reading of what BigCommerce documents and what people met; where that is uncertain there is a switch
//! for both [readings]. A request that no correct client makes is refused or at least counted as a [violation], in a few
//! places more strictly than BigCommerce is known to be: unknown fields in bodies, a parameter given twice, a body that
//! is not declared as JSON.
//!
//! `start` gives a `Simulator`; its `StoreControl`s do what people do, change how a store behaves and tell what was
//! counted. The same over HTTP is described in [control_http]. `attune simulate` is `flags::run`.
//!
//! Must not know: anything of ours but `model`. What it shares with the connector is what BigCommerce says, nothing else:
//! a mistake in one must not be hidden by the same mistake in the other.
//!
//! [readings]: crate::simulator::Readings
//! [violation]: crate::simulator::Report::violations
//! [control_http]: crate::simulator::control_http

mod addresses;
mod answer;
mod attributes;
mod beside;
mod body;
mod clock;
mod connection;
mod control;
mod control_beside;
pub mod control_http;
mod control_http_beside;
mod control_resources;
mod cursor;
mod customer_row;
mod customer_writes;
mod customers;
mod data;
mod dates;
mod endpoint;
mod faults;
pub mod flags;
mod form_fields;
pub mod generate;
mod groups;
mod metafields;
mod people;
mod query;
mod quota;
mod random;
mod readings;
mod recorder;
mod records;
mod report;
mod request;
mod segments;
mod server;
pub mod settings;
mod store;
mod store_information;
mod subscribers;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::model::Timestamp;

pub use control::{ControlError, StoreControl};
pub use control_beside::MetafieldState;
pub use faults::{Fault, FaultRule};
pub use form_fields::FormFieldKind;
pub use people::{AttributeState, CustomerEdit, CustomerState, NewCustomer, ValueState};
pub use report::{LoggedRequest, Report};
pub use settings::{AttributeKind, AttributeSettings, Behaviour, Population, Readings, Scope, Settings, StoreSettings};

use clock::Clock;
use connection::{Connection, Gate, GatedListener};
use recorder::Recorder;
use server::Shared;
use store::Store;

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another address or port, or port 0 for any free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The settings do not fit together.
    #[error("{0}")]
    Settings(String),
    /// Calls cannot be recorded, or not all of them were.
    #[error("cannot record calls to {}: {what}; name a file that can be written, on a disk with room", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
}

/// A running simulator; it stops when dropped.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
    record: Option<PathBuf>,
}

/// Starts a simulator: when this returns, it accepts connections.
///
/// # Errors
/// If the address cannot be listened on, the settings do not fit together, or the record cannot be opened.
pub async fn start(settings: Settings) -> Result<Simulator, Error> {
    check(&settings)?;
    let recorder = settings.record.as_deref().map(|path| {
        Recorder::open(path).map_err(|error| Error::Record { path: path.to_owned(), what: error.to_string() })
    });
    let recorder = recorder.transpose()?;
    let refused = |source| Error::Listen { address: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).await.map_err(refused)?;
    let gate = Arc::new(Gate::new());
    let clock = Arc::new(Clock::new(settings.clock_skew_ms));
    let stores: BTreeMap<String, Arc<Store>> = settings
        .stores
        .iter()
        .map(|store| (store.hash.clone(), Arc::new(Store::new(store, settings.log_limit, Arc::clone(&clock)))))
        .collect();
    let listener = GatedListener::new(listener, Arc::clone(&gate)).map_err(refused)?;
    let address = listener.address();
    let shared = Arc::new(Shared {
        url: format!("http://{address}"),
        stores,
        clock,
        gate,
        uri_limit_bytes: settings.uri_limit_bytes,
        requests: AtomicU64::new(0),
        recorder,
    });
    let router = Router::new().fallback(server::handle).with_state(Arc::clone(&shared));
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let serving = tokio::spawn(async move {
        let service = router.into_make_service_with_connect_info::<Connection>();
        // It ends only when told to: what goes wrong with a connection ends that connection.
        let _ = axum::serve(listener, service).with_graceful_shutdown(stopped).await;
    });
    Ok(Simulator { address, shared, stop, serving: Some(serving), record: settings.record })
}

fn check(settings: &Settings) -> Result<(), Error> {
    let refuse = |what: String| Err(Error::Settings(what));
    if settings.stores.is_empty() {
        return refuse("there is no store: give at least one".to_owned());
    }
    for (index, store) in settings.stores.iter().enumerate() {
        if store.hash.is_empty() || !store.hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return refuse(format!("{:?} is no store hash: letters and digits only", store.hash));
        }
        if settings.stores[..index].iter().any(|other| other.hash == store.hash) {
            return refuse(format!("there are two stores with the hash {:?}", store.hash));
        }
        let attributes = &store.population.attributes;
        if attributes.len() > attributes::ATTRIBUTES_MAX {
            let (count, most) = (attributes.len(), attributes::ATTRIBUTES_MAX);
            return refuse(format!("{count} attributes for store {:?}: a store has {most} at most", store.hash));
        }
        for (index, attribute) in attributes.iter().enumerate() {
            if attributes[..index].iter().any(|other| other.name == attribute.name) {
                return refuse(format!("store {:?} has two attributes named {:?}", store.hash, attribute.name));
            }
        }
        for rule in &store.behaviour.faults {
            rule.check().map_err(Error::Settings)?;
        }
    }
    Ok(())
}

impl Simulator {
    /// What `api_url` is set to: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handle of a store by its hash.
    pub fn store(&self, hash: &str) -> Option<StoreControl> {
        self.shared.stores.get(hash).map(|store| StoreControl::new(Arc::clone(store)))
    }

    /// The handles of all stores, by hash.
    pub fn stores(&self) -> Vec<StoreControl> {
        self.shared.stores.values().map(|store| StoreControl::new(Arc::clone(store))).collect()
    }

    /// The simulator's clock: it dates rows and `Date` headers.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// How far that clock is ahead (+) or behind (−) this machine's from now on, in milliseconds.
    pub fn set_clock_skew_ms(&self, skew_ms: i64) {
        self.shared.clock.set_skew_ms(skew_ms);
    }

    /// Lets time pass at once: for dates, quota windows, lag and late effects.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
    }

    /// Refuses connections (and resets those that are open), or accepts them again; returns when that is so.
    /// For one store's outage see [`StoreControl::set_outage`].
    pub async fn refuse_connections(&self, refuse: bool) {
        self.shared.gate.close_listener(refuse).await;
        if refuse {
            self.drop_connections();
        }
    }

    /// Resets every connection that is open now.
    pub fn drop_connections(&self) {
        self.shared.gate.cut_connections();
    }

    /// Whether every call so far is in the record, where there is one.
    ///
    /// # Errors
    /// If one could not be written.
    pub fn record_is_complete(&self) -> Result<(), Error> {
        let failure = self.shared.recorder.as_ref().and_then(Recorder::failure);
        failure.map_or(Ok(()), |error| {
            Err(Error::Record { path: self.record.clone().unwrap_or_default(), what: error.to_string() })
        })
    }

    /// Stops: connections are cut, the port is free when this returns.
    pub async fn stop(mut self) {
        self.halt();
        if let Some(serving) = self.serving.take() {
            // It was told to stop; that it panicked on the way changes nothing.
            let _ = serving.await;
        }
    }

    fn halt(&self) {
        self.stop.cancel();
        self.shared.gate.cut_for_good();
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.halt();
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}
