//! What a person asks for on the page, done as the requests that the commands leave for the daemon.
//!
//! Must not know: who may ask; the page lets nobody ask who has not signed in.

use std::time::Duration;

use super::requests::operate;
use super::works::Works;
use crate::checkpoint::Transaction;
use crate::engine::{Error, HeldAction, HeldSelection, Request};
use crate::web::page::{Act, Choice, Outcome};

/// How often, and how many times, it is looked whether a pass has listed what it stopped.
const LISTED_LOOK: Duration = Duration::from_millis(50);

const LISTED_LOOKS_MAX: u32 = 60;

/// It was not done, and why.
pub(super) fn refused(message: impl Into<String>) -> Outcome {
    Outcome { done: false, message: message.into() }
}

/// Does what a person asks for on the page, as the requests that the commands leave.
pub(super) async fn carry_out(works: &Works, act: &Act) -> Result<Outcome, Error> {
    if works.stop.is_cancelled() {
        return Ok(refused(
            "the daemon is stopping, or has just read its configuration again: nothing was done; ask again",
        ));
    }
    let request = match act {
        Act::Pause(name) | Act::Resume(name) => {
            let Some(source) = works.sources.iter().find(|source| source.name == *name) else {
                return Ok(refused("the configuration has no store or CRM of this name"));
            };
            // It may be paused before it was ever reached, for instance because it cannot be.
            let mut transaction = works.engine.checkpoint().begin().await?;
            transaction.know_source(source.side, name).await?;
            transaction.commit().await?;
            let name = name.clone();
            if matches!(act, Act::Pause(_)) { Request::Pause { name } } else { Request::Resume { name } }
        }
        Act::Approve { store, shown } => {
            if stopped_when_listed(works, store).await?.as_ref() != Some(shown) {
                return Ok(refused("nothing was let through: what is stopped now is not what was shown; look again"));
            }
            Request::Approve { store: store.clone() }
        }
        Act::Held { id, choice } => Request::Held {
            selection: HeldSelection { ids: vec![*id], ..HeldSelection::default() },
            action: match choice {
                Choice::Take(side) => HeldAction::Take(*side),
                Choice::Leave => HeldAction::Drop,
                Choice::LookAgain => HeldAction::Retry,
            },
        },
    };
    let answer = operate(works, &request).await;
    Ok(Outcome { done: answer.done, message: answer.message })
}

/// What stands for all that rails have stopped in the pairs of a store, and whether every one of these pairs has it listed;
/// none: nothing is stopped.
pub(super) async fn stopped_now(
    transaction: &mut Transaction<'_>,
    store: &str,
) -> Result<Option<(String, bool)>, Error> {
    let (mut stopped, mut listed) = (Vec::new(), true);
    for pair in transaction.pairs_by_name(store).await? {
        if let Some(rails) = transaction.pair(pair.id).await?.stopped {
            listed &= transaction.count_stopped(pair.id).await? > 0;
            stopped.push(format!("{} {rails}", pair.crm));
        }
    }
    Ok((!stopped.is_empty()).then(|| (stopped.join(" "), listed)))
}

/// The same, once it is listed: a pass that stops says so first, and then lists what it stopped, which is what an approval
/// lets through.
async fn stopped_when_listed(works: &Works, store: &str) -> Result<Option<String>, Error> {
    let mut looks = 0;
    loop {
        let mut transaction = works.engine.checkpoint().read().await?;
        let now = stopped_now(&mut transaction, store).await?;
        transaction.end().await?;
        looks += 1;
        match now {
            Some((_, false)) if looks < LISTED_LOOKS_MAX => tokio::time::sleep(LISTED_LOOK).await,
            now => return Ok(now.map(|(shown, _)| shown)),
        }
    }
}
