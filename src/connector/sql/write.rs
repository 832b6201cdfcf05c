//! Writes: packed by record, sent once, and what became of each.

use std::collections::HashMap;

use super::dialect::{RawRow, RowUpdate, Set};
use super::read::observe;
use super::related::Pointed;
use super::table::Source;
use super::{Ready, Sql, cells, fault};
use crate::model::{Class, Failure, Observed, Outcome, Write};

/// The most records of one statement.
pub(super) const BATCH_ROWS: usize = 500;
/// The most text of one statement, in bytes: a record more may exceed it, never two.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Packs writes: all of one record in one batch, records in the order of their keys, which is how tables like them.
pub(super) fn batches(mut writes: Vec<Write>) -> Vec<Vec<Write>> {
    writes.sort_by(|one, other| one.key.cmp(&other.key));
    let mut batches: Vec<Vec<Write>> = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for write in writes {
        let same_row = batches.last().and_then(|batch| batch.last()).is_some_and(|last| last.key == write.key);
        let full = rows >= BATCH_ROWS || bytes >= BATCH_BYTES;
        if !same_row {
            rows += 1;
        }
        bytes += write.value.as_ref().map_or(0, |value| value.display().len());
        match batches.last_mut() {
            Some(batch) if same_row || !full => batch.push(write),
            _ => {
                (rows, bytes) = (1, 0);
                batches.push(vec![write]);
            }
        }
    }
    batches
}

/// What is known of a write before anything is sent.
enum Fate {
    /// It is part of this row of the statement.
    Sent { row: usize },
    /// It is not sent.
    Settled(Outcome),
}

/// The statement's rows, and which write is part of which.
struct Plan {
    rows: Vec<RowUpdate>,
    fates: Vec<Fate>,
}

impl Sql {
    /// Sends one batch, once.
    pub(super) async fn send(&self, batch: &[Write]) -> Vec<Outcome> {
        let ready = match self.ready().await {
            Ok(ready) => ready,
            Err(failure) => return all(batch, &Outcome::NotSent(failure)),
        };
        let Ready { dialect, table, statements } = &*ready;
        if self.settings.cancel.is_cancelled() {
            return all(batch, &Outcome::NotSent(self.stopped()));
        }
        let Plan { rows, fates } = self.plan(&ready, batch);
        if rows.is_empty() {
            return fates.into_iter().map(|fate| self.outcome(fate, |_| None)).collect();
        }
        match dialect.update(table, &statements.fetch, &rows).await {
            Ok(updated) => {
                let written: HashMap<String, Observed> =
                    updated.written.into_iter().map(|row| (row.key.clone(), self.stored(&ready, row))).collect();
                let outcomes = batch.iter().zip(fates).map(|(write, fate)| {
                    self.outcome(fate, |row| {
                        let key = rows.get(row)?.key.as_str();
                        if let Some(record) = written.get(key) {
                            return Some(Outcome::Written { stored: record.cells.get(write.field)?.clone() });
                        }
                        let changed = updated.changed.iter().any(|changed| changed == key);
                        Some(if changed { Outcome::Changed } else { Outcome::Gone })
                    })
                });
                outcomes.collect()
            }
            Err(error) => {
                let failure = fault::failure(&self.label, &**dialect, &error.error);
                if failure.class == Class::Rejected {
                    // It may hold values: the sentence of a held one must not.
                    let said = failure.detail.as_deref().unwrap_or_default();
                    tracing::debug!(target: "attune", records = rows.len(), "{failure}: {said}");
                }
                let outcome = if error.may_have_happened {
                    Outcome::Unknown(failure.possibly_happened())
                } else if failure.class != Class::Rejected {
                    Outcome::NotSent(failure)
                } else if rows.len() == 1 {
                    Outcome::Rejected(failure.message)
                } else {
                    Outcome::BatchRejected(failure)
                };
                fates.into_iter().map(|fate| self.outcome(fate, |_| Some(outcome.clone()))).collect()
            }
        }
    }

    fn plan(&self, ready: &Ready, batch: &[Write]) -> Plan {
        let table = &ready.table;
        let mut rows: Vec<RowUpdate> = Vec::new();
        let mut row_of: HashMap<&str, usize> = HashMap::new();
        // A record is written entirely or not at all: one cell that was not seen holds back the others.
        let unseen: Vec<&str> = batch
            .iter()
            .filter(|write| cells::expected(&write.expect).is_none())
            .map(|write| write.key.as_str())
            .collect();
        let fates = batch
            .iter()
            .map(|write| {
                let key = write.key.as_str();
                let field = table.layout.fields.get(write.field).filter(|field| field.is_writable());
                let Some((field, Source::Slot(slot))) = field.map(|field| (field, field.source)) else {
                    let name = self.names.get(write.field).map_or("?", String::as_str);
                    let why = format!("{}: `{name}` of `{}` cannot be written", self.label, self.label.table);
                    return Fate::Settled(Outcome::Rejected(why));
                };
                if !table.key_kind.admits(key) {
                    return Fate::Settled(Outcome::Gone);
                }
                let expected = match cells::expected(&write.expect) {
                    Some(expected) if !unseen.contains(&key) => expected,
                    _ => return Fate::Settled(Outcome::Changed),
                };
                let value = match &write.value {
                    Some(value) => Some(field.codec.encode(value)),
                    None => field.cleared.clone(),
                };
                let row = *row_of.entry(key).or_insert_with(|| {
                    rows.push(RowUpdate { key: key.to_owned(), modified: None, sets: Vec::new() });
                    rows.len() - 1
                });
                rows[row].modified = rows[row].modified.max(write.modified);
                rows[row].sets.push(Set { slot, value, expected });
                Fate::Sent { row }
            })
            .collect();
        Plan { rows, fates }
    }

    /// A record as it is stored after a write, whole: a row that a trigger hid at once is still what was written.
    fn stored(&self, ready: &Ready, row: RawRow) -> Observed {
        let every: Vec<usize> = (0..self.names.len()).collect();
        observe(&ready.table, RawRow { gone: false, ..row }, Some(&every), &Pointed::default())
    }

    fn outcome(&self, fate: Fate, of_row: impl FnOnce(usize) -> Option<Outcome>) -> Outcome {
        match fate {
            Fate::Settled(outcome) => outcome,
            Fate::Sent { row } => of_row(row).unwrap_or_else(|| {
                let why = format!("{}: the answer does not show a row that was written", self.label);
                Outcome::Unknown(Failure::new(Class::Broken, why).possibly_happened())
            }),
        }
    }
}

fn all(batch: &[Write], outcome: &Outcome) -> Vec<Outcome> {
    batch.iter().map(|_| outcome.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, Key, Value};

    fn write(key: &str, field: usize) -> Write {
        Write { key: Key::new(key), field, expect: Cell::absent(), value: Some(Value::text("x")), modified: None }
    }

    #[test]
    fn a_record_is_never_split() {
        let writes =
            (0..1_200).flat_map(|number| [1, 0].map(|field| write(&format!("{number:05}"), field))).rev().collect();
        let batches = batches(writes);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 400]);
        for batch in &batches {
            for pair in batch.chunks(2) {
                assert_eq!(pair[0].key, pair[1].key);
            }
        }
    }
}
