//! `attune forget NAME`: drops what is remembered of a system, the history of its pairs included.

use std::io::IsTerminal;

use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Forget};
use super::exit::Exit;
use super::output;
use super::prompt::confirmed;
use super::session::{Access, Session, Trouble};

/// Runs the command.
///
/// # Errors
/// When a daemon is running, or nothing is remembered under this name.
pub async fn run(common: &Common, options: &Forget, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Act, stop).await?;
    let name = &options.name;
    if !session.is_alone() {
        let what = format!("a daemon is running, and it remembers {name:?} too: stop it, then forget {name:?}");
        return Err(Trouble::new(Exit::Unreachable, what));
    }
    let question = format!("Drop the links, values and cursors of {}?", output::plain(name));
    if !options.yes && std::io::stdin().is_terminal() && !confirmed(&question, stop).await {
        output::note("nothing was dropped");
        return Ok(Exit::Done);
    }
    let answer = session.engine.forget(name).await?;
    if !answer.done {
        return Err(Trouble::new(Exit::Attention, answer.message));
    }
    output::show(&answer.message)?;
    Ok(Exit::Done)
}
