//! Query strings, written by hand: an unknown or empty parameter is refused (422), and the colons of a date must not be
//! percent-encoded, which every URL library would do.

use std::fmt::Write as _;

use super::PAGE_ROWS;
use crate::http::encoded;
use crate::model::Timestamp;

/// The most characters that lists of ids may take in one address. The documentation names no limit; servers and what
/// stands before them commonly take 8,000 for the whole line.
const ID_CHARS_MAX: usize = 5_000;

/// Customers, as a sweep or a feed reads them; `include`: what is to be shown beside their own fields.
pub(super) fn customers(since: Option<Timestamp>, include: &[&str], limit: usize) -> String {
    let mut query = format!("limit={limit}");
    if !include.is_empty() {
        push(&mut query, "include", &include.join(","));
    }
    if let Some(since) = since {
        push(&mut query, "date_modified:min", &since.to_seconds_text());
    }
    query
}

/// These customers.
pub(super) fn customers_by_id(ids: &[u64], include: &[&str]) -> String {
    let mut query = customers(None, include, PAGE_ROWS);
    push(&mut query, "id:in", &joined(ids));
    query
}

/// Customers that hold one of these values, by a filter such as `email:in`.
pub(super) fn customers_with(filter: &str, values: &[&str]) -> String {
    let mut query = customers(None, &[], PAGE_ROWS);
    let values: Vec<String> = values.iter().map(|value| encoded(value)).collect();
    push(&mut query, filter, &values.join(","));
    query
}

/// Values of these attributes that changed since; never with an upper bound, which an edit could move rows out of.
pub(super) fn values_since(attributes: &[u64], since: Timestamp) -> String {
    let mut query = format!("limit={PAGE_ROWS}");
    push(&mut query, "attribute_id:in", &joined(attributes));
    push(&mut query, "date_modified:min", &since.to_seconds_text());
    query
}

/// Values of these customers.
pub(super) fn values_of(customers: &[u64], attributes: &[u64]) -> String {
    let mut query = format!("limit={PAGE_ROWS}");
    push(&mut query, "customer_id:in", &joined(customers));
    push(&mut query, "attribute_id:in", &joined(attributes));
    query
}

/// Metafields by a filter, all or those that changed since.
pub(super) fn metafields(filter: &str, since: Option<Timestamp>) -> String {
    let mut query = format!("limit={PAGE_ROWS}{filter}");
    if let Some(since) = since {
        push(&mut query, "date_modified:min", &since.to_seconds_text());
    }
    query
}

/// Subscribers: all, those that changed since, or those of an e-mail, percent-encoded.
pub(super) fn subscribers(since: Option<Timestamp>, email: Option<&str>) -> String {
    let mut query = format!("limit={PAGE_ROWS}");
    if let Some(since) = since {
        push(&mut query, "date_modified:min", &since.to_seconds_text());
    }
    if let Some(email) = email {
        push(&mut query, "email", email);
    }
    query
}

/// The customers who have one of these e-mails, each percent-encoded.
pub(super) fn customers_by_email(emails: &[String]) -> String {
    let mut query = customers(None, &[], PAGE_ROWS);
    push(&mut query, "email:in", &emails.join(","));
    query
}

/// Addresses of these customers.
pub(super) fn addresses_of(customers: &[u64], form_fields: bool) -> String {
    let mut query = format!("limit={PAGE_ROWS}");
    push(&mut query, "customer_id:in", &joined(customers));
    if form_fields {
        query.push_str("&include=formfields");
    }
    query
}

/// As many of the first texts as fit into an address, but no more than `most`.
pub(super) fn fitting_texts(texts: &[String], most: usize) -> (&[String], &[String]) {
    let mut chars = 0;
    let fitting = texts.iter().take(most).take_while(|text| {
        chars += text.len() + 1;
        chars <= ID_CHARS_MAX
    });
    texts.split_at(fitting.count().max(1).min(texts.len()))
}

/// As many of the first ids, of which there is one, as fit into an address beside `also`, but no more than `most`.
pub(super) fn fitting<'a>(ids: &'a [u64], also: &[u64], most: usize) -> (&'a [u64], &'a [u64]) {
    let room = ID_CHARS_MAX.saturating_sub(joined(also).len());
    let mut chars = 0;
    let fitting = ids.iter().take(most).take_while(|id| {
        chars += id.to_string().len() + 1;
        chars <= room
    });
    // One id always goes, whatever the room.
    ids.split_at(fitting.count().max(1).min(ids.len()))
}

/// Ids with commas between.
pub(super) fn joined(ids: &[u64]) -> String {
    let mut text = String::with_capacity(ids.len() * 8);
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let _ = write!(text, "{id}");
    }
    text
}

fn push(query: &mut String, name: &str, value: &str) {
    let _ = write!(query, "&{name}={value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_keep_their_colons_and_have_whole_seconds() {
        let since = Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap();
        assert_eq!(
            values_since(&[7, 8], since),
            "limit=250&attribute_id:in=7,8&date_modified:min=2026-01-02T03:04:05Z"
        );
        let query = customers(Some(since), &["attributes", "formfields"], 250);
        assert_eq!(query, "limit=250&include=attributes,formfields&date_modified:min=2026-01-02T03:04:05Z");
        let address = reqwest::Url::parse(&format!("https://x/y?{query}")).unwrap();
        assert_eq!(address.query(), Some(query.as_str()), "and the client leaves it so");
    }

    #[test]
    fn values_are_encoded_and_the_commas_between_them_are_not() {
        let query = customers_with("email:in", &["a+b@example.com", "c&d@example.com"]);
        assert_eq!(query, "limit=250&email:in=a%2Bb%40example.com,c%26d%40example.com");
    }

    #[test]
    fn ids_fit_into_addresses() {
        let ids: Vec<u64> = (0..1000).map(|id| 10_000_000_000 + id).collect();
        let (mut rest, mut groups) = (ids.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (group, later) = fitting(rest, &[1, 2, 3], PAGE_ROWS);
            groups.push(group);
            rest = later;
        }
        assert_eq!(groups.concat(), ids);
        assert!(groups.iter().all(|group| group.len() <= 250 && joined(group).len() <= ID_CHARS_MAX));
        assert!(values_of(groups[0], &[1, 2, 3]).len() < 6000);
        assert_eq!(fitting(&ids, &[1, 2, 3], 7).0.len(), 7);
        assert_eq!(fitting(&ids, &ids, 7).0.len(), 1);
        assert_eq!(fitting(&[], &[], 7), (&[][..], &[][..]));
    }
}
