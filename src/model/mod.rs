//! Plain data that every other room speaks in: values, fields, records, observations, writes, outcomes.
//!
//! Must not know: any other room of ours, any clock, any I/O.

mod api;
mod failure;
mod keep;
mod mapping;
mod record;
mod time;
mod value;
mod write;

pub use api::{Api, ApiBody, ApiCreate, ApiDelete, ApiKeyIs, ApiList, ApiPaging, ApiRead, ApiWrite};
pub use failure::{Class, Failure};
pub use keep::Keep;
pub use mapping::{
    AddressMark, Conflict, Create, Direction, FieldOptions, FieldRule, FieldType, Mapping, MatchRule, Meaning, Mode,
    OnClear, OnDelete, Only, Rail, Rails,
};
pub use record::{Cell, Definition, DefinitionState, Existence, FieldShape, Holds, Key, Observed, Side};
pub use time::{Timestamp, ago, lasting};
pub use value::{Agreed, Canonical, Seen, Value};
pub use write::{HeldReason, Outcome, Why, Write};
