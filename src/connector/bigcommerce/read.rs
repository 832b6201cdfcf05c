//! Feeds, sweeps and direct reads of customers and of attribute values.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use futures::stream::{self, BoxStream, StreamExt};

use super::definitions::Attributes;
use super::fields::Field;
use super::paging::{Paging, Step};
use super::wire::{CustomerRow, Listing, Meta, Object, ValueRow};
use super::{BigCommerce, FEED_ATTRIBUTE_VALUES, FEED_CUSTOMERS, Lane, Paid, query};
use crate::connector::{End, Page};
use crate::http::{Answer, Endpoint, is_too_large};
use crate::model::{Cell, Class, Existence, Failure, Key, Observed, Timestamp};

/// Values by (customer, attribute).
pub(super) type Values = HashMap<(u64, u64), Cell>;

/// A list of so few ids is not what a call was refused for.
const IDS_ALWAYS_TAKEN: usize = 10;

/// One page of customers, and which of them do not show all their values.
struct CustomersPage {
    ids: Vec<u64>,
    observed: Vec<Observed>,
    incomplete: Vec<usize>,
    meta: Meta,
    clock: Option<Timestamp>,
}

impl BigCommerce {
    pub(super) fn read_changes(&self, feed: &'static str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        match feed {
            FEED_CUSTOMERS => self.read_customers(Some(since), Lane::Fresh),
            FEED_ATTRIBUTE_VALUES => self.read_values(since),
            other => {
                let sentence = format!("a BigCommerce store has no feed `{other}`; please report this as a defect");
                stream::iter([Err(Failure::new(Class::Broken, sentence))]).boxed()
            }
        }
    }

    /// All customers, or those that changed since, with their mapped values.
    pub(super) fn read_customers(&self, since: Option<Timestamp>, lane: Lane) -> BoxStream<'_, Result<Page, Failure>> {
        stream::try_unfold(Some(Paging::default()), move |walk| async move {
            let Some(mut paging) = walk else { return Ok(None) };
            let attributes = self.attributes()?;
            let paid = Paid::in_lane(lane);
            let mut read = loop {
                let query = query::customers(since, !attributes.ids().is_empty(), paging.limit()) + &paging.query();
                match self.customers_page(&query, &attributes, paid).await {
                    Err(failure) if is_too_much(&failure) && paging.shrink() => {}
                    read => break read?,
                }
            };
            let end = self.step(&mut paging, &self.endpoints.customers, &read.ids, &read.meta)?;
            self.complete(&mut read, &attributes, paid).await?;
            let Some(clock) = read.clock else { return Err(self.undated(&self.endpoints.customers)) };
            let page = Page { observed: read.observed, clock, end };
            Ok(Some((page, end.is_none().then_some(paging))))
        })
        .boxed()
    }

    /// Mapped values that changed since. A row shows one value of a customer, and nothing of its others.
    fn read_values(&self, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
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

    /// Reads these records: attribute values alone where nothing else is asked, which does not show whether a customer
    /// without values exists (it is then taken to).
    pub(super) async fn read_directly(
        &self,
        keys: &[Key],
        fields: &[usize],
        paid: Paid<'_>,
    ) -> Result<Vec<Observed>, Failure> {
        let attributes = self.attributes()?;
        let mut asked: Vec<u64> = fields.iter().filter_map(|field| attributes.of_field(*field)).collect();
        asked.sort_unstable();
        asked.dedup();
        let customer_asked = |field: &usize| matches!(self.fields.get(*field), Some(Field::Customer(_)));
        let mut ids: Vec<u64> = keys.iter().filter_map(id_of).collect();
        ids.sort_unstable();
        ids.dedup();

        let mut records: HashMap<u64, Observed> = HashMap::with_capacity(ids.len());
        if asked.is_empty() || fields.iter().any(customer_asked) {
            let mut rest = ids.as_slice();
            while !rest.is_empty() {
                let (group, later) = query::fitting(rest, &[], self.ids_per_call.load(Ordering::Relaxed));
                let found = match self.customers_by_id(group, &attributes, !asked.is_empty(), paid).await {
                    Err(failure) if self.asks_for_fewer(&failure, group) => continue,
                    found => found?,
                };
                rest = later;
                records.extend(found.into_iter().filter_map(|record| Some((id_of(&record.key)?, record))));
            }
        } else {
            let mut values = self.values_of(&ids, &asked, paid).await?;
            for id in &ids {
                let mut record = Observed { existence: Existence::NotSaid, ..self.blank(*id) };
                show_all(&mut record, *id, &attributes, &mut values);
                records.insert(*id, record);
            }
        }
        let answer = |key: &Key| {
            let record = id_of(key).and_then(|id| records.get(&id));
            let Some(record) = record else {
                let cells = vec![Cell::default(); self.fields.len()];
                return Observed { key: key.clone(), existence: Existence::Gone, modified: None, cells };
            };
            let mut record = Observed { key: key.clone(), ..record.clone() };
            for (field, cell) in record.cells.iter_mut().enumerate() {
                if !fields.contains(&field) {
                    *cell = Cell::default();
                }
            }
            record
        };
        Ok(keys.iter().map(answer).collect())
    }

    /// Values of these customers, complete: what is not there was absent when the store was asked.
    pub(super) async fn values_of(
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

    /// How many ids one call takes is not documented: where many are refused, half as many are asked for, from then on.
    fn asks_for_fewer(&self, failure: &Failure, asked: &[u64]) -> bool {
        let fewer = asked.len() > IDS_ALWAYS_TAKEN && matches!(failure.status, Some(400 | 413 | 414 | 422 | 431));
        if fewer {
            self.ids_per_call.fetch_min(asked.len() / 2, Ordering::Relaxed);
        }
        fewer
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

    /// A list that changed every time while it was read.
    pub(super) fn restless(&self, what: &str) -> Failure {
        let sentence = format!(
            "the {what} of store {} changed every time while they were read; they are read again later",
            self.store_hash
        );
        Failure::new(Class::Retry, sentence)
    }

    async fn customers_by_id(
        &self,
        ids: &[u64],
        attributes: &Attributes,
        with_values: bool,
        paid: Paid<'_>,
    ) -> Result<Vec<Observed>, Failure> {
        let base = query::customers_by_id(ids, with_values);
        let mut paging = Paging::default();
        let mut records = Vec::with_capacity(ids.len());
        loop {
            let query = format!("{base}{}", paging.query());
            let mut read = self.customers_page(&query, attributes, paid).await?;
            if with_values {
                self.complete(&mut read, attributes, paid).await?;
            }
            records.append(&mut read.observed);
            let endpoint = &self.endpoints.customers;
            match paging.turned(&read.ids, &read.meta).map_err(|why| self.senseless(endpoint, why))? {
                Step::More => {}
                Step::Again => records.clear(),
                Step::End(End::Whole) => return Ok(records),
                Step::End(End::Torn) => return Err(self.restless("customers")),
            }
        }
    }

    async fn customers_page(
        &self,
        query: &str,
        attributes: &Attributes,
        paid: Paid<'_>,
    ) -> Result<CustomersPage, Failure> {
        let parse = |answer: &Answer| {
            let Object(listing) = answer.json::<Object<Listing<CustomerRow<'_>>>>()?;
            let mut page = CustomersPage {
                ids: Vec::with_capacity(listing.data.len()),
                observed: Vec::with_capacity(listing.data.len()),
                incomplete: Vec::new(),
                meta: listing.meta,
                clock: answer.clock,
            };
            for row in &listing.data {
                let (record, complete) = self.record(row, attributes);
                if !complete {
                    page.incomplete.push(page.observed.len());
                }
                page.ids.push(row.id);
                page.observed.push(record);
            }
            Ok(page)
        };
        self.read(&self.endpoints.customers, query, paid, parse).await
    }

    /// What a customer shows, and whether that is all there is of its mapped values.
    fn record(&self, row: &CustomerRow<'_>, attributes: &Attributes) -> (Observed, bool) {
        let mut record = self.blank(row.id);
        record.modified = row.modified();
        let shown = row.attributes.as_deref().unwrap_or_default();
        // The documentation limits the list to 10 without saying whether answers are cut: the count tells.
        let whole =
            row.attribute_count.is_some_and(|count| u64::try_from(shown.len()).is_ok_and(|shown| shown == count));
        for (index, (field, cell)) in self.fields.iter().zip(&mut record.cells).enumerate() {
            match field {
                Field::Customer(field) => *cell = field.cell(row),
                Field::Attribute(_) if whole && attributes.of_field(index).is_some() => *cell = Cell::absent(),
                Field::Attribute(_) | Field::Unusable(_) => {}
            }
        }
        for value in shown {
            for field in attributes.fields_of(value.attribute_id) {
                record.cells[field] = value.cell();
            }
        }
        let unseen = |field: usize| attributes.of_field(field).is_some() && record.cells[field].seen.is_unseen();
        let complete = whole || !(0..self.fields.len()).any(unseen);
        (record, complete)
    }

    /// Reads again, in bulk, the values of the customers that do not show all of theirs.
    async fn complete(&self, page: &mut CustomersPage, attributes: &Attributes, paid: Paid<'_>) -> Result<(), Failure> {
        if page.incomplete.is_empty() {
            return Ok(());
        }
        let ids: Vec<u64> = page.incomplete.iter().map(|index| page.ids[*index]).collect();
        let mut values = self.values_of(&ids, attributes.ids(), paid).await?;
        for index in &page.incomplete {
            show_all(&mut page.observed[*index], page.ids[*index], attributes, &mut values);
        }
        Ok(())
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

    fn blank(&self, customer: u64) -> Observed {
        Observed {
            key: Key::new(customer.to_string()),
            existence: Existence::Present,
            modified: None,
            cells: vec![Cell::default(); self.fields.len()],
        }
    }

    fn step(&self, paging: &mut Paging, endpoint: &Endpoint, ids: &[u64], meta: &Meta) -> Result<Option<End>, Failure> {
        match paging.turned(ids, meta).map_err(|why| self.senseless(endpoint, why))? {
            Step::More | Step::Again => Ok(None),
            Step::End(end) => Ok(Some(end)),
        }
    }

    /// An answer that can be read and makes no sense.
    pub(super) fn senseless(&self, endpoint: &Endpoint, why: &str) -> Failure {
        let sentence = format!(
            "{} of store {} answered {why}; the read was ended, please report this as a defect",
            endpoint.path(),
            self.store_hash
        );
        Failure::new(Class::Broken, sentence)
    }

    pub(super) fn undated(&self, endpoint: &Endpoint) -> Failure {
        let sentence = format!(
            "{} of store {} answered without a `Date`, and `/v2/time` does not tell the time, so that nobody knows up to \
             when it was read; check what stands between Attune and BigCommerce",
            endpoint.path(),
            self.store_hash
        );
        Failure::new(Class::Broken, sentence)
    }
}

/// Whether a page with all its values may have been too much: for the store to make, or for us to read.
fn is_too_much(failure: &Failure) -> bool {
    matches!(failure.status, Some(500 | 502 | 504)) || is_too_large(failure)
}

/// Shows every mapped attribute of a record that was read completely: a value, or absent.
fn show_all(record: &mut Observed, customer: u64, attributes: &Attributes, values: &mut Values) {
    for attribute in attributes.ids() {
        let cell = values.remove(&(customer, *attribute)).unwrap_or_else(Cell::absent);
        for field in attributes.fields_of(*attribute) {
            record.cells[field] = cell.clone();
        }
    }
}

/// The customer that a key names; none where it cannot be one.
pub(super) fn id_of(key: &Key) -> Option<u64> {
    key.as_str().parse().ok()
}
