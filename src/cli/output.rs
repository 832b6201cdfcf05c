//! How facts are written: documents and tables on stdout, everything about the command itself on stderr.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value as Json;

use super::exit::Exit;
use super::session::Trouble;
use crate::model::{Timestamp, Value};

pub use crate::model::{ago, lasting};

/// In fewer columns a table is not worth folding.
const WIDTH_MIN: u16 = 60;

/// Writes text and a line's end to stdout.
///
/// # Errors
/// When stdout cannot be written. A reader that went away ends the command without a word.
pub fn show(text: &str) -> Result<(), Trouble> {
    let mut stdout = stdout();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(unwritable)
}

/// Writes one JSON document to stdout.
///
/// # Errors
/// As [`show`].
pub fn document(value: &impl Serialize) -> Result<(), Trouble> {
    let mut stdout = stdout();
    serde_json::to_writer(&mut stdout, value)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(stdout))
        .and_then(|()| stdout.flush())
        .map_err(unwritable)
}

/// Writes a line about the command itself to stderr.
pub fn note(text: &str) {
    let mut lines = String::new();
    for line in text.lines() {
        // What belongs to the line above stands under it.
        let begins = if line.starts_with(' ') { "" } else { "attune: " };
        let _ = writeln!(lines, "{begins}{line}");
    }
    // Nobody is left to be told if this fails.
    let _ = io::stderr().write_all(lines.as_bytes());
}

/// Stdout for what comes in many pieces.
pub fn stdout() -> BufWriter<Stdout> {
    BufWriter::with_capacity(64 * 1024, io::stdout())
}

/// What it means that stdout could not be written.
pub fn unwritable(error: io::Error) -> Trouble {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Trouble::new(Exit::Done, "");
    }
    Trouble::new(Exit::Unreachable, format!("the output cannot be written: {error}"))
}

/// A table without lines: a head, and as many columns as it has.
pub fn table<const COLUMNS: usize>(head: [&str; COLUMNS], rows: impl IntoIterator<Item = [String; COLUMNS]>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head);
    // A terminal that does not say how wide it is, or is too narrow for columns, wraps lines by itself.
    if io::stdout().is_terminal() && table.width().is_some_and(|width| width >= WIDTH_MIN) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell)));
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A text without control characters: keys and names come from outside, and a terminal obeys what it is sent.
pub fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A text without the e-mail addresses in it.
pub fn without_addresses(text: &str) -> String {
    let is_part = |letter: char| !letter.is_whitespace() && !"\"'<>()[]{},;:=".contains(letter);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let begins = rest[..at]
            .rfind(|letter| !is_part(letter))
            .map_or(0, |before| before + rest[before..].chars().next().map_or(0, char::len_utf8));
        let ends = rest[at..].find(|letter| !is_part(letter)).map_or(rest.len(), |after| at + after);
        out.push_str(&rest[..begins]);
        out.push('…');
        rest = &rest[ends..];
    }
    out.push_str(rest);
    out
}

/// A value for a person's own terminal: quoted, `nothing` where there is none.
pub fn value(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| quoted(&serde_json::json!(value)))
}

/// A value that is JSON already.
pub fn json_value(text: &str) -> String {
    match parsed(text) {
        Json::Null => "nothing".to_owned(),
        value => quoted(&value),
    }
}

/// JSON that the checkpoint holds as text; null where it is none.
pub fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or(Json::Null)
}

fn quoted(value: &Json) -> String {
    // JSON escapes what is below a space; what remains are DEL and the controls of Latin-1.
    plain(&value.to_string())
}

/// A moment in a document.
pub fn moment(moment: Option<Timestamp>) -> Json {
    moment.map_or(Json::Null, |moment| Json::String(moment.to_string()))
}

/// `1 field`, `2 fields`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_left_out() {
        assert_eq!(
            without_addresses("The email 'jané@example.com' is in use; ask <a.b+c@x.org>, or é"),
            "The email '…' is in use; ask <…>, or é"
        );
        assert_eq!(
            [without_addresses("none"), without_addresses("@"), without_addresses("a@b@c d")],
            ["none", "…", "… d"]
        );
    }

    #[test]
    fn values_cannot_speak_to_the_terminal() {
        let text = value(Some(&Value::text("a\u{1b}[2J\u{9b}b\u{7f}\n")));
        assert!(!text.contains(char::is_control), "{text:?}");
        assert_eq!(json_value("null"), "nothing");
        assert_eq!(json_value("[\"a\",\"b\"]"), "[\"a\",\"b\"]");
    }

    #[test]
    fn a_table_ends_its_lines_without_blanks() {
        let text = table(["STORE", "STATE"], [["acme".to_owned(), "o\u{7}k".to_owned()]]);
        assert_eq!(text, " STORE  STATE\n acme   o k");
    }
}
