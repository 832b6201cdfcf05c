//! The built binary over real processes against a simulated store and a real database: the promises by example, two-way
//! scenarios, bad input, and `kill -9` in the middle of a push.

#![allow(clippy::unwrap_used)]

mod addresses;
mod bad_answers;
mod bad_checkpoint;
mod bad_definitions;
mod bad_values;
mod copying;
mod crash;
mod creating;
mod forgetting;
mod keeping;
mod links;
mod lost_answers;
mod lost_beside;
mod mapping;
mod merging;
mod metafields;
mod odoo;
mod operators;
mod promises;
mod related;
mod resources;
mod restored;
mod segments;
mod subscribers;
mod tryton;
mod undo;
mod world;

#[path = "../openapi/traffic.rs"]
mod traffic;
