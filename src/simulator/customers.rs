//! `/v3/customers`: the list with its filters, pages and cursors, and the writes.
//!
//! Must not know: definitions beyond that a value's attribute exists; sockets, quotas.

use super::answer::{Answer, CursorPagination, Links, Meta, Pagination, Refusal, rows};
use super::customer_row::{CustomerRow, Include};
use super::data::{Customer, Data, fold};
use super::dates::Seconds;
use super::query::{DateFilter, Paging, Query, invalid};
use super::records::Records;
use super::request::Request;
use super::settings::{CursorEnd, CursorPages, EmailCase, Readings};
use super::{cursor, customer_writes};

pub(super) use customer_writes::{create, update};

const PARAMETERS: [&str; 20] = [
    "page",
    "limit",
    "id:in",
    "company:in",
    "customer_group_id:in",
    "date_created",
    "date_created:min",
    "date_created:max",
    "date_modified",
    "date_modified:min",
    "date_modified:max",
    "email:in",
    "name:in",
    "name:like",
    "phone:in",
    "registration_ip_address:in",
    "include",
    "sort",
    "after",
    "before",
];

/// Which customers a query is about.
struct Filter {
    ids: Option<Vec<u64>>,
    emails: Option<Vec<String>>,
    companies: Option<Vec<String>>,
    groups: Option<Vec<u64>>,
    names: Option<Vec<String>>,
    name_parts: Option<Vec<String>>,
    phones: Option<Vec<String>>,
    addresses: Option<Vec<String>>,
    created: DateFilter,
    modified: DateFilter,
}

impl Filter {
    fn parse(query: &Query<'_>, now: Seconds, readings: &Readings) -> Result<Self, Refusal> {
        let comparable = |emails: Vec<String>| emails.iter().map(|email| comparable(email, readings)).collect();
        Ok(Self {
            ids: query.ids("id:in")?,
            emails: query.texts("email:in")?.map(comparable),
            companies: query.texts("company:in")?,
            groups: query.ids("customer_group_id:in")?,
            names: query.texts("name:in")?,
            name_parts: query.texts("name:like")?,
            phones: query.texts("phone:in")?,
            addresses: query.texts("registration_ip_address:in")?,
            created: query.dates("date_created", false, now)?,
            modified: query.dates("date_modified", false, now)?,
        })
    }

    fn matches(&self, customer: &Customer, readings: &Readings) -> bool {
        let among = |list: &Option<Vec<String>>, text: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|one| one == text))
        };
        let name = || format!("{} {}", customer.first_name, customer.last_name);
        self.ids.as_ref().is_none_or(|ids| ids.contains(&customer.id))
            && (self.emails.is_none() || among(&self.emails, &comparable(&customer.email, readings)))
            && among(&self.companies, &customer.company)
            && self.groups.as_ref().is_none_or(|groups| groups.contains(&customer.customer_group_id))
            && among(&self.phones, &customer.phone)
            // A customer made through the API has no address, and all of these are.
            && among(&self.addresses, "")
            && (self.names.is_none() || among(&self.names, &name()))
            && self.name_parts.as_ref().is_none_or(|parts| {
                let name = name().to_lowercase();
                parts.iter().any(|part| name.contains(&part.to_lowercase()))
            })
            && self.created.matches(customer.created, readings.date_bounds)
            && self.modified.matches(customer.modified, readings.date_bounds)
    }

    /// The customers that match, by id.
    fn select(&self, data: &Data, readings: &Readings) -> Vec<u64> {
        let few = |mut ids: Vec<u64>| {
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|&id| data.customer(id).is_some_and(|customer| self.matches(customer, readings)));
            ids
        };
        if let Some(ids) = &self.ids {
            few(ids.clone())
        } else if let Some(emails) = &self.emails {
            few(emails.iter().flat_map(|email| data.with_email(email)).copied().collect())
        } else if let Some(lowest) = self.modified.lowest() {
            few(data.customers_since(lowest).collect())
        } else {
            data.customers().filter(|customer| self.matches(customer, readings)).map(|customer| customer.id).collect()
        }
    }
}

/// An e-mail in the form in which two that are one are equal.
fn comparable(email: &str, readings: &Readings) -> String {
    match readings.email_case {
        EmailCase::Folded => fold(email),
        EmailCase::Exact => email.to_owned(),
    }
}

/// Whether two e-mails are one.
pub(super) fn same_email(one: &str, other: &str, readings: &Readings) -> bool {
    comparable(one, readings) == comparable(other, readings)
}

/// `GET /v3/customers`
pub(super) fn list(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let readings = &request.readings;
    let offered = readings.cursor_pages == CursorPages::Offered;
    let known = if offered { &PARAMETERS[..] } else { &PARAMETERS[..PARAMETERS.len() - 2] };
    let query = Query::parse(request.query, known)?;
    let paging = query.paging()?;
    let include = Include::parse(&query, readings)?;
    let filter = Filter::parse(&query, request.moment.date, readings)?;
    let sort = Sort::parse(&query)?;
    let position = Position::parse(&query)?;

    let data = records.listed(request.behind, request.moment);
    let others = query.others();
    // Cursors are ids: whoever follows one gets the order of ids, whatever `sort` says.
    let sort = if position == Position::Page { sort } else { None };
    let key = format!("customers {sort:?} {others}");
    let selected = data.select(&key, |data| {
        let mut ids = filter.select(data, readings);
        if let Some(sort) = sort {
            sort.apply(data, &mut ids);
        }
        ids
    });

    let first = Paging { page: 1, ..paging };
    let (ids, meta) = match position {
        Position::Page => {
            let ids = if request.repeating { first.slice(&selected) } else { paging.slice(&selected) };
            let pagination = Pagination::of(paging, selected.len(), ids.len(), &others, request.repeating);
            let with_cursor = offered && paging.page == 1 && sort.is_none();
            let cursor_pagination = with_cursor.then(|| cursors(&selected, ids, paging, &others, &request));
            (ids, Meta { pagination: Some(pagination), cursor_pagination })
        }
        Position::After(_) | Position::Before(_) if request.repeating => {
            let ids = first.slice(&selected);
            (
                ids,
                Meta { pagination: None, cursor_pagination: Some(cursors(&selected, ids, paging, &others, &request)) },
            )
        }
        Position::After(id) => {
            let rest = &selected[selected.partition_point(|&other| other <= id)..];
            let ids = first.slice(rest);
            (
                ids,
                Meta { pagination: None, cursor_pagination: Some(cursors(&selected, ids, paging, &others, &request)) },
            )
        }
        Position::Before(id) => {
            let rest = &selected[..selected.partition_point(|&other| other < id)];
            let ids = &rest[rest.len().saturating_sub(paging.limit as usize)..];
            (
                ids,
                Meta { pagination: None, cursor_pagination: Some(cursors(&selected, ids, paging, &others, &request)) },
            )
        }
    };
    let shown: Vec<CustomerRow<'_>> = ids
        .iter()
        .filter_map(|&id| data.customer(id))
        .map(|customer| CustomerRow::new(data, customer, include, readings))
        .collect();
    Ok(rows(&shown, meta))
}

/// The cursors of the page that shows `ids` out of `selected`.
pub(super) fn cursors(
    selected: &[u64],
    ids: &[u64],
    paging: Paging,
    others: &str,
    request: &Request<'_>,
) -> CursorPagination {
    let more_before = ids.first().is_some_and(|first| selected.first().is_some_and(|lowest| lowest < first));
    let more_after = ids.last().is_some_and(|last| {
        request.repeating
            || request.readings.cursor_end == CursorEnd::EmptyPage
            || selected.last().is_some_and(|highest| highest > last)
    });
    let start = ids.first().map(|&id| cursor::write(id));
    let end = ids.last().map(|&id| cursor::write(id));
    let link = |word: &str, cursor: &Option<String>| {
        cursor.as_ref().map(|cursor| format!("?{word}={cursor}&limit={}{others}", paging.limit))
    };
    CursorPagination {
        count: ids.len() as u64,
        per_page: paging.limit,
        links: Links {
            previous: if more_before { link("before", &start) } else { None },
            current: None,
            next: if more_after { link("after", &end) } else { None },
        },
        start_cursor: start,
        end_cursor: end,
    }
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// By number.
    Page,
    /// After this id.
    After(u64),
    /// Before this id.
    Before(u64),
}

impl Position {
    /// From the query.
    pub(super) fn parse(query: &Query<'_>) -> Result<Self, Refusal> {
        let read = |name: &str| -> Result<Option<u64>, Refusal> {
            let Some(text) = query.text(name)? else { return Ok(None) };
            cursor::read(&text).map(Some).ok_or_else(|| invalid(name))
        };
        match (read("after")?, read("before")?) {
            (None, None) => Ok(Self::Page),
            (Some(id), None) => Ok(Self::After(id)),
            (None, Some(id)) => Ok(Self::Before(id)),
            (Some(_), Some(_)) => Err(invalid("after")),
        }
    }
}

/// What `sort` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sort {
    by: SortBy,
    descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SortBy {
    Created,
    Modified,
    LastName,
}

impl Sort {
    fn parse(query: &Query<'_>) -> Result<Option<Self>, Refusal> {
        let Some(text) = query.text("sort")? else { return Ok(None) };
        let (by, descending) = match text.split_once(':') {
            Some((by, "asc")) => (by, false),
            Some((by, "desc")) => (by, true),
            _ => return Err(invalid("sort")),
        };
        let by = match by {
            "date_created" => SortBy::Created,
            "date_modified" => SortBy::Modified,
            "last_name" => SortBy::LastName,
            _ => return Err(invalid("sort")),
        };
        Ok(Some(Self { by, descending }))
    }

    fn apply(self, data: &Data, ids: &mut [u64]) {
        match self.by {
            SortBy::Created => ids.sort_by_key(|&id| data.customer(id).map(|customer| customer.created)),
            SortBy::Modified => ids.sort_by_key(|&id| data.customer(id).map(|customer| customer.modified)),
            SortBy::LastName => {
                ids.sort_by_cached_key(|&id| data.customer(id).map(|customer| fold(&customer.last_name)))
            }
        }
        if self.descending {
            ids.reverse();
        }
    }
}

/// `DELETE /v3/customers?id:in=…`: 204 whether or not anything matched, as BigCommerce says.
pub(super) fn delete(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &["id:in"])?;
    match query.ids("id:in")? {
        Some(ids) => {
            for id in ids {
                records.delete_customer(request.moment, id);
            }
        }
        None => request.violation("no id:in"),
    }
    Ok(Answer::NoContent)
}
