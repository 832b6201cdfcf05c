//! The environment, handed in from outside, and the settings in it: `ATTUNE__STORE__ACME__POLL=10s`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::Arc;

use super::Problem;
use super::file::parse_inline;
use super::secret;
use super::tree::{Node, Origin, Value, child_path};

/// What starts a variable that is ours; others (`ATTUNE_TEST_POSTGRES`) are not.
const PREFIX: &str = "ATTUNE__";

/// Names between double underscores: no setting lies deeper.
const MAX_NAMES: usize = 8;

/// The variables that secrets are read from. Never printed.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The value of a variable.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// Every variable, for a command to run in.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Environment({} variables)", self.0.len())
    }
}

/// One `ATTUNE__A__B` variable.
pub(super) struct Setting {
    variable: String,
    /// As written, in any case.
    names: Vec<String>,
    text: String,
}

impl Setting {
    /// Whether it is the setting that these names lead to.
    pub fn is(&self, names: &[&str]) -> bool {
        self.names.len() == names.len() && self.names.iter().zip(names).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }
}

/// The settings among the variables, sorted by name.
pub(super) fn settings(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for (variable, text) in environment {
        let lossy = variable.to_string_lossy().into_owned();
        let Some(prefix) = lossy.get(..PREFIX.len()) else { continue };
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            continue;
        }
        let names: Vec<String> = lossy[PREFIX.len()..].split("__").map(str::to_owned).collect();
        if names.iter().any(String::is_empty) || names.len() > MAX_NAMES || variable.to_str().is_none() {
            problems
                .push(about(&lossy, "not the name of a setting: expected ATTUNE__A__B, such as ATTUNE__STATE__URL"));
            continue;
        }
        match text.into_string() {
            Ok(text) => settings.push(Setting { variable: lossy, names, text }),
            Err(_) => problems.push(about(&lossy, "its value is not UTF-8 text")),
        }
    }
    settings.sort_by(|a, b| a.variable.cmp(&b.variable));
    settings
}

/// Lays the settings over what the files say. A secret or URL given by a variable replaces the file's way to give it.
pub(super) fn lay_over(root: &mut Node, settings: Vec<Setting>, problems: &mut Vec<Problem>) {
    let mut laid: Vec<(Vec<String>, String)> = Vec::new();
    for Setting { variable, names, text } in settings {
        let folded: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        if let Some((_, other)) = laid.iter().find(|(other, _)| other.starts_with(&folded) || folded.starts_with(other))
        {
            problems.push(about(
                &variable,
                format!("says the same as ${other}, or contains it (names are read in any case): unset one of them"),
            ));
            continue;
        }
        let origin = Origin { file: Arc::from(format!("${variable}").as_str()), line: None };
        insert(root, &names, &origin, &variable, text);
        laid.push((folded, variable));
    }
}

fn insert(root: &mut Node, names: &[String], origin: &Origin, variable: &str, text: String) {
    let mut node = root;
    for (index, name) in names.iter().enumerate() {
        let from_file = node.origin.line.is_some();
        if (from_file && takes_one_way(&names[..index])) || !matches!(node.value, Value::Table(_)) {
            node.value = Value::Table(BTreeMap::new());
            node.origin = origin.clone();
        }
        let Value::Table(entries) = &mut node.value else { return };
        let key = entries
            .keys()
            .find(|key| key.eq_ignore_ascii_case(name))
            .cloned()
            .unwrap_or_else(|| name.to_ascii_lowercase());
        let path = child_path(&node.path, &key);
        node = entries.entry(key).or_insert_with(|| Node {
            origin: origin.clone(),
            path,
            value: Value::Table(BTreeMap::new()),
        });
    }
    // A list or a table is written as in a file.
    let inline = if text.starts_with(['[', '{']) { parse_inline(&text, variable, &node.path) } else { None };
    // A secret that happens to be TOML is still that secret: only a table that names a way to give it is one.
    let inline = inline.filter(|value| !takes_one_way(names) || secret::names_a_way(value));
    node.value = inline.unwrap_or_else(|| Value::Variable { name: variable.to_owned(), text });
    node.origin = origin.clone();
}

/// Whether a key takes exactly one of several ways to give it, so that a variable's way replaces the file's.
fn takes_one_way(names: &[String]) -> bool {
    let names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    matches!(
        names[..],
        ["state" | "alerts", "url"]
            | ["crm", _, "url" | "api_key" | "access_token" | "client_secret" | "private_key"]
            | ["defaults", "access_token"]
            | ["store", _, "access_token"]
    )
}

fn about(variable: &str, message: impl Into<String>) -> Problem {
    Problem { file: format!("${variable}"), line: None, column: None, path: String::new(), message: message.into() }
}
