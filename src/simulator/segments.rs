//! `/v3/segments`, `/v3/segments/{id}/shopper-profiles`, `/v3/shopper-profiles`.
//!
//! Must not know: other fields of customers; sockets, quotas.

use serde::Serialize;

use super::answer::{Answer, Meta, Pagination, Refusal, RowError, created, partly, rows, wholly};
use super::beside::{Beside, Profile, Segment};
use super::body;
use super::dates::Seconds;
use super::query::{Paging, Query};
use super::records::Records;
use super::request::Request;
use super::settings::SegmentWrites;

/// A store has no more segments.
const SEGMENTS_MAX: usize = 1000;
/// The most profiles in one call.
const PROFILES_MAX: usize = 50;

/// A segment as it is shown.
#[derive(Serialize)]
struct SegmentRow<'data> {
    id: &'data str,
    name: &'data str,
    description: &'data str,
    created_at: Seconds,
    updated_at: Seconds,
}

impl<'data> SegmentRow<'data> {
    fn of(beside: &'data Beside, id: &'data str) -> Option<Self> {
        let segment = beside.segments.get(id)?;
        Some(Self {
            id,
            name: &segment.name,
            description: &segment.description,
            created_at: segment.created,
            updated_at: segment.modified,
        })
    }
}

/// A shopper profile as it is shown.
#[derive(Serialize)]
struct ProfileRow<'data> {
    id: &'data str,
    customer_id: u64,
    created_at: Seconds,
    updated_at: Seconds,
}

impl<'data> ProfileRow<'data> {
    fn of(beside: &'data Beside, id: &'data str) -> Option<Self> {
        let profile = beside.profiles.get(id)?;
        let created = profile.created;
        Some(Self { id, customer_id: profile.customer_id, created_at: created, updated_at: created })
    }
}

/// One page of rows, by number.
fn page<'data, T: Serialize>(
    request: &Request<'_>,
    query: &Query<'_>,
    paging: Paging,
    ids: &'data [String],
    row: impl Fn(&'data str) -> Option<T>,
) -> Answer {
    let start = usize::try_from((paging.page - 1).saturating_mul(paging.limit)).unwrap_or(usize::MAX);
    let start = if request.repeating { 0 } else { start };
    let shown: Vec<T> = ids.iter().skip(start).take(paging.limit as usize).filter_map(|id| row(id.as_str())).collect();
    let pagination = Pagination::of(paging, ids.len(), shown.len(), &query.others(), request.repeating);
    rows(&shown, Meta { pagination: Some(pagination), cursor_pagination: None })
}

/// What a batch came to: all done, or with errors in the shape of the reading.
fn answered<T: Serialize>(
    request: &Request<'_>,
    status: u16,
    done: &[T],
    errors: &[RowError],
) -> Result<Answer, Refusal> {
    match (errors, request.readings.segment_writes) {
        ([], SegmentWrites::Whole) => Ok(created(done)),
        ([], SegmentWrites::Partial) => Ok(Answer::Created(wholly(done))),
        (errors, SegmentWrites::Whole) => Err(partly::<u8>(status, &[], errors)),
        (errors, SegmentWrites::Partial) => Err(partly(422, done, errors)),
    }
}

/// What a delete is answered with.
fn deleted(request: &Request<'_>) -> Answer {
    match request.readings.segment_writes {
        SegmentWrites::Whole => Answer::NoContent,
        SegmentWrites::Partial => Answer::Json(wholly::<u8>(&[])),
    }
}

/// Whether a batch with errors leaves its good rows undone.
fn undone(request: &Request<'_>, errors: &[RowError]) -> bool {
    !errors.is_empty() && request.readings.segment_writes == SegmentWrites::Whole
}

/// `GET /v3/segments`
pub(super) fn list(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &["page", "limit", "id:in"])?;
    let (paging, wanted) = (query.paging()?, query.texts("id:in")?);
    let beside = records.listed(request.behind, request.moment).beside();
    let among = |id: &&String| wanted.as_ref().is_none_or(|wanted| wanted.contains(id));
    let ids: Vec<String> = beside.segments.keys().filter(among).cloned().collect();
    Ok(page(&request, &query, paging, &ids, |id| SegmentRow::of(beside, id)))
}

/// `POST /v3/segments`
pub(super) fn create(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    let (mut good, mut errors) = (Vec::new(), Vec::new());
    for (index, row) in body::rows(&values, &["name", "description"])?.into_iter().enumerate() {
        let name = row.required_text("name")?;
        let beside = records.now().beside();
        let known = beside.segment_named(name).is_some() || good.iter().any(|(other, _)| *other == name);
        if known {
            errors.push(RowError::new(409, "Cannot have multiple segments with the same name.", index, "conflict"));
        } else if name.is_empty() || beside.segments.len() + good.len() >= SEGMENTS_MAX {
            errors.push(RowError::new(400, "The segment was not valid.", index, "invalid"));
        } else {
            good.push((name, row.text("description")?.unwrap_or_default()));
        }
    }
    let status = errors.first().map_or(201, |error| error.status);
    let mut ids = Vec::new();
    if !undone(&request, &errors) {
        for (name, description) in good {
            ids.push(
                records.edit_beside(request.moment, |beside| make(beside, request.moment.date, name, description)),
            );
        }
    }
    let beside = records.now().beside();
    let done: Vec<SegmentRow<'_>> = ids.iter().filter_map(|id| SegmentRow::of(beside, id)).collect();
    answered(&request, status, &done, &errors)
}

/// A new segment; its id.
pub(super) fn make(beside: &mut Beside, date: Seconds, name: &str, description: &str) -> String {
    let id = beside.next_uuid();
    let segment = Segment {
        name: name.to_owned(),
        description: description.to_owned(),
        created: date,
        modified: date,
        members: std::collections::BTreeSet::new(),
    };
    beside.segments.insert(id.clone(), segment);
    id
}

/// `PUT /v3/segments`
pub(super) fn rename(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    let mut ids = Vec::new();
    for row in body::rows(&values, &["id", "name", "description"])? {
        let id = row.required_text("id")?;
        if !records.now().beside().segments.contains_key(id) {
            return Err(Refusal::new(400, "The segment was not valid."));
        }
        let (name, description) = (row.text("name")?, row.text("description")?);
        records.edit_beside(request.moment, |beside| {
            let Some(segment) = beside.segments.get_mut(id) else { return };
            name.into_iter().for_each(|name| name.clone_into(&mut segment.name));
            description.into_iter().for_each(|text| text.clone_into(&mut segment.description));
            segment.modified = request.moment.date;
        });
        ids.push(id);
    }
    let beside = records.now().beside();
    let done: Vec<SegmentRow<'_>> = ids.iter().filter_map(|id| SegmentRow::of(beside, id)).collect();
    answered(&request, 201, &done, &[])
}

/// The ids of a delete; none, and noted, where there are none: BigCommerce then deletes all.
fn to_delete(request: &Request<'_>) -> Result<Option<Vec<String>>, Refusal> {
    let query = Query::parse(request.query, &["id:in"])?;
    let ids = query.texts("id:in")?;
    if ids.is_none() {
        request.violation("no id:in: it deletes all");
    }
    if ids.as_ref().is_some_and(|ids| ids.len() > PROFILES_MAX) {
        request.violation("more than 50 ids");
    }
    Ok(ids)
}

/// `DELETE /v3/segments`
pub(super) fn delete(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let ids = to_delete(&request)?;
    let stays = |id: &str| ids.as_ref().is_some_and(|ids| !ids.iter().any(|other| other == id));
    records.edit_beside(request.moment, |beside| beside.segments.retain(|id, _| stays(id)));
    Ok(deleted(&request))
}

/// `GET /v3/segments/{id}/shopper-profiles`
pub(super) fn members(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &["page", "limit"])?;
    let paging = query.paging()?;
    let beside = records.listed(request.behind, request.moment).beside();
    let segment = beside.segments.get(&request.ids.first).ok_or_else(|| Refusal::new(404, "Segment not found."))?;
    let ids: Vec<String> = segment.members.iter().cloned().collect();
    Ok(page(&request, &query, paging, &ids, |id| ProfileRow::of(beside, id)))
}

/// `POST /v3/segments/{id}/shopper-profiles`: a list of ids.
pub(super) fn add(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    const TITLE: &str = "Unable to add shopper profiles to segment due to conflicts.";
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    if values.len() > PROFILES_MAX || values.is_empty() {
        return Err(Refusal::new(400, format!("1 to {PROFILES_MAX} shopper profiles")).violating());
    }
    let segment_id = request.ids.first.as_str();
    let beside = records.now().beside();
    let segment = beside.segments.get(segment_id).ok_or_else(|| Refusal::new(404, "Segment not found."))?;
    let (mut good, mut errors) = (Vec::new(), Vec::new());
    for (index, value) in values.iter().enumerate() {
        let id = value.as_str().ok_or_else(|| Refusal::new(400, "Input is invalid").violating())?;
        if !beside.profiles.contains_key(id) {
            errors.push(RowError::new(400, "Shopper profile not found.", index, "invalid shopper profile"));
        } else if segment.members.contains(id) {
            let what = format!("Shopper profile `{id}` already exists for segment `{segment_id}`.");
            errors.push(RowError::new(409, TITLE, index, &what));
        } else {
            good.push(id.to_owned());
        }
    }
    let status = errors.first().map_or(201, |error| error.status);
    if undone(&request, &errors) {
        good.clear();
    }
    records.edit_beside(request.moment, |beside| {
        if let Some(segment) = beside.segments.get_mut(segment_id) {
            segment.members.extend(good.iter().cloned());
        }
    });
    let beside = records.now().beside();
    let done: Vec<ProfileRow<'_>> = good.iter().filter_map(|id| ProfileRow::of(beside, id)).collect();
    answered(&request, status, &done, &errors)
}

/// `DELETE /v3/segments/{id}/shopper-profiles`
pub(super) fn remove(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let ids = to_delete(&request)?;
    records.edit_beside(request.moment, |beside| {
        let Some(segment) = beside.segments.get_mut(&request.ids.first) else { return };
        segment.members.retain(|id| ids.as_ref().is_some_and(|ids| !ids.contains(id)));
    });
    Ok(deleted(&request))
}

/// `GET /v3/shopper-profiles`
pub(super) fn profiles(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &["page", "limit"])?;
    let paging = query.paging()?;
    let beside = records.listed(request.behind, request.moment).beside();
    let ids: Vec<String> = beside.profiles.keys().cloned().collect();
    Ok(page(&request, &query, paging, &ids, |id| ProfileRow::of(beside, id)))
}

/// `POST /v3/shopper-profiles`
pub(super) fn create_profiles(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    if values.len() > PROFILES_MAX {
        request.violation("more than 50 profiles");
    }
    let (mut good, mut errors) = (Vec::new(), Vec::new());
    for (index, row) in body::rows(&values, &["customer_id"])?.into_iter().enumerate() {
        let customer = row.required_number("customer_id")?;
        let data = records.now();
        if data.customer(customer).is_none() {
            errors.push(RowError::new(400, "The customer was not found.", index, "invalid customer"));
        } else if data.beside().profile_of(customer).is_some() || good.contains(&customer) {
            errors.push(RowError::new(409, "The customer has a shopper profile.", index, "conflict"));
        } else {
            good.push(customer);
        }
    }
    let status = errors.first().map_or(201, |error| error.status);
    if undone(&request, &errors) {
        good.clear();
    }
    let date = request.moment.date;
    let ids: Vec<String> = good
        .into_iter()
        .map(|customer| records.edit_beside(request.moment, |beside| profile(beside, date, customer)))
        .collect();
    let beside = records.now().beside();
    let done: Vec<ProfileRow<'_>> = ids.iter().filter_map(|id| ProfileRow::of(beside, id)).collect();
    answered(&request, status, &done, &errors)
}

/// The profile of a customer, which is made where there is none.
pub(super) fn profile(beside: &mut Beside, date: Seconds, customer: u64) -> String {
    if let Some(known) = beside.profile_of(customer) {
        return known.to_owned();
    }
    let id = beside.next_uuid();
    beside.profiles.insert(id.clone(), Profile { customer_id: customer, created: date });
    id
}

/// `DELETE /v3/shopper-profiles`
pub(super) fn delete_profiles(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let ids = to_delete(&request)?;
    let stays = |id: &str| ids.as_ref().is_some_and(|ids| !ids.iter().any(|other| other == id));
    records.edit_beside(request.moment, |beside| {
        beside.profiles.retain(|id, _| stays(id));
        for segment in beside.segments.values_mut() {
            segment.members.retain(|id| stays(id));
        }
    });
    Ok(deleted(&request))
}
