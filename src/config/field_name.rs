//! Names of fields: what the store's may be, and what is the same of every CRM's.

use crate::model::{Direction, FieldOptions};

use super::nearest;
use super::reader::Reader;
use super::tree::{Node, Value};

/// No system has longer names.
const MAX_CHARS: usize = 255;

/// The kinds of store field, by what stands before the colon.
const PREFIXES: [&str; 7] = ["attribute", "customer", "form_field", "metafield", "address", "subscriber", "segment"];

/// What a customer has. BigCommerce's own names, but `name` (first and last), `group` (by name) and `store_credit`.
const CUSTOMER: [&str; 16] = [
    "email",
    "first_name",
    "last_name",
    "name",
    "company",
    "phone",
    "notes",
    "tax_exempt_category",
    "accepts_product_review_abandoned_cart_emails",
    "group",
    "store_credit",
    "channel_ids",
    "origin_channel_id",
    "id",
    "date_created",
    "date_modified",
];

/// What an address has, by BigCommerce's names.
const ADDRESS: [&str; 12] = [
    "first_name",
    "last_name",
    "company",
    "address1",
    "address2",
    "city",
    "state_or_province",
    "postal_code",
    "country_code",
    "country",
    "phone",
    "address_type",
];

/// What somebody can consent to.
const CONSENTS: [&str; 2] = ["marketing_newsletter", "abandoned_cart"];

/// What is never written, and why.
const CUSTOMER_READ_ONLY: [(&str, &str); 5] = [
    ("id", "BigCommerce sets it"),
    ("date_created", "BigCommerce sets it"),
    ("date_modified", "BigCommerce sets it"),
    ("origin_channel_id", "BigCommerce sets it"),
    ("store_credit", "it is money"),
];

/// What is written only where the mapping says that this is meant, and what such a write does besides.
const CUSTOMER_SIDE_EFFECTS: [(&str, &str); 2] =
    [("email", "is the customer's login"), ("channel_ids", "decides where the customer can log in")];

/// A store field that is only read.
pub(super) fn store(reader: &Reader, node: &Node) -> Option<String> {
    let name = any(reader, node)?;
    let Some((prefix, rest)) = name.split_once(':') else {
        if name == "segments" {
            reader.problem(
                node,
                "the list of segments is mapped, and nothing else: name one segment here, `segment:NAME`",
            );
        } else {
            let names = [
                "address:NAME",
                "attribute:NAME",
                "customer:NAME",
                "form_field:NAME",
                "metafield:NAMESPACE/KEY",
                "segment:NAME",
                "segments",
                "subscriber:CONSENT",
            ];
            let known = nearest::list(names, "or");
            reader.problem(node, format!("not a store field: expected {known}; did you mean `attribute:{name}`?"));
        }
        return None;
    };
    match prefix {
        "attribute" | "form_field" | "segment" if rest.trim() == rest && !rest.is_empty() => Some(name),
        "attribute" | "form_field" | "segment" => {
            let what = if prefix == "form_field" { "form field" } else { prefix };
            reader.problem(node, format!("expected `{prefix}:NAME`, with no space around the {what}'s name"));
            None
        }
        "metafield" => {
            let fits = |part: &str| (1..=64).contains(&part.chars().count()) && !part.contains(',');
            if !rest.split_once('/').is_some_and(|(namespace, key)| fits(namespace) && fits(key)) {
                let what = "expected `metafield:NAMESPACE/KEY`, each of 1 to 64 characters without commas";
                reader.problem(node, what);
                return None;
            }
            Some(name)
        }
        "subscriber" if CONSENTS.contains(&rest) => Some(name),
        "subscriber" => {
            reader.problem(node, format!("there is no consent `{rest}`: there are {}", nearest::list(CONSENTS, "and")));
            None
        }
        "customer" if CUSTOMER.contains(&rest) => Some(name),
        "customer" => {
            let hint =
                nearest(rest, CUSTOMER).map_or_else(String::new, |near| format!("; did you mean `customer:{near}`?"));
            reader.problem(node, format!("a customer has no field `{rest}`{hint}"));
            None
        }
        "address" if ADDRESS.contains(&rest) => Some(name),
        "address" => {
            let hint =
                nearest(rest, ADDRESS).map_or_else(String::new, |near| format!("; did you mean `address:{near}`?"));
            reader.problem(node, format!("an address has no field `{rest}`{hint}"));
            None
        }
        _ => {
            let hint =
                nearest(prefix, PREFIXES).map_or_else(String::new, |near| format!("; did you mean `{near}:{rest}`?"));
            reader.problem(node, format!("there are no store fields `{prefix}:…`{hint}"));
            None
        }
    }
}

/// The store field of a mapped field.
pub(super) fn mapped(reader: &Reader, node: &Node, direction: Direction, options: &FieldOptions) -> Option<String> {
    if matches!(&node.value, Value::Text(text) if text == "segments") {
        return any(reader, node);
    }
    let name = store(reader, node)?;
    if direction != Direction::ToCrm && name == "address:country" {
        reader.problem(
            node,
            "`address:country` is read-only (BigCommerce takes it from `address:country_code`), and this field would write \
             it: set direction = \"to_crm\"",
        );
        return None;
    }
    if direction != Direction::ToCrm
        && let Some(field) = name.strip_prefix("customer:")
        && !may_write(reader, node, field, options)
    {
        return None;
    }
    Some(name)
}

fn may_write(reader: &Reader, node: &Node, field: &str, options: &FieldOptions) -> bool {
    const ONE_WAY: &str = "set direction = \"to_crm\"";
    if let Some((_, why)) = CUSTOMER_READ_ONLY.iter().find(|(known, _)| *known == field) {
        let what = format!("`customer:{field}` is read-only ({why}), and this field would write it: {ONE_WAY}");
        reader.problem(node, what);
        return false;
    }
    let effect = CUSTOMER_SIDE_EFFECTS.iter().find(|(known, _)| *known == field);
    if let Some((_, what)) = effect.filter(|_| !options.allow_side_effects) {
        reader.problem(
            node,
            format!(
                "`customer:{field}` {what}, and this field would write it: {ONE_WAY}, or allow_side_effects = true if that \
                 is what you want"
            ),
        );
        return false;
    }
    true
}

/// A CRM field; `direction`: of the mapped field, none where it is only read.
pub(super) fn crm(reader: &Reader, node: &Node, direction: Option<Direction>) -> Option<String> {
    let name = any(reader, node)?;
    let read_only = direction.is_none_or(|direction| direction == Direction::ToStore);
    if name.starts_with('@') && name != "@key" {
        reader.problem(node, "the only name that begins with `@` is `@key`, the key of the contact");
        return None;
    }
    if name == "@key" && !read_only {
        reader.problem(node, "`@key` is read-only, and this field would write it: set direction = \"to_store\"");
        return None;
    }
    if name.contains('.') {
        if name.split('.').count() > 2 || name.split('.').any(str::is_empty) {
            reader.problem(node, "expected one dot at most: one step from the contact to the record that it points to");
            return None;
        }
        if !read_only {
            reader.problem(
                node,
                "a dotted field belongs to a record that many contacts may share, and one buyer's edit must not change all \
                 of them: set direction = \"to_store\"",
            );
            return None;
        }
    }
    Some(name)
}

fn any(reader: &Reader, node: &Node) -> Option<String> {
    let name = reader.text(node)?;
    if name.chars().count() > MAX_CHARS {
        reader.problem(node, format!("longer than {MAX_CHARS} characters: no field has such a name"));
        return None;
    }
    if name.trim() != name {
        reader.problem(node, "begins or ends with white space: remove it");
        return None;
    }
    Some(name)
}
