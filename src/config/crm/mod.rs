//! `[crm.NAME]`: how a CRM is reached. What every kind has is read here, what only one has in its own file.

mod hubspot;
mod odoo;
mod rest;
mod rest_settings;
mod rest_templates;
mod salesforce;
mod sql;
mod tryton;

use std::time::Duration;

use super::reader::{Fields, Reader};
use super::tree::Node;
use super::{Calls, Crm, CrmKind, times};
use crate::model::FieldRule;
pub use hubspot::HubSpotSettings;
pub use odoo::OdooSettings;
pub use rest_settings::{RestAuth, RestSettings};
pub use salesforce::{SalesforceGrant, SalesforceSettings};
pub use sql::{ModifiedBy, SqlRelation, SqlSettings};
pub use tryton::TrytonSettings;

/// The keys of every kind.
const KEYS: [&str; 7] = ["kind", "poll", "sweep", "overlap", "quarantine", "replica_lag", "quota"];

/// Reads one CRM of one kind.
type ReadKind = fn(&Reader, &str, &Node) -> Option<Crm>;

const KINDS: [(&str, ReadKind); 6] = [
    ("sql", sql::read),
    ("odoo", odoo::read),
    ("rest", rest::read),
    ("hubspot", hubspot::read),
    ("salesforce", salesforce::read),
    ("tryton", tryton::read),
];

/// Reads one CRM.
pub(super) fn read(reader: &Reader, name: &str, node: &Node) -> Option<Crm> {
    // The kind decides which keys there are.
    let kind = reader.open_table(node)?.require("kind", "expected a kind, such as kind = \"sql\"")?;
    reader.word(kind, &KINDS)?(reader, name, node)
}

/// A field of a mapping that a CRM of this kind cannot have, or must not let be written.
pub(super) fn check(reader: &Reader, crm: &Crm, rule: &FieldRule, node: &Node) {
    match &crm.kind {
        CrmKind::Sql(settings) => sql::check(reader, &crm.name, settings, rule, node),
        // Its fields are known when it is asked.
        CrmKind::Odoo(_) | CrmKind::HubSpot(_) | CrmKind::Salesforce(_) | CrmKind::Tryton(_) => {}
        CrmKind::Rest(settings) => rest::check(reader, &crm.name, settings, rule, node),
    }
}

/// The keys of one kind, beside those of every kind.
fn keys<'a>(own: &[&'a str]) -> Vec<&'a str> {
    KEYS.iter().chain(own).copied().collect()
}

/// A CRM of one kind with what every kind has.
fn crm(reader: &Reader, name: &str, kind: CrmKind, fields: &Fields<'_, '_>) -> Crm {
    let quota = fields.get("quota").and_then(|node| quota(reader, node));
    Crm { name: name.to_owned(), kind, times: times::read(reader, fields), quota }
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
