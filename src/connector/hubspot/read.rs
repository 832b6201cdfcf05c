//! Reads: what search finds and direct reads show, whole lists for the sweep, what was archived and what was merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::BoxStream;
use reqwest::Method;
use serde_json::{Value, json};

use super::api::{Answered, ROWS_PER_SEARCH, id_in, senseless};
use super::properties::{COMPANY_ID, Place, Property};
use super::rows::{Companies, MERGED_IDS, Row, Rows, company_of, id_of, names, observe};
use super::{FEED_ARCHIVED, FEED_COMPANIES, HubSpot, ROWS_PER_READ};
use crate::connector::paid::Paid;
use crate::connector::{End, Lane, Page, walk};
use crate::http::{Request, encoded};
use crate::model::{Cell, Existence, Failure, Key, Observed, Timestamp};

/// How much later than it happened a change may be found by search: windows reach back as far.
const SEARCH_LAG: std::time::Duration = std::time::Duration::from_secs(30);

/// The rows of a page of archived records.
const ROWS_PER_LIST: usize = 100;

/// The most pages of archived records that a poll reads: they are listed in no order of time. Where there are more, the sweep
/// finds what was deleted.
const ARCHIVED_PAGES_MAX: usize = 10;

/// The most values of one condition of a search.
pub(super) const VALUES_PER_FILTER: usize = 100;

type Properties = Arc<Vec<Option<Property>>>;

/// A read of several pages: where it stands.
struct Walk {
    properties: Properties,
    clock: Timestamp,
    stage: Stage,
}

/// The next call of a read of several pages.
enum Stage {
    /// Records that changed, after an id.
    Changed { since: Timestamp, after: u64 },
    /// All records, from a place in the list.
    Listed { after: Option<String> },
    /// Archived records; in a poll only those since a time, and no more than a few pages.
    Archived { since: Option<Timestamp>, after: Option<String>, pages: usize },
    /// Companies that changed, after an id.
    Companies { since: Timestamp, after: u64 },
    /// Contacts of companies that changed, after an id; then on with the companies.
    OfCompanies { companies: Vec<u64>, contact: u64, since: Timestamp, after: Option<u64> },
}

/// What is read of a list or in a batch, and the ids in it in order.
struct Shown {
    observed: Vec<Observed>,
    clock: Timestamp,
}

impl HubSpot {
    /// One feed.
    pub(super) fn read_changes(&self, feed: &str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        let lagging = since - SEARCH_LAG;
        self.walk(match feed {
            FEED_ARCHIVED => Stage::Archived { since: Some(since), after: None, pages: 0 },
            FEED_COMPANIES => Stage::Companies { since: lagging, after: 0 },
            _ => Stage::Changed { since: lagging, after: 0 },
        })
    }

    /// All records, then those that were archived.
    pub(super) fn read_everything(&self) -> BoxStream<'_, Result<Page, Failure>> {
        self.walk(Stage::Listed { after: None })
    }

    fn walk(&self, stage: Stage) -> BoxStream<'_, Result<Page, Failure>> {
        let begin = async move {
            let properties = self.properties().await?;
            Ok(Walk { properties, clock: Timestamp::EPOCH, stage })
        };
        walk::pages(begin, move |walk| self.next_page(walk))
    }

    async fn next_page(&self, walk: Walk) -> Result<(Page, Option<Walk>), Failure> {
        let Walk { properties, clock, stage } = walk;
        let (shown, next) = match stage {
            Stage::Changed { since, after } => self.changed(&properties, since, after).await?,
            Stage::Listed { after } => self.listed(&properties, after).await?,
            Stage::Archived { since, after, pages } => self.archived(since, after, pages).await?,
            Stage::Companies { since, after } => self.companies_changed(since, after).await?,
            Stage::OfCompanies { companies, contact, since, after } => {
                self.of_companies(&properties, companies, contact, since, after).await?
            }
        };
        // Answers that take long put the clock further back than earlier ones.
        let clock = clock.max(shown.clock);
        let end = if next.is_some() { None } else { Some(End::Whole) };
        let page = Page { observed: shown.observed, clock, end };
        Ok((page, next.map(|stage| Walk { properties, clock, stage })))
    }

    async fn changed(
        &self,
        properties: &[Option<Property>],
        since: Timestamp,
        after: u64,
    ) -> Result<(Shown, Option<Stage>), Failure> {
        let found = self.search(&self.object, &[self.modified_since(&self.object, since)], after, Lane::Fresh).await?;
        let observed = self.read_all(properties, None, &found.body, Paid::in_lane(Lane::Fresh)).await?;
        let more = found.body.len() >= ROWS_PER_SEARCH;
        let next = found.body.last().filter(|_| more).map(|last| Stage::Changed { since, after: *last });
        Ok((Shown { observed, clock: found.clock }, next))
    }

    async fn listed(
        &self,
        properties: &[Option<Property>],
        after: Option<String>,
    ) -> Result<(Shown, Option<Stage>), Failure> {
        let names = names(properties, None);
        let mut query = format!(
            "limit={ROWS_PER_READ}&properties={names},{MERGED_IDS}&propertiesWithHistory={names}",
            names = names.join(",")
        );
        if let Some(after) = &after {
            query.push_str("&after=");
            query.push_str(&place(after)?);
        }
        let path = format!("/crm/v3/objects/{}", self.object);
        let paid = Paid::in_lane(Lane::Sweep);
        let Answered { body, clock } = self.read::<Rows>(&path, &Request::get(query), paid).await?;
        let next = match next_after(&body, after.as_deref())? {
            Some(after) => Stage::Listed { after: Some(after) },
            None => Stage::Archived { since: None, after: None, pages: 0 },
        };
        let observed = self.observed(properties, None, &body.results, paid).await?;
        Ok((Shown { observed, clock }, Some(next)))
    }

    async fn archived(
        &self,
        since: Option<Timestamp>,
        after: Option<String>,
        pages: usize,
    ) -> Result<(Shown, Option<Stage>), Failure> {
        let mut query = format!("limit={ROWS_PER_LIST}&archived=true&properties=hs_object_id");
        if let Some(after) = &after {
            query.push_str("&after=");
            query.push_str(&place(after)?);
        }
        let path = format!("/crm/v3/objects/{}", self.object);
        let lane = if since.is_some() { Lane::Fresh } else { Lane::Sweep };
        let Answered { body, clock } = self.read::<Rows>(&path, &Request::get(query), Paid::in_lane(lane)).await?;
        let next = next_after(&body, after.as_deref())?.filter(|_| since.is_none() || pages + 1 < ARCHIVED_PAGES_MAX);
        let gone = body.results.iter().filter_map(|row| {
            let at = row.archived_at.as_deref().and_then(Timestamp::parse);
            let is_news = since.is_none_or(|since| at.is_none_or(|at| at >= since));
            is_news.then_some(Observed { modified: at, ..self.absent(id_in(&row.id)?, Existence::Gone) })
        });
        let observed = gone.collect();
        let next = next.map(|after| Stage::Archived { since, after: Some(after), pages: pages + 1 });
        Ok((Shown { observed, clock }, next))
    }

    async fn companies_changed(&self, since: Timestamp, after: u64) -> Result<(Shown, Option<Stage>), Failure> {
        let filter = self.modified_since("companies", since);
        let found = self.search("companies", &[filter], after, Lane::Fresh).await?;
        let more = found.body.len() >= ROWS_PER_SEARCH;
        let after = found.body.last().copied().filter(|_| more);
        let next = (!found.body.is_empty()).then(|| Stage::OfCompanies {
            companies: found.body.clone(),
            contact: 0,
            since,
            after,
        });
        Ok((Shown { observed: Vec::new(), clock: found.clock }, next))
    }

    async fn of_companies(
        &self,
        properties: &[Option<Property>],
        mut companies: Vec<u64>,
        contact: u64,
        since: Timestamp,
        after: Option<u64>,
    ) -> Result<(Shown, Option<Stage>), Failure> {
        let asked: Vec<String> = companies.iter().take(VALUES_PER_FILTER).map(u64::to_string).collect();
        let filter = json!({ "propertyName": COMPANY_ID, "operator": "IN", "values": asked });
        let found = self.search(&self.object, &[filter], contact, Lane::Fresh).await?;
        let observed = self.read_all(properties, None, &found.body, Paid::in_lane(Lane::Fresh)).await?;
        let last = found.body.last().copied().filter(|_| found.body.len() >= ROWS_PER_SEARCH);
        let next = match last {
            Some(contact) => Some(Stage::OfCompanies { companies, contact, since, after }),
            None => {
                companies.drain(..asked.len());
                if companies.is_empty() {
                    after.map(|after| Stage::Companies { since, after })
                } else {
                    Some(Stage::OfCompanies { companies, contact: 0, since, after })
                }
            }
        };
        Ok((Shown { observed, clock: found.clock }, next))
    }

    /// The condition of a window: a lower bound alone. Contacts have a name of their own for it.
    fn modified_since(&self, object: &str, since: Timestamp) -> Value {
        let property = if object == "contacts" { "lastmodifieddate" } else { "hs_lastmodifieddate" };
        let millis = since.as_millis().max(0).to_string();
        json!({ "propertyName": property, "operator": "GTE", "value": millis })
    }

    /// These records as they are now; those that are gone meanwhile are left out.
    async fn read_all(
        &self,
        properties: &[Option<Property>],
        fields: Option<&[usize]>,
        ids: &[u64],
        paid: Paid<'_>,
    ) -> Result<Vec<Observed>, Failure> {
        let mut observed = Vec::new();
        for ids in ids.chunks(ROWS_PER_READ) {
            let rows = self.batch(&self.object, &names(properties, fields), ids, paid).await?;
            observed.extend(self.observed(properties, fields, &rows.results, paid).await?);
        }
        Ok(observed)
    }

    /// Reads records directly, with the history of their properties.
    pub(super) async fn batch(
        &self,
        object: &str,
        names: &[String],
        ids: &[u64],
        paid: Paid<'_>,
    ) -> Result<Rows, Failure> {
        let properties: Vec<&str> = names.iter().map(String::as_str).chain([MERGED_IDS]).collect();
        let inputs: Vec<Value> = ids.iter().map(|id| json!({ "id": id.to_string() })).collect();
        let body = json!({ "properties": properties, "propertiesWithHistory": names, "inputs": inputs });
        let path = format!("/crm/v3/objects/{object}/batch/read");
        let request = Request { method: Method::POST, ..Request::ask(body.to_string().into_bytes()) };
        Ok(self.read(&path, &request, paid).await?.body)
    }

    /// The records with these keys.
    pub(super) async fn read_directly(
        &self,
        keys: &[Key],
        fields: &[usize],
        paid: Paid<'_>,
    ) -> Result<Vec<Observed>, Failure> {
        let properties = self.properties().await?;
        let ids: BTreeSet<u64> = keys.iter().filter_map(id_of).collect();
        let mut known: BTreeMap<u64, Observed> = BTreeMap::new();
        if !ids.is_empty() {
            let ids: Vec<u64> = ids.iter().copied().collect();
            let rows = self.batch(&self.object, &names(&properties, Some(fields)), &ids, paid).await?;
            for observed in self.observed(&properties, Some(fields), &rows.results, paid).await? {
                if let Some(id) = id_of(&observed.key) {
                    known.insert(id, observed);
                }
            }
            for problem in rows.errors.iter().filter(|problem| problem.is_missing()) {
                for id in problem.context.get("ids").into_iter().flatten().filter_map(|id| id.parse().ok()) {
                    known.entry(id).or_insert_with(|| self.absent(id, Existence::Gone));
                }
            }
            let unsaid: Vec<u64> = ids.into_iter().filter(|id| !known.contains_key(id)).collect();
            if !unsaid.is_empty() {
                for id in self.which_are_archived(&unsaid, paid).await? {
                    known.insert(id, self.absent(id, Existence::Gone));
                }
                // Neither shown, nor missing, nor archived.
                for id in unsaid {
                    known.entry(id).or_insert_with(|| self.absent(id, Existence::NotSaid));
                }
            }
        }
        let gone = |key: &Key| Observed { key: key.clone(), ..self.absent(0, Existence::Gone) };
        let one = |key: &Key| id_of(key).and_then(|id| known.get(&id)).cloned().unwrap_or_else(|| gone(key));
        Ok(keys.iter().map(one).collect())
    }

    async fn which_are_archived(&self, ids: &[u64], paid: Paid<'_>) -> Result<Vec<u64>, Failure> {
        let inputs: Vec<Value> = ids.iter().map(|id| json!({ "id": id.to_string() })).collect();
        let body = json!({ "properties": ["hs_object_id"], "inputs": inputs });
        let path = format!("/crm/v3/objects/{}/batch/read", self.object);
        let mut request = Request::ask(body.to_string().into_bytes());
        request.query = "archived=true".to_owned();
        let rows = self.read::<Rows>(&path, &request, paid).await?.body;
        let missing = rows.errors.iter().filter(|problem| problem.is_missing());
        let missing = missing.flat_map(|problem| problem.context.get("ids").into_iter().flatten());
        Ok(rows
            .results
            .iter()
            .filter_map(|row| id_in(&row.id))
            .chain(missing.filter_map(|id| id.parse().ok()))
            .collect())
    }

    /// What rows show, with their companies; of those that were merged into one of them, into which.
    async fn observed(
        &self,
        properties: &[Option<Property>],
        fields: Option<&[usize]>,
        rows: &[Row],
        paid: Paid<'_>,
    ) -> Result<Vec<Observed>, Failure> {
        let companies = self.companies_of(properties, fields, rows, paid).await?;
        let mut observed = Vec::with_capacity(rows.len());
        for row in rows {
            let id = id_in(&row.id).ok_or_else(|| senseless("a record came without an id"))?;
            observed.push(observe(properties, fields, id, row, &companies));
            let merged = row.merged().filter(|merged| *merged != id);
            let into = Existence::MergedInto(Key::new(id.to_string()));
            observed.extend(merged.map(|merged| self.absent(merged, into.clone())));
        }
        Ok(observed)
    }

    async fn companies_of(
        &self,
        properties: &[Option<Property>],
        fields: Option<&[usize]>,
        rows: &[Row],
        paid: Paid<'_>,
    ) -> Result<Companies, Failure> {
        let mut names = Vec::new();
        for (index, property) in properties.iter().enumerate() {
            if let Some(Property { place: Place::OfCompany(name), .. }) = property
                && fields.is_none_or(|fields| fields.contains(&index))
            {
                names.push(name.clone());
            }
        }
        let mut companies = Companies::new();
        if !names.is_empty() {
            let ids: BTreeSet<u64> = rows.iter().filter_map(company_of).collect();
            let ids: Vec<u64> = ids.into_iter().collect();
            for ids in ids.chunks(ROWS_PER_READ) {
                let found = self.batch("companies", &names, ids, paid).await?;
                for row in found.results {
                    let is_other = row.merged().any(|id| ids.contains(&id));
                    // One that was merged since answers under its new id: the contact will point there soon.
                    if let Some(id) = id_in(&row.id).filter(|id| ids.contains(id) || !is_other) {
                        companies.insert(id, row);
                    }
                }
            }
        }
        Ok(companies)
    }

    fn absent(&self, id: u64, existence: Existence) -> Observed {
        let cells = vec![Cell::default(); self.names.len()];
        Observed { key: Key::new(id.to_string()), existence, modified: None, cells }
    }
}

/// Where the list goes on; one that goes on where it was would never end.
fn next_after(rows: &Rows, before: Option<&str>) -> Result<Option<String>, Failure> {
    match rows.next() {
        Some(next) if Some(next) == before => Err(senseless("a list answered the same page again and again")),
        next => Ok(next.map(str::to_owned)),
    }
}

/// The longest place in a list that is gone on from, in characters.
const AFTER_CHARS_MAX: usize = 500;

/// A place in a list as it stands in an address.
fn place(after: &str) -> Result<String, Failure> {
    if after.len() > AFTER_CHARS_MAX {
        return Err(senseless("a list answered an overlong place to go on from"));
    }
    Ok(encoded(after))
}
