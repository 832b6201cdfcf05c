//! Attune keeps what a BigCommerce store knows about its customers and what a CRM or ERP knows about
//! the same people in agreement: both ways, all the time.
//!
//! The map of the crate. Imports run one way:
//! `cli → daemon → engine → merge, connector, checkpoint → model`, and `connector → http`.
//! `tests/house.rs` holds the code to it; `ARCHITECTURE.md` says why.

#![forbid(unsafe_code)]

/// Plain data: values, fields, records, observations, writes, outcomes. Imports nothing of ours.
pub mod model;

/// Pure decisions: the three-way merge, the plan, the rails. No clock, no I/O, no async.
pub mod merge;

/// The trait every kind of source implements, and a folder for each kind.
pub mod connector;

/// The one way out: pacing to a quota, limits on what comes back, classes of failure, redaction.
pub mod http;

/// All that is remembered, and all SQL that remembers it.
pub mod checkpoint;

/// One pass, one sweep: the only room that knows connectors, merge and checkpoint together.
pub mod engine;

/// Schedule, signals, readiness, shutdown.
pub mod daemon;

/// Files and environment become one checked configuration.
pub mod config;

/// A file for each subcommand: it prints, it never decides.
pub mod cli;

/// Health, metrics and the page over HTTP.
pub mod web;

/// Events: their names, fields and how they are written; metrics.
pub mod telemetry;

/// For the proof of the promises only: planted faults, and counts of what was met.
pub mod proof;

/// A BigCommerce on loopback, with quotas and faults: for the demo, for tests, for rehearsals.
pub mod simulator;
