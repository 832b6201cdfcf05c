//! `attune explain KEY-OR-EMAIL`: one record, and why it is or is not synced.

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Explain};
use super::exit::Exit;
use super::history;
use super::output::{self, plain, value};
use super::session::{Access, Session, Trouble};
use crate::checkpoint::{HeldFilter, HeldRow, SeenCell};
use crate::daemon::Fleet;
use crate::engine::{Explained, ExplainedField, next_step};
use crate::model::Side;

/// Runs the command.
///
/// # Errors
/// When the checkpoint cannot be read, or nothing is known of such a record.
pub async fn run(common: &Common, options: &Explain, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Read, stop).await?;
    let fleet = Fleet::recall(&session.engine, &session.blueprint().await).await;
    let mut documents = Vec::new();
    let mut texts = Vec::new();
    for pair in fleet.ready() {
        let found = session.engine.explain(pair, &options.record).await?;
        let held = if found.is_empty() { Vec::new() } else { held_of(&session, &pair.store.name).await? };
        for mut explained in found {
            name_commands(&mut explained, held.iter().filter(|row| row.crm == pair.crm.name));
            let (store, crm) = (&pair.store.name, &pair.crm.name);
            if options.json {
                documents.push(document(store, crm, &explained));
            } else {
                texts.push(text_of(store, crm, &explained));
            }
        }
    }
    let unread = fleet.pairs.iter().filter(|slot| !matches!(slot.pair, Some(Ok(_))));
    for slot in unread {
        let (store, crm) = (&slot.plan.store, &slot.plan.crm);
        output::note(&format!(
            "{store} ⇄ {crm}: not read yet under this mapping; `attune sync` or `attune run` reads it"
        ));
    }
    let found = !(documents.is_empty() && texts.is_empty());
    if options.json {
        output::document(&json!({ "records": documents }))?;
    } else if found {
        output::show(&texts.join("\n\n"))?;
    }
    if !found {
        let what =
            "no record with this key or match value was seen; give a customer's id, a contact's key, or an e-mail";
        return Err(Trouble::new(Exit::Attention, what));
    }
    Ok(Exit::Done)
}

async fn held_of(session: &Session, store: &str) -> Result<Vec<HeldRow>, Trouble> {
    let mut transaction = session.engine.checkpoint().read().await?;
    let filter = HeldFilter { stores: vec![store.to_owned()], ..HeldFilter::default() };
    let rows = transaction.held(&filter).await?;
    transaction.end().await?;
    Ok(rows)
}

/// Puts the names and numbers of this very record into the commands that help.
fn name_commands<'a>(explained: &mut Explained, held: impl Iterator<Item = &'a HeldRow>) {
    let (store_key, crm_key) = keys(explained);
    let (store_key, crm_key) = (store_key.map(str::to_owned), crm_key.map(str::to_owned));
    for row in held.filter(|row| row.store_key == store_key && row.crm_key == crm_key) {
        let (any, own) = (row.reason.next_step(), next_step(row));
        match &row.field {
            None => explained.why = explained.why.replace(any, &own),
            Some(name) => {
                for field in explained.fields.iter_mut().filter(|field| field.field == *name) {
                    field.next = field.next.replace(any, &own);
                }
            }
        }
    }
}

/// The customer's and the contact's key.
fn keys(explained: &Explained) -> (Option<&str>, Option<&str>) {
    let (own, partner) = (Some(explained.key.as_str()), explained.partner.as_deref());
    if explained.side == Side::Store { (own, partner) } else { (partner, own) }
}

fn document(store: &str, crm: &str, explained: &Explained) -> Json {
    let (store_key, crm_key) = keys(explained);
    let seen = |cell: &Option<SeenCell>| {
        cell.as_ref().map(|cell| {
            json!({ "value": cell.value, "modified": output::moment(cell.modified), "edited": output::moment(cell.edited) })
        })
    };
    let field = |field: &ExplainedField| {
        json!({
            "field": field.field, "agreed": field.agreed, "agreed_known": field.agreed.is_some(),
            "store": seen(&field.store), "crm": seen(&field.crm),
            "next": field.next, "held": field.held.map(crate::model::HeldReason::as_str),
        })
    };
    json!({
        "store": store, "crm": crm, "store_key": store_key, "crm_key": crm_key,
        "linked": explained.partner.is_some(), "gone": explained.gone, "why": explained.why,
        "fields": explained.fields.iter().map(field).collect::<Vec<_>>(),
        "history": explained.history.iter().map(history::item).collect::<Vec<_>>(),
    })
}

fn text_of(store: &str, crm: &str, explained: &Explained) -> String {
    let customer = keys(explained).0.map(|key| format!("customer {key} of {store}"));
    let contact = keys(explained).1.map(|key| format!("contact {key} of {crm}"));
    let both = [customer, contact].into_iter().flatten().collect::<Vec<_>>().join(" ⇄ ");
    let other = if explained.side == Side::Store { crm } else { store };
    let link = match (&explained.partner, explained.why.as_str()) {
        (Some(_), "linked") => "linked".to_owned(),
        (Some(_), why) => format!("linked; {why}"),
        (None, why) => format!("no link to {other}: {why}"),
    };
    let mut lines = vec![plain(&format!("{both}: {link}"))];
    for field in &explained.fields {
        lines.push(format!("  {}", plain(&field.field)));
        let agreed = field
            .agreed
            .as_ref()
            .map_or_else(|| "not known yet".to_owned(), |agreed| output::json_value(&agreed.to_string()));
        lines.push(format!("    agreed  {agreed}"));
        lines.push(format!("    store   {}", seen(field.store.as_ref())));
        lines.push(format!("    CRM     {}", seen(field.crm.as_ref())));
        lines.push(format!("    next    {}", plain(&field.next)));
    }
    if !explained.history.is_empty() {
        lines.push("  Last writes".to_owned());
    }
    for row in &explained.history {
        lines.push(format!("    {}  {}", history::change(row), plain(&row.field)));
    }
    lines.join("\n")
}

fn seen(cell: Option<&SeenCell>) -> String {
    let Some(cell) = cell else { return "not read yet".to_owned() };
    let modified = cell.modified.map(|modified| format!(", changed {}", modified.to_seconds_text()));
    format!("{}{}", value(cell.value.as_ref()), modified.unwrap_or_default())
}
