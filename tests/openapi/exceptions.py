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


class Excepted(collections.namedtuple("Excepted", "operation where says reason source")):
    """One place where a description is not to be followed."""

    def explains(self, problem):
        return self.operation in ("*", problem.operation) and (self.where, self.says) == (problem.where, problem.says)


STATUS_CODES = "https://github.com/bigcommerce/docs: docs/start/about/status-codes.mdx"
RATE_LIMITS = "https://github.com/bigcommerce/docs: docs/api-docs/getting-started/api-rate-limits.mdx"
CUSTOMERS = "https://github.com/bigcommerce/docs: reference/customers.v3.yml"
SUBSCRIBERS = "https://github.com/bigcommerce/docs: reference/subscribers.v3.yml"
# Seen by the types that other people's clients generated from it.
NEWER = "the newer description, https://docs.bigcommerce.com"
PEOPLE = "tests/*/world.rs, tests/end_to_end/links.rs and creating.rs"

EXCEPTIONS = [
    # Statuses that any call may be answered with, whatever is described of it.
    Excepted("*", "answer 401", "is not described", "a token that is not valid is refused everywhere", STATUS_CODES),
    Excepted("*", "answer 403", "is not described", "a token without the scope, or a plan without the feature", STATUS_CODES),
    Excepted("*", "answer 429", "is not described", "the quota is the store's, not the operation's", RATE_LIMITS),
    # The description of requests contradicts itself.
    Excepted(
        "GET /v3/customers/subscribers", "query id", "is missing",
        "marked as required, which would leave nothing to list; optional in the newer description", f"{SUBSCRIBERS}; {NEWER}",
    ),
    # What is shown on request, or to owners, is not in the schema.
    Excepted(
        "GET /v3/customers", "answer 200.data[].segment_ids", "is not described",
        "shown for include=segment_ids, which the same operation describes", CUSTOMERS,
    ),
    Excepted(
        "GET /v3/customers", "answer 200.data[].shopper_profile_id", "is not described",
        "shown for include=shopper_profile_id, which the same operation describes", CUSTOMERS,
    ),
    Excepted(
        "GET /v3/customers/{customerId}/metafields", "answer 200.data[].owner_client_id", "is not described",
        "described of the list of all metafields, left out of the list of one customer", CUSTOMERS,
    ),
    Excepted(
        "GET /v3/customers/{customerId}/metafields", "answer 200.meta.cursor_pagination", "is not described",
        "the same operation takes the cursors `before` and `after`, which must come from somewhere", CUSTOMERS,
    ),
    Excepted(
        "GET /v3/segments", "answer 200.meta.pagination.links", "is not described",
        "lists of version 3 have links; nothing of ours reads those of segments", f"{CUSTOMERS}, _metaCollection",
    ),
    Excepted(
        "GET /v3/segments/{segmentId}/shopper-profiles", "answer 200.meta.pagination.links", "is not described",
        "lists of version 3 have links; nothing of ours reads those of segments", f"{CUSTOMERS}, _metaCollection",
    ),
    # Null, and other types.
    *(
        Excepted(
            f"{method} /v3/customers", "answer 200.data[].channel_ids", "is null, not array",
            "a customer who may log in everywhere has none",
            "https://github.com/bigcommerce/docs: docs/store-operations/customers/channel-specific-customers.mdx",
        )
        for method in ("GET", "POST", "PUT")
    ),
    Excepted(
        "GET /v3/customers", "answer 200.data[].store_credit_amounts[].amount", "is string, not number",
        "a text in the newer description: the simulator shows what is harder to read", NEWER,
    ),
    Excepted(
        "GET /v3/customers", "answer 200.data[].addresses", "breaks maxItems 10",
        "whether more than ten are cut off is not said: the simulator does it either way (`included_addresses`)", CUSTOMERS,
    ),
    *(
        Excepted(
            operation, where, "fits several forms of which it may fit one",
            "a list of no rules is one of every kind of rule",
            "https://github.com/bigcommerce/docs: reference/customers.v2.yml",
        )
        for operation, where in (
            ("GET /v2/customer_groups", "answer 200[].discount_rules"),
            ("POST /v2/customer_groups", "answer 200.discount_rules"),
        )
    ),
    Excepted(
        "GET /v2/customer_groups", "answer 204", "is not described", "an empty list of version 2",
        "https://github.com/singer-io/tap-bigcommerce, bigcommerce.py",
    ),
    # What the newer description says of segments, and the simulator does in one of its readings.
    Excepted(
        "DELETE /v3/segments/{segmentId}/shopper-profiles", "answer 200", "is not described",
        "204 became 200, with data, errors and meta", NEWER,
    ),
    *(
        Excepted(operation, where, "is not described", "answers to batches have meta, and errors of the rest", NEWER)
        for operation, where in (
            ("POST /v3/segments/{segmentId}/shopper-profiles", "answer 201.errors"),
            ("POST /v3/segments/{segmentId}/shopper-profiles", "answer 201.meta"),
            ("POST /v3/shopper-profiles", "answer 201.errors"),
        )
    ),
    # The simulated store is given what a real one would not hold.
    *(
        Excepted(
            f"{method} /v3/customers", f"answer 200.data[].{name}", "breaks minLength 1",
            "most people of the tests have an e-mail and no name", PEOPLE,
        )
        for method in ("GET", "PUT")
        for name in ("first_name", "last_name")
    ),
    Excepted(
        "GET /v3/customers", "answer 200.data[].email", "breaks minLength 3",
        "that a customer without an e-mail is linked to nobody is tested", PEOPLE,
    ),
]  # fmt: skip
