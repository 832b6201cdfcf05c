//! Metafields as a feed, as a whole, and of given customers. There is no list of several customers: where many are asked for, the
//! whole list is read if that takes fewer calls.

use std::collections::{HashMap, HashSet, hash_map::Entry};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::super::beside::{Beside, SharedBeside};
use super::super::paging::{Paging, Step};
use super::super::wire::{Listing, Meta, Object};
use super::super::{BigCommerce, IN_FLIGHT_PER_ENDPOINT, Lane, PAGE_ROWS, Paid, query};
use super::{Cells, MetafieldRow};
use crate::connector::{End, Page};
use crate::http::{Answer, Endpoint};
use crate::model::{Cell, Existence, Failure, Observed, Timestamp};

/// One page of metafields.
struct MetafieldsPage {
    ids: Vec<u64>,
    modified: Vec<Option<Timestamp>>,
    cells: Cells,
    meta: Meta,
    date: Option<Timestamp>,
    clock: Option<Timestamp>,
}

impl BigCommerce {
    /// Mapped metafields that changed since, or all; of all it is noted in `beside` whose were shown.
    pub(in super::super) fn read_metafields(
        &self,
        since: Option<Timestamp>,
        lane: Lane,
        beside: Option<SharedBeside>,
    ) -> BoxStream<'_, Result<Page, Failure>> {
        stream::try_unfold(Some((Paging::default(), beside)), move |walk| async move {
            let Some((mut paging, beside)) = walk else { return Ok(None) };
            let endpoint = &self.endpoints.metafields;
            let query = query::metafields(&self.metafield_filter(), since) + &paging.query();
            let read = self.metafields_page(endpoint, &query, Paid::in_lane(lane)).await?;
            paging.dated(read.date, read.modified.iter().copied());
            let step = paging.turned(&read.ids, &read.meta).map_err(|why| self.senseless(endpoint, why))?;
            if let Some(beside) = &beside {
                note(&mut beside.lock().unwrap_or_else(PoisonError::into_inner), &read.cells, step);
            }
            let Some(clock) = read.clock else { return Err(self.undated(endpoint)) };
            let end = if let Step::End(end) = step { Some(end) } else { None };
            let page = Page { observed: self.by_holder(read.cells), clock, end };
            Ok(Some((page, end.is_none().then_some((paging, beside)))))
        })
        .boxed()
    }

    async fn metafields_page(
        &self,
        endpoint: &Endpoint,
        query: &str,
        paid: Paid<'_>,
    ) -> Result<MetafieldsPage, Failure> {
        let parse = |answer: &Answer| {
            let Object(listing) = answer.json::<Object<Listing<MetafieldRow<'_>>>>()?;
            Ok(MetafieldsPage {
                ids: listing.data.iter().map(|row| row.id).collect(),
                modified: listing.data.iter().map(MetafieldRow::modified).collect(),
                cells: self.metafield_cells(&listing.data),
                meta: listing.meta,
                date: answer.date,
                clock: answer.clock,
            })
        };
        self.read(endpoint, query, paid, parse).await
    }

    /// One observation for each customer. Nobody checks whether the customer of a metafield exists.
    fn by_holder(&self, cells: Cells) -> Vec<Observed> {
        let mut records: std::collections::BTreeMap<u64, Observed> = std::collections::BTreeMap::new();
        for ((customer, field), cell) in cells {
            let record = records
                .entry(customer)
                .or_insert_with(|| Observed { existence: Existence::NotSaid, ..self.blank(customer) });
            record.cells[field] = cell;
        }
        records.into_values().collect()
    }

    /// Mapped metafields of these customers, complete: what is not there was absent when the store was asked.
    pub(in super::super) async fn metafields_of(&self, customers: &[u64], paid: Paid<'_>) -> Result<Cells, Failure> {
        let whole = self.metafield_pages.load(Ordering::Relaxed) < u64::try_from(customers.len()).unwrap_or(u64::MAX);
        if whole {
            let base = query::metafields(&self.metafield_filter(), None);
            return self.metafields_walked(&self.endpoints.metafields, &base, paid).await;
        }
        let of_each = stream::iter(customers.to_vec()).map(|customer| async move {
            let path = format!("/v3/customers/{customer}/metafields");
            let endpoint = self.endpoints.customer_metafields.at(path);
            let base = query::metafields(&self.metafield_filter(), None);
            match self.metafields_walked(&endpoint, &base, paid).await {
                // A customer that is gone has none.
                Err(failure) if failure.status == Some(404) => Ok(Cells::new()),
                read => read,
            }
        });
        of_each
            .buffer_unordered(IN_FLIGHT_PER_ENDPOINT)
            .try_fold(Cells::new(), |mut all, some| async move {
                all.extend(some);
                Ok(all)
            })
            .await
    }

    async fn metafields_walked(&self, endpoint: &Endpoint, base: &str, paid: Paid<'_>) -> Result<Cells, Failure> {
        let mut paging = Paging::default();
        let mut cells = Cells::new();
        loop {
            let query = format!("{base}{}", paging.query());
            let read = self.metafields_page(endpoint, &query, paid).await?;
            paging.dated(read.date, read.modified.iter().copied());
            for (place, cell) in read.cells {
                match cells.entry(place) {
                    Entry::Vacant(vacant) => drop(vacant.insert(cell)),
                    Entry::Occupied(_) => {}
                }
            }
            match paging.turned(&read.ids, &read.meta).map_err(|why| self.senseless(endpoint, why))? {
                Step::More => {}
                Step::Again => cells.clear(),
                Step::End(End::Whole) => return Ok(cells),
                Step::End(End::Torn) => return Err(self.restless("metafields")),
            }
        }
    }

    /// Shows those of records that were asked for: one that has none holds nothing.
    pub(in super::super) fn show_metafields(&self, records: &mut HashMap<u64, Observed>, cells: &Cells) {
        for (customer, record) in records {
            for (field, _) in self.metafields_mapped() {
                record.cells[field] = cells.get(&(*customer, field)).cloned().unwrap_or_else(Cell::absent);
            }
        }
    }

    /// A whole read has shown so many: what the next one costs.
    pub(in super::super) fn note_metafields(&self, shown: &HashSet<(u64, usize)>) {
        let pages = u64::try_from(shown.len() / PAGE_ROWS).unwrap_or(u64::MAX) + 1;
        self.metafield_pages.store(pages, Ordering::Relaxed);
    }
}

fn note(beside: &mut Beside, cells: &Cells, step: Step) {
    beside.metafields.extend(cells.keys());
    match step {
        Step::More | Step::End(End::Whole) => {}
        Step::Again => beside.metafields.clear(),
        Step::End(End::Torn) => beside.torn = true,
    }
}
