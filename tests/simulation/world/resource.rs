//! The resources that a store's fields belong to, each as the engine meets it: what dates it, which feed shows it, where it
//! is written. They stand for BigCommerce's, whose names they have.

use attune::connector::{Dating, Destination, PerCall};
use attune::model::{FieldShape, Holds};

/// What a field belongs to. All of a CRM's are its records' own, like a customer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Values with a feed, a date and an id each.
    Attribute,
    /// The customer's own: dated by it.
    Customer,
    /// What it entered at sign-up: shown with it, dated by nothing.
    FormField,
    /// One of its addresses: the same, and some of its fields are never empty.
    Address,
    /// Rows beside customers, with a feed and a date each. Nobody checks that their customer is there.
    Metafield,
    /// Whether it is in a segment: dated by nothing; who is in is also read as a whole, now and then.
    Segment,
    /// In which of several segments it is.
    Segments,
    /// A row beside customers that says whether somebody agreed to be sent mail: with a feed and a date; never deleted by us.
    Subscriber,
}

/// The segments that a list of segments is about.
pub const SEGMENTS: [&str; 3] = ["Gold", "Silver", "Trade"];

impl Resource {
    /// By what stands before the colon of a store field's name.
    pub fn of(name: &str) -> Self {
        match name.split_once(':').map_or(name, |(prefix, _)| prefix) {
            "customer" => Self::Customer,
            "form_field" => Self::FormField,
            "address" => Self::Address,
            "metafield" => Self::Metafield,
            "segment" => Self::Segment,
            "segments" => Self::Segments,
            "subscriber" => Self::Subscriber,
            _ => Self::Attribute,
        }
    }

    /// What tells when a value changed.
    pub const fn dating(self) -> Dating {
        match self {
            Self::Attribute | Self::Metafield | Self::Subscriber => Dating::Itself,
            Self::Customer => Dating::Record,
            Self::FormField | Self::Address | Self::Segment | Self::Segments => Dating::Nothing,
        }
    }

    /// Where writes go, and what a call takes.
    pub const fn destination(self) -> Destination {
        let (number, per_call) = match self {
            Self::Attribute => (0, PerCall::Writes(10)),
            Self::Customer | Self::FormField => (1, PerCall::Records(10)),
            Self::Segment | Self::Segments => (2, PerCall::Writes(50)),
            Self::Metafield => (3, PerCall::Writes(10)),
            Self::Subscriber => (4, PerCall::Records(1)),
            Self::Address => (5, PerCall::Records(10)),
        };
        Destination { number, per_call }
    }

    /// Whether it is in a list of its own, of which a page of customers shows nothing.
    pub const fn is_beside(self) -> bool {
        matches!(self, Self::Metafield | Self::Subscriber)
    }

    pub const fn is_about_segments(self) -> bool {
        matches!(self, Self::Segment | Self::Segments)
    }

    /// The feed that shows its changes, beside customers and attribute values.
    pub const fn feed(self) -> Option<&'static str> {
        match self {
            Self::Segment | Self::Segments => Some("segments"),
            Self::Metafield => Some("metafields"),
            Self::Subscriber => Some("subscribers"),
            _ => None,
        }
    }

    /// Whether a new customer can be given a value of it.
    pub const fn is_made_with(self) -> bool {
        matches!(self, Self::Attribute | Self::Customer | Self::FormField)
    }

    /// What a store's field can hold.
    pub fn shape(self, name: &str) -> FieldShape {
        match self {
            Self::Segment | Self::Subscriber => {
                FieldShape { holds: Holds::Boolean, clearable: false, ..FieldShape::TEXT }
            }
            Self::Segments => FieldShape { holds: Holds::List, ..FieldShape::TEXT },
            Self::Address => FieldShape { clearable: !name.starts_with("address:required"), ..FieldShape::TEXT },
            _ => FieldShape::TEXT,
        }
    }

    /// The word for what was met.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Attribute => "attribute",
            Self::Customer => "customer's own",
            Self::FormField => "form field",
            Self::Address => "address",
            Self::Metafield => "metafield",
            Self::Segment => "segment",
            Self::Segments => "list of segments",
            Self::Subscriber => "consent",
        }
    }
}
