//! `attune status`: how each store and CRM stands, by what is remembered. It reaches nothing.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Status};
use super::exit::Exit;
use super::output;
use super::session::{Access, Session, Trouble};
use crate::daemon::{CrmStanding, Fleet, Standings, StoreStanding};
use crate::model::Timestamp;

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(2);

/// Runs the command.
///
/// # Errors
/// When the configuration or the checkpoint cannot be read.
pub async fn run(common: &Common, options: &Status, stop: &CancellationToken) -> Result<Exit, Trouble> {
    loop {
        let session = Session::open(common, Access::Read, stop).await?;
        let standings = look(&session).await?;
        if options.json {
            output::document(&document(&standings))?;
        } else {
            let text = text_of(&standings, session.engine.clock().now());
            if options.watch && std::io::stdout().is_terminal() {
                // Home, and clear from there: the screen does not flicker.
                let _ = std::io::stdout().write_all(b"\x1b[H\x1b[J");
            }
            output::show(&text)?;
        }
        if !options.watch || stop.run_until_cancelled(tokio::time::sleep(WATCH)).await.is_none() {
            return Ok(Exit::Done);
        }
    }
}

async fn look(session: &Session) -> Result<Standings, Trouble> {
    let fleet = Fleet::recall(&session.engine, &session.blueprint().await).await;
    Ok(Standings::of(&session.engine, &fleet).await?)
}

fn document(standings: &Standings) -> Json {
    let store = |store: &StoreStanding| {
        json!({
            "name": store.name, "crm": store.crm, "state": store.state, "reason": store.reason,
            "lag_ms": store.lag_ms, "pending": store.pending, "held": store.held,
            "last_pass": output::moment(store.last_pass), "last_sweep": output::moment(store.last_sweep),
            "drift": store.drift, "quota": store.quota,
        })
    };
    let crm = |crm: &CrmStanding| {
        json!({
            "name": crm.name, "state": crm.state, "reason": crm.reason, "quota": crm.quota,
            "last_read": output::moment(crm.last_read),
        })
    };
    json!({
        "stores": standings.stores.iter().map(store).collect::<Vec<_>>(),
        "crms": standings.crms.iter().map(crm).collect::<Vec<_>>(),
    })
}

fn text_of(standings: &Standings, now: Timestamp) -> String {
    let stores = output::table(
        ["STORE", "CRM", "STATE", "LAST PASS", "LAG", "PENDING", "HELD", "DRIFT", "QUOTA LEFT"],
        standings.stores.iter().map(|store| {
            [
                store.name.clone(),
                store.crm.clone(),
                store.state.clone(),
                output::ago(store.last_pass, now),
                output::lasting(Duration::from_millis(store.lag_ms)),
                store.pending.to_string(),
                store.held.to_string(),
                store.drift.to_string(),
                quota(&store.quota),
            ]
        }),
    );
    let crms = output::table(
        ["CRM", "STATE", "LAST READ", "QUOTA LEFT"],
        standings
            .crms
            .iter()
            .map(|crm| [crm.name.clone(), crm.state.clone(), output::ago(crm.last_read, now), quota(&crm.quota)]),
    );
    let mut lines = vec![stores, String::new(), crms];
    let of_stores = standings.stores.iter().map(|store| (format!("{} ⇄ {}", store.name, store.crm), &store.reason));
    let of_crms = standings.crms.iter().map(|crm| (crm.name.clone(), &crm.reason));
    let reasons: Vec<String> = of_stores
        .chain(of_crms)
        .filter_map(|(who, reason)| Some(output::plain(&format!("{who}: {}", reason.as_ref()?))))
        .collect();
    if !reasons.is_empty() {
        lines.push(String::new());
        lines.extend(reasons);
    }
    lines.join("\n")
}

fn quota(quota: &Json) -> String {
    match (quota["left"].as_u64(), quota["quota"].as_u64()) {
        (Some(left), Some(quota)) => format!("{left} of {quota}"),
        _ => "-".to_owned(),
    }
}
