//! The feed of attribute values, and the values of given customers.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use futures::stream::{self, BoxStream, StreamExt};

use super::super::paging::{Paging, Step};
use super::super::wire::{Listing, Object, ValueRow};
use super::super::{BigCommerce, Lane, Paid, query};
use super::Attributes;
use crate::connector::{End, Page};
use crate::http::Answer;
use crate::model::{Cell, Failure, Observed, Timestamp};

/// Values by (customer, attribute).
pub(in super::super) type Values = HashMap<(u64, u64), Cell>;

impl BigCommerce {
    /// Mapped values that changed since. A row shows one value of a customer, and nothing of its others.
    pub(in super::super) fn read_values(&self, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        stream::try_unfold(Some(Paging::default()), move |walk| async move {
            let Some(mut paging) = walk else { return Ok(None) };
            let endpoint = &self.endpoints.values;
            let attributes = self.attributes()?;
            if attributes.ids().is_empty() {
                // Nothing can be asked for, so the cursor stays where it is.
                return Ok(Some((Page { observed: Vec::new(), clock: since, end: Some(End::Whole) }, None)));
            }
            let query = query::values_since(attributes.ids(), since) + &paging.query();
            let parse = |answer: &Answer| {
                let Object(listing) = answer.json::<Object<Listing<ValueRow<'_>>>>()?;
                let mut ids = Vec::with_capacity(listing.data.len());
                for row in &listing.data {
                    ids.push(row.id.ok_or_else(|| answer.unreadable("values without their ids"))?);
                }
                let observed = self.by_customer(&listing.data, &attributes, answer)?;
                let modified: Vec<_> = listing.data.iter().map(ValueRow::modified).collect();
                Ok((ids, modified, observed, listing.meta, (answer.date, answer.clock)))
            };
            let paid = Paid::in_lane(Lane::Fresh);
            let (ids, modified, observed, meta, (date, clock)) = self.read(endpoint, &query, paid, parse).await?;
            paging.dated(date, modified.into_iter());
            let end = self.step(&mut paging, endpoint, &ids, &meta)?;
            let Some(clock) = clock else { return Err(self.undated(endpoint)) };
            Ok(Some((Page { observed, clock, end }, end.is_none().then_some(paging))))
        })
        .boxed()
    }

    /// Values of these customers, complete: what is not there was absent when the store was asked.
    pub(in super::super) async fn values_of(
        &self,
        customers: &[u64],
        attributes: &[u64],
        paid: Paid<'_>,
    ) -> Result<Values, Failure> {
        let mut values = Values::new();
        let mut rest = customers;
        while !rest.is_empty() {
            let (group, later) = query::fitting(rest, attributes, self.ids_per_call.load(Ordering::Relaxed));
            match self.values_of_group(group, attributes, paid).await {
                Err(failure) if self.asks_for_fewer(&failure, group) => continue,
                found => values.extend(found?),
            }
            rest = later;
        }
        Ok(values)
    }

    async fn values_of_group(
        &self,
        customers: &[u64],
        attributes: &[u64],
        paid: Paid<'_>,
    ) -> Result<Vec<((u64, u64), Cell)>, Failure> {
        let endpoint = &self.endpoints.values;
        let base = query::values_of(customers, attributes);
        let mut paging = Paging::default();
        let mut seen = Vec::new();
        loop {
            let parse = |answer: &Answer| {
                let Object(listing) = answer.json::<Object<Listing<ValueRow<'_>>>>()?;
                let mut ids = Vec::with_capacity(listing.data.len());
                let mut cells = Vec::with_capacity(listing.data.len());
                for row in &listing.data {
                    let id = row.id.ok_or_else(|| answer.unreadable("values without their ids"))?;
                    let customer = row.customer_id.ok_or_else(|| answer.unreadable("values of no customer"))?;
                    ids.push(id);
                    cells.push(((customer, row.attribute_id), row.cell()));
                }
                Ok((ids, cells, listing.meta, answer.date))
            };
            let query = format!("{base}{}", paging.query());
            let (ids, cells, meta, date) = self.read(endpoint, &query, paid, parse).await?;
            paging.dated(date, cells.iter().map(|(_, cell)| cell.modified));
            seen.extend(cells);
            match paging.turned(&ids, &meta).map_err(|why| self.senseless(endpoint, why))? {
                Step::More => {}
                Step::Again => seen.clear(),
                Step::End(End::Whole) => return Ok(seen),
                Step::End(End::Torn) => return Err(self.restless("attribute values")),
            }
        }
    }

    /// Rows of a page of values, one observation for each customer.
    fn by_customer(
        &self,
        rows: &[ValueRow<'_>],
        attributes: &Attributes,
        answer: &Answer,
    ) -> Result<Vec<Observed>, Failure> {
        let mut observed: Vec<Observed> = Vec::new();
        let mut places: HashMap<u64, usize> = HashMap::new();
        for row in rows {
            let customer = row.customer_id.ok_or_else(|| answer.unreadable("values of no customer"))?;
            let place = *places.entry(customer).or_insert_with(|| {
                observed.push(self.blank(customer));
                observed.len() - 1
            });
            for field in attributes.fields_of(row.attribute_id) {
                observed[place].cells[field] = row.cell();
            }
        }
        Ok(observed)
    }
}

/// Shows every mapped attribute of a record that was read completely: a value, or absent.
pub(in super::super) fn show_all(record: &mut Observed, customer: u64, attributes: &Attributes, values: &mut Values) {
    for attribute in attributes.ids() {
        let cell = values.remove(&(customer, *attribute)).unwrap_or_else(Cell::absent);
        for field in attributes.fields_of(*attribute) {
            record.cells[field] = cell.clone();
        }
    }
}
