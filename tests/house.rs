//! Holds the code to the import rule of the house: `cli → daemon → engine → merge, connector, checkpoint → model`, and
//! `connector → http`. What `ARCHITECTURE.md` draws is what this test reads from the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Room → the rooms that it may import.
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("merge", &["model"]),
    ("telemetry", &["model"]),
    ("http", &["model", "telemetry"]),
    ("connector", &["model", "http", "telemetry"]),
    ("checkpoint", &["model"]),
    ("engine", &["model", "merge", "connector", "checkpoint", "telemetry"]),
    ("config", &["model"]),
    ("web", &["model", "telemetry"]),
    ("simulator", &["model"]),
    ("daemon", &["model", "engine", "connector", "checkpoint", "config", "http", "telemetry", "web"]),
    ("cli", &["model", "engine", "connector", "checkpoint", "config", "daemon", "http", "simulator", "telemetry"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code without its comments and without its tests: tests may reach for what they need.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("the source is readable");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.to_string_lossy().contains("_test")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rooms() -> BTreeMap<String, Vec<PathBuf>> {
    let folders = std::fs::read_dir(root()).expect("src is there");
    let folders = folders.map(|entry| entry.expect("the entry is readable").path()).filter(|path| path.is_dir());
    folders
        .map(|path| (path.file_name().expect("a folder has a name").to_string_lossy().into_owned(), sources(&path)))
        .collect()
}

/// The rooms that a source names after `crate::`.
fn imports(code: &str) -> BTreeSet<String> {
    code.match_indices("crate::")
        .map(|(at, word)| code[at + word.len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn imports_run_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    for (room, files) in rooms() {
        let may =
            allowed.get(room.as_str()).unwrap_or_else(|| panic!("the room {room} is not in the rule of the house"));
        for file in files.iter().filter(|file| !is_test(file)) {
            for import in imports(&code(file)) {
                let is_room = allowed.contains_key(import.as_str());
                if is_room && import != room && !may.contains(&import.as_str()) {
                    wrong.push(format!("{} imports {import}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "against the rule of the house:\n{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_know_no_runtime() {
    let forbidden = ["tokio", "reqwest", "sqlx", "async fn", "SystemTime", "Instant::now"];
    for room in ["model", "merge"] {
        for file in sources(&root().join(room)) {
            let code = code(&file);
            for word in forbidden {
                assert!(!code.contains(word), "{} knows {word}", file.display());
            }
        }
    }
}

#[test]
fn a_connector_knows_no_other_connector() {
    let folder = root().join("connector");
    let kinds: Vec<String> = std::fs::read_dir(&folder)
        .expect("the room of connectors is there")
        .map(|entry| entry.expect("the entry is readable").path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().expect("a folder has a name").to_string_lossy().into_owned())
        .collect();
    assert!(kinds.contains(&"bigcommerce".to_owned()) && kinds.contains(&"sql".to_owned()));
    for kind in &kinds {
        for file in sources(&folder.join(kind)) {
            let code = code(&file);
            for other in kinds.iter().filter(|other| *other != kind) {
                assert!(!code.contains(&format!("connector::{other}")), "{} knows {other}", file.display());
            }
        }
    }
}

#[test]
fn the_engine_does_not_know_bigcommerce() {
    for file in sources(&root().join("engine")) {
        let code = code(&file).to_lowercase();
        assert!(!code.contains("bigcommerce") && !code.contains("sqlx"), "{} knows a system", file.display());
    }
}

#[test]
fn every_room_is_on_the_map() {
    let map = std::fs::read_to_string(root().join("lib.rs")).expect("lib.rs is readable");
    for room in rooms().keys() {
        assert!(map.contains(&format!("pub mod {room};")), "{room} is not in lib.rs");
        assert!(MAY_IMPORT.iter().any(|(name, _)| name == room), "{room} is not in the rule of the house");
    }
}
