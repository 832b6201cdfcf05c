//! What a person configured about one pair, checked: which fields, which way, which policy, which limits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Side;

/// How the records and fields of a store and a CRM correspond.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// Its name in the configuration.
    pub name: String,
    /// Tried in order; the first for which a record has a value decides.
    pub matches: Vec<MatchRule>,
    /// Which records take part; empty: all.
    pub only: Only,
    /// Whether a missing partner is made.
    pub create: Create,
    /// What happens when a partner is gone.
    pub on_delete: OnDelete,
    /// Whether missing attribute definitions are created.
    pub create_attributes: bool,
    /// Whether customer groups that a contact names and the store lacks are created.
    pub create_groups: bool,
    /// The mapped fields.
    pub fields: Vec<FieldRule>,
}

/// One rule by which a customer and a contact are the same person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchRule {
    /// The store's field, e.g. `customer:email`.
    pub store: String,
    /// The CRM's field, e.g. `email`.
    pub crm: String,
}

/// A record takes part if each named field holds one of the listed values. Empty: every record does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Store field → allowed values.
    pub store: BTreeMap<String, Vec<String>>,
    /// CRM field → allowed values.
    pub crm: BTreeMap<String, Vec<String>>,
}

/// On which side a missing partner is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Create {
    /// On neither.
    #[default]
    None,
    /// Customers are made for contacts.
    Store,
    /// Contacts are made for customers.
    Crm,
    /// Both.
    Both,
}

impl Create {
    /// Whether partners are made on this side.
    pub const fn on(self, side: Side) -> bool {
        match side {
            Side::Store => matches!(self, Self::Store | Self::Both),
            Side::Crm => matches!(self, Self::Crm | Self::Both),
        }
    }
}

/// What happens to a link when one of its records is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// The link is forgotten, the partner stays.
    #[default]
    Unlink,
    /// The partner is deleted too, within the rail.
    Delete,
}

/// Whether a pair writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It does.
    #[default]
    Sync,
    /// Read, link, decide, log what would be written, send nothing.
    Observe,
}

/// One field and all that the configuration says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldRule {
    /// The store's name, which names the field everywhere: `attribute:Job title`.
    pub store: String,
    /// The CRM's name.
    pub crm: String,
    /// The canonical form.
    pub kind: FieldType,
    /// Which way values flow.
    pub direction: Direction,
    /// Who wins when both sides changed.
    pub conflict: Conflict,
    /// What a change to absent does.
    pub on_clear: OnClear,
    /// Whether a differing value on the target is overwritten; if not, only what is absent is filled.
    pub overwrite: bool,
    /// Whether text is compared without the white space around it.
    pub trim: bool,
    /// CRM word → store word.
    pub values: BTreeMap<String, String>,
    /// What else its table says, for whoever stores it.
    #[serde(default, skip_serializing_if = "FieldOptions::is_default")]
    pub options: FieldOptions,
}

/// What a field's table says beyond its names, its type and its policies. The merge and both connectors are given all of it;
/// each takes what concerns it. Whoever adds one adds a line here, and one where the configuration reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct FieldOptions {
    /// What stands between the items of a list where the CRM holds text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Whether a store field may be written whose writes do more than change it: log-ins, e-mails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_side_effects: bool,
    /// The segments that a list of segments is limited to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub among: Vec<String>,
    /// Who sees and changes metafields that we make; none: we.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_set: Option<String>,
    /// What tells which of a customer's addresses is meant; none: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressMark>,
}

/// A form field of an address that says which one is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddressMark {
    /// Its name.
    pub form_field: String,
    /// What it says.
    pub value: String,
}

impl FieldOptions {
    /// What two mappings of one field say together: whatever either allows is allowed.
    pub fn and(self, other: Self) -> Self {
        Self {
            separator: self.separator.or(other.separator),
            allow_side_effects: self.allow_side_effects || other.allow_side_effects,
            among: self.among.into_iter().chain(other.among).collect::<BTreeSet<_>>().into_iter().collect(),
            permission_set: self.permission_set.or(other.permission_set),
            address: self.address.or(other.address),
        }
    }

    /// Whether the table says nothing of these.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FieldRule {
    /// A two-way text field with every default.
    pub fn new(store: impl Into<String>, crm: impl Into<String>) -> Self {
        Self {
            store: store.into(),
            crm: crm.into(),
            kind: FieldType::String,
            direction: Direction::Both,
            conflict: Conflict::Newest,
            on_clear: OnClear::Propagate,
            overwrite: true,
            trim: true,
            values: BTreeMap::new(),
            options: FieldOptions::default(),
        }
    }
}

/// What a field means beyond its value: what stands before the colon of its store name says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A value, and nothing else.
    Plain,
    /// Whether somebody is in a segment. Nobody is in one halfway: nothing is the same as false.
    Membership,
    /// Whether somebody agreed to be sent mail. Nothing is not the same as false: nobody was asked.
    Consent,
}

impl FieldRule {
    /// What the field means beyond its value.
    pub fn meaning(&self) -> Meaning {
        match self.store.split_once(':') {
            Some(("segment", _)) => Meaning::Membership,
            Some(("subscriber", _)) => Meaning::Consent,
            _ => Meaning::Plain,
        }
    }
}

/// The canonical form of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Text, compared exactly (after trimming unless `trim = false`).
    #[default]
    String,
    /// Decimal numbers: `1.0` = `1`.
    Number,
    /// Days: `2026-01-02T00:00:00Z` = `2026-01-02`.
    Date,
    /// True or false.
    Boolean,
    /// A set of texts.
    List,
}

impl FieldType {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Date => "date",
            Self::Boolean => "boolean",
            Self::List => "list",
        }
    }
}

/// Which way values flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// The CRM is the source of truth: the store ends equal to it.
    ToStore,
    /// The store is the source of truth: the CRM ends equal to it.
    ToCrm,
}

/// Who wins when both sides changed a field to different values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflict {
    /// The later edit, by the sides' own times; a tie or a missing time holds the field.
    #[default]
    Newest,
    /// The store.
    Store,
    /// The CRM.
    Crm,
    /// Nobody: the field is held.
    Hold,
}

/// What a change to absent does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnClear {
    /// The other side is cleared too.
    #[default]
    Propagate,
    /// It is filled again from the other side.
    Restore,
    /// The field is held.
    Hold,
}

/// One limit on what a day may change: whichever of the two is crossed first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rail {
    /// Absolute.
    pub count: u64,
    /// Relative, in percent; 100: no relative limit.
    pub percent: f64,
}

/// The limits on what a day's passes of one pair may change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rails {
    /// Values written, of all mapped fields of linked records.
    pub writes: Rail,
    /// Values cleared, and differing values overwritten at first meeting.
    pub clears: Rail,
    /// Records created, of the linked records.
    pub creates: Rail,
    /// Records deleted or unlinked because they are gone, of the linked records.
    pub deletes: Rail,
}

impl Default for Rails {
    fn default() -> Self {
        Self {
            writes: Rail { count: 10_000, percent: 50.0 },
            clears: Rail { count: 100, percent: 5.0 },
            creates: Rail { count: 100, percent: 5.0 },
            deletes: Rail { count: 20, percent: 1.0 },
        }
    }
}
