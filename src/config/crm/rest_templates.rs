//! The templates of an API's description: which places each may have.

use crate::config::nearest;
use crate::config::reader::Reader;
use crate::config::tree::Node;

/// Of the record with this key.
const KEY: [&str; 5] = ["collection", "field", "key", "literal", "json"];

/// The places of a template.
fn known(key: &str) -> &'static [&'static str] {
    match key {
        "path" => &["collection", "field"],
        "query" => &["collection", "field", "fields", "own_fields", "limit", "page", "offset"],
        "record_path" | "each" => &KEY,
        "record_query" => &["collection", "field", "key", "literal", "json", "fields", "own_fields"],
        "create_query" => &["collection", "field", "fields", "own_fields"],
        "after" => &["field", "key", "literal", "json"],
        "cursor" => &["cursor"],
        "filter" | "any" => &["conditions"],
        "since" => &["field", "since"],
        "since_related" => &["relation", "field", "since"],
        "keys" => &["field", "keys"],
        "expand" => &["relations"],
        "relation" => &["relation", "fields"],
        _ => &[],
    }
}

/// A template under this key; it may be empty.
pub(super) fn read(reader: &Reader, node: &Node, key: &str) -> Option<String> {
    let text = reader.any_text(node, "text in quotes")?;
    if text.chars().any(char::is_control) {
        reader.problem(node, "holds a control character, such as a line break: remove it");
        return None;
    }
    for place in places(text) {
        if !known(key).contains(&place) {
            let places: Vec<String> = known(key).iter().map(|known| format!("{{{known}}}")).collect();
            let hint = nearest::hint(place, known(key).iter().copied());
            let may = if places.is_empty() {
                "nothing is filled in here".to_owned()
            } else {
                format!("known here: {}", places.join(", "))
            };
            reader.problem(node, format!("{{{place}}} stands for nothing{hint}; {may}"));
        }
    }
    Some(text.to_owned())
}

/// A template that is a path.
pub(super) fn path(reader: &Reader, node: &Node, key: &str) -> Option<String> {
    let text = read(reader, node, key)?;
    if !text.starts_with('/') || text.contains(['?', '#']) {
        reader.problem(
            node,
            "not a path: expected one that begins with a slash, such as \"/contacts\"; what follows a `?` is `query`",
        );
        return None;
    }
    Some(text)
}

/// The names in braces; other braces are themselves, for templates may be JSON.
fn places(text: &str) -> Vec<&str> {
    let is_part = |character: char| character.is_ascii_lowercase() || character == '_';
    text.split('{')
        .skip(1)
        .filter_map(|inside| inside.split_once('}').map(|(name, _)| name))
        .filter(|name| !name.is_empty() && name.chars().all(is_part))
        .collect()
}
