//! `[crm.NAME]`: how a CRM is reached.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::Reader;
use super::tree::Node;
use super::url;
use super::{Calls, Crm, CrmKind, ModifiedBy, SqlRelation, SqlSettings, times};

const SQL_KEYS: [&str; 14] = [
    "kind",
    "url",
    "table",
    "key",
    "modified",
    "modified_by",
    "deleted",
    "relation",
    "poll",
    "sweep",
    "overlap",
    "quarantine",
    "replica_lag",
    "quota",
];

#[derive(Clone, Copy)]
enum Kind {
    Sql,
    Later(&'static str),
}

const KINDS: [(&str, Kind); 6] = [
    ("sql", Kind::Sql),
    ("odoo", Kind::Later("Odoo")),
    ("rest", Kind::Later("any REST API")),
    ("hubspot", Kind::Later("HubSpot")),
    ("salesforce", Kind::Later("Salesforce")),
    ("tryton", Kind::Later("Tryton")),
];

/// Reads one CRM.
pub(super) fn read(reader: &Reader, name: &str, node: &Node) -> Option<Crm> {
    // The kind decides which keys there are.
    let kind = reader.open_table(node)?.require("kind", "expected kind = \"sql\"")?;
    match reader.word(kind, &KINDS)? {
        Kind::Sql => sql(reader, name, node),
        Kind::Later(system) => {
            reader.not_yet(kind, &format!("the CRM kind for {system}"), "only kind = \"sql\" is");
            None
        }
    }
}

fn sql(reader: &Reader, name: &str, node: &Node) -> Option<Crm> {
    let fields = reader.table(node, &SQL_KEYS)?;
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
    let quota = fields.get("quota").and_then(|node| {
        reader.warning(node, "a database has no quota that could be asked for: this has no effect, take it out");
        quota(reader, node)
    });
    let times = times::read(reader, &fields);
    let settings = SqlSettings { url: url?, table: table?, key, modified, modified_by, deleted, relations };
    Some(Crm { name: name.to_owned(), kind: CrmKind::Sql(settings), times, quota })
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

fn quota(reader: &Reader, node: &Node) -> Option<Calls> {
    let fields = reader.table(node, &["calls", "per", "concurrency"])?;
    let calls = fields.require("calls", "how many calls").and_then(|node| reader.whole(node, 1..=1_000_000_000));
    let per = fields
        .require("per", "in which time, such as \"10s\"")
        .and_then(|node| reader.duration(node, Duration::from_millis(1)..=Duration::from_secs(31 * 24 * 60 * 60)));
    let concurrency = fields.get_or("concurrency", 4, |node| reader.whole(node, 1..=1000));
    Some(Calls { calls: calls?, per: per?, concurrency })
}
