//! The configuration held against the schema: which columns there are, what the fields can hold, and what is unusual.

use std::collections::BTreeMap;

use super::cells::Codec;
use super::dialect::{Column, Dialect, Inspection, Native, Relation, Sample, misconfigured};
use super::fault::Label;
use super::related::{self, Found, Related};
use super::times::{self, TextStyle, Times, Unit};
use super::{FieldWanted, ModifiedBy, Settings};
use crate::connector::names::nearest;
use crate::model::{Definition, DefinitionState, Failure, FieldShape, FieldType, Holds};

/// The most names that a message lists.
const NAMES_LISTED_MAX: usize = 30;

/// What the schema says about the table, checked against the configuration.
#[derive(Debug)]
pub(super) struct Layout {
    /// The table, quoted.
    pub(super) quoted: String,
    pub(super) key: Slot,
    pub(super) modified: Slot,
    /// The column that marks rows as gone.
    pub(super) deleted: Option<Slot>,
    /// The columns that are read and written, each once.
    pub(super) slots: Vec<Slot>,
    pub(super) fields: Vec<Field>,
    /// The tables that rows point to.
    pub(super) related: Vec<Related>,
    /// A view: its indexes are those of other tables, which are not looked at.
    pub(super) is_view: bool,
    /// Whether an index makes keys unique.
    pub(super) key_is_unique: bool,
    /// Whether an index leads to the rows of a window.
    pub(super) modified_is_indexed: bool,
    /// Whether something of the database's own may run when a row is updated; none where nobody can tell.
    pub(super) updates_run: Option<bool>,
}

/// A column that SQL texts name.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) quoted: String,
    pub(super) column: Column,
    /// The type that text is cast to on its way into the column.
    pub(super) cast: Option<String>,
}

/// One field of the connector.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) source: Source,
    pub(super) codec: Codec,
    /// What clears the field: null, or the empty text where null is not allowed.
    pub(super) cleared: Option<String>,
    pub(super) state: DefinitionState,
}

impl Field {
    /// Whether it can be written.
    pub(super) fn is_writable(&self) -> bool {
        matches!(&self.state, DefinitionState::Usable(shape) if shape.writable)
    }

    fn unusable(sentence: String) -> Self {
        let state = DefinitionState::Unusable(sentence);
        Self { source: Source::Nowhere, codec: Codec::Plain, cleared: None, state }
    }
}

/// Where a field's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The key itself.
    Key,
    /// One of the slots.
    Slot(usize),
    /// A field of the record that the row points to.
    Related { relation: usize, field: usize },
    /// The field cannot be used.
    Nowhere,
}

/// Everything about a table that reads and writes need.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) layout: Layout,
    pub(super) key_kind: KeyKind,
    pub(super) times: Times,
    /// Whether our writes set the modified column.
    pub(super) sets_modified: bool,
}

impl Table {
    /// The definitions of the fields, in their order.
    pub(super) fn definitions(&self) -> Vec<Definition> {
        self.layout.fields.iter().map(|field| Definition { id: None, state: field.state.clone() }).collect()
    }
}

/// What keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Integer,
    Text,
    Uuid,
}

impl KeyKind {
    /// Whether a record can have this key, spelled as the database spells it.
    pub(super) fn admits(self, key: &str) -> bool {
        match self {
            Self::Text => !key.contains('\0'),
            Self::Integer => key.parse::<i64>().is_ok_and(|number| number.to_string() == key),
            Self::Uuid => {
                key.len() == 36
                    && key.bytes().enumerate().all(|(index, byte)| match index {
                        8 | 13 | 18 | 23 => byte == b'-',
                        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                    })
            }
        }
    }
}

/// Holds the configuration against the schema.
///
/// # Errors
/// When the table, its key, its modified or its deleted column is not there. A field whose column is missing is only
/// unusable itself.
pub(super) fn check(
    settings: &Settings,
    label: &Label,
    dialect: &dyn Dialect,
    inspected: &Inspection,
    mut found: BTreeMap<String, Found>,
) -> Result<Layout, Failure> {
    let Some(relation) = &inspected.relation else {
        let why = format!("there is no table `{}`, or this user may not read it", settings.table);
        let next = format!(
            "{}set `table` to one of: {}",
            suggestion(&settings.table, &inspected.tables),
            listed(&inspected.tables)
        );
        return Err(misconfigured(label, why, &next));
    };
    let find = |name: &str| relation.columns.iter().find(|column| dialect.same_name(name, &column.name));
    let slot = |column: &Column, kind: FieldType| Slot {
        quoted: dialect.quote(&column.name),
        column: column.clone(),
        cast: cast(column, kind),
    };
    let required = |setting: &str, name: &str| {
        let column = find(name).ok_or_else(|| {
            let missing = missing_column(relation, &settings.table, name);
            misconfigured(label, missing, &format!("correct `{setting}`"))
        })?;
        Ok(slot(column, FieldType::String))
    };
    let key = required("key", &settings.key)?;
    let modified = required("modified", &settings.modified)?;
    let deleted = settings.deleted.as_deref().map(|name| required("deleted", name)).transpose()?;

    let mut slots: Vec<Slot> = Vec::new();
    let mut related: Vec<Related> = Vec::new();
    let mut fields = Vec::with_capacity(settings.fields.len());
    for (index, wanted) in settings.fields.iter().enumerate() {
        let name = wanted.name.as_str();
        if name == "@key" {
            let shape = FieldShape { writable: false, clearable: false, ..FieldShape::TEXT };
            let state = DefinitionState::Usable(shape);
            fields.push(Field { source: Source::Key, codec: Codec::Plain, cleared: None, state });
            continue;
        }
        let Some(column) = find(name) else {
            fields.push(match name.split_once('.') {
                Some((pointer, _)) => {
                    let of_pointer =
                        |field: &&FieldWanted| field.name.split_once('.').is_some_and(|(other, _)| other == pointer);
                    let at = settings.fields[..index].iter().filter(of_pointer).count();
                    related_field(label, (pointer, at), &mut found, &mut related)
                }
                None => {
                    let missing = missing_column(relation, &settings.table, name);
                    Field::unusable(format!("{label}: {missing}; correct the mapping's `crm`"))
                }
            });
            continue;
        };
        let Some((holds, codec)) = representation(column.native, wanted.kind) else {
            fields.push(Field::unusable(format!(
                "{label}: column `{}` of `{}` is of type {}, which is not supported; map a column of text, numbers, \
                 dates or booleans",
                column.name, settings.table, column.declared
            )));
            continue;
        };
        let empty_clears = column.native == Native::Text;
        let ours = column.name != key.column.name && column.name != modified.column.name;
        let shape = FieldShape {
            holds,
            max_chars: column.max_chars,
            writable: column.writable && ours,
            clearable: column.nullable || empty_clears,
            refuses_nul: dialect.refuses_nul(),
        };
        slots.push(slot(column, wanted.kind));
        fields.push(Field {
            source: Source::Slot(slots.len() - 1),
            codec,
            cleared: (!column.nullable && empty_clears).then(String::new),
            state: DefinitionState::Usable(shape),
        });
    }
    for related in &mut related {
        let from = required(&format!("relation.{}.from", related.name), &settings.relations[&related.name].from)?;
        related::check_types(settings, label, related, &from)?;
        related.from_is_indexed = relation.indexed.contains(&from.column.name);
        related.from = slots.len();
        slots.push(from);
    }
    Ok(Layout {
        quoted: relation.quoted.clone(),
        is_view: relation.is_view,
        key_is_unique: relation.unique.contains(&key.column.name),
        modified_is_indexed: relation.indexed.contains(&modified.column.name),
        updates_run: relation.updates_run,
        key,
        modified,
        deleted,
        slots,
        fields,
        related,
    })
}

/// A field of a relation, by its place among those that name it: in that order they were looked at.
fn related_field(
    label: &Label,
    (pointer, at): (&str, usize),
    found: &mut BTreeMap<String, Found>,
    related: &mut Vec<Related>,
) -> Field {
    let known = related.iter().position(|related| related.name == pointer);
    let relation = match (known, found.remove(pointer)) {
        (Some(relation), _) => relation,
        (None, Some(Found::Usable(usable))) => {
            related.push(*usable);
            related.len() - 1
        }
        (None, Some(Found::Unreadable(why))) => {
            let field = Field::unusable(why.clone());
            found.insert(pointer.to_owned(), Found::Unreadable(why));
            return field;
        }
        (None, None) => {
            return Field::unusable(format!("{label}: there is no [crm.{}.relation.{pointer}]; add it", label.name));
        }
    };
    let field = &related[relation].table.layout.fields[at];
    let state = match &field.state {
        DefinitionState::Usable(shape) => {
            DefinitionState::Usable(FieldShape { writable: false, clearable: false, ..shape.clone() })
        }
        other => other.clone(),
    };
    let source = Source::Related { relation, field: at };
    Field { source, codec: Codec::Plain, cleared: None, state }
}

impl Layout {
    /// Adds what the rows showed, and the sentences for the operator.
    ///
    /// # Errors
    /// When keys are of a kind that we cannot page by or not unique, or the modified column holds no times.
    pub(super) fn finish(
        self,
        settings: &Settings,
        label: &Label,
        sample: Sample,
    ) -> Result<(Table, Vec<String>), Failure> {
        let table = &settings.table;
        let (key, modified) = (&settings.key, &settings.modified);
        let (integers, texts, others) = sample.keys;
        let key_kind = match self.key.column.native {
            Native::Integer if !texts && !others => KeyKind::Integer,
            Native::Text if !others => KeyKind::Text,
            Native::Uuid => KeyKind::Uuid,
            Native::Anything if integers && !texts && !others => KeyKind::Integer,
            Native::Anything if !integers && !others => KeyKind::Text,
            Native::Number if !texts && !others => KeyKind::Integer,
            _ => {
                let why = format!("the key column `{key}` of `{table}` holds neither integers, nor text, nor UUIDs");
                return Err(misconfigured(label, why, "set `key` to a column that does"));
            }
        };
        if sample.duplicate_keys {
            let why = format!("several rows of `{table}` have one and the same `{key}`");
            return Err(misconfigured(label, why, "set `key` to a column that is unique"));
        }
        let Some(times) = self.times(&sample) else {
            let why = format!("the column `{modified}` of `{table}` holds no times");
            let next = "set `modified` to a column of timestamps, RFC 3339 text, `YYYY-MM-DD HH:MM:SS` text in UTC, or \
                        unix seconds (whole days are too coarse)";
            return Err(misconfigured(label, why, next));
        };
        let mut warnings = Vec::new();
        let mut warn = |sentence: String| warnings.push(format!("{label}: {sentence}"));
        if !self.key_is_unique && !self.is_view {
            warn(format!(
                "no unique index is on `{key}` of `{table}`: reads by key are slow, and a second row with the same key would stop this source; create one"
            ));
        }
        if !self.modified_is_indexed && !self.is_view {
            warn(format!("no index is on `{modified}` of `{table}`: every poll reads the whole table; create one"));
        }
        for related in self.related.iter().filter(|related| !related.from_is_indexed && !self.is_view) {
            let from = &self.slots[related.from].column.name;
            warn(format!(
                "no index is on `{from}` of `{table}`: every poll reads the whole table for who points to `{}`; create one",
                related.name
            ));
        }
        if sample.without_time {
            warn(format!("`{table}` has rows without `{modified}`: every poll reads them again; fill it in"));
        }
        if times == Times::Local {
            warn(format!(
                "`{modified}` of `{table}` has no time zone: its times are taken as UTC; if they are not, changes are found late"
            ));
        }
        for column in &sample.unreadable {
            warn(format!("`{column}` of `{table}` holds values that are no text: these are not compared or written"));
        }
        let sets_modified = settings.modified_by == ModifiedBy::Attune;
        Ok((Table { layout: self, key_kind, times, sets_modified }, warnings))
    }

    /// Why writes would not be dated, in a sentence: nobody sets the modified column, or we may not.
    pub(super) fn undated_writes(&self, settings: &Settings, label: &Label) -> Option<String> {
        if !self.fields.iter().any(Field::is_writable) {
            return None;
        }
        let (table, modified) = (&settings.table, &settings.modified);
        match settings.modified_by {
            ModifiedBy::Attune if !self.modified.column.writable => Some(format!(
                "{label}: `{modified}` of `{table}` cannot be written by this user, and Attune sets it with every write: all \
                 writes would be refused; grant UPDATE on it, or set modified_by = \"database\" if the database sets it"
            )),
            ModifiedBy::Database if self.updates_run == Some(false) => Some(format!(
                "{label}: modified_by = \"database\", but `{table}` has no trigger for updates, so nobody sets `{modified}` on \
                 our writes; create one, or take `modified_by` out"
            )),
            _ => None,
        }
    }

    /// How the modified column holds times; none if it does not.
    fn times(&self, sample: &Sample) -> Option<Times> {
        let column = &self.modified.column;
        let when_empty = match column.native {
            Native::Instant => return Some(Times::Instant),
            Native::LocalTime => return Some(Times::Local),
            Native::Integer => Times::Unix(Unit::Seconds),
            Native::Number => Times::Unix(Unit::FractionalSeconds),
            Native::Text | Native::Anything => {
                let sql_style = column.defaults_to_now || !column.declared.to_ascii_uppercase().contains("TEXT");
                Times::Text(if sql_style { TextStyle::SQL } else { TextStyle::RFC_3339 })
            }
            _ => return None,
        };
        times::style_of(&sample.times, when_empty)
    }
}

/// What a field holds in a column, and how texts correspond; none if it cannot be held.
fn representation(native: Native, kind: FieldType) -> Option<(Holds, Codec)> {
    Some(match (native, kind) {
        (Native::Unsupported, _) => return None,
        (Native::BooleanAsNumber, FieldType::Number) => (Holds::Integer, Codec::Number),
        (Native::BooleanAsNumber, _) | (Native::Integer | Native::Number | Native::Anything, FieldType::Boolean) => {
            (Holds::Boolean, Codec::BooleanAsNumber)
        }
        (Native::Integer, _) => (Holds::Integer, Codec::Number),
        (Native::Number, _) | (Native::Anything, FieldType::Number) => (Holds::Number, Codec::Number),
        (Native::Boolean, _) => (Holds::Boolean, Codec::Plain),
        (Native::Date, _) => (Holds::Date, Codec::Plain),
        (Native::Instant | Native::LocalTime, _) => (Holds::Instant, Codec::Instant),
        (Native::Text | Native::Word | Native::Uuid | Native::Anything, _) => (Holds::Text, Codec::Plain),
    })
}

/// The type that text is cast to on its way into a column.
fn cast(column: &Column, kind: FieldType) -> Option<String> {
    match (column.native, kind) {
        (Native::Anything, FieldType::Number | FieldType::Boolean) => Some("NUMERIC".to_owned()),
        _ => column.cast.clone(),
    }
}

fn missing_column(relation: &Relation, table: &str, name: &str) -> String {
    let names: Vec<String> = relation.columns.iter().map(|column| column.name.clone()).collect();
    format!(
        "table `{table}` has no column `{name}`, or this user may not read it ({}it has {})",
        suggestion(name, &names),
        listed(&names)
    )
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut text: Vec<String> = names.iter().take(NAMES_LISTED_MAX).map(|name| format!("`{name}`")).collect();
    if names.len() > NAMES_LISTED_MAX {
        text.push(format!("and {} more", names.len() - NAMES_LISTED_MAX));
    }
    text.join(", ")
}

/// `did you mean …? `, where a name is near enough.
fn suggestion(name: &str, names: &[String]) -> String {
    let near = nearest(name, names.iter().map(String::as_str));
    near.map_or_else(String::new, |near| format!("did you mean `{near}`? "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let names = ["job_title".to_owned(), "email".to_owned()];
        assert_eq!(suggestion("job_titel", &names), "did you mean `job_title`? ");
        assert_eq!(suggestion("Email", &names), "did you mean `email`? ");
        assert_eq!(suggestion("wholesaler", &names), "");
    }

    #[test]
    fn keys_are_admitted_as_the_database_spells_them() {
        assert!(KeyKind::Integer.admits("-7"));
        assert!(!KeyKind::Integer.admits("007"));
        assert!(!KeyKind::Integer.admits("abc"));
        assert!(KeyKind::Uuid.admits("0193e6a4-0000-7000-8000-000000000001"));
        assert!(!KeyKind::Uuid.admits("0193E6A4-0000-7000-8000-000000000001"));
        assert!(KeyKind::Text.admits("anything"));
    }
}
