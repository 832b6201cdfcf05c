//! Finds the files and turns each into a tree. Errors of the TOML parser are passed on without the line they are about:
//! it may hold a secret.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use super::tree::{Node, Origin, Value, child_path};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The most files that are read from one folder.
const MAX_FILES: usize = 1000;

/// How deep tables and lists may nest: deeper than any sound configuration.
const MAX_DEPTH: usize = 16;

/// Reads every file there is to read. `required`: whether finding none at all is a problem.
pub(super) fn read_all(
    paths: &[PathBuf],
    defaults: &[&Path],
    required: bool,
    problems: &mut Vec<Problem>,
) -> Vec<Node> {
    let mut files = Vec::new();
    if paths.is_empty() {
        match defaults.iter().find(|path| path.exists()) {
            Some(path) => expand(path, &mut files, problems),
            None if required => {
                let places: Vec<String> = defaults.iter().map(|path| path.display().to_string()).collect();
                problems.push(about(
                    "",
                    format!(
                        "no configuration: neither {} exists; name one with `--config PATH`, or try `attune demo`, which \
                         needs none",
                        places.join(" nor ")
                    ),
                ));
            }
            None => {}
        }
    }
    for path in paths {
        expand(path, &mut files, problems);
    }
    files.iter().filter_map(|path| read(path, problems)).collect()
}

/// A file as itself, a folder as its `*.toml` sorted by name.
fn expand(path: &Path, files: &mut Vec<PathBuf>, problems: &mut Vec<Problem>) {
    let name = path.display().to_string();
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return;
    }
    let mut found = Vec::new();
    match fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()) {
        Err(error) => return problems.push(about(&name, format!("cannot list this folder: {}", reason(&error)))),
        Ok(entries) => {
            for entry in entries {
                let file = entry.path();
                if file.extension().is_some_and(|extension| extension == "toml") && !file.is_dir() {
                    found.push(file);
                }
            }
        }
    }
    if found.is_empty() {
        problems.push(about(&name, "no *.toml in this folder: put the configuration there, or name a file"));
    }
    if found.len() > MAX_FILES {
        return problems.push(about(&name, format!("more than {MAX_FILES} files in this folder: name another")));
    }
    found.sort();
    files.append(&mut found);
}

fn read(path: &Path, problems: &mut Vec<Problem>) -> Option<Node> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let outcome = fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = outcome {
        problems.push(about(&name, format!("cannot be read: {}", reason(&error))));
        return None;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        problems.push(about(&name, "larger than 1 MiB: this is not a configuration of Attune"));
        return None;
    }
    let Ok(text) = String::from_utf8(bytes) else {
        problems.push(about(&name, "not UTF-8 text: save the file as UTF-8"));
        return None;
    };
    match DeTable::parse(&text) {
        Ok(table) => {
            let lines = Lines::of(&text);
            let place = Place { file: Arc::from(name.as_str()), lines: &lines, variable: None };
            match convert_table(table.get_ref(), &place, "", 0) {
                Ok(value) => {
                    let origin = Origin { file: place.file, line: None };
                    Some(Node { origin, path: String::new(), value })
                }
                Err(problem) => {
                    problems.push(*problem);
                    None
                }
            }
        }
        Err(error) => {
            let (line, column) = error.span().map_or((1, 1), |span| position(&text, span.start));
            problems.push(Problem {
                line: Some(line),
                column: Some(column),
                ..about(&name, format!("not TOML: {}", error.message()))
            });
            None
        }
    }
}

/// The tree of a text that comes with the program; `path` is where it is laid under.
pub(super) fn parse(name: &str, text: &str, path: &str) -> Result<Node, Box<Problem>> {
    let table =
        DeTable::parse(text).map_err(|error| Box::new(about(name, format!("not TOML: {}", error.message()))))?;
    let lines = Lines::of(text);
    let place = Place { file: Arc::from(name), lines: &lines, variable: None };
    let value = convert_table(table.get_ref(), &place, path, 0)?;
    Ok(Node { origin: Origin { file: place.file, line: None }, path: path.to_owned(), value })
}

/// The list or table that the text of a variable spells in TOML, where it does.
pub(super) fn parse_inline(text: &str, variable: &str, path: &str) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    let lines = Lines(vec![0]);
    let place = Place { file: Arc::from(format!("${variable}").as_str()), lines: &lines, variable: Some(variable) };
    convert(value.get_ref(), &place, path, 0).ok()
}

/// Where a tree is from.
struct Place<'a> {
    file: Arc<str>,
    lines: &'a Lines,
    variable: Option<&'a str>,
}

impl Place<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let line = if self.variable.is_some() { None } else { Some(self.lines.line(offset)) };
        Origin { file: Arc::clone(&self.file), line }
    }
}

fn convert_table(table: &DeTable<'_>, place: &Place<'_>, path: &str, depth: usize) -> Result<Value, Box<Problem>> {
    let mut entries = std::collections::BTreeMap::new();
    for (key, value) in table {
        let path = child_path(path, key.get_ref());
        let node = Node {
            origin: place.origin(key.span().start),
            value: convert(value.get_ref(), place, &path, depth)?,
            path,
        };
        entries.insert(key.get_ref().to_string(), node);
    }
    Ok(Value::Table(entries))
}

fn convert(value: &DeValue<'_>, place: &Place<'_>, path: &str, depth: usize) -> Result<Value, Box<Problem>> {
    if depth > MAX_DEPTH {
        return Err(Box::new(Problem {
            path: path.to_owned(),
            ..about(&place.file, format!("tables and lists nest deeper than {MAX_DEPTH}: no key of Attune does"))
        }));
    }
    Ok(match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            // Beyond 64 bits: out of every range we know, so the range check says it.
            Err(_) => Value::Integer(if number.as_str().starts_with('-') { i64::MIN } else { i64::MAX }),
        },
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| convert_item(item, place, &format!("{path}[{index}]"), depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => convert_table(table, place, path, depth + 1)?,
    })
}

fn convert_item(
    item: &Spanned<DeValue<'_>>,
    place: &Place<'_>,
    path: &str,
    depth: usize,
) -> Result<Node, Box<Problem>> {
    let value = convert(item.get_ref(), place, path, depth)?;
    Ok(Node { origin: place.origin(item.span().start), path: path.to_owned(), value })
}

/// Byte offsets at which lines start.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        Self(std::iter::once(0).chain(breaks).collect())
    }

    /// From 1.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

/// Line and column in characters, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |found| found + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn about(file: &str, message: impl Into<String>) -> Problem {
    Problem { file: file.to_owned(), line: None, column: None, path: String::new(), message: message.into() }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied: let the user that runs Attune read it".to_owned(),
        _ => error.to_string(),
    }
}
