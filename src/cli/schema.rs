//! `attune schema`: the configuration's JSON Schema, for editors.

use super::exit::Exit;
use super::output;
use super::session::Trouble;
use crate::config;

/// Runs the command.
///
/// # Errors
/// When it cannot be printed.
pub fn run() -> Result<Exit, Trouble> {
    output::show(config::SCHEMA.trim_end())?;
    Ok(Exit::Done)
}
