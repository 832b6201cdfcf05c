//! Calls to Salesforce, the org's limit on them, and what its error codes mean.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Salesforce;
use crate::connector::Lane;
use crate::connector::paid::Paid;
use crate::connector::retry::Attempts;
use crate::http::{Answer, Endpoint, Quota, Request, encoded, is_too_large};
use crate::model::{Class, Failure, Timestamp};

/// Where the API begins.
pub(super) const DATA: &str = "/services/data/v62.0";

/// The part of the org's daily calls that may be used up before Attune steps back: the rest is other people's.
const SHARE: f64 = 0.8;

/// How long Attune makes no call when the limit is near or reached: calls of a day ago come back all the time.
const STEPS_BACK: Duration = Duration::from_secs(5 * 60);

/// The fewest rows that are asked for when a query takes too long or answers too much.
const ROWS_MIN: usize = 100;

/// What the answers tell of the org's limit.
#[derive(Debug, Default)]
pub(super) struct Usage {
    used: u64,
    allowed: u64,
    /// Until when no call is made.
    quiet_until: Option<Instant>,
}

impl Usage {
    /// What an answer says: `api-usage=18/5000`.
    fn learn(&mut self, header: &str) {
        let said = header.split(';').find_map(|part| part.trim().strip_prefix("api-usage="));
        let Some((used, allowed)) = said.and_then(|said| said.split_once('/')) else { return };
        let (Ok(used), Ok(allowed)) = (used.trim().parse(), allowed.trim().parse()) else { return };
        (self.used, self.allowed) = (used, allowed);
        #[allow(clippy::cast_precision_loss)]
        let is_near = allowed > 0 && used as f64 >= allowed as f64 * SHARE;
        self.quiet_until = is_near.then(|| Instant::now() + STEPS_BACK);
    }

    fn reached(&mut self) {
        self.quiet_until = Some(Instant::now() + STEPS_BACK);
    }

    /// How long to make no call.
    fn quiet(&self) -> Option<Duration> {
        self.quiet_until.map(|until| until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    pub(super) fn quota(&self) -> Option<Quota> {
        let left = self.allowed.saturating_sub(self.used);
        (self.allowed > 0).then_some(Quota { left, quota: self.allowed, reset_ms: 24 * 60 * 60 * 1000 })
    }
}

/// What was read, and Salesforce's clock before it was asked.
pub(super) struct Answered<T> {
    pub(super) body: T,
    pub(super) clock: Timestamp,
}

/// Who the token stands for.
pub(super) struct Me {
    pub(super) organization: String,
    pub(super) user: String,
}

/// The rows of a query, as far as one answer has them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rows {
    pub(super) done: bool,
    /// How many rows there are in all; of a count, what was counted.
    pub(super) total_size: Option<u64>,
    pub(super) records: Vec<Map<String, Value>>,
}

impl Salesforce {
    pub(super) async fn who_am_i(&self) -> Result<Me, Failure> {
        let me: Answered<Value> = self.read("/services/oauth2/userinfo", "", Paid::in_lane(Lane::Fresh)).await?;
        let text = |name: &str| me.body.get(name).and_then(Value::as_str).map(super::fields::id18);
        match (text("organization_id"), text("user_id")) {
            (Some(organization), Some(user)) => Ok(Me { organization, user }),
            _ => Err(senseless("the answer about the user names no org")),
        }
    }

    /// Rows of a query, deleted ones too, at most so many; fewer where they take too long.
    pub(super) async fn query(
        &self,
        soql: impl Fn(usize) -> String,
        rows_max: usize,
        paid: Paid<'_>,
    ) -> Result<(Answered<Rows>, usize), Failure> {
        let mut rows = rows_max;
        loop {
            let query = format!("q={}", encoded(&soql(rows)));
            match self.read::<Rows>(&format!("{DATA}/queryAll"), &query, paid).await {
                Ok(answered) => return Ok((answered, rows)),
                Err(failure) if rows > ROWS_MIN && (is_too_large(&failure) || is_slow(&failure)) => {
                    rows = (rows / 4).max(ROWS_MIN);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Asks something, again and again within patience.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &str,
        paid: Paid<'_>,
    ) -> Result<Answered<T>, Failure> {
        let endpoint = Endpoint::new(path.to_owned(), 1);
        let request = Request::get(query);
        let mut attempts = Attempts::new(self.patience, self.caller.throttle().cancelled());
        loop {
            self.is_quiet()?;
            let turn = self.caller.turn(&endpoint, paid.read()).await?;
            attempts.begin();
            match self.caller.send(turn, &request).await {
                Ok(answer) => match self.answered(&answer) {
                    Ok(answered) => return Ok(answered),
                    Err(failure) => attempts.unreadable(failure).await?,
                },
                Err(failure) => {
                    let failure = self.explained(failure);
                    if failure.code.as_deref() == Some("QUERY_TIMEOUT") {
                        return Err(failure);
                    }
                    attempts.failed(failure).await.map_err(refused_read)?;
                }
            }
        }
    }

    /// Changes something, once.
    pub(super) async fn change(&self, path: &str, request: &Request, paid: Paid<'_>) -> Result<Answer, Failure> {
        self.is_quiet()?;
        let endpoint = Endpoint::new(path.to_owned(), 1);
        let turn = self.caller.turn(&endpoint, paid.write()).await?;
        let answer = self.caller.send(turn, request).await.map_err(|failure| self.explained(failure))?;
        self.learn(&answer);
        Ok(answer)
    }

    fn answered<T: DeserializeOwned>(&self, answer: &Answer) -> Result<Answered<T>, Failure> {
        self.learn(answer);
        let body = answer.json()?;
        let clock =
            answer.clock.ok_or_else(|| answer.unreadable("without a `Date`, so that its clock is not known"))?;
        Ok(Answered { body, clock })
    }

    fn learn(&self, answer: &Answer) {
        if let Some(said) = answer.headers.get("sforce-limit-info").and_then(|value| value.to_str().ok()) {
            self.usage.lock().unwrap_or_else(std::sync::PoisonError::into_inner).learn(said);
        }
    }

    /// No call is made while the org's limit is near: others need the rest.
    fn is_quiet(&self) -> Result<(), Failure> {
        let quiet = self.usage.lock().unwrap_or_else(std::sync::PoisonError::into_inner).quiet();
        match quiet {
            None => Ok(()),
            Some(left) => Err(Failure { retry_after: Some(left), ..limit_reached() }),
        }
    }

    /// What a refusal means here, and what to do.
    fn explained(&self, mut failure: Failure) -> Failure {
        match (failure.code.as_deref(), failure.status) {
            // It has status 403, and no word of when to come back.
            (Some("REQUEST_LIMIT_EXCEEDED"), _) => {
                self.usage.lock().unwrap_or_else(std::sync::PoisonError::into_inner).reached();
                let (code, status) = (failure.code, failure.status);
                return Failure { code, status, retry_after: Some(STEPS_BACK), ..limit_reached() };
            }
            (Some("UNABLE_TO_LOCK_ROW" | "SERVER_UNAVAILABLE" | "CONCURRENT_API_REQUESTS_LIMIT_EXCEEDED"), _) => {
                failure.class = Class::Retry;
                failure.may_have_happened = false;
                "Salesforce is busy; it is tried again".clone_into(&mut failure.message);
            }
            (_, Some(401)) => {
                failure.message = format!(
                    "Salesforce refuses the access token that it gave; check that the user of [crm.{}] may use the API",
                    self.name
                );
            }
            (_, Some(403)) => {
                "Salesforce says that the user may not do this; give it the rights that docs/connectors/salesforce.md names"
                    .clone_into(&mut failure.message);
            }
            (_, Some(404)) => {
                failure.message = format!(
                    "Salesforce has no object `{}`, or the user may not see it; check `object` and `url` in [crm.{}]",
                    self.object, self.name
                );
            }
            _ => {}
        }
        failure
    }
}

fn limit_reached() -> Failure {
    let why = "the org's API calls of the last 24 hours are used up to where Attune stops; it goes on by itself when older ones \
               fall out of them";
    Failure::new(Class::Retry, why)
}

fn is_slow(failure: &Failure) -> bool {
    failure.code.as_deref() == Some("QUERY_TIMEOUT")
}

/// An answer of a shape that we do not understand.
pub(super) fn senseless(what: &str) -> Failure {
    let why = format!("{what}; if it stays so, please report this as a defect of Attune");
    Failure::new(Class::Broken, why).possibly_happened()
}

/// A question that is refused was about something that is gone.
fn refused_read(mut failure: Failure) -> Failure {
    if failure.class == Class::Rejected {
        failure.class = Class::Misconfigured;
        failure.message.push_str("; was a field removed, or a right? `attune check` tells");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn four_fifths_of_a_day_are_ours_at_most() {
        let mut usage = Usage::default();
        for (header, is_quiet) in [
            ("api-usage=18/5000", false),
            ("api-usage=4000/5000; x=1", true),
            ("nonsense", true),
            ("api-usage=1/0", false),
        ] {
            usage.learn(header);
            assert_eq!(usage.quiet().is_some(), is_quiet, "{header}");
        }
        usage.learn("api-usage=5000/5000");
        tokio::time::advance(STEPS_BACK + Duration::from_secs(1)).await;
        assert_eq!(usage.quiet(), None, "then one call finds out");
        assert_eq!(usage.quota(), Some(Quota { left: 0, quota: 5_000, reset_ms: 86_400_000 }));
    }
}
