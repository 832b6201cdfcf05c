//! The command line: a file for each subcommand. It prints, it never decides.
//!
//! Must not be known: nothing imports this room.

pub mod arguments;
pub mod exit;
pub mod session;

mod demo;
mod sync;

use self::arguments::{Arguments, Command};
use self::exit::Exit;
use self::session::Trouble;

/// Runs a command line.
///
/// # Errors
/// When the command could not begin; what it met on its way is in its exit code.
pub async fn run(arguments: &Arguments) -> Result<Exit, Trouble> {
    match &arguments.command {
        Command::Demo => demo::run().await,
        Command::Sync(options) => sync::run(&arguments.common, options).await,
        _ => Err(Trouble::new(Exit::Defect, "not there yet")),
    }
}
