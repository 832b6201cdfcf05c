//! `/v3/customers/subscribers`: who wants which mail, joined to customers by nothing but the e-mail.
//!
//! Must not know: customers; sockets, quotas.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use super::answer::{Answer, Meta, Pagination, Refusal, json_answer, rows};
use super::beside::{Beside, Subscriber};
use super::body::{self, Row};
use super::data::fold;
use super::dates::Seconds;
use super::query::{Paging, Query};
use super::records::Records;
use super::request::Request;
use super::settings::{Readings, SubscriberEmails};

const CONSENTS: [&str; 2] = ["marketing_newsletter", "abandoned_cart"];

const PARAMETERS: [&str; 15] = [
    "email",
    "first_name",
    "last_name",
    "source",
    "order_id",
    "date_created",
    "date_created:min",
    "date_created:max",
    "date_modified",
    "date_modified:min",
    "date_modified:max",
    "page",
    "limit",
    "id",
    "id:in",
];

const FIELDS: [&str; 7] = ["email", "first_name", "last_name", "source", "order_id", "channel_id", "consents"];

/// A subscriber as it is shown.
#[derive(Serialize)]
struct SubscriberRow<'data> {
    id: u64,
    email: &'data str,
    first_name: &'data str,
    last_name: &'data str,
    source: &'data str,
    order_id: Option<u64>,
    channel_id: u64,
    consents: &'data BTreeSet<String>,
    date_created: Seconds,
    date_modified: Seconds,
}

impl<'data> SubscriberRow<'data> {
    fn of(beside: &'data Beside, id: u64) -> Option<Self> {
        let subscriber = beside.subscribers.get(&id)?;
        Some(Self {
            id,
            email: &subscriber.email,
            first_name: &subscriber.first_name,
            last_name: &subscriber.last_name,
            source: &subscriber.source,
            order_id: None,
            channel_id: 1,
            consents: &subscriber.consents,
            date_created: subscriber.created,
            date_modified: subscriber.modified,
        })
    }
}

fn same(one: &str, other: &str, readings: &Readings) -> bool {
    match readings.subscriber_emails {
        SubscriberEmails::Exact => one == other,
        SubscriberEmails::Folded => fold(one) == fold(other),
    }
}

/// `GET /v3/customers/subscribers`
pub(super) fn list(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &PARAMETERS)?;
    let (paging, readings) = (query.paging()?, request.readings);
    let (email, source) = (query.text("email")?, query.text("source")?);
    let ids = query.ids("id:in")?;
    let created = query.dates("date_created", false, request.moment.date)?;
    let modified = query.dates("date_modified", false, request.moment.date)?;
    let beside = records.listed(request.behind, request.moment).beside();
    let selected: Vec<u64> = beside
        .subscribers
        .iter()
        .filter(|(id, subscriber)| {
            email.as_ref().is_none_or(|email| same(email, &subscriber.email, &readings))
                && source.as_ref().is_none_or(|source| *source == subscriber.source)
                && ids.as_ref().is_none_or(|ids| ids.contains(id))
                && created.matches(subscriber.created, readings.date_bounds)
                && modified.matches(subscriber.modified, readings.date_bounds)
        })
        .map(|(id, _)| *id)
        .collect();
    let page = if request.repeating { Paging { page: 1, ..paging } } else { paging };
    let shown: Vec<SubscriberRow<'_>> =
        page.slice(&selected).iter().filter_map(|id| SubscriberRow::of(beside, *id)).collect();
    let pagination = Pagination::of(paging, selected.len(), shown.len(), &query.others(), request.repeating);
    Ok(rows(&shown, Meta { pagination: Some(pagination), cursor_pagination: None }))
}

fn shown(records: &Records, id: u64) -> Result<Answer, Refusal> {
    let row = SubscriberRow::of(records.now().beside(), id);
    row.map(|row| json_answer(&json!({ "data": row, "meta": {} })))
        .ok_or_else(|| Refusal::new(404, "The subscriber was not found."))
}

/// `GET /v3/customers/subscribers/{id}`
pub(super) fn one(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    shown(records, request.ids.number())
}

/// The consents of a row, if sent.
fn consents(row: Row<'_>) -> Result<Option<BTreeSet<String>>, Refusal> {
    let Some(value) = row.get("consents") else { return Ok(None) };
    let wrong = || Refusal::new(422, "The subscriber was not valid.").because("consents", "is not valid").violating();
    let words = value.as_array().ok_or_else(wrong)?;
    let word = |word: &serde_json::Value| {
        word.as_str().filter(|word| CONSENTS.contains(word)).map(str::to_owned).ok_or_else(wrong)
    };
    words.iter().map(word).collect::<Result<_, _>>().map(Some)
}

/// One object in a body that is no list.
fn sent(body: &[u8]) -> Result<serde_json::Value, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::new(400, "Input is invalid").violating())
}

/// `POST /v3/customers/subscribers`: one.
pub(super) fn create(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let values = [sent(request.body)?];
    let row = body::rows(&values, &FIELDS)?[0];
    let email = row.required_text("email")?;
    if !email.contains('@') {
        return Err(Refusal::new(422, "The subscriber was not valid.").because("email", "invalid email"));
    }
    let mut known = records.now().beside().subscribers.values();
    if known.any(|subscriber| same(email, &subscriber.email, &request.readings)) {
        return Err(Refusal::new(409, "A subscriber with this email exists already."));
    }
    let text = |field: &str| Ok::<_, Refusal>(row.text(field)?.unwrap_or_default().to_owned());
    let made = Subscriber {
        email: email.to_owned(),
        first_name: text("first_name")?,
        last_name: text("last_name")?,
        source: row.text("source")?.unwrap_or("custom").to_owned(),
        consents: consents(row)?.unwrap_or_default(),
        created: request.moment.date,
        modified: request.moment.date,
    };
    let id = records.edit_beside(request.moment, |beside| {
        let id = beside.next_id();
        beside.subscribers.insert(id, made);
        id
    });
    shown(records, id)
}

/// `PUT /v3/customers/subscribers/{id}`: what is sent replaces what was there, all consents at once.
pub(super) fn update(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let values = [sent(request.body)?];
    let row = body::rows(&values, &FIELDS)?[0];
    let id = request.ids.number();
    let consents = consents(row)?;
    if row.get("email").is_some() {
        request.violation("the email of a subscriber is changed");
    }
    records.edit_beside(request.moment, |beside| {
        let Some(subscriber) = beside.subscribers.get_mut(&id) else { return };
        consents.into_iter().for_each(|consents| subscriber.consents = consents);
        subscriber.modified = request.moment.date;
    });
    shown(records, id)
}

/// `DELETE /v3/customers/subscribers/{id}`
pub(super) fn delete(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    records.edit_beside(request.moment, |beside| beside.subscribers.remove(&request.ids.number()));
    Ok(Answer::NoContent)
}

/// `DELETE /v3/customers/subscribers`: everybody. No correct client calls it.
pub(super) fn delete_all(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    request.violation("it deletes every subscriber");
    records.edit_beside(request.moment, |beside| beside.subscribers.clear());
    Ok(Answer::NoContent)
}
