//! `attune completions SHELL`: what completes this command line in a shell, made of the same definition that reads it.

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::exit::Exit;
use super::output;
use super::session::Trouble;

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(shell: Shell) -> Result<Exit, Trouble> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "attune", &mut script);
    output::show(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}
