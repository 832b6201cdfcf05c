//! Subscribers as a feed, as a whole, and those of given customers. One e-mail is asked for at a time: where many are asked for,
//! the whole list is read if that takes fewer calls, or if only the whole list can tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::Deserialize;

use super::super::beside::SharedBeside;
use super::super::paging::{Paging, Step};
use super::super::wire::{Listing, Meta, Object, Shown, number};
use super::super::{BigCommerce, IN_FLIGHT_PER_ENDPOINT, Lane, PAGE_ROWS, Paid, query};
use super::{SubscriberRow, comparable};
use crate::connector::{End, Page};
use crate::http::{Answer, encoded};
use crate::model::{Failure, Observed, Timestamp};

/// What is kept of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Subscribed {
    pub(super) id: u64,
    pub(super) email: String,
    /// None: not shown.
    pub(super) consents: Option<BTreeSet<String>>,
    pub(super) modified: Option<Timestamp>,
}

/// Subscribers by their e-mail as it is compared.
pub(in super::super) type Subscribers = HashMap<String, Subscribed>;

/// What the last whole read found.
#[derive(Debug, Default)]
pub(in super::super) struct Known {
    /// How many pages it took; none before one was read.
    pages: Option<usize>,
    /// Somebody's e-mail has capital letters: whether asking for an e-mail finds it whatever its case is not documented.
    has_capitals: bool,
}

/// A customer's e-mail.
#[derive(Debug, Deserialize)]
struct EmailRow<'a> {
    #[serde(deserialize_with = "number")]
    id: u64,
    #[serde(borrow, default)]
    email: Shown<'a>,
}

/// One page of subscribers.
struct SubscribersPage {
    ids: Vec<u64>,
    modified: Vec<Option<Timestamp>>,
    subscribed: Vec<Subscribed>,
    meta: Meta,
    date: Option<Timestamp>,
    clock: Option<Timestamp>,
}

impl BigCommerce {
    /// Subscribers that changed since, as their customers.
    pub(in super::super) fn read_subscribers(&self, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        stream::try_unfold(Some(Paging::default()), move |walk| async move {
            let Some(mut paging) = walk else { return Ok(None) };
            let paid = Paid::in_lane(Lane::Fresh);
            let query = query::subscribers(Some(since), None) + &paging.query();
            let read = self.subscribers_page(&query, paid).await?;
            paging.dated(read.date, read.modified.iter().copied());
            let end = self.step(&mut paging, &self.endpoints.subscribers, &read.ids, &read.meta)?;
            let observed = self.as_customers(&read.subscribed, paid).await?;
            let Some(clock) = read.clock else { return Err(self.undated(&self.endpoints.subscribers)) };
            Ok(Some((Page { observed, clock, end }, end.is_none().then_some(paging))))
        })
        .boxed()
    }

    /// All subscribers, into what a sweep knows beside the customers. The page that comes of it shows nobody: it tells the time
    /// before they were read.
    pub(in super::super) fn read_all_subscribers(&self, beside: SharedBeside) -> BoxStream<'_, Result<Page, Failure>> {
        let reading = async move {
            let (subscribers, clock, end) = self.all_subscribers(Paid::in_lane(Lane::Sweep)).await?;
            let mut beside = beside.lock().unwrap_or_else(PoisonError::into_inner);
            beside.subscribers = subscribers;
            beside.torn |= end == End::Torn;
            let Some(clock) = clock else { return Err(self.undated(&self.endpoints.subscribers)) };
            Ok(Page { observed: Vec::new(), clock, end: None })
        };
        stream::once(reading).boxed()
    }

    /// All subscribers, the clock before the first page, and whether that is all.
    async fn all_subscribers(&self, paid: Paid<'_>) -> Result<(Subscribers, Option<Timestamp>, End), Failure> {
        let endpoint = &self.endpoints.subscribers;
        let (mut paging, mut pages) = (Paging::default(), 0);
        let (mut all, mut clock) = (Subscribers::new(), None);
        loop {
            let query = query::subscribers(None, None) + &paging.query();
            let read = self.subscribers_page(&query, paid).await?;
            paging.dated(read.date, read.modified.iter().copied());
            pages += 1;
            clock = clock.or(read.clock);
            all.extend(read.subscribed.into_iter().map(|subscribed| (comparable(&subscribed.email), subscribed)));
            match paging.turned(&read.ids, &read.meta).map_err(|why| self.senseless(endpoint, why))? {
                Step::More => {}
                Step::Again => {
                    all.clear();
                    pages = 0;
                }
                Step::End(end) => {
                    let has_capitals = all.iter().any(|(compared, subscribed)| *compared != subscribed.email);
                    *self.subscribers.lock().unwrap_or_else(PoisonError::into_inner) =
                        Known { pages: Some(pages), has_capitals };
                    return Ok((all, clock, end));
                }
            }
        }
    }

    async fn subscribers_page(&self, query: &str, paid: Paid<'_>) -> Result<SubscribersPage, Failure> {
        let parse = |answer: &Answer| {
            let Object(listing) = answer.json::<Object<Listing<SubscriberRow<'_>>>>()?;
            Ok(SubscribersPage {
                ids: listing.data.iter().map(|row| row.id).collect(),
                modified: listing.data.iter().map(SubscriberRow::modified).collect(),
                subscribed: listing.data.iter().map(SubscriberRow::subscribed).collect(),
                meta: listing.meta,
                date: answer.date,
                clock: answer.clock,
            })
        };
        self.read(&self.endpoints.subscribers, query, paid, parse).await
    }

    /// What subscribers show, of the customers who have their e-mails.
    async fn as_customers(&self, subscribed: &[Subscribed], paid: Paid<'_>) -> Result<Vec<Observed>, Failure> {
        let by_email: BTreeMap<String, &Subscribed> =
            subscribed.iter().map(|subscribed| (comparable(&subscribed.email), subscribed)).collect();
        if by_email.iter().any(|(compared, subscribed)| *compared != subscribed.email) {
            self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).has_capitals = true;
        }
        // Whether e-mails are compared letter by letter is not documented: both spellings are asked for.
        let emails: BTreeSet<&str> = by_email
            .iter()
            .flat_map(|(compared, subscribed)| [compared.as_str(), subscribed.email.as_str()])
            .filter(|email| !email.is_empty() && !email.contains(','))
            .collect();
        let emails: Vec<String> = emails.into_iter().map(encoded).collect();
        let mut observed = Vec::new();
        let mut rest = emails.as_slice();
        while !rest.is_empty() {
            let (group, later) = query::fitting_texts(rest, PAGE_ROWS / 2);
            for (customer, email) in self.emails_walked(&query::customers_by_email(group), paid).await? {
                let Some(subscribed) = by_email.get(&comparable(&email)) else { continue };
                let mut record = self.blank(customer);
                self.show_consents(&mut record.cells, &email, Some(subscribed));
                observed.push(record);
            }
            rest = later;
        }
        Ok(observed)
    }

    /// Customers and their e-mails.
    async fn emails_walked(&self, base: &str, paid: Paid<'_>) -> Result<HashMap<u64, String>, Failure> {
        let endpoint = &self.endpoints.customers;
        let mut paging = Paging::default();
        let mut emails = HashMap::new();
        loop {
            let parse = |answer: &Answer| {
                let Object(listing) = answer.json::<Object<Listing<EmailRow<'_>>>>()?;
                let rows: Vec<(u64, String)> =
                    listing.data.iter().map(|row| (row.id, row.email.text().to_owned())).collect();
                Ok((rows, listing.meta))
            };
            let query = format!("{base}{}", paging.query());
            let (rows, meta) = self.read(endpoint, &query, paid, parse).await?;
            let ids: Vec<u64> = rows.iter().map(|(id, _)| *id).collect();
            emails.extend(rows);
            match paging.turned(&ids, &meta).map_err(|why| self.senseless(endpoint, why))? {
                Step::More => {}
                Step::Again => emails.clear(),
                Step::End(End::Whole) => return Ok(emails),
                Step::End(End::Torn) => return Err(self.restless("customers")),
            }
        }
    }

    /// Shows of records that were asked for what their e-mails have consented to.
    pub(in super::super) async fn show_subscribers(
        &self,
        records: &mut HashMap<u64, Observed>,
        paid: Paid<'_>,
    ) -> Result<(), Failure> {
        let mut ids: Vec<u64> = records.keys().copied().collect();
        ids.sort_unstable();
        let mut emails: HashMap<u64, String> = HashMap::new();
        let mut rest = ids.as_slice();
        while !rest.is_empty() {
            let (group, later) = query::fitting(rest, &[], self.ids_per_call());
            match self.emails_walked(&query::customers_by_id(group, &[]), paid).await {
                Err(failure) if self.asks_for_fewer(&failure, group) => continue,
                found => emails.extend(found?),
            }
            rest = later;
        }
        emails.retain(|_, email| !comparable(email).is_empty());
        let wanted: BTreeSet<String> = emails.values().map(|email| comparable(email)).collect();
        let subscribers = self.subscribers_of(&wanted, paid).await?;
        for (customer, record) in records {
            if let Some(email) = emails.get(customer) {
                self.show_consents(&mut record.cells, email, subscribers.get(&comparable(email)));
            }
        }
        Ok(())
    }

    async fn subscribers_of(&self, emails: &BTreeSet<String>, paid: Paid<'_>) -> Result<Subscribers, Failure> {
        let (pages, certain) = {
            let known = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            (known.pages.unwrap_or(usize::MAX), known.pages.is_some() && !known.has_capitals)
        };
        let mut found = Subscribers::new();
        if emails.len() <= pages {
            let each = stream::iter(emails.clone()).map(|email| async move {
                let query = query::subscribers(None, Some(&encoded(&email)));
                let read = self.subscribers_page(&query, paid).await?;
                Ok::<_, Failure>(read.subscribed.into_iter().find(|one| comparable(&one.email) == email))
            });
            let each: Vec<Option<Subscribed>> = each.buffer_unordered(IN_FLIGHT_PER_ENDPOINT).try_collect().await?;
            found.extend(each.into_iter().flatten().map(|subscribed| (comparable(&subscribed.email), subscribed)));
            // Somebody may be a subscriber in other letters: once the whole list has shown that nobody is, this is enough.
            if certain || found.len() == emails.len() {
                return Ok(found);
            }
        }
        match self.all_subscribers(paid).await? {
            (all, _, End::Whole) => Ok(all),
            (_, _, End::Torn) => Err(self.restless("subscribers")),
        }
    }
}
