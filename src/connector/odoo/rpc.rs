//! Calls to methods of models, in the two ways that Odoo servers understand, and what their exceptions mean.
//!
//! Version 19 and later answer JSON-2 (`POST /json/2/MODEL/METHOD`, the key as a bearer token); before that there is JSON-RPC
//! (`POST /jsonrpc`, the key in the body, every answer with status 200). Which one a server has it is asked. Each call is one
//! transaction: an exception means that nothing of it happened. Whether a failure is for good is told by the name of the
//! exception alone: a wrong value has status 500 here (<https://www.odoo.com/documentation/19.0/developer/reference/external_api.html>).

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Odoo;
use crate::connector::paid::Paid;
use crate::connector::retry::Attempts;
use crate::http::{Answer, Endpoint, Lane, Request};
use crate::model::{Class, Failure, Timestamp};

/// What stands for the key in the body of a JSON-RPC call until it is sent.
const KEY_PLACE: &str = "ATTUNE:KEY";

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Version 19 and later.
    Json2,
    /// Earlier versions: the number of the user that the key belongs to.
    JsonRpc { user: i64 },
}

/// One call of one method.
pub(super) struct Call<'a> {
    pub(super) model: &'a str,
    pub(super) method: &'static str,
    /// The records whose method it is; none: the model's.
    pub(super) ids: Option<&'a [i64]>,
    /// By name; a `context` is added to that of every call.
    pub(super) arguments: Map<String, Value>,
}

impl<'a> Call<'a> {
    /// A call of a method of the model; `arguments` is an object.
    pub(super) fn new(model: &'a str, method: &'static str, arguments: Value) -> Self {
        let Value::Object(arguments) = arguments else { unreachable!("arguments have names") };
        Self { model, method, ids: None, arguments }
    }
}

/// What a server answered to a call.
pub(super) struct Answered {
    pub(super) result: Value,
    /// The server's clock before the call.
    pub(super) clock: Timestamp,
}

/// The context of a call: names are in one language whatever the user's is, and times are UTC, as they are read. Reads show
/// archived records; to `load` and to links an archived record is none.
fn context(method: &str) -> Value {
    let active_only = ["load", "name_search"].contains(&method);
    json!({ "active_test": active_only, "lang": "en_US", "tz": "UTC" })
}

impl Odoo {
    /// Asks which protocol the server has and, for the older one, who we are.
    pub(super) async fn find_protocol(&self) -> Result<Protocol, Failure> {
        let version = Endpoint::new("/json/version", 1);
        match self.patiently(&version, &Request::get(""), Paid::in_lane(Lane::Fresh)).await {
            Ok(answer) if is_version(&answer) => return Ok(Protocol::Json2),
            Ok(_) => {}
            Err(failure) if failure.class == Class::Retry => return Err(failure),
            // The page is not there.
            Err(_) => {}
        }
        self.log_in().await
    }

    async fn log_in(&self) -> Result<Protocol, Failure> {
        let Some(user) = &self.user else {
            let why = format!(
                "this server has no JSON-2 (it came with version 19), and before that it asks for the user that the key \
                 belongs to: add `user`, the login, to [crm.{}]",
                self.name
            );
            return Err(Failure::new(Class::Misconfigured, why));
        };
        let request = envelope("common", "authenticate", json!([self.database, user, KEY_PLACE, {}]));
        let answer = self.patiently(&Endpoint::new(JSON_RPC, 1), &request, Paid::in_lane(Lane::Fresh)).await.map_err(
            |failure| {
                let absent = failure.class == Class::Misconfigured && failure.status == Some(404);
                if absent { self.no_such_database(failure) } else { failure }
            },
        )?;
        let opened = self.opened(&answer).map_err(|mut failure| {
            if failure.class == Class::Retry {
                let hint = "; if it stays so, check `database`: one that is not there looks the same";
                failure.message.push_str(hint);
            }
            failure
        });
        match opened?.as_i64() {
            Some(user) => Ok(Protocol::JsonRpc { user }),
            None => {
                // The next start asks for the key again: this answer is no refusal to whoever keeps it.
                self.caller.forget_secret();
                Err(self.key_refused())
            }
        }
    }

    /// Calls a method that changes nothing, again and again within patience.
    pub(super) async fn ask(&self, protocol: Protocol, call: &Call<'_>, paid: Paid<'_>) -> Result<Answered, Failure> {
        let (endpoint, mut request) = self.request(protocol, call);
        request.reads = true;
        let mut attempts = Attempts::new(self.patience, self.caller.throttle().cancelled());
        loop {
            let turn = self.caller.turn(&endpoint, paid.read()).await?;
            attempts.begin();
            let answered = match self.caller.send(turn, &request).await {
                Ok(answer) => self.answered(protocol, &answer),
                Err(failure) => Err(self.explained(failure)),
            };
            match answered {
                Ok(answered) => return Ok(answered),
                Err(failure) if failure.class == Class::Broken && failure.code.is_none() => {
                    attempts.unreadable(failure).await?;
                }
                Err(failure) => attempts.failed(failure).await.map_err(|failure| self.refused_read(failure))?,
            }
        }
    }

    /// A question that is refused asked for something that is not there any more.
    fn refused_read(&self, mut failure: Failure) -> Failure {
        if failure.class == Class::Rejected {
            failure.class = Class::Misconfigured;
            failure.message.push_str("; was a field removed? `attune check` tells");
            // Whoever asks next looks at the fields first.
            *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        failure
    }

    /// Calls a method that changes something, once.
    pub(super) async fn change(&self, protocol: Protocol, call: &Call<'_>, paid: Paid<'_>) -> Result<Value, Failure> {
        let (endpoint, request) = self.request(protocol, call);
        let turn = self.caller.turn(&endpoint, paid.write()).await?;
        let answer = self.caller.send(turn, &request).await.map_err(|failure| self.explained(failure))?;
        self.opened_by(protocol, &answer)
    }

    fn request(&self, protocol: Protocol, call: &Call<'_>) -> (Endpoint, Request) {
        let mut arguments = call.arguments.clone();
        let mut context = context(call.method);
        if let (Some(context), Some(Value::Object(more))) = (context.as_object_mut(), arguments.remove("context")) {
            context.extend(more);
        }
        arguments.insert("context".to_owned(), context);
        match protocol {
            Protocol::Json2 => {
                if let Some(ids) = call.ids {
                    arguments.insert("ids".to_owned(), json!(ids));
                }
                let path = format!("/json/2/{}/{}", call.model, call.method);
                let body = Value::Object(arguments).to_string().into_bytes();
                (Endpoint::new(path, 1), Request::change(reqwest::Method::POST, "", Some(body)))
            }
            Protocol::JsonRpc { user } => {
                let records = call.ids.map(|ids| json!(ids));
                let first = FIRST.iter().filter_map(|name| arguments.remove(*name));
                let first: Vec<Value> = records.into_iter().chain(first).collect();
                let arguments = json!([self.database, user, KEY_PLACE, call.model, call.method, first, arguments]);
                let mut request = envelope("object", "execute_kw", arguments);
                request.reads = false;
                (Endpoint::new(JSON_RPC, 1), request)
            }
        }
    }

    async fn patiently(&self, endpoint: &Endpoint, request: &Request, paid: Paid<'_>) -> Result<Answer, Failure> {
        let mut attempts = Attempts::new(self.patience, self.caller.throttle().cancelled());
        loop {
            let turn = self.caller.turn(endpoint, paid.read()).await?;
            attempts.begin();
            match self.caller.send(turn, request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    fn answered(&self, protocol: Protocol, answer: &Answer) -> Result<Answered, Failure> {
        let result = self.opened_by(protocol, answer)?;
        let clock =
            answer.clock.ok_or_else(|| answer.unreadable("without a `Date`, so that its clock is not known"))?;
        Ok(Answered { result, clock })
    }

    fn opened_by(&self, protocol: Protocol, answer: &Answer) -> Result<Value, Failure> {
        match protocol {
            Protocol::Json2 => answer.json(),
            Protocol::JsonRpc { .. } => self.opened(answer),
        }
    }

    /// The result in a JSON-RPC answer, or the exception.
    fn opened(&self, answer: &Answer) -> Result<Value, Failure> {
        let mut body: Map<String, Value> = answer.json()?;
        if let Some(error) = body.get("error") {
            let data = error.get("data").unwrap_or(&Value::Null);
            let mut failure = answer.unreadable("with an exception");
            failure.may_have_happened = false;
            failure.code = data.get("name").and_then(Value::as_str).filter(|name| is_name(name)).map(str::to_owned);
            failure.detail = data.get("message").and_then(Value::as_str).map(|text| text.chars().take(500).collect());
            return Err(self.explained(failure));
        }
        body.remove("result").ok_or_else(|| answer.unreadable("neither a result nor an error"))
    }

    /// What an exception means, and what to do.
    fn explained(&self, mut failure: Failure) -> Failure {
        let Some(name) = failure.code.clone() else {
            return match failure.status {
                Some(401) => self.key_refused_by(failure),
                Some(404) => self.no_such_database(failure),
                _ => failure,
            };
        };
        let meaning = meaning_of(&name);
        // The transaction was rolled back.
        failure.may_have_happened = false;
        match meaning {
            Meaning::KeyRefused => return self.key_refused_by(failure),
            Meaning::Forbidden => {
                failure.class = Class::Auth;
                failure.message = forbidden().message;
            }
            Meaning::NotFound => {
                failure.class = Class::Misconfigured;
                failure.message = format!("Odoo has no such model or method; check `model` in [crm.{}]", self.name);
            }
            Meaning::Passing => {
                failure.class = Class::Retry;
                failure.message = format!("Odoo could not do it just now ({name}); it is tried again");
            }
            Meaning::Refused => {
                failure.class = Class::Rejected;
                failure.message = format!("Odoo refused what was sent ({name})");
            }
        }
        failure
    }

    fn key_refused(&self) -> Failure {
        self.key_refused_by(Failure::new(Class::Auth, ""))
    }

    fn key_refused_by(&self, mut failure: Failure) -> Failure {
        failure.class = Class::Auth;
        failure.message = format!(
            "Odoo refuses the API key; check `api_key` (and `user`, before version 19) in [crm.{}], and in the user's \
             preferences that the key still exists and has not expired",
            self.name
        );
        failure
    }

    fn no_such_database(&self, mut failure: Failure) -> Failure {
        failure.class = Class::Misconfigured;
        failure.message = format!(
            "there is no Odoo with this database at this address; check `url` and `database` in [crm.{}]",
            self.name
        );
        failure
    }
}

/// What comes first and goes by its place in JSON-RPC: version 14 calls the domain of `search_count` otherwise (`args`), and
/// models that have a `write` of their own often call its values so (`values`).
const FIRST: [&str; 2] = ["domain", "vals"];

/// The path of all JSON-RPC.
const JSON_RPC: &str = "/jsonrpc";

fn envelope(service: &str, method: &str, arguments: Value) -> Request {
    let body = json!({
        "jsonrpc": "2.0", "method": "call", "id": 1,
        "params": { "service": service, "method": method, "args": arguments },
    });
    let mut request = Request::ask(body.to_string().into_bytes());
    request.secret_place = Some(KEY_PLACE);
    request
}

fn is_version(answer: &Answer) -> bool {
    answer.json::<Value>().is_ok_and(|said| said.get("version_info").is_some_and(Value::is_array))
}

fn is_name(name: &str) -> bool {
    name.len() <= 100 && name.chars().all(|character| character.is_ascii_alphanumeric() || "._".contains(character))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    KeyRefused,
    Forbidden,
    NotFound,
    Passing,
    Refused,
}

/// What an exception means, by its class: the module that defines it differs by version. One that is not known is taken for
/// good, as most are: what was sent is then isolated and shown to a person, where repeating would go on for ever.
fn meaning_of(name: &str) -> Meaning {
    match name.rsplit('.').next().unwrap_or(name) {
        "AccessDenied" | "Unauthorized" => Meaning::KeyRefused,
        "AccessError" | "Forbidden" => Meaning::Forbidden,
        "NotFound" => Meaning::NotFound,
        "ConcurrencyError"
        | "SerializationFailure"
        | "DeadlockDetected"
        | "LockNotAvailable"
        | "LockError"
        | "OperationalError"
        | "InterfaceError"
        | "PoolError"
        | "QueryCanceled"
        | "AdminShutdown"
        | "CrashShutdown"
        | "CannotConnectNow"
        | "TooManyConnections"
        | "DiskFull"
        | "OutOfMemory"
        | "MemoryError"
        | "TooManyRequests"
        | "ServiceUnavailable"
        | "InternalServerError"
        | "BadGateway"
        | "GatewayTimeout"
        | "TimeoutError"
        | "ConnectionError"
        | "RegistryError" => Meaning::Passing,
        _ => Meaning::Refused,
    }
}

/// What a user without the right hears.
pub(super) fn forbidden() -> Failure {
    let why = "Odoo says that the user of this key may not do that; give the user the rights that docs/connectors/odoo.md names";
    Failure::new(Class::Auth, why)
}

/// Whether Odoo says that the user may not do this, with these records at least.
pub(super) fn is_forbidden(failure: &Failure) -> bool {
    failure.code.as_deref().is_some_and(|name| meaning_of(name) == Meaning::Forbidden)
}

/// How long a call may take: Odoo itself gives a call up after two minutes, and says nothing before it is done.
pub const TIMEOUTS: crate::http::Timeouts = crate::http::Timeouts {
    connect: Duration::from_secs(10),
    total: Duration::from_secs(125),
    read: Duration::from_secs(125),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_mean_what_their_class_says() {
        for (name, meaning) in [
            ("odoo.exceptions.AccessDenied", Meaning::KeyRefused),
            ("werkzeug.exceptions.Unauthorized", Meaning::KeyRefused),
            ("odoo.exceptions.AccessError", Meaning::Forbidden),
            ("werkzeug.exceptions.NotFound", Meaning::NotFound),
            ("psycopg2.errors.SerializationFailure", Meaning::Passing),
            ("builtins.ValueError", Meaning::Refused),
            ("odoo.exceptions.ValidationError", Meaning::Refused),
            ("odoo.addons.someone.OwnError", Meaning::Refused),
        ] {
            assert_eq!(meaning_of(name), meaning, "{name}");
        }
    }
}
