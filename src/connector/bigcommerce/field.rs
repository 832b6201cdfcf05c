//! Which store fields exist: each belongs to the room of its resource, which reads the rest of its name. Here is where the
//! rooms are listed; what a field can hold, shows and takes is theirs to know.

use super::addresses::AddressField;
use super::customers::CustomerField;
use super::metafields::Metafield;
use super::subscribers::Consent;
use super::{addresses, attributes, customers, metafields, segments};
use crate::connector::{Dating, Destination, FieldWanted, PerCall};
use crate::model::FieldType;

/// One store field, read from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A customer attribute, by the name of its definition.
    Attribute(String),
    /// A field of the customer itself.
    Customer(CustomerField),
    /// The customer's group, by its name.
    Group,
    /// A form field of the customer, by its name.
    Form(String),
    /// Whether the customer is in the segment of this name.
    Segment(String),
    /// In which of several segments the customer is.
    Segments,
    /// A metafield of the customer.
    Metafield(Metafield),
    /// Whether somebody with the customer's e-mail consented to be sent mail.
    Subscriber(Consent),
    /// A field of one of the customer's addresses.
    Address(AddressField),
    /// A sentence that says why it cannot be used.
    Unusable(String),
}

/// Who writes a field: the calls of each are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Writer {
    /// Upserts and deletes of attribute values.
    AttributeValues,
    /// `PUT /v3/customers`: the customer's own fields, its group, its form fields.
    Customers,
    /// Joining and leaving segments.
    Segments,
    /// Metafields are made, changed and deleted.
    Metafields,
    /// Subscribers, one at a time.
    Subscribers,
    /// Addresses are made and changed.
    Addresses,
}

const STORE_FIELDS: &str = "`attribute:NAME`, `customer:NAME`, `form_field:NAME`, `address:NAME`, `segment:NAME`, `segments`, \
                            `metafield:NAMESPACE/KEY` and `subscriber:CONSENT`";

impl Field {
    /// Reads `attribute:Job title`, `customer:email`.
    pub(super) fn parse(text: &str) -> Self {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let named = |what: &str, field: fn(String) -> Self| {
            if name.trim().is_empty() {
                Self::Unusable(format!("`{text}` names no {what}; write `{kind}:` and the {what}'s name"))
            } else {
                field(name.to_owned())
            }
        };
        match kind {
            "attribute" => named("attribute", Self::Attribute),
            "form_field" => named("form field", Self::Form),
            "segment" => named("segment", Self::Segment),
            "metafield" => Metafield::parse(name).map_or_else(Self::Unusable, Self::Metafield),
            "subscriber" => Consent::parse(name).map_or_else(Self::Unusable, Self::Subscriber),
            "address" => AddressField::parse(name).map_or_else(Self::Unusable, Self::Address),
            "segments" if name.is_empty() => Self::Segments,
            "customer" if name == "group" => Self::Group,
            "customer" => CustomerField::parse(name).map_or_else(Self::Unusable, Self::Customer),
            _ => Self::Unusable(format!("`{text}` is not a store field; store fields are {STORE_FIELDS}")),
        }
    }

    /// Who writes it.
    pub(super) const fn writer(&self) -> Option<Writer> {
        match self {
            Self::Attribute(_) => Some(Writer::AttributeValues),
            Self::Customer(_) | Self::Group | Self::Form(_) => Some(Writer::Customers),
            Self::Segment(_) | Self::Segments => Some(Writer::Segments),
            Self::Metafield(_) => Some(Writer::Metafields),
            Self::Subscriber(_) => Some(Writer::Subscribers),
            Self::Address(_) => Some(Writer::Addresses),
            Self::Unusable(_) => None,
        }
    }

    /// Whether the customer must be read to see it.
    pub(super) const fn is_on_customer(&self) -> bool {
        matches!(
            self,
            Self::Customer(_) | Self::Group | Self::Form(_) | Self::Segment(_) | Self::Segments | Self::Address(_)
        )
    }

    /// Whether it is about segments.
    pub(super) const fn is_about_segments(&self) -> bool {
        matches!(self, Self::Segment(_) | Self::Segments)
    }

    /// What tells when it changed. Whether a change of a form field or of store credit dates the customer is not documented.
    pub(super) const fn dating(&self) -> Dating {
        match self {
            Self::Attribute(_) | Self::Metafield(_) | Self::Subscriber(_) => Dating::Itself,
            Self::Form(_) | Self::Customer(CustomerField::StoreCredit) | Self::Segment(_) | Self::Segments => {
                Dating::Nothing
            }
            Self::Address(_) | Self::Unusable(_) => Dating::Nothing,
            Self::Customer(_) | Self::Group => Dating::Record,
        }
    }
}

impl Writer {
    /// As the engine packs by it.
    pub(super) const fn destination(self) -> Destination {
        match self {
            Self::AttributeValues => {
                Destination { number: 0, per_call: PerCall::Writes(attributes::VALUES_PER_UPSERT) }
            }
            Self::Customers => Destination { number: 1, per_call: PerCall::Records(customers::CUSTOMERS_PER_PUT) },
            Self::Segments => Destination { number: 2, per_call: PerCall::Writes(segments::PROFILES_PER_CALL) },
            Self::Addresses => Destination { number: 5, per_call: PerCall::Records(addresses::ADDRESSES_PER_CALL) },
            Self::Subscribers => Destination { number: 4, per_call: PerCall::Records(1) },
            Self::Metafields => Destination { number: 3, per_call: PerCall::Writes(metafields::METAFIELDS_PER_CALL) },
        }
    }
}

/// The fields of a connector, with what the mappings want of them.
#[derive(Debug)]
pub(super) struct Fields {
    all: Vec<(Field, FieldWanted)>,
}

impl Fields {
    pub(super) fn new(wanted: Vec<FieldWanted>) -> Self {
        Self { all: wanted.into_iter().map(|wanted| (Field::parse(&wanted.name), wanted)).collect() }
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Field> {
        self.all.get(index).map(|(field, _)| field)
    }

    pub(super) fn kind(&self, index: usize) -> Option<FieldType> {
        self.all.get(index).map(|(_, wanted)| wanted.kind)
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = (usize, &Field, &FieldWanted)> {
        self.all.iter().enumerate().map(|(index, (field, wanted))| (index, field, wanted))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.all.iter().map(|(field, _)| field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_store_fields() {
        assert_eq!(Field::parse("attribute:Job title: main"), Field::Attribute("Job title: main".to_owned()));
        assert_eq!(Field::parse("form_field:Size: EU"), Field::Form("Size: EU".to_owned()));
        assert_eq!(Field::parse("customer:email"), Field::Customer(CustomerField::Email));
        assert_eq!(Field::parse("customer:group"), Field::Group);
        for (wrong, says) in [
            ("attribute: ", "names no attribute"),
            ("form_field:", "names no form field"),
            ("customer:e-mail", "`customer:email`"),
            ("address:town", "its fields are"),
            ("segment:", "names no segment"),
            ("metafield:erp", "NAMESPACE/KEY"),
            ("subscriber:everything", "abandoned_cart"),
            ("email", "not a store field"),
        ] {
            let Field::Unusable(sentence) = Field::parse(wrong) else { panic!("{wrong}") };
            assert!(sentence.contains(says), "{sentence}");
        }
    }
}
