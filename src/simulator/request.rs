//! What an endpoint is given to answer one call.
//!
//! Must not know: where the call came from.

use std::cell::RefCell;

use super::answer::{Answer, Refusal};
use super::endpoint::{Call, Endpoint, Method, PathIds};
use super::records::{Moment, Records};
use super::settings::{IdsPerList, Readings};
use super::{
    addresses, attributes, customers, form_fields, groups, metafields, segments, store_information, subscribers, values,
};

/// One call, admitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'call> {
    /// Method and endpoint.
    pub(super) call: Call,
    /// The ids in its path.
    pub(super) ids: &'call PathIds,
    /// The query as it stands in the URL.
    pub(super) query: Option<&'call str>,
    /// The body.
    pub(super) body: &'call [u8],
    /// When it takes effect.
    pub(super) moment: Moment,
    /// What the uncertain facts are.
    pub(super) readings: Readings,
    /// Whether lists are read from the copy that lags.
    pub(super) behind: bool,
    /// Whether lists show their first page for ever.
    pub(super) repeating: bool,
    /// The store's hash.
    pub(super) hash: &'call str,
    /// Who calls: a token stands for its API account, which owns the metafields that it makes.
    pub(super) client: &'call str,
    /// What no correct client does, though it is not refused.
    pub(super) violations: &'call RefCell<Vec<String>>,
}

impl Request<'_> {
    /// Notes what no correct client does, though it is not refused.
    pub(super) fn violation(&self, note: &str) {
        self.violations.borrow_mut().push(format!("{}: {note}", self.call));
    }
}

/// The most ids of one parameter, where there is a limit.
const IDS_PER_LIST_MAX: usize = 100;

/// Does what a call asks for.
pub(super) fn answer(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    if request.readings.ids_per_list == IdsPerList::Hundred {
        let long = |parameter: &str| parameter.split(',').count() > IDS_PER_LIST_MAX;
        if request.query.into_iter().flat_map(|query| query.split('&')).any(long) {
            return Err(Refusal::new(422, format!("A filter takes at most {IDS_PER_LIST_MAX} values.")));
        }
    }
    match (request.call.endpoint, request.call.method) {
        (Endpoint::Customers, Method::Get) => customers::list(records, request),
        (Endpoint::Customers, Method::Post) => customers::create(records, request),
        (Endpoint::Customers, Method::Put) => customers::update(records, request),
        (Endpoint::Customers, Method::Delete) => customers::delete(records, request),
        (Endpoint::Attributes, Method::Get) => attributes::list(records, request),
        (Endpoint::Attributes, Method::Post) => attributes::create(records, request),
        (Endpoint::Attributes, Method::Put) => attributes::rename(records, request),
        (Endpoint::Attributes, Method::Delete) => attributes::delete(records, request),
        (Endpoint::AttributeValues, Method::Get) => values::list(records, request),
        (Endpoint::AttributeValues, Method::Delete) => values::delete(records, request),
        (Endpoint::AttributeValues, _) => values::upsert(records, request),
        (Endpoint::Segments, Method::Get) => segments::list(records, request),
        (Endpoint::Segments, Method::Post) => segments::create(records, request),
        (Endpoint::Segments, Method::Put) => segments::rename(records, request),
        (Endpoint::Segments, Method::Delete) => segments::delete(records, request),
        (Endpoint::SegmentMembers, Method::Get) => segments::members(records, request),
        (Endpoint::SegmentMembers, Method::Delete) => segments::remove(records, request),
        (Endpoint::SegmentMembers, _) => segments::add(records, request),
        (Endpoint::ShopperProfiles, Method::Get) => segments::profiles(records, request),
        (Endpoint::ShopperProfiles, Method::Delete) => segments::delete_profiles(records, request),
        (Endpoint::ShopperProfiles, _) => segments::create_profiles(records, request),
        (Endpoint::Metafields, Method::Get) => metafields::list(records, request),
        (Endpoint::Metafields, Method::Post) => metafields::create(records, request),
        (Endpoint::Metafields, _) => metafields::update(records, request),
        (Endpoint::CustomerMetafields, _) => metafields::of_customer(records, request),
        (Endpoint::CustomerMetafield, Method::Delete) => metafields::delete(records, request),
        (Endpoint::CustomerMetafield, _) => metafields::one(records, request),
        (Endpoint::Subscribers, Method::Get) => subscribers::list(records, request),
        (Endpoint::Subscribers, Method::Post) => subscribers::create(records, request),
        (Endpoint::Subscribers, _) => subscribers::delete_all(records, request),
        (Endpoint::Subscriber, Method::Get) => subscribers::one(records, request),
        (Endpoint::Subscriber, Method::Delete) => subscribers::delete(records, request),
        (Endpoint::Subscriber, _) => subscribers::update(records, request),
        (Endpoint::Addresses, Method::Get) => addresses::list(records, request),
        (Endpoint::Addresses, Method::Post) => addresses::create(records, request),
        (Endpoint::Addresses, Method::Put) => addresses::update(records, request),
        (Endpoint::Addresses, Method::Delete) => addresses::delete(records, request),
        (Endpoint::FormFieldValues, _) => form_fields::list(records, request),
        (Endpoint::CustomerGroups, Method::Post) => groups::create(records, request),
        (Endpoint::CustomerGroups, _) => groups::list(records, request),
        (Endpoint::Time, _) => store_information::time(request),
        (Endpoint::Store, _) => store_information::store(request),
    }
}
