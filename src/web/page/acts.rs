//! What POST does: each act is asked of the office, and what came of it is told on the page that follows.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;

use super::frame::Frame;
use super::session::Signed;
use super::views::{message, see};
use super::{Act, Choice, Outcome, Page, guard};
use crate::model::Side;

/// A form of a session: its own, and from our own page. What every POST but the sign-in begins with.
pub(super) fn own<F>(
    page: &Page,
    headers: &HeaderMap,
    uri: &Uri,
    form: Result<Form<F>, FormRejection>,
    token: impl Fn(&F) -> &str,
) -> Result<(Frame, Signed, F), Box<Response>> {
    let frame = page.frame(headers, uri, "", "");
    let refuse = |frame, status, title: &str, text: &str| Err(Box::new(message(status, frame, title, text)));
    let form = match form {
        Ok(Form(form)) => form,
        Err(rejection) => return refuse(frame, rejection.status(), "Not understood", "This is no form of this page."),
    };
    let Some(signed) = page.signed(headers) else {
        let text = "You are not signed in, or your session has ended. Nothing was done.";
        return refuse(frame, StatusCode::UNAUTHORIZED, "Not signed in", text);
    };
    if !guard::is_from_our_page(headers) || !signed.made(token(&form)) {
        let text = "This form does not come from this page in this session. Nothing was done; go back, load the page again \
                    and try once more.";
        return refuse(frame, StatusCode::FORBIDDEN, "Refused", text);
    }
    Ok((frame, signed, form))
}

/// The fields of a form that asks for an act.
#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    form_token: String,
    /// The page to go on to.
    #[serde(default)]
    back: String,
    /// A store or CRM.
    #[serde(default)]
    name: String,
    /// What stands for what was shown.
    #[serde(default)]
    shown: String,
    /// A number of something held.
    #[serde(default)]
    id: i64,
    /// What to do with it.
    #[serde(default)]
    choice: String,
}

type Given = Result<Form<Asked>, FormRejection>;

/// Does it, leaves word, and leads back.
async fn act(
    page: &Page,
    headers: &HeaderMap,
    uri: &Uri,
    form: Given,
    act: impl FnOnce(&Asked) -> Result<Act, &'static str>,
) -> Response {
    let (frame, signed, asked) = match own(page, headers, uri, form, |asked| &asked.form_token) {
        Ok(own) => own,
        Err(refused) => return *refused,
    };
    let outcome: Outcome = match act(&asked) {
        Ok(act) => page.office.act(&act).await,
        Err(text) => return message(StatusCode::BAD_REQUEST, frame, "Not understood", text),
    };
    page.sessions.leave_notice(&signed, outcome);
    see(guard::local(&asked.back))
}

pub(super) async fn pause(State(page): State<Arc<Page>>, headers: HeaderMap, uri: Uri, form: Given) -> Response {
    act(&page, &headers, &uri, form, |asked| Ok(Act::Pause(asked.name.clone()))).await
}

pub(super) async fn resume(State(page): State<Arc<Page>>, headers: HeaderMap, uri: Uri, form: Given) -> Response {
    act(&page, &headers, &uri, form, |asked| Ok(Act::Resume(asked.name.clone()))).await
}

pub(super) async fn approve(State(page): State<Arc<Page>>, headers: HeaderMap, uri: Uri, form: Given) -> Response {
    let approve = |asked: &Asked| Ok(Act::Approve { store: asked.name.clone(), shown: asked.shown.clone() });
    act(&page, &headers, &uri, form, approve).await
}

pub(super) async fn held(State(page): State<Arc<Page>>, headers: HeaderMap, uri: Uri, form: Given) -> Response {
    let decide = |asked: &Asked| {
        let choice = match asked.choice.as_str() {
            "take store" => Choice::Take(Side::Store),
            "take crm" => Choice::Take(Side::Crm),
            "leave" => Choice::Leave,
            "look again" => Choice::LookAgain,
            _ => return Err("No such choice."),
        };
        Ok(Act::Held { id: asked.id, choice })
    };
    act(&page, &headers, &uri, form, decide).await
}
