//! What a field's table says beyond its names, its type and its policies: the options of [`FieldOptions`], a line each.

use std::collections::BTreeSet;

use crate::model::{AddressMark, FieldOptions, FieldType};

use super::reader::{Fields, Reader};
use super::tree::{Node, Value};

/// Nobody separates with more.
const SEPARATOR_CHARS_MAX: usize = 8;

/// Reads them from the table of a field of this type.
pub(super) fn read(reader: &Reader, fields: &Fields<'_, '_>, kind: FieldType) -> FieldOptions {
    FieldOptions {
        separator: fields.get_or("separator", None, |node| separator(reader, node, kind).map(Some)),
        allow_side_effects: fields.get_or("allow_side_effects", false, |node| reader.boolean(node)),
        address: None,
        permission_set: fields.get_or("permission_set", None, |node| permission_set(reader, node).map(Some)),
        among: fields.get_or("among", Vec::new(), |node| among(reader, node)),
    }
}

/// Holds a field to the options and to the type that its store name goes with.
pub(super) fn belong(reader: &Reader, fields: &Fields<'_, '_>, store: &str, kind: FieldType) {
    let prefix = store.split_once(':').map_or(store, |(prefix, _)| prefix);
    let wanted = match prefix {
        "segment" => Some((FieldType::Boolean, "somebody is in a segment or is not")),
        "segments" => Some((FieldType::List, "somebody may be in several segments")),
        "subscriber" => Some((FieldType::Boolean, "somebody consented or did not")),
        _ => None,
    };
    if let Some((wanted, why)) = wanted.filter(|(wanted, _)| *wanted != kind) {
        let node = fields.get("type").unwrap_or(fields.node);
        reader.problem(node, format!("`{store}` needs type = \"{}\": {why}", wanted.as_str()));
    }
    if prefix == "segments" {
        fields.require(
            "among",
            "which segments the list is about, such as among = [\"Gold\", \"Silver\"]; others are left alone",
        );
    } else if let Some(node) = fields.get("among") {
        reader.problem(node, "belongs to `segments` alone: take it out");
    }
    if prefix != "metafield"
        && let Some(node) = fields.get("permission_set")
    {
        reader.problem(node, "belongs to `metafield:…` alone: take it out");
    }
    if prefix == "subscriber" {
        consent(reader, fields);
    }
    if prefix == "segment"
        && let Some(node) = fields.get("on_clear")
    {
        reader.warning(node, "has no effect on `segment:…`, where nothing is the same as false: take it out");
    }
}

/// What the mapping may not say of consent, because the merge does not ask.
fn consent(reader: &Reader, fields: &Fields<'_, '_>) {
    let refused = [
        ("conflict", "has no effect on consent, where a refusal wins every conflict: take it out"),
        ("overwrite", "has no effect on consent, where a refusal always goes through: take it out"),
    ];
    for (key, why) in refused {
        if let Some(node) = fields.get(key) {
            reader.problem(node, why);
        }
    }
    if let Some(node) =
        fields.get("on_clear").filter(|node| matches!(&node.value, Value::Text(word) if word == "restore"))
    {
        reader.problem(node, "consent is never restored: choose \"propagate\" or \"hold\"");
    }
}

/// Which of a customer's addresses is meant: the first, or the one whose form field says so.
pub(super) fn address(reader: &Reader, node: &Node) -> Option<AddressMark> {
    const EXPECTED: &str = "expected \"first\", or the form field that says which, such as \
                            { form_field = \"Kind\", value = \"Billing\" }";
    if let Value::Text(word) = &node.value {
        if word != "first" {
            reader.problem(node, EXPECTED);
        }
        return None;
    }
    let fields = reader.table(node, &["form_field", "value"])?;
    let form_field = fields.require("form_field", "the name of a form field of addresses");
    let value = fields.require("value", "what it says of the address that is meant");
    let text = |node: Option<&Node>| node.and_then(|node| reader.text(node));
    Some(AddressMark { form_field: text(form_field)?, value: text(value)? })
}

/// BigCommerce's words.
fn permission_set(reader: &Reader, node: &Node) -> Option<String> {
    let words = ["app_only", "read", "write", "read_and_sf_access", "write_and_sf_access"];
    reader.word(node, &words.map(|word| (word, word))).map(str::to_owned)
}

/// Names of segments, each once.
fn among(reader: &Reader, node: &Node) -> Option<Vec<String>> {
    let items = reader.list(node, "a list of segments, such as [\"Gold\", \"Silver\"]")?;
    if items.is_empty() {
        reader.problem(node, "empty: the list would be about no segment; name those that it is about");
        return None;
    }
    let names: BTreeSet<String> = items.iter().filter_map(|item| reader.text(item)).collect();
    if names.len() < items.len() {
        reader.problem(node, "expected the names of segments, each once");
    }
    Some(names.into_iter().collect())
}

fn separator(reader: &Reader, node: &Node, kind: FieldType) -> Option<String> {
    let separator = reader.text(node)?;
    if separator.is_empty() || separator.chars().count() > SEPARATOR_CHARS_MAX {
        reader.problem(node, "expected what stands between the items of a list, such as \";\"");
        return None;
    }
    if kind != FieldType::List {
        reader.warning(node, "has no effect on a type other than \"list\": take it out");
    }
    Some(separator)
}
