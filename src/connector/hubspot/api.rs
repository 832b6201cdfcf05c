//! Calls to HubSpot, the two quotas that they count against, and what its failures mean.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::HubSpot;
use crate::connector::Lane;
use crate::connector::paid::Paid;
use crate::connector::retry::Attempts;
use crate::http::{Answer, Endpoint, Request};
use crate::model::{Class, Failure, Timestamp};

/// The most rows of one search.
pub(super) const ROWS_PER_SEARCH: usize = 200;

/// The most scopes that a sentence names.
const SCOPES_MAX: usize = 4;

/// What was read, and HubSpot's clock before it was asked.
pub(super) struct Answered<T> {
    pub(super) body: T,
    pub(super) clock: Timestamp,
}

impl HubSpot {
    /// The account that the token is for.
    pub(super) async fn identity(&self) -> Result<String, Failure> {
        let paid = Paid::in_lane(Lane::Fresh);
        let details: Answered<Value> = self.read("/account-info/v3/details", &Request::get(""), paid).await?;
        match details.body.get("portalId").and_then(Value::as_u64) {
            Some(portal) => Ok(format!("hubspot {portal} {}", self.object)),
            None => Err(senseless("the account's details do not name the account")),
        }
    }

    /// Asks something, again and again within patience.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &Request,
        paid: Paid<'_>,
    ) -> Result<Answered<T>, Failure> {
        let endpoint = Endpoint::new(path.to_owned(), 1);
        let mut attempts = Attempts::new(self.patience, self.caller.throttle().cancelled());
        loop {
            let turn = self.caller.turn(&endpoint, paid.read()).await?;
            attempts.begin();
            match self.caller.send(turn, request).await {
                Ok(answer) => match answered(&answer) {
                    Ok(answered) => return Ok(answered),
                    Err(failure) => attempts.unreadable(failure).await?,
                },
                Err(failure) => attempts.failed(self.explained(failure)).await.map_err(refused_read)?,
            }
        }
    }

    /// The ids of records of this object, greater than one, that the filters let through, in their order. Searches have a
    /// quota of their own beside the common one.
    pub(super) async fn search(
        &self,
        object: &str,
        filters: &[Value],
        after: u64,
        lane: Lane,
    ) -> Result<Answered<Vec<u64>>, Failure> {
        let mut filters = filters.to_vec();
        filters.push(json!({ "propertyName": "hs_object_id", "operator": "GT", "value": after.to_string() }));
        let body = json!({
            "filterGroups": [{ "filters": filters }],
            "sorts": [{ "propertyName": "hs_object_id", "direction": "ASCENDING" }],
            "properties": ["hs_object_id"],
            "limit": ROWS_PER_SEARCH,
        });
        self.ask_search(object, &body, lane, |found| ids_after(found, after)).await
    }

    /// How many records of this object there are, as far as search knows them.
    pub(super) async fn total(&self, object: &str, lane: Lane) -> Result<u64, Failure> {
        let body = json!({ "filterGroups": [], "properties": ["hs_object_id"], "limit": 1 });
        let total = |found: &Answered<Value>| {
            let total = found.body.get("total").and_then(Value::as_u64);
            total.ok_or_else(|| senseless("a search answered without a total"))
        };
        self.ask_search(object, &body, lane, total).await
    }

    async fn ask_search<T>(
        &self,
        object: &str,
        body: &Value,
        lane: Lane,
        read: impl Fn(&Answered<Value>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let request = Request::ask(body.to_string().into_bytes());
        let endpoint = Endpoint::new(format!("/crm/v3/objects/{object}/search"), 1);
        let mut attempts = Attempts::new(self.patience, self.caller.throttle().cancelled());
        loop {
            self.caller.throttle().reserve(lane, 1).await?.take();
            let turn = self.searches.turn(&endpoint, Paid::in_lane(lane).read()).await?;
            attempts.begin();
            match self.searches.send(turn, &request).await {
                Ok(answer) => match answered::<Value>(&answer).and_then(|found| read(&found)) {
                    Ok(found) => return Ok(found),
                    Err(failure) => attempts.unreadable(failure).await?,
                },
                Err(failure) => attempts.failed(self.explained(failure)).await.map_err(refused_read)?,
            }
        }
    }

    /// Changes something, once.
    pub(super) async fn change(&self, path: &str, body: &Value, paid: Paid<'_>) -> Result<Answer, Failure> {
        let endpoint = Endpoint::new(path.to_owned(), 1);
        let turn = self.caller.turn(&endpoint, paid.write()).await?;
        let request = Request::change(Method::POST, "", Some(body.to_string().into_bytes()));
        self.caller.send(turn, &request).await.map_err(|failure| self.explained(failure))
    }

    /// What is said of an object that the account does not have.
    pub(super) fn no_object(&self, object: &str) -> String {
        format!(
            "HubSpot has no object `{object}`; check `object` in [crm.{}] (`contacts`, or an object's own name such as \
             `p123_members`)",
            self.name
        )
    }

    /// What a refusal means here, and what to do.
    fn explained(&self, mut failure: Failure) -> Failure {
        match failure.status {
            Some(401) => {
                failure.message = format!(
                    "HubSpot refuses the access token; check `access_token` in [crm.{}], and that its private app still exists",
                    self.name
                );
            }
            Some(403) => {
                let named = scopes_in(failure.detail.as_deref().unwrap_or_default());
                let wanted = if named.is_empty() {
                    "the scopes that docs/connectors/hubspot.md names".to_owned()
                } else {
                    format!("the scope {}", named.join(" or "))
                };
                failure.message = format!(
                    "HubSpot says that the token of [crm.{}] may not do this; give its private app {wanted}",
                    self.name
                );
            }
            Some(404) => {
                failure.message = self.no_object(&self.object);
            }
            // Something else is working on these records; an account that moves to another data centre.
            Some(423 | 477) => {
                failure.class = Class::Retry;
                failure.may_have_happened = false;
                "HubSpot is busy with these records; it is tried again".clone_into(&mut failure.message);
            }
            _ => {}
        }
        failure
    }
}

/// The scopes that HubSpot says are missing, as it names them (`crm.objects.contacts.read`): nothing else of what it says is
/// shown.
fn scopes_in(detail: &str) -> Vec<&str> {
    let is_part = |character: char| character.is_ascii_lowercase() || "._-".contains(character);
    let mut scopes: Vec<&str> = Vec::new();
    for word in detail.split(|character| !is_part(character)) {
        if word.starts_with("crm.")
            && word.split('.').count() >= 3
            && !scopes.contains(&word)
            && scopes.len() < SCOPES_MAX
        {
            scopes.push(word);
        }
    }
    scopes
}

fn answered<T: DeserializeOwned>(answer: &Answer) -> Result<Answered<T>, Failure> {
    let body = answer.json()?;
    let clock = answer.clock.ok_or_else(|| answer.unreadable("without a `Date`, so that its clock is not known"))?;
    Ok(Answered { body, clock })
}

fn ids_after(found: &Answered<Value>, after: u64) -> Result<Answered<Vec<u64>>, Failure> {
    let rows = found.body.get("results").and_then(Value::as_array);
    let ids: Option<Vec<u64>> = rows.and_then(|rows| rows.iter().map(|row| row.get("id").and_then(id_in)).collect());
    let ids = ids.ok_or_else(|| senseless("a search answered without ids"))?;
    if ids.first().is_some_and(|first| *first <= after) || !ids.is_sorted_by(|one, other| one < other) {
        return Err(senseless("a search answered other records than those after the last"));
    }
    Ok(Answered { body: ids, clock: found.clock })
}

/// An id, which is text in JSON, and a number all the same.
pub(super) fn id_in(value: &Value) -> Option<u64> {
    value.as_str().and_then(|text| text.parse().ok()).or_else(|| value.as_u64())
}

/// An answer of a shape that we do not understand.
pub(super) fn senseless(what: &str) -> Failure {
    let why = format!("{what}; if it stays so, please report this as a defect of Attune");
    Failure::new(Class::Broken, why).possibly_happened()
}

/// A question that is refused was put wrongly, or about something that is gone.
fn refused_read(mut failure: Failure) -> Failure {
    if failure.class == Class::Rejected {
        failure.class = Class::Misconfigured;
        failure.message.push_str("; was a property removed? `attune check` tells");
    }
    failure
}
