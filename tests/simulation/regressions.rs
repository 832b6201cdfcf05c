//! Histories that failed once, as they were when they were mended: lists of events, which stay what they are when the code
//! that makes them from seeds changes.

use serde::{Deserialize, Serialize};

use crate::script::Script;
use crate::shrink;

/// A history that failed, and how.
#[derive(Serialize, Deserialize)]
pub struct Regression {
    pub wrong: String,
    pub script: Script,
}

#[test]
fn what_failed_once_fails_no_more() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/regressions");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let Regression { wrong, script } = serde_json::from_str(&text).unwrap();
        assert!(!wrong.is_empty());
        assert_eq!(shrink::wrong(&script), None, "{}: {wrong}", file.display());
    }
}
