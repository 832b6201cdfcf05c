//! Walking pages: where the next one is, whether what was seen is whole, and when a walk goes in circles. Pure.
//!
//! Customers offer cursors (keyed on the id, so nothing slips between pages); attribute values only numbered pages
//! without an order. There, with only a lower bound asked for, pages can only be shortened by deletions: a walk is torn
//! if it saw fewer ids than its first page promised, and is then walked again.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::PAGE_ROWS;
use super::query;
use super::wire::{CursorPagination, Meta};
use crate::connector::End;

/// Ten million rows: no walk is longer.
const PAGES_MAX: usize = 40_000;

/// How often a torn walk is walked again.
const REPEATS_MAX: u32 = 3;

/// One walk through pages.
#[derive(Debug, Default)]
pub(super) struct Paging {
    at: At,
    pages: usize,
    repeats: u32,
    /// Hashes of the pages and cursors seen: eight bytes each, whatever the page holds.
    fingerprints: HashSet<u64>,
    /// With numbered pages: the ids seen, and how many there are to see.
    distinct: HashSet<u64>,
    promised: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    First,
    Page(usize),
    /// After a cursor, percent-encoded.
    After(String),
}

/// What follows a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Another page.
    More,
    /// The walk was torn and begins anew.
    Again,
    /// Nothing: this was the last page.
    End(End),
}

impl Paging {
    /// What to add to the query for the next page.
    pub(super) fn query(&self) -> String {
        match &self.at {
            At::First => String::new(),
            At::Page(page) => format!("&page={page}"),
            At::After(cursor) => format!("&after={cursor}"),
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
        let by_cursor = match (&self.at, &meta.cursor_pagination) {
            (At::First | At::After(_), Some(cursor)) => Some(cursor),
            (At::After(_), None) if !ids.is_empty() => return Err("a page after a cursor without the next cursor"),
            _ => None,
        };
        if by_cursor.is_none() && !matches!(self.at, At::After(_)) {
            self.distinct.extend(ids);
            if self.at == At::First {
                self.promised = meta.pagination.as_ref().and_then(|pagination| pagination.total);
            }
        }
        if ids.is_empty() {
            return Ok(self.finished());
        }
        if !self.fingerprints.insert(hash(ids)) {
            return Err("the same page again and again");
        }
        match by_cursor {
            Some(cursor) => match next_cursor(cursor, ids.len())? {
                Some(next) if self.fingerprints.insert(hash(&next)) => self.at = At::After(next),
                Some(_) => return Err("the same cursor again and again"),
                None => return Ok(self.finished()),
            },
            None if self.is_last_number(ids.len(), meta)? => return Ok(self.finished()),
            None => self.at = At::Page(self.page() + 1),
        }
        Ok(Step::More)
    }

    fn page(&self) -> usize {
        if let At::Page(page) = self.at { page } else { 1 }
    }

    fn is_last_number(&self, rows: usize, meta: &Meta) -> Result<bool, &'static str> {
        let Some(pagination) = &meta.pagination else {
            // Definitions may come without: they are at most 50.
            return if rows < PAGE_ROWS { Ok(true) } else { Err("a full page without saying whether more follow") };
        };
        let more_linked = pagination.links.as_ref().is_some_and(|links| links.next().is_some());
        let more_counted = match pagination.total_pages {
            Some(pages) => u64::try_from(self.page()).unwrap_or(u64::MAX) < pages,
            None => rows >= PAGE_ROWS,
        };
        Ok(!more_linked && !more_counted)
    }

    fn finished(&mut self) -> Step {
        let seen = u64::try_from(self.distinct.len()).unwrap_or(u64::MAX);
        if self.promised.is_none_or(|promised| seen >= promised) {
            return Step::End(End::Whole);
        }
        if self.repeats == REPEATS_MAX {
            return Step::End(End::Torn);
        }
        *self = Self { repeats: self.repeats + 1, ..Self::default() };
        Step::Again
    }
}

/// The cursor of the next page, percent-encoded. The documentation does not say how the last page looks: a page without
/// a link to the next one, or a short page where links are not offered at all.
fn next_cursor(pagination: &CursorPagination, rows: usize) -> Result<Option<String>, &'static str> {
    let link = pagination.links.as_ref().map(|links| links.next());
    match link {
        Some(None) => return Ok(None),
        None if rows < PAGE_ROWS => return Ok(None),
        _ => {}
    }
    if let Some(cursor) = pagination.end_cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
        return Ok(Some(query::encoded(cursor)));
    }
    let linked = link.flatten().and_then(|link| {
        let parameters = link.trim_start_matches('?').split('&');
        parameters.filter_map(|parameter| parameter.strip_prefix("after=")).find(|cursor| !cursor.is_empty())
    });
    match linked {
        Some(cursor) if cursor.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') => {
            Ok(Some(cursor.to_owned()))
        }
        _ => Err("a page with a next one, but no cursor to it"),
    }
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Links, Pagination};
    use super::*;

    fn numbered(total: u64, total_pages: u64) -> Meta {
        let pagination = Pagination { total: Some(total), total_pages: Some(total_pages), links: None };
        Meta { pagination: Some(pagination), cursor_pagination: None }
    }

    fn cursor(end: &str, next: Option<&str>) -> Meta {
        let links = Some(Links { next: next.map(str::to_owned) });
        let cursor_pagination = Some(CursorPagination { end_cursor: Some(end.to_owned()), links });
        Meta { pagination: numbered(99, 2).pagination, cursor_pagination }
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
}
