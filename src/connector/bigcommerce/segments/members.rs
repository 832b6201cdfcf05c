//! The feed of memberships: nothing dates them and nothing tells of a change, so who is in is read as a whole, by every tenth
//! poll, and compared with who was in before. Whoever left before this process began is found by a sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::Deserialize;

use super::super::paging::{Paging, Step};
use super::super::wire::{Listing, Object, number};
use super::super::{BigCommerce, Lane, PAGE_ROWS, Paid};
use super::Segments;
use crate::connector::{End, Page};
use crate::http::Answer;
use crate::model::{Existence, Failure, Observed, Timestamp};

/// Of so many polls one reads who is in.
const POLLS_PER_READ: u32 = 10;

/// Who was in a segment when it was read last, by its id, in order: eight bytes for each member.
#[derive(Debug, Default)]
pub(in super::super) struct Roster {
    polls: u32,
    members: BTreeMap<String, Vec<u64>>,
}

/// A shopper profile in a segment.
#[derive(Debug, Deserialize)]
struct MemberRow {
    #[serde(deserialize_with = "number")]
    customer_id: u64,
}

/// Who is in a segment.
enum Members {
    /// These, in order, and the store's clock before the first page.
    Are(Vec<u64>, Option<Timestamp>),
    /// The list changed every time while it was read.
    Restless,
    /// There is no such segment any more.
    Gone,
}

impl BigCommerce {
    pub(in super::super) fn read_members(&self, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        let pages = async move { Ok(stream::iter(self.members_pages(since).await?.into_iter().map(Ok))) };
        stream::once(pages).try_flatten().boxed()
    }

    async fn members_pages(&self, since: Timestamp) -> Result<Vec<Page>, Failure> {
        let is_due = {
            let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
            let polls = roster.polls;
            roster.polls = (polls + 1) % POLLS_PER_READ;
            polls == 0
        };
        let segments = self.segments();
        let clock = self.clock.just_now();
        if let (false, Some(clock)) = (is_due && !segments.ids().is_empty(), clock) {
            return Ok(vec![Page { observed: Vec::new(), clock, end: Some(End::Whole) }]);
        }
        let mut now: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let (mut clock, mut end) = (None, End::Whole);
        for id in segments.ids() {
            match self.members_of(id).await? {
                Members::Are(members, asked) => {
                    clock = clock.or(asked);
                    now.insert(id.to_owned(), members);
                }
                Members::Restless => end = End::Torn,
                Members::Gone => {}
            }
        }
        let clock = clock.or_else(|| self.clock.just_now()).unwrap_or(since);
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let observed = self.changed(&segments, &roster.members, &now);
        roster.members.extend(now);
        roster.members.retain(|id, _| segments.ids().contains(id.as_str()));
        let mut pages: Vec<Page> =
            observed.chunks(PAGE_ROWS).map(|observed| Page { observed: observed.to_vec(), clock, end: None }).collect();
        pages.push(Page { observed: Vec::new(), clock, end: Some(end) });
        Ok(pages)
    }

    /// What is shown of those who joined or left.
    fn changed(
        &self,
        segments: &Segments,
        before: &BTreeMap<String, Vec<u64>>,
        now: &BTreeMap<String, Vec<u64>>,
    ) -> Vec<Observed> {
        let mut moved: BTreeSet<u64> = BTreeSet::new();
        for (id, members) in now {
            let known = before.get(id).map(Vec::as_slice).unwrap_or_default();
            moved.extend(members.iter().filter(|member| known.binary_search(member).is_err()));
            moved.extend(known.iter().filter(|member| members.binary_search(member).is_err()));
        }
        let shown = |customer: u64| {
            let is_in = |id: &str| now.get(id).map(|members| members.binary_search(&customer).is_ok());
            // A customer that was deleted left, too: this is no sign of life.
            let mut record = Observed { existence: Existence::NotSaid, ..self.blank(customer) };
            for (index, field) in self.fields.iter().enumerate() {
                if field.is_about_segments() {
                    record.cells[index] = segments.cell(index, field, is_in);
                }
            }
            record
        };
        moved.into_iter().map(shown).collect()
    }

    async fn members_of(&self, id: &str) -> Result<Members, Failure> {
        let endpoint = self.endpoints.members.at(format!("/v3/segments/{id}/shopper-profiles"));
        let mut paging = Paging::default();
        let (mut members, mut clock) = (Vec::new(), None);
        loop {
            let query = format!("limit={PAGE_ROWS}{}", paging.query());
            let parse = |answer: &Answer| {
                let Object(listing) = answer.json::<Object<Listing<MemberRow>>>()?;
                let ids: Vec<u64> = listing.data.iter().map(|row| row.customer_id).collect();
                Ok((ids, listing.meta, answer.clock))
            };
            let (ids, meta, asked) = match self.read(&endpoint, &query, Paid::in_lane(Lane::Fresh), parse).await {
                Err(failure) if failure.status == Some(404) => return Ok(Members::Gone),
                read => read?,
            };
            clock = clock.or(asked);
            let step = paging.turned(&ids, &meta).map_err(|why| self.senseless(&endpoint, why))?;
            members.extend(ids);
            match step {
                Step::More => {}
                Step::Again => members.clear(),
                Step::End(End::Whole) => {
                    members.sort_unstable();
                    members.dedup();
                    return Ok(Members::Are(members, clock));
                }
                Step::End(End::Torn) => return Ok(Members::Restless),
            }
        }
    }
}
