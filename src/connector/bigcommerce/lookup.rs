//! Finding customers by what they hold: before one is made, and to know how many there are.

use async_trait::async_trait;

use super::customers::CustomerField;
use super::field::Field;
use super::paging::{Paging, Step};
use super::wire::{CustomerRow, Listing, Object};
use super::{BigCommerce, Lane, PAGE_ROWS, Paid, query};
use crate::connector::{End, Lookup, LookupLimits};
use crate::http::Answer;
use crate::model::{Failure, Key};

/// The e-mails of one call: of the longest that a customer may have, what an address takes.
const VALUES_PER_FIND: usize = 15;

#[async_trait]
impl Lookup for BigCommerce {
    fn lookup_limits(&self) -> LookupLimits {
        LookupLimits { values_per_find: VALUES_PER_FIND, rows_per_page: PAGE_ROWS }
    }

    fn finds_by(&self, field: usize) -> bool {
        self.filter(field).is_some()
    }

    async fn count(&self, lane: Lane) -> Result<u64, Failure> {
        let endpoint = &self.endpoints.customers;
        let parse = |answer: &Answer| {
            let Object(listing) = answer.json::<Object<Listing<CustomerRow<'_>>>>()?;
            let total = listing.meta.pagination.and_then(|pagination| pagination.total);
            total.ok_or_else(|| answer.unreadable("without how many there are"))
        };
        self.read(endpoint, "limit=1", Paid::in_lane(lane), parse).await
    }

    /// Whether the store tells letters' case apart here is not documented: its answer is compared again by whoever asked.
    async fn keys_with(&self, field: usize, values: &[String], _fold: bool, lane: Lane) -> Result<Vec<Key>, Failure> {
        let Some(filter) = self.filter(field) else { return Ok(Vec::new()) };
        // A comma parts values here, and no way to write one inside a value is documented; no e-mail that we know has one.
        let values: Vec<&str> = values.iter().map(String::as_str).filter(|value| !value.contains(',')).collect();
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let base = query::customers_with(filter, &values);
        let endpoint = &self.endpoints.customers;
        let mut paging = Paging::default();
        let mut found = Vec::new();
        loop {
            let parse = |answer: &Answer| {
                let Object(listing) = answer.json::<Object<Listing<CustomerRow<'_>>>>()?;
                let ids: Vec<u64> = listing.data.iter().map(|row| row.id).collect();
                Ok((ids, listing.meta))
            };
            let query = format!("{base}{}", paging.query());
            let (ids, meta) = self.read(endpoint, &query, Paid::in_lane(lane), parse).await?;
            found.extend(ids.iter().map(|id| Key::new(id.to_string())));
            match paging.turned(&ids, &meta).map_err(|why| self.senseless(endpoint, why))? {
                Step::More => {}
                Step::Again => found.clear(),
                Step::End(End::Whole) => return Ok(found),
                Step::End(End::Torn) => return Err(self.restless("customers")),
            }
        }
    }
}

impl BigCommerce {
    /// The parameter by which customers are listed that hold one of some values in a field.
    fn filter(&self, field: usize) -> Option<&'static str> {
        match self.fields.get(field) {
            Some(Field::Customer(CustomerField::Email)) => Some("email:in"),
            Some(Field::Customer(CustomerField::Id)) => Some("id:in"),
            _ => None,
        }
    }
}
