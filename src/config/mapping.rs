//! `[mapping.NAME]`: which records are the same person, and which fields correspond.

use std::collections::BTreeMap;

use crate::model::{Conflict, Create, Direction, FieldRule, FieldType, Mapping, MatchRule, OnClear, OnDelete, Only};

use super::reader::Reader;
use super::tree::Node;
use super::{field_name, field_options};

const KEYS: [&str; 8] =
    ["match", "only", "create", "on_delete", "create_attributes", "create_groups", "field", "address"];

const FIELD_KEYS: [&str; 13] = [
    "store",
    "crm",
    "type",
    "direction",
    "conflict",
    "on_clear",
    "overwrite",
    "trim",
    "values",
    "separator",
    "allow_side_effects",
    "among",
    "permission_set",
];

/// First and last name, and what each is by itself.
const FULL_NAME: &str = "customer:name";
const NAME_PARTS: [&str; 2] = ["customer:first_name", "customer:last_name"];

/// More than any store has.
const MAX_FIELDS: usize = 500;

/// A mapping and where its fields stand, for what can only be checked beside a CRM.
pub(super) struct ReadMapping<'n> {
    pub mapping: Mapping,
    /// One for each field that could be read.
    pub fields: Vec<&'n Node>,
}

/// Reads one mapping.
pub(super) fn read<'n>(reader: &Reader, name: &str, node: &'n Node) -> Option<ReadMapping<'n>> {
    let fields = reader.table(node, &KEYS)?;
    let matches = fields.require(
        "match",
        "by which fields a customer and a contact are the same person, such as match = \
                                  [{ store = \"customer:email\", crm = \"email\" }]",
    );
    let matches = matches.map_or_else(Vec::new, |node| match_rules(reader, node));
    let only = fields.get_or("only", Only::default(), |node| only(reader, node));
    let create = fields.get_or("create", Create::default(), |node| create(reader, node));
    let on_delete = fields.get_or("on_delete", OnDelete::default(), |node| on_delete(reader, node));
    let create_attributes = fields.get_or("create_attributes", false, |node| reader.boolean(node));
    let create_groups = fields.get_or("create_groups", false, |node| reader.boolean(node));
    let rules =
        fields.require("field", "the fields that correspond, each a [[mapping.….field]] with `store` and `crm`");
    let mut rules = rules.map_or_else(Vec::new, |node| field_rules(reader, node));
    if let Some(node) = fields.get("address") {
        let mark = field_options::address(reader, node);
        let mut addresses = rules.iter_mut().filter(|(_, rule)| rule.store.starts_with("address:")).peekable();
        if addresses.peek().is_none() {
            reader.warning(node, "has no effect on a mapping without fields `address:…`: take it out");
        }
        addresses.for_each(|(_, rule)| rule.options.address.clone_from(&mark));
    }
    written_once(reader, &rules);
    let (nodes, rules) = rules.into_iter().unzip();
    let mapping = Mapping {
        name: name.to_owned(),
        matches,
        only,
        create,
        on_delete,
        create_attributes,
        create_groups,
        fields: rules,
    };
    Some(ReadMapping { mapping, fields: nodes })
}

fn match_rules(reader: &Reader, node: &Node) -> Vec<MatchRule> {
    let Some(rules) = reader.list(node, "a list, such as [{ store = \"customer:email\", crm = \"email\" }]") else {
        return Vec::new();
    };
    if rules.is_empty() {
        reader.problem(
            node,
            "empty: nobody would ever be linked; name a field by which a customer and a contact are the same person, such \
             as { store = \"customer:email\", crm = \"email\" }",
        );
    }
    let mut read: Vec<MatchRule> = Vec::new();
    for node in rules {
        let Some(fields) = reader.table(node, &["store", "crm"]) else { continue };
        let store = fields.require("store", "a store field").and_then(|node| field_name::store(reader, node));
        let crm = fields.require("crm", "a CRM field").and_then(|node| field_name::crm(reader, node, None));
        let (Some(store), Some(crm)) = (store, crm) else { continue };
        let rule = MatchRule { store, crm };
        if read.contains(&rule) {
            reader.problem(node, "the same rule twice: remove one");
        }
        read.push(rule);
    }
    read
}

fn only(reader: &Reader, node: &Node) -> Option<Only> {
    let fields = reader.table(node, &["store", "crm"])?;
    let side = |key: &str, is_store: bool| -> BTreeMap<String, Vec<String>> {
        let Some(fields) = fields.get(key).and_then(|node| reader.open_table(node)) else { return BTreeMap::new() };
        let mut side = BTreeMap::new();
        for (name, node) in fields.entries {
            // The name is a key here: looked at as if it were a value at the same place.
            let mut name_node = node.clone();
            name_node.value = super::tree::Value::Text(name.clone());
            let name = if is_store {
                field_name::store(reader, &name_node)
            } else {
                field_name::crm(reader, &name_node, None)
            };
            if let (Some(name), Some(words)) = (name, words(reader, node)) {
                side.insert(name, words);
            }
        }
        side
    };
    Some(Only { store: side("store", true), crm: side("crm", false) })
}

fn words(reader: &Reader, node: &Node) -> Option<Vec<String>> {
    let items = reader.list(node, "a list of texts, such as [\"Wholesale\"]")?;
    if items.is_empty() {
        reader.problem(
            node,
            "empty: no record could take part; list the values whose records do, or leave the field out",
        );
        return None;
    }
    Some(items.iter().filter_map(|item| reader.text(item)).collect())
}

fn create(reader: &Reader, node: &Node) -> Option<Create> {
    let words = [("none", Create::None), ("store", Create::Store), ("crm", Create::Crm), ("both", Create::Both)];
    reader.word(node, &words)
}

fn on_delete(reader: &Reader, node: &Node) -> Option<OnDelete> {
    reader.word(node, &[("unlink", OnDelete::Unlink), ("delete", OnDelete::Delete)])
}

fn field_rules<'n>(reader: &Reader, node: &'n Node) -> Vec<(&'n Node, FieldRule)> {
    let Some(items) = reader.list(node, "a list: write [[mapping.NAME.field]] with two brackets, or field = [ … ]")
    else {
        return Vec::new();
    };
    if items.is_empty() {
        reader.problem(node, "empty: nothing would be kept in agreement; map a field");
    }
    if items.len() > MAX_FIELDS {
        reader.problem(node, format!("more than {MAX_FIELDS} fields: a store has at most 50 attributes"));
        return Vec::new();
    }
    items.iter().filter_map(|node| Some((node, field_rule(reader, node)?))).collect()
}

fn field_rule(reader: &Reader, node: &Node) -> Option<FieldRule> {
    let fields = reader.table(node, &FIELD_KEYS)?;
    let defaults = FieldRule::new("", "");
    let kind = fields.get_or("type", defaults.kind, |node| field_type(reader, node));
    let direction = fields.get_or("direction", defaults.direction, |node| {
        reader.word(node, &[("both", Direction::Both), ("to_store", Direction::ToStore), ("to_crm", Direction::ToCrm)])
    });
    let conflict = fields.get_or("conflict", defaults.conflict, |node| {
        let words = [
            ("newest", Conflict::Newest),
            ("store", Conflict::Store),
            ("crm", Conflict::Crm),
            ("hold", Conflict::Hold),
        ];
        if direction != Direction::Both {
            reader.warning(node, "has no effect on a field that flows one way: take it out");
        }
        reader.word(node, &words)
    });
    let on_clear = fields.get_or("on_clear", defaults.on_clear, |node| {
        reader.word(node, &[("propagate", OnClear::Propagate), ("restore", OnClear::Restore), ("hold", OnClear::Hold)])
    });
    let overwrite = fields.get_or("overwrite", defaults.overwrite, |node| reader.boolean(node));
    let trim = fields.get_or("trim", defaults.trim, |node| reader.boolean(node));
    if !trim
        && kind != FieldType::String
        && let Some(node) = fields.get("trim")
    {
        reader.warning(node, "has no effect on a type other than \"string\": take it out");
    }
    let values = fields.get_or("values", BTreeMap::new(), |node| values(reader, node, direction));
    let options = field_options::read(reader, &fields, kind);
    let store = fields
        .require("store", "the store's field, such as \"attribute:Job title\"")
        .and_then(|node| field_name::mapped(reader, node, direction, &options));
    if let Some(store) = &store {
        field_options::belong(reader, &fields, store, kind);
    }
    let crm = fields.require("crm", "the CRM's field").and_then(|node| field_name::crm(reader, node, Some(direction)));
    Some(FieldRule { store: store?, crm: crm?, kind, direction, conflict, on_clear, overwrite, trim, values, options })
}

fn field_type(reader: &Reader, node: &Node) -> Option<FieldType> {
    let types = [FieldType::String, FieldType::Number, FieldType::Date, FieldType::Boolean, FieldType::List];
    reader.word(node, &types.map(|kind| (kind.as_str(), kind)))
}

/// CRM word → store word. Where values flow to the CRM, a store word must lead back to one CRM word.
fn values(reader: &Reader, node: &Node, direction: Direction) -> Option<BTreeMap<String, String>> {
    let fields = reader.open_table(node)?;
    let mut by_crm: BTreeMap<String, String> = BTreeMap::new();
    let mut by_store: BTreeMap<String, String> = BTreeMap::new();
    for (crm, node) in fields.entries {
        let Some(store) = reader.text(node) else { continue };
        if crm.trim().is_empty() {
            reader.problem(node, "an empty word means nothing is there, which needs no translation: remove it");
            continue;
        }
        if by_crm.contains_key(crm.trim()) {
            reader.problem(node, "the same word twice, but for white space around it: keep one");
        }
        let other = by_store.insert(store.trim().to_owned(), crm.clone());
        if let Some(other) = other
            && direction != Direction::ToStore
        {
            let why = match direction {
                Direction::Both => {
                    "a field that flows both ways needs one CRM word for each store word and one store word \
                                    for each CRM word (one-to-one)"
                }
                _ => "a field that flows to the CRM needs one CRM word for each store word",
            };
            reader.problem(
                node,
                format!(
                    "not one-to-one: the CRM's words `{}` and `{}` have the same store word, and {why}; change one, or set \
                     direction = \"to_store\"",
                    other.escape_debug(),
                    crm.escape_debug()
                ),
            );
        }
        by_crm.insert(crm.trim().to_owned(), store.trim().to_owned());
    }
    Some(by_crm)
}

/// A store field names the mapped field, so it stands once; and a CRM field is written by one mapped field at most.
fn written_once(reader: &Reader, rules: &[(&Node, FieldRule)]) {
    for (index, (node, rule)) in rules.iter().enumerate() {
        let line = |other: &Node| other.origin.line.map_or_else(String::new, |line| format!(" (line {line})"));
        if let Some((other, first)) = rules[..index].iter().find(|(_, other)| other.store == rule.store) {
            let both_write = [first, rule].iter().all(|rule| rule.direction != Direction::ToCrm);
            let what = if both_write { "two fields write one target: " } else { "" };
            reader.problem(
                node,
                format!(
                    "{what}`{}` is mapped twice{}: a store field stands once in a mapping",
                    rule.store,
                    line(other)
                ),
            );
        }
        let of_name = |rule: &FieldRule| NAME_PARTS.contains(&rule.store.as_str());
        let to_store = |rule: &FieldRule| rule.direction != Direction::ToCrm;
        let parts = |one: &FieldRule, other: &FieldRule| one.store == FULL_NAME && of_name(other);
        let overlaps = |other: &FieldRule| parts(rule, other) || parts(other, rule);
        let same = rules[..index].iter().find(|(_, other)| to_store(rule) && to_store(other) && overlaps(other));
        if let Some((_, first)) = same {
            reader.problem(
                node,
                format!(
                    "two fields write one target: `{}` and `{}` both write the customer's name; keep `customer:name` or its \
                     parts, or set direction = \"to_crm\"",
                    first.store, rule.store
                ),
            );
        }
        let to_crm = |rule: &FieldRule| rule.direction != Direction::ToStore;
        let writer = rules[..index].iter().find(|(_, other)| other.crm == rule.crm && to_crm(other) && to_crm(rule));
        if let Some((other, first)) = writer {
            reader.problem(
                node,
                format!(
                    "two fields write one target: `{}`{} and `{}` both write the CRM's `{}`; set direction = \"to_store\" on \
                     all but one",
                    first.store,
                    line(other),
                    rule.store,
                    rule.crm
                ),
            );
        }
    }
}
