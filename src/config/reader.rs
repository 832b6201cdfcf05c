//! Turns nodes into what is expected of them, and keeps what is wrong: one problem stops nothing else from being read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::tree::{Node, Value};
use super::{Problem, Problems, duration, nearest};

/// Collects problems while nodes are read.
pub(super) struct Reader {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Reader {
    pub fn new(problems: Vec<Problem>) -> Self {
        Self { problems: RefCell::new(problems), warnings: RefCell::default() }
    }

    /// What was read if nothing was wrong, made of the warnings. What could not be read is missing in it, and each time a
    /// problem says so.
    pub fn finish<T>(self, read: impl FnOnce(Vec<Problem>) -> T) -> Result<T, Problems> {
        let problems = self.problems.into_inner();
        if !problems.is_empty() {
            return Err(Problems::sorted(problems));
        }
        Ok(read(Problems::sorted(self.warnings.into_inner()).iter().cloned().collect()))
    }

    pub fn problem(&self, node: &Node, message: impl Into<String>) {
        self.problems.borrow_mut().push(node.problem(message));
    }

    /// What is unusual, or has no effect, but does not stop us.
    pub fn warning(&self, node: &Node, message: impl Into<String>) {
        self.warnings.borrow_mut().push(node.problem(message));
    }

    /// What the configuration has words for and this version does not do. Said, rather than done halfway.
    pub fn not_yet(&self, node: &Node, what: &str, instead: &str) {
        self.problem(node, format!("{what} is not supported yet: {instead}"));
    }

    fn expected(&self, node: &Node, expected: &str) {
        // What a variable holds is text; its kind says nothing.
        let found = match node.value {
            Value::Variable { .. } => String::new(),
            _ => format!(", found {}", node.value.kind()),
        };
        self.problem(node, format!("expected {expected}{found}"));
    }

    /// A table that knows these keys; unknown ones are problems.
    pub fn table<'n, 'r>(&'r self, node: &'n Node, known: &[&str]) -> Option<Fields<'n, 'r>> {
        let fields = self.open_table(node)?;
        for (key, value) in fields.entries {
            if !known.contains(&key.as_str()) {
                let hint = nearest::hint(key, known.iter().copied());
                self.problem(
                    value,
                    format!("unknown key{hint} Known here: {}", nearest::list(known.iter().copied(), "and")),
                );
            }
        }
        Some(fields)
    }

    /// A table whose keys are names that somebody chose.
    pub fn open_table<'n, 'r>(&'r self, node: &'n Node) -> Option<Fields<'n, 'r>> {
        match &node.value {
            Value::Table(entries) => Some(Fields { reader: self, node, entries }),
            _ => {
                self.expected(node, "a table");
                None
            }
        }
    }

    pub fn list<'n>(&self, node: &'n Node, of: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => {
                self.expected(node, of);
                None
            }
        }
    }

    /// Text that is not empty, and holds no control characters.
    pub fn text(&self, node: &Node) -> Option<String> {
        let text = self.any_text(node, "text in quotes")?;
        if text.trim().is_empty() {
            self.problem(node, "empty: give it a value, or leave the key out");
            return None;
        }
        if text.chars().any(char::is_control) {
            self.problem(node, "holds a control character, such as a line break: remove it");
            return None;
        }
        Some(text.to_owned())
    }

    pub fn any_text<'n>(&self, node: &'n Node, expected: &str) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) | Value::Variable { text, .. } => Some(text),
            _ => {
                self.expected(node, expected);
                None
            }
        }
    }

    pub fn boolean(&self, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Boolean(boolean) => Some(*boolean),
            Value::Variable { text, .. } if text.eq_ignore_ascii_case("true") => Some(true),
            Value::Variable { text, .. } if text.eq_ignore_ascii_case("false") => Some(false),
            _ => {
                self.expected(node, "true or false, without quotes");
                None
            }
        }
    }

    pub fn whole(&self, node: &Node, range: RangeInclusive<u64>) -> Option<u64> {
        let number = match &node.value {
            Value::Integer(number) => Some(i128::from(*number)),
            Value::Variable { text, .. } => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.expected(node, "a whole number, without quotes");
            return None;
        };
        let number = u64::try_from(number).ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.problem(node, format!("out of range: expected {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A number in a range, whole or with a fraction.
    pub fn number(&self, node: &Node, range: RangeInclusive<f64>) -> Option<f64> {
        let number = match &node.value {
            // Exact for every number that a range here allows.
            #[allow(clippy::cast_precision_loss)]
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Variable { text, .. } => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.expected(node, "a number, without quotes");
            return None;
        };
        if range.contains(&number) {
            return Some(number);
        }
        self.problem(node, format!("out of range: expected {} to {}", range.start(), range.end()));
        None
    }

    pub fn duration(&self, node: &Node, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.any_text(node, "a duration in quotes, such as \"30s\"")?;
        match duration::parse(text) {
            Err(message) => {
                self.problem(node, message);
                None
            }
            Ok(found) if !range.contains(&found) => {
                let (least, most) = (duration::show(*range.start()), duration::show(*range.end()));
                self.problem(node, format!("out of range: expected {least} to {most}"));
                None
            }
            Ok(found) => Some(found),
        }
    }

    /// One of several words.
    pub fn word<T: Copy>(&self, node: &Node, words: &[(&str, T)]) -> Option<T> {
        let known = || nearest::list(words.iter().map(|(word, _)| *word), "or");
        let (Value::Text(text) | Value::Variable { text, .. }) = &node.value else {
            self.expected(node, &format!("{} in quotes", known()));
            return None;
        };
        let found = words.iter().find(|(word, _)| word == text);
        if found.is_none() {
            let hint = nearest::hint(text, words.iter().map(|(word, _)| *word));
            self.problem(node, format!("expected {}{hint}", known()));
        }
        found.map(|(_, value)| *value)
    }
}

/// An open table.
pub(super) struct Fields<'n, 'r> {
    reader: &'r Reader,
    pub node: &'n Node,
    pub entries: &'n BTreeMap<String, Node>,
}

impl<'n> Fields<'n, '_> {
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key)
    }

    /// The entry; a problem where there is none.
    pub fn require(&self, key: &str, what: &str) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            self.reader.problem(self.node, format!("`{key}` is missing: {what}"));
        }
        found
    }

    /// What `read` makes of the entry; the default where there is none, or it is wrong (a problem then says so).
    pub fn get_or<T>(&self, key: &str, default: T, read: impl FnOnce(&'n Node) -> Option<T>) -> T {
        self.get(key).and_then(read).unwrap_or(default)
    }
}
