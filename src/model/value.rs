//! What a field can hold, as a source writes it and in the canonical form in which sides are compared.

use serde::{Deserialize, Serialize};

/// What a source holds in a field, as the source writes it: text (a number or a date is text too) or a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// One scalar, as text.
    Text(String),
    /// Several texts; as a canonical value sorted and without repeats.
    List(Vec<String>),
}

impl Value {
    /// A text value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The value as one line for people: a list is joined by `, `.
    pub fn display(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(items) => items.join(", "),
        }
    }
}

/// A value in canonical form: equal canonical values are the same value, however each side spells it. Only
/// `merge::canonical` makes them; canonical values use the store's words where a mapping translates words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Canonical(pub(crate) Value);

impl Canonical {
    /// The value inside.
    pub const fn value(&self) -> &Value {
        &self.0
    }
}

/// What one side was last seen to hold in a field. Unseen, absent and empty are three things.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Seen {
    /// Nobody has looked, or the answer did not show the field.
    #[default]
    Unseen,
    /// Looked, and there is none: a null, or not shown in an answer that is complete for the record.
    Absent,
    /// This value, as the source writes it.
    Value(Value),
}

impl Seen {
    /// The value, where one was seen.
    pub const fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unseen | Self::Absent => None,
        }
    }

    /// Whether anybody has looked.
    pub const fn is_unseen(&self) -> bool {
        matches!(self, Self::Unseen)
    }
}

/// What both sides were last known to hold: the ancestor of the three-way merge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Agreed {
    /// The sides have never been known equal: first meeting.
    #[default]
    Unknown,
    /// Both held nothing.
    Absent,
    /// Both held this.
    Value(Canonical),
}

impl Agreed {
    /// What is agreed when both sides hold `value` (none: both hold nothing).
    pub fn on(value: Option<Canonical>) -> Self {
        value.map_or(Self::Absent, Self::Value)
    }
}
