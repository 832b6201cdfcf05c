//! Every knob of the simulator, as plain data: what can be said before it starts and changed while it runs.
//!
//! Must not know: how any of it is carried out.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::faults::FaultRule;
pub use super::readings::*;

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The stores, at least one; all live behind one address, as at BigCommerce.
    pub stores: Vec<StoreSettings>,
    /// How far the simulator's clock is ahead (+) or behind (−) this machine's, in milliseconds. It dates rows and `Date` headers.
    pub clock_skew_ms: i64,
    /// How many requests each store's log remembers; older ones are forgotten first.
    pub log_limit: usize,
    /// The longest request line accepted, in bytes of path and query; longer is 414.
    pub uri_limit_bytes: usize,
    /// A file to which every call is appended with its answer, one line of JSON each; others may append to it as well.
    pub record: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            stores: vec![StoreSettings::default()],
            clock_skew_ms: 0,
            log_limit: 10_000,
            uri_limit_bytes: 8192,
            record: None,
        }
    }
}

/// One store: who may come in, what it holds at first, how it behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// The hash in its URLs.
    pub hash: String,
    /// The one token it accepts. It guards nothing: it is made up by whoever starts the simulator.
    pub token: String,
    /// What the token may do.
    pub scopes: Vec<Scope>,
    /// What the store holds at first.
    pub population: Population,
    /// How it behaves.
    pub behaviour: Behaviour,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            hash: "abc123".to_owned(),
            token: "token".to_owned(),
            scopes: vec![Scope::CustomersModify, Scope::InformationRead],
            population: Population::default(),
            behaviour: Behaviour::default(),
        }
    }
}

/// What a token may do, by BigCommerce's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Customers, attributes and values: read and write.
    #[serde(rename = "store_v2_customers")]
    CustomersModify,
    /// Customers, attributes and values: read.
    #[serde(rename = "store_v2_customers_read_only")]
    CustomersRead,
    /// `GET /v2/store`, `GET /v2/time`.
    #[serde(rename = "store_v2_information_read_only")]
    InformationRead,
}

/// The customers a store starts with. The same population is the same data, byte for byte, on every machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Population {
    /// How many customers.
    pub customers: u64,
    /// The attribute definitions.
    pub attributes: Vec<AttributeSettings>,
    /// The share of values that is missing, 0 to 1.
    pub missing: f64,
    /// What the data is derived from.
    pub seed: u64,
}

impl Default for Population {
    fn default() -> Self {
        Self { customers: 0, attributes: Vec::new(), missing: 0.0, seed: 1 }
    }
}

/// One attribute definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeSettings {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: AttributeKind,
}

/// The three types of customer attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttributeKind {
    /// Text.
    String,
    /// A number, written as text.
    Number,
    /// A day, written as text.
    Date,
}

impl AttributeKind {
    /// BigCommerce's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Date => "date",
        }
    }

    /// From BigCommerce's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::String, Self::Number, Self::Date].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// How a store behaves; all of it may change while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// How many calls it allows.
    pub quota: Quota,
    /// How many calls it allows at once.
    pub concurrency: Concurrency,
    /// How long each answer takes at least, in milliseconds.
    pub latency_ms: u64,
    /// How old what lists show may be.
    pub replica: Replica,
    /// What goes wrong; the first rule that fires decides.
    pub faults: Vec<FaultRule>,
    /// How long the faults `slow` and `slow-after` take, in milliseconds.
    pub slow: SlowMs,
    /// How long after the call a `late-effect` lands, in milliseconds.
    pub late_effect: LateEffectMs,
    /// How many bytes the fault `huge` sends.
    pub huge_body: HugeBodyBytes,
    /// Every connection that asks for this store is reset before anything happens.
    pub outage: bool,
    /// Its plan has no segments: every call about them is answered with 403.
    pub no_segments: bool,
    /// What the uncertain facts are.
    pub readings: Readings,
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident, $default:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }
    };
}

amount!(
    /// Milliseconds of slowness; by default half a minute.
    SlowMs,
    30_000
);
amount!(
    /// Milliseconds until a late effect; by default five seconds.
    LateEffectMs,
    5_000
);
amount!(
    /// Bytes of a huge body; by default one gibibyte.
    HugeBodyBytes,
    1 << 30
);

/// The quota of a store, shared by all its apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Calls in a window. A Standard or Plus plan: 150 in 30 s.
    pub calls: u64,
    /// The window in milliseconds.
    pub window_ms: u64,
    /// How many of the calls other apps use in each window, evenly.
    pub other_apps: u64,
    /// Nothing is limited, and the headers show the quota of an "unlimited" plan: millions.
    pub unlimited: bool,
    /// Whether answers carry the quota headers.
    pub headers: bool,
}

impl Default for Quota {
    fn default() -> Self {
        Self { calls: 150, window_ms: 30_000, other_apps: 0, unlimited: false, headers: true }
    }
}

/// Calls at once, by kind of endpoint; more are answered with a 429 without headers. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Concurrency {
    /// `POST /customers`.
    pub create_customers: u32,
    /// `POST` of segments, of members, of addresses: each.
    pub create_others: u32,
    /// Each other endpoint that writes: `PUT /customers`, `PUT /customers/attribute-values` and so on.
    pub writes: u32,
    /// Each endpoint that reads.
    pub reads: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { create_customers: 10, create_others: 10, writes: 3, reads: 0 }
    }
}

/// Read after write: lists may be answered by a copy that lags behind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replica {
    /// How far the copy lags, in milliseconds; 0: there is none.
    pub lag_ms: u64,
    /// The share of reads that the copy answers, 0 to 1; in between, what is read jumps back and forth.
    pub share: f64,
}

impl Default for Replica {
    fn default() -> Self {
        Self { lag_ms: 0, share: 1.0 }
    }
}
