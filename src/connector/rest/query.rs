//! Requests for pages and for keys, made of the templates of an API's description. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::template::{Fill, Template, separator};
use crate::connector::FieldWanted;
use crate::http::encoded;
use crate::model::{Api, ApiKeyIs, ApiPaging, Key, Timestamp};

/// The templates of one API, read once.
pub(super) struct Queries {
    key: String,
    key_is: ApiKeyIs,
    collection: String,
    /// All that is read of a record, encoded: fields of its own, and with dots those of related ones.
    fields: String,
    own_fields: String,
    dates: Vec<String>,
    related_modified: Option<String>,
    /// Relation → fields.
    relations: BTreeMap<String, BTreeSet<String>>,
    time: String,
    list_path: Template,
    list_query: Template,
    filter: Template,
    and: String,
    since: Option<Template>,
    since_related: Option<Template>,
    any: Template,
    or: String,
    after: Option<Template>,
    cursor: Option<Template>,
    keys: Option<Template>,
    each: Template,
    between: String,
    expand: String,
    read: Option<(Template, Template)>,
    write: Option<(Template, Template)>,
    create: Option<(Template, Template)>,
    delete: Option<(Template, Template)>,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start<'a> {
    pub(super) after: Option<&'a str>,
    pub(super) page: u64,
    pub(super) offset: u64,
    pub(super) cursor: Option<&'a str>,
}

impl Queries {
    pub(super) fn new(api: &Api, wanted: &[FieldWanted]) -> Self {
        let list = &api.list;
        let dates: Vec<String> = api.modified.iter().chain(&api.created).cloned().collect();
        let mut own = BTreeSet::from([api.key.clone()]);
        own.extend(dates.iter().cloned());
        own.extend(api.deleted.iter().map(|(field, _)| field.clone()));
        let mut relations: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for field in wanted {
            match field.name.split_once('.') {
                Some((relation, name)) => {
                    let fields = relations.entry(relation.to_owned()).or_default();
                    fields.insert(name.to_owned());
                    fields.extend(api.related_modified.clone());
                }
                None if field.name == "@key" => {}
                None => drop(own.insert(field.name.clone())),
            }
        }
        let own: Vec<String> = own.into_iter().collect();
        let dotted = relations
            .iter()
            .flat_map(|(relation, fields)| fields.iter().map(move |field| format!("{relation}.{field}")));
        let all: Vec<String> = own.iter().cloned().chain(dotted).collect();
        let (own_fields, all) = (names(&own.join(",")), names(&all.join(",")));
        let template = |text: &Option<String>| text.as_deref().map(Template::new);
        let pair = |path: &str, query: &str| (Template::new(path), Template::new(query));
        let expand = match &list.expand {
            Some(expand) if !relations.is_empty() => {
                let one = Template::new(&list.relation);
                let made: Vec<String> = relations
                    .iter()
                    .map(|(relation, fields)| {
                        let fields = fields.iter().cloned().collect::<Vec<_>>().join(",");
                        one.fill(&[("relation", Fill::Value(relation)), ("fields", Fill::Made(&names(&fields)))])
                    })
                    .collect();
                Template::new(expand)
                    .fill(&[("relations", Fill::Made(&made.join(&separator(&list.between_relations))))])
            }
            _ => String::new(),
        };
        Self {
            key: api.key.clone(),
            key_is: api.key_is,
            collection: api.collection.clone().unwrap_or_default(),
            fields: if list.expand.is_some() { own_fields.clone() } else { all },
            own_fields,
            dates,
            related_modified: api.related_modified.clone(),
            relations,
            time: api.time.clone(),
            list_path: Template::new(&list.path),
            list_query: Template::new(&list.query),
            filter: Template::new(&list.filter),
            and: separator(&list.and),
            since: template(&list.since),
            since_related: template(&list.since_related),
            any: Template::new(&list.any),
            or: separator(&list.or),
            after: match &list.paging {
                ApiPaging::Key { after, .. } => Some(Template::new(after)),
                _ => None,
            },
            cursor: match &list.paging {
                ApiPaging::Cursor { query, .. } => Some(Template::new(query)),
                _ => None,
            },
            keys: template(&list.keys),
            each: Template::new(&list.each),
            between: separator(&list.between),
            expand,
            read: api.read.as_ref().map(|read| pair(&read.path, &read.query)),
            write: api.write.as_ref().map(|write| pair(&write.path, &write.query)),
            create: api.create.as_ref().map(|create| pair(&create.path, &create.query)),
            delete: api.delete.as_ref().map(|delete| pair(&delete.path, &delete.query)),
        }
    }

    /// Whether a list can be asked for what changed since a time.
    pub(super) fn can_ask_since(&self) -> bool {
        self.since.is_some() && !self.dates.is_empty()
    }

    /// The path of lists.
    pub(super) fn list_path(&self) -> String {
        self.list_path.fill(&self.common())
    }

    /// The query for a page: what changed since, from there on.
    pub(super) fn page(&self, since: Option<Timestamp>, start: Start<'_>, limit: usize) -> String {
        let mut conditions: Vec<String> = since.into_iter().filter_map(|since| self.since(since)).collect();
        if let (Some(after), Some(template)) = (start.after, &self.after) {
            let (literal, json) = (self.literal(after), self.json(after));
            conditions.push(template.fill(&[
                ("field", Fill::Value(&self.key)),
                ("key", Fill::Value(after)),
                ("literal", Fill::Value(&literal)),
                ("json", Fill::Value(&json)),
            ]));
        }
        let mut query = self.list(&conditions, start, limit);
        if let (Some(cursor), Some(template)) = (start.cursor, &self.cursor) {
            query.push_str(&template.fill(&[("cursor", Fill::Value(cursor))]));
        }
        query
    }

    /// The query for these keys; none where lists cannot be asked for keys.
    pub(super) fn keys(&self, keys: &[&Key]) -> Option<String> {
        let template = self.keys.as_ref()?;
        let each: Vec<String> =
            keys.iter().map(|key| self.each.fill(&self.of(key.as_str(), &self.spelt(key)))).collect();
        let condition =
            template.fill(&[("field", Fill::Value(&self.key)), ("keys", Fill::Made(&each.join(&self.between)))]);
        Some(self.list(&[condition], Start { page: 1, ..Start::default() }, keys.len()))
    }

    /// Path and query of one record's read.
    pub(super) fn read(&self, key: &Key) -> Option<(String, String)> {
        self.with_key(self.read.as_ref()?, key)
    }

    /// Path and query of a write; of one record, where there is one.
    pub(super) fn write(&self, key: Option<&Key>) -> Option<(String, String)> {
        match key {
            Some(key) => self.with_key(self.write.as_ref()?, key),
            None => {
                let (path, query) = self.write.as_ref()?;
                let common = self.common();
                Some((path.fill(&common), query.fill(&common)))
            }
        }
    }

    /// Path and query of a creation.
    pub(super) fn create(&self) -> Option<(String, String)> {
        let (path, query) = self.create.as_ref()?;
        let common = self.common();
        Some((path.fill(&common), query.fill(&common)))
    }

    /// Path and query of a removal.
    pub(super) fn delete(&self, key: &Key) -> Option<(String, String)> {
        self.with_key(self.delete.as_ref()?, key)
    }

    /// Whether a record can have this key.
    pub(super) fn is_key(&self, key: &Key) -> bool {
        let text = key.as_str();
        match self.key_is {
            ApiKeyIs::Text => !text.is_empty(),
            ApiKeyIs::Number => text.parse::<i64>().is_ok_and(|number| number.to_string() == text),
            ApiKeyIs::Uuid => {
                let bytes = text.as_bytes();
                bytes.len() == 36
                    && bytes.iter().enumerate().all(|(place, byte)| match place {
                        8 | 13 | 18 | 23 => *byte == b'-',
                        _ => byte.is_ascii_hexdigit(),
                    })
            }
        }
    }

    /// A key as JSON.
    pub(super) fn json(&self, key: &str) -> String {
        match self.key_is {
            ApiKeyIs::Number => key.to_owned(),
            ApiKeyIs::Text | ApiKeyIs::Uuid => serde_json::Value::from(key).to_string(),
        }
    }

    /// A key as OData writes it.
    fn literal(&self, key: &str) -> String {
        match self.key_is {
            ApiKeyIs::Text => format!("'{}'", key.replace('\'', "''")),
            ApiKeyIs::Number | ApiKeyIs::Uuid => key.to_owned(),
        }
    }

    fn with_key(&self, (path, query): &(Template, Template), key: &Key) -> Option<(String, String)> {
        let spelt = self.spelt(key);
        let values = self.of(key.as_str(), &spelt);
        Some((path.fill(&values), query.fill(&values)))
    }

    fn spelt(&self, key: &Key) -> (String, String) {
        (self.literal(key.as_str()), self.json(key.as_str()))
    }

    fn of<'a>(&'a self, key: &'a str, (literal, json): &'a (String, String)) -> Vec<(&'a str, Fill<'a>)> {
        let mut values = self.common();
        values.extend([("key", Fill::Value(key)), ("literal", Fill::Value(literal)), ("json", Fill::Value(json))]);
        values
    }

    fn common(&self) -> Vec<(&str, Fill<'_>)> {
        vec![
            ("collection", Fill::Value(&self.collection)),
            ("field", Fill::Value(&self.key)),
            ("fields", Fill::Made(&self.fields)),
            ("own_fields", Fill::Made(&self.own_fields)),
        ]
    }

    /// The condition that something of the record changed at or after this time.
    fn since(&self, since: Timestamp) -> Option<String> {
        let template = self.since.as_ref()?;
        let at = written(since, &self.time);
        let mut one_of: Vec<String> = self
            .dates
            .iter()
            .map(|field| template.fill(&[("field", Fill::Value(field)), ("since", Fill::Value(&at))]))
            .collect();
        if let (Some(template), Some(field)) = (&self.since_related, &self.related_modified) {
            one_of.extend(self.relations.keys().map(|relation| {
                template.fill(&[
                    ("relation", Fill::Value(relation)),
                    ("field", Fill::Value(field)),
                    ("since", Fill::Value(&at)),
                ])
            }));
        }
        // A template without `{field}` is one condition for all of them.
        one_of.sort_unstable();
        one_of.dedup();
        match &one_of[..] {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(self.any.fill(&[("conditions", Fill::Made(&several.join(&self.or)))])),
        }
    }

    fn list(&self, conditions: &[String], start: Start<'_>, limit: usize) -> String {
        let (limit, page, offset) = (limit.to_string(), start.page.to_string(), start.offset.to_string());
        let mut values = self.common();
        values.extend([("limit", Fill::Value(&limit)), ("page", Fill::Value(&page)), ("offset", Fill::Value(&offset))]);
        let mut query = self.list_query.fill(&values);
        query.push_str(&self.expand);
        if !conditions.is_empty() {
            query.push_str(&self.filter.fill(&[("conditions", Fill::Made(&conditions.join(&self.and)))]));
        }
        query.trim_start_matches('&').to_owned()
    }
}

/// Names with commas between them: names are encoded, commas are not.
fn names(list: &str) -> String {
    list.split(',').map(encoded).collect::<Vec<_>>().join(",")
}

/// A time as the API wants it: never later than it is.
fn written(at: Timestamp, format: &str) -> String {
    let instant = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::MIN);
    // What `strftime` cuts off makes it earlier.
    jiff::fmt::strtime::format(format, instant).unwrap_or_else(|_| at.to_seconds_text())
}
