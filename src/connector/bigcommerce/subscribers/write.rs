//! Consents are written one subscriber at a time, all of them at once. Nobody is ever deleted: the call that deletes one is a letter
//! away from the call that deletes all.

use std::collections::BTreeSet;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::field::Field;
use super::super::wire::Object;
use super::super::write::refuse;
use super::super::{BigCommerce, Reservation};
use super::{SubscriberRow, Token, cell};
use crate::connector::batch::by_record;
use crate::http::{Answer, Request};
use crate::model::{Failure, Outcome, Value, Write};

/// What else may be the matter.
const HINT: &str =
    "; a subscriber of this e-mail may have been made meanwhile, or BigCommerce does not take the e-mail";

/// One customer's consents are one call.
pub(in super::super) fn batches(writes: Vec<Write>) -> Vec<Vec<Write>> {
    by_record(writes)
}

#[derive(Serialize)]
struct NewRow<'a> {
    email: &'a str,
    consents: &'a BTreeSet<String>,
}

#[derive(Serialize)]
struct ChangedRow<'a> {
    consents: &'a BTreeSet<String>,
}

/// One subscriber.
#[derive(Deserialize)]
struct One<'a> {
    #[serde(borrow, bound(deserialize = "'de: 'a"))]
    data: SubscriberRow<'a>,
}

impl BigCommerce {
    /// Sends the consents of one customer; one outcome for each write, in order.
    pub(in super::super) async fn write_subscriber(
        &self,
        batch: &[Write],
        reservation: &dyn Reservation,
    ) -> Vec<Option<Outcome>> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let token = batch.first().and_then(|write| write.expect.token.as_deref());
        let Some(mut token) = token.and_then(|token| serde_json::from_str::<Token>(token).ok()) else {
            return vec![Some(self.unsendable("the recheck showed no e-mail")); batch.len()];
        };
        let mut places = Vec::with_capacity(batch.len());
        for (place, write) in batch.iter().enumerate() {
            let (Some(Field::Subscriber(consent)), Some(Value::Text(text))) =
                (self.fields.get(write.field), &write.value)
            else {
                outcomes[place] = Some(self.unsendable("a consent is yes or no"));
                continue;
            };
            match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "on" | "1" => drop(token.consents.insert(consent.word().to_owned())),
                _ => drop(token.consents.remove(consent.word())),
            }
            places.push(place);
        }
        if places.is_empty() {
            return outcomes;
        }
        match self.put_subscriber(&token, reservation).await {
            Ok(answer) => self.stored(&answer, batch, &places, &mut outcomes),
            // It was deleted since it was read.
            Err(failure) if failure.status == Some(404) => {
                places.iter().for_each(|place| outcomes[*place] = Some(Outcome::Changed));
            }
            Err(failure) => refuse(&places, &failure, HINT, &mut outcomes),
        }
        outcomes
    }

    async fn put_subscriber(&self, token: &Token, reservation: &dyn Reservation) -> Result<Answer, Failure> {
        let consents = &token.consents;
        let (endpoint, method, body) = match token.id {
            Some(id) => {
                let path = format!("/v3/customers/subscribers/{id}");
                let body = serde_json::to_vec(&ChangedRow { consents });
                (self.endpoints.subscriber_writes.at(path), Method::PUT, body)
            }
            None => {
                let body = serde_json::to_vec(&NewRow { email: &token.email, consents });
                (self.endpoints.subscriber_writes.at("/v3/customers/subscribers"), Method::POST, body)
            }
        };
        let body = body.map_err(|_unwritable| self.unwritable())?;
        self.send_write(&endpoint, &Request::change(method, "", Some(body)), reservation).await
    }

    fn stored(&self, answer: &Answer, batch: &[Write], places: &[usize], outcomes: &mut [Option<Outcome>]) {
        let subscribed = answer.json::<Object<One<'_>>>().map(|Object(one)| one.data.subscribed());
        for place in places {
            outcomes[*place] = Some(match (&subscribed, self.fields.get(batch[*place].field)) {
                (Ok(subscribed), Some(Field::Subscriber(consent))) if subscribed.consents.is_some() => {
                    Outcome::Written { stored: cell(*consent, &subscribed.email, Some(subscribed)) }
                }
                (Err(failure), _) => Outcome::Unknown(failure.clone()),
                _ => Outcome::Unknown(answer.unreadable("without the consents that were sent")),
            });
        }
    }
}
