//! The command line as people and scripts meet it: the built binary against a simulated store and a SQLite CRM.

mod acting;
mod beside;
mod failing;
mod reading;
mod world;
