//! In and out: the token of the configuration opens a session.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::frame::Frame;
use super::session::ATTEMPTS_MAX;
use super::views::{message, see, shown};
use super::{Page, guard};

#[derive(Template)]
#[template(path = "sign_in.html", whitespace = "minimize")]
struct SignInPage {
    frame: Frame,
    /// Where to go then.
    next: String,
    /// Why the last attempt came to nothing.
    refused: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct Attempt {
    #[serde(default)]
    next: String,
    token: String,
}

fn frame(page: &Page, headers: &HeaderMap, uri: &Uri) -> Frame {
    page.frame(headers, uri, "Sign in", "sign-in")
}

pub(super) async fn form(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
    next: Result<Query<Next>, QueryRejection>,
) -> Response {
    let next = next.map(|Query(next)| next.next).unwrap_or_default();
    let next = guard::local(&next).to_owned();
    shown(StatusCode::OK, &SignInPage { frame: frame(&page, &headers, &uri), next, refused: None })
}

pub(super) async fn sign_in(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
    attempt: Result<Form<Attempt>, FormRejection>,
) -> Response {
    let frame = frame(&page, &headers, &uri);
    let Ok(Form(attempt)) = attempt else {
        return message(StatusCode::BAD_REQUEST, frame, "Not understood", "This is no form of this page.");
    };
    let given = SecretString::from(attempt.token);
    let next = guard::local(&attempt.next).to_owned();
    let refuse = |status, why: String| shown(status, &SignInPage { frame, next: next.clone(), refused: Some(why) });
    if !guard::is_from_our_page(&headers) {
        return refuse(StatusCode::FORBIDDEN, "This form does not come from this page. Try once more.".to_owned());
    }
    if !page.office.can_sign_in() {
        return refuse(StatusCode::FORBIDDEN, "Nobody can sign in: server.admin_token is not configured.".to_owned());
    }
    if !page.sessions.may_try() {
        let why = format!("More than {ATTEMPTS_MAX} attempts within a minute, by everybody together. Wait a minute.");
        return refuse(StatusCode::TOO_MANY_REQUESTS, why);
    }
    let token = match page.office.admin_token().await {
        Ok(token) => token,
        Err(reason) => {
            tracing::warn!(target: "attune", event = "note", "nobody can sign in to the page: {reason}");
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "The token cannot be looked up; the log says why.".to_owned(),
            );
        }
    };
    if !is_the_same(&given, &token) {
        tracing::warn!(target: "attune", event = "note", "somebody tried to sign in to the page with a wrong token");
        return refuse(StatusCode::FORBIDDEN, "This is not the token.".to_owned());
    }
    let Ok(cookie) = page.sessions.begin(guard::host(&headers)) else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "The machine gives no random bytes.".to_owned());
    };
    tracing::info!(target: "attune", event = "note", "somebody has signed in to the page");
    with_cookie(see(&next), Some(&cookie), &headers)
}

/// Compared as hashes, in a time that tells nothing of how much was right.
fn is_the_same(given: &SecretString, token: &SecretString) -> bool {
    blake3::hash(given.expose_secret().trim().as_bytes()) == blake3::hash(token.expose_secret().trim().as_bytes())
}

#[derive(Deserialize)]
pub(super) struct Leaving {
    #[serde(default)]
    form_token: String,
}

pub(super) async fn sign_out(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
    form: Result<Form<Leaving>, FormRejection>,
) -> Response {
    match super::acts::own(&page, &headers, &uri, form, |form| &form.form_token) {
        Ok((_, signed, _)) => {
            page.sessions.end(&signed);
            with_cookie(see("/"), None, &headers)
        }
        Err(refused) => *refused,
    }
}

fn with_cookie(mut response: Response, held: Option<&str>, headers: &HeaderMap) -> Response {
    if let Some(cookie) = guard::cookie(held, guard::is_https(headers)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
