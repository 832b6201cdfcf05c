//! What files and environment say, before anything is known about what it means: values that know where they stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Problem;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The file as it was named, or `$ATTUNE__…`.
    pub file: Arc<str>,
    /// From 1; none for a variable.
    pub line: Option<usize>,
}

/// A value, where it stands, and the key that leads to it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub origin: Origin,
    /// `store.acme.poll`; empty for the root.
    pub path: String,
    pub value: Value,
}

/// A value. `Debug` is for tests of this room alone: it shows what may be a secret.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// From a variable, whose exact name is kept: text that becomes what is expected where it stands.
    Variable {
        name: String,
        text: String,
    },
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Date,
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Value {
    /// With its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Variable { .. } => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Date => "a date without quotes",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// A problem at this place.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        Problem {
            file: self.origin.file.to_string(),
            line: self.origin.line,
            column: None,
            path: self.path.clone(),
            message: message.into(),
        }
    }
}

/// `parent.key`, with quotes where TOML would want them.
pub(super) fn child_path(parent: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let key = if bare { key.to_owned() } else { format!("\"{}\"", key.escape_debug()) };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

/// The tables whose entries may stand in several files; everything else is one table in one file.
pub(super) const NAMED: [&str; 3] = ["crm", "mapping", "store"];

/// Puts the files together. The same table in two files is a problem that names both; the first is kept.
pub(super) fn merge(files: Vec<Node>, problems: &mut Vec<Problem>) -> Node {
    let mut whole = BTreeMap::new();
    for file in files {
        let Value::Table(entries) = file.value else { continue };
        for (key, node) in entries {
            let Some(existing) = whole.get_mut(&key) else {
                whole.insert(key, node);
                continue;
            };
            match (existing, node) {
                (Node { value: Value::Table(into), .. }, Node { value: Value::Table(from), .. })
                    if NAMED.contains(&key.as_str()) =>
                {
                    for (name, node) in from {
                        match into.get(&name) {
                            Some(existing) => problems.push(twice(existing, &node)),
                            None => {
                                into.insert(name, node);
                            }
                        }
                    }
                }
                (existing, node) => problems.push(twice(existing, &node)),
            }
        }
    }
    let origin = Origin { file: Arc::from(""), line: None };
    Node { origin, path: String::new(), value: Value::Table(whole) }
}

fn twice(first: &Node, second: &Node) -> Problem {
    let line = first.origin.line.map_or_else(String::new, |line| format!(", line {line}"));
    second.problem(format!(
        "also in {}{line}: a table stands in one file only, so that no file silently overrides another; put them together",
        first.origin.file
    ))
}

/// `over` laid over `base`: tables named in `deep` are merged key by key, everything else is replaced.
pub(super) fn overlay(base: &Node, over: &Node, deep: &[&str]) -> Node {
    let (Value::Table(lower), Value::Table(upper)) = (&base.value, &over.value) else { return over.clone() };
    let mut merged = lower.clone();
    for (key, node) in upper {
        let node = match lower.get(key) {
            Some(below) if deep.contains(&key.as_str()) => overlay(below, node, deep),
            _ => node.clone(),
        };
        merged.insert(key.clone(), node);
    }
    Node { origin: over.origin.clone(), path: over.path.clone(), value: Value::Table(merged) }
}
