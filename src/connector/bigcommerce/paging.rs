//! Walking pages: where the next one is, whether what was seen is whole, and when a walk goes in circles. Pure.
//!
//! Customers offer cursors (keyed on the id, so nothing slips between pages); attribute values only numbered pages
//! without an order. There, with only a lower bound asked for, pages can only be shortened by deletions: a walk is torn
//! if it saw fewer ids than its first page promised and than have changed since, and is then walked again.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::PAGE_ROWS;
use super::wire::{CursorPagination, Links, Meta};
use crate::connector::End;
use crate::http::encoded;
use crate::model::Timestamp;

/// Ten million rows: no walk is longer.
const PAGES_MAX: usize = 40_000;

/// How often a torn walk is walked again.
const REPEATS_MAX: u32 = 3;

/// The rows of a page where the store could not make larger ones.
const SMALLER_PAGE_ROWS: usize = 50;

/// One walk through pages.
#[derive(Debug)]
pub(super) struct Paging {
    limit: usize,
    at: At,
    pages: usize,
    repeats: u32,
    /// Hashes of the pages and cursors seen: eight bytes each, whatever the page holds.
    fingerprints: HashSet<u64>,
    /// How many rows were seen; with numbered pages, which.
    seen: u64,
    distinct: HashSet<u64>,
    /// How many rows there are to see, as the first page said.
    promised: Option<u64>,
    /// When the first page was answered, and how many rows on later ones are dated since: those it did not promise.
    began: Option<Timestamp>,
    joined: u64,
    /// How many rows a page has that is not the last.
    page_rows: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    First,
    Page(u64),
    /// After a cursor, percent-encoded.
    After(String),
}

/// What follows a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Another page.
    More,
    /// The walk was torn and begins anew.
    Again,
    /// Nothing: this was the last page.
    End(End),
}

impl Default for Paging {
    fn default() -> Self {
        Self {
            limit: PAGE_ROWS,
            at: At::First,
            pages: 0,
            repeats: 0,
            fingerprints: HashSet::new(),
            seen: 0,
            distinct: HashSet::new(),
            promised: None,
            began: None,
            joined: 0,
            page_rows: PAGE_ROWS,
        }
    }
}

impl Paging {
    /// How many rows to ask for.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Asks for smaller pages from now on. False: they are small already, or numbered, and numbers would then mean others.
    pub(super) fn shrink(&mut self) -> bool {
        let possible = self.limit > SMALLER_PAGE_ROWS && !matches!(self.at, At::Page(_));
        if possible {
            self.limit = SMALLER_PAGE_ROWS;
            self.page_rows = self.page_rows.min(self.limit);
        }
        possible
    }

    /// What to add to the query for the next page.
    pub(super) fn query(&self) -> String {
        match &self.at {
            At::First => String::new(),
            At::Page(page) => format!("&page={page}"),
            At::After(cursor) => format!("&after={cursor}"),
        }
    }

    /// The page that is about to be turned was answered then, and its rows are dated so. One that came while we walked must
    /// not stand for one that slipped away. Of those of the very second in which we began nobody knows.
    pub(super) fn dated(&mut self, answered: Option<Timestamp>, modified: impl Iterator<Item = Option<Timestamp>>) {
        let first = self.at == At::First;
        let began = if first { answered } else { self.began };
        let since = modified.flatten().filter(|modified| began.is_some_and(|began| *modified > began)).count();
        if first {
            // Rows of the future: the two clocks cannot be compared.
            self.began = began.filter(|_| since == 0);
        } else {
            self.joined += u64::try_from(since).unwrap_or(u64::MAX);
        }
    }

    /// A page with these ids was read.
    ///
    /// # Errors
    /// The end of a sentence "the store answered …": a page that repeats, a shape that makes no sense.
    pub(super) fn turned(&mut self, ids: &[u64], meta: &Meta) -> Result<Step, &'static str> {
        self.pages += 1;
        if self.pages > PAGES_MAX {
            return Err("more pages than any store has");
        }
        self.seen += u64::try_from(ids.len()).unwrap_or(u64::MAX);
        if !matches!(self.at, At::After(_)) {
            self.distinct.extend(ids);
        }
        if self.at == At::First {
            self.promised = meta.pagination.as_ref().and_then(|pagination| pagination.total);
            self.page_rows = page_rows(meta).min(self.limit);
            // Rows and total are of one answer: whoever shows fewer has smaller pages than were asked for.
            if self.left() > 0 {
                self.page_rows = self.page_rows.min(ids.len());
            }
        }
        if ids.is_empty() {
            return Ok(self.finished());
        }
        if !self.fingerprints.insert(hash(ids)) {
            return Err("the same page again and again");
        }
        match (&self.at, &meta.cursor_pagination) {
            (At::First | At::After(_), Some(cursor)) => self.after_cursor_page(ids, meta, cursor),
            (At::After(_), None) if meta.pagination.is_some() => Err("a page after a cursor without the next cursor"),
            (At::After(_), None) => Ok(self.inferred(self.is_full(ids))),
            (At::First | At::Page(_), _) => self.after_numbered_page(ids, meta),
        }
    }

    /// The documentation does not say how the last page looks: it has no link to a next one, or fewer rows than a page.
    fn after_cursor_page(&mut self, ids: &[u64], meta: &Meta, cursor: &CursorPagination) -> Result<Step, &'static str> {
        let link = cursor.links.as_ref().and_then(Links::next);
        let full = self.is_full(ids);
        let more = match link {
            // One link too many costs a call for an empty page: where all was seen it is not followed.
            Some(_) => full || self.promised.is_none() || self.left() > 0,
            None => full && (self.promised.is_none() || self.left() > 0),
        };
        if !more {
            // Cursors are keyed on the id: nothing slips between pages, and what is missing was deleted meanwhile.
            return Ok(Step::End(End::Whole));
        }
        match next_cursor(cursor, link) {
            Some(next) if self.fingerprints.insert(hash(&next)) => {
                self.at = At::After(next);
                self.distinct = HashSet::new();
                Ok(Step::More)
            }
            Some(_) => Err("the same cursor again and again"),
            None if self.at == At::First && meta.pagination.is_some() => self.after_numbered_page(ids, meta),
            None if link.is_some() => Err("a page with a next one, but no cursor to it"),
            None => Ok(self.inferred(full)),
        }
    }

    fn after_numbered_page(&mut self, ids: &[u64], meta: &Meta) -> Result<Step, &'static str> {
        let page = if let At::Page(page) = self.at { page } else { 1 };
        let pagination = meta.pagination.as_ref();
        let linked =
            pagination.and_then(|pagination| pagination.links.as_ref()).is_some_and(|links| links.next().is_some());
        let pages = pagination.and_then(|pagination| pagination.total_pages);
        // Totals are said not to be reliable everywhere: a full page is the last one only where something says so.
        let more = linked
            || pages.is_some_and(|pages| page < pages)
            || (self.is_full(ids) && if self.promised.is_some() { self.left() > 0 } else { pages.is_none() });
        if !more {
            return Ok(self.finished());
        }
        self.at = At::Page(page + 1);
        Ok(Step::More)
    }

    fn is_full(&self, ids: &[u64]) -> bool {
        ids.len() >= self.page_rows
    }

    /// How many of the promised rows were not seen.
    fn left(&self) -> u64 {
        let seen = match self.at {
            At::After(_) => self.seen,
            At::First | At::Page(_) => u64::try_from(self.distinct.len()).unwrap_or(u64::MAX),
        };
        self.promised.map_or(0, |promised| (promised + self.joined).saturating_sub(seen))
    }

    /// The end where no answer says that it is one: believed if no row is missing and the last page is short.
    fn inferred(&mut self, full: bool) -> Step {
        if self.left() == 0 && (self.promised.is_some() || !full) { Step::End(End::Whole) } else { self.torn() }
    }

    fn finished(&mut self) -> Step {
        // Cursors hide no row. Numbered pages do: see above.
        if matches!(self.at, At::After(_)) || self.left() == 0 { Step::End(End::Whole) } else { self.torn() }
    }

    fn torn(&mut self) -> Step {
        if self.repeats == REPEATS_MAX {
            return Step::End(End::Torn);
        }
        *self = Self { limit: self.limit, repeats: self.repeats + 1, ..Self::default() };
        Step::Again
    }
}

/// How many rows a full page has: what was asked for, or less where the answer says so.
fn page_rows(meta: &Meta) -> usize {
    let numbered = meta.pagination.as_ref().and_then(|pagination| pagination.per_page);
    let by_cursor = meta.cursor_pagination.as_ref().and_then(|pagination| pagination.per_page);
    let said = [numbered, by_cursor].into_iter().flatten().filter_map(|rows| usize::try_from(rows).ok());
    said.filter(|rows| *rows > 0).fold(PAGE_ROWS, usize::min)
}

/// The cursor of the next page, percent-encoded, where the answer tells one.
fn next_cursor(pagination: &CursorPagination, link: Option<&str>) -> Option<String> {
    if let Some(cursor) = pagination.end_cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
        return Some(encoded(cursor));
    }
    let plain = |cursor: &&str| cursor.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let parameters = link?.trim_start_matches('?').split('&');
    let cursor = parameters.filter_map(|parameter| parameter.strip_prefix("after=")).find(|cursor| !cursor.is_empty());
    cursor.filter(plain).map(str::to_owned)
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::wire::Pagination;
    use super::*;

    fn numbered(total: u64, total_pages: u64) -> Meta {
        let pagination = Pagination { total: Some(total), per_page: None, total_pages: Some(total_pages), links: None };
        Meta { pagination: Some(pagination), cursor_pagination: None }
    }

    fn cursor(end: &str, next: Option<&str>) -> Meta {
        let links = Some(Links { next: next.map(str::to_owned) });
        let cursor_pagination = Some(CursorPagination { per_page: None, end_cursor: Some(end.to_owned()), links });
        Meta { pagination: None, cursor_pagination }
    }

    #[test]
    fn numbered_pages_are_walked_to_the_end() {
        let mut paging = Paging::default();
        assert_eq!(paging.query(), "");
        assert_eq!(paging.turned(&[1, 2], &numbered(5, 3)), Ok(Step::More));
        assert_eq!(paging.query(), "&page=2");
        assert_eq!(paging.turned(&[3, 4], &numbered(5, 3)), Ok(Step::More));
        assert_eq!(paging.turned(&[5], &numbered(5, 3)), Ok(Step::End(End::Whole)));
    }

    #[test]
    fn the_first_page_promises_and_the_last_proves_nothing() {
        let mut paging = Paging::default();
        for repeat in 0..=REPEATS_MAX {
            assert_eq!(paging.query(), "");
            assert_eq!(paging.turned(&[1, 2], &numbered(4, 2)), Ok(Step::More));
            // A row of the first page was deleted, and one slipped from this page to it: the total looks right.
            let step = paging.turned(&[4], &numbered(3, 2)).unwrap();
            assert_eq!(step, if repeat == REPEATS_MAX { Step::End(End::Torn) } else { Step::Again });
        }
    }

    #[test]
    fn what_came_while_we_walked_does_not_stand_for_what_slipped_away() {
        let at = |second: i64| Some(Timestamp::from_millis(second * 1000));
        let turn = |paging: &mut Paging, answered, rows: &[(u64, i64)], total| {
            paging.dated(answered, rows.iter().map(|(_, second)| at(*second)));
            paging.turned(&rows.iter().map(|(id, _)| *id).collect::<Vec<_>>(), &numbered(total, 2)).unwrap()
        };
        let mut paging = Paging::default();
        assert_eq!(turn(&mut paging, at(100), &[(1, 10), (2, 20)], 4), Step::More);
        // Of 1 to 4 the first was deleted, so that 3 slipped to the first page; 5 came.
        assert_eq!(turn(&mut paging, at(102), &[(4, 40), (5, 101)], 4), Step::More, "as many rows as a page has");
        assert_eq!(turn(&mut paging, at(102), &[], 4), Step::Again);
        assert_eq!(turn(&mut paging, at(103), &[(2, 20), (3, 30)], 4), Step::More);
        assert_eq!(turn(&mut paging, at(104), &[(4, 40), (5, 101)], 4), Step::End(End::Whole), "it had come before");
        let mut paging = Paging::default();
        assert_eq!(turn(&mut paging, at(100), &[(1, 10), (2, 20)], 3), Step::More);
        let step = turn(&mut paging, at(102), &[(3, 30), (4, 101)], 4);
        assert_eq!(step, Step::End(End::Whole), "one came, none slipped");
        let mut paging = Paging::default();
        assert_eq!(turn(&mut paging, at(5), &[(1, 10), (2, 20)], 3), Step::More);
        assert_eq!(turn(&mut paging, at(6), &[(3, 30)], 3), Step::End(End::Whole), "dates of the future tell nothing");
    }

    #[test]
    fn an_empty_first_page_is_whole() {
        assert_eq!(Paging::default().turned(&[], &numbered(0, 0)), Ok(Step::End(End::Whole)));
        assert_eq!(Paging::default().turned(&[], &Meta::default()), Ok(Step::End(End::Whole)));
        assert_eq!(Paging::default().turned(&[], &numbered(3, 1)), Ok(Step::Again), "unless it promised rows");
    }

    #[test]
    fn cursors_are_followed_and_numbers_ignored() {
        let mut paging = Paging::default();
        assert_eq!(paging.turned(&[1, 2], &cursor("c=2", Some("?after=x"))), Ok(Step::More));
        assert_eq!(paging.query(), "&after=c%3D2");
        assert_eq!(paging.turned(&[3], &cursor("c=3", None)), Ok(Step::End(End::Whole)));
    }

    #[test]
    fn a_cursor_without_links_ends_with_a_short_page() {
        let mut meta = cursor("next", None);
        if let Some(cursor) = &mut meta.cursor_pagination {
            cursor.links = None;
        }
        let full: Vec<u64> = (0..250).collect();
        let mut paging = Paging::default();
        assert_eq!(paging.turned(&full, &meta), Ok(Step::More));
        assert_eq!(paging.turned(&[900], &meta), Ok(Step::End(End::Whole)));
    }

    #[test]
    fn a_cursor_that_only_the_link_names() {
        let mut meta = cursor("", Some("?limit=250&after=abc%3D"));
        let mut paging = Paging::default();
        assert_eq!(paging.turned(&[1], &meta), Ok(Step::More));
        assert_eq!(paging.query(), "&after=abc%3D");
        if let Some(cursor) = &mut meta.cursor_pagination {
            cursor.links = Some(Links { next: Some("?limit=250".to_owned()) });
        }
        assert!(Paging::default().turned(&[1], &meta).is_err());
    }

    #[test]
    fn circles_end_in_an_error() {
        let mut paging = Paging::default();
        paging.turned(&[1], &cursor("a", Some("?after=a"))).unwrap();
        paging.turned(&[2], &cursor("b", Some("?after=b"))).unwrap();
        assert!(paging.turned(&[3], &cursor("a", Some("?after=a"))).is_err(), "a cursor that came before");
        let mut paging = Paging::default();
        paging.turned(&[1, 2], &cursor("a", Some("?after=a"))).unwrap();
        assert!(paging.turned(&[1, 2], &cursor("b", Some("?after=b"))).is_err(), "a page that came before");
        let mut paging = Paging::default();
        paging.turned(&[1, 2], &numbered(9, 5)).unwrap();
        assert!(paging.turned(&[1, 2], &numbered(9, 5)).is_err());
    }

    #[test]
    fn ever_new_pages_end_in_an_error_too() {
        let mut paging = Paging::default();
        let mut turned = 0_u64;
        while paging.turned(&[turned], &cursor(&turned.to_string(), Some("?after=x"))).is_ok() {
            turned += 1;
        }
        assert_eq!(turned, PAGES_MAX as u64);
    }

    /// The pages that a server answers, and how the walk then ended.
    fn walked(pages: &[(&[u64], &str)]) -> (usize, Result<Step, &'static str>) {
        let mut paging = Paging::default();
        for (index, (ids, meta)) in pages.iter().enumerate() {
            let step = paging.turned(ids, &serde_json::from_str(meta).unwrap());
            if step != Ok(Step::More) {
                return (index + 1, step);
            }
        }
        panic!("{pages:?} do not end");
    }

    #[test]
    fn pages_that_are_smaller_than_asked_for_are_walked_to_the_end() {
        let whole = Ok(Step::End(End::Whole));
        // By number: the total and the size of a page tell, whatever else is missing or wrong.
        for first in [
            r#"{"pagination": {"total": 3}}"#,
            r#"{"pagination": {"total": "3", "total_pages": null, "links": []}}"#,
            r#"{"pagination": {"total": 3, "total_pages": 1}}"#,
            r#"{"pagination": {"per_page": 2}}"#,
            r#"{"pagination": {"total": 3}, "cursor_pagination": {}}"#,
            r#"{"pagination": {"total": 3}, "cursor_pagination": {"links": {"next": null}, "end_cursor": ""}}"#,
        ] {
            assert_eq!(walked(&[(&[1, 2], first), (&[3], "{}")]), (2, whole), "{first}");
        }
        // By cursor, without links.
        for first in [
            r#"{"pagination": {"total": 3}, "cursor_pagination": {"end_cursor": "b"}}"#,
            r#"{"cursor_pagination": {"end_cursor": "b", "per_page": 2, "links": []}}"#,
        ] {
            let last = r#"{"cursor_pagination": {"end_cursor": "c"}}"#;
            assert_eq!(walked(&[(&[1, 2], first), (&[3], last)]), (2, whole), "{first}");
            assert_eq!(walked(&[(&[1, 2], first), (&[3], "{}")]), (2, whole), "{first}: no meta on the last");
        }
    }

    #[test]
    fn no_page_is_asked_for_where_all_was_seen() {
        // A link on the last page that leads to an empty one.
        let first =
            r#"{"pagination": {"total": 3}, "cursor_pagination": {"end_cursor": "b", "links": {"next": "?after=b"}}}"#;
        let last = r#"{"cursor_pagination": {"end_cursor": "c", "links": {"next": "?after=c"}}}"#;
        assert_eq!(walked(&[(&[1, 2], first), (&[3], last)]), (2, Ok(Step::End(End::Whole))));
        let short = first.replace(r#""total": 3"#, r#""total": 2, "per_page": 250"#);
        assert_eq!(walked(&[(&[1, 2], &short)]), (1, Ok(Step::End(End::Whole))));
        // Two full pages, and a total that says so.
        let full = r#"{"pagination": {"total": 4, "per_page": 2}}"#;
        assert_eq!(walked(&[(&[1, 2], full), (&[3, 4], full)]), (2, Ok(Step::End(End::Whole))));
    }

    #[test]
    fn a_deletion_does_not_tear_a_walk_by_cursor() {
        let first =
            r#"{"pagination": {"total": 5}, "cursor_pagination": {"end_cursor": "b", "links": {"next": "?after=b"}}}"#;
        let last = r#"{"cursor_pagination": {"end_cursor": "c", "links": {}}}"#;
        assert_eq!(walked(&[(&[1, 2], first), (&[4], last)]), (2, Ok(Step::End(End::Whole))));
        assert_eq!(walked(&[(&[1, 2], first), (&[], "{}")]), (2, Ok(Step::End(End::Whole))));
    }

    #[test]
    fn an_end_that_nothing_says_and_rows_that_are_missing_is_torn() {
        let first =
            r#"{"pagination": {"total": 5}, "cursor_pagination": {"end_cursor": "b", "links": {"next": "?after=b"}}}"#;
        assert_eq!(walked(&[(&[1, 2], first), (&[3, 4], "{}")]), (2, Ok(Step::Again)));
        let ignored = r#"{"pagination": {"total": 5}}"#;
        assert!(walked(&[(&[1, 2], first), (&[3, 4], ignored)]).1.is_err(), "the cursor was ignored");
    }
}
