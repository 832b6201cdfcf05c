//! `attune forget NAME`: drops what is remembered of a system, the history of its pairs included. `attune forget NAME KEY`:
//! what is remembered of a person.

use std::io::IsTerminal;

use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Forget};
use super::exit::Exit;
use super::output;
use super::prompt::confirmed;
use super::session::{Access, Session, Trouble};
use crate::engine::Request;

/// Runs the command.
///
/// # Errors
/// When nothing is remembered under this name, or a daemon is running that remembers the system.
pub async fn run(common: &Common, options: &Forget, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Act, stop).await?;
    let name = &options.name;
    if let Some(key) = &options.key {
        return forget_person(common, &session, (name, key), options.yes).await;
    }
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

async fn forget_person(
    common: &Common,
    session: &Session,
    (name, key): (&str, &str),
    yes: bool,
) -> Result<Exit, Trouble> {
    let question = format!("Drop the values and the history of {} of {}?", output::plain(key), output::plain(name));
    if !yes && std::io::stdin().is_terminal() && !confirmed(&question, session.stop()).await {
        output::note("nothing was dropped");
        return Ok(Exit::Done);
    }
    let request = Request::Forget { name: name.to_owned(), key: key.to_owned() };
    let answer = session.ask(&request, Some(common.patience)).await?;
    if !answer.done {
        return Err(Trouble::new(Exit::Attention, answer.message));
    }
    output::show(&answer.message)?;
    Ok(Exit::Done)
}
