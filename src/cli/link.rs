//! `attune link`: how records pair up; `link add` and `link remove` by hand.

use std::io::Write;
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::approve::{known_store, unknown};
use super::arguments::{Common, Link, LinkAction, LinkAdd};
use super::exit::Exit;
use super::link_file;
use super::output::{self, plain};
use super::progress::Progress;
use super::reach::{self, Reached};
use super::session::{Access, Session, Trouble};
use crate::engine::{LinkReport, LinkStanding, LinkState, Pair, Reach, Request};

/// Links of a file that are asked for at a time: one transaction each.
const LINKS_PER_REQUEST: usize = 1000;

/// Ambiguous records that are shown as text.
const LINES_SHOWN: usize = 20;

/// Runs the command.
///
/// # Errors
/// When it could not begin, or what was asked for is refused.
pub async fn run(common: &Common, options: &Link, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Act, stop).await?;
    match &options.action {
        None => list(&session, options).await,
        Some(action) => act(common, &session, action).await,
    }
}

async fn act(common: &Common, session: &Session, action: &LinkAction) -> Result<Exit, Trouble> {
    match action {
        LinkAction::Add(LinkAdd { file: Some(file), .. }) => {
            let wanted = link_file::read(file)?;
            for (store, crm) in wanted.keys() {
                known_pair(session, store, crm.as_deref())?;
            }
            let mut exit = Exit::Done;
            for ((store, crm), rows) in wanted {
                for links in rows.chunks(LINKS_PER_REQUEST) {
                    let (store, crm) = (store.clone(), crm.clone());
                    let request = Request::LinkAdd { store, crm, links: links.to_vec() };
                    let answer = session.ask(&request, Some(common.patience)).await?;
                    output::show(&answer.message.lines().map(plain).collect::<Vec<_>>().join("\n"))?;
                    if !answer.done {
                        exit = Exit::Attention;
                    }
                }
            }
            Ok(exit)
        }
        LinkAction::Add(LinkAdd { of: Some(store), customer: Some(customer), contact: Some(contact), crm, .. }) => {
            known_pair(session, store, crm.as_deref())?;
            let links = vec![(customer.clone(), contact.clone())];
            ask(common, session, &Request::LinkAdd { store: store.clone(), crm: crm.clone(), links }).await
        }
        LinkAction::Add(_) => Err(Trouble::new(Exit::Usage, "name a store, a customer and a contact, or --csv FILE")),
        LinkAction::Remove { of, customer } => {
            known_store(session, of)?;
            ask(common, session, &Request::LinkRemove { store: of.clone(), customer: customer.clone() }).await
        }
    }
}

async fn ask(common: &Common, session: &Session, request: &Request) -> Result<Exit, Trouble> {
    let answer = session.ask(request, Some(common.patience)).await?;
    if !answer.done {
        return Err(Trouble::new(Exit::Attention, answer.message));
    }
    output::show(&answer.message)?;
    Ok(Exit::Done)
}

/// A store, and a CRM where one is named, of the configuration.
fn known_pair(session: &Session, store: &str, crm: Option<&str>) -> Result<(), Trouble> {
    known_store(session, store)?;
    match crm.filter(|crm| !session.config.crms.contains_key(*crm)) {
        Some(crm) => Err(unknown("CRM", crm, session.config.crms.keys().map(String::as_str))),
        None => Ok(()),
    }
}

async fn list(session: &Session, options: &Link) -> Result<Exit, Trouble> {
    let mut progress = Progress::begin();
    let mut reached: Option<Reached> = None;
    let pairs: Vec<Arc<Pair>> = if session.beside {
        reach::recall(session).await?
    } else {
        let now = reached.insert(reach::reach(session, Reach::Changes, &mut progress).await?);
        now.pairs().into_iter().cloned().collect()
    };
    drop(progress);
    if options.csv {
        as_csv(session, &pairs).await?;
    } else if options.json {
        as_document(session, &pairs).await?;
    } else {
        as_text(session, &pairs).await?;
    }
    let Some(mut reached) = reached else { return Ok(Exit::Done) };
    reached.note_torn();
    reached.say_paused();
    reached.troubles.say();
    Ok(reached.troubles.exit())
}

async fn as_document(session: &Session, pairs: &[Arc<Pair>]) -> Result<(), Trouble> {
    let mut stores = Vec::new();
    for pair in pairs {
        let report = session.engine.link_report(pair, &mut |_| {}).await?;
        stores.push(json!({
            "name": pair.store.name, "crm": pair.crm.name,
            "linked": report.linked, "unique": report.unique, "ambiguous": report.ambiguous,
            "alone": { "store": report.alone_store, "crm": report.alone_crm },
        }));
    }
    output::document(&json!({ "stores": stores }))
}

/// A line for each record, as RFC 4180 has it.
async fn as_csv(session: &Session, pairs: &[Arc<Pair>]) -> Result<(), Trouble> {
    let mut out = output::stdout();
    let mut written = out.write_all(b"store,crm,store_key,crm_key,state,detail\r\n");
    for pair in pairs {
        let mut each = |standing: LinkStanding| {
            let key = |key: &Option<String>| cell(key.as_deref().unwrap_or_default());
            let (store, crm) = (cell(&pair.store.name), cell(&pair.crm.name));
            let (customer, contact) = (key(&standing.store_key), key(&standing.crm_key));
            let (state, detail) = (standing.state.as_str(), cell(standing.detail.as_deref().unwrap_or_default()));
            if written.is_ok() {
                written = write!(out, "{store},{crm},{customer},{contact},{state},{detail}\r\n");
            }
        };
        session.engine.link_report(pair, &mut each).await?;
    }
    written.and_then(|()| out.flush()).map_err(output::unwritable)
}

fn cell(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

async fn as_text(session: &Session, pairs: &[Arc<Pair>]) -> Result<(), Trouble> {
    for (at, pair) in pairs.iter().enumerate() {
        let mut ambiguous = Vec::new();
        let mut each = |standing: LinkStanding| {
            if standing.state == LinkState::Ambiguous && ambiguous.len() < LINES_SHOWN {
                ambiguous.push(standing);
            }
        };
        let report = session.engine.link_report(pair, &mut each).await?;
        if at > 0 {
            output::show("")?;
        }
        output::show(&text_of(pair, &report, &ambiguous))?;
    }
    Ok(())
}

fn text_of(pair: &Pair, report: &LinkReport, ambiguous: &[LinkStanding]) -> String {
    let mut lines = vec![
        format!("{} ⇄ {}", pair.store.name, pair.crm.name),
        format!("  {:>8}  linked", report.linked),
        format!("  {:>8}  unique: linked by the next pass", report.unique),
        format!("  {:>8}  ambiguous: records with several candidates", report.ambiguous),
    ];
    for (who, counts) in [("customers", report.alone_store), ("contacts", report.alone_crm)] {
        lines.push(format!("  {:>8}  {who} alone: they hold no value to match by", counts.no_value));
        lines.push(format!("  {:>8}  {who} alone: nobody on the other side has their value", counts.no_partner));
    }
    if !ambiguous.is_empty() {
        let name = &pair.store.name;
        lines.push(format!("  Ambiguous; `attune link add {name} CUSTOMER CONTACT` decides, --csv lists all:"));
    }
    for standing in ambiguous {
        let who = match (&standing.store_key, &standing.crm_key) {
            (Some(key), _) => format!("customer {key}"),
            (None, key) => format!("contact {}", key.as_deref().unwrap_or_default()),
        };
        let candidates = standing.detail.as_deref().unwrap_or_default();
        lines.push(plain(&format!("    {who}: {candidates}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(
            [cell("a b"), cell("a,b"), cell("a\"b"), cell("a\nb")],
            ["a b", "\"a,b\"", "\"a\"\"b\"", "\"a\nb\""]
        );
    }
}
