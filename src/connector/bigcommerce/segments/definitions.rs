//! Segments: found by name once, then known by id; those that are missing are made by the first pass that may write; none is ever
//! deleted or made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::field::Field;
use super::super::paging::{Paging, Step};
use super::super::read::Included;
use super::super::wire::{Listing, Object};
use super::super::{BigCommerce, Lane, PAGE_ROWS, Paid, query};
use super::{Segments, is_path_id, shape};
use crate::connector::names::nearest;
use crate::connector::{End, FieldWanted, Unreserved};
use crate::http::{Answer, Request};
use crate::model::{Class, Definition, DefinitionState, Failure};

/// A segment.
#[derive(Clone, Debug, Deserialize)]
struct SegmentRow {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct NewSegment<'a> {
    name: &'a str,
}

/// The names of a field's segments, each with the id that is remembered.
type Names<'a> = BTreeMap<&'a str, Option<String>>;

/// What became of one name.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Is(String),
    /// Under this name by now.
    Renamed(String, String),
    Missing,
    Changed(String),
}

impl BigCommerce {
    /// Finds the segments of each field, and makes those that are missing if the caller allows.
    pub(in super::super) async fn define_segments(
        &self,
        known: &[Option<String>],
        may_create: bool,
    ) -> Result<(BTreeMap<usize, Definition>, Vec<String>), Failure> {
        let wanted: Vec<(usize, &Field, Names<'_>)> = self
            .fields
            .wanted()
            .filter_map(|(index, field, wanted)| {
                let names = names_of(field, wanted)?;
                let known = known_ids(field, known.get(index).and_then(Option::as_deref));
                Some((index, field, names.into_iter().map(|name| (name, known.get(name).cloned())).collect()))
            })
            .collect();
        if wanted.is_empty() {
            return Ok((BTreeMap::new(), Vec::new()));
        }
        let unusable = |sentence: &str| {
            let state = DefinitionState::Unusable(sentence.to_owned());
            wanted.iter().map(|(index, ..)| (*index, Definition { id: None, state: state.clone() })).collect()
        };
        let mut rows = match self.list_segments().await {
            Err(failure) if failure.status == Some(403) => return Ok((unusable(&not_ours(&failure)), Vec::new())),
            rows => rows?,
        };
        if !self.shows_segments().await? {
            return Ok((unusable(NOT_SHOWN), Vec::new()));
        }
        let missing: BTreeSet<&str> = wanted
            .iter()
            .flat_map(|(_, _, names)| names)
            .filter(|(name, known)| found(&rows, name, known.as_deref()) == Found::Missing)
            .map(|(name, _)| *name)
            .collect();
        let mut warnings = Vec::new();
        let mut created = false;
        if may_create && !missing.is_empty() {
            if let Err(refusal) = self.create_segments(&missing).await? {
                return Ok((unusable(&refusal), Vec::new()));
            }
            rows = self.list_segments().await?;
            created = true;
        } else {
            warnings.extend(missing.iter().map(|name| to_be_made(name, &rows)));
        }
        let mut by_field = vec![BTreeMap::new(); self.fields.len()];
        let mut definitions = BTreeMap::new();
        for (index, field, names) in &wanted {
            let (definition, ids) =
                defined(field, names, &rows, created && names.keys().any(|name| missing.contains(name)));
            definitions.insert(*index, definition);
            by_field[*index] = ids;
        }
        let segments = Arc::new(Segments { by_field });
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = Some(segments);
        Ok((definitions, warnings))
    }

    async fn list_segments(&self) -> Result<Vec<SegmentRow>, Failure> {
        let endpoint = &self.endpoints.segments;
        let mut paging = Paging::default();
        let mut rows: Vec<SegmentRow> = Vec::new();
        loop {
            let query = format!("limit={PAGE_ROWS}{}", paging.query());
            let parse = |answer: &Answer| {
                let Object(listing) = answer.json::<Object<Listing<SegmentRow>>>()?;
                if listing.data.iter().all(|row| is_path_id(&row.id)) {
                    Ok(listing)
                } else {
                    Err(answer.unreadable("segments with ids that are none"))
                }
            };
            let listing = self.read(endpoint, &query, Paid::in_lane(Lane::Fresh), parse).await?;
            let ids: Vec<u64> = listing.data.iter().map(|row| number_of(&row.id)).collect();
            let step = paging.turned(&ids, &listing.meta).map_err(|why| self.senseless(endpoint, why))?;
            rows.extend(listing.data);
            match step {
                Step::More => {}
                Step::Again => rows.clear(),
                Step::End(End::Whole) => return Ok(rows),
                // One that was not seen would be taken for deleted.
                Step::End(End::Torn) => return Err(self.restless("segments")),
            }
        }
    }

    /// Whether customers show their segments: documented, and marked as Beta. Asked once.
    async fn shows_segments(&self) -> Result<bool, Failure> {
        if self.segments_shown.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let include = Included { segments: true, ..Included::default() };
        let query = query::customers(None, &include.words(), 1);
        let parse = |answer: &Answer| answer.json::<Object<serde::de::IgnoredAny>>().map(|_| ());
        match self.read(&self.endpoints.customers, &query, Paid::in_lane(Lane::Fresh), parse).await {
            Ok(()) => {
                self.segments_shown.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Err(failure) if matches!(failure.status, Some(400 | 422)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Makes segments, with one call that is never repeated: a listing then says what there is. The inner error is a refusal.
    async fn create_segments(&self, names: &BTreeSet<&str>) -> Result<Result<(), String>, Failure> {
        let new: Vec<NewSegment<'_>> = names.iter().map(|name| NewSegment { name }).collect();
        let body = serde_json::to_vec(&new).map_err(|_unwritable| self.unwritable())?;
        let request = Request::change(Method::POST, "", Some(body));
        let endpoint = &self.endpoints.segment_writes;
        match self.send_write(endpoint, &request, &Unreserved(Lane::Fresh)).await {
            Ok(_) => Ok(Ok(())),
            // They exist by now, or were made although the answer was lost: the listing knows.
            Err(failure) if failure.status == Some(409) || failure.may_have_happened => Ok(Ok(())),
            Err(failure) if failure.class == Class::Rejected => Ok(Err(format!(
                "BigCommerce refused to make the segments that the mapping names and the store lacks (status {}); a store has \
                 1000 at most: make them in BigCommerce, or correct the mapping",
                failure.status.unwrap_or_default()
            ))),
            Err(failure) => Err(failure),
        }
    }

    /// The segments as the last preparation found them.
    pub(in super::super) fn segments(&self) -> Arc<Segments> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

/// Pages are walked by number; a segment's id is none.
pub(super) fn number_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The names of a field's segments; none where it is not about segments.
fn names_of<'a>(field: &'a Field, wanted: &'a FieldWanted) -> Option<Vec<&'a str>> {
    match field {
        Field::Segment(name) => Some(vec![name]),
        Field::Segments => Some(wanted.options.among.iter().map(String::as_str).collect()),
        _ => None,
    }
}

/// The remembered ids: of one segment its own, of several a JSON object by name.
fn known_ids(field: &Field, known: Option<&str>) -> BTreeMap<String, String> {
    match (field, known) {
        (Field::Segment(name), Some(id)) => [(name.clone(), id.to_owned())].into(),
        (_, Some(ids)) => serde_json::from_str(ids).unwrap_or_default(),
        (_, None) => BTreeMap::new(),
    }
}

fn found(rows: &[SegmentRow], name: &str, known: Option<&str>) -> Found {
    let named = rows.iter().find(|row| row.name == name);
    let Some(known) = known else { return named.map_or(Found::Missing, |row| Found::Is(row.id.clone())) };
    match (rows.iter().find(|row| row.id == known), named) {
        (Some(row), _) if row.name == name => Found::Is(row.id.clone()),
        (Some(row), None) => Found::Renamed(row.id.clone(), row.name.clone()),
        (_, Some(_)) => Found::Changed(format!(
            "the name `{name}` now belongs to another segment; nobody is put into it or taken out until someone decides"
        )),
        (None, None) => Found::Changed(format!(
            "the segment `{name}` has been deleted in BigCommerce, and who was in it with it; nothing is made in its place"
        )),
    }
}

/// The definition of a field, and the ids of its segments by name.
fn defined(
    field: &Field,
    names: &Names<'_>,
    rows: &[SegmentRow],
    created: bool,
) -> (Definition, BTreeMap<String, String>) {
    let shape = shape(field);
    let mut ids = BTreeMap::new();
    let mut state =
        if created { DefinitionState::Created(shape.clone()) } else { DefinitionState::Usable(shape.clone()) };
    let mut remembered = BTreeMap::new();
    for (name, known) in names {
        match found(rows, name, known.as_deref()) {
            Found::Is(id) => drop(ids.insert((*name).to_owned(), id)),
            Found::Renamed(id, now) => {
                ids.insert((*name).to_owned(), id);
                if matches!(state, DefinitionState::Usable(_)) {
                    state = DefinitionState::Renamed(shape.clone(), now);
                }
            }
            Found::Missing if matches!(state, DefinitionState::Changed(_)) => {}
            Found::Missing => state = DefinitionState::ToCreate(shape.clone()),
            Found::Changed(sentence) => {
                // The remembered id stays: a person decides whether the new one takes its place.
                remembered.extend(known.clone().map(|known| ((*name).to_owned(), known)));
                state = DefinitionState::Changed(sentence);
            }
        }
    }
    remembered.extend(ids.clone());
    if matches!(state, DefinitionState::Changed(_)) {
        ids.clear();
    }
    let id = match field {
        Field::Segment(name) => remembered.get(name).cloned(),
        _ if remembered.is_empty() => None,
        _ => serde_json::to_string(&remembered).ok(),
    };
    (Definition { id, state }, ids)
}

fn to_be_made(name: &str, rows: &[SegmentRow]) -> String {
    let nearest = nearest(name, rows.iter().map(|row| row.name.as_str()));
    let nearest = nearest.map(|nearest| format!("; the nearest that it has is `{nearest}`")).unwrap_or_default();
    format!("the store has no segment named `{name}`: the first pass that writes makes it{nearest}")
}

/// Why segments are closed to us.
fn not_ours(failure: &Failure) -> String {
    let says_plan = failure.detail.as_deref().is_some_and(|said| said.to_ascii_lowercase().contains("enterprise"));
    let what = if says_plan {
        "BigCommerce says that the plan of this store has no segments (only Enterprise has); take `segment:…` and `segments` out \
         of the mapping, or map a customer group or an attribute"
    } else {
        "BigCommerce does not let this token see segments: its API account needs the scope Customers (modify), and the plan of \
         the store must have segments (Enterprise)"
    };
    what.to_owned()
}

const NOT_SHOWN: &str = "this store does not show which segments a customer is in (`include=segment_ids`, which BigCommerce \
                         marks as Beta), so that segments can be neither read nor written; take `segment:…` and `segments` \
                         out of the mapping";

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, &str)]) -> Vec<SegmentRow> {
        rows.iter().map(|(id, name)| SegmentRow { id: (*id).to_owned(), name: (*name).to_owned() }).collect()
    }

    #[test]
    fn by_name_first_and_by_id_ever_after() {
        let listed = rows(&[("a", "Gold"), ("b", "Silver")]);
        assert_eq!(found(&listed, "Gold", None), Found::Is("a".to_owned()));
        assert_eq!(found(&listed, "gold", None), Found::Missing, "names are exact");
        assert_eq!(found(&listed, "Gold", Some("a")), Found::Is("a".to_owned()));
        assert_eq!(found(&listed, "Platinum", Some("a")), Found::Renamed("a".to_owned(), "Gold".to_owned()));
        assert!(matches!(found(&listed, "Gold", Some("z")), Found::Changed(why) if why.contains("another segment")));
        assert!(matches!(found(&listed, "Bronze", Some("z")), Found::Changed(why) if why.contains("deleted")));
    }

    #[test]
    fn of_several_one_that_changed_holds_all_and_is_remembered() {
        let listed = rows(&[("a", "Gold"), ("b", "Silver")]);
        let state = |names: &[(&'static str, Option<&str>)]| {
            let names = names.iter().map(|(name, known)| (*name, known.map(str::to_owned))).collect();
            let (definition, ids) = defined(&Field::Segments, &names, &listed, false);
            (definition.state, definition.id.unwrap_or_default(), ids.len())
        };
        let shape = shape(&Field::Segments);
        let both = r#"{"Gold":"a","Silver":"b"}"#.to_owned();
        assert_eq!(state(&[("Gold", None), ("Silver", Some("b"))]), (DefinitionState::Usable(shape.clone()), both, 2));
        let one = r#"{"Gold":"a"}"#.to_owned();
        assert_eq!(state(&[("Bronze", None), ("Gold", None)]), (DefinitionState::ToCreate(shape), one, 1));
        let (changed, id, usable) = state(&[("Bronze", Some("z")), ("Gold", Some("a"))]);
        assert!(matches!(changed, DefinitionState::Changed(_)));
        assert_eq!((id.as_str(), usable), (r#"{"Bronze":"z","Gold":"a"}"#, 0));
    }
}
