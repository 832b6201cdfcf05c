//! Making and removing rows: all of a call in one transaction, each row on its own within it.
//!
//! A row that the database refuses does not keep the others. A key that is not given the database makes, and tells. A row is
//! deleted, or marked as deleted where the configuration names a column for that.

use std::collections::HashSet;

use async_trait::async_trait;

use super::dialect::UpdateError;
use super::table::{KeyKind, Source, Table};
use super::{Ready, Sql};
use crate::connector::{Created, Lifecycle, LifecycleLimits, NewRecord, Removed, Reservation};
use crate::model::{Class, Failure, Key};

/// The most rows of one transaction: each is a statement.
const ROWS_PER_CREATE: usize = 100;
const ROWS_PER_REMOVE: usize = 500;

/// A row to be made.
#[derive(Clone, Debug)]
pub(super) struct NewRow {
    /// Its key; none: the database makes one.
    pub(super) key: Option<String>,
    /// The text of each of these slots.
    pub(super) values: Vec<(usize, String)>,
}

/// Whether a field is the key, under its own name or that of its column.
fn is_key(table: &Table, source: Source) -> bool {
    match source {
        Source::Key => true,
        Source::Slot(slot) => table.layout.slots[slot].column.name == table.layout.key.column.name,
        Source::Related { .. } | Source::Nowhere => false,
    }
}

fn takes(table: &Table, field: usize) -> bool {
    table.layout.fields.get(field).is_some_and(|field| {
        if is_key(table, field.source) { table.layout.key.column.writable } else { field.is_writable() }
    })
}

#[async_trait]
impl Lifecycle for Sql {
    fn lifecycle_limits(&self) -> LifecycleLimits {
        LifecycleLimits { records_per_create: ROWS_PER_CREATE, keys_per_remove: ROWS_PER_REMOVE }
    }

    /// What has not been looked at yet takes nothing.
    fn creates_with(&self, field: usize) -> bool {
        self.known().is_some_and(|ready| takes(&ready.table, field))
    }

    async fn create(&self, batch: &[NewRecord], _reservation: &dyn Reservation) -> Vec<Created> {
        let all = |outcome: Created| vec![outcome; batch.len()];
        let ready = match self.ready().await {
            Ok(ready) => ready,
            Err(failure) => return all(Created::NotSent(failure)),
        };
        if self.settings.cancel.is_cancelled() {
            return all(Created::NotSent(self.stopped()));
        }
        let Ready { dialect, table, .. } = &*ready;
        let planned: Vec<Result<NewRow, String>> = batch.iter().map(|record| self.plan_row(table, record)).collect();
        let rows: Vec<NewRow> = planned.iter().filter_map(|row| row.as_ref().ok()).cloned().collect();
        let made = if rows.is_empty() { Ok(Vec::new()) } else { dialect.insert(table, &rows).await };
        match made {
            Ok(made) => {
                let mut made = made.into_iter();
                let outcomes = planned.into_iter().map(|row| match row {
                    Err(why) => Created::Rejected(why),
                    Ok(_) => match made.next() {
                        Some(Ok(Some(key))) => Created::Made(Key(key)),
                        Some(Ok(None)) => Created::Rejected(self.keyless()),
                        Some(Err(error)) => self.not_made(&**dialect, &error),
                        None => Created::Unknown(self.unsaid()),
                    },
                });
                outcomes.collect()
            }
            Err(UpdateError { error, may_have_happened }) => {
                let failure = self.failure(&**dialect, &error);
                let outcome = if may_have_happened {
                    Created::Unknown(failure.possibly_happened())
                } else if failure.class != Class::Rejected {
                    Created::NotSent(failure)
                } else if rows.len() == 1 {
                    self.not_made(&**dialect, &error)
                } else {
                    Created::BatchRejected(failure)
                };
                let of_row = |row: Result<NewRow, String>| row.map_or_else(Created::Rejected, |_| outcome.clone());
                planned.into_iter().map(of_row).collect()
            }
        }
    }

    async fn remove(&self, keys: &[Key], _reservation: &dyn Reservation) -> Vec<Removed> {
        let all = |outcome: Removed| vec![outcome; keys.len()];
        let ready = match self.ready().await {
            Ok(ready) => ready,
            Err(failure) => return all(Removed::NotSent(failure)),
        };
        if self.settings.cancel.is_cancelled() {
            return all(Removed::NotSent(self.stopped()));
        }
        let Ready { dialect, table, statements } = &*ready;
        let possible: Vec<&str> = keys.iter().map(Key::as_str).filter(|key| table.key_kind.admits(key)).collect();
        if possible.is_empty() {
            return all(Removed::Gone);
        }
        let refusals = match dialect.remove(table, &possible).await {
            Ok(refusals) => refusals,
            Err(UpdateError { error, may_have_happened }) => {
                let failure = self.failure(&**dialect, &error);
                return all(match failure.class {
                    _ if may_have_happened => Removed::Unknown(failure.possibly_happened()),
                    Class::Rejected => Removed::Rejected(self.kept()),
                    _ => Removed::NotSent(failure),
                });
            }
        };
        for error in refusals.iter().flatten() {
            let failure = self.failure(&**dialect, error);
            let said = failure.detail.as_deref().unwrap_or_default();
            tracing::debug!(target: "attune", "{failure}: {said}");
        }
        // A trigger or a policy can keep a row without a word.
        let rows = match dialect.fetch(table, &statements.fetch, &possible).await {
            Ok(rows) => rows,
            Err(error) => return all(Removed::Unknown(self.failure(&**dialect, &error).possibly_happened())),
        };
        let there: HashSet<String> = rows.into_iter().filter(|row| !row.gone).map(|row| row.key).collect();
        let outcome = |key: &Key| {
            if there.contains(key.as_str()) { Removed::Rejected(self.kept()) } else { Removed::Gone }
        };
        keys.iter().map(outcome).collect()
    }
}

impl Sql {
    /// The row of a record; or why there can be none.
    fn plan_row(&self, table: &Table, record: &NewRecord) -> Result<NewRow, String> {
        let mut row = NewRow { key: None, values: Vec::new() };
        for (place, value) in &record.values {
            let found = table.layout.fields.get(*place).filter(|_| takes(table, *place));
            let Some(field) = found else {
                let name = self.names.get(*place).map_or("?", String::as_str);
                return Err(format!("{}: `{name}` of `{}` cannot be given to a new row", self.label, self.label.table));
            };
            if is_key(table, field.source) {
                let key = value.display();
                if key.is_empty() || !table.key_kind.admits(&key) {
                    let kind = match table.key_kind {
                        KeyKind::Integer => "a whole number",
                        KeyKind::Text => "a text",
                        KeyKind::Uuid => "a UUID",
                    };
                    let (key, table) = (&self.settings.key, &self.label.table);
                    return Err(format!(
                        "{}: the key `{key}` of `{table}` is {kind}, which the mapped value is not; correct the mapping",
                        self.label
                    ));
                }
                row.key = Some(key);
            } else if let Source::Slot(slot) = field.source {
                row.values.push((slot, field.codec.encode(value)));
            }
        }
        if row.key.is_none() && row.values.is_empty() {
            return Err(format!("{}: there is no value to make a row of `{}` of", self.label, self.label.table));
        }
        Ok(row)
    }

    /// What became of a row that the database refused.
    fn not_made(&self, dialect: &dyn super::Dialect, error: &sqlx::Error) -> Created {
        let failure = self.failure(dialect, error);
        let said = failure.detail.as_deref().unwrap_or_default();
        tracing::debug!(target: "attune", "{failure}: {said}");
        let is_there = matches!(error, sqlx::Error::Database(error) if error.is_unique_violation());
        if is_there { Created::Exists(None) } else { Created::Rejected(failure.message) }
    }

    fn keyless(&self) -> String {
        let (key, table) = (&self.settings.key, &self.label.table);
        format!(
            "{}: the database does not tell which `{key}` it gives to a new row of `{table}`; let it count (AUTO_INCREMENT, \
             IDENTITY), or map `@key`",
            self.label
        )
    }

    fn kept(&self) -> String {
        format!(
            "{}: a row of `{}` was kept: rows of other tables point to it, or a rule of the database forbids to remove it; \
             remove it there",
            self.label, self.label.table
        )
    }

    fn unsaid(&self) -> Failure {
        let why =
            format!("{}: the database did not say what became of a row; please report this as a defect", self.label);
        Failure::new(Class::Broken, why).possibly_happened()
    }
}
