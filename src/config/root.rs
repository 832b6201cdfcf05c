//! The whole: every table a configuration has, each read in its own file.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::reader::{Fields, Reader};
use super::tree::{Node, Value};
use super::url::{self, Database};
use super::{Config, Log, LogFormat, LogLevel, Server, State, UrlSource, alerts, check, crm, mapping, secret, store};
use crate::model::Keep;

const KEYS: [&str; 8] = ["state", "server", "log", "alerts", "defaults", "crm", "mapping", "store"];

const LEVELS: [LogLevel; 5] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

/// More would not fit one machine's promise.
const MAX_NAMED: usize = 1000;

/// Reads everything. What could not be read is missing, and a problem says why.
pub(super) fn read(reader: &Reader, root: &Node) -> Config {
    let none = BTreeMap::new();
    let fields = reader.table(root, &KEYS);
    let get = |key: &str| fields.as_ref().and_then(|fields| fields.get(key));
    let named = |key: &str| -> &BTreeMap<String, Node> {
        get(key).and_then(|node| reader.open_table(node)).map_or(&none, |fields| fields.entries)
    };
    let (crm_nodes, mapping_nodes, store_nodes) = (named("crm"), named("mapping"), named("store"));
    labels(reader, crm_nodes, &[]);
    labels(reader, mapping_nodes, &[]);
    labels(reader, store_nodes, &crm_nodes.keys().map(String::as_str).collect::<Vec<_>>());

    let crms: BTreeMap<_, _> =
        crm_nodes.iter().filter_map(|(name, node)| Some((name.clone(), crm::read(reader, name, node)?))).collect();
    let mappings: BTreeMap<_, _> = mapping_nodes
        .iter()
        .filter_map(|(name, node)| Some((name.clone(), mapping::read(reader, name, node)?)))
        .collect();
    let names = store::Names {
        crms: crm_nodes.keys().map(String::as_str).collect(),
        mappings: mapping_nodes.keys().map(String::as_str).collect(),
    };
    let defaults = get("defaults");
    if let Some(node) = defaults {
        store::check_defaults(reader, node, &names);
    }
    let stores: BTreeMap<_, _> = store_nodes
        .iter()
        .filter_map(|(name, node)| Some((name.clone(), store::read(reader, name, node, defaults, &names)?)))
        .collect();
    if store_nodes.is_empty() {
        reader
            .problem(root, "no store is configured: add a [store.NAME] with store_hash, access_token, crm and mapping");
    }
    store::distinct(reader, &stores, store_nodes);
    check::pairs(reader, &stores, &crms, &mappings);
    check::unused(reader, &stores, crm_nodes, mapping_nodes);

    Config {
        state: table(reader, get("state"), &["url", "keep"], |fields| State {
            url: state_url(reader, fields),
            keep: fields.and_then(|fields| fields.get("keep")).map_or_else(Keep::default, |node| keep(reader, node)),
        }),
        server: table(reader, get("server"), &["listen", "admin_token"], |fields| Server {
            listen: listen(reader, fields),
            admin_token: fields
                .and_then(|fields| fields.get("admin_token"))
                .and_then(|node| secret::read(reader, node)),
        }),
        alerts: get("alerts").and_then(|node| alerts::read(reader, node)),
        log: table(reader, get("log"), &["format", "level"], |fields| log(reader, fields)),
        crms,
        stores,
        mappings: mappings.into_iter().map(|(name, read)| (name, read.mapping)).collect(),
        warnings: Vec::new(),
    }
}

/// `server.listen` and nothing else.
pub(super) fn read_listen(reader: &Reader, root: &Node) -> Option<SocketAddr> {
    let root = reader.open_table(root)?;
    let server = match root.get("server") {
        Some(node) => Some(reader.open_table(node)?),
        None => None,
    };
    listen(reader, server.as_ref())
}

/// What `read` makes of a table that need not be there.
fn table<T>(reader: &Reader, node: Option<&Node>, keys: &[&str], read: impl Fn(Option<&Fields<'_, '_>>) -> T) -> T {
    read(node.and_then(|node| reader.table(node, keys)).as_ref())
}

fn state_url(reader: &Reader, fields: Option<&Fields<'_, '_>>) -> UrlSource {
    let read = |node| {
        let (url, database) = url::read_database(reader, node)?;
        if matches!(database, Some(Database::Postgres | Database::MySql)) {
            reader.not_yet(node, "a checkpoint outside SQLite", "use url = \"sqlite:attune.db\"");
        }
        if let Value::Text(text) | Value::Variable { text, .. } = &node.value
            && (text.contains(":memory:") || text.contains("mode=memory"))
        {
            reader.problem(node, "what is remembered in memory is lost at every end: name a file");
        }
        Some(url)
    };
    let default = UrlSource::Literal("sqlite:attune.db".to_owned());
    fields.and_then(|fields| fields.get("url")).and_then(read).unwrap_or(default)
}

/// What the rails and an undo look back on is kept in any case.
const KEPT_AT_LEAST: Duration = Duration::from_secs(86_400);

fn keep(reader: &Reader, node: &Node) -> Keep {
    let defaults = Keep::default();
    let Some(fields) = reader.table(node, &["age", "writes"]) else { return defaults };
    let longest = Duration::from_secs(366 * 86_400);
    Keep {
        age: fields.get_or("age", defaults.age, |node| reader.duration(node, KEPT_AT_LEAST..=longest)),
        writes: fields.get_or("writes", defaults.writes, |node| reader.whole(node, 0..=1_000_000_000)),
    }
}

fn listen(reader: &Reader, fields: Option<&Fields<'_, '_>>) -> Option<SocketAddr> {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9464));
    let Some(node) = fields.and_then(|fields| fields.get("listen")) else { return Some(default) };
    const EXPECTED: &str = "an address and a port in quotes, such as \"127.0.0.1:9464\", or \"off\"";
    match reader.any_text(node, EXPECTED)? {
        "off" => None,
        text => {
            let address = text.parse().ok();
            if address.is_none() {
                reader.problem(node, format!("expected {EXPECTED}"));
            }
            address
        }
    }
}

fn log(reader: &Reader, fields: Option<&Fields<'_, '_>>) -> Log {
    let get = |key: &str| fields.and_then(|fields| fields.get(key));
    let format =
        get("format").and_then(|node| reader.word(node, &[("json", LogFormat::Json), ("text", LogFormat::Text)]));
    let level = get("level").and_then(|node| reader.word(node, &LEVELS.map(|level| (level.as_str(), level))));
    Log { format, level: level.unwrap_or(LogLevel::Info) }
}

/// Whether this can be the name of a store, a CRM or a mapping.
pub(super) fn is_label(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Names are sound, and no two can be mixed up: variables are read in any case, and `pause NAME` takes a store or a CRM.
fn labels(reader: &Reader, nodes: &BTreeMap<String, Node>, others: &[&str]) {
    if nodes.len() > MAX_NAMED
        && let Some(node) = nodes.values().next()
    {
        reader.problem(node, format!("one of more than {MAX_NAMED}: split them between several instances"));
    }
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, node) in nodes {
        if !is_label(name) {
            reader.problem(node, "not a name: expected up to 64 letters (a to z), digits, `-` and `_`");
        }
        if let Some(other) = seen.insert(name.to_ascii_lowercase(), name) {
            reader.problem(node, format!("differs from `{other}` only in case: choose another name"));
        }
        if others.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            reader.problem(
                node,
                format!("a CRM is called `{name}` too, and `attune pause {name}` could mean either: rename one"),
            );
        }
    }
}
