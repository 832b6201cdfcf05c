//! Rows of a table as another program leaves them: SQLite takes anything into any column, so this one holds what it will.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use attune::connector::sql::{Settings, Sql};
use attune::connector::{Connector, FieldWanted, Lane, Unreserved};
use attune::model::{FieldType, Key, Observed, Outcome, Seen, Value, Write};
use futures::StreamExt;
use rusqlite::types::{Value as Stored, ValueRef};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::reference::{Decimal, day_of};

/// The mapped columns: name, declaration, and the type of the mapping.
const COLUMNS: [(&str, &str, FieldType); 7] = [
    ("title", "TEXT", FieldType::String),
    ("credit", "NUMERIC", FieldType::Number),
    ("price", "REAL", FieldType::Number),
    ("count", "INTEGER", FieldType::Number),
    ("loose", "", FieldType::Number),
    ("active", "BOOLEAN", FieldType::Boolean),
    ("since", "DATE", FieldType::Date),
];

/// One row as another program writes it.
#[derive(Clone, Debug)]
pub struct Row {
    pub cells: [Stored; COLUMNS.len()],
    pub modified: Stored,
}

struct Table {
    runtime: Runtime,
    _folder: TempDir,
    other: rusqlite::Connection,
    connector: Sql,
}

thread_local! {
    static TABLE: RefCell<Option<Table>> = const { RefCell::new(None) };
}

impl Table {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(format!("{}.db", COUNT.fetch_add(1, Ordering::Relaxed)));
        let other = rusqlite::Connection::open(&path).expect("the file is made");
        let columns: Vec<String> = COLUMNS.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
        let sql = format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE contacts (id INTEGER PRIMARY KEY, {}, updated_at TEXT)",
            columns.join(", ")
        );
        other.execute_batch(&sql).expect("the table is made");
        let mut settings = Settings::new("erp", format!("sqlite:{}", path.display()).into(), "contacts");
        settings.patience = Duration::ZERO;
        settings.fields = COLUMNS.iter().map(|(name, _, kind)| FieldWanted::new(*name, *kind)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connector = Sql::new(settings);
        let prepared = runtime.block_on(connector.prepare(&vec![None; COLUMNS.len()], false));
        prepared.expect("the table fits its mapping");
        Self { runtime, _folder: folder, other, connector }
    }

    /// What stands in the table, as SQLite itself hands it out: key, cells, modification time.
    fn stored(&self) -> Vec<(i64, Vec<Stored>, Stored)> {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
        let sql = format!("SELECT id, {}, updated_at FROM contacts ORDER BY id", names.join(", "));
        let mut statement = self.other.prepare(&sql).expect("the table is there");
        let rows = statement.query_map([], |row| {
            let cell = |index: usize| row.get_ref(index).map(own);
            let cells = (1..=COLUMNS.len()).map(cell).collect::<Result<Vec<_>, _>>()?;
            Ok((row.get(0)?, cells, cell(COLUMNS.len() + 1)?))
        });
        rows.expect("it can be read").map(|row| row.expect("a row")).collect()
    }
}

/// Text that is no UTF-8 is no text: to us it is as a blob.
fn own(value: ValueRef<'_>) -> Stored {
    match value {
        ValueRef::Null => Stored::Null,
        ValueRef::Integer(number) => Stored::Integer(number),
        ValueRef::Real(number) => Stored::Real(number),
        ValueRef::Text(bytes) => {
            String::from_utf8(bytes.to_vec()).map_or_else(|_| Stored::Blob(bytes.to_vec()), Stored::Text)
        }
        ValueRef::Blob(bytes) => Stored::Blob(bytes.to_vec()),
    }
}

/// Writes the rows, reads them through the connector, and compares with what SQLite says; then gives the first row a new
/// title, and reads that as the other program would.
pub fn rows(rows: &[Row], title: &str) {
    TABLE.with_borrow_mut(|table| {
        let table = table.get_or_insert_with(Table::new);
        table.other.execute("DELETE FROM contacts", []).expect("rows can be deleted");
        for (index, row) in rows.iter().enumerate() {
            let mut values = vec![Stored::Integer(i64::try_from(index).unwrap())];
            values.extend(row.cells.iter().cloned());
            values.push(row.modified.clone());
            let marks = vec!["?"; values.len()].join(", ");
            let sql = format!("INSERT INTO contacts VALUES ({marks})");
            table.other.execute(&sql, rusqlite::params_from_iter(values)).expect("SQLite takes anything");
        }
        let stored = table.stored();
        let pages: Vec<_> = table.runtime.block_on(table.connector.everything().collect());
        let observed: Vec<Observed> =
            pages.into_iter().flat_map(|page| page.expect("every row can be read").observed).collect();
        assert_eq!(observed.len(), stored.len());
        for (observed, (key, cells, modified)) in observed.iter().zip(&stored) {
            assert_eq!(observed.key, Key::new(key.to_string()));
            for ((name, _, kind), (cell, stored)) in COLUMNS.iter().zip(observed.cells.iter().zip(cells)) {
                is_shown(name, *kind, &cell.seen, stored);
            }
            // A date that is none of SQLite's forms is no time, and never a time out of nothing.
            if let (Some(at), Stored::Text(text)) = (observed.modified, modified)
                && day_of(text).is_some()
                && let Ok(exact) = text.replace(' ', "T").parse::<jiff::Timestamp>()
            {
                assert!((exact.as_millisecond() - at.as_millis()).abs() <= 1, "{text:?} became {at}");
            }
        }
        if !rows.is_empty() && !title.contains('\0') {
            retitled(table, title);
        }
    });
}

/// A cell is what is stored in it: the same text, the same number, or unseen where it is no text at all.
fn is_shown(name: &str, kind: FieldType, seen: &Seen, stored: &Stored) {
    let shown = match (seen, stored) {
        (Seen::Absent, Stored::Null) | (Seen::Unseen, Stored::Blob(_)) => return,
        (Seen::Absent, Stored::Text(text)) => return assert!(text.is_empty(), "{name}: {text:?} is absent"),
        (Seen::Value(Value::Text(shown)), _) => shown,
        _ => panic!("{name}: {stored:?} is shown as {seen:?}"),
    };
    match stored {
        Stored::Integer(number) if kind == FieldType::Boolean && matches!(number, 0 | 1) => {
            assert_eq!(shown, if *number == 1 { "true" } else { "false" }, "{name}");
        }
        Stored::Integer(number) => assert_eq!(Decimal::parse(shown), Decimal::parse(&number.to_string()), "{name}"),
        Stored::Real(number) if number.is_finite() && kind == FieldType::Number => {
            let read: f64 = shown.parse().unwrap_or_else(|_| panic!("{name}: {number} is shown as {shown:?}"));
            // SQLite itself cannot write the far ends exactly; no number that far out is taken for a value.
            let exact = (1e-30..1e30).contains(&number.abs()) || *number == 0.0;
            let near = number.abs() < 1e-300 || (read - number).abs() <= number.abs() * 1e-15;
            assert!(if exact { read == *number } else { near }, "{name}: {number} is shown as {shown:?}");
        }
        Stored::Text(text) if kind == FieldType::Number && Decimal::parse(text).is_some() => {
            assert_eq!(Decimal::parse(shown), Decimal::parse(text), "{name}: {text:?} is shown as {shown:?}");
        }
        Stored::Text(text) if kind == FieldType::String => assert_eq!(shown, text, "{name}"),
        _ => {}
    }
    assert!(
        shown.len()
            <= 1000
                + match stored {
                    Stored::Text(text) => text.len(),
                    _ => 0,
                },
        "{name}: {} bytes",
        shown.len()
    );
}

/// A conditional write against what was just read takes effect, and holds what was sent.
fn retitled(table: &Table, title: &str) {
    let key = Key::new("0");
    let fetched =
        table.runtime.block_on(table.connector.fetch(std::slice::from_ref(&key), &[0], &Unreserved(Lane::Fresh)));
    let expect = fetched.expect("a row can be fetched").remove(0).cells.remove(0);
    if expect.seen.is_unseen() {
        return;
    }
    let write = Write { key, field: 0, expect, value: Some(Value::text(title)), modified: None };
    let outcomes =
        table.runtime.block_on(table.connector.write(std::slice::from_ref(&write), &Unreserved(Lane::Fresh)));
    assert!(matches!(&outcomes[..], [Outcome::Written { .. }]), "{write:?}: {outcomes:?}");
    assert_eq!(table.stored()[0].1[0], Stored::Text(title.to_owned()), "what was written is stored");
}

/// One text in every column.
pub fn any(text: &str) {
    let cells = COLUMNS.map(|_| Stored::Text(text.to_owned()));
    rows(&[Row { cells, modified: Stored::Text(text.to_owned()) }], text);
}
