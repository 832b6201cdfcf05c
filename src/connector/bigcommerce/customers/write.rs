//! `PUT /v3/customers`: of one customer all fields that changed go in one row, of ten customers the rows in one call.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::value::{RawValue, to_raw_value};

use super::super::field::Field;
use super::super::form_fields::FormFieldsPut;
use super::super::read::{Included, id_of};
use super::super::write::{NotPut, refuse};
use super::super::{BigCommerce, Lane, Paid, Reservation};
use crate::connector::batch::by_record;
use crate::http::{Answer, Request};
use crate::model::{Failure, Observed, Outcome, Write};

/// BigCommerce takes at most 10 in one call.
pub(in super::super) const CUSTOMERS_PER_PUT: usize = 10;

/// Packs ten customers into a call, whatever the number of fields that each brings.
pub(in super::super) fn batches(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let customers = by_record(writes);
    customers.chunks(CUSTOMERS_PER_PUT).map(|customers| customers.concat()).collect()
}

/// One customer as the call names it.
#[derive(Default)]
struct Row {
    fields: BTreeMap<&'static str, Box<RawValue>>,
    form_fields: Option<FormFieldsPut>,
}

impl BigCommerce {
    /// Sends a batch once; one outcome for each write, in order.
    pub(in super::super) async fn put_customers(
        &self,
        batch: &[Write],
        reservation: &dyn Reservation,
    ) -> Vec<Option<Outcome>> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let groups = self.group_ids(batch, reservation).await;
        let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
        let mut sent = Vec::new();
        for (place, write) in batch.iter().enumerate() {
            let Some(customer) = id_of(&write.key) else {
                outcomes[place] = Some(self.unsendable("its key is no customer id"));
                continue;
            };
            let row = rows.entry(customer).or_default();
            match self.add_to(row, write, groups.get(&place)) {
                Ok(()) => sent.push(place),
                Err(NotPut::Refused(why)) => {
                    outcomes[place] = Some(Outcome::Rejected(format!("the value was not sent: {why}")));
                }
                Err(NotPut::Failed(failure)) => outcomes[place] = Some(Outcome::NotSent(failure)),
            }
        }
        rows.retain(|_, row| !row.fields.is_empty() || row.form_fields.is_some());
        if rows.is_empty() {
            return outcomes;
        }
        let answer = match self.body_of(rows) {
            Ok(body) => {
                let request = Request::change(Method::PUT, "", Some(body));
                self.send_write(&self.endpoints.customer_writes, &request, reservation).await
            }
            Err(failure) => Err(failure),
        };
        let stored = match answer {
            Ok(answer) => self.stored_customers(&answer, batch, &sent, reservation).await,
            Err(failure) => Err(failure),
        };
        match stored {
            Ok((stored, incomplete)) => {
                for place in sent {
                    let outcome = self.outcome_of(&batch[place], &stored, &incomplete, reservation).await;
                    outcomes[place] = Some(outcome);
                }
            }
            Err(failure) => {
                let hint = match sent.as_slice() {
                    [place] => self.hint(batch[*place].field),
                    _ => "",
                };
                refuse(&sent, &failure, hint, &mut outcomes);
            }
        }
        outcomes
    }

    /// What else may be the matter where the store refuses one value of a field.
    fn hint(&self, field: usize) -> &'static str {
        match self.fields.get(field) {
            Some(Field::Customer(field)) => field.hint(),
            Some(Field::Form(_)) => {
                "; if nothing is wrong with it, its form field was renamed or deleted in BigCommerce, or one that the \
                 customer has left empty was made required"
            }
            _ => "",
        }
    }

    fn add_to(&self, row: &mut Row, write: &Write, group: Option<&Result<u64, NotPut>>) -> Result<(), NotPut> {
        let raw = |value: &serde_json::Value| to_raw_value(value).map_err(|_| NotPut::Failed(self.unwritable()));
        match self.fields.get(write.field) {
            Some(Field::Customer(field)) => {
                for (name, value) in field.entries(write.value.as_ref()).map_err(NotPut::Refused)? {
                    row.fields.insert(name, raw(&value)?);
                }
                Ok(())
            }
            Some(Field::Group) => match group {
                Some(Ok(id)) => {
                    row.fields.insert("customer_group_id", raw(&(*id).into())?);
                    Ok(())
                }
                Some(Err(NotPut::Refused(why))) => Err(NotPut::Refused(why.clone())),
                Some(Err(NotPut::Failed(failure))) => Err(NotPut::Failed(failure.clone())),
                None => Err(NotPut::Failed(self.unwritable())),
            },
            Some(Field::Form(name)) => {
                let put = match &mut row.form_fields {
                    Some(put) => put,
                    // The recheck has shown all of the customer's: what is not sent may be gone.
                    empty => empty.insert(
                        FormFieldsPut::of(write.expect.token.as_deref())
                            .ok_or_else(|| NotPut::Failed(self.not_rechecked()))?,
                    ),
                };
                put.set(name, write.value.as_ref(), self.form_field_holds(write.field));
                Ok(())
            }
            _ => Err(NotPut::Failed(self.unwritable())),
        }
    }

    fn body_of(&self, rows: BTreeMap<u64, Row>) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::with_capacity(rows.len());
        for (customer, row) in rows {
            let mut fields = row.fields;
            fields.insert("id", to_raw_value(&customer).map_err(|_| self.unwritable())?);
            if let Some(form_fields) = row.form_fields {
                fields.insert("form_fields", to_raw_value(&form_fields).map_err(|_| self.unwritable())?);
            }
            body.push(fields);
        }
        serde_json::to_vec(&body).map_err(|_| self.unwritable())
    }

    /// What the answer's rows say is stored now, and the failure of a value that they do not show. Form fields that they do
    /// not show are read: the documentation does not say that an answer has them.
    async fn stored_customers(
        &self,
        answer: &Answer,
        batch: &[Write],
        sent: &[usize],
        reservation: &dyn Reservation,
    ) -> Result<(BTreeMap<u64, Observed>, Failure), Failure> {
        let paid = Paid::by(reservation, Lane::Resolve);
        let incomplete = answer.unreadable("without the value that was sent");
        let attributes = self.attributes()?;
        let mut page = self.customers_of(answer, &attributes)?;
        // What could not be completed is unseen, and its writes are then unknown.
        let _ = self.complete_customers(&mut page, paid).await;
        let mut stored: BTreeMap<u64, Observed> = page.by_customer();
        let unseen = |place: &&usize| {
            let write = &batch[**place];
            let is_form_field = matches!(self.fields.get(write.field), Some(Field::Form(_)));
            let shown = id_of(&write.key).and_then(|customer| stored.get(&customer));
            is_form_field && shown.is_some_and(|shown| shown.cells[write.field].seen.is_unseen())
        };
        let mut ids: Vec<u64> = sent.iter().filter(unseen).filter_map(|place| id_of(&batch[*place].key)).collect();
        ids.dedup();
        if !ids.is_empty() {
            let include = Included { form_fields: true, ..Included::default() };
            let found = self.customers_by_id(&ids, include, paid).await;
            for shown in found.map_err(Failure::possibly_happened)? {
                let Some(known) = id_of(&shown.key).and_then(|customer| stored.get_mut(&customer)) else { continue };
                for (field, cell) in shown.cells.into_iter().enumerate() {
                    if matches!(self.fields.get(field), Some(Field::Form(_))) {
                        known.cells[field] = cell;
                    }
                }
            }
        }
        Ok((stored, incomplete))
    }

    async fn outcome_of(
        &self,
        write: &Write,
        stored: &BTreeMap<u64, Observed>,
        incomplete: &Failure,
        reservation: &dyn Reservation,
    ) -> Outcome {
        let cell = id_of(&write.key).and_then(|customer| stored.get(&customer)).map(|shown| &shown.cells[write.field]);
        match cell.filter(|cell| !cell.seen.is_unseen()) {
            None => Outcome::Unknown(incomplete.clone()),
            Some(cell) if matches!(self.fields.get(write.field), Some(Field::Form(_))) => {
                self.form_field_outcome(write, cell, Paid::by(reservation, Lane::Resolve)).await
            }
            Some(cell) => Outcome::Written { stored: cell.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, Key, Value};

    #[test]
    fn ten_customers_go_in_a_call_however_many_fields() {
        let write = |customer: u64, field: usize| Write {
            key: Key::new(customer.to_string()),
            field,
            expect: Cell::default(),
            value: Some(Value::text("x")),
            modified: None,
        };
        let writes = (0..3).flat_map(|field| (0..23).map(move |customer| write(100 + customer, field))).collect();
        let batches = batches(writes);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [30, 30, 9]);
        let customers = |batch: &Vec<Write>| batch.iter().map(|write| write.key.clone()).collect::<Vec<_>>();
        assert!(batches.iter().map(customers).all(|keys| keys.is_sorted()));
        assert!(super::batches(Vec::new()).is_empty());
    }
}
