//! Upserts and deletes of attribute values. Each call is sent once; what became of each value is read from the answer's
//! rows, never from their order.

use std::collections::HashMap;

use reqwest::Method;

use super::super::ids::{Ids, deletion};
use super::super::read::id_of;
use super::super::wire::{Listing, Object, Upsert, ValueRow};
use super::super::write::refuse;
use super::super::{BigCommerce, Lane, Paid, Reservation};
use crate::http::{Answer, Request};
use crate::model::{Cell, Class, Failure, Outcome, Value, Write};

/// BigCommerce takes at most 10 in one upsert (its text says customers; ten values are safe in either reading).
pub(in super::super) const VALUES_PER_UPSERT: usize = 10;

/// Ids of one delete: a limit of ours.
const VALUES_PER_DELETE: usize = 50;

/// Packs upserts by tens and deletes by fifties, a customer's values next to each other.
pub(in super::super) fn batches(mut writes: Vec<Write>) -> Vec<Vec<Write>> {
    writes.sort_by_key(|write| (write.value.is_none(), id_of(&write.key)));
    let deletes = writes.split_off(writes.partition_point(|write| write.value.is_some()));
    let packed = |mut rest: Vec<Write>, most: usize| {
        let mut batches = Vec::with_capacity(rest.len().div_ceil(most));
        while !rest.is_empty() {
            let later = rest.split_off(most.min(rest.len()));
            batches.push(std::mem::replace(&mut rest, later));
        }
        batches
    };
    let mut all = packed(writes, VALUES_PER_UPSERT);
    all.extend(packed(deletes, VALUES_PER_DELETE));
    all
}

/// A write that can be sent: where it goes.
#[derive(Clone, Copy)]
struct Target {
    /// Its place in the batch.
    place: usize,
    customer: u64,
    attribute: u64,
}

fn places(targets: &[Target]) -> Vec<usize> {
    targets.iter().map(|target| target.place).collect()
}

impl BigCommerce {
    /// Sends a batch once; one outcome for each write, in order.
    pub(in super::super) async fn write_values(
        &self,
        batch: &[Write],
        reservation: &dyn Reservation,
    ) -> Vec<Option<Outcome>> {
        let attributes = match self.attributes() {
            Ok(attributes) => attributes,
            Err(failure) => return vec![Some(Outcome::NotSent(failure)); batch.len()],
        };
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut upserts = Vec::new();
        let mut deletes = Vec::new();
        for (place, write) in batch.iter().enumerate() {
            match (id_of(&write.key), attributes.of_field(write.field)) {
                (Some(customer), Some(attribute)) => {
                    let target = Target { place, customer, attribute };
                    if write.value.is_some() { &mut upserts } else { &mut deletes }.push(target);
                }
                (None, _) => outcomes[place] = Some(self.unsendable("its key is no customer id")),
                (_, None) => outcomes[place] = Some(self.unsendable("its field cannot be written at present")),
            }
        }
        if !upserts.is_empty() {
            self.upsert(batch, &upserts, reservation, &mut outcomes).await;
        }
        if !deletes.is_empty() {
            self.delete(batch, &deletes, reservation, &mut outcomes).await;
        }
        outcomes
    }

    async fn upsert(
        &self,
        batch: &[Write],
        targets: &[Target],
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Outcome>],
    ) {
        let mut rows = Vec::with_capacity(targets.len());
        let mut sent = Vec::with_capacity(targets.len());
        for target in targets {
            match &batch[target.place].value {
                Some(Value::Text(value)) => {
                    rows.push(Upsert { attribute_id: target.attribute, value, customer_id: target.customer });
                    sent.push(*target);
                }
                _ => outcomes[target.place] = Some(self.unsendable("an attribute holds one text, and this is a list")),
            }
        }
        if sent.is_empty() {
            return;
        }
        let stored = match serde_json::to_vec(&rows) {
            Ok(body) => {
                let request = Request::change(Method::PUT, "", Some(body));
                self.send_write(&self.endpoints.value_writes, &request, reservation)
                    .await
                    .and_then(|answer| stored_values(&answer))
            }
            Err(_) => Err(self.unwritable()),
        };
        match stored {
            Ok(mut stored) => {
                for target in &sent {
                    let row = stored.cells.remove(&(target.customer, target.attribute));
                    outcomes[target.place] = Some(match row {
                        Some(cell) => Outcome::Written { stored: cell },
                        None => Outcome::Unknown(stored.incomplete.clone()),
                    });
                }
            }
            Err(failure) => refuse(&places(&sent), &failure, "", outcomes),
        }
    }

    async fn delete(
        &self,
        batch: &[Write],
        targets: &[Target],
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Outcome>],
    ) {
        let mut ids: Vec<u64> = Vec::with_capacity(targets.len());
        let mut sent = Vec::with_capacity(targets.len());
        for target in targets {
            match batch[target.place].expect.token.as_deref().and_then(|token| token.parse().ok()) {
                Some(id) => {
                    ids.push(id);
                    sent.push(*target);
                }
                None => outcomes[target.place] = Some(self.unsendable("the recheck showed no value to clear")),
            }
        }
        let Some(ids) = Ids::of(ids) else { return };
        let lost = match self.send_write(&self.endpoints.value_writes, &deletion(&ids), reservation).await {
            Ok(_) => None,
            Err(failure) if failure.may_have_happened => Some(failure),
            Err(failure) => return refuse(&places(&sent), &failure, "", outcomes),
        };
        // An answer to a delete proves nothing, and neither does its absence: what is still shown does.
        let mut customers: Vec<u64> = sent.iter().map(|target| target.customer).collect();
        customers.sort_unstable();
        customers.dedup();
        let mut asked: Vec<u64> = sent.iter().map(|target| target.attribute).collect();
        asked.sort_unstable();
        asked.dedup();
        let paid = Paid::by(reservation, Lane::Resolve);
        match self.values_of(&customers, &asked, paid).await {
            Ok(values) => {
                for target in &sent {
                    let shown = values.contains_key(&(target.customer, target.attribute));
                    outcomes[target.place] = Some(if shown {
                        Outcome::Unknown(lost.clone().unwrap_or_else(|| self.still_shown()))
                    } else {
                        Outcome::Written { stored: Cell::absent() }
                    });
                }
            }
            Err(failure) => {
                let failure = lost.unwrap_or(failure).possibly_happened();
                for target in &sent {
                    outcomes[target.place] = Some(Outcome::Unknown(failure.clone()));
                }
            }
        }
    }

    fn still_shown(&self) -> Failure {
        let sentence = format!(
            "store {} took a delete of attribute values, but still shows one of them; it is looked at again later",
            self.store_hash
        );
        Failure::new(Class::Retry, sentence).possibly_happened()
    }
}

/// What the answer to an upsert says is stored now, and the failure of a value that it does not show.
struct Stored {
    cells: HashMap<(u64, u64), Cell>,
    incomplete: Failure,
}

fn stored_values(answer: &Answer) -> Result<Stored, Failure> {
    let incomplete = answer.unreadable("without the value that was sent");
    let Object(listing) = answer.json::<Object<Listing<ValueRow<'_>>>>()?;
    let cells = listing
        .data
        .iter()
        .filter_map(|row| Some(((row.customer_id?, row.attribute_id), row.cell())))
        // A row that does not say what it holds proves nothing.
        .filter(|(_, cell)| !cell.seen.is_unseen())
        .collect();
    Ok(Stored { cells, incomplete })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    fn write(customer: u64, field: usize, value: Option<&str>) -> Write {
        Write {
            key: Key::new(customer.to_string()),
            field,
            expect: Cell::default(),
            value: value.map(Value::text),
            modified: None,
        }
    }

    #[test]
    fn upserts_by_tens_and_deletes_by_fifties() {
        let mut writes: Vec<Write> = (0..23).map(|index| write(100 - index % 7, index as usize, Some("x"))).collect();
        writes.extend((0..51).map(|index| write(index, 0, None)));
        let batches = batches(writes);
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [10, 10, 3, 50, 1]);
        assert!(batches[..3].iter().flatten().all(|write| write.value.is_some()));
        let customers: Vec<Option<u64>> = batches[..3].iter().flatten().map(|write| id_of(&write.key)).collect();
        assert!(customers.is_sorted());
        assert!(super::batches(Vec::new()).is_empty());
    }
}
