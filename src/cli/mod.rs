//! The command line: a file for each subcommand. It prints, it never decides.
//!
//! Must not be known: nothing imports this room.

pub mod arguments;
pub mod exit;
pub mod output;
pub mod session;

mod approve;
mod backup;
mod check;
mod completions;
mod demo;
mod explain;
mod forget;
mod healthcheck;
mod held;
mod history;
mod link;
mod link_file;
mod man;
mod pause;
mod plan;
mod progress;
mod prompt;
mod reach;
mod run;
mod schema;
mod signals;
mod simulate;
mod spool;
mod status;
mod sync;
mod undo;

use std::future::Future;

use tokio_util::sync::CancellationToken;

use self::arguments::{Arguments, Command};
use self::exit::Exit;
use self::session::Trouble;

/// Runs a command line.
///
/// # Errors
/// When the command could not begin; what it met on its way is in its exit code.
pub async fn run(arguments: &Arguments) -> Result<Exit, Trouble> {
    let common = &arguments.common;
    if arguments.command == Command::Run {
        return run::run(common).await; // It hears signals itself.
    }
    let stop = signals::stop_on_signals();
    match &arguments.command {
        Command::Run => run::run(common).await,
        // These finish what they have begun when they are told to stop.
        Command::Plan(options) => plan::run(common, options, &stop).await,
        Command::Sync(options) => sync::run(common, options, &stop).await,
        Command::Link(options) => link::run(common, options, &stop).await,
        Command::Held(options) => held::run(common, options, &stop).await,
        Command::Undo(options) => undo::run(common, options, &stop).await,
        Command::Approve(options) => approve::run(common, options, &stop).await,
        Command::Pause(options) => pause::run(common, &options.name, true, &stop).await,
        Command::Resume(options) => pause::run(common, &options.name, false, &stop).await,
        Command::Forget(options) => forget::run(common, options, &stop).await,
        Command::Schema => schema::run(),
        Command::Backup(options) => until(&stop, backup::run(common, options, &stop)).await,
        Command::Simulate(flags) => simulate::run(flags, &stop).await,
        // These only look, and can be left at any moment.
        Command::Demo => until(&stop, demo::run()).await,
        Command::Check(options) => until(&stop, check::run(common, options, &stop)).await,
        Command::Status(options) => until(&stop, status::run(common, options, &stop)).await,
        Command::Healthcheck(options) => until(&stop, healthcheck::run(common, options)).await,
        Command::Completions(options) => completions::run(options.shell),
        Command::Man(options) => man::run(options.folder.as_deref()),
        Command::Explain(options) => until(&stop, explain::run(common, options, &stop)).await,
        Command::History(options) => until(&stop, history::run(common, options, &stop)).await,
    }
}

async fn until(
    stop: &CancellationToken,
    command: impl Future<Output = Result<Exit, Trouble>>,
) -> Result<Exit, Trouble> {
    stop.run_until_cancelled(command).await.unwrap_or_else(|| Err(Trouble::stopped()))
}
