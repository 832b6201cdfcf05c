//! Writes to a source and what became of them; why a field is written or held.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Cell, Failure, Key, Timestamp, Value};

/// One value on its way to one field of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The record.
    pub key: Key,
    /// Index into the connector's fields.
    pub field: usize,
    /// The cell as the recheck read it right before: a conditional write compares with it, a clear needs its token.
    pub expect: Cell,
    /// The new value; none clears the field.
    pub value: Option<Value>,
    /// The modification time to set where the source lets us set one: never lower than the one it replaces.
    pub modified: Option<Timestamp>,
}

/// What became of one [`Write`].
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The answer shows the row as the source now stores it (for a clear: the source no longer shows it).
    Written {
        /// What the source says that it stores now.
        stored: Cell,
    },
    /// A conditional write that lost: the field no longer holds what the recheck read. Nothing was written.
    Changed,
    /// The record is not there any more. Nothing was written.
    Gone,
    /// This row is refused, and will be again until the value changes. Nothing was written.
    Rejected(String),
    /// The batch is refused without saying which row; some of it may have been written. Read back and bisect.
    BatchRejected(Failure),
    /// Known not to have happened: no connection was made, 401, 403, 429, or rolled back with a bad neighbour.
    NotSent(Failure),
    /// It may have happened, or may happen late: a timeout, a broken connection, 5xx, an answer without the row.
    Unknown(Failure),
}

/// Why a field or record waits for a person. The words are an interface: `held --json`, `field.held`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HeldReason {
    /// Both sides changed, and the policy decides nothing.
    #[serde(rename = "conflict")]
    Conflict,
    /// The sides differed when they first met.
    #[serde(rename = "first meeting")]
    FirstMeeting,
    /// The target cannot take the value.
    #[serde(rename = "cannot be taken")]
    CannotBeTaken,
    /// The target refused the value.
    #[serde(rename = "rejected")]
    Rejected,
    /// The target stored something else than what was sent.
    #[serde(rename = "altered by target")]
    AlteredByTarget,
    /// Our own writes flip the field back and forth.
    #[serde(rename = "oscillating")]
    Oscillating,
    /// A side returned to superseded values: it looks restored from a backup.
    #[serde(rename = "reverted")]
    Reverted,
    /// Two links write different values into one field.
    #[serde(rename = "two writers")]
    TwoWriters,
    /// The field's definition is gone or is another one now.
    #[serde(rename = "definition changed")]
    DefinitionChanged,
    /// A record with several candidates for its partner.
    #[serde(rename = "ambiguous")]
    Ambiguous,
    /// A record that was merged into one that has a link already.
    #[serde(rename = "merged")]
    Merged,
}

impl HeldReason {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Conflict,
        Self::FirstMeeting,
        Self::CannotBeTaken,
        Self::Rejected,
        Self::AlteredByTarget,
        Self::Oscillating,
        Self::Reverted,
        Self::TwoWriters,
        Self::DefinitionChanged,
        Self::Ambiguous,
        Self::Merged,
    ];

    /// The word for people and scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::FirstMeeting => "first meeting",
            Self::CannotBeTaken => "cannot be taken",
            Self::Rejected => "rejected",
            Self::AlteredByTarget => "altered by target",
            Self::Oscillating => "oscillating",
            Self::Reverted => "reverted",
            Self::TwoWriters => "two writers",
            Self::DefinitionChanged => "definition changed",
            Self::Ambiguous => "ambiguous",
            Self::Merged => "merged",
        }
    }

    /// The reason with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// What a person can do about it.
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::Conflict | Self::FirstMeeting => {
                "choose a side with `attune held resolve ID --take store|crm`, or make both sides equal"
            }
            Self::CannotBeTaken => "correct the value on the side it comes from, or widen the target or the mapping",
            Self::Rejected => "correct the value, or lift the target's rule, then `attune held retry ID`",
            Self::AlteredByTarget => {
                "see what the target does to this value; then `attune held resolve ID --take store|crm`"
            }
            Self::Oscillating => "find the automation that writes this field back, then `attune held retry ID`",
            Self::Reverted => {
                "if a backup was restored, choose the side to keep with `attune held resolve --take store|crm`"
            }
            Self::TwoWriters => "let one store write this field, or use direction = \"both\"",
            Self::DefinitionChanged => "put the definition back or change the mapping, then `attune held retry ID`",
            Self::Ambiguous => "make the match unique, or link by hand with `attune link add STORE CUSTOMER CONTACT`",
            Self::Merged => "decide which record carries on, then `attune link add STORE CUSTOMER CONTACT`",
        }
    }
}

impl fmt::Display for HeldReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a field is written. The words are an interface: `plan --json` and `history --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The other side changed it and this one did not.
    Changed,
    /// This side holds nothing, the other something, and nothing was agreed before.
    Filled,
    /// Both changed it; the policy chose the other side.
    Conflict,
    /// The sides differed when they first met; the policy chose the other side.
    FirstMeeting,
    /// A one-way field was edited on its target: the source's value is put back.
    PutBack,
    /// The other side cleared it.
    Cleared,
    /// This side cleared it, and the mapping says that it is filled again.
    Restored,
    /// This side cleared it while the other edited it: the edit wins.
    EditBeatsClear,
    /// A person chose.
    Resolved,
    /// A person undid an earlier write.
    Undone,
    /// The record had no partner, and the mapping makes one.
    Created,
    /// The partner is gone, and the mapping deletes this one too.
    Deleted,
}

impl Why {
    /// The word for people and scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Filled => "filled",
            Self::Conflict => "conflict",
            Self::FirstMeeting => "first meeting",
            Self::PutBack => "put back",
            Self::Cleared => "cleared",
            Self::Restored => "restored",
            Self::EditBeatsClear => "edit beats clear",
            Self::Resolved => "resolved",
            Self::Undone => "undone",
            Self::Created => "created",
            Self::Deleted => "deleted",
        }
    }

    /// The reason with this word.
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Changed,
            Self::Filled,
            Self::Conflict,
            Self::FirstMeeting,
            Self::PutBack,
            Self::Cleared,
            Self::Restored,
            Self::EditBeatsClear,
            Self::Resolved,
            Self::Undone,
            Self::Created,
            Self::Deleted,
        ]
        .into_iter()
        .find(|why| why.as_str() == word)
    }
}
