//! The command line as people and scripts meet it: the built binary against a simulated store and a SQLite CRM.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

mod acting;
mod beside;
mod failing;
mod installing;
mod mistakes;
mod reading;
mod runbook;
mod world;

#[path = "../openapi/traffic.rs"]
mod traffic;
