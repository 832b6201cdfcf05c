//! The mistakes of who connects a table, on each database.

use attune::connector::sql::{ModifiedBy, Settings, Sql};
use secrecy::ExposeSecret;

use crate::mistakes::Table;
use crate::sql_world::{Database, text_field};

on!(sql_world::on_sqlite as sqlite, sql_mistakes, [are_found, those_of_a_file_are_found]);
on!(
    sql_world::on_postgres as postgres,
    sql_mistakes,
    [are_found, those_of_a_server_are_found, those_of_rights_are_found]
);
on!(sql_world::on_mysql as mysql, sql_mistakes, [are_found, those_of_a_server_are_found, those_of_rights_are_found]);

/// A table with one row in which nothing is wrong, or what `columns` and `more` make of it; `{t}` is its name.
async fn contacts(database: &Database, columns: &str, more: &str) -> Settings {
    let mut settings = database.new_table();
    settings.fields = vec![text_field("job_title")];
    let table = settings.table.clone();
    let index = format!("modified_{}", table.replace('.', "_"));
    let time = database.one_of("TEXT", "timestamptz", "timestamp(6) NULL");
    let columns = if columns.is_empty() { "id bigint PRIMARY KEY, updated_at {time}" } else { columns };
    let columns = columns.replace("{time}", time);
    let sql = format!(
        "CREATE TABLE {table} (email varchar(100), job_title varchar(100), {columns}); \
         CREATE INDEX {index} ON {table} (updated_at); \
         INSERT INTO {table} (id, email, job_title, updated_at) VALUES (1, 'ann@example.com', 'Buyer', {}); {}",
        database.one_of("'2026-01-01T00:00:00Z'", "'2026-01-01T00:00:00Z'", "'2026-01-01 00:00:00'"),
        more.replace("{t}", &table)
    );
    database.execute(&settings, &sql).await;
    settings
}

async fn are_found(database: &Database) {
    let mut table = Table::default();
    let sound = contacts(database, "", "").await;
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = sound.clone();
        change(&mut settings);
        Ok(Sql::new(settings))
    };
    table.quiet("nothing", with(&|_| {})).await;

    let mistyped = with(&|settings| settings.table = settings.table.replace("contacts", "contcats"));
    table.row("no such table", mistyped, 78, &["crm `erp`", "there is no table", "did you mean", "set `table`"]).await;
    let mistyped = with(&|settings| settings.fields = vec![text_field("job_titel")]);
    table
        .row(
            "no such column",
            mistyped,
            78,
            &["no column `job_titel`", "did you mean `job_title`?", "correct the mapping's `crm`"],
        )
        .await;
    let mistyped = with(&|settings| "uid".clone_into(&mut settings.key));
    table.row("no such key", mistyped, 78, &["no column `uid`", "correct `key`"]).await;
    let mistyped = with(&|settings| "updatedat".clone_into(&mut settings.modified));
    table.row("no such time", mistyped, 78, &["did you mean `updated_at`?", "correct `modified`"]).await;
    let no_time = with(&|settings| "email".clone_into(&mut settings.modified));
    table.row("a modified column of another kind", no_time, 78, &["`email`", "holds no times", "set `modified`"]).await;
    let filled = with(&|settings| settings.deleted = Some("email".to_owned()));
    table.row("a deleted column that all rows have", filled, 0, &["every row", "counts as deleted", "`email`"]).await;

    let days = contacts(database, "id bigint PRIMARY KEY, updated_at date", "").await;
    let exit = if database.is_sqlite() { 0 } else { 78 };
    // SQLite has no days: what stands there is a whole time.
    let words: &[&str] = if exit == 0 { &[] } else { &["holds no times", "whole days are too coarse"] };
    table.row("a modified column of days", Ok(Sql::new(days)), exit, words).await;

    let twice = "INSERT INTO {t} (id, email) VALUES (1, 'bob@example.com')";
    let not_unique = contacts(database, "id bigint, updated_at {time}", twice).await;
    table.row("a key that is not unique", Ok(Sql::new(not_unique)), 78, &["one and the same `id`", "set `key`"]).await;
    let no_index = contacts(database, "id bigint, updated_at {time}", "").await;
    table.row("a key without an index", Ok(Sql::new(no_index)), 0, &["no unique index is on `id`", "create one"]).await;
    let undated = "INSERT INTO {t} (id, updated_at) VALUES (2, NULL)";
    let undated = contacts(database, "", undated).await;
    table.row("rows without a time", Ok(Sql::new(undated)), 0, &["rows without `updated_at`", "fill it in"]).await;

    let ahead = database.one_of(
        "strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '+5 hours')",
        "now() + interval '5 hours'",
        "UTC_TIMESTAMP(6) + INTERVAL 5 HOUR",
    );
    let local = format!("INSERT INTO {{t}} (id, updated_at) VALUES (2, {ahead})");
    let local = contacts(database, "", &local).await;
    table.row("local time", Ok(Sql::new(local)), 0, &["in the future", "local time and not in UTC"]).await;
    if !database.is_sqlite() {
        let zoneless = database.one_of("", "timestamp", "datetime");
        let zoneless = contacts(database, &format!("id bigint PRIMARY KEY, updated_at {zoneless}"), "").await;
        table.row("a time without a zone", Ok(Sql::new(zoneless)), 0, &["no time zone", "taken as UTC"]).await;
    }

    let nobody = with(&|settings| settings.modified_by = ModifiedBy::Database);
    // Who has not the right to see triggers of MySQL would be told of none.
    let words: &[&str] =
        if sound.url.expose_secret().starts_with("mysql") { &[] } else { &["no trigger for updates", "create one"] };
    table.row("nobody sets the time", nobody, 0, words).await;

    let view = "CREATE VIEW {t}_seen AS SELECT DISTINCT id, job_title, updated_at FROM {t}";
    let mut view = contacts(database, "", view).await;
    view.table.push_str("_seen");
    table.row("a view that takes no writes", Ok(Sql::new(view)), 0, &["read only: job_title"]).await;
    table.holds();
}

async fn those_of_a_file_are_found(database: &Database) {
    let mut table = Table::default();
    let sound = contacts(database, "", "").await;
    let url = sound.url.expose_secret().to_owned();
    let with = |url: String| Ok(Sql::new(Settings { url: url.into(), ..sound.clone() }));
    let absent = with(url.replace(".db", ".dbb"));
    table.row("no such file", absent, 78, &["cannot be opened", "correct `url`", "Attune never does"]).await;
    let folder = url.rsplit_once('/').expect("a folder").0.to_owned();
    table.row("a folder", with(folder.clone()), 78, &["is a folder", "SQLite file"]).await;
    let path = folder.trim_start_matches("sqlite:").to_owned() + "/notes.txt";
    std::fs::write(&path, "these are my notes, not a database, and they are long enough to be looked at as one")
        .expect("notes");
    table.row("another file", with(format!("sqlite:{path}")), 78, &["no SQLite database", "correct `url`"]).await;
    table.row("a file that takes no writes", with(format!("{url}?mode=ro")), 0, &["read only: job_title"]).await;
    table.holds();
}

/// The address of a server, and the database on it.
fn parts(settings: &Settings) -> (String, String, String) {
    let url = settings.url.expose_secret();
    let (scheme, rest) = url.split_once("://").expect("an address");
    let (host, name) = rest.rsplit_once('/').expect("a database");
    (scheme.to_owned(), host.rsplit('@').next().expect("a host").to_owned(), name.to_owned())
}

async fn those_of_a_server_are_found(database: &Database) {
    let mut table = Table::default();
    let sound = contacts(database, "", "").await;
    let (scheme, host, name) = parts(&sound);
    let user = if scheme == "mysql" { "root" } else { "postgres" };
    let with = |url: String| Ok(Sql::new(Settings { url: url.into(), ..sound.clone() }));
    let nowhere = with(format!("{scheme}://{user}@127.0.0.1:1/{name}"));
    table.row("nothing listens there", nowhere, 75, &["the connection failed", "can be reached from here"]).await;
    let absent = with(format!("{scheme}://{user}@{host}/no_such_database"));
    table.row("no such database", absent, 78, &["there is no such database", "correct `url`"]).await;
    let refused = with(format!("{scheme}://nobody_at_all:hunter2@{host}/{name}"));
    table.row("a wrong user or password", refused, 77, &["the user or the password is refused", "correct `url`"]).await;
    let other = with(format!("oracle://{user}@{host}/{name}"));
    table.row("another database", other, 78, &["`url` does not begin with"]).await;
    table.holds();
}

async fn those_of_rights_are_found(database: &Database) {
    let mut table = Table::default();
    let sound = contacts(database, "", "").await;
    let (scheme, host, name) = parts(&sound);
    let role: String = sound.table.replace('.', "_").chars().rev().take(28).collect::<Vec<_>>().iter().rev().collect();
    let role = format!("r{role}");
    let (schema, who) = (
        sound.table.split('.').next().expect("a schema"),
        if scheme == "mysql" { format!("'{role}'@'%'") } else { role.clone() },
    );
    let made = if scheme == "mysql" {
        format!("CREATE USER {who} IDENTIFIED BY 'hunter2'; GRANT SELECT (id) ON {} TO {who}", sound.table)
    } else {
        format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'; GRANT USAGE ON SCHEMA {schema} TO {role}")
    };
    database.execute(&sound, &made).await;
    let theirs = || {
        Ok(Sql::new(Settings {
            url: format!("{scheme}://{role}:hunter2@{host}/{}", if scheme == "mysql" { schema } else { &name }).into(),
            ..sound.clone()
        }))
    };
    let grant =
        async |rights: &str| database.execute(&sound, &format!("GRANT {rights} ON {} TO {who}", sound.table)).await;
    table.row("no right to read", theirs(), 78, &["may"]).await;
    grant("SELECT").await;
    table.row("no right to write", theirs(), 0, &["read only: job_title"]).await;
    grant("UPDATE (job_title)").await;
    table.row("no right to write the time", theirs(), 0, &["`updated_at`", "grant UPDATE on it", "modified_by"]).await;
    grant("UPDATE (updated_at)").await;
    table.quiet("all rights that are needed", theirs()).await;
    let gone =
        if scheme == "mysql" { format!("DROP USER {who}") } else { format!("DROP OWNED BY {role}; DROP ROLE {role}") };
    database.execute(&sound, &gone).await;
    table.holds();
}
