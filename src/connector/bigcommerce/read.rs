//! Feeds, sweeps and direct reads of customers. What a customer shows of a field is told by the field's room, and what its
//! answer alone does not show is read beside it, for a page at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use futures::stream::{self, BoxStream, StreamExt};

use super::addresses::Book;
use super::attributes::{Attributes, show_all};
use super::beside::SharedBeside;
use super::customers::CustomerField;
use super::field::Field;
use super::form_fields;
use super::paging::{Paging, Step};
use super::wire::{CustomerRow, Listing, Meta, Object};
use super::{
    BigCommerce, FEED_ATTRIBUTE_VALUES, FEED_CUSTOMERS, FEED_METAFIELDS, FEED_SEGMENTS, FEED_SUBSCRIBERS, Lane, Paid,
    query,
};
use crate::connector::{End, Page};
use crate::http::{Answer, Endpoint, is_too_large};
use crate::model::{Cell, Class, Existence, Failure, Key, Observed, Timestamp};

/// A list of so few ids is not what a call was refused for.
const IDS_ALWAYS_TAKEN: usize = 10;

/// What is to be shown of customers beside their own fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Included {
    pub(super) attributes: bool,
    pub(super) form_fields: bool,
    pub(super) store_credit: bool,
    pub(super) segments: bool,
    pub(super) addresses: bool,
}

impl Included {
    /// The words of the query.
    pub(super) fn words(self) -> Vec<&'static str> {
        let words = [
            (self.attributes, "attributes"),
            (self.form_fields, "formfields"),
            (self.store_credit, "storecredit"),
            (self.segments, "shopper_profile_id"),
            (self.segments, "segment_ids"),
            (self.addresses, "addresses"),
        ];
        words.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect()
    }
}

/// One page of customers.
pub(super) struct CustomersPage {
    pub(super) ids: Vec<u64>,
    pub(super) observed: Vec<Observed>,
    /// The id of each one's group, where it is shown; 0: none.
    pub(super) groups: Vec<Option<u64>>,
    /// The e-mail of each one, where subscribers are mapped.
    pub(super) emails: Vec<String>,
    /// What each one shows of its addresses, where they are mapped.
    pub(super) books: Vec<Book>,
    /// Those that do not show all their attribute values.
    incomplete: Vec<usize>,
    meta: Meta,
    clock: Option<Timestamp>,
}

impl CustomersPage {
    pub(super) fn by_customer(self) -> BTreeMap<u64, Observed> {
        self.ids.into_iter().zip(self.observed).collect()
    }
}

impl BigCommerce {
    pub(super) fn read_changes(&self, feed: &'static str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        match feed {
            FEED_CUSTOMERS => self.read_customers(Some(since), Lane::Fresh, None),
            FEED_ATTRIBUTE_VALUES => self.read_values(since),
            FEED_SEGMENTS => self.read_members(since),
            FEED_SUBSCRIBERS => self.read_subscribers(since),
            FEED_METAFIELDS => self.read_metafields(Some(since), Lane::Fresh, None),
            other => {
                let sentence = format!("a BigCommerce store has no feed `{other}`; please report this as a defect");
                stream::iter([Err(Failure::new(Class::Broken, sentence))]).boxed()
            }
        }
    }

    /// All customers, or those that changed since, with their mapped values.
    /// With `beside` also what others of their lists have shown or not.
    pub(super) fn read_customers(
        &self,
        since: Option<Timestamp>,
        lane: Lane,
        beside: Option<SharedBeside>,
    ) -> BoxStream<'_, Result<Page, Failure>> {
        stream::try_unfold(Some((Paging::default(), beside)), move |walk| async move {
            let Some((mut paging, beside)) = walk else { return Ok(None) };
            let attributes = self.attributes()?;
            let paid = Paid::in_lane(lane);
            let include = self.included(&attributes, |_| true).words();
            let mut read = loop {
                let query = query::customers(since, &include, paging.limit()) + &paging.query();
                match self.customers_page(&query, &attributes, paid).await {
                    Err(failure) if is_too_much(&failure) && paging.shrink() => {}
                    read => break read?,
                }
            };
            let mut end = self.step(&mut paging, &self.endpoints.customers, &read.ids, &read.meta)?;
            self.complete_values(&mut read, &attributes, paid).await?;
            self.complete_customers(&mut read, paid).await?;
            if let Some(beside) = &beside {
                let whole = self.show_beside(&mut read, beside);
                end = end.map(|end| if whole { end } else { End::Torn });
            }
            let Some(clock) = read.clock else { return Err(self.undated(&self.endpoints.customers)) };
            let page = Page { observed: read.observed, clock, end };
            Ok(Some((page, end.is_none().then_some((paging, beside)))))
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
        let customer_asked = |field: &usize| self.fields.get(*field).is_some_and(Field::is_on_customer);
        let mut ids: Vec<u64> = keys.iter().filter_map(id_of).collect();
        ids.sort_unstable();
        ids.dedup();

        let mut records: HashMap<u64, Observed> = HashMap::with_capacity(ids.len());
        let metafields_asked = fields.iter().any(|field| matches!(self.fields.get(*field), Some(Field::Metafield(_))));
        let consents_asked = fields.iter().any(|field| matches!(self.fields.get(*field), Some(Field::Subscriber(_))));
        let by_itself = !asked.is_empty() || metafields_asked || consents_asked;
        if !by_itself || fields.iter().any(customer_asked) {
            let include = self.included(&attributes, |field| fields.contains(&field));
            let mut rest = ids.as_slice();
            while !rest.is_empty() {
                let (group, later) = query::fitting(rest, &[], self.ids_per_call.load(Ordering::Relaxed));
                let found = match self.customers_by_id(group, include, paid).await {
                    Err(failure) if self.asks_for_fewer(&failure, group) => continue,
                    found => found?,
                };
                rest = later;
                records.extend(found.into_iter().filter_map(|record| Some((id_of(&record.key)?, record))));
            }
        } else {
            let not_said = |id: &u64| (*id, Observed { existence: Existence::NotSaid, ..self.blank(*id) });
            records.extend(ids.iter().map(not_said));
            if !asked.is_empty() {
                let mut values = self.values_of(&ids, &asked, paid).await?;
                for (id, record) in &mut records {
                    show_all(record, *id, &attributes, &mut values);
                }
            }
        }
        if metafields_asked {
            let cells = self.metafields_of(&ids, paid).await?;
            self.show_metafields(&mut records, &cells);
        }
        if consents_asked {
            self.show_subscribers(&mut records, paid).await?;
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

    /// The most ids of one call.
    pub(super) fn ids_per_call(&self) -> usize {
        self.ids_per_call.load(Ordering::Relaxed)
    }

    /// How many ids one call takes is not documented: where many are refused, half as many are asked for, from then on.
    pub(super) fn asks_for_fewer(&self, failure: &Failure, asked: &[u64]) -> bool {
        let fewer = asked.len() > IDS_ALWAYS_TAKEN && matches!(failure.status, Some(400 | 413 | 414 | 422 | 431));
        if fewer {
            self.ids_per_call.fetch_min(asked.len() / 2, Ordering::Relaxed);
        }
        fewer
    }

    /// A list that changed every time while it was read.
    pub(super) fn restless(&self, what: &str) -> Failure {
        let sentence = format!(
            "the {what} of store {} changed every time while they were read; they are read again later",
            self.store_hash
        );
        Failure::new(Class::Retry, sentence)
    }

    /// What must be included to show these of the mapped fields.
    fn included(&self, attributes: &Attributes, wanted: impl Fn(usize) -> bool) -> Included {
        let mut included = Included::default();
        for (index, field) in self.fields.iter().enumerate().filter(|(index, _)| wanted(*index)) {
            match field {
                Field::Attribute(_) => included.attributes |= attributes.of_field(index).is_some(),
                Field::Form(_) => included.form_fields = true,
                Field::Customer(CustomerField::StoreCredit) => included.store_credit = true,
                Field::Segment(_) | Field::Segments => included.segments = true,
                Field::Address(_) => included.addresses = true,
                Field::Customer(_) | Field::Group | Field::Metafield(_) | Field::Subscriber(_) | Field::Unusable(_) => {
                }
            }
        }
        included
    }

    pub(super) async fn customers_by_id(
        &self,
        ids: &[u64],
        include: Included,
        paid: Paid<'_>,
    ) -> Result<Vec<Observed>, Failure> {
        let attributes = self.attributes()?;
        let base = query::customers_by_id(ids, &include.words());
        let mut paging = Paging::default();
        let mut records = Vec::with_capacity(ids.len());
        loop {
            let query = format!("{base}{}", paging.query());
            let mut read = self.customers_page(&query, &attributes, paid).await?;
            if include.attributes {
                self.complete_values(&mut read, &attributes, paid).await?;
            }
            self.complete_customers(&mut read, paid).await?;
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
        let parse = |answer: &Answer| self.customers_of(answer, attributes);
        self.read(&self.endpoints.customers, query, paid, parse).await
    }

    /// The customers that an answer shows, of a read or of a write.
    pub(super) fn customers_of(&self, answer: &Answer, attributes: &Attributes) -> Result<CustomersPage, Failure> {
        let Object(listing) = answer.json::<Object<Listing<CustomerRow<'_>>>>()?;
        let mut page = CustomersPage {
            ids: Vec::with_capacity(listing.data.len()),
            observed: Vec::with_capacity(listing.data.len()),
            groups: Vec::with_capacity(listing.data.len()),
            emails: Vec::new(),
            books: Vec::new(),
            incomplete: Vec::new(),
            meta: listing.meta,
            clock: answer.clock,
        };
        let (by_email, with_addresses) = (self.maps_subscribers(), self.maps_addresses());
        for row in &listing.data {
            let (record, complete) = self.record(row, attributes);
            if !complete {
                page.incomplete.push(page.observed.len());
            }
            page.ids.push(row.id);
            if by_email {
                page.emails.push(row.email.text().to_owned());
            }
            if with_addresses {
                page.books.push(Book::of(row));
            }
            page.groups.push(row.group());
            page.observed.push(record);
        }
        Ok(page)
    }

    /// What the rows of a page do not show by themselves, attribute values apart.
    pub(super) async fn complete_customers(&self, page: &mut CustomersPage, paid: Paid<'_>) -> Result<(), Failure> {
        self.show_groups(page, paid).await?;
        self.show_addresses(page, paid).await?;
        self.doubt_form_fields(page, paid).await
    }

    /// What a customer shows, and whether that is all there is of its mapped values.
    fn record(&self, row: &CustomerRow<'_>, attributes: &Attributes) -> (Observed, bool) {
        let mut record = self.blank(row.id);
        record.modified = row.modified();
        let shown = row.attributes.as_deref().unwrap_or_default();
        // The documentation limits the list to 10 without saying whether answers are cut: the count tells.
        let whole =
            row.attribute_count.is_some_and(|count| u64::try_from(shown.len()).is_ok_and(|shown| shown == count));
        let form_fields = row.form_fields.as_deref().filter(|_| self.maps_form_fields());
        let token = form_fields.and_then(form_fields::token);
        let segments = self.segments();
        for (index, (field, cell)) in self.fields.iter().zip(&mut record.cells).enumerate() {
            match field {
                Field::Customer(field) => *cell = field.cell(row),
                Field::Attribute(_) if whole && attributes.of_field(index).is_some() => *cell = Cell::absent(),
                Field::Form(name) => *cell = form_fields::cell(name, form_fields, token.as_deref()),
                Field::Segment(_) | Field::Segments => *cell = segments.cell_of(index, field, row),
                // Groups are known by their names: see `complete_customers`.
                // Metafields and subscribers have lists of their own.
                Field::Metafield(_) | Field::Subscriber(_) => {}
                Field::Group | Field::Address(_) | Field::Attribute(_) | Field::Unusable(_) => {}
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
    async fn complete_values(
        &self,
        page: &mut CustomersPage,
        attributes: &Attributes,
        paid: Paid<'_>,
    ) -> Result<(), Failure> {
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

    pub(super) fn blank(&self, customer: u64) -> Observed {
        Observed {
            key: Key::new(customer.to_string()),
            existence: Existence::Present,
            modified: None,
            cells: vec![Cell::default(); self.fields.len()],
        }
    }

    pub(super) fn step(
        &self,
        paging: &mut Paging,
        endpoint: &Endpoint,
        ids: &[u64],
        meta: &Meta,
    ) -> Result<Option<End>, Failure> {
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

/// The customer that a key names; none where it cannot be one.
pub(super) fn id_of(key: &Key) -> Option<u64> {
    key.as_str().parse().ok()
}
