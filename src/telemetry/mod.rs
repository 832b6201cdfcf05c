//! Events: their names and fields, how they are written, and where; and the metrics that they feed.
//!
//! An event is something an operator or a script may act on; `docs/events.md` lists each of them, and a test holds the
//! page and this room together. Everything above `debug` is free of personal data: keys, never e-mails, names or values.
//!
//! Must not know: any other room but `model`.

mod event;
mod logging;
mod message;
pub mod metrics;
#[cfg(test)]
mod page_test;

pub use event::{Event, Pair, Source, note_of};
pub use logging::{CannotLog, Format, init, install_panic_hook};
