//! Names of fields: what the store's may be, and what is the same of every CRM's.

use crate::model::Direction;

use super::nearest;
use super::reader::Reader;
use super::tree::Node;

/// No system has longer names.
const MAX_CHARS: usize = 255;

/// The kinds of store field, by what stands before the colon.
const PREFIXES: [&str; 7] = ["attribute", "customer", "form_field", "metafield", "address", "subscriber", "segment"];

/// What a customer has. BigCommerce's own names, but `name` (first and last) and `group` (by name).
const CUSTOMER: [&str; 12] = [
    "email",
    "first_name",
    "last_name",
    "name",
    "company",
    "phone",
    "notes",
    "tax_exempt_category",
    "group",
    "id",
    "date_created",
    "date_modified",
];

/// What BigCommerce sets by itself.
const CUSTOMER_READ_ONLY: [&str; 3] = ["id", "date_created", "date_modified"];

/// A store field; `writes`: whether the mapping writes it.
pub(super) fn store(reader: &Reader, node: &Node, writes: bool) -> Option<String> {
    let name = any(reader, node)?;
    let Some((prefix, rest)) = name.split_once(':') else {
        if name == "segments" {
            reader.not_yet(node, "the list of segments", "map attributes and read customer fields");
        } else {
            let known = nearest::list(["attribute:NAME", "customer:NAME"], "or");
            reader.problem(node, format!("not a store field: expected {known}; did you mean `attribute:{name}`?"));
        }
        return None;
    };
    match prefix {
        "attribute" if rest.trim() == rest && !rest.is_empty() => Some(name),
        "attribute" => {
            reader.problem(node, "expected `attribute:NAME`, with no space around the attribute's name");
            None
        }
        "customer" => customer(reader, node, rest, writes).then_some(name),
        _ if PREFIXES.contains(&prefix) => {
            reader.not_yet(
                node,
                &format!("`{prefix}:…`"),
                "map attributes (`attribute:NAME`) and read customer fields",
            );
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

fn customer(reader: &Reader, node: &Node, field: &str, writes: bool) -> bool {
    const ONE_WAY: &str = "set direction = \"to_crm\"";
    if !CUSTOMER.contains(&field) {
        let hint =
            nearest(field, CUSTOMER).map_or_else(String::new, |near| format!("; did you mean `customer:{near}`?"));
        reader.problem(node, format!("a customer has no field `{field}`{hint}"));
        return false;
    }
    if !writes {
        return true;
    }
    if CUSTOMER_READ_ONLY.contains(&field) {
        reader.problem(node, format!("`customer:{field}` is read-only, and this field would write it: {ONE_WAY}"));
    } else if field == "email" {
        reader.problem(
            node,
            format!("`customer:email` is the customer's login and is never written, and this field would write it: {ONE_WAY}"),
        );
    } else {
        reader.not_yet(node, &format!("writing `customer:{field}`"), ONE_WAY);
    }
    false
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
