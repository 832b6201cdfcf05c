//! The control API over HTTP, so that a shell script can do to a running `attune simulate` what a test does in process.
//!
//! All bodies and answers are JSON; no token is asked for, no quota counted, and an outage does not touch it. `…` is
//! `/_simulator/stores/{hash}`; a wrong order is answered with 400 or 404 and `{"error": "what is wrong"}`.
//!
//! | method and path | body | what it does |
//! |---|---|---|
//! | GET `/_simulator` | | `{"url","now","clock_skew_ms","stores":[…]}` |
//! | POST `/_simulator/clock` | `{"skew_ms":N,"advance_ms":N}`, both optional | sets the skew of dates; lets time pass at once |
//! | POST `/_simulator/refuse` | `{"for_ms":N}` | closes the listener: connections are refused for so long |
//! | GET `…/customers` | | all; `?email=…` some |
//! | POST `…/customers` | `{"email","first_name","last_name","company","phone","notes","attributes":{"NAME":"VALUE"}}`, all optional | adds one: `{"id":N}` |
//! | GET `…/customers/{id}` | | one |
//! | PUT `…/customers/{id}` | the same fields without `attributes`, and `tax_exempt_category`, `customer_group_id`, `accepts_emails`, `store_credit`, `channel_ids` | edits what is given |
//! | DELETE `…/customers/{id}` | | deletes it |
//! | PUT `…/customers/{id}/values` | `{"NAME":"VALUE","NAME":null}` | sets values, clears those that are null |
//! | GET, PUT `…/customers/{id}/segments` | `{"NAME":true,"NAME":false}` | its segments; puts it in, takes it out |
//! | PUT `…/customers/{id}/metafields` | `{"NAMESPACE/KEY":"VALUE","NAMESPACE/KEY":null}` | sets those of the store's token, deletes those that are null |
//! | GET, POST `…/customers/{id}/addresses` | texts by name; other names are form fields | its addresses; adds one: `{"id":N}` |
//! | PUT `…/customers/{id}/addresses/{id}` | the same | edits it; `{}` deletes it |
//! | PUT `…/subscribers` | `{"EMAIL":["marketing_newsletter"],"EMAIL":null}` | who consents to what; deletes those that are null |
//! | GET `…/attributes` | | all definitions |
//! | POST `…/attributes` | `{"name","type"}` | adds one: `{"id":N}` |
//! | POST `…/attributes/rename` | `{"from","to"}` | renames one |
//! | POST `…/attributes/delete` | `{"name"}` | deletes one and its values |
//! | GET `…/groups` | | ids and names of the customer groups |
//! | POST `…/groups` | `{"name"}` | adds one: `{"id":N}` |
//! | POST `…/form-fields` | `{"name","type"}`, `"text"`, `"number"` or `"list"` | asks for another thing at sign-up |
//! | POST `…/form-fields/rename` | `{"from","to"}` | renames one; what was entered stays |
//! | PUT `…/customers/{id}/form-fields` | `{"NAME":value,"NAME":null}` | a shopper enters something, empties those that are null |
//! | GET `…/report` | | counts of calls, answers, throttling, violations |
//! | DELETE `…/report` | | sets them to nothing and forgets the requests |
//! | GET `…/requests` | | the most recent requests |
//! | GET `…/behaviour` | | quota, latency, replica, faults, readings |
//! | PATCH `…/behaviour` | any part of it | changes that part |
//! | POST `…/faults` | a rule, as text (`"5xx*3@PUT customers"`) or object | adds it before all others |
//! | DELETE `…/faults` | | nothing goes wrong any more |
//! | PUT `…/outage` | `true` or `false` | resets every connection that asks for this store |
//! | PUT `…/token` | `"TOKEN"` | the old one gets 401 |
//! | PUT `…/scopes` | `["store_v2_customers", …]` | what they do not cover gets 403 |
//!
//! Must not know: how any of it is done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header, request::Parts};
use axum::response::Response;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::control::{ControlError, StoreControl};
use super::control_http_beside;
use super::faults::FaultRule;
use super::form_fields::FormFieldKind;
use super::people::{CustomerEdit, NewCustomer};
use super::query::decode;
use super::server::Shared;
use super::settings::{AttributeSettings, Behaviour, Scope};

/// Why an order could not be carried out.
pub(super) struct Problem(pub(super) StatusCode, pub(super) String);

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let status = match &error {
            ControlError::NoCustomer(_)
            | ControlError::NoAttribute(_)
            | ControlError::NoGroup(_)
            | ControlError::NoFormField(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        Self(status, error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockOrder {
    skew_ms: Option<i64>,
    advance_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefuseOrder {
    for_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenameOrder {
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameOrder {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormFieldOrder {
    name: String,
    #[serde(rename = "type")]
    kind: FormFieldKind,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FaultOrder {
    Text(String),
    Rule(FaultRule),
}

/// Carries out one order.
pub(super) async fn handle(shared: &Arc<Shared>, parts: &Parts, body: &[u8]) -> Response {
    let path: Vec<&str> = parts.uri.path().split('/').filter(|segment| !segment.is_empty()).skip(1).collect();
    let method = parts.method.as_str();
    let result = match path.split_first() {
        None if method == "GET" => Ok(about(shared)),
        Some((&"clock", [])) if method == "POST" => clock(shared, body),
        Some((&"refuse", [])) if method == "POST" => refuse(shared, body).await,
        Some((&"stores", [hash, rest @ ..])) => match shared.stores.get(*hash) {
            Some(store) => {
                let store = StoreControl::new(Arc::clone(store));
                in_store(&store, method, rest, parts.uri.query(), body)
            }
            None => Err(Problem(StatusCode::NOT_FOUND, format!("there is no store {hash:?}"))),
        },
        _ => Err(nothing(method, &path)),
    };
    let (status, answer) = match result {
        Ok(answer) => (StatusCode::OK, answer),
        Err(Problem(status, what)) => (status, json!({ "error": what })),
    };
    let mut response = Response::new(Body::from(answer.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn nothing(method: &str, path: &[&str]) -> Problem {
    Problem(StatusCode::NOT_FOUND, format!("there is no {method} /_simulator/{}", path.join("/")))
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem(StatusCode::BAD_REQUEST, format!("the body: {error}")))
}

pub(super) fn written(value: impl serde::Serialize) -> Result<Value, Problem> {
    serde_json::to_value(value).map_err(|error| Problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn about(shared: &Shared) -> Value {
    json!({
        "url": shared.url,
        "now": shared.clock.now().to_string(),
        "clock_skew_ms": shared.clock.skew_ms(),
        "stores": shared.stores.keys().collect::<Vec<_>>(),
    })
}

fn clock(shared: &Shared, body: &[u8]) -> Result<Value, Problem> {
    let order: ClockOrder = read(body)?;
    if let Some(skew_ms) = order.skew_ms {
        shared.clock.set_skew_ms(skew_ms);
    }
    if let Some(advance_ms) = order.advance_ms {
        shared.clock.advance(Duration::from_millis(advance_ms));
    }
    Ok(about(shared))
}

async fn refuse(shared: &Arc<Shared>, body: &[u8]) -> Result<Value, Problem> {
    let order: RefuseOrder = read(body)?;
    let gate = Arc::clone(&shared.gate);
    // The answer to this order still has to leave, so what is open stays open.
    gate.close_listener(true).await;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(order.for_ms)).await;
        gate.close_listener(false).await;
    });
    Ok(json!({ "refusing_for_ms": order.for_ms }))
}

fn in_store(
    store: &StoreControl,
    method: &str,
    path: &[&str],
    query: Option<&str>,
    body: &[u8],
) -> Result<Value, Problem> {
    let id = |text: &str| {
        text.parse::<u64>().map_err(|_| Problem(StatusCode::BAD_REQUEST, format!("{text:?} is no customer's id")))
    };
    match (method, path) {
        ("GET", ["customers"]) => match query.map(|query| query.strip_prefix("email=").and_then(decode)) {
            None => return written(store.customers()),
            Some(Some(email)) => return written(store.customers_with_email(&email)),
            Some(None) => return Err(Problem(StatusCode::BAD_REQUEST, "only ?email=… is understood".to_owned())),
        },
        ("POST", ["customers"]) => return Ok(json!({ "id": store.add_customer(read::<NewCustomer>(body)?)? })),
        ("GET", ["customers", text]) => {
            let id = id(text)?;
            return written(store.customer(id).ok_or(ControlError::NoCustomer(id))?);
        }
        ("PUT", ["customers", text]) => store.edit_customer(id(text)?, read::<CustomerEdit>(body)?)?,
        ("DELETE", ["customers", text]) => store.delete_customer(id(text)?)?,
        ("PUT", ["customers", text, "values"]) => {
            let id = id(text)?;
            for (name, value) in read::<BTreeMap<String, Option<String>>>(body)? {
                match value {
                    Some(value) => store.set_value(id, &name, &value)?,
                    None => store.clear_value(id, &name)?,
                }
            }
        }
        ("GET", ["attributes"]) => return written(store.attributes()),
        ("POST", ["attributes"]) => {
            let new: AttributeSettings = read(body)?;
            return Ok(json!({ "id": store.create_attribute(&new.name, new.kind)? }));
        }
        ("POST", ["attributes", "rename"]) => {
            let order: RenameOrder = read(body)?;
            store.rename_attribute(&order.from, &order.to)?;
        }
        ("POST", ["attributes", "delete"]) => store.delete_attribute(&read::<NameOrder>(body)?.name)?,
        ("GET", ["groups"]) => return written(store.groups()),
        ("POST", ["groups"]) => return Ok(json!({ "id": store.add_group(&read::<NameOrder>(body)?.name) })),
        ("POST", ["form-fields"]) => {
            let new: FormFieldOrder = read(body)?;
            store.add_form_field(&new.name, new.kind);
        }
        ("POST", ["form-fields", "rename"]) => {
            let order: RenameOrder = read(body)?;
            store.rename_form_field(&order.from, &order.to)?;
        }
        ("PUT", ["customers", text, "form-fields"]) => {
            let id = id(text)?;
            for (name, value) in read::<BTreeMap<String, Value>>(body)? {
                store.set_form_field(id, &name, &value)?;
            }
        }
        ("GET", ["report"]) => return written(store.report()),
        ("DELETE", ["report"]) => store.reset_report(),
        ("GET", ["requests"]) => return written(store.requests()),
        ("GET", ["behaviour"]) => return written(store.behaviour()),
        ("PATCH", ["behaviour"]) => return change(store, body),
        ("POST", ["faults"]) => store.add_fault(match read(body)? {
            FaultOrder::Rule(rule) => rule,
            FaultOrder::Text(text) => text.parse().map_err(ControlError::Fault)?,
        })?,
        ("DELETE", ["faults"]) => store.clear_faults(),
        ("PUT", ["outage"]) => store.set_outage(read(body)?),
        ("PUT", ["token"]) => store.set_token(&read::<String>(body)?),
        ("PUT", ["scopes"]) => store.set_scopes(&read::<Vec<Scope>>(body)?),
        _ => {
            let none = || Err(nothing(method, &[&["stores", store.hash()], path].concat()));
            return control_http_beside::order(store, method, path, body).unwrap_or_else(none);
        }
    }
    Ok(json!({}))
}

fn change(store: &StoreControl, body: &[u8]) -> Result<Value, Problem> {
    let patch: Value = read(body)?;
    let mut whole = written(store.behaviour())?;
    merge(&mut whole, &patch);
    let behaviour: Behaviour =
        serde_json::from_value(whole).map_err(|error| Problem(StatusCode::BAD_REQUEST, error.to_string()))?;
    for rule in &behaviour.faults {
        rule.check().map_err(ControlError::Fault)?;
    }
    store.change_behaviour(|held| *held = behaviour);
    written(store.behaviour())
}

/// Objects are merged, everything else is replaced.
fn merge(whole: &mut Value, patch: &Value) {
    match (whole, patch) {
        (Value::Object(whole), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(whole.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (whole, patch) => *whole = patch.clone(),
    }
}
