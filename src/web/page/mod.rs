//! The page: how every store and CRM stands, what is held, what is known of a record; and for a person who has signed in,
//! the values, and the acts. Plain HTML, without scripts.
//!
//! Whoever reaches the address sees states, counts and keys. Values, looking somebody up and every act need a session.
//! Only POST changes anything, and only with the session's own token in the form.
//!
//! Must not know: the daemon, the engine, the checkpoint. It asks an [`Office`].

mod acts;
mod chart;
mod frame;
mod guard;
mod office;
#[cfg(test)]
pub(super) mod page_test;
mod session;
mod sign_in;
mod views;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

pub use office::{
    Act, Choice, CrmDetail, CrossedRail, Day, Held, HeldCount, HeldList, HeldQuery, HeldValues, Office, Outcome,
    Overview, PairDetail, PairStanding, Pass, Quota, Record, RecordField, Records, SeenValue, Sight, SourceStanding,
    StoreDetail, Stretch, Unavailable, Write,
};

use session::Sessions;

/// Bytes of a form.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// Nothing is loaded but our own style sheet, nothing is run, forms go nowhere else, nobody may frame it.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What all handlers share.
struct Page {
    office: Arc<dyn Office>,
    sessions: Sessions,
}

/// All addresses of the page.
pub(super) fn router(office: Arc<dyn Office>) -> Router {
    let page = Arc::new(Page { office, sessions: Sessions::default() });
    Router::new()
        .route("/", get(views::overview))
        .route("/stores/{name}", get(views::store))
        .route("/crms/{name}", get(views::crm))
        .route("/held", get(views::held).post(acts::held))
        .route("/record", get(views::record).post(views::look_up))
        .route("/pause", post(acts::pause))
        .route("/resume", post(acts::resume))
        .route("/approve", post(acts::approve))
        .route("/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/style.css", get(style))
        .fallback(views::nowhere)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(map_response(guarded))
        .with_state(page)
}

/// What every answer says to the browser.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn style() -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    let kept = (header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    (StatusCode::OK, [kind, kept], include_str!("../../../templates/page.css")).into_response()
}
