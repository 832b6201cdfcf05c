//! Fields of the record that a contact points to (`account.wholesaler_id`): the other table is read by key beside each page,
//! and its own changes bring the contacts that point to it into the feed. It is never written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::dialect::{Dialect, Native, RawRow, misconfigured};
use super::read::observe;
use super::table::{self, Layout, Source, Table};
use super::{FieldWanted, KEYS_PER_FETCH, Ready, Settings, Sql};
use crate::model::{Cell, Failure, Observed, Seen, Timestamp};

/// What the configuration says about a table that contacts point to (`[crm.NAME.relation.X]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The table or view; `schema.table` where the database has schemas.
    pub table: String,
    /// The contacts' column that holds its key.
    pub from: String,
    /// Its key column.
    pub key: String,
    /// The column with each row's modification time.
    pub modified: String,
}

/// A table that contacts point to, held against the schema.
#[derive(Debug)]
pub(super) struct Related {
    /// The word before the dot.
    pub(super) name: String,
    /// The slot of the contacts' own table that holds its key.
    pub(super) from: usize,
    /// Whether an index leads from its rows to the contacts.
    pub(super) from_is_indexed: bool,
    /// Its table; the fields are those behind the dot, in their order.
    pub(super) table: Table,
    /// The text that reads its rows by key.
    pub(super) fetch: Arc<str>,
}

/// The records that some rows point to.
#[derive(Default)]
pub(super) struct Pointed {
    /// By their key, for each relation; empty where none of its fields was asked for.
    rows: Vec<HashMap<String, Observed>>,
    /// The database's clock, where a row points to a record that is not there: nothing else dates that.
    missing_at: Option<Timestamp>,
}

/// A relation that fields name, as it was found.
pub(super) enum Found {
    Usable(Box<Related>),
    /// Its table is not there, or may not be read: its fields are unseen, and this says why.
    Unreadable(String),
}

/// The fields behind the dots, by the word before it.
fn wanted(settings: &Settings) -> BTreeMap<&str, Vec<FieldWanted>> {
    let mut wanted: BTreeMap<&str, Vec<FieldWanted>> = BTreeMap::new();
    for field in &settings.fields {
        if let Some((name, column)) = field.name.split_once('.')
            && settings.relations.contains_key(name)
        {
            let field = FieldWanted::new(column, field.kind);
            wanted.entry(name).or_default().push(field);
        }
    }
    wanted
}

impl Sql {
    /// Looks at the tables that the fields' relations name. Answers them by name, with the sentences for the operator.
    pub(super) async fn look_at_related(
        &self,
        dialect: &dyn Dialect,
    ) -> Result<(BTreeMap<String, Found>, Vec<String>), Failure> {
        let (mut found, mut warnings) = (BTreeMap::new(), Vec::new());
        for (name, fields) in wanted(&self.settings) {
            let relation = &self.settings.relations[name];
            let settings = Settings {
                table: relation.table.clone(),
                key: relation.key.clone(),
                modified: relation.modified.clone(),
                deleted: None,
                fields,
                relations: BTreeMap::new(),
                ..self.settings.clone()
            };
            let failed = |error| self.failure(dialect, &error);
            let inspected = dialect.inspect(&settings.table).await.map_err(failed)?;
            if inspected.relation.is_none() {
                let why = format!(
                    "{}: there is no table `{}`, or this user may not read it; correct [crm.{}.relation.{name}], or let it",
                    self.label, relation.table, self.settings.name
                );
                found.insert(name.to_owned(), Found::Unreadable(why));
                continue;
            }
            let layout = table::check(&settings, &self.label, dialect, &inspected, BTreeMap::new())?;
            let sample = dialect.sample(&layout).await.map_err(failed)?;
            let (table, more) = layout.finish(&settings, &self.label, sample)?;
            warnings.extend(more);
            let fetch = dialect.statements(&table).fetch;
            let related = Related { name: name.to_owned(), from: 0, from_is_indexed: false, table, fetch };
            found.insert(name.to_owned(), Found::Usable(Box::new(related)));
        }
        Ok((found, warnings))
    }

    /// The rows that these rows point to, by their key, for each relation of which one of `fields` (none: all) is.
    pub(super) async fn related_rows(
        &self,
        ready: &Ready,
        rows: &[RawRow],
        fields: Option<&[usize]>,
    ) -> Result<Pointed, Failure> {
        let Ready { dialect, table, .. } = ready;
        let is_asked = |index: usize| {
            table.layout.fields.iter().enumerate().any(|(at, field)| {
                matches!(field.source, Source::Related { relation, .. } if relation == index)
                    && fields.is_none_or(|fields| fields.contains(&at))
            })
        };
        let mut pointed = Pointed::default();
        let mut is_missing = false;
        for (index, related) in table.layout.related.iter().enumerate() {
            let mut by_key = HashMap::new();
            if is_asked(index) {
                let keys: BTreeSet<String> =
                    rows.iter().filter_map(|row| row.points_to(related.from).into_key()).collect();
                let keys: Vec<&str> =
                    keys.iter().map(String::as_str).filter(|key| related.table.key_kind.admits(key)).collect();
                for keys in keys.chunks(KEYS_PER_FETCH) {
                    let rows = self
                        .patiently(|| async {
                            let rows = dialect.fetch(&related.table, &related.fetch, keys).await;
                            rows.map_err(|error| self.failure(&**dialect, &error))
                        })
                        .await?;
                    let observed = rows
                        .into_iter()
                        .map(|row| (row.key.clone(), observe(&related.table, row, None, &Pointed::default())));
                    by_key.extend(observed);
                }
                is_missing |= keys.iter().any(|key| !by_key.contains_key(*key));
            }
            pointed.rows.push(by_key);
        }
        if is_missing {
            let clock = || async { dialect.clock().await.map_err(|error| self.failure(&**dialect, &error)) };
            pointed.missing_at = Some(self.patiently(clock).await?);
        }
        Ok(pointed)
    }
}

/// A field of the record that a row points to. It is dated by the younger of both, for either may have brought the value: the
/// record changed, or the row points to another. Where it is gone, by when that was seen.
pub(super) fn cell_of(
    pointed: &Pointed,
    relation: usize,
    from: &RowPointsTo,
    field: usize,
    modified: Option<Timestamp>,
) -> Cell {
    // A relation that was not asked for.
    let Some(rows) = pointed.rows.get(relation) else { return Cell::default() };
    match from {
        RowPointsTo::Unknown => Cell::default(),
        RowPointsTo::Nothing => Cell { modified, ..Cell::absent() },
        RowPointsTo::Key(key) => match rows.get(key) {
            None => Cell { modified: pointed.missing_at.max(modified), ..Cell::absent() },
            Some(row) => {
                let cell = row.cells.get(field).cloned().unwrap_or_default();
                let dated = if cell.seen == Seen::Unseen { None } else { row.modified.max(modified) };
                Cell { modified: dated, ..cell }
            }
        },
    }
}

/// What a row's column says about the record that it points to.
pub(super) enum RowPointsTo {
    Key(String),
    Nothing,
    /// What is there is no text.
    Unknown,
}

impl RowPointsTo {
    fn into_key(self) -> Option<String> {
        if let Self::Key(key) = self { Some(key) } else { None }
    }
}

/// Whether values of two columns can be compared: databases refuse to, or find nothing, where types differ.
pub(super) fn check_types(
    settings: &Settings,
    label: &super::fault::Label,
    related: &Related,
    from: &table::Slot,
) -> Result<(), Failure> {
    let group = |native: Native| match native {
        Native::Integer | Native::Number | Native::BooleanAsNumber => Some(0),
        Native::Text | Native::Word => Some(1),
        Native::Uuid => Some(2),
        _ => None,
    };
    let Layout { key, .. } = &related.table.layout;
    let (one, other) = (group(from.column.native), group(key.column.native));
    if one.is_none() || other.is_none() || one == other {
        return Ok(());
    }
    let why = format!(
        "`{}` of `{}` is of type {}, and `{}` of `{}`, which it points to, of type {}",
        from.column.name,
        settings.table,
        from.column.declared,
        key.column.name,
        settings.relations[&related.name].table,
        key.column.declared
    );
    Err(misconfigured(label, why, &format!("correct [crm.{}.relation.{}]", settings.name, related.name)))
}
