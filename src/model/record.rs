//! Records of a source and what a read shows of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Seen, Timestamp, Value};

/// One of the two sides of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The BigCommerce store.
    Store,
    /// The CRM, ERP or database.
    Crm,
}

impl Side {
    /// The other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Store => Self::Crm,
            Self::Crm => Self::Store,
        }
    }

    /// `store` or `crm`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Crm => "crm",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The id of a record at its source, as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub String);

impl Key {
    /// From anything that prints as the id.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What one read shows of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Unseen, absent, or a value as the source writes it.
    pub seen: Seen,
    /// When the source says that this field changed, in the source's time. None where the source dates only whole
    /// records (then [`Observed::modified`] is all there is) or nothing.
    pub modified: Option<Timestamp>,
    /// What the connector needs again to write or clear this very value (a value id, a row version). Lives from the
    /// recheck to the write, never in the checkpoint.
    pub token: Option<String>,
}

impl Cell {
    /// A cell that shows a text value.
    pub fn text(text: impl Into<String>) -> Self {
        Self { seen: Seen::Value(Value::text(text)), ..Self::default() }
    }

    /// A cell that is known to hold nothing.
    pub fn absent() -> Self {
        Self { seen: Seen::Absent, ..Self::default() }
    }
}

/// Whether a record exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Existence {
    /// It is there.
    #[default]
    Present,
    /// It is gone: deleted, or archived.
    Gone,
    /// It was merged into another record, which carries on.
    MergedInto(Key),
    /// The answer says nothing of it: a store that was asked for values alone shows none where the customer is gone, too.
    NotSaid,
}

/// One record as one read shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its id.
    pub key: Key,
    /// There, gone or merged.
    pub existence: Existence,
    /// When the source says that the whole record changed, in the source's time.
    pub modified: Option<Timestamp>,
    /// One cell for each of the connector's fields, in their order.
    pub cells: Vec<Cell>,
}

/// What a target can hold in a field, so that what it cannot take is never sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldShape {
    /// The kind of value it stores.
    pub holds: Holds,
    /// The greatest length in characters.
    pub max_chars: Option<u32>,
    /// Whether we may write it.
    pub writable: bool,
    /// Whether it can hold nothing.
    pub clearable: bool,
    /// Whether it refuses the NUL character.
    pub refuses_nul: bool,
}

impl FieldShape {
    /// Free text that can be written and cleared.
    pub const TEXT: Self =
        Self { holds: Holds::Text, max_chars: None, writable: true, clearable: true, refuses_nul: false };
}

/// The kinds of value that a source's field stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Any text: it can hold the canonical text of every type.
    Text,
    /// A first and a last name with a space between, which are kept apart.
    FullName,
    /// Numbers with a fraction.
    Number,
    /// Whole numbers.
    Integer,
    /// Days; an instant is cut to its day.
    Date,
    /// Instants.
    Instant,
    /// True or false.
    Boolean,
    /// Several texts.
    List,
}

/// How a source defines one of the fields that a mapping names: what `Connector::prepare` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The source's id for the field (an attribute id), where it has one. Remembered, and handed back next time.
    pub id: Option<String>,
    /// Whether the field can be used.
    pub state: DefinitionState,
}

/// Whether a field can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionState {
    /// It can; this is its shape.
    Usable(FieldShape),
    /// It can, and it has been renamed at the source to this name: go on, and warn.
    Renamed(FieldShape, String),
    /// It will be created by the first pass that may write.
    ToCreate(FieldShape),
    /// It was created just now.
    Created(FieldShape),
    /// The definition that we knew is gone, or its name now has another id: values are unseen, fields are held.
    Changed(String),
    /// It cannot be used until someone changes the configuration or the source; a sentence that says what and how.
    Unusable(String),
}
