//! `attune pause NAME` and `attune resume NAME`: a store or a CRM.

use tokio_util::sync::CancellationToken;

use super::approve::unknown;
use super::arguments::Common;
use super::exit::Exit;
use super::output;
use super::session::{Access, Session, Trouble};
use crate::engine::Request;
use crate::model::Side;

/// Runs the command.
///
/// # Errors
/// When the configuration has no such name, or nobody can carry it out.
pub async fn run(common: &Common, name: &str, pause: bool, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Act, stop).await?;
    let config = &session.config;
    let side = if config.stores.contains_key(name) {
        Side::Store
    } else if config.crms.contains_key(name) {
        Side::Crm
    } else {
        let names = config.stores.keys().chain(config.crms.keys()).map(String::as_str);
        return Err(unknown("store or CRM", name, names));
    };
    // It may be paused before it was ever reached, for instance because it cannot be.
    let mut transaction = session.engine.checkpoint().begin().await?;
    transaction.know_source(side, name).await?;
    transaction.commit().await?;
    let name = name.to_owned();
    let request = if pause { Request::Pause { name } } else { Request::Resume { name } };
    let answer = session.ask(&request, Some(common.patience)).await?;
    if !answer.done {
        return Err(Trouble::new(Exit::Attention, answer.message));
    }
    output::show(&answer.message)?;
    Ok(Exit::Done)
}
