//! Every knob of the simulator, as plain data: what can be said before it starts and changed while it runs.
//!
//! Must not know: how any of it is carried out.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::faults::FaultRule;

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
    /// Each other endpoint that writes: `PUT /customers`, `PUT /customers/attribute-values` and so on.
    pub writes: u32,
    /// Each endpoint that reads.
    pub reads: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { create_customers: 10, writes: 3, reads: 0 }
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

macro_rules! readings {
    ($($(#[$doc:meta])* $field:ident: $kind:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }),+ $(,)?) => {
        /// What BigCommerce's documents leave open, decided one way or the other. The default of each is the first.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Readings {
            $($(#[$doc])* pub $field: $kind,)+
        }

        impl Readings {
            /// Each reading's name and its words, the default first.
            pub const ALL: &[(&str, &[&str])] = &[$((stringify!($field), &[$($word),+])),+];

            /// Sets one by its name and word.
            ///
            /// # Errors
            /// A sentence, if there is no such name or word.
            pub fn set(&mut self, name: &str, word: &str) -> Result<(), String> {
                let wanted = name.replace('-', "_");
                match wanted.as_str() {
                    $(stringify!($field) => {
                        self.$field = match word {
                            $($word => $kind::$variant,)+
                            _ => return Err(format!("{word:?} is no reading of {wanted}: one of {}", [$($word),+].join(", "))),
                        };
                    })+
                    _ => {
                        let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
                        return Err(format!("there is no reading {name:?}: one of {}", names.join(", ")));
                    }
                }
                Ok(())
            }

            /// Every reading the other way round (of three, the last).
            pub fn opposite() -> Self {
                let mut readings = Self::default();
                $({
                    const VARIANTS: &[$kind] = &[$($kind::$variant),+];
                    readings.$field = VARIANTS[VARIANTS.len() - 1];
                })+
                readings
            }
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub enum $kind {
                $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
            }

            impl Default for $kind {
                fn default() -> Self {
                    const VARIANTS: &[$kind] = &[$($kind::$variant),+];
                    VARIANTS[0]
                }
            }
        )+
    };
}

readings! {
    /// Whether `:min` and `:max` of a date include the date itself.
    date_bounds: DateBounds {
        /// They do (the page about common query parameters).
        Inclusive = "inclusive",
        /// They do not ("modified after this date").
        Exclusive = "exclusive",
    },
    /// Whether an upsert of the value that is there already changes its `date_modified`.
    unchanged_upsert: UnchangedUpsert {
        /// It does.
        Bumps = "bumps",
        /// It does not.
        Keeps = "keeps",
    },
    /// What a batch with a refused row does to the other rows.
    refused_batch: RefusedBatch {
        /// Nothing of it is done.
        Atomic = "atomic",
        /// The other rows are done; the answer is a 422 all the same.
        Partial = "partial",
    },
    /// How many values `include=attributes` shows of one customer.
    included_attributes: IncludedAttributes {
        /// All.
        All = "all",
        /// The first ten (the schema's `maxItems`).
        FirstTen = "first-ten",
    },
    /// What an upsert of an empty text does.
    empty_value: EmptyValue {
        /// It is stored.
        Stores = "stores",
        /// The value is deleted, and the answer has no row for it.
        Deletes = "deletes",
    },
    /// Whether customers are offered by cursor.
    cursor_pages: CursorPages {
        /// `meta.cursor_pagination` on the first page, and `after` and `before`.
        Offered = "offered",
        /// Neither: both parameters are unknown.
        Absent = "absent",
    },
    /// How the last cursor page is known.
    cursor_end: CursorEnd {
        /// It has no `links.next`.
        NoNext = "no-next",
        /// It has one, which leads to an empty page.
        EmptyPage = "empty-page",
    },
    /// What is done to values of number and date attributes.
    typed_values: TypedValues {
        /// They are stored as sent.
        AsSent = "as-sent",
        /// What is no number or date is refused; the rest is stored as sent.
        Validated = "validated",
        /// Also, `1.0` becomes `1`, a time its day, and white space around any value goes.
        Normalised = "normalised",
    },
    /// Whether an edit of a value changes the customer's `date_modified`.
    value_edits: ValueEdits {
        /// It does not.
        KeepCustomer = "keep-customer",
        /// It does.
        TouchCustomer = "touch-customer",
    },
    /// The order of attribute values.
    values_order: ValuesOrder {
        /// By id.
        ById = "by-id",
        /// By modification, the oldest first.
        ByModified = "by-modified",
    },
    /// Whether the list of attribute definitions says that it has pages.
    attributes_pages: AttributesPages {
        /// It has a `meta.pagination`.
        Shown = "shown",
        /// Its `meta` is empty: there are at most fifty.
        Absent = "absent",
    },
    /// Whether two attribute definitions may have one name.
    attribute_names: AttributeNames {
        /// No two have exactly the same.
        Unique = "unique",
        /// No two have the same but for case.
        Folded = "folded",
        /// They may.
        Repeatable = "repeatable",
    },
    /// What the 255 of the longest value are.
    value_length: ValueLength {
        /// Characters.
        Characters = "characters",
        /// Bytes.
        Bytes = "bytes",
    },
    /// How many ids a parameter takes that takes several.
    ids_per_list: IdsPerList {
        /// As many as the address has room for.
        Any = "any",
        /// A hundred.
        Hundred = "hundred",
    },
    /// Whether two e-mails that differ in case are one.
    email_case: EmailCase {
        /// They are.
        Folded = "folded",
        /// They are two.
        Exact = "exact",
    },
    /// What becomes of a customer's form fields that a write does not name.
    form_field_writes: FormFieldWrites {
        /// They stay.
        Merge = "merge",
        /// They go.
        Replace = "replace",
    },
    /// What a write of a form field does that the store does not have.
    unknown_form_fields: UnknownFormFields {
        /// It is refused.
        Refused = "refused",
        /// It is left out; the answer is good.
        Ignored = "ignored",
    },
    /// Whether a write of form fields needs a value in each that is required.
    required_form_fields: RequiredFormFields {
        /// It does not.
        Unchecked = "unchecked",
        /// It is refused without.
        Checked = "checked",
    },
    /// Whether the answer to a write of customers shows their form fields.
    form_fields_answered: FormFieldsAnswered {
        /// It does not.
        Absent = "absent",
        /// It does.
        Shown = "shown",
    },
    /// Whether a shopper's edit of a form field changes the customer's `date_modified`.
    form_field_edits: FormFieldEdits {
        /// It does.
        TouchCustomer = "touch-customer",
        /// It does not.
        KeepCustomer = "keep-customer",
    },
    /// Whether two customer groups may have one name.
    group_names: GroupNames {
        /// They may not.
        Unique = "unique",
        /// They may.
        Repeatable = "repeatable",
    },
    /// How store credit is written.
    store_credit_amount: StoreCreditAmount {
        /// As a number.
        Number = "number",
        /// As a text with four decimals.
        Text = "text",
    },
}
