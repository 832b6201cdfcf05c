//! Finding records by what a property holds, and counting them, as far as the search index knows them: it lags by some seconds.

use async_trait::async_trait;
use serde_json::json;

use super::HubSpot;
use super::api::ROWS_PER_SEARCH;
use super::properties::Place;
use super::read::VALUES_PER_FILTER;
use super::rows::id_of;
use crate::connector::lookup::{KEYS_FOUND_MAX, pieces};
use crate::connector::{Lane, Lookup, LookupLimits};
use crate::model::{Failure, Key};

/// The rows of a page of everything: the list has the history of every property.
const ROWS_PER_PAGE: usize = super::ROWS_PER_READ;

/// The most characters of the values of one search, as JSON: HubSpot takes 3,000 in all.
const CHARS_PER_SEARCH: usize = 2_500;

#[async_trait]
impl Lookup for HubSpot {
    fn lookup_limits(&self) -> LookupLimits {
        LookupLimits { values_per_find: VALUES_PER_FILTER, rows_per_page: ROWS_PER_PAGE }
    }

    /// What has not been looked at yet finds nothing.
    fn finds_by(&self, field: usize) -> bool {
        let known = self.known().unwrap_or_default();
        known.get(field).is_some_and(|found| found.as_ref().is_some_and(|property| property.finds))
    }

    async fn count(&self, lane: Lane) -> Result<u64, Failure> {
        self.total(&self.object, lane).await
    }

    async fn keys_with(&self, field: usize, values: &[String], _fold: bool, lane: Lane) -> Result<Vec<Key>, Failure> {
        let properties = self.properties().await?;
        let property = properties.get(field).and_then(Option::as_ref).filter(|property| property.finds);
        let name = match property.map(|property| &property.place) {
            Some(Place::Key) => "hs_object_id",
            Some(Place::Own(name)) => name,
            Some(Place::OfCompany(_)) | None => return Ok(Vec::new()),
        };
        let is_key = name == "hs_object_id";
        // The index has small letters alone, and so must the values that it is asked for.
        let values: Vec<String> = values
            .iter()
            .filter(|value| !value.is_empty() && (!is_key || id_of(&Key::new(*value)).is_some()))
            .map(|value| value.to_lowercase())
            .collect();
        let mut keys = Vec::new();
        for values in pieces(&values, VALUES_PER_FILTER, CHARS_PER_SEARCH, |value| json!(value).to_string().len() + 1) {
            let filter = json!({ "propertyName": name, "operator": "IN", "values": values });
            let mut after = 0;
            while keys.len() < KEYS_FOUND_MAX {
                // Each page is a search of its own, behind the last id: no search shows more than 10,000 results.
                let found = self.search(&self.object, std::slice::from_ref(&filter), after, lane).await?.body;
                keys.extend(found.iter().map(|id| Key::new(id.to_string())));
                match found.last() {
                    Some(last) if found.len() >= ROWS_PER_SEARCH => after = *last,
                    _ => break,
                }
            }
        }
        Ok(keys)
    }
}
