//! PostgreSQL, 10 and later. The driver sets the session's time zone to UTC and its date style to ISO, so that a value
//! cast to text has one spelling; a write compares with that text.
//!
//! A batch goes in as one array a column (`UNNEST`), so that its text is the same whatever the batch holds.

mod find;
mod make;

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tokio::sync::OnceCell;

use super::{
    CALL_LIMIT, CONNECT_LIMIT, Column, Dialect, Inspection, NOT_DELETED_SQL, Native, PAGE_ROWS, RawPage, RawRow,
    Relation, RowUpdate, SAMPLE_ROWS, Sample, Scope, Set, Statements, UpdateError, Updated, ZEROS_SQL, count_sql,
    day_before, misconfigured, narrow_sql, odd_times_sql, on_connection, page_of, reach, slots_of, time_sample,
    timed_out, windowed, windows,
};
use crate::connector::sql::cells::RawCell;
use crate::connector::sql::fault::{Label, Meaning};
use crate::connector::sql::table::{KeyKind, Layout, Slot, Table};
use crate::connector::sql::times::{TextStyle, Times, Unit};
use crate::model::{Class, Failure, Timestamp};

/// Connections that one source keeps at most.
const CONNECTIONS: u32 = 4;
/// After this long the server itself ends a statement, and rolls it back: in milliseconds.
const STATEMENT_TIMEOUT_SQL: &str = "SET statement_timeout = 30000";
/// The database's clock in milliseconds, cut: never later than the truth.
const NOW_MS: &str = "floor(extract(epoch FROM now()) * 1000)::int8";
/// The columns before those of the slots in a row that is read.
const FIRST_CELL: usize = 3;

/// A database of a PostgreSQL server.
pub(super) struct Postgres {
    pool: PgPool,
    options: PgConnectOptions,
    /// What the server is: asked once.
    server: OnceCell<String>,
}

impl Postgres {
    /// The database that the URL names.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub(super) fn open(url: &str, label: &Label) -> Result<Self, Failure> {
        let next = "write postgres://USER:PASSWORD@HOST/DATABASE, with special characters percent-encoded";
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| misconfigured(label, "`url` is no URL of a PostgreSQL database", next))?
            .application_name("attune")
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT_LIMIT)
            // No lifetimes, so no maintenance task: the one of sqlx 0.9 was seen to spin for ever in a small pool.
            .max_lifetime(None)
            .idle_timeout(None)
            .after_connect(|connection, _| {
                async move { sqlx::query(STATEMENT_TIMEOUT_SQL).execute(connection).await.map(drop) }.boxed()
            })
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options, server: OnceCell::new() })
    }

    /// What the server is, whatever it is called: the identifier of its cluster, or its address where it will not tell.
    /// A question that got no answer is a failure: it must not make the server look like another one.
    async fn server(&self) -> Result<&str, sqlx::Error> {
        let ask = || async {
            let sql = "SELECT system_identifier::text FROM pg_control_system()";
            match sqlx::query_scalar(sql).fetch_one(&self.pool).await {
                Err(sqlx::Error::Database(error)) if will_not_tell(error.as_ref()) => {
                    Ok(format!("{}:{}", self.options.get_host(), self.options.get_port()))
                }
                answer => answer,
            }
        };
        self.server.get_or_try_init(ask).await.map(String::as_str)
    }

    async fn relation(&self, oid: i64, is_view: bool, schema: &str, table: &str) -> Result<Relation, sqlx::Error> {
        // The standard's list of columns leaves out materialized views; what it alone knows in every version is asked of it.
        let sql = "SELECT a.attname::text AS name, format_type(b.oid, NULL) AS declared, n.nspname::text AS type_schema, \
                   b.typname::text AS type_name, b.typtype::text AS type_type, \
                   (b.typname = 'numeric' AND m.typmod >= 4 AND (m.typmod - 4) % 65536 = 0 AND (m.typmod - 4) / 65536 <= 18) \
                   AS whole, \
                   NOT (a.attnotnull OR (t.typtype = 'd' AND t.typnotnull)) AS nullable, \
                   CASE WHEN b.typname IN ('varchar', 'bpchar') THEN nullif(greatest(m.typmod, 4), 4) - 4 END::int4 \
                   AS max_chars, \
                   pg_column_is_updatable(a.attrelid::regclass, a.attnum, true) \
                   AND coalesce(c.is_generated::text, '') <> 'ALWAYS' AND a.attidentity::text <> 'a' \
                   AND has_column_privilege(a.attrelid, a.attnum, 'UPDATE') AS writable, \
                   coalesce(c.column_default::text, '') AS default_value \
                   FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
                   JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END \
                   JOIN pg_namespace n ON n.oid = b.typnamespace \
                   CROSS JOIN LATERAL (SELECT CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END) AS m(typmod) \
                   LEFT JOIN information_schema.columns c \
                   ON c.table_schema = $2 AND c.table_name = $3 AND c.column_name = a.attname \
                   WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped \
                   AND has_column_privilege(a.attrelid, a.attnum, 'SELECT') ORDER BY a.attnum";
        let rows = sqlx::query(sql).bind(oid).bind(schema).bind(table).fetch_all(&self.pool).await?;
        let columns = rows.iter().map(|row| self.column(row)).collect::<Result<_, _>>()?;
        let sql = "SELECT a.attname::text, bool_or(i.indisunique AND i.indnkeyatts = 1) FROM pg_index i \
                   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
                   WHERE i.indrelid = $1::oid AND i.indpred IS NULL AND i.indisvalid GROUP BY 1";
        let indexes: Vec<(String, bool)> = sqlx::query_as(sql).bind(oid).fetch_all(&self.pool).await?;
        let unique = indexes.iter().filter(|(_, unique)| *unique).map(|(column, _)| column.clone()).collect();
        let indexed = indexes.into_iter().map(|(column, _)| column).collect();
        // What a part of a partitioned table or a foreign server does is not looked into.
        let sql = "SELECT EXISTS (SELECT 1 FROM pg_class WHERE oid = $1::oid AND relkind <> 'r') \
                   OR EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = $1::oid) \
                   OR EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = $1::oid AND NOT tgisinternal AND tgtype & 16 <> 0) \
                   OR EXISTS (SELECT 1 FROM pg_rewrite WHERE ev_class = $1::oid AND ev_type = '2')";
        let updates_run = Some(sqlx::query_scalar(sql).bind(oid).fetch_one(&self.pool).await?);
        let quoted = format!("{}.{}", self.quote(schema), self.quote(table));
        Ok(Relation { quoted, is_view, columns, unique, indexed, updates_run })
    }

    /// A column from its row of the schema.
    fn column(&self, row: &PgRow) -> Result<Column, sqlx::Error> {
        let (type_schema, type_name): (String, String) = (row.try_get("type_schema")?, row.try_get("type_name")?);
        let max_chars: Option<i32> = row.try_get("max_chars")?;
        let default: String = row.try_get("default_value")?;
        Ok(Column {
            name: row.try_get("name")?,
            // Without a fraction, and few enough digits for what we take for whole numbers.
            native: if row.try_get("whole")? { Native::Integer } else { native(&type_name, row.try_get("type_type")?) },
            nullable: row.try_get("nullable")?,
            max_chars: max_chars.and_then(|length| u32::try_from(length).ok()),
            writable: row.try_get("writable")?,
            // Without its length: a cast to varchar(5) would cut a longer text instead of refusing it.
            cast: Some(format!("{}.{}", self.quote(&type_schema), self.quote(&type_name))),
            defaults_to_now: default.contains("now()") || default.contains("CURRENT_TIMESTAMP"),
            declared: row.try_get("declared")?,
        })
    }
}

#[async_trait]
impl Dialect for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn meaning(&self, error: &dyn DatabaseError) -> Meaning {
        meaning(error)
    }

    /// Quoted names are compared exactly.
    fn same_name(&self, wanted: &str, column: &str) -> bool {
        wanted == column
    }

    fn refuses_nul(&self) -> bool {
        true
    }

    async fn inspect(&self, named: &str) -> Result<Inspection, sqlx::Error> {
        // A pool would only say that it waited in vain; one connection of its own says why.
        reach::<PgConnection>(&self.options).await?;
        let clock = self.clock().await?;
        let (schema, table) = match named.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, named),
        };
        let name =
            schema.map_or_else(|| self.quote(table), |schema| format!("{}.{}", self.quote(schema), self.quote(table)));
        let sql = "SELECT c.oid::int8, n.nspname::text, c.relkind = 'v' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
        let found: Option<(i64, String, bool)> = sqlx::query_as(sql).bind(&name).fetch_optional(&self.pool).await?;
        let database: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(&self.pool).await?;
        let schema = found.as_ref().map_or(schema.unwrap_or("public"), |(_, schema, _)| schema.as_str());
        let identity = format!("postgres:{}/{database}/{schema}.{table}", self.server().await?);
        let (relation, tables) = match &found {
            Some((oid, schema, is_view)) => (Some(self.relation(*oid, *is_view, schema, table).await?), Vec::new()),
            None => {
                let sql = "SELECT CASE WHEN table_schema = current_schema() THEN table_name::text \
                           ELSE table_schema || '.' || table_name END FROM information_schema.tables \
                           WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 LIMIT 200";
                (None, sqlx::query_scalar(sql).fetch_all(&self.pool).await?)
            }
        };
        Ok(Inspection { identity, clock, relation, tables })
    }

    async fn sample(&self, layout: &Layout) -> Result<Sample, sqlx::Error> {
        let Layout { quoted: table, key, modified, .. } = layout;
        let (key, key_column, column) = (&key.quoted, &key.column, &modified.quoted);
        let native = modified.column.native;
        let empty = if native == Native::Text { format!(" OR {column} = ''") } else { String::new() };
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {column} IS NULL{empty})");
        let without_time = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await?;
        let duplicate_keys = if layout.key_is_unique {
            false
        } else {
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {table} WHERE {key} IS NOT NULL GROUP BY {key} HAVING count(*) > 1)"
            );
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await?
        };
        let times = if matches!(native, Native::Text | Native::Integer | Native::Number) {
            let sql = format!(
                "SELECT {column}::text FROM {table} WHERE {column} IS NOT NULL AND {column}::text <> '' \
                 ORDER BY {key} DESC LIMIT {SAMPLE_ROWS}"
            );
            let texts: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
            texts.into_iter().map(|text| time_sample(native, text)).collect()
        } else {
            Vec::new()
        };
        // Fractions cannot be told from whole numbers without reading them all.
        let keys = (false, false, key_column.native == Native::Number);
        Ok(Sample { times, keys, without_time, duplicate_keys, ..Sample::default() })
    }

    fn statements(&self, table: &Table) -> Statements {
        let name = &table.layout.quoted;
        let key = &table.layout.key.quoted;
        let row = row_sql(table);
        let windows = windows(table, |table, alias, at| window_sql(table, alias, 1 + 2 * at));
        let window = format!("({})", windows.join(" OR "));
        let key_type = key_type(table);
        let page = |scope: Scope, after: bool| -> Arc<str> {
            let binds = if scope == Scope::Everything { 0 } else { 2 * windows.len() };
            let (from, limit) = if after {
                (format!("t.{key} > ${}::text::{key_type}", binds + 1), binds + 2)
            } else {
                (format!("t.{key} IS NOT NULL"), binds + 1)
            };
            let tail = format!("{from} ORDER BY t.{key} LIMIT ${limit}::int8");
            match scope {
                Scope::Everything => format!("SELECT {row} FROM {name} AS t WHERE {tail}").into(),
                Scope::Wide => format!("SELECT {row} FROM {name} AS t WHERE {window} AND {tail}").into(),
                // Materialized, so that the planner cannot walk the whole table by key instead.
                Scope::Narrow => {
                    format!("WITH t AS MATERIALIZED ({}) SELECT {row} FROM t WHERE {tail}", narrow_sql(table, &windows))
                        .into()
                }
            }
        };
        let pages =
            [Scope::Everything, Scope::Wide, Scope::Narrow].map(|scope| [false, true].map(|after| page(scope, after)));
        let count = count_sql(table, &windows);
        let fetch = format!("SELECT {row} FROM {name} AS t WHERE t.{key} = ANY ($1::text[]::{key_type}[])");
        Statements { pages, count: count.into(), fetch: fetch.into() }
    }

    async fn clock(&self) -> Result<Timestamp, sqlx::Error> {
        let sql = AssertSqlSafe(format!("SELECT {NOW_MS}"));
        Ok(Timestamp::from_millis(sqlx::query_scalar(sql).fetch_one(&self.pool).await?))
    }

    async fn count(&self, table: &Table, sql: &Arc<str>, since: Timestamp) -> Result<i64, sqlx::Error> {
        let query = bind_windows(sqlx::query(AssertSqlSafe(sql.clone())), table, since);
        query.fetch_one(&self.pool).await?.try_get(0)
    }

    async fn page(
        &self,
        table: &Table,
        sql: &Arc<str>,
        since: Option<Timestamp>,
        after: Option<&str>,
    ) -> Result<RawPage, sqlx::Error> {
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        if let Some(since) = since {
            query = bind_windows(query, table, since);
        }
        if let Some(after) = after {
            query = query.bind(after.to_owned());
        }
        let query = query.bind(i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX));
        on_connection(&self.pool, move |connection| {
            async move {
                page_of(query.fetch(connection), |row| {
                    let row = raw_row(row)?;
                    let bytes = row.bytes();
                    Ok((row, bytes))
                })
                .await
            }
            .boxed()
        })
        .await
    }

    async fn fetch(&self, _table: &Table, sql: &Arc<str>, keys: &[&str]) -> Result<Vec<RawRow>, sqlx::Error> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(keys);
        on_connection(&self.pool, move |connection| {
            async move { query.fetch_all(connection).await?.iter().map(raw_row).collect() }.boxed()
        })
        .await
    }

    /// One statement, committed by itself. A row that another transaction holds is waited for and compared again as that
    /// transaction left it.
    async fn update(&self, table: &Table, fetch_sql: &Arc<str>, rows: &[RowUpdate]) -> Result<Updated, UpdateError> {
        let slots = slots_of(rows);
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let times: Vec<i64> = rows.iter().map(|row| row.modified.map_or(0, Timestamp::as_millis)).collect();
        let mut query = sqlx::query(AssertSqlSafe(update_sql(table, &slots)))
            .bind(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<String>>())
            .bind(times);
        for slot in &slots {
            let sets: Vec<Option<&Set>> =
                rows.iter().map(|row| row.sets.iter().find(|set| set.slot == *slot)).collect();
            let values: Vec<Option<String>> = sets.iter().map(|set| set.and_then(|set| set.value.clone())).collect();
            let expected: Vec<Option<String>> =
                sets.iter().map(|set| set.and_then(|set| set.expected.clone())).collect();
            query = query.bind(sets.iter().map(Option::is_some).collect::<Vec<bool>>()).bind(values).bind(expected);
        }
        let mut connection = self.pool.acquire().await.map_err(UpdateError::not_done)?;
        let written = match tokio::time::timeout(CALL_LIMIT, query.fetch_all(&mut *connection)).await {
            Ok(Ok(rows)) => rows.iter().map(raw_row).collect::<Result<Vec<_>, _>>(),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(timed_out()),
        };
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                let may_have_happened = loses_answers(&error);
                if may_have_happened {
                    drop(connection.detach());
                }
                return Err(UpdateError { error, may_have_happened });
            }
        };
        drop(connection);
        let others: Vec<&str> = keys.into_iter().filter(|key| !written.iter().any(|row| row.key == *key)).collect();
        let changed = if others.is_empty() {
            Vec::new()
        } else {
            match self.fetch(table, fetch_sql, &others).await {
                Ok(rows) => rows.into_iter().filter(|row| !row.gone).map(|row| row.key).collect(),
                // Not known to be gone: whoever asks again will see.
                Err(_) => others.into_iter().map(str::to_owned).collect(),
            }
        };
        Ok(Updated { written, changed })
    }
}

/// Whether an error leaves open what became of a commit: connections that broke, servers that stopped, and "completion
/// unknown". Any other error rolled it back.
fn loses_answers(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            code.starts_with("08") || code.starts_with("57P") || code == "40003"
        }
        _ => true,
    }
}

fn raw_row(row: &PgRow) -> Result<RawRow, sqlx::Error> {
    let cells = (FIRST_CELL..row.len())
        .map(|index| Ok(row.try_get::<Option<String>, _>(index)?.map_or(RawCell::Null, RawCell::Text)))
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(RawRow { key: row.try_get(0)?, modified: row.try_get(1)?, gone: row.try_get(2)?, cells })
}

fn update_sql(table: &Table, slots: &[usize]) -> String {
    let layout = &table.layout;
    let key = &layout.key.quoted;
    let (mut arrays, mut names) = ("$1::text[], $2::int8[]".to_owned(), "k, m".to_owned());
    let mut sets = Vec::new();
    let mut conditions = String::new();
    for (index, slot) in slots.iter().enumerate() {
        let (first, Slot { quoted, cast, .. }) = (3 + 3 * index, &layout.slots[*slot]);
        let _ = write!(arrays, ", ${first}::bool[], ${}::text[], ${}::text[]", first + 1, first + 2);
        let _ = write!(names, ", s{index}, v{index}, e{index}");
        let kind = cast.as_deref().unwrap_or("text");
        sets.push(format!("{quoted} = CASE WHEN w.s{index} THEN w.v{index}::{kind} ELSE t.{quoted} END"));
        let _ = write!(conditions, " AND (NOT w.s{index} OR t.{quoted}::text IS NOT DISTINCT FROM w.e{index})");
    }
    if table.sets_modified {
        let modified = &layout.modified.quoted;
        sets.push(format!("{modified} = {}", written_time_sql(&format!("t.{modified}"), table)));
    }
    format!(
        "UPDATE {} AS t SET {} FROM UNNEST({arrays}) AS w({names}) \
         WHERE t.{key} = w.k::{} AND NOT {}{conditions} RETURNING {}",
        layout.quoted,
        sets.join(", "),
        key_type(table),
        gone_sql(layout),
        row_sql(table)
    )
}

/// The type that keys are compared as; integers of every width as the widest.
fn key_type(table: &Table) -> String {
    match (table.key_kind, &table.layout.key.cast) {
        (KeyKind::Integer, _) => "int8".to_owned(),
        (KeyKind::Uuid, _) => "uuid".to_owned(),
        (KeyKind::Text, Some(kind)) => kind.clone(),
        (KeyKind::Text, None) => "text".to_owned(),
    }
}

/// A row: key, time in milliseconds, gone, and the cells as text.
fn row_sql(table: &Table) -> String {
    let layout = &table.layout;
    let modified = millis_sql(&format!("t.{}", layout.modified.quoted), &table.times);
    let mut sql = format!("t.{}::text, {modified}, {}", layout.key.quoted, gone_sql(layout));
    for Slot { quoted, .. } in &layout.slots {
        let _ = write!(sql, ", t.{quoted}::text");
    }
    sql
}

fn gone_sql(layout: &Layout) -> String {
    layout.deleted.as_ref().map_or_else(
        || "false".to_owned(),
        |Slot { quoted, .. }| {
            format!("(btrim(lower(coalesce(t.{quoted}::text, '')), {ZEROS_SQL}) NOT IN {NOT_DELETED_SQL})")
        },
    )
}

/// The rows of a window: a bound that an index understands (the value of this number), then the exact time (the next, in
/// milliseconds). Rows without a time, or with one that cannot be read, belong to every window.
fn window_sql(table: &Table, alias: &str, first: usize) -> String {
    let modified = &table.layout.modified;
    let column = format!("{alias}.{}", modified.quoted);
    let bound = match &table.times {
        Times::Instant => format!("${first}::text::timestamptz"),
        Times::Local => format!("(${first}::text::timestamptz AT TIME ZONE 'UTC')"),
        Times::Unix(_) if modified.column.native == Native::Integer => format!("${first}::text::int8"),
        Times::Unix(_) | Times::Text(_) => {
            format!("${first}::text::{}", modified.column.cast.as_deref().unwrap_or("text"))
        }
    };
    format!(
        "({column} >= {bound}{} OR {column} IS NULL) AND coalesce({} >= ${}::int8, true)",
        odd_times_sql(&column, &table.times),
        millis_sql(&column, &table.times),
        first + 1
    )
}

fn bind_windows<'q>(
    mut query: Query<'q, sqlx::Postgres, PgArguments>,
    table: &Table,
    since: Timestamp,
) -> Query<'q, sqlx::Postgres, PgArguments> {
    for table in windowed(table) {
        query = query.bind(bound(&table.times, since)).bind(since.as_millis());
    }
    query
}

/// The bound by which an index finds the rows of a window: never later than the window's begin.
fn bound(times: &Times, since: Timestamp) -> String {
    let millis = since.as_millis();
    match times {
        Times::Instant | Times::Local => since.max(Timestamp::EPOCH).to_string(),
        Times::Unix(Unit::Milliseconds) => millis.to_string(),
        Times::Unix(_) => millis.div_euclid(1000).to_string(),
        Times::Text(_) => day_before(since),
    }
}

/// A time in milliseconds since the Unix epoch; null if it is no time. Never an error, whatever the column holds.
fn millis_sql(column: &str, times: &Times) -> String {
    match times {
        Times::Instant | Times::Local => {
            format!("CASE WHEN isfinite({column}) THEN floor(extract(epoch FROM {column}) * 1000)::int8 END")
        }
        Times::Unix(unit) => {
            let (factor, limit) = if *unit == Unit::Milliseconds { (1, "1e15") } else { (1000, "1e12") };
            format!("CASE WHEN abs({column}) < {limit} THEN floor({column}::numeric * {factor})::int8 END")
        }
        // The day is added as a number, because a cast of a day that does not exist is an error.
        Times::Text(_) => format!(
            "CASE WHEN {column} ~ '^[12]\\d{{3}}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])[Tt ]([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d\
             (\\.\\d{{1,9}})?([Zz]|[+-](0\\d|1[0-4]):?[0-5]\\d)?$' \
             THEN floor(extract(epoch FROM (left({column}, 8) || '01' || substr({column}, 11))::timestamptz) * 1000)::int8 \
             + (substr({column}, 9, 2)::int8 - 1) * 86400000 END"
        ),
    }
}

/// The time to write: the database's, but never lower than the one there, nor than the one asked for (`w.m`, in
/// milliseconds).
fn written_time_sql(column: &str, table: &Table) -> String {
    let asked = "to_timestamp(w.m / 1000.0)";
    match &table.times {
        Times::Instant => format!("greatest(now(), {column}, {asked})"),
        Times::Local => {
            format!("greatest(now() AT TIME ZONE 'UTC', {column}, {asked} AT TIME ZONE 'UTC')")
        }
        Times::Unix(unit) => {
            let millis = format!("greatest({NOW_MS}, w.m)");
            let number = match unit {
                Unit::Seconds => format!("{millis} / 1000"),
                Unit::FractionalSeconds => format!("{millis} / 1000.0"),
                Unit::Milliseconds => millis,
            };
            let kind = table.layout.modified.column.cast.as_deref().unwrap_or("int8");
            format!("greatest(({number})::{kind}, {column})")
        }
        Times::Text(TextStyle { separator, fraction, suffix }) => {
            let format = if *fraction { "HH24:MI:SS.MS" } else { "HH24:MI:SS" };
            let millis = format!("greatest({NOW_MS}, w.m)");
            let millis = if *fraction { millis } else { format!("{millis} / 1000 * 1000") };
            format!(
                "CASE WHEN coalesce({} >= {millis}, false) THEN {column} \
                 ELSE to_char(to_timestamp({millis} / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"{separator}\"{format}') || '{suffix}' END",
                millis_sql(column, &table.times)
            )
        }
    }
}

/// What a column stores, by the name of its type (a domain's is that of its base) and the kind of type that it is.
fn native(type_name: &str, type_type: &str) -> Native {
    match type_name {
        "text" | "varchar" | "bpchar" | "citext" => Native::Text,
        "name" => Native::Word,
        "int2" | "int4" | "int8" => Native::Integer,
        "numeric" | "float4" | "float8" => Native::Number,
        "bool" => Native::Boolean,
        "date" => Native::Date,
        "timestamptz" => Native::Instant,
        "timestamp" => Native::LocalTime,
        "uuid" => Native::Uuid,
        _ if type_type == "e" => Native::Word,
        _ => Native::Unsupported,
    }
}

/// Whether a server has not got what it is asked for, or does not let us have it: it will say so again.
fn will_not_tell(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code.starts_with("42") || code.starts_with("0A"))
}

/// What PostgreSQL's codes mean: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn meaning(error: &dyn DatabaseError) -> Meaning {
    let code = error.code().unwrap_or_default();
    let constraint = error
        .try_downcast_ref::<PgDatabaseError>()
        .and_then(|error| error.constraint().or(error.column()))
        .map_or_else(String::new, |name| format!(" (`{name}`)"));
    let refused = |what: &str| {
        Meaning::new(
            Class::Rejected,
            format!("{what} refuses the value{constraint}"),
            "correct the value, or lift the rule",
        )
    };
    match code.as_ref() {
        "28P01" | "28000" => Meaning::new(Class::Auth, "the user or the password is refused", "correct `url`"),
        "42501" => Meaning::new(
            Class::Auth,
            "this user has no right to do this",
            "give it those that docs/connectors/sql.md names",
        ),
        "3D000" => Meaning::new(Class::Misconfigured, "there is no such database", "correct `url`"),
        "42P01" | "42703" | "3F000" => Meaning::new(
            Class::Misconfigured,
            "the table or one of its columns is not there any more",
            "correct the configuration, or put it back",
        ),
        "25006" => Meaning::new(
            Class::Misconfigured,
            "it takes no writes: it is a standby or read-only",
            "let `url` name the primary",
        ),
        "23502" => refused("a NOT NULL constraint"),
        "23503" => refused("a FOREIGN KEY constraint"),
        "23505" => refused("a UNIQUE constraint"),
        "23514" | "44000" => refused("a CHECK constraint"),
        "22001" => refused("the column's length"),
        "57014" => {
            Meaning::new(Class::Retry, "it took too long, or waited too long for a lock", "see what holds the table")
        }
        "53300" => Meaning::new(Class::Retry, "it has too many connections", "it is tried again"),
        code if code.starts_with("23") => refused("a constraint"),
        code if code.starts_with("22") => refused("the column's type"),
        code if code.starts_with("P0") => refused("a trigger"),
        code if ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class)) => {
            Meaning::new(Class::Retry, format!("it cannot do this just now (code {code})"), "it is tried again")
        }
        code => Meaning::new(
            Class::Broken,
            format!("the statement was not understood (code {code})"),
            "please report this as a defect",
        ),
    }
}
