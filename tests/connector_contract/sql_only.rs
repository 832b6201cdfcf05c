//! What only SQL sources have: types of keys, spellings of times, types of columns, schemas, locks and files.

use std::time::Duration;

use attune::connector::FieldWanted;
use attune::connector::sql::{ModifiedBy, Settings, Sql};
use attune::connector::{Connector, End, Lane, Page, Unreserved};
use attune::model::{
    Cell, Class, DefinitionState, Existence, FieldShape, FieldType, Holds, Key, Observed, Outcome, Seen, Timestamp,
    Value, Write,
};
use futures::TryStreamExt;

use crate::sql_world::{Database, text_field};

/// Runs tests on both databases.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        on!(sql_world::on_sqlite as on_sqlite, sql_only, [$($test),*]);
        on!(sql_world::on_postgres as on_postgres, sql_only, [$($test),*]);
    };
}

on_both!(
    keys_of_every_type,
    a_window_of_many_rows_is_complete,
    pages_end_early_when_rows_are_large,
    columns_of_every_type,
    what_cannot_be_used_is_said,
    what_is_unusual_is_said,
    duplicate_keys_stop_the_source,
    a_deleted_column_of_any_type,
    the_database_may_set_the_time,
    the_key_and_the_time_are_read_only,
    a_cell_that_was_not_seen_is_not_overwritten,
    views_are_read_and_written_where_they_can_be,
    names_of_any_case_and_kind,
    rows_of_the_same_instant_are_found,
);

pub const YEAR_2026_MS: i64 = 1_767_225_600_000;

pub fn name_of(settings: &Settings) -> &str {
    &settings.table
}

pub async fn pages(connector: &Sql, since: Option<Timestamp>) -> Vec<Page> {
    let stream = match since {
        Some(since) => connector.changes("rows", since),
        None => connector.everything(),
    };
    let pages: Vec<Page> = stream.try_collect().await.expect("the read succeeds");
    assert_eq!(pages.last().and_then(|page| page.end), Some(End::Whole));
    pages
}

pub async fn keys_since(connector: &Sql, since: Option<Timestamp>) -> Vec<String> {
    pages(connector, since).await.into_iter().flat_map(|page| page.observed).map(|record| record.key.0).collect()
}

pub async fn fetch(connector: &Sql, keys: &[&str]) -> Vec<Observed> {
    let keys: Vec<Key> = keys.iter().map(|key| Key::new(*key)).collect();
    let fields: Vec<usize> = (0..connector.fields().len()).collect();
    connector.fetch(&keys, &fields, &Unreserved(Lane::Fresh)).await.expect("the fetch succeeds")
}

pub fn write(record: &Observed, field: usize, value: &str) -> Write {
    let value = Some(Value::text(value));
    Write { key: record.key.clone(), field, expect: record.cells[field].clone(), value, modified: None }
}

pub async fn write_one(connector: &Sql, write: Write) -> Outcome {
    connector.write(&[write], &Unreserved(Lane::Fresh)).await.remove(0)
}

pub fn text(cell: &Cell) -> Option<&str> {
    match &cell.seen {
        Seen::Value(Value::Text(text)) => Some(text),
        Seen::Absent => None,
        other => panic!("neither absent nor a text: {other:?}"),
    }
}

pub fn stored(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Written { stored } => text(stored),
        other => panic!("not written: {other:?}"),
    }
}

/// A table with a key, a note and a time, and the settings that name it.
pub async fn notes(database: &Database, key: &str, time: &str) -> Settings {
    let mut settings = database.new_table();
    settings.fields = vec![text_field("note")];
    let text = database.one_of("text", "text", "varchar(255)");
    let sql = format!("CREATE TABLE {} (id {key}, note {text}, updated_at {time})", name_of(&settings));
    database.execute(&settings, &sql).await;
    settings
}

async fn keys_of_every_type(database: &Database) {
    let integers: Vec<String> = (0..4_500).map(|number| (number - 50).to_string()).collect();
    let mut texts: Vec<String> = (0..4_500).map(|number| format!("key {number:05}")).collect();
    texts.extend(["it's".to_owned(), "\"x\"".to_owned(), "ключ".to_owned(), "00".to_owned()]);
    let uuids: Vec<String> = (0..4_500).map(|number| format!("0193e6a4-0000-7000-8000-{number:012x}")).collect();
    let mut types = vec![
        ("bigint PRIMARY KEY", &integers),
        ("integer PRIMARY KEY", &integers),
        ("text PRIMARY KEY", &texts),
        ("varchar(80) PRIMARY KEY", &texts),
        (database.either("UUID PRIMARY KEY", "uuid PRIMARY KEY"), &uuids),
    ];
    if database.is_sqlite() {
        types.extend([
            ("PRIMARY KEY", &integers),
            ("PRIMARY KEY", &texts),
            ("NUMERIC PRIMARY KEY", &integers),
            ("STRING PRIMARY KEY", &integers),
            ("TEXT COLLATE NOCASE PRIMARY KEY", &texts),
        ]);
    } else {
        types.extend([("numeric(12,0) PRIMARY KEY", &integers), ("smallint PRIMARY KEY", &integers)]);
    }
    for (key_type, keys) in types {
        let settings = notes(database, key_type, database.either("TEXT", "timestamptz")).await;
        let quoted = |key: &String| {
            if key.parse::<i64>().is_ok() && keys.len() == 4_500 {
                key.clone()
            } else {
                format!("'{}'", key.replace('\'', "''"))
            }
        };
        let rows: Vec<String> =
            keys.iter().map(|key| format!("({}, 'old', '2026-01-01T00:00:00Z')", quoted(key))).collect();
        database.execute(&settings, &format!("INSERT INTO {} VALUES {}", name_of(&settings), rows.join(", "))).await;
        let connector = Sql::new(settings);
        for since in [None, Some(Timestamp::EPOCH)] {
            let mut seen = keys_since(&connector, since).await;
            let count = seen.len();
            if keys.len() == 4_500 && keys[0] == "-50" {
                let mut ordered = seen.clone();
                ordered.sort_by_key(|key| key.parse::<i64>().expect("an integer"));
                assert_eq!(seen, ordered, "{key_type}: integers are in the order of numbers");
            }
            seen.sort();
            seen.dedup();
            assert_eq!((seen.len(), count), (keys.len(), keys.len()), "{key_type}: every record, once");
        }
        // The first, one in the middle, the last, and one that no such column can hold.
        let some = [keys[0].as_str(), keys[2_500].as_str(), keys[keys.len() - 1].as_str(), "no/such"];
        let records = fetch(&connector, &some).await;
        let existence: Vec<bool> = records.iter().map(|record| record.existence == Existence::Present).collect();
        assert_eq!(existence, [true, true, true, false], "{key_type}");
        let batch: Vec<Write> = records[..3].iter().map(|record| write(record, 0, "new")).collect();
        for outcome in connector.write(&batch, &Unreserved(Lane::Fresh)).await {
            assert_eq!(stored(&outcome), Some("new"), "{key_type}");
        }
    }
}

async fn a_window_of_many_rows_is_complete(database: &Database) {
    let settings = notes(
        database,
        database.either("INTEGER PRIMARY KEY", "bigint PRIMARY KEY"),
        database.either("TEXT", "timestamptz"),
    )
    .await;
    let table = name_of(&settings);
    let index = format!("CREATE INDEX {}_modified ON {table} (updated_at)", table.replace('.', "_"));
    database.execute(&settings, &index).await;
    let rows = database.either(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) SELECT i, 'x', '2026-01-01T00:00:00Z' FROM n",
        "SELECT i, 'x', '2026-01-01T00:00:00Z'::timestamptz FROM generate_series(1, 25000) AS i",
    );
    database.execute(&settings, &format!("INSERT INTO {table} {rows}")).await;
    let connector = Sql::new(settings.clone());
    let since = Timestamp::from_millis(YEAR_2026_MS);
    assert_eq!(keys_since(&connector, Some(since)).await.len(), 25_000);
    assert_eq!(keys_since(&connector, Some(since + Duration::from_millis(1))).await.len(), 0);
    let edit = format!("UPDATE {table} SET updated_at = '2026-01-02T00:00:00Z' WHERE id % 10 = 0");
    database.execute(&settings, &edit).await;
    assert_eq!(keys_since(&connector, Some(since + Duration::from_millis(1))).await.len(), 2_500);
}

async fn pages_end_early_when_rows_are_large(database: &Database) {
    let settings = notes(database, "bigint PRIMARY KEY", database.either("TEXT", "timestamptz")).await;
    let sql = format!("INSERT INTO {} VALUES ($1, $2, '2026-01-01T00:00:00Z')", name_of(&settings));
    let sql = sql.replace("$1", database.either("$1", "$1::bigint"));
    let large = "ö".repeat(500_000);
    for key in 0..25 {
        database.execute_with(&settings, &sql, &[Some(&key.to_string()), Some(&large)]).await;
    }
    let connector = Sql::new(settings);
    let pages = pages(&connector, None).await;
    assert!(pages.len() >= 3, "25 MB are {} pages", pages.len());
    assert_eq!(pages.iter().map(|page| page.observed.len()).sum::<usize>(), 25);
}

async fn columns_of_every_type(database: &Database) {
    use FieldType::{Boolean, Date, Number, String as Text};
    let cases = if database.is_sqlite() {
        vec![
            case("TEXT", Text, "' x '", " x ", Holds::Text, &[("007", "007")]),
            case("VARCHAR(5)", Text, "'ab'", "ab", Holds::Text, &[("abcde", "abcde")]),
            case("TEXT", Number, "'1.50'", "1.50", Holds::Text, &[("2.5", "2.5")]),
            case("INTEGER", Number, "42", "42", Holds::Integer, &[("7", "7")]),
            case("INTEGER", Boolean, "1", "true", Holds::Boolean, &[("false", "false"), ("true", "true")]),
            case("BOOLEAN", Boolean, "0", "false", Holds::Boolean, &[("true", "true")]),
            case("BOOLEAN", Text, "1", "true", Holds::Boolean, &[("false", "false")]),
            case(
                "REAL",
                Number,
                "2.5",
                "2.5",
                Holds::Number,
                &[("3.25", "3.25"), ("1000000000000000000", "1000000000000000000")],
            ),
            case("DECIMAL(10,2)", Number, "2.5", "2.5", Holds::Number, &[("3", "3")]),
            case("REAL", Number, "1e15", "1000000000000000", Holds::Number, &[("0.000001", "0.0000010")]),
            case("DATE", Date, "'2026-01-02'", "2026-01-02", Holds::Text, &[("2026-02-03", "2026-02-03")]),
            case("", Text, "'x'", "x", Holds::Text, &[("12", "12")]),
            case("", Number, "12", "12", Holds::Number, &[("13", "13")]),
        ]
    } else {
        vec![
            case("text", Text, "' x '", " x ", Holds::Text, &[("007", "007")]),
            case("varchar(5)", Text, "'ab'", "ab", Holds::Text, &[("abcde", "abcde")]),
            case("text", Number, "'1.50'", "1.50", Holds::Text, &[("2.5", "2.5")]),
            case("smallint", Number, "42", "42", Holds::Integer, &[("7", "7")]),
            case("bigint", Boolean, "1", "true", Holds::Boolean, &[("false", "false")]),
            case("boolean", Boolean, "false", "false", Holds::Boolean, &[("true", "true")]),
            case("float8", Number, "2.5", "2.5", Holds::Number, &[("3.25", "3.25")]),
            case("float8", Number, "1e25", "10000000000000000000000000", Holds::Number, &[("1", "1")]),
            case(
                "numeric(30,2)",
                Number,
                "2.5",
                "2.50",
                Holds::Number,
                &[("12345678901234567890.12", "12345678901234567890.12")],
            ),
            case("numeric(9,0)", Number, "42", "42", Holds::Integer, &[("7", "7")]),
            case("date", Date, "'2026-01-02'", "2026-01-02", Holds::Date, &[("2026-02-03", "2026-02-03")]),
            case(
                "timestamptz",
                Date,
                "'2026-01-02T03:04:05.678+02'",
                "2026-01-02T01:04:05.678Z",
                Holds::Instant,
                &[("2026-02-03", "2026-02-03T00:00:00Z")],
            ),
            case(
                "timestamp",
                Text,
                "'2026-01-02 03:04:05'",
                "2026-01-02T03:04:05",
                Holds::Instant,
                &[("2026-02-03T01:00:00Z", "2026-02-03T01:00:00")],
            ),
            case(
                "uuid",
                Text,
                "'0193E6A4-0000-7000-8000-000000000001'",
                "0193e6a4-0000-7000-8000-000000000001",
                Holds::Text,
                &[],
            ),
        ]
    };
    columns(database, cases).await;
}

/// A type of column, and what it makes of values.
pub struct Case {
    column: &'static str,
    kind: FieldType,
    literal: &'static str,
    shown: &'static str,
    holds: Holds,
    /// Written value → what is then stored.
    writes: &'static [(&'static str, &'static str)],
}

pub const fn case(
    column: &'static str,
    kind: FieldType,
    literal: &'static str,
    shown: &'static str,
    holds: Holds,
    writes: &'static [(&'static str, &'static str)],
) -> Case {
    Case { column, kind, literal, shown, holds, writes }
}

pub async fn columns(database: &Database, cases: Vec<Case>) {
    for Case { column, kind, literal, shown, holds, writes } in cases {
        let mut settings = database.new_table();
        settings.fields = vec![FieldWanted::new("field", kind)];
        let (table, time) = (name_of(&settings).to_owned(), database.one_of("TEXT", "timestamptz", "datetime"));
        let zone = database.one_of("Z", "Z", "");
        let sql = format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, field {column}, updated_at {time}); \
             INSERT INTO {table} VALUES (1, {literal}, '2026-01-01T00:00:00{zone}'), (2, NULL, '2026-01-01T00:00:00{zone}')"
        );
        database.execute(&settings, &sql).await;
        let connector = Sql::new(settings);
        let prepared = connector.prepare(&[None], false).await.expect("it can be prepared");
        let DefinitionState::Usable(shape) = &prepared.definitions[0].state else { panic!("{column}: not usable") };
        assert_eq!((shape.holds, shape.writable, shape.clearable), (holds, true, true), "{column}");
        assert_eq!(shape.max_chars, column.contains("(5)").then_some(5), "{column}");
        let records = fetch(&connector, &["1", "2"]).await;
        assert_eq!((text(&records[0].cells[0]), text(&records[1].cells[0])), (Some(shown), None), "{column}");
        for (sent, kept) in writes {
            // Also from what the last write answered, as the next recheck would read it.
            for key in ["1", "2"] {
                let record = fetch(&connector, &[key]).await.remove(0);
                assert_eq!(stored(&write_one(&connector, write(&record, 0, sent)).await), Some(*kept), "{column}");
            }
        }
        let record = fetch(&connector, &["1"]).await.remove(0);
        let clear = Write { value: None, ..write(&record, 0, "") };
        assert_eq!(stored(&write_one(&connector, clear).await), None, "{column}");
    }
}

async fn what_cannot_be_used_is_said(database: &Database) {
    let mut settings = notes(database, "bigint PRIMARY KEY", database.either("TEXT", "timestamptz")).await;
    let blob = database.either("BLOB", "bytea");
    database.execute(&settings, &format!("ALTER TABLE {} ADD COLUMN picture {blob}", name_of(&settings))).await;
    settings.fields = ["notes", "account.name", "picture", "note"].map(text_field).to_vec();
    let prepared = Sql::new(settings.clone()).prepare(&[], false).await.expect("fields do not stop the source");
    let sentence = |index: usize| match &prepared.definitions[index].state {
        DefinitionState::Unusable(sentence) => sentence.clone(),
        other => panic!("{other:?}"),
    };
    for part in ["crm `erp`", "no column `notes`", "did you mean `note`?", "`updated_at`"] {
        assert!(sentence(0).contains(part), "{part}: {}", sentence(0));
    }
    assert!(sentence(1).contains("there is no [crm.erp.relation.account]; add it"), "{}", sentence(1));
    if !database.is_sqlite() {
        assert!(sentence(2).contains("of type bytea"), "{}", sentence(2));
    }
    assert!(matches!(prepared.definitions[3].state, DefinitionState::Usable(_)));

    let wrong = |change: fn(&mut Settings)| {
        let mut settings = settings.clone();
        change(&mut settings);
        async move { Sql::new(settings).prepare(&[], false).await.expect_err("it cannot be prepared") }
    };
    let cases = [
        (wrong(|s| s.table.push('x')).await, "there is no table"),
        (
            wrong(|s| s.key = "ids".to_owned()).await,
            "no column `ids`, or this user may not read it (did you mean `id`?",
        ),
        (wrong(|s| s.modified = "update_at".to_owned()).await, "did you mean `updated_at`?"),
        (wrong(|s| s.deleted = Some("gone".to_owned())).await, "correct `deleted`"),
        (wrong(|s| s.url = "erp.db".into()).await, "`url`"),
    ];
    for (failure, part) in cases {
        assert_eq!(failure.class, Class::Misconfigured, "{failure}");
        assert!(failure.message.contains(part), "{part}: {failure}");
    }
    // Whole days cannot order a day's edits.
    let days = notes(database, "bigint PRIMARY KEY", "date").await;
    database.execute(&days, &format!("INSERT INTO {} VALUES (1, 'x', '2026-01-02')", name_of(&days))).await;
    let failure = Sql::new(days).prepare(&[], false).await.expect_err("it cannot be prepared");
    assert!(failure.message.contains("holds no times"), "{failure}");
}

async fn what_is_unusual_is_said(database: &Database) {
    let settings = notes(database, "bigint", database.either("TEXT", "timestamp")).await;
    let rows = format!("INSERT INTO {} VALUES (1, 'x', '2026-01-01 00:00:00'), (2, 'y', NULL)", name_of(&settings));
    database.execute(&settings, &rows).await;
    if database.is_sqlite() {
        database.execute(&settings, "UPDATE contacts SET note = x'ff00' WHERE id = 2").await;
    }
    let connector = Sql::new(settings);
    let warnings = connector.prepare(&[], false).await.expect("it can be prepared").warnings.join("\n");
    for part in ["no unique index is on `id`", "no index is on `updated_at`", "rows without `updated_at`"] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    let other = database.either("`note` of `contacts` holds values that are no text", "has no time zone");
    assert!(warnings.contains(other), "{warnings}");
    // A row without a time belongs to every window.
    let future = Timestamp::from_millis(YEAR_2026_MS * 2);
    assert_eq!(keys_since(&connector, Some(future)).await, ["2"]);
    let record = fetch(&connector, &["2"]).await.remove(0);
    assert_eq!(record.modified, None);
    if database.is_sqlite() {
        assert_eq!(record.cells[0].seen, Seen::Unseen, "a blob is not a text");
    } else {
        write_one(&connector, write(&record, 0, "dated")).await;
        assert!(fetch(&connector, &["2"]).await[0].modified.is_some(), "our write dates the row");
    }
}

async fn duplicate_keys_stop_the_source(database: &Database) {
    let settings = notes(database, "bigint", database.either("TEXT", "timestamptz")).await;
    let rows = format!("INSERT INTO {} VALUES (1, 'x', '2026-01-01T00:00:00Z'), (1, 'y', NULL)", name_of(&settings));
    database.execute(&settings, &rows).await;
    let failure = Sql::new(settings).prepare(&[], false).await.expect_err("it cannot be prepared");
    assert_eq!(failure.class, Class::Misconfigured);
    assert!(failure.message.contains("one and the same `id`"), "{failure}");
}

async fn a_deleted_column_of_any_type(database: &Database) {
    for (column, gone, there) in [
        ("boolean", "true", "false"),
        ("integer", "1", "0"),
        ("text", "'yes'", "''"),
        ("text", "'True'", "' False '"),
        ("numeric(5,2)", "1", "0"),
        ("text", "'2026-01-01'", "'0000-00-00 00:00:00'"),
        ("text", "'0.01'", "'0.00'"),
        ("char(1)", "'1'", "' '"),
        (database.either("REAL", "float8"), "0.5", "0.0"),
    ] {
        let mut settings = notes(database, "bigint PRIMARY KEY", database.either("TEXT", "timestamptz")).await;
        settings.deleted = Some("removed".to_owned());
        let table = name_of(&settings);
        let sql = format!(
            "ALTER TABLE {table} ADD COLUMN removed {column}; INSERT INTO {table} VALUES \
             (1, 'x', '2026-01-01T00:00:00Z', {gone}), (2, 'x', '2026-01-01T00:00:00Z', {there}), (3, 'x', '2026-01-01T00:00:00Z', NULL)"
        );
        database.execute(&settings, &sql).await;
        let connector = Sql::new(settings);
        let existence: Vec<bool> = fetch(&connector, &["1", "2", "3"])
            .await
            .iter()
            .map(|record| record.existence == Existence::Gone)
            .collect();
        assert_eq!(existence, [true, false, false], "{column}");
    }
}

async fn the_database_may_set_the_time(database: &Database) {
    let mut settings = notes(database, "bigint PRIMARY KEY", database.either("TEXT", "timestamptz")).await;
    settings.modified_by = ModifiedBy::Database;
    let table = name_of(&settings);
    // The trigger normalises the note as well: what is stored is what the answer must show.
    let trigger = if database.is_sqlite() {
        "CREATE TRIGGER dated AFTER UPDATE OF note ON contacts BEGIN UPDATE contacts SET updated_at = \
         '2030-01-01T00:00:00Z', note = upper(new.note) WHERE id = new.id; END"
            .to_owned()
    } else {
        format!(
            "CREATE FUNCTION {table}_dated() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.updated_at := \
             '2030-01-01T00:00:00Z'; new.note := upper(new.note); RETURN new; END $$; \
             CREATE TRIGGER dated BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_dated()"
        )
    };
    let insert = format!("INSERT INTO {table} VALUES (1, 'old', '2026-01-01T00:00:00Z'); {trigger}");
    database.execute(&settings, &insert).await;
    let connector = Sql::new(settings);
    let record = fetch(&connector, &["1"]).await.remove(0);
    assert_eq!(stored(&write_one(&connector, write(&record, 0, "new")).await), Some("NEW"));
    let record = fetch(&connector, &["1"]).await.remove(0);
    assert_eq!(record.modified, Timestamp::parse("2030-01-01T00:00:00Z"));
}

async fn the_key_and_the_time_are_read_only(database: &Database) {
    let mut settings = notes(database, "bigint PRIMARY KEY", database.either("TEXT", "timestamptz")).await;
    settings.fields = ["@key", "id", "updated_at", "note"].map(text_field).to_vec();
    let row = format!("INSERT INTO {} VALUES (7, 'x', '2026-01-01T00:00:00Z')", name_of(&settings));
    database.execute(&settings, &row).await;
    let connector = Sql::new(settings);
    let prepared = connector.prepare(&[], false).await.expect("it can be prepared");
    let writable: Vec<bool> = prepared
        .definitions
        .iter()
        .map(|definition| matches!(definition.state, DefinitionState::Usable(FieldShape { writable: true, .. })))
        .collect();
    assert_eq!(writable, [false, false, false, true]);
    let record = fetch(&connector, &["7"]).await.remove(0);
    let texts: Vec<_> = record.cells.iter().map(text).collect();
    assert_eq!(texts, [Some("7"), Some("7"), Some("2026-01-01T00:00:00Z"), Some("x")]);
    let outcomes = connector.write(&[write(&record, 0, "8"), write(&record, 3, "y")], &Unreserved(Lane::Fresh)).await;
    assert!(matches!(&outcomes[0], Outcome::Rejected(why) if why.contains("`@key`")), "{:?}", outcomes[0]);
    assert_eq!(stored(&outcomes[1]), Some("y"));
}

async fn a_cell_that_was_not_seen_is_not_overwritten(database: &Database) {
    let settings = notes(database, "bigint PRIMARY KEY", database.either("TEXT", "timestamptz")).await;
    let row = format!("INSERT INTO {} VALUES (1, 'theirs', '2026-01-01T00:00:00Z')", name_of(&settings));
    database.execute(&settings, &row).await;
    let connector = Sql::new(settings);
    let record = fetch(&connector, &["1"]).await.remove(0);
    let blind = Write { expect: Cell::default(), ..write(&record, 0, "ours") };
    assert!(matches!(write_one(&connector, blind).await, Outcome::Changed));
    assert_eq!(text(&fetch(&connector, &["1"]).await[0].cells[0]), Some("theirs"));
}

/// The spellings of times: (column, stored, the instant, how our own write looks; empty where only the column's type
/// decides that, as for a PostgreSQL time, which is shown without its last noughts).
pub async fn times(database: &Database, cases: &[(&str, &str, i64, &str)]) {
    for (column, literal, instant_ms, pattern) in cases {
        let settings = notes(database, "bigint PRIMARY KEY", column).await;
        let table = name_of(&settings);
        for with_index in [false, true] {
            let sql = if with_index {
                format!("CREATE INDEX {}_modified ON {table} (updated_at)", table.replace('.', "_"))
            } else {
                format!("INSERT INTO {table} VALUES (1, 'x', {literal})")
            };
            database.execute(&settings, &sql).await;
            let connector = Sql::new(settings.clone());
            let instant = Timestamp::from_millis(*instant_ms);
            let record = fetch(&connector, &["1"]).await.remove(0);
            assert_eq!(record.modified, Some(instant), "{column} {literal}");
            assert_eq!(keys_since(&connector, Some(instant)).await, ["1"], "{column} {literal}: at its time");
            let later = Timestamp::from_millis(instant_ms.div_euclid(1000) * 1000 + 1_000);
            assert!(keys_since(&connector, Some(later)).await.is_empty(), "{column} {literal}: a second later");
        }
        let connector = Sql::new(settings.clone());
        let record = fetch(&connector, &["1"]).await.remove(0);
        let before = connector.prepare(&[], false).await.expect("it can be prepared").clock;
        assert_eq!(stored(&write_one(&connector, write(&record, 0, "y")).await), Some("y"), "{column} {literal}");
        let modified = fetch(&connector, &["1"]).await[0].modified.expect("a time");
        assert!(modified + Duration::from_secs(1) > before, "{column} {literal}: {modified} is before {before}");
        let text = database.one_of("text", "text", "char");
        let sql = format!("SELECT CAST(updated_at AS {text}) FROM {table} WHERE id = 1");
        let written = database.texts(&settings, &sql).await.remove(0);
        let shape: String = written.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        if !pattern.is_empty() {
            assert_eq!(shape, *pattern, "{column} {literal}: our time looks like theirs");
        }
        assert!(keys_since(&connector, Some(before - Duration::from_secs(2))).await == ["1"], "{column} {literal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_of_every_spelling_on_sqlite() {
    const T: i64 = 1_767_323_045_000; // 2026-01-02T03:04:05Z
    let cases = [
        ("TEXT", "'2026-01-02T03:04:05Z'", T, "0000-00-00T00:00:00Z"),
        ("TEXT", "'2026-01-02T03:04:05.678Z'", T + 678, "0000-00-00T00:00:00.000Z"),
        ("TEXT", "'2026-01-02T03:04:05.678901Z'", T + 679, "0000-00-00T00:00:00.000Z"),
        ("TEXT", "'2026-01-02T17:04:05+14:00'", T, "0000-00-00T00:00:00+00:00"),
        ("TEXT", "'2026-01-01T19:04:05-08:00'", T, "0000-00-00T00:00:00+00:00"),
        ("DATETIME", "'2026-01-02 03:04:05'", T, "0000-00-00 00:00:00"),
        ("TIMESTAMP", "'2026-01-02 03:04:05.500'", T + 500, "0000-00-00 00:00:00.000"),
        ("INTEGER", "1767323045", T, "0000000000"),
        ("BIGINT", "1767323045678", T + 678, "0000000000000"),
    ];
    crate::sql_world::on_sqlite(move |database| Box::pin(async move { times(database, &cases).await })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_of_every_spelling_on_postgres() {
    const T: i64 = 1_767_323_045_000; // 2026-01-02T03:04:05Z
    let cases = [
        ("timestamptz(3)", "'2026-01-02T03:04:05.678Z'", T + 678, ""),
        ("timestamp(0)", "'2026-01-02 03:04:05'", T, "0000-00-00 00:00:00"),
        ("text", "'2026-01-02T03:04:05Z'", T, "0000-00-00T00:00:00Z"),
        ("varchar(40)", "'2026-01-02 03:04:05.678'", T + 678, "0000-00-00 00:00:00.000"),
        ("text", "'2026-01-02T17:04:05+14:00'", T, "0000-00-00T00:00:00+00:00"),
        ("integer", "1767323045", T, "0000000000"),
        ("bigint", "1767323045678", T + 678, "0000000000000"),
        ("numeric(20,3)", "1767323045.678", T + 678, "0000000000.000"),
    ];
    crate::sql_world::on_postgres(move |database| Box::pin(async move { times(database, &cases).await })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_are_none_do_not_stop_a_read() {
    async fn test(database: &Database) {
        let settings = notes(database, "bigint PRIMARY KEY", "text").await;
        let rows = "(1, 'x', '2026-01-02T03:04:05Z'), (2, 'x', '2026-02-31T03:04:05Z'), (3, 'x', 'tomorrow'), \
                    (4, 'x', '2026-01-02T03:04:05Z'), (5, 'x', '2026-01-02T03:04:05Z'), (6, 'x', ''), \
                    (7, 'x', '02.01.2026 03:04'), (8, 'x', ' '), (9, 'x', '2025-01-02T03:04:05Z')";
        let table = name_of(&settings);
        database.execute(&settings, &format!("INSERT INTO {table} VALUES {rows}")).await;
        let since = Timestamp::from_millis(YEAR_2026_MS);
        for index in
            ["SELECT 1".to_owned(), format!("CREATE INDEX ON_{0} ON {table} (updated_at)", table.replace('.', "_"))]
        {
            database.execute(&settings, &index).await;
            let connector = Sql::new(settings.clone());
            assert_eq!(keys_since(&connector, Some(since)).await, ["1", "2", "3", "4", "5", "6", "7", "8"]);
        }
        let connector = Sql::new(settings);
        let record = fetch(&connector, &["3"]).await.remove(0);
        assert_eq!(record.modified, None);
        assert_eq!(stored(&write_one(&connector, write(&record, 0, "y")).await), Some("y"));
        assert!(fetch(&connector, &["3"]).await[0].modified.is_some());
    }
    crate::sql_world::on_sqlite(|database| Box::pin(test(database))).await;
    crate::sql_world::on_postgres(|database| Box::pin(test(database))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_when_it_is_cancelled() {
    // A port on which nobody listens: bound, then let go.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let url = format!("postgres://erp:s3cret-pa55@127.0.0.1:{port}/erp");
    let mut settings = Settings::new("erp", url.into(), "contacts");
    settings.patience = Duration::ZERO;
    let failure = Sql::new(settings.clone()).prepare(&[], false).await.expect_err("nobody answers");
    assert_eq!(failure.class, Class::Retry);
    assert!(failure.message.contains("connection refused"), "{failure}");
    assert!(!format!("{failure:?} {settings:?}").contains("s3cret"), "the password is never shown");

    settings.patience = Duration::from_secs(3_600);
    let cancel = settings.cancel.clone();
    let connector = Sql::new(settings);
    let (result, ()) = tokio::join!(connector.prepare(&[], false), async { cancel.cancel() });
    assert!(result.expect_err("it was stopped").message.contains("stopped"));
    let record =
        Observed { key: Key::new("1"), existence: Existence::Present, modified: None, cells: vec![Cell::absent()] };
    let outcome = write_one(&connector, write(&record, 0, "x")).await;
    assert!(matches!(outcome, Outcome::NotSent(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("erp.db");
    let prepare = |url: String| async move {
        Sql::new(Settings::new("erp", url.into(), "contacts"))
            .prepare(&[], false)
            .await
            .expect_err("it cannot be opened")
    };
    for url in [format!("sqlite:{}", missing.display()), format!("sqlite:{}?mode=rwc", missing.display())] {
        let failure = prepare(url).await;
        assert_eq!(failure.class, Class::Misconfigured);
        assert!(failure.message.contains("erp.db"), "{failure}");
        assert!(!missing.exists());
    }
    std::fs::write(
        &missing,
        "this is no database, it is a text of more than a hundred bytes, so that SQLite reads its head",
    )
    .expect("written");
    assert_eq!(prepare(format!("sqlite:{}", missing.display())).await.class, Class::Misconfigured);
    assert_eq!(prepare(format!("sqlite:{}", folder.path().display())).await.class, Class::Misconfigured);
    assert_eq!(prepare("sqlite::memory:".to_owned()).await.class, Class::Misconfigured);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_triggers_and_conflict_clauses_cannot_leave_half_a_batch() {
    crate::sql_world::on_sqlite(|database| {
        Box::pin(async move {
            let mut settings = database.new_table();
            settings.fields = vec![text_field("note"), text_field("code")];
            let sql = "CREATE TABLE contacts (id INTEGER PRIMARY KEY, note TEXT, code TEXT UNIQUE ON CONFLICT REPLACE, updated_at TEXT); \
                       INSERT INTO contacts VALUES (1, 'a', 'A', NULL), (2, 'b', 'B', NULL), (3, 'c', 'C', NULL); \
                       CREATE TRIGGER strict BEFORE UPDATE ON contacts WHEN new.note = 'bad' BEGIN SELECT RAISE(FAIL, 'no: bad'); END; \
                       CREATE TRIGGER stricter BEFORE UPDATE ON contacts WHEN new.note = 'worse' BEGIN SELECT RAISE(ROLLBACK, 'no'); END;";
            database.execute(&settings, sql).await;
            let connector = Sql::new(settings);
            let records = fetch(&connector, &["1", "2", "3"]).await;
            for bad in ["bad", "worse"] {
                let batch: Vec<Write> =
                    records.iter().map(|record| write(record, 0, if record.key.as_str() == "2" { bad } else { "fine" })).collect();
                let outcomes = connector.write(&batch, &Unreserved(Lane::Fresh)).await;
                assert!(
                    outcomes.iter().all(|outcome| matches!(outcome, Outcome::BatchRejected(failure)
                        if !failure.may_have_happened && failure.message.contains("a trigger"))),
                    "{outcomes:?}"
                );
                let notes: Vec<_> = fetch(&connector, &["1", "2", "3"]).await.iter().map(|r| text(&r.cells[0]).map(str::to_owned)).collect();
                assert_eq!(notes, [Some("a".to_owned()), Some("b".to_owned()), Some("c".to_owned())]);
            }
            // `ON CONFLICT REPLACE` would delete the other row.
            let outcome = write_one(&connector, write(&records[0], 1, "B")).await;
            assert!(matches!(&outcome, Outcome::Rejected(why) if why.contains("UNIQUE") && why.contains("code")), "{outcome:?}");
            assert_eq!(keys_since(&connector, None).await.len(), 3);
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_sqlite_file_is_tried_again_later() {
    crate::sql_world::on_sqlite(|database| {
        Box::pin(async move {
            let settings = notes(database, "INTEGER PRIMARY KEY", "TEXT").await;
            database.execute(&settings, "INSERT INTO contacts VALUES (1, 'old', NULL)").await;
            let connector = Sql::new(settings.clone());
            let record = fetch(&connector, &["1"]).await.remove(0);
            database.execute(&settings, "BEGIN IMMEDIATE").await;
            let outcome = write_one(&connector, write(&record, 0, "new")).await;
            let Outcome::NotSent(failure) = outcome else { panic!("{outcome:?}") };
            assert_eq!((failure.class, failure.may_have_happened), (Class::Retry, false));
            assert!(failure.message.contains("locked"), "{failure}");
            database.execute(&settings, "ROLLBACK").await;
            assert_eq!(stored(&write_one(&connector, write(&record, 0, "new")).await), Some("new"));
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_file_stays_as_its_owner_made_it() {
    for mode in ["delete", "wal"] {
        crate::sql_world::on_sqlite(|database| {
            Box::pin(async move {
                let settings = notes(database, "INTEGER PRIMARY KEY", "TEXT").await;
                database.execute(&settings, &format!("PRAGMA journal_mode = {mode}")).await;
                // A NUL in what is there must not hinder the condition.
                database.execute(&settings, "INSERT INTO contacts VALUES (1, 'a' || char(0) || 'b', NULL)").await;
                let connector = Sql::new(settings.clone());
                let record = fetch(&connector, &["1"]).await.remove(0);
                assert_eq!(text(&record.cells[0]), Some("a\0b"));
                let stale = Write { expect: Cell::text("a\0c"), ..write(&record, 0, "never") };
                assert!(matches!(write_one(&connector, stale).await, Outcome::Changed));
                assert_eq!(stored(&write_one(&connector, write(&record, 0, "new")).await), Some("new"));
                assert_eq!(database.texts(&settings, "PRAGMA journal_mode").await, [mode]);
            })
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_is_no_utf_8_is_unseen() {
    crate::sql_world::on_sqlite(|database| {
        Box::pin(async move {
            let mut settings = database.new_table();
            settings.fields = vec![text_field("note"), text_field("other")];
            let sql = "CREATE TABLE contacts (id INTEGER PRIMARY KEY, note TEXT, other TEXT, updated_at TEXT); \
                       INSERT INTO contacts VALUES (1, CAST(x'61ff62' AS TEXT), 'fine', NULL), (2, 'fine', 'fine', NULL)";
            database.execute(&settings, sql).await;
            let connector = Sql::new(settings);
            let records = fetch(&connector, &["1", "2"]).await;
            assert_eq!(records[0].cells[0].seen, Seen::Unseen);
            assert_eq!(text(&records[0].cells[1]), Some("fine"));
            assert_eq!(text(&records[1].cells[0]), Some("fine"));
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_refuses_instead_of_cutting() {
    crate::sql_world::on_postgres(|database| {
        Box::pin(async move {
            let mut settings = database.new_table();
            settings.fields = ["short", "code", "number", "mood"].map(text_field).to_vec();
            let table = name_of(&settings);
            let schema = table.split('.').next().expect("a schema");
            let sql = format!(
                "CREATE TYPE {schema}.\"Mood\" AS ENUM ('good', 'bad'); CREATE DOMAIN {schema}.code AS char(3) CHECK (VALUE <> 'XXX'); \
                 CREATE TABLE {table} (id bigint PRIMARY KEY, short varchar(5), code {schema}.code, number integer, \
                 mood {schema}.\"Mood\", updated_at timestamptz); INSERT INTO {table} VALUES (1, 'a', 'ABC', 1, 'good', now())"
            );
            database.execute(&settings, &sql).await;
            let connector = Sql::new(settings);
            let refused = [(0, "abcdef", "length"), (1, "ABCD", "length"), (1, "XXX", "CHECK"), (2, "x", "type"), (2, "99999999999", "type"), (3, "ugly", "type"), (0, "a\0b", "type")];
            for (field, value, why) in refused {
                let record = fetch(&connector, &["1"]).await.remove(0);
                let outcome = write_one(&connector, write(&record, field, value)).await;
                assert!(matches!(&outcome, Outcome::Rejected(sentence) if sentence.contains(why) && !sentence.contains(value)), "{value}: {outcome:?}");
            }
            let record = fetch(&connector, &["1"]).await.remove(0);
            for (field, value) in [(0, "abcde"), (1, "XYZ"), (2, "7"), (3, "bad")] {
                assert_eq!(stored(&write_one(&connector, write(&record, field, value)).await), Some(value));
            }
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_compares_again_after_waiting_for_a_lock() {
    crate::sql_world::on_postgres(|database| {
        Box::pin(async move {
            let settings = notes(database, "bigint PRIMARY KEY", "timestamptz").await;
            let table = name_of(&settings).to_owned();
            database
                .execute(&settings, &format!("INSERT INTO {table} VALUES (1, 'old', now()), (2, 'old', now())"))
                .await;
            let connector = Sql::new(settings.clone());
            let records = fetch(&connector, &["1", "2"]).await;
            let batch: Vec<Write> = records.iter().map(|record| write(record, 0, "ours")).collect();
            let url = std::env::var("ATTUNE_TEST_POSTGRES").expect("checked");
            let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.expect("a connection");
            let hold = format!("BEGIN; UPDATE {table} SET note = 'theirs' WHERE id = 1");
            sqlx::raw_sql(sqlx::AssertSqlSafe(hold)).execute(&mut other).await.expect("held");
            let waiting = "SELECT CAST(count(*) AS text) FROM pg_stat_activity WHERE application_name = 'attune' \
                           AND wait_event_type = 'Lock' AND query LIKE '%{table}%'";
            let waiting = waiting.replace("{table}", table.rsplit('.').next().expect("a name"));
            let release = async {
                while database.texts(&settings, &waiting).await != ["1"] {
                    tokio::task::yield_now().await;
                }
                sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("committed");
            };
            let (outcomes, ()) = tokio::join!(connector.write(&batch, &Unreserved(Lane::Fresh)), release);
            assert!(matches!(outcomes[0], Outcome::Changed), "{outcomes:?}");
            assert_eq!(stored(&outcomes[1]), Some("ours"));
            assert_eq!(text(&fetch(&connector, &["1"]).await[0].cells[0]), Some("theirs"));
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_says_who_is_refused_and_why() {
    crate::sql_world::on_postgres(|database| {
        Box::pin(async move {
            let settings = notes(database, "bigint PRIMARY KEY", "timestamptz").await;
            let url = std::env::var("ATTUNE_TEST_POSTGRES").expect("checked");
            let (address, _) = url.rsplit_once('/').expect("a database");
            let prepare = |url: String| {
                let settings = Settings { url: url.into(), ..settings.clone() };
                async move { Sql::new(settings).prepare(&[], false).await.expect_err("refused") }
            };
            let failure = prepare(format!("{address}/no_such_database")).await;
            assert_eq!(failure.class, Class::Misconfigured, "{failure}");
            assert!(failure.message.contains("no such database"), "{failure}");

            // A role that may write the field, but not the time that we set with it.
            let table = name_of(&settings);
            let role = table.replace('.', "_");
            let schema = table.split('.').next().expect("a schema");
            let sql = format!(
                "INSERT INTO {table} VALUES (1, 'old', now()); CREATE ROLE {role} LOGIN PASSWORD 's3cret-pa55'; \
                 GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT, UPDATE (note) ON {table} TO {role}"
            );
            database.execute(&settings, &sql).await;
            let host = address.rsplit(['@', '/']).next().expect("a host").to_owned();
            let database_name = url.rsplit('/').next().expect("a name");
            let reader = Settings {
                url: format!("postgres://{role}:s3cret-pa55@{host}/{database_name}").into(),
                ..settings.clone()
            };
            let connector = Sql::new(reader);
            let record = fetch(&connector, &["1"]).await.remove(0);
            let outcome = write_one(&connector, write(&record, 0, "new")).await;
            database.execute(&settings, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
            let Outcome::NotSent(failure) = outcome else { panic!("{outcome:?}") };
            assert_eq!(failure.class, Class::Auth);
            assert!(failure.message.contains("no right"), "{failure}");
            assert!(!format!("{failure:?}").contains("s3cret"), "the password is never shown");
        })
    })
    .await;
}

/// A way to a server that ends for ever as soon as somebody says these words on it.
pub async fn a_way_that_ends_at(words: &'static str, server: String) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its number");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = tokio::net::TcpStream::connect(&server).await.expect("PostgreSQL answers");
            tokio::spawn(async move {
                let (mut asked, mut answered) = ([0; 4096], [0; 4096]);
                loop {
                    let said = tokio::select! {
                        said = client.read(&mut asked) => said.map(|count| (count, true)),
                        said = server.read(&mut answered) => said.map(|count| (count, false)),
                    };
                    let passed = match said {
                        Ok((1.., true)) if String::from_utf8_lossy(&asked).contains(words) => return,
                        Ok((count @ 1.., true)) => server.write_all(&asked[..count]).await,
                        Ok((count @ 1.., false)) => client.write_all(&answered[..count]).await,
                        _ => return,
                    };
                    if passed.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_cut_off_is_not_another_one() {
    crate::sql_world::on_postgres(|database| {
        Box::pin(async move {
            let settings = notes(database, "bigint PRIMARY KEY", "timestamptz").await;
            let url = std::env::var("ATTUNE_TEST_POSTGRES").expect("checked");
            let (before, rest) = url.split_once('@').expect("a user");
            let (server, name) = rest.split_once('/').expect("a database");
            let address = a_way_that_ends_at("pg_control_system", server.to_owned()).await;
            let url = format!("{before}@{address}/{name}?sslmode=disable");
            // It is known by the identifier of its cluster; a name by its address would be that of another database.
            let cut = Sql::new(Settings { url: url.into(), ..settings.clone() }).prepare(&[], false).await;
            assert_eq!(cut.expect_err("its name cannot be asked").class, Class::Retry);
            let named = Sql::new(settings).prepare(&[], false).await.expect("prepared").identity;
            assert!(!named.contains("127.0.0.1"), "{named}");
        })
    })
    .await;
}

async fn views_are_read_and_written_where_they_can_be(database: &Database) {
    let table = notes(database, "bigint PRIMARY KEY", database.either("TEXT", "timestamptz")).await;
    let name = name_of(&table).to_owned();
    let rows = format!("INSERT INTO {name} VALUES (1, 'x', '2026-01-01T00:00:00Z'), (2, 'y', '2026-01-01T00:00:00Z')");
    database.execute(&table, &rows).await;
    let plain = format!("CREATE VIEW {name}_view AS SELECT id, note, updated_at FROM {name}");
    let aggregated = format!("CREATE VIEW {name}_view AS SELECT DISTINCT id, note, updated_at FROM {name}");
    let materialized = plain.replace("VIEW", "MATERIALIZED VIEW").replacen("_MATERIALIZED VIEW", "_view", 1);
    let replaced = format!(
        "{plain}; CREATE TRIGGER replaced INSTEAD OF UPDATE ON {name}_view BEGIN UPDATE {name} SET note = new.note, \
         updated_at = new.updated_at WHERE id = new.id; END"
    );
    let cases = if database.is_sqlite() {
        vec![(plain, false), (replaced, true)]
    } else {
        vec![(aggregated, false), (plain, true), (materialized, false)]
    };
    for (sql, writable) in cases {
        let drop = if sql.contains("MATERIALIZED") { "DROP MATERIALIZED VIEW" } else { "DROP VIEW" };
        database.execute(&table, &sql).await;
        let settings = Settings { table: format!("{name}_view"), ..table.clone() };
        let connector = Sql::new(settings);
        let prepared = connector.prepare(&[], false).await.expect("a view can be prepared");
        // A materialized view can have indexes of its own.
        assert_eq!(prepared.warnings.len(), if sql.contains("MATERIALIZED") { 2 } else { 0 }, "{sql}");
        let DefinitionState::Usable(shape) = &prepared.definitions[0].state else { panic!("{sql}") };
        assert_eq!(shape.writable, writable, "{sql}");
        for since in [None, Some(Timestamp::from_millis(YEAR_2026_MS))] {
            assert_eq!(keys_since(&connector, since).await, ["1", "2"], "{sql}");
        }
        let record = fetch(&connector, &["1"]).await.remove(0);
        match write_one(&connector, write(&record, 0, "new")).await {
            Outcome::Written { stored } => assert!(writable && text(&stored) == Some("new"), "{sql}"),
            Outcome::Rejected(why) => assert!(!writable && why.contains("cannot be written"), "{sql}: {why}"),
            other => panic!("{sql}: {other:?}"),
        }
        database.execute(&table, &format!("{drop} {name}_view")).await;
    }
}

async fn names_of_any_case_and_kind(database: &Database) {
    let mut settings = database.new_table();
    let schema = settings.table.rsplit_once('.').map(|(schema, _)| schema.to_owned());
    let table = r#"Kontakte "alle" – 2026"#;
    settings.table = schema.map_or(table.to_owned(), |schema| format!("{schema}.{table}"));
    settings.key = "Id".to_owned();
    settings.modified = "Geändert Am".to_owned();
    settings.deleted = Some("select".to_owned());
    settings.fields = ["Titel; --", "from", "$1"].map(text_field).to_vec();
    let quoted = settings.table.rsplit_once('.').map_or(String::new(), |(schema, _)| format!("{schema}."));
    let quoted = format!(r#"{quoted}"Kontakte ""alle"" – 2026""#);
    let time = database.either("TEXT", "timestamptz");
    let sql = format!(
        r#"CREATE TABLE {quoted} ("Id" bigint PRIMARY KEY, "Titel; --" text, "from" text, "$1" text, "Geändert Am" {time}, "select" boolean);
        INSERT INTO {quoted} VALUES (1, 'a', 'b', 'c', '2026-01-01T00:00:00Z', false)"#
    );
    database.execute(&settings, &sql).await;
    let connector = Sql::new(settings);
    assert_eq!(keys_since(&connector, Some(Timestamp::from_millis(YEAR_2026_MS))).await, ["1"]);
    let record = fetch(&connector, &["1"]).await.remove(0);
    let writes: Vec<Write> = (0..3).map(|field| write(&record, field, "new")).collect();
    for outcome in connector.write(&writes, &Unreserved(Lane::Fresh)).await {
        assert_eq!(stored(&outcome), Some("new"));
    }
}

/// A row that is modified in the very instant of the cursor, or in the same second where only seconds are stored.
async fn rows_of_the_same_instant_are_found(database: &Database) {
    for (column, literal) in [
        (database.either("TEXT", "timestamptz"), "'2026-01-02T03:04:05.678Z'"),
        (database.either("TEXT", "timestamptz(0)"), "'2026-01-02T03:04:05Z'"),
        (database.either("INTEGER", "bigint"), "1767323045"),
        (database.either("REAL", "float8"), "1767323045.678"),
    ] {
        let settings = notes(database, "bigint PRIMARY KEY", column).await;
        let table = name_of(&settings);
        database
            .execute(&settings, &format!("INSERT INTO {table} VALUES (1, 'a', {literal}), (2, 'b', {literal})"))
            .await;
        let connector = Sql::new(settings.clone());
        let modified = fetch(&connector, &["1"]).await[0].modified.expect("a time");
        assert_eq!(keys_since(&connector, Some(modified)).await, ["1", "2"], "{column} {literal}");
        // Another program writes without moving the time: the condition compares values, not times.
        let record = fetch(&connector, &["1"]).await.remove(0);
        database.execute(&settings, &format!("UPDATE {table} SET note = 'theirs' WHERE id = 1")).await;
        assert!(matches!(write_one(&connector, write(&record, 0, "ours")).await, Outcome::Changed), "{column}");
        let record = fetch(&connector, &["2"]).await.remove(0);
        assert_eq!(stored(&write_one(&connector, write(&record, 0, "ours")).await), Some("ours"), "{column}");
        assert!(fetch(&connector, &["2"]).await[0].modified.expect("a time") > modified, "{column}: ours is dated");
    }
}
