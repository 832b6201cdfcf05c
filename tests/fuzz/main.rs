//! Everything that parses what comes from outside, fed with what nobody would send: sound documents broken in one place,
//! and plain noise. docs/testing.md, "Fuzzing", says how to run it longer.
//!
//! `targets` holds one function for each family of parsers: it takes bytes or text, and fails if a promise is broken (no
//! panic, no misread value, nothing unbounded, no secret shown). `fuzz/` feeds the same functions with libFuzzer. The other
//! files here make the input. What was once misread stands in them as an explicit case.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod columns;
mod configuration;
mod harness;
mod mutation;
mod noise;
mod remembered;
mod targets;
mod values;
mod words;
