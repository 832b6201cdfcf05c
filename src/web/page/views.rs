//! What GET shows: each page asks the office, and fills a template.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::frame::Frame;
use super::words;
use super::{
    CrmDetail, HeldList, HeldQuery, Overview, Page, PairStanding, Record, Records, Sight, StoreDetail, Unavailable,
};
use crate::model::HeldReason;

/// How often a page may be looked at again by itself, in seconds: one choice, and it is asked for.
const REFRESH_S: u64 = 30;

/// The longest that somebody is looked up by.
const WORDS_CHARS_MAX: usize = 320;

fn sight(frame: &Frame) -> Sight {
    if frame.signed.is_some() { Sight::Whole } else { Sight::Public }
}

/// A filled template.
pub(super) fn shown(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(target: "attune", event = "note", "a defect: a page could not be shown: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "a defect of Attune: this page could not be shown").into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "message.html", whitespace = "minimize")]
struct Message {
    frame: Frame,
    text: String,
}

/// A page that only says something.
pub(super) fn message(status: StatusCode, mut frame: Frame, title: &str, text: impl Into<String>) -> Response {
    title.clone_into(&mut frame.title);
    shown(status, &Message { frame, text: text.into() })
}

fn unavailable(frame: Frame, why: &Unavailable) -> Response {
    message(StatusCode::SERVICE_UNAVAILABLE, frame, "Not to be told now", why.to_string())
}

/// There is no such page.
pub(super) async fn nowhere(State(page): State<Arc<Page>>, headers: HeaderMap, uri: Uri) -> Response {
    missing(page.frame(&headers, &uri, "", ""), "There is no such page.")
}

fn missing(frame: Frame, text: &str) -> Response {
    message(StatusCode::NOT_FOUND, frame, "Not found", text)
}

// === the overview ===

#[derive(Template)]
#[template(path = "overview.html", whitespace = "minimize")]
struct OverviewPage {
    frame: Frame,
    overview: Overview,
}

impl OverviewPage {
    /// The whole in a sentence.
    fn summary(&self) -> String {
        let pairs = &self.overview.pairs;
        let troubled: Vec<&PairStanding> =
            pairs.iter().filter(|pair| !matches!(pair.state.as_str(), "ok" | "observing" | "new")).collect();
        let held: u64 = pairs.iter().map(|pair| pair.held).sum();
        let pending: u64 = pairs.iter().map(|pair| pair.pending).sum();
        let first = match troubled.as_slice() {
            [] if self.overview.left_out > 0 => format!("The first {} pairs run", pairs.len()),
            [] => "All run".to_owned(),
            [one] => format!("{} with {} is {}", one.store, one.crm, one.state),
            many => format!("{} of {} do not run", many.len(), pairs.len()),
        };
        let fields = |count: u64, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{} {what}", words::number(count))),
        };
        let rest: Vec<String> =
            [fields(pending, "on the way"), fields(held, "waiting for a person")].into_iter().flatten().collect();
        if rest.is_empty() { format!("{first}; nothing waits.") } else { format!("{first}; {}.", rest.join(", ")) }
    }

    /// Whatever is not in order, with its reason.
    fn reasons(&self) -> Vec<(String, &str)> {
        let pairs = self.overview.pairs.iter();
        let pairs =
            pairs.filter_map(|pair| Some((format!("{} with {}", pair.store, pair.crm), pair.reason.as_deref()?)));
        let crms = self.overview.crms.iter().filter_map(|crm| Some((crm.name.clone(), crm.reason.as_deref()?)));
        pairs.chain(crms).collect()
    }
}

#[derive(Deserialize)]
pub(super) struct Refresh {
    refresh: Option<u64>,
}

pub(super) async fn overview(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
    refresh: Result<Query<Refresh>, QueryRejection>,
) -> Response {
    let mut frame = page.frame(&headers, &uri, "Overview", "overview");
    frame.refreshing = refresh.is_ok_and(|query| query.refresh == Some(REFRESH_S));
    let refreshing = frame.refreshing;
    let mut response = match page.office.overview().await {
        Ok(overview) => shown(StatusCode::OK, &OverviewPage { frame, overview }),
        Err(why) => unavailable(frame, &why),
    };
    if refreshing {
        response.headers_mut().insert(HeaderName::from_static("refresh"), HeaderValue::from(REFRESH_S));
    }
    response
}

// === one store, one CRM ===

#[derive(Template)]
#[template(path = "store.html", whitespace = "minimize")]
struct StorePage {
    frame: Frame,
    store: StoreDetail,
}

impl StorePage {
    /// How many changes rails have stopped, in all of its pairs.
    fn changes(&self) -> u64 {
        self.store.pairs.iter().map(|pair| pair.stopped).sum()
    }
}

pub(super) async fn store(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
    Path(name): Path<String>,
) -> Response {
    let frame = page.frame(&headers, &uri, format!("Store {name}"), "overview");
    match page.office.store(&name, sight(&frame)).await {
        Ok(Some(store)) => shown(StatusCode::OK, &StorePage { frame, store }),
        Ok(None) => missing(frame, "The configuration has no store of this name."),
        Err(why) => unavailable(frame, &why),
    }
}

#[derive(Template)]
#[template(path = "crm.html", whitespace = "minimize")]
struct CrmPage {
    frame: Frame,
    crm: CrmDetail,
}

pub(super) async fn crm(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
    Path(name): Path<String>,
) -> Response {
    let frame = page.frame(&headers, &uri, format!("CRM {name}"), "overview");
    match page.office.crm(&name).await {
        Ok(Some(crm)) => shown(StatusCode::OK, &CrmPage { frame, crm }),
        Ok(None) => missing(frame, "The configuration has no CRM of this name."),
        Err(why) => unavailable(frame, &why),
    }
}

// === what is held ===

#[derive(Default, Deserialize)]
pub(super) struct HeldWords {
    #[serde(default)]
    store: String,
    #[serde(default)]
    reason: String,
    after: Option<i64>,
}

#[derive(Template)]
#[template(path = "held.html", whitespace = "minimize")]
struct HeldPage {
    frame: Frame,
    list: HeldList,
    query: HeldQuery,
}

impl HeldPage {
    fn store(&self) -> &str {
        self.query.store.as_deref().unwrap_or_default()
    }

    fn reason(&self) -> &str {
        self.query.reason.map_or("", HeldReason::as_str)
    }

    /// Where the next page begins.
    fn last(&self) -> i64 {
        self.list.rows.last().map_or(0, |row| row.id)
    }
}

pub(super) async fn held(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
    words: Result<Query<HeldWords>, QueryRejection>,
) -> Response {
    let frame = page.frame(&headers, &uri, "Held", "held");
    let Ok(Query(words)) = words else { return missing(frame, "These words name nothing that is held.") };
    let query = HeldQuery {
        store: Some(words.store).filter(|store| !store.is_empty()),
        reason: HeldReason::parse(&words.reason),
        after: words.after,
    };
    match page.office.held(&query, sight(&frame)).await {
        Ok(list) => shown(StatusCode::OK, &HeldPage { frame, list, query }),
        Err(why) => unavailable(frame, &why),
    }
}

// === one record ===

#[derive(Default, Deserialize)]
pub(super) struct Key {
    #[serde(default)]
    q: String,
    #[serde(default)]
    store: String,
}

#[derive(Deserialize)]
pub(super) struct LookUp {
    #[serde(default)]
    q: String,
    #[serde(default)]
    form_token: String,
}

#[derive(Template)]
#[template(path = "record.html", whitespace = "minimize")]
struct RecordPage {
    frame: Frame,
    /// What was looked for; empty: nothing yet.
    words: String,
    records: Records,
}

/// By key alone: whatever stands in an address is kept by browsers and proxies, and an e-mail does not belong there.
pub(super) async fn record(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
    key: Result<Query<Key>, QueryRejection>,
) -> Response {
    let frame = page.frame(&headers, &uri, "Record", "record");
    let Ok(Query(key)) = key else { return missing(frame, "These words name no record.") };
    let words = key.q.trim().to_owned();
    if frame.signed.is_none() || words.is_empty() || words.chars().count() > WORDS_CHARS_MAX {
        return shown(StatusCode::OK, &RecordPage { frame, words: String::new(), records: Records::default() });
    }
    match page.office.records(&words).await {
        Ok(mut records) => {
            let is_meant = |record: &Record| {
                let keys = [record.store_key.as_ref(), record.crm_key.as_ref()];
                (key.store.is_empty() || record.store == key.store)
                    && keys.into_iter().flatten().any(|own| *own == words)
            };
            records.found.retain(is_meant);
            shown(StatusCode::OK, &RecordPage { frame, words, records })
        }
        Err(why) => unavailable(frame, &why),
    }
}

/// By key or e-mail, from the form.
pub(super) async fn look_up(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
    form: Result<Form<LookUp>, FormRejection>,
) -> Response {
    let (frame, form) = match super::acts::own(&page, &headers, &uri, form, |form| &form.form_token) {
        Ok((frame, _, form)) => (frame, form),
        Err(refused) => return *refused,
    };
    let frame = Frame { title: "Record".to_owned(), current: "record", ..frame };
    let words = form.q.trim().to_owned();
    if words.is_empty() || words.chars().count() > WORDS_CHARS_MAX {
        return shown(StatusCode::OK, &RecordPage { frame, words: String::new(), records: Records::default() });
    }
    match page.office.records(&words).await {
        Ok(records) => shown(StatusCode::OK, &RecordPage { frame, words, records }),
        Err(why) => unavailable(frame, &why),
    }
}

/// An answer that leads on to another page.
pub(super) fn see(path: &str) -> Response {
    let path = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}
