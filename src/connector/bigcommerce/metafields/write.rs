//! Metafields are made and changed by tens and deleted one by one: what the call without an id does is not documented well enough
//! to be called. A batch may be done in part: what became of each is read from the rows.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::field::Field;
use super::super::read::id_of;
use super::super::wire::{Object, optional_number};
use super::super::write::refuse;
use super::super::{BigCommerce, Lane, Paid, Reservation};
use super::{Metafield, MetafieldRow, PERMISSION_SET};
use crate::http::{Answer, Request};
use crate::model::{Cell, Class, Failure, Outcome, Value, Write};

/// How many a call takes is not documented; so many are taken.
pub(in super::super) const METAFIELDS_PER_CALL: usize = 10;

/// What is the matter with a metafield that we may not touch.
const FOREIGN: &str = "; a metafield belongs to the API account that made it: if another app did, let that app share it with `write`, \
                       or map another key";

/// Packs new ones and changed ones by tens, and those to be deleted alone.
pub(in super::super) fn batches(mut writes: Vec<Write>) -> Vec<Vec<Write>> {
    writes.sort_by_key(|write| (kind_of(write), id_of(&write.key), write.field));
    let size = |writes: &[Write]| match writes.first().map(kind_of) {
        Some(Kind::Delete) => 1,
        _ => METAFIELDS_PER_CALL,
    };
    let kinds = writes.chunk_by(|one, other| kind_of(one) == kind_of(other));
    kinds.flat_map(|kind| kind.chunks(size(kind))).map(<[Write]>::to_vec).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Create,
    Change,
    Delete,
}

fn kind_of(write: &Write) -> Kind {
    match (&write.value, &write.expect.token) {
        (None, _) => Kind::Delete,
        (Some(_), None) => Kind::Create,
        (Some(_), Some(_)) => Kind::Change,
    }
}

#[derive(Serialize)]
struct NewRow<'a> {
    permission_set: &'a str,
    namespace: &'a str,
    key: &'a str,
    value: &'a str,
    resource_id: u64,
}

#[derive(Serialize)]
struct ChangedRow<'a> {
    id: u64,
    value: &'a str,
}

/// What became of a batch.
#[derive(Debug, Deserialize)]
struct Batch<'a> {
    #[serde(borrow, bound(deserialize = "'de: 'a"))]
    data: Vec<MetafieldRow<'a>>,
    #[serde(default)]
    errors: Vec<RowError>,
}

/// Why a row was refused. Whether its `errors` name rows by place or by id is not documented: they are not asked.
#[derive(Debug, Deserialize)]
struct RowError {
    #[serde(default, deserialize_with = "optional_number")]
    status: Option<u64>,
}

/// A write that can be sent.
struct Target<'a> {
    place: usize,
    customer: u64,
    metafield: &'a Metafield,
    value: &'a str,
}

impl BigCommerce {
    /// Sends a batch once; one outcome for each write, in order.
    pub(in super::super) async fn write_metafields(
        &self,
        batch: &[Write],
        reservation: &dyn Reservation,
    ) -> Vec<Option<Outcome>> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut puts: BTreeMap<Kind, Vec<Target<'_>>> = BTreeMap::new();
        for (place, write) in batch.iter().enumerate() {
            let (Some(customer), Some(Field::Metafield(metafield))) = (id_of(&write.key), self.fields.get(write.field))
            else {
                outcomes[place] = Some(self.unsendable("it belongs to no customer's metafield"));
                continue;
            };
            match &write.value {
                Some(Value::Text(value)) => {
                    let target = Target { place, customer, metafield, value };
                    puts.entry(kind_of(write)).or_default().push(target);
                }
                Some(Value::List(_)) => {
                    outcomes[place] = Some(self.unsendable("a metafield holds one text, and this is a list"));
                }
                None => outcomes[place] = Some(self.delete_metafield(customer, write, reservation).await),
            }
        }
        for (kind, targets) in puts {
            self.put_metafields(kind, batch, &targets, reservation, &mut outcomes).await;
        }
        outcomes
    }

    async fn put_metafields(
        &self,
        kind: Kind,
        batch: &[Write],
        targets: &[Target<'_>],
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Outcome>],
    ) {
        let places = |targets: &[&Target<'_>]| targets.iter().map(|target| target.place).collect::<Vec<_>>();
        let all: Vec<&Target<'_>> = targets.iter().collect();
        let (method, body) = match kind {
            Kind::Create => (Method::POST, self.new_rows(batch, targets)),
            Kind::Change | Kind::Delete => (Method::PUT, changed_rows(batch, targets)),
        };
        let sent = match body {
            Some(body) => {
                let request = Request { partly: true, ..Request::change(method, "", Some(body)) };
                self.send_write(&self.endpoints.metafield_writes, &request, reservation).await
            }
            None => Err(self.unwritable()),
        };
        let answer = match sent {
            Ok(answer) => answer,
            // Of one alone it is the metafield that we may not touch; of several, as likely all that we may not do.
            Err(failure) if failure.status == Some(403) && all.len() == 1 => {
                outcomes[all[0].place] = Some(Outcome::Rejected(refusal(403, &failure.request_id)));
                return;
            }
            Err(failure) => return refuse(&places(&all), &failure, FOREIGN, outcomes),
        };
        let became = match answer.json::<Object<Batch<'_>>>() {
            Ok(Object(became)) => became,
            Err(_) if answer.status == 422 => return refuse(&places(&all), &self.refused(&answer), FOREIGN, outcomes),
            Err(failure) => return refuse(&places(&all), &failure, FOREIGN, outcomes),
        };
        let mut rest = Vec::new();
        for target in targets {
            let is_its = |row: &&MetafieldRow<'_>| {
                row.resource_id == target.customer
                    && row.namespace == target.metafield.namespace
                    && row.key == target.metafield.key
            };
            match became.data.iter().find(is_its).map(MetafieldRow::cell).filter(|cell| !cell.seen.is_unseen()) {
                Some(stored) => outcomes[target.place] = Some(Outcome::Written { stored }),
                None => rest.push(target),
            }
        }
        self.not_done(&answer, &became.errors, &rest, outcomes);
    }

    /// What became of the rows that an answer does not show.
    fn not_done(&self, answer: &Answer, errors: &[RowError], rest: &[&Target<'_>], outcomes: &mut [Option<Outcome>]) {
        let first = errors.first().and_then(|error| error.status).and_then(|status| u16::try_from(status).ok());
        let alike = errors.iter().all(|error| error.status == errors[0].status);
        for target in rest {
            outcomes[target.place] = Some(match first {
                _ if errors.is_empty() => Outcome::Unknown(answer.unreadable("without the metafield that was sent")),
                // It went since it was read, or is hidden from us now.
                Some(404) if alike => Outcome::Changed,
                Some(429) if alike => Outcome::NotSent(self.row_failure(Class::Retry, 429)),
                Some(status @ 500..) if alike => {
                    Outcome::Unknown(self.row_failure(Class::Retry, status).possibly_happened())
                }
                Some(status) if alike => Outcome::Rejected(refusal(status, &answer.request_id)),
                _ => Outcome::BatchRejected(self.refused(answer)),
            });
        }
    }

    fn row_failure(&self, class: Class, status: u16) -> Failure {
        let mut failure = Failure::new(
            class,
            format!("store {} did not take a metafield of a batch; it is tried again", self.store_hash),
        );
        failure.status = Some(status);
        failure
    }

    fn refused(&self, answer: &Answer) -> Failure {
        let mut failure = Failure::new(Class::Rejected, format!("store {} refused metafields", self.store_hash));
        failure.status = Some(answer.status);
        failure.request_id.clone_from(&answer.request_id);
        failure
    }

    fn new_rows(&self, batch: &[Write], targets: &[Target<'_>]) -> Option<Vec<u8>> {
        let permission = |field: usize| {
            let wanted = self.fields.wanted().nth(field);
            wanted.and_then(|(_, _, wanted)| wanted.options.permission_set.as_deref()).unwrap_or(PERMISSION_SET)
        };
        let row = |target: &Target<'_>| {
            serde_json::to_value(NewRow {
                permission_set: permission(batch[target.place].field),
                namespace: &target.metafield.namespace,
                key: &target.metafield.key,
                value: target.value,
                resource_id: target.customer,
            })
            .ok()
        };
        let rows: Option<Vec<_>> = targets.iter().map(row).collect();
        serde_json::to_vec(&rows?).ok()
    }

    async fn delete_metafield(&self, customer: u64, write: &Write, reservation: &dyn Reservation) -> Outcome {
        let Some(id) = write.expect.token.as_deref().and_then(|token| token.parse::<u64>().ok()) else {
            return self.unsendable("the recheck showed no metafield to delete");
        };
        let path = format!("/v3/customers/{customer}/metafields/{id}");
        let endpoint = self.endpoints.metafield_deletes.at(path);
        let request = Request::change(Method::DELETE, "", None);
        let lost = match self.send_write(&endpoint, &request, reservation).await {
            Ok(_) => None,
            Err(failure) if failure.status == Some(403) => {
                return Outcome::Rejected(refusal(403, &failure.request_id));
            }
            Err(failure) if failure.may_have_happened => Some(failure),
            Err(failure) => {
                let mut outcomes = [None];
                refuse(&[0], &failure, FOREIGN, &mut outcomes);
                let [outcome] = outcomes;
                return outcome.unwrap_or(Outcome::NotSent(failure));
            }
        };
        // What is still shown proves that it is there; an answer proves nothing.
        match self.metafields_of(&[customer], Paid::by(reservation, Lane::Resolve)).await {
            Ok(cells) if cells.contains_key(&(customer, write.field)) => Outcome::Unknown(lost.unwrap_or_else(|| {
                let sentence = format!("store {} took a delete of a metafield, but still shows it", self.store_hash);
                Failure::new(Class::Retry, sentence).possibly_happened()
            })),
            Ok(_) => Outcome::Written { stored: Cell::absent() },
            Err(failure) => Outcome::Unknown(lost.unwrap_or(failure).possibly_happened()),
        }
    }
}

fn changed_rows<'t>(batch: &[Write], targets: &[Target<'t>]) -> Option<Vec<u8>> {
    let row = |target: &Target<'t>| {
        let id = batch[target.place].expect.token.as_deref()?.parse().ok()?;
        Some(ChangedRow { id, value: target.value })
    };
    let rows: Option<Vec<ChangedRow<'t>>> = targets.iter().map(row).collect();
    serde_json::to_vec(&rows?).ok()
}

/// Why a metafield is held.
fn refusal(status: u16, request_id: &Option<String>) -> String {
    let request = request_id.as_ref().map(|id| format!(", request {id}")).unwrap_or_default();
    format!("BigCommerce does not let us write the metafield (status {status}{request}){FOREIGN}")
}
