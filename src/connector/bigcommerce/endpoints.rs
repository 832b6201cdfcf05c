//! What is called of a store. Of each endpoint few calls are under way at once.

use crate::http::Endpoint;

/// BigCommerce allows 3 concurrent writes to attribute values, and is said to allow 3 of most other calls.
pub(super) const IN_FLIGHT_PER_ENDPOINT: usize = 3;

/// Reads and writes of one path count apart; upserts and deletes of values count together.
pub(super) struct Endpoints {
    pub(super) customers: Endpoint,
    pub(super) customer_writes: Endpoint,
    pub(super) groups: Endpoint,
    pub(super) group_writes: Endpoint,
    pub(super) form_field_values: Endpoint,
    pub(super) metafields: Endpoint,
    pub(super) metafield_writes: Endpoint,
    /// Those of one customer; the path is said with the call.
    pub(super) customer_metafields: Endpoint,
    pub(super) metafield_deletes: Endpoint,
    pub(super) addresses: Endpoint,
    pub(super) address_writes: Endpoint,
    pub(super) subscribers: Endpoint,
    pub(super) subscriber_writes: Endpoint,
    pub(super) segments: Endpoint,
    /// Those of one segment; the path is said with the call.
    pub(super) members: Endpoint,
    pub(super) member_writes: Endpoint,
    pub(super) segment_writes: Endpoint,
    pub(super) profile_writes: Endpoint,
    pub(super) attributes: Endpoint,
    pub(super) attribute_writes: Endpoint,
    pub(super) values: Endpoint,
    pub(super) value_writes: Endpoint,
    pub(super) time: Endpoint,
}

impl Endpoints {
    pub(super) fn new() -> Self {
        let endpoint = |path| Endpoint::new(path, IN_FLIGHT_PER_ENDPOINT);
        Self {
            customers: endpoint("/v3/customers"),
            customer_writes: endpoint("/v3/customers"),
            groups: endpoint("/v2/customer_groups"),
            group_writes: endpoint("/v2/customer_groups"),
            form_field_values: endpoint("/v3/customers/form-field-values"),
            metafields: endpoint("/v3/customers/metafields"),
            metafield_writes: endpoint("/v3/customers/metafields"),
            customer_metafields: endpoint("/v3/customers"),
            metafield_deletes: endpoint("/v3/customers"),
            addresses: endpoint("/v3/customers/addresses"),
            address_writes: endpoint("/v3/customers/addresses"),
            subscribers: endpoint("/v3/customers/subscribers"),
            subscriber_writes: endpoint("/v3/customers/subscribers"),
            segments: endpoint("/v3/segments"),
            segment_writes: endpoint("/v3/segments"),
            members: endpoint("/v3/segments"),
            member_writes: endpoint("/v3/segments"),
            profile_writes: endpoint("/v3/shopper-profiles"),
            attributes: endpoint("/v3/customers/attributes"),
            attribute_writes: endpoint("/v3/customers/attributes"),
            values: endpoint("/v3/customers/attribute-values"),
            value_writes: endpoint("/v3/customers/attribute-values"),
            time: endpoint("/v2/time"),
        }
    }
}
