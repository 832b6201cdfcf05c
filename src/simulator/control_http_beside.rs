//! The orders of [`super::control_http`] about segments, metafields, subscribers and addresses.
//!
//! Must not know: how any of it is done.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::control::StoreControl;
use super::control_http::{Problem, read, written};

/// Carries out one order; none where there is no such order.
pub(super) fn order(store: &StoreControl, method: &str, path: &[&str], body: &[u8]) -> Option<Result<Value, Problem>> {
    let done = match (method, path) {
        ("PUT", ["subscribers"]) => subscribers(store, body),
        (_, ["customers", text, rest @ ..]) => {
            let Ok(id) = text.parse() else {
                return Some(Err(Problem(StatusCode::BAD_REQUEST, format!("{text:?} is no customer's id"))));
            };
            match (method, rest) {
                ("GET", ["segments"]) => written(store.segments_of(id)),
                ("PUT", ["segments"]) => segments(store, id, body),
                ("PUT", ["metafields"]) => metafields(store, id, body),
                ("GET", ["addresses"]) => written(store.addresses(id)),
                ("POST", ["addresses"]) => address(store, id, None, body),
                ("PUT", ["addresses", text]) => match text.parse() {
                    Ok(address_id) => address(store, id, Some(address_id), body),
                    Err(_) => Err(Problem(StatusCode::BAD_REQUEST, format!("{text:?} is no address's id"))),
                },
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(done)
}

fn segments(store: &StoreControl, id: u64, body: &[u8]) -> Result<Value, Problem> {
    for (name, member) in read::<BTreeMap<String, bool>>(body)? {
        store.set_member(id, &name, member)?;
    }
    Ok(json!({}))
}

fn metafields(store: &StoreControl, id: u64, body: &[u8]) -> Result<Value, Problem> {
    let owner = store.token();
    for (name, value) in read::<BTreeMap<String, Option<String>>>(body)? {
        store.set_metafield(id, &name, value.as_deref(), (&owner, "app_only"));
    }
    Ok(json!({}))
}

fn subscribers(store: &StoreControl, body: &[u8]) -> Result<Value, Problem> {
    for (email, consents) in read::<BTreeMap<String, Option<Vec<String>>>>(body)? {
        let consents: Option<Vec<&str>> = consents.as_ref().map(|words| words.iter().map(String::as_str).collect());
        store.set_consents(&email, consents.as_deref());
    }
    Ok(json!({}))
}

fn address(store: &StoreControl, id: u64, known: Option<u64>, body: &[u8]) -> Result<Value, Problem> {
    let texts = read::<BTreeMap<String, String>>(body)?;
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    match known {
        Some(known) => store.edit_address(id, known, &texts),
        None => return Ok(json!({ "id": store.add_address(id, &texts)? })),
    }
    Ok(json!({}))
}
