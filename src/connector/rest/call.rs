//! Calls: reads again and again within patience, writes once; what failures of an API that we know only from its description
//! mean, and what to do.

use reqwest::Method;
use reqwest::header::HeaderMap;

use super::Rest;
use crate::connector::paid::Paid;
use crate::connector::retry::Attempts;
use crate::http::{Answer, Endpoint, Request, is_too_large};
use crate::model::{Class, Failure};

/// What is asked: a path below the base with its query, and the headers of this kind of request.
pub(super) struct Question<'a> {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: &'a HeaderMap,
    /// The statuses that are an answer: there is none.
    pub(super) missing: &'a [u16],
}

impl Rest {
    /// Reads, again and again within patience.
    pub(super) async fn ask(&self, question: &Question<'_>, paid: Paid<'_>) -> Result<Answer, Failure> {
        let endpoint = Endpoint::new(question.path.clone(), 1);
        let mut request = Request::get(question.query.clone());
        request.headers = question.headers.clone();
        let mut attempts = Attempts::new(self.patience, self.caller.throttle().cancelled());
        loop {
            self.renew_token();
            let turn = self.caller.turn(&endpoint, paid.read()).await?;
            attempts.begin();
            let failure = match self.caller.send(turn, &request).await {
                Ok(answer) => match readable(&answer) {
                    Ok(()) => return Ok(answer),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            if failure.status.is_some_and(|status| question.missing.contains(&status)) {
                return Err(failure);
            }
            if failure.class == Class::Broken && !is_too_large(&failure) {
                attempts.unreadable(failure).await?;
            } else {
                attempts.failed(failure).await.map_err(|failure| self.explained(failure))?;
            }
        }
    }

    /// Changes something, once.
    pub(super) async fn change(
        &self,
        method: Method,
        path: String,
        request: (String, Option<Vec<u8>>, HeaderMap),
        paid: Paid<'_>,
    ) -> Result<Answer, Failure> {
        let (query, body, headers) = request;
        self.renew_token();
        let endpoint = Endpoint::new(path, 1);
        let mut request = Request::change(method, query, body);
        request.headers = headers;
        let turn = self.caller.turn(&endpoint, paid.write()).await?;
        self.caller.send(turn, &request).await
    }

    fn renew_token(&self) {
        if self.tokens.as_ref().is_some_and(|tokens| tokens.is_due()) {
            self.caller.forget_secret();
        }
    }

    /// What a failure of a read means here.
    pub(super) fn explained(&self, mut failure: Failure) -> Failure {
        let name = &self.name;
        match (failure.class, failure.status) {
            (Class::Auth, Some(401)) => {
                failure.message = format!(
                    "the API refuses our credentials; check `auth` in [crm.{name}], and that they have not expired"
                );
            }
            (Class::Auth, _) => {
                failure.message = format!(
                    "the API says that this user may not do that, or that there is no such collection; check \
                     `collection` and `key` in [crm.{name}], and the user's rights to it and to every mapped field"
                );
            }
            (Class::Misconfigured, Some(404 | 410)) => {
                failure.message = format!(
                    "there is nothing at this address of the API; check `url`, `collection` and the paths in [crm.{name}]"
                );
            }
            (Class::Rejected, status) => {
                failure.class = Class::Misconfigured;
                let why = if status == Some(428) { "wants a condition with" } else { "refuses" };
                failure.message = format!(
                    "the API {why} what we ask; check that the mapping's fields, and `key`, `modified`, `created` and \
                     `deleted` in [crm.{name}], are fields that it has, and the templates of `list`"
                );
            }
            _ => {}
        }
        failure
    }

    /// An answer that does not fit what the configuration says of it.
    pub(super) fn unfitting(&self, why: &str) -> Failure {
        let why = format!("{why} [crm.{}]", self.name);
        Failure::new(Class::Misconfigured, why)
    }
}

/// Whether there is JSON in an answer, or nothing at all.
fn readable(answer: &Answer) -> Result<(), Failure> {
    answer.json::<&serde_json::value::RawValue>().map(drop)?;
    match answer.clock {
        Some(_) => Ok(()),
        None => Err(answer.unreadable("without a `Date`, so that its clock is not known")),
    }
}
