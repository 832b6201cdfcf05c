"""Where we know better than the descriptions, and which operations are ours.

An exception names one operation (or all, by `*`), one place and what the check says of it, why that is right all the same,
and where that can be read. What explains nothing any more must go: the check says so.
"""

import collections

# Every operation that the connector can call.
OURS = [
    "GET /v3/customers", "POST /v3/customers", "PUT /v3/customers", "DELETE /v3/customers",
    "GET /v3/customers/attributes", "POST /v3/customers/attributes",
    "GET /v3/customers/attribute-values", "PUT /v3/customers/attribute-values", "DELETE /v3/customers/attribute-values",
    "GET /v3/customers/addresses", "POST /v3/customers/addresses", "PUT /v3/customers/addresses",
    "GET /v3/customers/form-field-values",
    "GET /v3/customers/metafields", "POST /v3/customers/metafields", "PUT /v3/customers/metafields",
    "GET /v3/customers/{customerId}/metafields", "DELETE /v3/customers/{customerId}/metafields/{metafieldId}",
    "GET /v3/customers/subscribers", "POST /v3/customers/subscribers", "PUT /v3/customers/subscribers/{subscriber_id}",
    "GET /v3/segments", "POST /v3/segments", "POST /v3/shopper-profiles",
    "GET /v3/segments/{segmentId}/shopper-profiles", "POST /v3/segments/{segmentId}/shopper-profiles",
    "DELETE /v3/segments/{segmentId}/shopper-profiles",
    "GET /v2/customer_groups", "POST /v2/customer_groups",
    "GET /v2/time",
]  # fmt: skip


class Exception_(collections.namedtuple("Exception_", "operation where says reason source")):
    """One place where a description is not to be followed."""

    def explains(self, problem):
        return self.operation in ("*", problem.operation) and (self.where, self.says) == (problem.where, problem.says)


EXCEPTIONS = []
