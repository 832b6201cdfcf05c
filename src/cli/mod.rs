//! The command line: a file for each subcommand. It prints, it never decides.
//!
//! Must not be known: nothing imports this room.

pub mod arguments;
pub mod exit;
