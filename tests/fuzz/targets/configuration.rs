//! Configuration files and variables: taken or refused, the same every time, and never with a secret in what is said.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use attune::config::{self, Config, Problems};
use tempfile::TempDir;

/// What stands where a secret would: it must be in no message, and in nothing that is kept.
pub const SECRET: &str = "hunter2secret";

thread_local! {
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Loads one file beside these variables.
fn load(file: &[u8], variables: &[(OsString, OsString)]) -> Result<Config, Problems> {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().expect("a temporary folder"));
        let path: PathBuf = folder.path().join("attune.toml");
        // A file that is cut short and written again is flushed to disk by some file systems; a new one is not.
        let _ = fs::remove_file(&path);
        fs::write(&path, file).expect("it can be written");
        config::load(&[path], variables.iter().cloned())
    })
}

/// A file and variables that may be anything.
pub fn anything(file: &[u8], variables: &[(OsString, OsString)]) -> Result<Config, Problems> {
    let loaded = load(file, variables);
    let again = load(file, variables);
    match (&loaded, &again) {
        (Ok(config), Ok(again)) => {
            assert!(!config.stores.is_empty(), "a configuration without a store");
            for pair in config.stores.values().flat_map(|store| &store.pairs) {
                assert!(config.crms.contains_key(&pair.crm) && config.mappings.contains_key(&pair.mapping));
            }
            assert_eq!(config, again, "one file is two configurations");
        }
        (Err(problems), Err(again)) => {
            assert_eq!(problems, again, "one file is refused for two reasons");
            assert!(problems.iter().count() > 0, "refused without a reason");
            let said: usize = problems.iter().map(|problem| problem.message.len()).max().unwrap_or_default();
            let longest = file.len() + variables.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>();
            assert!(said <= 2000 + 12 * longest, "a message of {said} bytes about {longest}");
        }
        _ => panic!("taken once and refused once"),
    }
    loaded
}

/// A file and variables in which [`SECRET`] stands where secrets stand, and nowhere else.
pub fn with_secrets(file: &[u8], variables: &[(OsString, OsString)]) {
    let shown = match anything(file, variables) {
        Ok(config) => format!("{config:?}"),
        Err(problems) => format!("{problems}\n{problems:?}"),
    };
    assert!(!shown.contains(SECRET), "a secret is shown: {shown}");
}

/// The first half a file, the second variables, a line each.
pub fn any(data: &[u8]) {
    let (file, variables) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    let lines = String::from_utf8_lossy(variables);
    let variables: Vec<(OsString, OsString)> = lines
        .split('\0')
        .filter_map(|line| line.split_once('='))
        .map(|(name, text)| (OsString::from(format!("ATTUNE__{name}")), OsString::from(text)))
        .collect();
    let _ = anything(file, &variables);
}
