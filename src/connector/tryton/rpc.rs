//! Calls to methods of models, and what their exceptions mean.
//!
//! Every call is `POST /DATABASE/rpc/`; its last parameter is the context. Each is one transaction, and an exception means that
//! nothing of it happened. Exceptions come with status 200, Tryton's own with their name; what Python or the database raised
//! has none, only words, and words are not shown: they quote values.

use std::sync::PoisonError;

use serde_json::{Map, Value, json};

use super::Tryton;
use crate::connector::paid::Paid;
use crate::connector::retry::Attempts;
use crate::http::{Answer, Request};
use crate::model::{Class, Failure, Timestamp};

/// The path of all calls, below the database.
pub(super) const PATH: &str = "/rpc/";

/// The most characters that are kept of what Tryton says.
const DETAIL_CHARS_MAX: usize = 500;

/// What an exception without a name is called here.
const NAMELESS: &str = "Exception";

/// What Tryton calls a refusal; here with this name where it explains it, as it does when a rule stands in the way.
const USER_ERROR: &str = "UserError";
const EXPLAINED: &str = "UserErrorExplained";

/// A write lost: somebody changed one of its records since it was read.
pub(super) const LOST: &str = "ConcurrencyException";

/// One call of one method of a model.
pub(super) struct Call<'a> {
    pub(super) model: &'a str,
    pub(super) method: &'static str,
    /// By place, without the context.
    pub(super) parameters: Vec<Value>,
    /// What the context holds for this call alone.
    pub(super) context: Map<String, Value>,
}

impl<'a> Call<'a> {
    /// A call; `parameters` is an array.
    pub(super) fn new(model: &'a str, method: &'static str, parameters: Value) -> Self {
        let Value::Array(parameters) = parameters else { unreachable!("parameters have places") };
        Self { model, method, parameters, context: Map::new() }
    }

    /// The records of a model that a domain describes, in the order of their numbers.
    pub(super) fn search_read(model: &'a str, domain: &Value, limit: usize, fields: &Value) -> Self {
        Self::new(model, "search_read", json!([domain, 0, limit, [["id", "ASC"]], fields]))
    }
}

/// What a server answered to a call.
pub(super) struct Answered {
    pub(super) result: Value,
    /// The server's clock before the call.
    pub(super) clock: Timestamp,
}

/// A call as it is sent.
pub(super) fn envelope(method: &str, parameters: &Value) -> Value {
    json!({ "id": 0, "method": method, "params": parameters })
}

/// The context of every call: names are in one language whatever the user's is, and archived records are shown.
pub(super) fn plain_context() -> Map<String, Value> {
    [("language".to_owned(), json!("en")), ("active_test".to_owned(), json!(false))].into_iter().collect()
}

impl Tryton {
    /// Calls a method that changes nothing, again and again within patience.
    pub(super) async fn ask(
        &self,
        context: &Map<String, Value>,
        call: &Call<'_>,
        paid: Paid<'_>,
    ) -> Result<Answered, Failure> {
        let mut request = request(context, call);
        request.reads = true;
        let mut attempts = Attempts::new(self.patience, self.caller.throttle().cancelled());
        loop {
            let turn = self.caller.turn(&self.endpoint, paid.read()).await?;
            attempts.begin();
            let answered = match self.caller.send(turn, &request).await {
                Ok(answer) => self.answered(&answer),
                Err(failure) => Err(self.explained(failure)),
            };
            match answered {
                Ok(answered) => return Ok(answered),
                Err(failure) if failure.class == Class::Broken && failure.code.is_none() => {
                    attempts.unreadable(failure).await?;
                }
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    /// Asks for records. A question about them that is refused is one of rights, or of fields that are not there any more.
    pub(super) async fn ask_for_records(
        &self,
        context: &Map<String, Value>,
        call: &Call<'_>,
        paid: Paid<'_>,
    ) -> Result<Answered, Failure> {
        match self.ask(context, call, paid).await {
            Err(failure) if is_refusal(&failure) => Err(self.refused_read(context, call.model, failure).await),
            other => other,
        }
    }

    async fn refused_read(&self, context: &Map<String, Value>, model: &str, mut failure: Failure) -> Failure {
        // Whoever asks next looks at the fields first.
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match self.may(context, &[model]).await {
            Ok(may) if !may.read(model) => self.forbidden(),
            Err(other) if other.class == Class::Retry => other,
            _ => {
                failure.class = Class::Misconfigured;
                failure.message.push_str("; was a field removed? `attune check` tells");
                failure
            }
        }
    }

    /// Calls a method that changes something, once.
    pub(super) async fn change(
        &self,
        context: &Map<String, Value>,
        call: &Call<'_>,
        paid: Paid<'_>,
    ) -> Result<Value, Failure> {
        let turn = self.caller.turn(&self.endpoint, paid.write()).await?;
        let request = request(context, call);
        let answer = self.caller.send(turn, &request).await.map_err(|failure| self.explained(failure))?;
        self.opened(&answer)
    }

    fn answered(&self, answer: &Answer) -> Result<Answered, Failure> {
        let result = self.opened(answer)?;
        let clock =
            answer.clock.ok_or_else(|| answer.unreadable("without a `Date`, so that its clock is not known"))?;
        Ok(Answered { result, clock })
    }

    /// The result in an answer, or the exception.
    fn opened(&self, answer: &Answer) -> Result<Value, Failure> {
        let mut body: Map<String, Value> = answer.json()?;
        if let Some(error) = body.get("error") {
            return Err(self.explained(error_of(error, answer.unreadable("with an exception"))));
        }
        body.remove("result").ok_or_else(|| answer.unreadable("neither a result nor an error"))
    }

    /// What an exception or a status means, and what to do.
    fn explained(&self, mut failure: Failure) -> Failure {
        let Some(name) = failure.code.clone() else {
            match failure.status {
                Some(404) => {
                    failure.class = Class::Misconfigured;
                    failure.message = format!(
                        "there is no Tryton with this database at this address; check `url` and `database` in \
                         [crm.{}]",
                        self.name
                    );
                }
                Some(403) => failure.message = self.forbidden().message,
                _ => {}
            }
            return failure;
        };
        // The transaction was rolled back.
        failure.may_have_happened = false;
        if is_passing(&name, failure.detail.as_deref().unwrap_or_default()) {
            failure.class = Class::Retry;
            failure.message = format!("Tryton could not do it just now ({name}); it is tried again");
        } else {
            failure.class = Class::Rejected;
            failure.message = format!("Tryton refused what was sent ({name})");
        }
        failure
    }

    /// What a user without the right hears.
    pub(super) fn forbidden(&self) -> Failure {
        let why =
            "Tryton says that this user may not do that; give the user the rights that docs/connectors/tryton.md names"
                .to_owned();
        Failure::new(Class::Auth, why)
    }

    /// An answer of a shape that the method does not have.
    pub(super) fn senseless(&self, method: &str) -> Failure {
        let why = format!(
            "the answer to `{method}` of `{}` has a shape that we do not understand; please report this as a defect of \
             Attune",
            self.model
        );
        Failure::new(Class::Broken, why).possibly_happened()
    }
}

fn request(context: &Map<String, Value>, call: &Call<'_>) -> Request {
    let mut context = context.clone();
    context.extend(call.context.clone());
    let mut parameters = call.parameters.clone();
    parameters.push(Value::Object(context));
    let body = envelope(&format!("model.{}.{}", call.model, call.method), &Value::Array(parameters));
    Request::change(reqwest::Method::POST, "", Some(body.to_string().into_bytes()))
}

/// The exception of an answer: `[name, …]` for Tryton's own, `[words, traceback]` for all others.
pub(super) fn error_of(error: &Value, mut failure: Failure) -> Failure {
    let first = error.get(0).and_then(Value::as_str).unwrap_or_default();
    let is_named = [USER_ERROR, "UserWarning", LOST, "LoginException"].contains(&first);
    let is_explained =
        first == USER_ERROR && error.pointer("/1/1").and_then(Value::as_str).is_some_and(|why| !why.is_empty());
    let words = if is_named { error.get(1).map(Value::to_string) } else { Some(first.to_owned()) };
    let name = if is_explained {
        EXPLAINED
    } else if is_named {
        first
    } else {
        NAMELESS
    };
    failure.code = Some(name.to_owned());
    failure.detail = words.map(|words| words.chars().take(DETAIL_CHARS_MAX).collect());
    failure
}

/// Whether the server understood a call and will not do it.
pub(super) fn is_refusal(failure: &Failure) -> bool {
    failure.class == Class::Rejected
}

/// Whether a `read` of records was refused by a rule, not because they are gone: only then is there something to explain, the
/// groups that the rule goes by.
pub(super) fn is_by_rule(failure: &Failure) -> bool {
    failure.code.as_deref() == Some(EXPLAINED)
}

/// Whether an exception goes away by itself. Tryton's own do not. The database's have no name, but a few words tell that a row
/// was locked or that the database was away; Tryton itself has tried five times by then.
fn is_passing(name: &str, words: &str) -> bool {
    const WORDS: [&str; 11] = [
        "is locked",
        "could not serialize",
        "deadlock detected",
        "could not obtain lock",
        "lock timeout",
        "statement timeout",
        "connection",
        "too many clients",
        "starting up",
        "shutting down",
        "no space left",
    ];
    name == NAMELESS && WORDS.iter().any(|word| words.to_lowercase().contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(error: &Value) -> Failure {
        error_of(error, Failure::new(Class::Broken, ""))
    }

    #[test]
    fn exceptions_are_told_by_their_names_and_the_databases_by_a_few_words() {
        for (error, name, passing) in [
            (json!(["UserError", ["a connection is locked", "", null]]), "UserError", false),
            (json!(["ConcurrencyException", "Records were modified"]), LOST, false),
            (json!(["'nope'", ""]), NAMELESS, false),
            (json!(["", ""]), NAMELESS, false),
            (json!([]), NAMELESS, false),
            (json!("?"), NAMELESS, false),
            (json!(["database is locked", ""]), NAMELESS, true),
            (json!(["could not serialize access due to concurrent update\n", ""]), NAMELESS, true),
        ] {
            let failure = failure(&error);
            assert_eq!(failure.code.as_deref(), Some(name), "{error}");
            assert_eq!(is_passing(name, failure.detail.as_deref().unwrap_or_default()), passing, "{error}");
        }
    }

    #[test]
    fn what_a_rule_hides_is_told_from_what_is_gone_in_any_language() {
        assert!(is_by_rule(&failure(&json!(["UserError", ["Sie dürfen nicht …", "Benutzergruppen: ", null]]))));
        assert!(!is_by_rule(&failure(&json!(["UserError", ["… gibt es nicht", "", null]]))));
        assert!(!is_by_rule(&failure(&json!(["'nope'", "x"]))));
    }
}
