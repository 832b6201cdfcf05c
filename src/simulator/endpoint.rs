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
    const ALL: [Self; 7] = [
        Self::Customers,
        Self::Attributes,
        Self::AttributeValues,
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

/// What a method and the path after `/stores/{hash}` mean.
pub(super) fn parse(method: &str, path: &str) -> Result<Call, NoCall> {
    let endpoint = match path {
        "/v3/customers" => Endpoint::Customers,
        "/v3/customers/attributes" => Endpoint::Attributes,
        "/v3/customers/attribute-values" => Endpoint::AttributeValues,
        "/v3/customers/form-field-values" => Endpoint::FormFieldValues,
        "/v2/customer_groups" => Endpoint::CustomerGroups,
        "/v2/time" => Endpoint::Time,
        "/v2/store" => Endpoint::Store,
        _ => return Err(NoCall::Path),
    };
    let method = Method::ALL.into_iter().find(|known| known.as_str() == method).ok_or(NoCall::Method)?;
    let understood = match endpoint {
        Endpoint::Customers | Endpoint::Attributes => true,
        // Values are made by the upsert; there is no POST.
        Endpoint::AttributeValues => method != Method::Post,
        // One group is changed and deleted at an address of its own, which nobody here needs.
        Endpoint::CustomerGroups => matches!(method, Method::Get | Method::Post),
        // They are written with the customer.
        Endpoint::FormFieldValues | Endpoint::Time | Endpoint::Store => method == Method::Get,
    };
    if understood { Ok(Call { method, endpoint }) } else { Err(NoCall::Method) }
}
