//! Reads: pages by key, direct reads, and the patience with which either is repeated.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::BoxStream;

use super::dialect::{RawRow, Scope};
use super::related::{Pointed, cell_of};
use super::table::{Source, Table};
use super::{Ready, Sql};
use crate::connector::retry::Attempts;
use crate::connector::{End, Page, walk};
use crate::model::{Cell, Class, Existence, Failure, Key, Observed, Seen, Timestamp, Value};

/// A read of several pages: where it stands.
struct Walk {
    ready: Arc<Ready>,
    scope: Scope,
    since: Option<Timestamp>,
    /// The database's clock before the first page was asked for.
    clock: Timestamp,
    /// The key of the last row of the page before.
    after: Option<String>,
}

impl Sql {
    /// All rows, or those modified at or after `since`, in pages by key.
    pub(super) fn pages(&self, since: Option<Timestamp>) -> BoxStream<'_, Result<Page, Failure>> {
        walk::pages(self.begin(since), move |walk| self.next_page(walk))
    }

    async fn begin(&self, since: Option<Timestamp>) -> Result<Walk, Failure> {
        let ready = self.ready().await?;
        let dialect = &ready.dialect;
        let (clock, scope) = self
            .patiently(|| async {
                let clock = dialect.clock().await.map_err(|error| self.failure(&**dialect, &error))?;
                let scope = match since {
                    None => Ok(Scope::Everything),
                    Some(since) => dialect.scope(&ready.table, &ready.statements.count, since).await,
                };
                Ok((clock, scope.map_err(|error| self.failure(&**dialect, &error))?))
            })
            .await?;
        Ok(Walk { ready, scope, since, clock, after: None })
    }

    async fn next_page(&self, mut walk: Walk) -> Result<(Page, Option<Walk>), Failure> {
        let Ready { dialect, table, statements } = &*walk.ready;
        let sql = &statements.pages[walk.scope as usize][usize::from(walk.after.is_some())];
        let raw = self
            .patiently(|| async {
                let page = dialect.page(table, sql, walk.since, walk.after.as_deref()).await;
                page.map_err(|error| self.failure(&**dialect, &error))
            })
            .await?;
        let last_key = raw.rows.last().map(|row| row.key.clone());
        if raw.more && last_key == walk.after {
            // A key that is not read as it is stored (bytes that are no text) would be walked to for ever.
            let why = format!(
                "{}: `{}` of `{}` holds a key that is no text, so that its rows cannot be walked; correct it",
                self.label, self.settings.key, self.label.table
            );
            return Err(Failure::new(Class::Misconfigured, why));
        }
        let pointed = self.related_rows(&walk.ready, &raw.rows, None).await?;
        let observed = raw.rows.into_iter().map(|row| observe(table, row, None, &pointed)).collect();
        let end = if raw.more { None } else { Some(End::Whole) };
        let page = Page { observed, clock: walk.clock, end };
        walk.after = last_key;
        Ok((page, raw.more.then_some(walk)))
    }

    /// The records with these keys; `Gone` where there is none.
    pub(super) async fn read_directly(&self, keys: &[Key], fields: &[usize]) -> Result<Vec<Observed>, Failure> {
        let ready = self.ready().await?;
        let Ready { dialect, table, statements } = &*ready;
        let possible: Vec<&str> = keys.iter().map(Key::as_str).filter(|key| table.key_kind.admits(key)).collect();
        let rows = if possible.is_empty() {
            Vec::new()
        } else {
            self.patiently(|| async {
                let rows = dialect.fetch(table, &statements.fetch, &possible).await;
                rows.map_err(|error| self.failure(&**dialect, &error))
            })
            .await?
        };
        let pointed = self.related_rows(&ready, &rows, Some(fields)).await?;
        let found: HashMap<String, Observed> =
            rows.into_iter().map(|row| (row.key.clone(), observe(table, row, Some(fields), &pointed))).collect();
        Ok(keys.iter().map(|key| found.get(key.as_str()).cloned().unwrap_or_else(|| gone(table, key))).collect())
    }

    /// Repeats a read that fails for a passing reason, until the patience is over. Ends at once when cancelled.
    pub(super) async fn patiently<T, F>(&self, read: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let cancel = &self.settings.cancel;
        let mut attempts = Attempts::new(self.settings.patience, cancel);
        loop {
            attempts.begin();
            let failure = match cancel.run_until_cancelled(read()).await {
                Some(Ok(value)) => return Ok(value),
                Some(Err(failure)) => failure,
                None => return Err(self.stopped()),
            };
            let given_up = attempts.failed(failure).await;
            if cancel.is_cancelled() {
                return Err(self.stopped());
            }
            given_up?;
        }
    }

    /// What a call that was told to stop answers.
    pub(super) fn stopped(&self) -> Failure {
        Failure::new(Class::Retry, format!("{}: stopped before it was done; the next start goes on", self.label))
    }
}

/// A record as it was read, with the cells of `fields` only (none: all, without tokens that repeat what is seen), and of the
/// records that it points to those that were read with it.
pub(super) fn observe(table: &Table, row: RawRow, fields: Option<&[usize]>, pointed: &Pointed) -> Observed {
    let pointers: Vec<_> = table.layout.related.iter().map(|related| row.points_to(related.from)).collect();
    let key = Key(row.key);
    let modified = row.modified.map(Timestamp::from_millis);
    if row.gone {
        return Observed { modified, ..gone(table, &key) };
    }
    // Each slot belongs to one field, so its text is taken, not copied.
    let mut texts = row.cells.into_iter();
    let cells = table
        .layout
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let wanted = fields.is_none_or(|fields| fields.contains(&index));
            match field.source {
                Source::Slot(_) => match texts.next() {
                    Some(raw) if wanted => field.codec.decode(raw, fields.is_some()),
                    _ => Cell::default(),
                },
                Source::Key if wanted => Cell { seen: Seen::Value(Value::text(key.as_str())), ..Cell::default() },
                Source::Related { relation, field } if wanted => {
                    cell_of(pointed, relation, &pointers[relation], field, modified)
                }
                Source::Key | Source::Related { .. } | Source::Nowhere => Cell::default(),
            }
        })
        .collect();
    Observed { key, existence: Existence::Present, modified, cells }
}

fn gone(table: &Table, key: &Key) -> Observed {
    let cells = vec![Cell::default(); table.layout.fields.len()];
    Observed { key: key.clone(), existence: Existence::Gone, modified: None, cells }
}
