//! What MySQL and MariaDB have of their own: types, times, collations that are not exact, locks, rights and strictness.

use std::time::Duration;

use attune::connector::sql::{ModifiedBy, Settings, Sql};
use attune::connector::{Connector, Lane, Unreserved};
use attune::model::{Class, DefinitionState, FieldType, Holds, Outcome, Timestamp};
use secrecy::ExposeSecret;

use crate::sql_only::{
    Case, YEAR_2026_MS, case, columns, fetch, keys_since, name_of, notes, stored, text, times, write, write_one,
};
use crate::sql_world::{Database, text_field};

const KEY: &str = "bigint AUTO_INCREMENT PRIMARY KEY";

on!(
    sql_world::on_mysql as tests,
    mysql_only,
    [
        columns_of_every_type,
        times_of_every_spelling,
        times_that_are_none_do_not_stop_a_read,
        keys_of_every_type,
        text_is_compared_to_the_byte_in_any_collation,
        nothing_is_cut_or_turned_into_question_marks,
        a_row_that_another_transaction_holds_is_compared_as_it_was_left,
        a_batch_of_many_kinds_of_rows_is_one_transaction,
        what_is_no_table_of_ours_is_said,
        who_is_refused_and_why,
        names_and_databases_of_any_kind,
        views_are_read_and_written_where_they_can_be,
        the_database_may_set_the_time,
        marks_of_deletion_of_every_type,
        a_window_of_many_rows_is_complete,
    ]
);

async fn columns_of_every_type(database: &Database) {
    use FieldType::{Boolean, Date, Number, String as Text};
    let cases: Vec<Case> = vec![
        case("text", Text, "' x '", " x ", Holds::Text, &[("007", "007"), ("Ünïcøde 🙂", "Ünïcøde 🙂")]),
        case("varchar(5)", Text, "'ab'", "ab", Holds::Text, &[("abcde", "abcde"), ("ab  ", "ab  ")]),
        case("varchar(5) CHARACTER SET latin1", Text, "'äb'", "äb", Holds::Text, &[("ébcde", "ébcde")]),
        case("text", Number, "'1.50'", "1.50", Holds::Text, &[("2.5", "2.5")]),
        case("smallint", Number, "42", "42", Holds::Integer, &[("7", "7")]),
        case("bigint unsigned", Number, "18446744073709551615", "18446744073709551615", Holds::Integer, &[("7", "7")]),
        case("tinyint(1)", Boolean, "1", "true", Holds::Boolean, &[("false", "false"), ("true", "true")]),
        case("boolean", Text, "0", "false", Holds::Boolean, &[("true", "true")]),
        case("double", Number, "2.5", "2.5", Holds::Number, &[("3.25", "3.25"), ("0.1", "0.1")]),
        case("double", Number, "1e25", "10000000000000000000000000", Holds::Number, &[("1", "1")]),
        case(
            "decimal(30,2)",
            Number,
            "2.5",
            "2.50",
            Holds::Number,
            &[("12345678901234567890.12", "12345678901234567890.12")],
        ),
        case("decimal(9,0)", Number, "42", "42", Holds::Integer, &[("7", "7")]),
        case("date", Date, "'2026-01-02'", "2026-01-02", Holds::Date, &[("2026-02-03", "2026-02-03")]),
        case(
            "datetime(3)",
            Text,
            "'2026-01-02 03:04:05.678'",
            "2026-01-02T03:04:05.678",
            Holds::Instant,
            &[("2026-02-03T01:00:00Z", "2026-02-03T01:00:00.000"), ("2026-02-03", "2026-02-03T00:00:00.000")],
        ),
        case(
            "timestamp NULL",
            Date,
            "'2026-01-02 03:04:05'",
            "2026-01-02T03:04:05",
            Holds::Instant,
            &[("2026-02-03", "2026-02-03T00:00:00")],
        ),
        case("enum('a', 'b')", Text, "'a'", "a", Holds::Text, &[("b", "b")]),
    ];
    columns(database, cases).await;
}

async fn times_of_every_spelling(database: &Database) {
    const T: i64 = 1_767_323_045_000; // 2026-01-02T03:04:05Z
    let cases = [
        ("datetime", "'2026-01-02 03:04:05'", T, "0000-00-00 00:00:00"),
        ("datetime(3)", "'2026-01-02 03:04:05.678'", T + 678, "0000-00-00 00:00:00.000"),
        ("datetime(6)", "'2026-01-02 03:04:05.678901'", T + 678, "0000-00-00 00:00:00.000000"),
        // The hands of a test have no zone of their own.
        (
            "timestamp NULL",
            "CONVERT_TZ('2026-01-02 03:04:05', '+00:00', @@session.time_zone)",
            T,
            "0000-00-00 00:00:00",
        ),
        ("varchar(40)", "'2026-01-02T03:04:05Z'", T, "0000-00-00T00:00:00Z"),
        ("varchar(40)", "'2026-01-02 03:04:05.678'", T + 678, "0000-00-00 00:00:00.000"),
        ("varchar(40)", "'2026-01-02T17:04:05+14:00'", T, "0000-00-00T00:00:00+00:00"),
        ("varchar(40)", "'2026-01-01T19:34:05-0730'", T, "0000-00-00T00:00:00+00:00"),
        ("int", "1767323045", T, "0000000000"),
        ("bigint", "1767323045678", T + 678, "0000000000000"),
        ("decimal(20,3)", "1767323045.678", T + 678, "0000000000.000"),
    ];
    times(database, &cases).await;
}

async fn times_that_are_none_do_not_stop_a_read(database: &Database) {
    let settings = notes(database, KEY, "varchar(40)").await;
    let rows = "(1, 'x', '2026-01-02T03:04:05Z'), (2, 'x', '2026-02-31T03:04:05Z'), (3, 'x', 'tomorrow'), \
                (4, 'x', '2026-01-02T03:04:05Z'), (5, 'x', NULL), (6, 'x', ''), (7, 'x', '02.01.2026 03:04'), \
                (8, 'x', ' '), (9, 'x', '2025-01-02T03:04:05Z')";
    let table = name_of(&settings);
    database.execute(&settings, &format!("INSERT INTO {table} VALUES {rows}")).await;
    let since = Timestamp::from_millis(YEAR_2026_MS);
    for index in ["DO 0".to_owned(), format!("CREATE INDEX modified ON {table} (updated_at)")] {
        database.execute(&settings, &index).await;
        let connector = Sql::new(settings.clone());
        let seen = keys_since(&connector, Some(since)).await;
        assert_eq!(seen, ["1", "2", "3", "4", "5", "6", "7", "8"], "{index}");
    }
    let connector = Sql::new(settings);
    for key in ["3", "5"] {
        let record = fetch(&connector, &[key]).await.remove(0);
        assert_eq!(record.modified, None);
        assert_eq!(stored(&write_one(&connector, write(&record, 0, "y")).await), Some("y"));
        assert!(fetch(&connector, &[key]).await[0].modified.is_some());
    }
    // A date of nothing, as old programs write it.
    let settings = notes(database, KEY, "datetime").await;
    let table = name_of(&settings);
    let sql = format!("SET sql_mode = 'ANSI_QUOTES'; INSERT INTO {table} VALUES (1, 'x', '0000-00-00 00:00:00')");
    database.execute(&settings, &sql).await;
    let connector = Sql::new(settings);
    assert_eq!(fetch(&connector, &["1"]).await[0].modified, None);
    assert_eq!(keys_since(&connector, Some(since)).await, ["1"]);
}

async fn keys_of_every_type(database: &Database) {
    for (key, keys) in [
        ("int unsigned PRIMARY KEY", ["2", "10"]),
        ("varchar(20) PRIMARY KEY", ["a-1", "B 2"]),
        ("varchar(20) CHARACTER SET latin1 PRIMARY KEY", ["a", "ä"]),
        ("char(36) PRIMARY KEY", ["0193e6a4-0000-7000-8000-000000000001", "0193e6a4-0000-7000-8000-000000000002"]),
    ] {
        let settings = notes(database, key, "datetime").await;
        let rows: Vec<String> = keys.iter().map(|key| format!("('{key}', 'x', '2026-01-02 03:04:05')")).collect();
        let sql = format!("INSERT INTO {} VALUES {}", name_of(&settings), rows.join(", "));
        database.execute(&settings, &sql).await;
        let connector = Sql::new(settings);
        let mut seen = keys_since(&connector, None).await;
        seen.sort_by_key(|key| keys.iter().position(|known| known == key));
        assert_eq!(seen, keys, "{key}");
        for key in keys {
            let record = fetch(&connector, &[key]).await.remove(0);
            assert_eq!(stored(&write_one(&connector, write(&record, 0, "y")).await), Some("y"), "{key}");
        }
        assert_eq!(fetch(&connector, &["4711"]).await[0].existence, attune::model::Existence::Gone, "{key}");
    }
}

/// Collations take `a`, `A`, `á` and `a ` for one: a conditional write must not.
async fn text_is_compared_to_the_byte_in_any_collation(database: &Database) {
    for column in ["varchar(40) COLLATE utf8mb4_general_ci", "varchar(40) CHARACTER SET latin1", "text"] {
        let mut settings = database.new_table();
        settings.fields = vec![text_field("note")];
        let table = name_of(&settings).to_owned();
        let sql = format!(
            "CREATE TABLE {table} (id {KEY}, note {column}, updated_at datetime); \
             INSERT INTO {table} VALUES (1, 'resume', '2026-01-02 03:04:05')"
        );
        database.execute(&settings, &sql).await;
        let connector = Sql::new(settings.clone());
        for edit in ["Resume", "résumé", "resume ", ""] {
            let before = fetch(&connector, &["1"]).await.remove(0);
            database.execute_with(&settings, &format!("UPDATE {table} SET note = $1"), &[Some(edit)]).await;
            let outcome = write_one(&connector, write(&before, 0, "ours")).await;
            assert!(matches!(outcome, Outcome::Changed), "{column}, {edit:?}: {outcome:?}");
            let now = fetch(&connector, &["1"]).await.remove(0);
            assert_eq!(text(&now.cells[0]).unwrap_or_default(), edit, "{column}");
        }
        let now = fetch(&connector, &["1"]).await.remove(0);
        assert_eq!(stored(&write_one(&connector, write(&now, 0, "ours")).await), Some("ours"), "{column}");
    }
}

/// Whatever modes the server has: a value that does not fit is refused.
async fn nothing_is_cut_or_turned_into_question_marks(database: &Database) {
    for (column, value) in [
        ("varchar(5)", "abcdef"),
        ("varchar(40) CHARACTER SET latin1", "日本"),
        ("tinyint", "300"),
        ("decimal(4,1)", "99999"),
        ("int", "12 apples"),
        ("date", "2026-02-30"),
        ("enum('a', 'b')", "c"),
        ("datetime", "2026-01-02T25:00:00Z"),
    ] {
        let mut settings = database.new_table();
        settings.fields = vec![text_field("note")];
        let table = name_of(&settings).to_owned();
        let sql = format!(
            "SET SESSION sql_mode = 'ANSI_QUOTES'; CREATE TABLE {table} (id {KEY}, note {column}, updated_at datetime); \
             INSERT INTO {table} VALUES (1, NULL, '2026-01-02 03:04:05')"
        );
        database.execute(&settings, &sql).await;
        let connector = Sql::new(settings);
        let before = fetch(&connector, &["1"]).await.remove(0);
        let outcome = write_one(&connector, write(&before, 0, value)).await;
        assert!(matches!(outcome, Outcome::Rejected(_)), "{column} {value}: {outcome:?}");
        assert_eq!(text(&fetch(&connector, &["1"]).await[0].cells[0]), None, "{column}");
    }
}

async fn a_row_that_another_transaction_holds_is_compared_as_it_was_left(database: &Database) {
    let settings = notes(database, KEY, "datetime(3)").await;
    let table = name_of(&settings).to_owned();
    let sql = format!("INSERT INTO {table} VALUES (1, 'a', '2026-01-02 03:04:05'), (2, 'a', '2026-01-02 03:04:05')");
    database.execute(&settings, &sql).await;
    let connector = Sql::new(settings.clone());
    let records = fetch(&connector, &["1", "2"]).await;
    let held = sqlx::mysql::MySqlPoolOptions::new().max_connections(1).connect(settings.url.expose_secret()).await;
    let held = held.expect("MySQL answers");
    let mut other = held.begin().await.expect("a transaction");
    let edit = format!("UPDATE {table} SET note = 'theirs' WHERE id = 1");
    sqlx::raw_sql(sqlx::AssertSqlSafe(edit)).execute(&mut *other).await.expect("the edit");
    let batch: Vec<_> = records.iter().map(|record| write(record, 0, "ours")).collect();
    let (outcomes, ()) = tokio::join!(connector.write(&batch, &Unreserved(Lane::Fresh)), async {
        // Our transaction is known to wait when the server says so.
        let waits = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
        for _ in 0..400 {
            if database.texts(&settings, &waits.replace("COUNT(*)", "CAST(COUNT(*) AS char)")).await != ["0"] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        other.commit().await.expect("committed");
    });
    assert!(matches!(outcomes[0], Outcome::Changed), "{outcomes:?}");
    assert_eq!(stored(&outcomes[1]), Some("ours"));
    assert_eq!(text(&fetch(&connector, &["1"]).await[0].cells[0]), Some("theirs"));
}

async fn a_batch_of_many_kinds_of_rows_is_one_transaction(database: &Database) {
    let mut settings = database.new_table();
    settings.fields = vec![text_field("one"), text_field("two")];
    let table = name_of(&settings).to_owned();
    let rows: Vec<String> = (1..=300).map(|key| format!("({key}, 'a', NULL, '2026-01-02 03:04:05')")).collect();
    let sql = format!(
        "CREATE TABLE {table} (id {KEY}, one varchar(20), two varchar(20), updated_at datetime, CHECK (two <> 'no')); \
         INSERT INTO {table} VALUES {}",
        rows.join(", ")
    );
    database.execute(&settings, &sql).await;
    let connector = Sql::new(settings.clone());
    let keys: Vec<String> = (1..=301).map(|key| key.to_string()).collect();
    let records = fetch(&connector, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut batch = Vec::new();
    for (at, record) in records.iter().take(300).enumerate() {
        if at % 3 != 0 {
            batch.push(write(record, 0, &format!("one {at}")));
        }
        if at % 3 != 1 {
            batch.push(write(record, 1, &format!("two {at}")));
        }
    }
    database.execute(&settings, &format!("UPDATE {table} SET two = 'theirs' WHERE id = 3")).await;
    database.execute(&settings, &format!("DELETE FROM {table} WHERE id = 300")).await;
    let outcomes = connector.write(&batch, &Unreserved(Lane::Fresh)).await;
    for (write, outcome) in batch.iter().zip(&outcomes) {
        let fits = match write.key.as_str() {
            // A record is written entirely or not at all.
            "3" => matches!(outcome, Outcome::Changed),
            "300" => matches!(outcome, Outcome::Gone),
            _ => stored(outcome) == write.value.as_ref().map(attune::model::Value::display).as_deref(),
        };
        assert!(fits, "{write:?}: {outcome:?}");
    }
    // One row that is refused takes the whole batch back.
    let records = fetch(&connector, &["1", "2"]).await;
    let batch = [write(&records[0], 0, "again"), write(&records[1], 1, "no")];
    let outcomes = connector.write(&batch, &Unreserved(Lane::Fresh)).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::BatchRejected(_))), "{outcomes:?}");
    assert_eq!(text(&fetch(&connector, &["1"]).await[0].cells[0]), text(&records[0].cells[0]));
}

async fn what_is_no_table_of_ours_is_said(database: &Database) {
    let settings = notes(database, KEY, "datetime").await;
    let wrong = |change: fn(&mut Settings)| {
        let mut settings = settings.clone();
        change(&mut settings);
        async move { Sql::new(settings).prepare(&[], false).await.expect_err("it cannot be prepared") }
    };
    for (failure, part) in [
        (wrong(|s| s.table.push('x')).await, "there is no table"),
        (
            wrong(|s| s.key = "ids".to_owned()).await,
            "no column `ids`, or this user may not read it (did you mean `id`?",
        ),
        (wrong(|s| s.url = "mysql://root@127.0.0.1/there_is_none".into()).await, "there is no such database"),
        (wrong(|s| s.url = "mysql://[".into()).await, "`url` is no URL"),
    ] {
        assert_eq!(failure.class, Class::Misconfigured, "{failure}");
        assert!(failure.message.contains(part), "{part}: {failure}");
    }
    for odd in ["blob", "json_like_point", "bit(3)", "time", "set('a','b')"] {
        let mut settings = database.new_table();
        settings.fields = vec![text_field("note")];
        let column = if odd == "json_like_point" { "point" } else { odd };
        let sql = format!("CREATE TABLE {} (id {KEY}, note {column}, updated_at datetime)", name_of(&settings));
        database.execute(&settings, &sql).await;
        let prepared = Sql::new(settings).prepare(&[None], false).await.expect("the others can be used");
        let DefinitionState::Unusable(why) = &prepared.definitions[0].state else { panic!("{odd} cannot be used") };
        assert!(why.contains("is not supported"), "{why}");
    }
    let days = notes(database, KEY, "date").await;
    let failure = Sql::new(days).prepare(&[], false).await.expect_err("whole days are too coarse");
    assert!(failure.message.contains("holds no times"), "{failure}");
    // Two rows, one key: found by the collation that the column compares by.
    let twins = notes(database, "varchar(20)", "datetime").await;
    let sql = format!("INSERT INTO {} VALUES ('a', 'x', NOW()), ('A', 'y', NOW())", name_of(&twins));
    database.execute(&twins, &sql).await;
    let failure = Sql::new(twins).prepare(&[], false).await.expect_err("keys are not unique");
    assert!(failure.message.contains("several rows"), "{failure}");
}

async fn who_is_refused_and_why(database: &Database) {
    let settings = notes(database, KEY, "datetime").await;
    let table = name_of(&settings).to_owned();
    database.execute(&settings, &format!("INSERT INTO {table} VALUES (1, 'a', '2026-01-02 03:04:05')")).await;
    let user = table.replace(['.', '_'], "").chars().rev().take(20).collect::<String>();
    let sql = format!("CREATE USER '{user}'@'%' IDENTIFIED BY 's3cret-pa55'; GRANT SELECT ON {table} TO '{user}'@'%'");
    database.execute(&settings, &sql).await;
    let url = settings.url.expose_secret();
    let host = url.rsplit('@').next().and_then(|rest| rest.split('/').next()).expect("a host");
    let schema = table.split('.').next().expect("a schema");
    let login = |password: &str| Settings {
        url: format!("mysql://{user}:{password}@{host}/{schema}").into(),
        ..settings.clone()
    };
    let refused = Sql::new(login("wr0ng")).prepare(&[None], false).await.expect_err("a wrong password");
    assert_eq!(refused.class, Class::Auth, "{refused}");
    assert!(!format!("{refused:?}").contains("wr0ng"), "{refused:?}");
    // Who may only read sees that the field cannot be written.
    let reader = Sql::new(login("s3cret-pa55"));
    let prepared = reader.prepare(&[None], false).await.expect("it can be read");
    assert!(matches!(&prepared.definitions[0].state, DefinitionState::Usable(shape) if !shape.writable));
    database.execute(&settings, &format!("DROP USER '{user}'@'%'")).await;
}

async fn names_and_databases_of_any_kind(database: &Database) {
    let mut settings = database.new_table();
    let table = format!("{}_Odd `name`", name_of(&settings));
    let (schema, name) = table.split_once('.').expect("a schema");
    settings.fields = vec![text_field("Job `Title`"), text_field("ORDER")];
    let sql = format!(
        "CREATE TABLE {schema}.\"{name}\" (\"Id\" {KEY}, \"job `title`\" varchar(40), \"order\" varchar(40), \
         \"updated at\" datetime); INSERT INTO {schema}.\"{name}\" VALUES (1, 'a', 'b', '2026-01-02 03:04:05')"
    );
    database.execute(&settings, &sql).await;
    settings.table = table.clone();
    settings.key = "ID".to_owned();
    settings.modified = "Updated At".to_owned();
    let connector = Sql::new(settings);
    let record = fetch(&connector, &["1"]).await.remove(0);
    assert_eq!((text(&record.cells[0]), text(&record.cells[1])), (Some("a"), Some("b")));
    assert_eq!(stored(&write_one(&connector, write(&record, 1, "c")).await), Some("c"));
}

async fn views_are_read_and_written_where_they_can_be(database: &Database) {
    let settings = notes(database, KEY, "datetime").await;
    let table = name_of(&settings).to_owned();
    let sql = format!(
        "INSERT INTO {table} VALUES (1, 'a', '2026-01-02 03:04:05'); \
         CREATE VIEW {table}_plain AS SELECT * FROM {table}; \
         CREATE VIEW {table}_fixed AS SELECT DISTINCT * FROM {table}"
    );
    database.execute(&settings, &sql).await;
    for (view, takes_writes) in [("plain", true), ("fixed", false)] {
        let connector = Sql::new(Settings { table: format!("{table}_{view}"), ..settings.clone() });
        let prepared = connector.prepare(&[None], false).await.expect("it can be prepared");
        let writable = matches!(&prepared.definitions[0].state, DefinitionState::Usable(shape) if shape.writable);
        assert_eq!(writable, takes_writes, "{view}");
        let record = fetch(&connector, &["1"]).await.remove(0);
        if takes_writes {
            assert_eq!(stored(&write_one(&connector, write(&record, 0, "b")).await), Some("b"));
        } else {
            assert_eq!(text(&record.cells[0]), Some("b"));
        }
    }
}

async fn the_database_may_set_the_time(database: &Database) {
    let time = "timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)";
    let mut settings = notes(database, KEY, time).await;
    settings.modified_by = ModifiedBy::Database;
    let sql = format!("INSERT INTO {} (note) VALUES ('a')", name_of(&settings));
    database.execute(&settings, &sql).await;
    let connector = Sql::new(settings);
    let before = fetch(&connector, &["1"]).await.remove(0);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(stored(&write_one(&connector, write(&before, 0, "b")).await), Some("b"));
    let after = fetch(&connector, &["1"]).await.remove(0);
    assert!(after.modified > before.modified, "{after:?}");
}

async fn marks_of_deletion_of_every_type(database: &Database) {
    for (column, here, gone) in [
        ("tinyint(1)", ["NULL", "0"], "1"),
        ("datetime", ["NULL", "'0000-00-00 00:00:00'"], "'2026-01-02 03:04:05'"),
        ("varchar(10)", ["''", "'false'"], "'yes'"),
        ("decimal(4,2)", ["NULL", "0"], "0.5"),
    ] {
        let mut settings = database.new_table();
        settings.deleted = Some("deleted".to_owned());
        settings.fields = vec![text_field("note")];
        let table = name_of(&settings).to_owned();
        let sql = format!(
            "SET SESSION sql_mode = 'ANSI_QUOTES'; \
             CREATE TABLE {table} (id {KEY}, note text, updated_at datetime, deleted {column}); \
             INSERT INTO {table} VALUES (1, 'a', NOW(), {}), (2, 'a', NOW(), {}), (3, 'a', NOW(), {gone})",
            here[0], here[1]
        );
        database.execute(&settings, &sql).await;
        let connector = Sql::new(settings);
        let seen: Vec<bool> = fetch(&connector, &["1", "2", "3"])
            .await
            .iter()
            .map(|record| record.existence == attune::model::Existence::Present)
            .collect();
        assert_eq!(seen, [true, true, false], "{column}");
    }
}

async fn a_window_of_many_rows_is_complete(database: &Database) {
    let settings = notes(database, KEY, "datetime(3)").await;
    let table = name_of(&settings).to_owned();
    let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL \
                  SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let sql = format!(
        "INSERT INTO {table} (note, updated_at) SELECT 'a', '2026-01-02 03:04:05' FROM {digits} AS a, {digits} AS b, \
         {digits} AS c, {digits} AS d, (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS e; \
         CREATE INDEX modified ON {table} (updated_at); UPDATE {table} SET updated_at = '2025-01-01' WHERE id % 7 = 0"
    );
    database.execute(&settings, &sql).await;
    let connector = Sql::new(settings.clone());
    let since = Timestamp::from_millis(YEAR_2026_MS);
    let expected =
        database.texts(&settings, &format!("SELECT CAST(COUNT(*) AS char) FROM {table} WHERE id % 7 <> 0")).await;
    let seen: std::collections::BTreeSet<String> = keys_since(&connector, Some(since)).await.into_iter().collect();
    assert_eq!([seen.len().to_string()], expected[..]);
    // And few rows of many: by the index.
    database.execute(&settings, &format!("UPDATE {table} SET updated_at = '2026-06-01' WHERE id IN (5, 29990)")).await;
    let seen = keys_since(&connector, Some(Timestamp::parse("2026-05-01T00:00:00Z").expect("a time"))).await;
    assert_eq!(seen, ["5", "29990"]);
}
