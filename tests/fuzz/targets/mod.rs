//! One function for each family of parsers: any input is allowed, and a broken promise is a panic.
//!
//! Nothing here knows where the input comes from: the generators of `tests/fuzz` and the targets of `fuzz/` share it.

pub mod answers;
pub mod columns;
pub mod configuration;
pub mod reference;
pub mod remembered;
pub mod server;
pub mod times;
pub mod values;
pub mod words;
