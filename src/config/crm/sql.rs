//! `kind = "sql"`: a table of a database.

use std::collections::BTreeMap;

use super::{crm, keys};
use crate::config::reader::Reader;
use crate::config::tree::Node;
use crate::config::url::{self, UrlSource};
use crate::config::{Crm, CrmKind, nearest};
use crate::model::{Direction, FieldRule};

const KEYS: [&str; 7] = ["url", "table", "key", "modified", "modified_by", "deleted", "relation"];

/// A table of a database, one row a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlSettings {
    /// `sqlite:PATH` (relative to the working directory) or `postgres://…`.
    pub url: UrlSource,
    /// The table, `schema.table` where it has a schema.
    pub table: String,
    /// The key's column.
    pub key: String,
    /// The column that says when a row changed.
    pub modified: String,
    /// Who sets it on our writes.
    pub modified_by: ModifiedBy,
    /// The column whose rows are gone where it holds anything.
    pub deleted: Option<String>,
    /// Tables that a contact points to, by the name that dotted fields begin with.
    pub relations: BTreeMap<String, SqlRelation>,
}

/// A table that a contact points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlRelation {
    /// The table.
    pub table: String,
    /// The contact's column that holds its key.
    pub from: String,
    /// Its key's column.
    pub key: String,
    /// The column that says when one of its rows changed.
    pub modified: String,
}

/// Who sets the modified column on our writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModifiedBy {
    /// We do.
    #[default]
    Attune,
    /// The database does, by a trigger.
    Database,
}

/// Reads one.
pub(super) fn read(reader: &Reader, name: &str, node: &Node) -> Option<Crm> {
    let fields = reader.table(node, &keys(&KEYS))?;
    let url = fields
        .require("url", "such as { env = \"ERP_URL\" } or \"sqlite:erp.db\"")
        .and_then(|node| url::read_database(reader, node).map(|(url, _)| url));
    let table = fields.require("table", "the table that holds the contacts").and_then(|node| reader.text(node));
    let column = |key: &str, default: &str| fields.get_or(key, default.to_owned(), |node| reader.text(node));
    let (key, modified) = (column("key", "id"), column("modified", "updated_at"));
    let deleted = fields.get("deleted").and_then(|node| reader.text(node));
    let modified_by = fields.get_or("modified_by", ModifiedBy::default(), |node| {
        reader.word(node, &[("attune", ModifiedBy::Attune), ("database", ModifiedBy::Database)])
    });
    for (role, column) in [("key", Some(&key)), ("deleted", deleted.as_ref())] {
        if column == Some(&modified) {
            reader.problem(node, format!("`{role}` and `modified` name the same column: each needs its own"));
        }
    }
    let relations = fields.get("relation").map_or_else(BTreeMap::new, |node| relations(reader, node));
    if let Some(node) = fields.get("quota") {
        reader.warning(node, "a database has no quota that could be asked for: this has no effect, take it out");
    }
    let settings = SqlSettings { url: url?, table: table?, key, modified, modified_by, deleted, relations };
    Some(crm(reader, name, CrmKind::Sql(settings), &fields))
}

fn relations(reader: &Reader, node: &Node) -> BTreeMap<String, SqlRelation> {
    let Some(relations) = reader.open_table(node) else { return BTreeMap::new() };
    relations.entries.iter().filter_map(|(name, node)| Some((name.clone(), relation(reader, node)?))).collect()
}

fn relation(reader: &Reader, node: &Node) -> Option<SqlRelation> {
    let fields = reader.table(node, &["table", "from", "key", "modified"])?;
    let table = fields.require("table", "the table that contacts point to").and_then(|node| reader.text(node));
    let from = fields.require("from", "the contact's column that holds its key").and_then(|node| reader.text(node));
    let column = |key: &str, default: &str| fields.get_or(key, default.to_owned(), |node| reader.text(node));
    let (key, modified) = (column("key", "id"), column("modified", "updated_at"));
    Some(SqlRelation { table: table?, from: from?, key, modified })
}

/// Fields that would write a column which the connector itself needs, or that are of a record to which nothing leads.
pub(super) fn check(reader: &Reader, name: &str, settings: &SqlSettings, rule: &FieldRule, node: &Node) {
    if let Some((relation, _)) = rule.crm.split_once('.')
        && !settings.relations.contains_key(relation)
    {
        let hint = nearest::hint(relation, settings.relations.keys().map(String::as_str));
        reader.problem(
            node,
            format!(
                "`{}` is a field of the record that a contact points to, and [crm.{name}] does not say how: add \
                 [crm.{name}.relation.{relation}] with `table` and `from`{hint}",
                rule.crm
            ),
        );
    }
    let taken =
        [("key", Some(&settings.key)), ("modified", Some(&settings.modified)), ("deleted", settings.deleted.as_ref())];
    for (role, column) in taken {
        if rule.direction != Direction::ToStore && column == Some(&rule.crm) {
            reader.problem(
                node,
                format!(
                    "`{}` is the `{role}` column of [crm.{name}], and this field would write it: set direction = \
                     \"to_store\", or map another column",
                    rule.crm
                ),
            );
        }
    }
}
