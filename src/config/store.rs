//! `[store.NAME]`, over what `[defaults]` says for all stores.

use std::collections::BTreeMap;

use crate::model::{Mode, Rail, Rails};

use super::nearest;
use super::reader::{Fields, Reader};
use super::secret::{self, Secret};
use super::tree::{Node, Value, overlay};
use super::{PairSettings, Store, Times, times, url};

const KEYS: [&str; 14] = [
    "store_hash",
    "access_token",
    "api_url",
    "crm",
    "mapping",
    "sync",
    "mode",
    "poll",
    "sweep",
    "overlap",
    "quarantine",
    "replica_lag",
    "quota",
    "rails",
];

const API_URL: &str = "https://api.bigcommerce.com";

/// What part of the quota is ours, when nobody says.
const SHARE: f64 = 0.8;

/// The names that a store can refer to, sound or not.
pub(super) struct Names<'a> {
    pub crms: Vec<&'a str>,
    pub mappings: Vec<&'a str>,
}

/// What a table of a store holds, before anything is required of it.
struct Parts {
    store_hash: Option<String>,
    access_token: Option<Secret>,
    api_url: String,
    pairs: Vec<PairSettings>,
    mode: Mode,
    times: Times,
    share: f64,
    rails: Rails,
}

/// Looks at `[defaults]` by itself: also at what every store overrides.
pub(super) fn check_defaults(reader: &Reader, node: &Node, names: &Names<'_>) {
    if let Some(fields) = reader.table(node, &KEYS) {
        parts(reader, &fields, names, false);
    }
}

/// Reads one store.
pub(super) fn read(
    reader: &Reader,
    name: &str,
    node: &Node,
    defaults: Option<&Node>,
    names: &Names<'_>,
) -> Option<Store> {
    reader.open_table(node)?;
    let whole = defaults.map_or_else(|| node.clone(), |defaults| over_defaults(defaults, node));
    let fields = reader.table(&whole, &KEYS)?;
    fields.require("store_hash", "the part of the store's API path after /stores/, such as \"abc123\"");
    fields.require("access_token", "where the store's token is found, such as { credential = \"acme\" }");
    let parts = parts(reader, &fields, names, true);
    Some(Store {
        name: name.to_owned(),
        store_hash: parts.store_hash?,
        access_token: parts.access_token?,
        api_url: parts.api_url,
        pairs: parts.pairs,
        mode: parts.mode,
        times: parts.times,
        share: parts.share,
        rails: parts.rails,
    })
}

/// A store's own way to name its CRMs replaces the other way in `[defaults]`; rails are laid over each other one by one.
fn over_defaults(defaults: &Node, store: &Node) -> Node {
    let mut defaults = defaults.clone();
    if let (Value::Table(lower), Value::Table(upper)) = (&mut defaults.value, &store.value) {
        if upper.contains_key("sync") {
            lower.retain(|key, _| key != "crm" && key != "mapping");
        } else if upper.contains_key("crm") || upper.contains_key("mapping") {
            lower.remove("sync");
        }
    }
    overlay(&defaults, store, &["rails", "quota", "writes", "clears", "creates", "deletes"])
}

fn parts(reader: &Reader, fields: &Fields<'_, '_>, names: &Names<'_>, complete: bool) -> Parts {
    Parts {
        store_hash: fields.get("store_hash").and_then(|node| store_hash(reader, node)),
        access_token: fields.get("access_token").and_then(|node| secret::read(reader, node)),
        api_url: fields.get_or("api_url", API_URL.to_owned(), |node| api_url(reader, node)),
        pairs: pairs(reader, fields, names, complete),
        mode: fields.get_or("mode", Mode::default(), |node| {
            reader.word(node, &[("sync", Mode::Sync), ("observe", Mode::Observe)])
        }),
        times: times::read(reader, fields),
        share: fields.get_or("quota", SHARE, |node| share(reader, node)),
        rails: fields.get_or("rails", Rails::default(), |node| rails(reader, node)),
    }
}

/// The address of all stores: BigCommerce shows it with the store's own path, which Attune adds itself.
fn api_url(reader: &Reader, node: &Node) -> Option<String> {
    let url = url::read_api(reader, node)?;
    if url.contains("/stores/") || url.ends_with("/stores") {
        let why = "give scheme and host alone, such as \"https://api.bigcommerce.com\": what follows `/stores/` is `store_hash`, and \
                   Attune adds the rest";
        reader.problem(node, why);
        return None;
    }
    Some(url)
}

fn store_hash(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        reader.problem(
            node,
            "not a store hash: expected the letters and digits after /stores/ in the store's API path, such as \"abc123\"",
        );
        return None;
    }
    Some(text)
}

fn share(reader: &Reader, node: &Node) -> Option<f64> {
    let fields = reader.table(node, &["share"])?;
    Some(fields.get_or("share", SHARE, |node| reader.number(node, 0.01..=1.0)))
}

/// The CRMs of a store: `crm` and `mapping`, or `sync` for several.
fn pairs(reader: &Reader, fields: &Fields<'_, '_>, names: &Names<'_>, complete: bool) -> Vec<PairSettings> {
    let single = fields.get("crm").or_else(|| fields.get("mapping"));
    match (fields.get("sync"), single) {
        (Some(sync), Some(single)) => {
            reader.problem(
                single,
                "both ways to name CRMs are given: keep `crm` and `mapping` for one, or `sync = [{ crm = …, mapping = … }]` \
                 for several",
            );
            several(reader, sync, names);
            Vec::new()
        }
        (Some(sync), None) => several(reader, sync, names),
        (None, Some(_)) => pair(reader, fields, names, complete).into_iter().collect(),
        (None, None) if complete => {
            reader.problem(
                fields.node,
                "a store without its CRM: add `crm` and `mapping`, or, for several, `sync = [{ crm = …, mapping = … }]`",
            );
            Vec::new()
        }
        (None, None) => Vec::new(),
    }
}

fn several(reader: &Reader, node: &Node, names: &Names<'_>) -> Vec<PairSettings> {
    let Some(items) = reader.list(node, "a list, such as [{ crm = \"erp\", mapping = \"b2b\" }]") else {
        return Vec::new();
    };
    if items.is_empty() {
        reader.problem(node, "empty: a store without its CRM; name one, such as { crm = \"erp\", mapping = \"b2b\" }");
    }
    let mut pairs: Vec<PairSettings> = Vec::new();
    for node in items {
        let Some(fields) = reader.table(node, &["crm", "mapping"]) else { continue };
        let Some(pair) = pair(reader, &fields, names, true) else { continue };
        if pairs.iter().any(|other| other.crm == pair.crm) {
            reader.problem(
                node,
                format!(
                    "`{}` stands here twice: a store meets a CRM under one mapping; put the fields into one",
                    pair.crm
                ),
            );
        }
        pairs.push(pair);
    }
    pairs
}

fn pair(reader: &Reader, fields: &Fields<'_, '_>, names: &Names<'_>, complete: bool) -> Option<PairSettings> {
    let named = |key: &str, table: &str, known: &[&str]| {
        let node = match fields.get(key) {
            None if complete => fields.require(key, &format!("the name of a [{table}.…]")),
            found => found,
        };
        node.and_then(|node| reference(reader, node, table, known))
    };
    let crm = named("crm", "crm", &names.crms);
    let mapping = named("mapping", "mapping", &names.mappings);
    Some(PairSettings { crm: crm?, mapping: mapping? })
}

/// A name of something that exists.
fn reference(reader: &Reader, node: &Node, table: &str, known: &[&str]) -> Option<String> {
    let name = reader.text(node)?;
    if known.contains(&name.as_str()) {
        return Some(name);
    }
    let hint = match nearest(&name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is no [{table}.…] at all"),
    };
    // Shown only if it can be a name: it may be something that does not belong here.
    let shown = if super::root::is_label(&name) { format!(" called `{name}`") } else { " of that name".to_owned() };
    reader.problem(node, format!("there is no [{table}.…]{shown}; {hint}"));
    None
}

fn rails(reader: &Reader, node: &Node) -> Option<Rails> {
    let fields = reader.table(node, &["writes", "clears", "creates", "deletes"])?;
    let rail = |key: &str, default: Rail| fields.get_or(key, default, |node| rail(reader, node, default));
    let defaults = Rails::default();
    Some(Rails {
        writes: rail("writes", defaults.writes),
        clears: rail("clears", defaults.clears),
        creates: rail("creates", defaults.creates),
        deletes: rail("deletes", defaults.deletes),
    })
}

fn rail(reader: &Reader, node: &Node, default: Rail) -> Option<Rail> {
    let fields = reader.table(node, &["count", "percent"])?;
    Some(Rail {
        count: fields.get_or("count", default.count, |node| reader.whole(node, 0..=1_000_000_000)),
        percent: fields.get_or("percent", default.percent, |node| reader.number(node, 0.0..=100.0)),
    })
}

/// One `store_hash` is one store: two labels for it would be two readers and two writers of the same customers.
pub(super) fn distinct(reader: &Reader, stores: &BTreeMap<String, Store>, nodes: &BTreeMap<String, Node>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, store) in stores {
        let Some(other) = seen.insert(store.store_hash.to_ascii_lowercase(), name) else { continue };
        let Some(node) = nodes.get(name) else { continue };
        let place = match &node.value {
            Value::Table(entries) => entries.get("store_hash").unwrap_or(node),
            _ => node,
        };
        reader.problem(
            place,
            format!(
                "the same store_hash as [store.{other}]: a store is its store_hash, and stands once; for several CRMs use \
                 `sync = [{{ crm = …, mapping = … }}]`"
            ),
        );
    }
}
