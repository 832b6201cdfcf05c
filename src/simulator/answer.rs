//! What a call is answered with: rows with their `meta`, or a refusal in one of BigCommerce's shapes.
//!
//! Must not know: sockets, quotas, what the rows are.

use serde::Serialize;
use serde_json::json;

use super::query::Paging;

/// Where BigCommerce's errors point.
const ERROR_TYPE: &str = "https://developer.bigcommerce.com/api-docs/getting-started/api-status-codes";

/// A good answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// 200 with this JSON.
    Json(Vec<u8>),
    /// 201 with this JSON.
    Created(Vec<u8>),
    /// 204.
    NoContent,
}

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// The title.
    pub(super) title: String,
    /// Field (often `INDEX.FIELD`) → what is wrong with it.
    pub(super) errors: Vec<(String, String)>,
    /// Set if no correct client ever makes this call, whatever the data: it is counted and listed.
    pub(super) violation: bool,
    /// The whole body, where it is not the usual one: a batch of which a part was done.
    pub(super) whole: Option<Vec<u8>>,
}

impl Refusal {
    /// A refusal that a correct client may meet.
    pub(super) fn new(status: u16, title: impl Into<String>) -> Self {
        Self { status, title: title.into(), errors: Vec::new(), violation: false, whole: None }
    }

    /// With one more entry in `errors`.
    pub(super) fn because(mut self, field: impl Into<String>, what: impl Into<String>) -> Self {
        self.errors.push((field.into(), what.into()));
        self
    }

    /// One that only a defect of the client leads to.
    pub(super) const fn violating(mut self) -> Self {
        self.violation = true;
        self
    }

    /// The body: an object in version 3 of the API, a list in version 2.
    pub(super) fn body(&self, is_v2: bool) -> Vec<u8> {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        let body = if is_v2 {
            json!([{ "status": self.status, "message": self.title }])
        } else {
            let errors: serde_json::Map<String, serde_json::Value> =
                self.errors.iter().map(|(field, what)| (field.clone(), json!(what))).collect();
            json!({ "status": self.status, "title": self.title, "type": ERROR_TYPE, "errors": errors })
        };
        body.to_string().into_bytes()
    }
}

/// A list or a batch of rows.
#[derive(Serialize)]
struct Rows<'rows, T> {
    data: &'rows [T],
    meta: Meta,
}

/// What stands beside the rows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pagination: Option<Pagination>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor_pagination: Option<CursorPagination>,
}

/// Pages by number.
#[derive(Debug, Serialize)]
pub(super) struct Pagination {
    total: u64,
    count: u64,
    per_page: u64,
    current_page: u64,
    total_pages: u64,
    links: Links,
}

/// Pages by cursor.
#[derive(Debug, Serialize)]
pub(super) struct CursorPagination {
    pub(super) count: u64,
    pub(super) per_page: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_cursor: Option<String>,
    pub(super) links: Links,
}

/// Relative query strings.
#[derive(Debug, Default, Serialize)]
pub(super) struct Links {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

impl Pagination {
    /// For the page `paging` of `total` rows, of which `count` are shown. `others` are the query's other parameters.
    /// `repeating`: there is always one more page.
    pub(super) fn of(paging: Paging, total: usize, count: usize, others: &str, repeating: bool) -> Self {
        let Paging { page, limit } = paging;
        let mut total_pages = (total as u64).div_ceil(limit);
        let mut total = total as u64;
        if repeating {
            total_pages = page + 1;
            total = total.max(total_pages * limit);
        }
        let link = |page: u64| format!("?page={page}&limit={limit}{others}");
        Self {
            total,
            count: count as u64,
            per_page: limit,
            current_page: page,
            total_pages,
            links: Links {
                previous: (page > 1).then(|| link(page - 1)),
                current: Some(link(page)),
                next: (page < total_pages).then(|| link(page + 1)),
            },
        }
    }
}

/// 200 with rows.
pub(super) fn rows<T: Serialize>(data: &[T], meta: Meta) -> Answer {
    json_answer(&Rows { data, meta })
}

/// 200 with anything.
pub(super) fn json_answer(body: &impl Serialize) -> Answer {
    // What is written here are plain structs of ours, which cannot fail to serialise.
    Answer::Json(serde_json::to_vec(body).unwrap_or_default())
}

/// 201 with rows.
pub(super) fn created<T: Serialize>(data: &[T]) -> Answer {
    Answer::Created(serde_json::to_vec(&Rows { data, meta: Meta::default() }).unwrap_or_default())
}

/// Why one row of a batch was refused, as it is shown beside the rows that were done.
#[derive(Debug, Serialize)]
pub(super) struct RowError {
    /// The status it would have been alone.
    pub(super) status: u16,
    /// The title.
    pub(super) title: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Index → what is wrong.
    pub(super) errors: serde_json::Map<String, serde_json::Value>,
}

impl RowError {
    /// About the row at an index of the batch.
    pub(super) fn new(status: u16, title: &str, index: usize, what: &str) -> Self {
        let errors = [(index.to_string(), json!(what))].into_iter().collect();
        Self { status, title: title.to_owned(), kind: ERROR_TYPE, errors }
    }
}

/// A batch of which some rows were done, and others not: `{data, errors, meta: {total, success, failed}}`.
pub(super) fn partly<T: Serialize>(status: u16, data: &[T], errors: &[RowError]) -> Refusal {
    let meta = json!({ "total": data.len() + errors.len(), "success": data.len(), "failed": errors.len() });
    let whole = json!({ "data": data, "errors": errors, "meta": meta }).to_string().into_bytes();
    Refusal { whole: Some(whole), ..Refusal::new(status, errors.first().map_or("", |error| &error.title)) }
}

/// A batch all of whose rows were done, in the same form.
pub(super) fn wholly<T: Serialize>(data: &[T]) -> Vec<u8> {
    let meta = json!({ "total": data.len(), "success": data.len(), "failed": 0 });
    let nothing: [u8; 0] = [];
    json!({ "data": data, "errors": nothing, "meta": meta }).to_string().into_bytes()
}
