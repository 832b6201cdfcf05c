//! Finding rows by what a column holds, and counting them.
//!
//! A find walks the column once, whatever indexes there are: white space around a value and the case of its letters do not
//! count, and no two databases agree on either. A key is found by its index.

use async_trait::async_trait;

use super::cells::{Codec, RawCell};
use super::dialect::{Native, PAGE_ROWS};
use super::table::{KeyKind, Slot, Source, Table};
use super::{Ready, Sql};
use crate::connector::lookup::Wanted;
use crate::connector::{Lane, Lookup, LookupLimits};
use crate::model::{Failure, Key, Seen};

/// The values of one find: each is a value of a statement, and one look through the column serves them all.
const VALUES_PER_FIND: usize = 1_000;

/// What rows are looked through for.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    /// The column.
    pub(super) column: Slot,
    /// How its text and ours correspond.
    pub(super) codec: Codec,
    /// What it is to hold.
    pub(super) values: Vec<String>,
    /// Whether the case of letters does not count.
    pub(super) fold: bool,
    wanted: Wanted,
}

impl Sought {
    /// Whether what a row holds is sought.
    pub(super) fn is(&self, held: RawCell) -> bool {
        matches!(self.codec.decode(held, false).seen, Seen::Value(value) if self.wanted.is(&value.display()))
    }
}

/// The column of a field that rows can be found by; none where its values have several spellings, or are another table's.
fn column_of(table: &Table, field: usize) -> Option<(&Slot, Codec)> {
    let field = table.layout.fields.get(field)?;
    match field.source {
        Source::Key => Some((&table.layout.key, Codec::Plain)),
        Source::Slot(slot) => {
            let slot = &table.layout.slots[slot];
            let has_one_spelling = match field.codec {
                Codec::Plain => true,
                Codec::Number => slot.column.native == Native::Integer,
                Codec::BooleanAsNumber | Codec::Instant => false,
            };
            has_one_spelling.then_some((slot, field.codec))
        }
        Source::Related { .. } | Source::Nowhere => None,
    }
}

#[async_trait]
impl Lookup for Sql {
    fn lookup_limits(&self) -> LookupLimits {
        LookupLimits { values_per_find: VALUES_PER_FIND, rows_per_page: PAGE_ROWS }
    }

    /// What has not been looked at yet finds nothing.
    fn finds_by(&self, field: usize) -> bool {
        self.known().is_some_and(|ready| column_of(&ready.table, field).is_some())
    }

    async fn count(&self, _lane: Lane) -> Result<u64, Failure> {
        let ready = self.ready().await?;
        let Ready { dialect, table, .. } = &*ready;
        let count = || async { dialect.count_rows(table).await.map_err(|error| self.failure(&**dialect, &error)) };
        self.patiently(count).await
    }

    async fn keys_with(&self, field: usize, values: &[String], fold: bool, _lane: Lane) -> Result<Vec<Key>, Failure> {
        let ready = self.ready().await?;
        let Ready { dialect, table, statements } = &*ready;
        // No text that is read holds what the database's text cannot.
        let is_never_held = |value: &str| value.is_empty() || (dialect.refuses_nul() && value.contains('\0'));
        let values: Vec<String> = values.iter().filter(|value| !is_never_held(value)).cloned().collect();
        let Some((column, codec)) = column_of(table, field) else { return Ok(Vec::new()) };
        let by_key = table.layout.fields[field].source == Source::Key && table.key_kind != KeyKind::Text;
        let keys: Vec<&str> = values.iter().map(String::as_str).filter(|key| table.key_kind.admits(key)).collect();
        if values.is_empty() || (by_key && keys.is_empty()) {
            return Ok(Vec::new());
        }
        let found = self
            .patiently(|| async {
                let found = if by_key {
                    let rows = dialect.fetch(table, &statements.fetch, &keys).await;
                    rows.map(|rows| rows.into_iter().filter(|row| !row.gone).map(|row| row.key).collect())
                } else {
                    let wanted = Wanted::new(&values, fold);
                    let sought = Sought { column: column.clone(), codec, values: values.clone(), fold, wanted };
                    dialect.find(table, sought).await
                };
                found.map_err(|error| self.failure(&**dialect, &error))
            })
            .await?;
        Ok(found.into_iter().map(Key).collect())
    }
}
