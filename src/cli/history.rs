//! `attune history`: every write, newest first.

use std::io::Write;

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::arguments::{Common, History};
use super::exit::Exit;
use super::output::{self, json_value, parsed, plain};
use super::session::{Access, Session, Trouble};
use crate::checkpoint::{HistoryFilter, HistoryRow};

/// Rows that are held in memory at a time.
const PAGE: u64 = 1000;

/// Runs the command.
///
/// # Errors
/// When the checkpoint cannot be read, or stdout cannot be written.
pub async fn run(common: &Common, options: &History, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Read, stop).await?;
    let now = session.engine.clock().now();
    let mut filter = HistoryFilter {
        stores: common.store.clone(),
        fields: options.field.clone(),
        side: options.side.map(Into::into),
        since: options.since.map(|since| since.moment(now)),
        until: options.until.map(|until| until.moment(now)),
        ..HistoryFilter::default()
    };
    let mut left = options.limit.map_or(u64::MAX, std::num::NonZeroU64::get);
    let mut out = output::stdout();
    let mut write = |text: &str| out.write_all(text.as_bytes()).map_err(output::unwritable);
    let mut shown: u64 = 0;
    if options.json {
        write("[")?;
    }
    // One picture: what is written meanwhile is not in it.
    let mut transaction = session.engine.checkpoint().read().await?;
    while left > 0 {
        filter.limit = Some(left.min(PAGE));
        let rows = transaction.history(&filter).await?;
        let Some(last) = rows.last() else { break };
        filter.before = Some(last.id);
        left -= rows.len() as u64;
        for row in &rows {
            if options.json {
                let comma = if shown > 0 { ",\n" } else { "" };
                write(&format!("{comma}{}", item(row)))?;
            } else {
                write(&format!("{}\n", line(row)))?;
            }
            shown += 1;
        }
    }
    transaction.end().await?;
    if options.json {
        write("]\n")?;
    } else if shown == 0 {
        write("Nothing was written yet.\n")?;
    }
    out.flush().map_err(output::unwritable)?;
    Ok(Exit::Done)
}

/// One write, as `history --json` and `explain --json` show it.
pub fn item(row: &HistoryRow) -> Json {
    json!({
        "at": output::moment(Some(row.at)), "pass": row.pass, "store": row.store, "crm": row.crm,
        "store_key": row.store_key, "crm_key": row.crm_key, "field": row.field, "side": row.side,
        "old": parsed(&row.old), "new": parsed(&row.new), "reason": row.reason, "outcome": row.outcome,
    })
}

fn line(row: &HistoryRow) -> String {
    let who = format!("customer {} of {} ⇄ contact {} of {}", row.store_key, row.store, row.crm_key, row.crm);
    format!("{}  {}", change(row), plain(&format!("{who}  {}", row.field)))
}

/// When, where, old → new and why, for people.
pub fn change(row: &HistoryRow) -> String {
    let (at, pass, side) = (row.at.to_seconds_text(), row.pass, &row.side);
    let (old, new) = (json_value(&row.old), json_value(&row.new));
    let outcome = match row.outcome.as_str() {
        "written" => "",
        "refused" => ", refused",
        _ => ", outcome unknown",
    };
    format!("{at}  pass {pass}  {side}: {old} → {new} ({}{outcome})", row.reason)
}
