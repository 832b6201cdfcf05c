//! `attune status`: how each store and CRM stands, by what is remembered. It reaches nothing.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Status};
use super::exit::Exit;
use super::output;
use super::session::{Access, Session, Trouble};
use crate::checkpoint::SourceRow;
use crate::daemon::{Fleet, PairSlot};
use crate::model::{Side, Timestamp};

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

/// Everything that is shown.
struct Standings {
    stores: Vec<StoreStanding>,
    crms: Vec<CrmStanding>,
}

/// How one store stands with one CRM.
struct StoreStanding {
    name: String,
    crm: String,
    state: String,
    reason: Option<String>,
    lag_ms: u64,
    pending: u64,
    held: u64,
    last_pass: Option<Timestamp>,
    last_sweep: Option<Timestamp>,
    drift: u64,
    quota: Json,
}

/// How one CRM stands.
struct CrmStanding {
    name: String,
    state: String,
    reason: Option<String>,
    quota: Json,
    last_read: Option<Timestamp>,
}

async fn look(session: &Session) -> Result<Standings, Trouble> {
    let blueprint = session.blueprint().await;
    let fleet = Fleet::recall(&session.engine, &blueprint).await;
    let mut transaction = session.engine.checkpoint().read().await?;
    let rows = transaction.sources().await?;
    transaction.end().await?;
    let row = |side: Side, name: &str| rows.iter().find(|row| row.side == side && row.name == name);
    let mut stores = Vec::new();
    for slot in &fleet.pairs {
        let plan = &slot.plan;
        let sources = (row(Side::Store, &plan.store), row(Side::Crm, &plan.crm));
        stores.push(match &slot.pair {
            Some(Ok(pair)) => {
                let status = session.engine.pair_status(pair).await?;
                StoreStanding {
                    name: plan.store.clone(),
                    crm: plan.crm.clone(),
                    state: status.state,
                    reason: status.reason,
                    lag_ms: status.lag_ms,
                    pending: status.pending,
                    held: status.held,
                    last_pass: status.last_pass,
                    last_sweep: status.last_sweep,
                    drift: status.drift,
                    quota: status.quota.as_deref().map_or(Json::Null, output::parsed),
                }
            }
            _ => by_rows(session, &fleet, slot, sources).await?,
        });
    }
    let crms = fleet
        .sources
        .iter()
        .filter(|slot| slot.plan.side == Side::Crm)
        .map(|slot| {
            let name = slot.plan.name.clone();
            let row = row(Side::Crm, &name);
            let (state, reason) = standing(row).unwrap_or_else(|| match &slot.plan.settings {
                Err(failure) => ("misconfigured".to_owned(), Some(failure.to_string())),
                Ok(_) => (row.map_or("new", |row| row.state.as_str()).to_owned(), None),
            });
            CrmStanding {
                name,
                state,
                reason,
                quota: row.and_then(|row| row.quota.as_deref()).map_or(Json::Null, output::parsed),
                last_read: row.and_then(|row| row.read_at),
            }
        })
        .collect();
    Ok(Standings { stores, crms })
}

/// What a source's row says, where something keeps it from working.
fn standing(row: Option<&SourceRow>) -> Option<(String, Option<String>)> {
    let row = row?;
    if row.paused {
        return Some(("paused".to_owned(), Some(format!("`attune resume {}` goes on", row.name))));
    }
    (row.state != "ok" && row.state != "new").then(|| (row.state.clone(), row.reason.clone()))
}

/// A pair that was never read, or cannot be read as it is configured now: what the checkpoint has of it.
async fn by_rows(
    session: &Session,
    fleet: &Fleet,
    slot: &PairSlot,
    (store, crm): (Option<&SourceRow>, Option<&SourceRow>),
) -> Result<StoreStanding, Trouble> {
    let plan = &slot.plan;
    let troubled = [store, crm].into_iter().find_map(|row| {
        let (state, reason) = standing(row)?;
        let row = row?;
        Some((state, Some(format!("{} {}: {}", row.side, row.name, reason.unwrap_or_default()))))
    });
    let names = [(Side::Store, &plan.store), (Side::Crm, &plan.crm)];
    let unusable = fleet.sources.iter().find_map(|source| {
        let failure = source.plan.settings.as_ref().err()?;
        let own = names.contains(&(source.plan.side, &source.plan.name));
        own.then(|| ("misconfigured".to_owned(), Some(failure.to_string())))
    });
    let (state, reason) = troubled.or(unusable).unwrap_or_else(|| {
        let reason = if store.is_some_and(|row| row.read_at.is_some()) && crm.is_some_and(|row| row.read_at.is_some()) {
            "not read yet under this mapping"
        } else {
            "not read yet"
        };
        ("new".to_owned(), Some(format!("{reason}; `attune sync` or `attune run` reads it")))
    });
    let mut standing = StoreStanding {
        name: plan.store.clone(),
        crm: plan.crm.clone(),
        state,
        reason,
        lag_ms: 0,
        pending: 0,
        held: 0,
        last_pass: None,
        last_sweep: store.and_then(|row| row.swept_at),
        drift: [store, crm].into_iter().flatten().map(|row| row.drift).sum(),
        quota: store.and_then(|row| row.quota.as_deref()).map_or(Json::Null, output::parsed),
    };
    let (Some(store), Some(crm)) = (store, crm) else { return Ok(standing) };
    let mut transaction = session.engine.checkpoint().read().await?;
    if let Some(pair) = transaction.pair_of(store.id, crm.id).await? {
        let (pending, since) = transaction.unsettled(pair.id).await?;
        let now = session.engine.clock().now();
        standing.pending = pending;
        standing.lag_ms = since.map_or(0, |since| u64::try_from(now.millis_since(since)).unwrap_or(0));
        standing.held = transaction.count_held(pair.id).await?;
        standing.last_pass = pair.passed_at;
    }
    transaction.end().await?;
    Ok(standing)
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
