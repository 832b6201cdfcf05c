//! How the pages of a read follow each other, and whether it showed every record.
//!
//! A page that has fewer records than were asked for proves nothing: servers have limits of their own and do not say so. A
//! read ends with a page that is empty, or where the answer says that nothing follows. Pages by key cannot lose records;
//! pages by offset overlap by one record, which must be the last one again; pages by number are counted against the total.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use futures::stream::BoxStream;
use reqwest::Url;
use reqwest::header::LINK;
use serde_json::value::RawValue;

use super::Rest;
use super::call::Question;
use super::query::Start;
use super::values::{self, Kind};
use crate::connector::paid::Paid;
use crate::connector::{End, Lane, Page, walk};
use crate::http::{Answer, is_too_large};
use crate::model::{ApiKeyIs, ApiPaging, Class, Failure, Timestamp};

/// The fewest records that are asked for when answers are too large.
const RECORDS_MIN: usize = 10;

/// No collection has more pages than this: the API repeats itself.
const PAGES_MAX: usize = 1_000_000;

/// The longest token or address of a next page, in bytes.
const NEXT_BYTES_MAX: usize = 16 * 1024;

/// A read of several pages: where it stands.
struct Walk {
    since: Option<Timestamp>,
    begin: Begin,
    limit: usize,
    pages: usize,
    /// The last key of the page before.
    last: Option<String>,
    /// What was counted against a total: keys, as numbers that stand for them.
    seen: HashSet<u64>,
    total: Option<u64>,
    torn: bool,
    /// The system's clock before the page whose answer puts it furthest on.
    clock: Timestamp,
}

/// Where the next page begins.
#[derive(Clone, PartialEq, Eq)]
enum Begin {
    Start,
    After(String),
    Page(u64),
    Offset(u64),
    Cursor(String),
    /// Path and query below the base.
    Address(String, String),
}

impl Rest {
    /// All records, or those that changed at or after `since`.
    pub(super) fn pages(&self, since: Option<Timestamp>) -> BoxStream<'_, Result<Page, Failure>> {
        let lane = if since.is_some() { Lane::Fresh } else { Lane::Sweep };
        let walk = Walk {
            since,
            begin: Begin::Start,
            limit: self.api.list.page_size,
            pages: 0,
            last: None,
            seen: HashSet::new(),
            total: None,
            torn: false,
            clock: Timestamp::EPOCH,
        };
        walk::pages(async { Ok(walk) }, move |walk| self.next_page(walk, Paid::in_lane(lane)))
    }

    async fn next_page(&self, mut walk: Walk, paid: Paid<'_>) -> Result<(Page, Option<Walk>), Failure> {
        walk.pages += 1;
        if walk.pages > PAGES_MAX {
            return Err(self.repeats());
        }
        let answer = self.page_from(&mut walk, paid).await?;
        let records = self.records(&answer)?;
        let keys = records.iter().map(|record| self.key_of(record)).collect::<Result<Vec<_>, _>>()?;
        let mut observed = Vec::with_capacity(records.len());
        for (record, key) in records.iter().zip(&keys) {
            // Of an API that cannot be asked since when, all records are looked through.
            let is_old = walk.since.is_some_and(|since| {
                !self.queries.can_ask_since() && self.modified(record).is_some_and(|modified| modified < since)
            });
            if !is_old {
                observed.push(self.observe(key.clone(), record, None));
            }
        }
        let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let more = self.follows(&mut walk, &answer, &keys)?;
        if let Some(date) = answer.clock {
            walk.clock = walk.clock.max(date);
        }
        let end = match more {
            Some(_) => None,
            None if walk.torn || self.is_short(&walk) => Some(End::Torn),
            None => Some(End::Whole),
        };
        let page = Page { observed, clock: walk.clock, end };
        let Some(from) = more else { return Ok((page, None)) };
        walk.last = keys.last().map(|key| (*key).to_owned()).or(walk.last);
        walk.begin = from;
        Ok((page, Some(walk)))
    }

    /// Asks for a page: for fewer records where the answer is too large and the place does not depend on their number.
    async fn page_from(&self, walk: &mut Walk, paid: Paid<'_>) -> Result<Answer, Failure> {
        loop {
            let (path, query) = match &walk.begin {
                Begin::Address(path, query) => (path.clone(), query.clone()),
                other => {
                    let mut start = Start { page: 1, ..Start::default() };
                    match other {
                        Begin::After(key) => start.after = Some(key),
                        Begin::Page(page) => start.page = *page,
                        Begin::Offset(offset) => start.offset = *offset,
                        Begin::Cursor(cursor) => start.cursor = Some(cursor),
                        Begin::Start | Begin::Address(..) => {}
                    }
                    (self.queries.list_path(), self.queries.page(walk.since, start, walk.limit))
                }
            };
            let question = Question { path, query, headers: &self.list_headers, missing: &[] };
            let can_shrink = walk.begin == Begin::Start || matches!(walk.begin, Begin::After(_) | Begin::Offset(_));
            match self.ask(&question, paid).await {
                Err(failure) if is_too_large(&failure) && can_shrink && walk.limit > RECORDS_MIN => {
                    walk.limit = (walk.limit / 8).max(RECORDS_MIN);
                }
                other => return other,
            }
        }
    }

    /// Where the next page begins, if there is one; what this one shows of those before it.
    fn follows(&self, walk: &mut Walk, answer: &Answer, keys: &[&str]) -> Result<Option<Begin>, Failure> {
        let whole: &RawValue = answer.json()?;
        if let Some(pointer) = &self.api.list.total {
            self.count(walk, whole, pointer, keys)?;
        }
        let is_same = walk.last.as_deref() == keys.last().copied();
        let from = match &self.api.list.paging {
            ApiPaging::Key { next, .. } => {
                let Some(last) = keys.last() else { return Ok(None) };
                self.check_order(walk, keys)?;
                if is_same {
                    return Err(self.unfitting("the API pages by key and shows the same records again; check `after` and `filter` of `list` in"));
                }
                // Where the answer tells of more, its silence is an end.
                let silent = next.as_ref().is_some_and(|pointer| next_in(whole, pointer).is_none());
                (!(silent && keys.len() < walk.limit)).then(|| Begin::After((*last).to_owned()))
            }
            ApiPaging::Page if keys.is_empty() => None,
            ApiPaging::Page => {
                if is_same {
                    return Err(self.repeats());
                }
                Some(Begin::Page(match walk.begin {
                    Begin::Page(page) => page + 1,
                    _ => 2,
                }))
            }
            ApiPaging::Offset => {
                let begun = if let Begin::Offset(offset) = walk.begin { offset } else { 0 };
                // All but the first begin with the last record of the page before.
                let is_joined = walk.last.as_deref().is_none_or(|last| keys.first() == Some(&last));
                walk.torn |= !is_joined;
                let count = u64::try_from(keys.len()).unwrap_or(0);
                let is_last = if walk.last.is_some() { count <= 1 || is_same } else { count == 0 };
                (!is_last).then(|| Begin::Offset(begun + count - 1))
            }
            ApiPaging::Cursor { pointer, .. } => next_in(whole, pointer).map(Begin::Cursor),
            ApiPaging::Link => answer
                .headers
                .get_all(LINK)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .find_map(next_link)
                .map(|link| self.address(walk, &link))
                .transpose()?,
            ApiPaging::Next { pointer } => next_in(whole, pointer).map(|link| self.address(walk, &link)).transpose()?,
        };
        if from.as_ref() == Some(&walk.begin) {
            return Err(self.repeats());
        }
        Ok(from)
    }

    /// Counts records against the total of the first page: a later one hides what slipped away.
    fn count(&self, walk: &mut Walk, whole: &RawValue, pointer: &str, keys: &[&str]) -> Result<(), Failure> {
        let total = values::at(whole, pointer).and_then(values::text).and_then(|text| text.parse().ok());
        let Some(total) = total else {
            return Err(self.unfitting("the answer to a list has no number at `total` of `list` in"));
        };
        walk.total.get_or_insert(total);
        walk.seen.extend(keys.iter().map(|key| {
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            hasher.finish()
        }));
        Ok(())
    }

    fn is_short(&self, walk: &Walk) -> bool {
        walk.total.is_some_and(|total| u64::try_from(walk.seen.len()).unwrap_or(u64::MAX) < total)
    }

    /// Keys must come in order, or those before the last one are lost. The order of texts is the system's own.
    fn check_order(&self, walk: &Walk, keys: &[&str]) -> Result<(), Failure> {
        if self.api.key_is != ApiKeyIs::Number {
            return Ok(());
        }
        let before = walk.last.as_deref().into_iter();
        let numbers: Vec<Option<i64>> = before.chain(keys.iter().copied()).map(|key| key.parse().ok()).collect();
        if numbers.iter().all(Option::is_some) && numbers.is_sorted_by(|one, other| one < other) {
            return Ok(());
        }
        Err(self.unfitting("the API pages by key, and its records do not come in the order of their keys, or these are no whole numbers; check `query` and `after` of `list`, and `key_is`, in"))
    }

    /// The address of a next page as path and query below the base. It never leads to another host, nor out of the base.
    fn address(&self, walk: &Walk, link: &str) -> Result<Begin, Failure> {
        let base = self.caller.base();
        let asked = match &walk.begin {
            Begin::Address(path, _) => format!("{base}{path}"),
            _ => format!("{base}{}", self.queries.list_path()),
        };
        let sound = Url::parse(&asked).and_then(|asked| asked.join(link)).ok().and_then(|url| {
            let address = format!("{}{}", url.origin().ascii_serialization(), url.path());
            let plain = url.username().is_empty() && url.password().is_none();
            let rest = address.strip_prefix(base).filter(|rest| rest.starts_with('/') && plain)?;
            Some(Begin::Address(rest.to_owned(), url.query().unwrap_or_default().to_owned()))
        });
        sound.ok_or_else(|| {
            self.unfitting("the API says that more follows at an address outside `url`, which is not called; check `url`, and what stands in between, in")
        })
    }

    fn repeats(&self) -> Failure {
        let why =
            format!("the API shows the same page again and again; check `paging` of `list` in [crm.{}]", self.name);
        Failure::new(Class::Misconfigured, why)
    }
}

/// The token or address at a place, where there is one.
fn next_in(whole: &RawValue, pointer: &str) -> Option<String> {
    let value = values::at(whole, pointer)?;
    let text = matches!(values::kind(value), Kind::Text | Kind::Number).then(|| values::text(value)).flatten()?;
    (!text.is_empty() && text.len() <= NEXT_BYTES_MAX).then_some(text)
}

/// The address with `rel="next"` in a `Link` header (RFC 8288).
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (address, after) = after.split_once('>')?;
        // The parameters go to the next address; commas may stand in quotes, `<` may not.
        let parameters = after.split_once('<').map_or(after, |(parameters, _)| parameters);
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.split(' ').any(|word| word.eq_ignore_ascii_case("next"))
        });
        if is_next && address.len() <= NEXT_BYTES_MAX {
            return Some(address.to_owned());
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::next_link;

    #[test]
    fn the_next_link_is_found() {
        for (header, next) in [
            ("<https://x/a?page=2>; rel=\"next\", <https://x/a?page=9>; rel=\"last\"", Some("https://x/a?page=2")),
            ("<https://x/a?page=1>; rel=\"prev\", </a?p=3,4>; title=\"a\"; rel=\"last next\"", Some("/a?p=3,4")),
            ("<b>; rel=next", Some("b")),
            ("<https://x/a?page=1>; rel=\"first\"", None),
            ("<broken; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(header).as_deref(), next, "{header}");
        }
    }
}
