//! `attune held`: what waits for a person, and what a person says about it.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Held, HeldAction, HeldFilter};
use super::exit::Exit;
use super::output::{self, counted, json_value, parsed, plain};
use super::prompt::confirmed;
use super::session::{Access, Session, Trouble};
use crate::checkpoint::{self, HeldRow};
use crate::engine::{self, HeldSelection, Request, next_step};
use crate::model::{HeldReason, Side};

/// Runs the command.
///
/// # Errors
/// When it could not begin, or what was asked for is refused.
pub async fn run(common: &Common, options: &Held, stop: &CancellationToken) -> Result<Exit, Trouble> {
    match &options.action {
        None => {
            let listing = list(common, options, stop);
            stop.run_until_cancelled(listing).await.unwrap_or_else(|| Err(Trouble::stopped()))
        }
        Some(action) => act(common, &options.filter, action, stop).await,
    }
}

fn selection(common: &Common, filter: &HeldFilter, ids: Vec<i64>, session: &Session) -> HeldSelection {
    HeldSelection {
        ids,
        stores: common.store.clone(),
        fields: filter.field.clone(),
        reasons: filter.reason.clone(),
        since: filter.since.map(|since| since.moment(session.engine.clock().now())),
    }
}

async fn rows(session: &Session, filter: &checkpoint::HeldFilter) -> Result<Vec<HeldRow>, Trouble> {
    let mut transaction = session.engine.checkpoint().read().await?;
    let rows = transaction.held(filter).await?;
    transaction.end().await?;
    Ok(rows)
}

async fn list(common: &Common, options: &Held, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Read, stop).await?;
    let rows = rows(&session, &selection(common, &options.filter, Vec::new(), &session).filter()).await?;
    if options.json {
        output::document(&rows.iter().map(item).collect::<Vec<_>>())?;
    } else if rows.is_empty() {
        output::show("Nothing is held.")?;
    } else {
        let now = session.engine.clock().now();
        for row in &rows {
            output::show(&text_of(row, &output::ago(Some(row.since), now)))?;
        }
    }
    Ok(Exit::Done)
}

fn item(row: &HeldRow) -> serde_json::Value {
    json!({
        "id": row.id, "store": row.store, "crm": row.crm, "store_key": row.store_key, "crm_key": row.crm_key,
        "field": row.field, "reason": row.reason.as_str(),
        "agreed": row.agreed.as_deref().map(parsed), "store_value": parsed(&row.store_value),
        "crm_value": parsed(&row.crm_value), "since": output::moment(Some(row.since)), "next_step": next_step(row),
    })
}

fn text_of(row: &HeldRow, since: &str) -> String {
    let customer = row.store_key.as_ref().map(|key| format!("customer {key} of {}", row.store));
    let contact = row.crm_key.as_ref().map(|key| format!("contact {key} of {}", row.crm));
    let who = [customer, contact].into_iter().flatten().collect::<Vec<_>>().join(" ⇄ ");
    let field = row.field.as_ref().map(|field| format!("  {field}")).unwrap_or_default();
    let mut lines = vec![format!("{}  {}: {}, {since}", row.id, plain(&format!("{who}{field}")), row.reason)];
    if row.field.is_some() {
        let agreed = row.agreed.as_deref().map(|agreed| format!("; agreed was {}", json_value(agreed)));
        let (store, crm) = (json_value(&row.store_value), json_value(&row.crm_value));
        lines.push(format!("    store {store}, CRM {crm}{}", agreed.unwrap_or_default()));
    }
    if let Some(detail) = &row.detail {
        let what = if row.reason == HeldReason::Ambiguous { "candidates: " } else { "" };
        lines.push(format!("    {what}{}", plain(detail)));
    }
    lines.push(format!("    {}", plain(&next_step(row))));
    lines.join("\n")
}

async fn act(
    common: &Common,
    filter: &HeldFilter,
    action: &HeldAction,
    stop: &CancellationToken,
) -> Result<Exit, Trouble> {
    let named = action.selection();
    let ids = ids(&named.ids)?;
    let session = Session::open(common, Access::Act, stop).await?;
    let mut selection = selection(common, filter, ids, &session);
    let rows = rows(&session, &selection.filter()).await?;
    if rows.is_empty() && selection.ids.is_empty() {
        output::show("Nothing that fits is held.")?;
        return Ok(Exit::Done);
    }
    let (action, question) = match action {
        HeldAction::Retry(_) => (engine::HeldAction::Retry, "decide again"),
        HeldAction::Resolve { take, .. } => match Side::from(*take) {
            Side::Store => (engine::HeldAction::Take(Side::Store), "take the store's value for both sides"),
            Side::Crm => (engine::HeldAction::Take(Side::Crm), "take the CRM's value for both sides"),
        },
        HeldAction::Drop(_) => (engine::HeldAction::Drop, "leave both sides as they are until either changes"),
    };
    if !named.yes {
        let fields = rows.iter().filter(|row| row.field.is_some()).count() as u64;
        let records = rows.len() as u64 - fields;
        let what = match (fields, records) {
            (fields, 0) => counted(fields, "field", "fields"),
            (0, records) => counted(records, "record", "records"),
            (fields, records) => {
                format!("{} and {}", counted(fields, "field", "fields"), counted(records, "record", "records"))
            }
        };
        if !confirmed(&format!("{what}: {question}?"), stop).await {
            output::note("nothing was done; --yes does not ask");
            return Ok(Exit::Done);
        }
        // Exactly what was asked about, whatever came to be held since.
        if selection.ids.is_empty() {
            selection.ids = rows.iter().map(|row| row.id).collect();
        }
    }
    let answer = session.ask(&Request::Held { selection, action }, Some(common.patience)).await?;
    if !answer.done {
        return Err(Trouble::new(Exit::Attention, answer.message));
    }
    output::show(&answer.message)?;
    Ok(Exit::Done)
}

fn ids(words: &[String]) -> Result<Vec<i64>, Trouble> {
    let number = |word: &String| {
        word.trim().parse().map_err(|_| {
            Trouble::new(
                Exit::Usage,
                format!("{:?} is no id: ids are numbers, as `attune held` shows them", plain(word)),
            )
        })
    };
    words.iter().map(number).collect()
}
