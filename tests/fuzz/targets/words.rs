//! Command lines.

use std::ffi::OsString;

use attune::cli::arguments::Arguments;

/// A command line is taken, or refused with an exit code that says why; what is said stays in proportion.
pub fn command_line(words: &[OsString]) {
    let line = std::iter::once(OsString::from("attune")).chain(words.iter().cloned());
    let Err(error) = Arguments::read(line) else { return };
    assert!(matches!(error.exit_code(), 0 | 2), "{words:?} ends with {}", error.exit_code());
    let given: usize = words.iter().map(|word| word.len()).sum();
    let said = error.to_string();
    assert!(said.len() <= 20_000 + 16 * given, "{words:?} is answered with {} bytes", said.len());
}

/// A line of words with spaces between.
pub fn any(text: &str) {
    let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
    command_line(&words);
}
