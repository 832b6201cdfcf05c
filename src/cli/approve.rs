//! `attune approve STORE`: lets through what a rail stopped. It prints the counts and never asks.

use tokio_util::sync::CancellationToken;

use super::arguments::{Approve, Common};
use super::exit::Exit;
use super::output;
use super::session::{Access, Session, Trouble};
use crate::config::nearest;
use crate::engine::Request;

/// Runs the command.
///
/// # Errors
/// When nothing is stopped, or nobody can let it through.
pub async fn run(common: &Common, options: &Approve, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Act, stop).await?;
    let store = &options.name;
    known_store(&session, store)?;
    let rails = rails(&session, store).await?;
    let answer = session.ask(&Request::Approve { store: store.clone() }, Some(common.patience)).await?;
    if !answer.done {
        return Err(Trouble::new(Exit::Attention, answer.message));
    }
    for (crm, rail, count, limit) in rails {
        output::show(&format!("{store} ⇄ {crm}: {rail}: {count} in 24 hours, where {limit} are allowed"))?;
    }
    output::show(&answer.message)?;
    Ok(Exit::Done)
}

/// That a store is in the configuration.
///
/// # Errors
/// With the nearest name.
pub fn known_store(session: &Session, name: &str) -> Result<(), Trouble> {
    let names = session.config.stores.keys().map(String::as_str);
    if session.config.stores.contains_key(name) { Ok(()) } else { Err(unknown("store", name, names)) }
}

/// Wrong usage: a name that the configuration does not have.
pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Trouble {
    let hint = nearest(name, known.clone()).map_or_else(
        || format!("there are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean {near:?}?"),
    );
    Trouble::new(Exit::Usage, format!("no {what} is called {name:?} in the configuration; {hint}"))
}

/// The rails that stopped the pairs of a store: CRM, rail, count, limit.
async fn rails(session: &Session, store: &str) -> Result<Vec<(String, String, u64, u64)>, Trouble> {
    let mut transaction = session.engine.checkpoint().read().await?;
    let mut rails = Vec::new();
    for pair in transaction.pairs_by_name(store).await? {
        let stopped = transaction.pair(pair.id).await?.stopped.unwrap_or_default();
        let crossed: Vec<(String, u64, u64)> = serde_json::from_str(&stopped).unwrap_or_default();
        rails.extend(crossed.into_iter().map(|(rail, count, limit)| (pair.crm.clone(), rail, count, limit)));
    }
    transaction.end().await?;
    Ok(rails)
}
