//! Which call a request is: its method and its endpoint.
//!
//! Must not know: what the endpoints do.

use std::fmt;

/// An endpoint below `/stores/{hash}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Endpoint {
    /// `/v3/customers`
    Customers,
    /// `/v3/customers/attributes`
    Attributes,
    /// `/v3/customers/attribute-values`
    AttributeValues,
    /// `/v3/segments`
    Segments,
    /// `/v3/segments/{id}/shopper-profiles`
    SegmentMembers,
    /// `/v3/shopper-profiles`
    ShopperProfiles,
    /// `/v3/customers/metafields`
    Metafields,
    /// `/v3/customers/{id}/metafields`
    CustomerMetafields,
    /// `/v3/customers/{id}/metafields/{id}`
    CustomerMetafield,
    /// `/v3/customers/subscribers`
    Subscribers,
    /// `/v3/customers/subscribers/{id}`
    Subscriber,
    /// `/v3/customers/addresses`
    Addresses,
    /// `/v3/customers/form-field-values`
    FormFieldValues,
    /// `/v2/customer_groups`
    CustomerGroups,
    /// `/v2/time`
    Time,
    /// `/v2/store`
    Store,
}

impl Endpoint {
    const ALL: [Self; 16] = [
        Self::Customers,
        Self::Attributes,
        Self::AttributeValues,
        Self::Segments,
        Self::SegmentMembers,
        Self::ShopperProfiles,
        Self::Metafields,
        Self::CustomerMetafields,
        Self::CustomerMetafield,
        Self::Subscribers,
        Self::Subscriber,
        Self::Addresses,
        Self::FormFieldValues,
        Self::CustomerGroups,
        Self::Time,
        Self::Store,
    ];

    /// The word for it in faults and counters.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Attributes => "attributes",
            Self::AttributeValues => "attribute-values",
            Self::Segments => "segments",
            Self::SegmentMembers => "segment-members",
            Self::ShopperProfiles => "shopper-profiles",
            Self::Metafields => "metafields",
            Self::CustomerMetafields => "customer-metafields",
            Self::CustomerMetafield => "customer-metafield",
            Self::Subscribers => "subscribers",
            Self::Subscriber => "subscriber",
            Self::Addresses => "addresses",
            Self::FormFieldValues => "form-field-values",
            Self::CustomerGroups => "customer-groups",
            Self::Time => "time",
            Self::Store => "store",
        }
    }
}

/// A method that some endpoint understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}

impl Method {
    const ALL: [Self; 4] = [Self::Get, Self::Post, Self::Put, Self::Delete];

    /// As on the wire.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// A method on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Call {
    /// The method.
    pub(super) method: Method,
    /// The endpoint.
    pub(super) endpoint: Endpoint,
}

impl Call {
    /// Whether it can change anything.
    pub(super) fn writes(self) -> bool {
        self.method != Method::Get
    }

    /// Whether a word names a method or an endpoint, or is `*`.
    pub(super) fn is_word(word: &str) -> bool {
        word == "*" || Self::words().contains(&word)
    }

    /// All methods and endpoints by their words.
    pub(super) fn words() -> Vec<&'static str> {
        Method::ALL
            .iter()
            .map(|method| method.as_str())
            .chain(Endpoint::ALL.iter().map(|endpoint| endpoint.as_str()))
            .collect()
    }
}

/// `PUT attribute-values`
impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method.as_str(), self.endpoint.as_str())
    }
}

/// Why a request is no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoCall {
    /// There is nothing at this path.
    Path,
    /// There is, but not for this method.
    Method,
}

/// The ids in a path: of `/v3/customers/{first}/metafields/{second}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PathIds {
    /// The first: a number, or the UUID of a segment.
    pub(super) first: String,
    /// The second, where there are two.
    pub(super) second: u64,
}

impl PathIds {
    /// The first as a number; what is none names nothing.
    pub(super) fn number(&self) -> u64 {
        self.first.parse().unwrap_or(0)
    }
}

/// What a method and the path after `/stores/{hash}` mean.
pub(super) fn parse(method: &str, path: &str) -> Result<(Call, PathIds), NoCall> {
    let number = |text: &str| text.parse::<u64>().is_ok();
    let of = |first: &str, second: &str| PathIds { first: first.to_owned(), second: second.parse().unwrap_or(0) };
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (endpoint, ids) = match segments.as_slice() {
        ["v3", "customers"] => (Endpoint::Customers, PathIds::default()),
        ["v3", "customers", "attributes"] => (Endpoint::Attributes, PathIds::default()),
        ["v3", "customers", "attribute-values"] => (Endpoint::AttributeValues, PathIds::default()),
        ["v3", "segments"] => (Endpoint::Segments, PathIds::default()),
        ["v3", "segments", id, "shopper-profiles"] => (Endpoint::SegmentMembers, of(id, "")),
        ["v3", "shopper-profiles"] => (Endpoint::ShopperProfiles, PathIds::default()),
        ["v3", "customers", "metafields"] => (Endpoint::Metafields, PathIds::default()),
        ["v3", "customers", "subscribers"] => (Endpoint::Subscribers, PathIds::default()),
        ["v3", "customers", "subscribers", id] if number(id) => (Endpoint::Subscriber, of(id, "")),
        ["v3", "customers", "addresses"] => (Endpoint::Addresses, PathIds::default()),
        ["v3", "customers", id, "metafields"] if number(id) => (Endpoint::CustomerMetafields, of(id, "")),
        ["v3", "customers", id, "metafields", second] if number(id) && number(second) => {
            (Endpoint::CustomerMetafield, of(id, second))
        }
        ["v3", "customers", "form-field-values"] => (Endpoint::FormFieldValues, PathIds::default()),
        ["v2", "customer_groups"] => (Endpoint::CustomerGroups, PathIds::default()),
        ["v2", "time"] => (Endpoint::Time, PathIds::default()),
        ["v2", "store"] => (Endpoint::Store, PathIds::default()),
        _ => return Err(NoCall::Path),
    };
    let method = Method::ALL.into_iter().find(|known| known.as_str() == method).ok_or(NoCall::Method)?;
    let understood = match endpoint {
        Endpoint::Customers | Endpoint::Attributes | Endpoint::Addresses | Endpoint::Segments => true,
        // Values are made by the upsert; there is no POST.
        Endpoint::AttributeValues => method != Method::Post,
        // A profile or a membership is there or not: there is nothing to change about it.
        Endpoint::SegmentMembers | Endpoint::ShopperProfiles => method != Method::Put,
        // "Delete all": what it does with a body or without one is not documented, and no client of ours calls it.
        Endpoint::Metafields => method != Method::Delete,
        Endpoint::CustomerMetafields => method == Method::Get,
        Endpoint::CustomerMetafield => matches!(method, Method::Get | Method::Delete),
        Endpoint::Subscribers => method != Method::Put,
        Endpoint::Subscriber => method != Method::Post,
        // One group is changed and deleted at an address of its own, which nobody here needs.
        Endpoint::CustomerGroups => matches!(method, Method::Get | Method::Post),
        // They are written with the customer.
        Endpoint::FormFieldValues | Endpoint::Time | Endpoint::Store => method == Method::Get,
    };
    if understood { Ok((Call { method, endpoint }, ids)) } else { Err(NoCall::Method) }
}
