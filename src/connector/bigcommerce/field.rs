//! Which store fields exist: each belongs to the room of its resource, which reads the rest of its name. Here is where the
//! rooms are listed; what a field can hold, shows and takes is theirs to know.

use super::customers::CustomerField;
use super::{attributes, customers};
use crate::connector::{Dating, Destination, FieldWanted, PerCall};

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
}

/// Kinds of store fields that the configuration knows and this connector does not serve yet.
const KINDS_TO_COME: [&str; 5] = ["metafield", "address", "subscriber", "segment", "segments"];

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
            "customer" if name == "group" => Self::Group,
            "customer" => CustomerField::parse(name).map_or_else(Self::Unusable, Self::Customer),
            _ if KINDS_TO_COME.contains(&kind) => Self::Unusable(format!(
                "`{text}` is not supported yet; store fields are `attribute:…`, `customer:…` and `form_field:…`"
            )),
            _ => Self::Unusable(format!(
                "`{text}` is not a store field; store fields are `attribute:NAME`, `customer:NAME` and `form_field:NAME`"
            )),
        }
    }

    /// Who writes it.
    pub(super) const fn writer(&self) -> Option<Writer> {
        match self {
            Self::Attribute(_) => Some(Writer::AttributeValues),
            Self::Customer(_) | Self::Group | Self::Form(_) => Some(Writer::Customers),
            Self::Unusable(_) => None,
        }
    }

    /// Whether the customer must be read to see it.
    pub(super) const fn is_on_customer(&self) -> bool {
        matches!(self, Self::Customer(_) | Self::Group | Self::Form(_))
    }

    /// What tells when it changed. Whether a change of a form field or of store credit dates the customer is not documented.
    pub(super) const fn dating(&self) -> Dating {
        match self {
            Self::Attribute(_) => Dating::Itself,
            Self::Form(_) | Self::Customer(CustomerField::StoreCredit) | Self::Unusable(_) => Dating::Nothing,
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
            ("address:city", "not supported yet"),
            ("segments", "not supported yet"),
            ("email", "not a store field"),
        ] {
            let Field::Unusable(sentence) = Field::parse(wrong) else { panic!("{wrong}") };
            assert!(sentence.contains(says), "{sentence}");
        }
    }
}
