//! Classes of failure: what a status or a broken connection means for what happens next, in one place, and the facts
//! that a person needs, without secrets, personal data or addresses with queries.

use std::error::Error;

use serde::Deserialize;
use serde_json::Value;

use crate::model::{Class, Failure};

/// The longest text of a system that is kept, in characters.
const DETAIL_CHARS_MAX: usize = 500;

/// What an answer with this status (not 2xx) means.
///
/// `place` says where: `GET api.bigcommerce.com/stores/abc/v3/customers`.
pub(super) fn of_status(place: &str, status: u16, body: &[u8]) -> Failure {
    let (class, may_have_happened, sentence) = match status {
        401 => (Class::Auth, false, "refused our credentials; check the token or secret of this system"),
        403 => (Class::Auth, false, "says that our credentials lack a permission; check the scopes of the token"),
        429 => (Class::Retry, false, "says that there were too many calls; Attune waits and goes on by itself"),
        400 | 402 | 409 | 411..=413 | 416..=418 | 422..=424 | 426 | 428 | 431 | 451 => {
            (Class::Rejected, false, "refused what was sent")
        }
        408 | 425 => (Class::Retry, true, "gave up waiting for the call; it is tried again"),
        300..=399 => {
            let sentence = "answered with a redirect, which is never followed; check the address (api_url) of this \
                            system";
            (Class::Misconfigured, true, sentence)
        }
        501 | 505 => (Class::Broken, true, "does not know this kind of call; please report this as a defect of Attune"),
        500..=599 => (Class::Retry, true, "failed on its side; it is tried again"),
        404 | 410 => {
            (Class::Misconfigured, true, "was not found; check the address (api_url, store_hash) of this system")
        }
        _ => (Class::Broken, true, "answered in a way we do not understand; please report this as a defect of Attune"),
    };
    let mut failure = Failure::new(class, format!("{place} {sentence}"));
    failure.status = Some(status);
    failure.may_have_happened = may_have_happened;
    failure.detail = detail(body);
    failure.code = code(body);
    failure
}

/// What a call that ended without an answer means: it may have happened unless no connection was made.
pub(super) fn of_transport(place: &str, error: &reqwest::Error) -> Failure {
    let sent = !(error.is_connect() || error.is_builder());
    let sentence = match (error.is_builder(), sent, error.is_timeout()) {
        (true, ..) => "cannot be asked: the call could not be written; please report this as a defect of Attune",
        (_, false, true) => "cannot be reached: no connection in time; check the network, it is tried again",
        (_, false, false) => "cannot be reached; check the network and the address, it is tried again",
        (_, true, true) => "did not answer in time; it is tried again",
        (_, true, false) => "broke the connection off; it is tried again",
    };
    let class = if error.is_builder() { Class::Broken } else { Class::Retry };
    let mut failure = Failure::new(class, format!("{place} {sentence}"));
    failure.may_have_happened = sent;
    failure.detail = Some(shorten(&cause(error)));
    failure
}

/// An answer with a good status that cannot be read: after a write, nobody knows what happened.
pub(super) fn unreadable(place: &str, status: u16, why: &str) -> Failure {
    let sentence = format!("{place} answered {why}; check the address of this system, and what stands in between");
    let mut failure = Failure::new(Class::Broken, sentence).possibly_happened();
    failure.status = Some(status);
    failure
}

/// How the sentence about a body ends that was longer than the limit.
const NOT_READ: &str = "bytes, which were not read";

/// An answer whose body is longer than `bytes_max`.
pub(super) fn too_large(place: &str, status: u16, bytes_max: usize) -> Failure {
    unreadable(place, status, &format!("with more than {bytes_max} {NOT_READ}"))
}

/// Whether the answer was too large to be read: asking for less may help.
pub fn is_too_large(failure: &Failure) -> bool {
    // All of the message is ours.
    failure.class == Class::Broken && failure.message.contains(NOT_READ)
}

/// The deepest cause of an error, without the address that was called.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut deepest: &dyn Error = match error.source() {
        Some(source) => source,
        None => {
            return if error.is_timeout() { "timed out" } else { "the client refused" }.to_owned();
        }
    };
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// What a system says of a failure: title and errors of JSON, the beginning of anything else.
pub(super) fn detail(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        title: Option<Value>,
        detail: Option<Value>,
        message: Option<Value>,
        error: Option<Value>,
        errors: Option<Value>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Body {
        Many(Vec<Said>),
        One(Said),
    }
    let said = match serde_json::from_slice::<Body>(body) {
        Ok(Body::One(said)) => vec![said],
        Ok(Body::Many(said)) => said,
        Err(_) => {
            let text = String::from_utf8_lossy(&body[..body.len().min(4 * DETAIL_CHARS_MAX)]).into_owned();
            let text = shorten(text.trim());
            return (!text.is_empty()).then_some(text);
        }
    };
    let parts: Vec<String> = said
        .into_iter()
        .flat_map(|said| [said.title, said.detail, said.message, said.error, said.errors])
        .flatten()
        .map(|part| match part {
            Value::String(text) => text,
            Value::Object(errors) if errors.is_empty() => String::new(),
            other => other.to_string(),
        })
        .filter(|part| !part.is_empty())
        .collect();
    (!parts.is_empty()).then(|| shorten(&parts.join(": ")))
}

/// The longest word for what is wrong that is kept, in characters.
const CODE_CHARS_MAX: usize = 100;

/// A system's own word for what is wrong: the name of an exception (Odoo), an error code (OData, Salesforce, HubSpot). It is
/// kept only where it looks like one: it may be shown.
pub(super) fn code(body: &[u8]) -> Option<String> {
    let said: Value = serde_json::from_slice(body).ok()?;
    let one = said.get(0).unwrap_or(&said);
    let places = ["/error/code", "/errorCode", "/errors/0/extensions/code", "/name", "/code", "/category", "/error"];
    let word = places.iter().find_map(|place| one.pointer(place)?.as_str())?;
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-.:".contains(character);
    (!word.is_empty() && word.len() <= CODE_CHARS_MAX && word.chars().all(plain)).then(|| word.to_owned())
}

/// At most [`DETAIL_CHARS_MAX`] characters, on one line.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(DETAIL_CHARS_MAX)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(DETAIL_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_class() {
        let of = |status| {
            let failure = of_status("GET x", status, b"");
            (failure.class, failure.may_have_happened)
        };
        assert_eq!(of(401), (Class::Auth, false));
        assert_eq!(of(403), (Class::Auth, false));
        assert_eq!(of(429), (Class::Retry, false));
        for status in [400, 409, 413, 422] {
            assert_eq!(of(status), (Class::Rejected, false), "{status}");
        }
        for status in [408, 500, 502, 503, 504, 507, 520] {
            assert_eq!(of(status), (Class::Retry, true), "{status}");
        }
        assert_eq!(of(404), (Class::Misconfigured, true));
        for status in [405, 501, 505] {
            assert_eq!(of(status), (Class::Broken, true), "{status}");
        }
        assert_eq!(of(302), (Class::Misconfigured, true));
    }

    #[test]
    fn what_a_system_says_goes_to_the_detail_alone() {
        let body = br#"{"status":422,"title":"Create customers failed.","type":"x",
            "errors":{".customer_create":"email bob@example.com already in use"}}"#;
        let failure = of_status("POST x", 422, body);
        let detail = failure.detail.clone().unwrap();
        assert!(detail.contains("Create customers failed.") && detail.contains("bob@example.com"), "{detail}");
        assert!(!failure.to_string().contains("bob@example.com"));
        let array = br#"[{"status":400,"message":"The field 'password' is invalid."}]"#;
        assert_eq!(detail_of(array), "The field 'password' is invalid.");
        assert_eq!(detail_of(br#"{"status":504,"title":"","errors":{}}"#), "");
        assert_eq!(detail_of(b"<html>\nno</html>"), "<html> no</html>");
        assert_eq!(detail_of("é".repeat(9000).as_bytes()).chars().count(), DETAIL_CHARS_MAX + 1);
    }

    #[test]
    fn a_systems_own_word_is_kept_where_it_looks_like_one() {
        for (body, word) in [
            (r#"{"name":"odoo.exceptions.AccessError","message":"no"}"#, Some("odoo.exceptions.AccessError")),
            (r#"{"error":{"code":"0x80072322","message":"no"}}"#, Some("0x80072322")),
            (r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"no"}]"#, Some("REQUEST_LIMIT_EXCEEDED")),
            (r#"{"errors":[{"message":"no","extensions":{"code":"FORBIDDEN"}}]}"#, Some("FORBIDDEN")),
            (r#"{"status":"error","category":"VALIDATION_ERROR"}"#, Some("VALIDATION_ERROR")),
            (r#"{"error":"invalid_grant","error_description":"bob@example.com"}"#, Some("invalid_grant")),
            (r#"{"error":"Bob Example"}"#, None),
            (r#"{"name":"Bob Example","message":"no"}"#, None),
            (r#"{"code":7}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(code(body.as_bytes()).as_deref(), word, "{body}");
        }
    }

    fn detail_of(body: &[u8]) -> String {
        detail(body).unwrap_or_default()
    }
}
