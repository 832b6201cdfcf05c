//! What a field's table says beyond its names, its type and its policies: the options of [`FieldOptions`], a line each.

use crate::model::{FieldOptions, FieldType};

use super::reader::{Fields, Reader};
use super::tree::Node;

/// Nobody separates with more.
const SEPARATOR_CHARS_MAX: usize = 8;

/// Reads them from the table of a field of this type.
pub(super) fn read(reader: &Reader, fields: &Fields<'_, '_>, kind: FieldType) -> FieldOptions {
    FieldOptions {
        separator: fields.get_or("separator", None, |node| separator(reader, node, kind).map(Some)),
        allow_side_effects: fields.get_or("allow_side_effects", false, |node| reader.boolean(node)),
    }
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
