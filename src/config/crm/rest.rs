//! `kind = "rest"`: a JSON or OData v4 API that the configuration describes, on top of a profile where one fits.

use std::collections::BTreeMap;

use super::rest_settings::{RestAuth, RestSettings};
use super::rest_templates as templates;
use super::{crm, keys};
use crate::config::reader::{Fields, Reader};
use crate::config::tree::{self, Node, Value};
use crate::config::{Crm, CrmKind, file, secret, url};
use crate::model::{
    Api, ApiBody, ApiCreate, ApiDelete, ApiKeyIs, ApiList, ApiPaging, ApiRead, ApiWrite, Direction, FieldRule, Holds,
};

const KEYS: [&str; 21] = [
    "profile",
    "url",
    "auth",
    "collection",
    "key",
    "key_is",
    "modified",
    "created",
    "deleted",
    "related_modified",
    "etag",
    "time",
    "clear",
    "omits_nulls",
    "types",
    "headers",
    "list",
    "read",
    "write",
    "create",
    "delete",
];

/// The tables in which single keys of a profile are overridden.
const DEEP: [&str; 7] = ["headers", "types", "list", "read", "write", "create", "delete"];

/// The profiles that come with the program.
const PROFILES: [(&str, &str); 4] = [
    ("dataverse", include_str!("../../../config/profiles/dataverse.toml")),
    ("directus", include_str!("../../../config/profiles/directus.toml")),
    ("nocodb", include_str!("../../../config/profiles/nocodb.toml")),
    ("odata", include_str!("../../../config/profiles/odata.toml")),
];

const HOLDS: [(&str, Holds); 7] = [
    ("text", Holds::Text),
    ("number", Holds::Number),
    ("integer", Holds::Integer),
    ("boolean", Holds::Boolean),
    ("date", Holds::Date),
    ("instant", Holds::Instant),
    ("list", Holds::List),
];

/// Headers that hold a secret: they belong into `auth`.
const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "xc-token"];

/// Reads one.
pub(super) fn read(reader: &Reader, name: &str, node: &Node) -> Option<Crm> {
    let node = &with_profile(reader, node)?;
    let fields = reader.table(node, &keys(&KEYS))?;
    let url = fields
        .require("url", "the address of the API, such as \"https://crm.example.com/api\"")
        .and_then(|node| url::read_api(reader, node));
    let auth = fields
        .require("auth", "how to log in, such as { header = \"Authorization\", prefix = \"Bearer \", secret = { credential = \"crm\" } }")
        .and_then(|node| auth(reader, node));
    let list =
        fields.require("list", "how records are listed, or profile = \"NAME\"").and_then(|node| list(reader, node));
    let read = fields.get("read").and_then(|node| read_one(reader, node));
    let write = fields.get("write").and_then(|node| write(reader, node));
    let create = fields.get("create").and_then(|node| create(reader, node));
    let delete = fields.get("delete").and_then(|node| delete(reader, node));
    let name_of = |key: &str| fields.get(key).and_then(|node| optional(reader, node));
    let api = Api {
        collection: name_of("collection"),
        key: fields.get_or("key", "id".to_owned(), |node| reader.text(node)),
        key_is: fields.get_or("key_is", ApiKeyIs::default(), |node| {
            reader.word(node, &[("text", ApiKeyIs::Text), ("number", ApiKeyIs::Number), ("uuid", ApiKeyIs::Uuid)])
        }),
        modified: name_of("modified"),
        created: name_of("created"),
        deleted: fields.get("deleted").and_then(|node| deleted(reader, node)),
        related_modified: name_of("related_modified"),
        etag: name_of("etag"),
        time: fields.get_or("time", "%Y-%m-%dT%H:%M:%SZ".to_owned(), |node| time(reader, node)),
        clears_with_empty: fields.get_or("clear", false, |node| reader.word(node, &[("null", false), ("empty", true)])),
        omits_nulls: fields.get_or("omits_nulls", false, |node| reader.boolean(node)),
        types: fields.get("types").map_or_else(BTreeMap::new, |node| types(reader, node)),
        headers: headers(reader, &fields),
        list: list?,
        read,
        write,
        create,
        delete,
    };
    whole(reader, node, &api);
    let settings = RestSettings { url: url?, auth: auth?, api };
    Some(crm(reader, name, CrmKind::Rest(Box::new(settings)), &fields))
}

/// The table with what its profile says underneath.
fn with_profile(reader: &Reader, node: &Node) -> Option<Node> {
    let Some(profile) = reader.open_table(node)?.get("profile") else { return Some(node.clone()) };
    let words: Vec<(&str, (&str, &str))> = PROFILES.iter().map(|profile| (profile.0, *profile)).collect();
    let (name, text) = reader.word(profile, &words)?;
    let base = file::parse(&format!("profile {name}"), text, &node.path)
        .map_err(|problem| reader.problem(profile, problem.to_string()))
        .ok()?;
    Some(tree::overlay(&base, node, &DEEP))
}

/// What belongs together is there.
fn whole(reader: &Reader, node: &Node, api: &Api) {
    if api.list.keys.is_none() && api.read.is_none() {
        reader.problem(
            node,
            "records cannot be read by their keys: add `keys` to `list` (a condition on several keys), or `read` with the `path` of one record",
        );
    }
    let uses_collection = |text: &str| text.contains("{collection}");
    let paths = [
        Some(&api.list.path),
        api.write.as_ref().map(|write| &write.path),
        api.create.as_ref().map(|create| &create.path),
        api.delete.as_ref().map(|delete| &delete.path),
    ];
    if api.collection.is_none() && paths.into_iter().flatten().any(|path| uses_collection(path)) {
        reader.problem(
            node,
            "`collection` is missing: what the API calls the table of contacts, for {collection} in the paths",
        );
    }
    for (role, field) in [("modified", &api.modified), ("created", &api.created)] {
        if field.as_ref() == Some(&api.key) {
            reader.problem(node, format!("`key` and `{role}` name the same field: each needs its own"));
        }
    }
    if api.list.since.is_some() && api.modified.is_none() && api.created.is_none() {
        reader.problem(
            node,
            "`since` of `list` asks since when, and neither `modified` nor `created` names a field with a time",
        );
    }
    if api.etag.is_some() && api.write.as_ref().is_some_and(|write| write.body == ApiBody::Array) {
        reader.problem(node, "`etag` makes writes conditional, and a list of records has no place for conditions: set body = \"record\" in `write`, or etag = \"\"");
    }
}

/// Text, or nothing where it is empty: that takes out what a profile has.
fn optional(reader: &Reader, node: &Node) -> Option<String> {
    match reader.any_text(node, "text in quotes")? {
        "" => None,
        _ => reader.text(node),
    }
}

fn auth(reader: &Reader, node: &Node) -> Option<RestAuth> {
    let fields = reader.table(node, &["header", "prefix", "user", "token_url", "client_id", "scope", "secret"])?;
    let secret = fields
        .require("secret", "where it is found, such as { credential = \"crm\" }")
        .and_then(|node| secret::read(reader, node));
    let ways = ["header", "user", "token_url"];
    let given: Vec<&str> = ways.into_iter().filter(|way| fields.get(way).is_some()).collect();
    let text = |key: &str| fields.get(key).and_then(|node| reader.text(node));
    match given[..] {
        ["header"] => {
            let header = fields.get("header").and_then(|node| header_name(reader, node));
            let prefix = fields.get_or("prefix", String::new(), |node| {
                reader.any_text(node, "text in quotes, such as \"Bearer \"").map(str::to_owned)
            });
            Some(RestAuth::Header { header: header?, prefix, secret: secret? })
        }
        ["user"] => Some(RestAuth::Basic { user: text("user")?, secret: secret? }),
        ["token_url"] => {
            let token_url = fields.get("token_url").and_then(|node| url::read_api(reader, node));
            let client_id = fields.require("client_id", "the client's name").and_then(|node| reader.text(node));
            Some(RestAuth::OAuth {
                token_url: token_url?,
                client_id: client_id?,
                secret: secret?,
                scope: text("scope"),
            })
        }
        _ => {
            reader.problem(
                node,
                "expected exactly one of `header` (a secret in a header, perhaps with `prefix`), `user` (a user and a password) \
                 and `token_url` (OAuth 2.0, with `client_id` and perhaps `scope`), beside `secret`",
            );
            None
        }
    }
}

fn header_name(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    let sound = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !sound {
        reader.problem(node, "not the name of a header: expected letters, digits and `-`, such as \"X-Api-Key\"");
    }
    sound.then_some(text)
}

fn headers(reader: &Reader, fields: &Fields<'_, '_>) -> BTreeMap<String, String> {
    let Some(table) = fields.get("headers").and_then(|node| reader.open_table(node)) else { return BTreeMap::new() };
    let mut headers = BTreeMap::new();
    for (name, node) in table.entries {
        if SECRET_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            reader.problem(node, "this header holds a secret, which never stands in a file: give it as `auth`");
        } else if let Some(text) = optional(reader, node) {
            if !text.is_ascii() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
                reader.problem(node, "no header can hold this: expected plain letters, digits and signs");
            }
            headers.insert(name.clone(), text);
        }
    }
    headers
}

fn deleted(reader: &Reader, node: &Node) -> Option<(String, Vec<String>)> {
    let Value::Table(_) = node.value else { return Some((reader.text(node)?, Vec::new())) };
    let fields = reader.table(node, &["field", "values"])?;
    let field = fields.require("field", "the field that says that a record is gone").and_then(|node| reader.text(node));
    let values = fields.get("values").and_then(|node| reader.list(node, "a list of texts, such as [\"archived\"]"));
    let values = values.unwrap_or_default().iter().filter_map(|node| reader.text(node)).collect();
    Some((field?, values))
}

fn time(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if jiff::fmt::strtime::format(&text, jiff::Timestamp::UNIX_EPOCH).is_err() {
        reader.problem(
            node,
            "not a form of times: expected one such as \"%Y-%m-%dT%H:%M:%SZ\", or \"%s\" for unix seconds",
        );
        return None;
    }
    Some(text)
}

fn types(reader: &Reader, node: &Node) -> BTreeMap<String, Holds> {
    let Some(table) = reader.open_table(node) else { return BTreeMap::new() };
    table.entries.iter().filter_map(|(name, node)| Some((name.clone(), reader.word(node, &HOLDS)?))).collect()
}

/// A place in an answer; the whole is "".
fn pointer(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.any_text(node, "a JSON pointer in quotes, such as \"/data\"")?;
    if !text.is_empty() && !text.starts_with('/') {
        reader.problem(node, "not a JSON pointer: expected one such as \"/data/items\", or \"\" for the whole answer");
        return None;
    }
    Some(text.to_owned())
}

fn statuses(reader: &Reader, fields: &Fields<'_, '_>, key: &str, default: &[u16]) -> Vec<u16> {
    let Some(node) = fields.get(key) else { return default.to_vec() };
    let items = reader.list(node, "a list of statuses, such as [404, 410]").unwrap_or_default();
    items.iter().filter_map(|node| u16::try_from(reader.whole(node, 400..=599)?).ok()).collect()
}

fn list(reader: &Reader, node: &Node) -> Option<ApiList> {
    const LIST: [&str; 23] = [
        "path",
        "query",
        "records",
        "page_size",
        "paging",
        "after",
        "next",
        "cursor",
        "total",
        "filter",
        "and",
        "since",
        "since_related",
        "any",
        "or",
        "keys",
        "each",
        "between",
        "keys_max",
        "expand",
        "relation",
        "between_relations",
        "headers",
    ];
    let fields = reader.table(node, &LIST)?;
    let template =
        |key: &str| fields.get(key).and_then(|node| templates::read(reader, node, key)).filter(|text| !text.is_empty());
    let or = |key: &str, default: &str| {
        fields.get(key).and_then(|node| templates::read(reader, node, key)).unwrap_or_else(|| default.to_owned())
    };
    let place = |key: &str| fields.get(key).and_then(|node| pointer(reader, node)).filter(|text| !text.is_empty());
    let path = fields
        .require("path", "where records are listed, such as \"/items/{collection}\"")
        .and_then(|node| templates::path(reader, node, "path"));
    let total = place("total");
    let paging = fields.require("paging", "`key`, `page`, `offset`, `cursor`, `link` or `next`").and_then(|node| {
        let needs = |key: &str, what: &str| fields.require(key, what).is_some();
        match reader.word(node, &["key", "page", "offset", "cursor", "link", "next"].map(|word| (word, word)))? {
            "key" if needs("after", "the condition that a key comes after {key}, such as \"id>{key}\"") => {
                Some(ApiPaging::Key { after: template("after")?, next: place("next") })
            }
            // Records that are deleted meanwhile move others to pages that were read: only counting tells.
            "page" if needs("total", "where the answer says how many records there are, such as \"/meta/total\"") => {
                Some(ApiPaging::Page)
            }
            "offset" => Some(ApiPaging::Offset),
            "cursor"
                if needs("next", "where the answer has the token")
                    & needs("cursor", "what the query then has, such as \"&cursor={cursor}\"") =>
            {
                Some(ApiPaging::Cursor { pointer: place("next")?, query: template("cursor")? })
            }
            "link" => Some(ApiPaging::Link),
            "next" if needs("next", "where the answer has the address, such as \"/@odata.nextLink\"") => {
                Some(ApiPaging::Next { pointer: place("next")? })
            }
            _ => None,
        }
    });
    let number = |key: &str, default: u64, least: u64, most: u64| {
        size(fields.get_or(key, default, |node| reader.whole(node, least..=most)))
    };
    Some(ApiList {
        query: or("query", ""),
        records: fields.get_or("records", String::new(), |node| pointer(reader, node)),
        page_size: number("page_size", 100, 2, 10_000),
        total,
        filter: or("filter", "&{conditions}"),
        and: or("and", "&"),
        since: template("since"),
        since_related: template("since_related"),
        any: or("any", "({conditions})"),
        or: or("or", " or "),
        keys: template("keys"),
        each: or("each", "{key}"),
        between: or("between", ","),
        keys_max: number("keys_max", 50, 1, 1000),
        expand: template("expand"),
        relation: or("relation", "{relation}"),
        between_relations: or("between_relations", ","),
        headers: headers(reader, &fields),
        path: path?,
        paging: paging?,
    })
}

fn read_one(reader: &Reader, node: &Node) -> Option<ApiRead> {
    let fields = reader.table(node, &["path", "query", "record", "missing", "headers"])?;
    let path = fields
        .require("path", "where one record is, such as \"/contacts/{key}\"")
        .and_then(|node| templates::path(reader, node, "record_path"));
    Some(ApiRead {
        query: fields.get("query").and_then(|node| templates::read(reader, node, "record_query")).unwrap_or_default(),
        record: fields.get_or("record", String::new(), |node| pointer(reader, node)),
        missing: statuses(reader, &fields, "missing", &[404, 410]),
        headers: headers(reader, &fields),
        path: path?,
    })
}

fn write(reader: &Reader, node: &Node) -> Option<ApiWrite> {
    let known = ["method", "path", "query", "body", "batch", "batch_path", "records", "missing", "refused", "headers"];
    let fields = reader.table(node, &known)?;
    let kind = fields
        .get_or("body", "record", |node| reader.word(node, &["record", "array", "batch"].map(|word| (word, word))));
    let what = if kind == "array" { "path" } else { "record_path" };
    let path = fields
        .require("path", "where records are written, such as \"/contacts/{key}\"")
        .and_then(|node| templates::path(reader, node, what));
    let body = match kind {
        "array" => ApiBody::Array,
        "batch" => ApiBody::Batch(
            fields.get_or("batch_path", "/$batch".to_owned(), |node| templates::path(reader, node, "path")),
        ),
        _ => ApiBody::Record,
    };
    Some(ApiWrite {
        method: fields.get_or("method", "PATCH".to_owned(), |node| {
            reader.word(node, &["PATCH", "PUT", "POST"].map(|word| (word, word))).map(str::to_owned)
        }),
        query: fields.get("query").and_then(|node| templates::read(reader, node, "record_query")).unwrap_or_default(),
        body,
        batch: size(fields.get_or("batch", 50, |node| reader.whole(node, 1..=1000))),
        records: fields.get("records").and_then(|node| pointer(reader, node)),
        missing: statuses(reader, &fields, "missing", &[404, 410]),
        refused: statuses(reader, &fields, "refused", &[]),
        headers: headers(reader, &fields),
        path: path?,
    })
}

fn create(reader: &Reader, node: &Node) -> Option<ApiCreate> {
    let fields = reader.table(node, &["path", "query", "record", "exists", "refused", "headers"])?;
    let path = fields
        .require("path", "where a record is made, such as \"/contacts\"")
        .and_then(|node| templates::path(reader, node, "path"));
    Some(ApiCreate {
        query: fields.get("query").and_then(|node| templates::read(reader, node, "create_query")).unwrap_or_default(),
        record: fields.get_or("record", String::new(), |node| pointer(reader, node)),
        exists: statuses(reader, &fields, "exists", &[409]),
        refused: statuses(reader, &fields, "refused", &[]),
        headers: headers(reader, &fields),
        path: path?,
    })
}

fn delete(reader: &Reader, node: &Node) -> Option<ApiDelete> {
    let fields = reader.table(node, &["path", "query", "missing", "headers"])?;
    let path = fields
        .require("path", "where a record is removed, such as \"/contacts/{key}\"")
        .and_then(|node| templates::path(reader, node, "record_path"));
    // A path without the key could be that of all records.
    if let Some(path) = &path
        && !["{key}", "{literal}", "{json}"].iter().any(|place| path.contains(place))
    {
        reader.problem(
            node,
            "`path` of `delete` has no place for the key of the record: add {key}, or {literal} for OData",
        );
        return None;
    }
    Some(ApiDelete {
        query: fields.get("query").and_then(|node| templates::read(reader, node, "record_query")).unwrap_or_default(),
        missing: statuses(reader, &fields, "missing", &[404, 410]),
        headers: headers(reader, &fields),
        path: path?,
    })
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Fields that would write what the connector itself needs.
pub(super) fn check(reader: &Reader, name: &str, settings: &RestSettings, rule: &FieldRule, node: &Node) {
    if rule.direction == Direction::ToStore {
        return;
    }
    if settings.api.write.is_none() {
        reader.problem(
            node,
            format!(
                "[crm.{name}] has no `write`, so that nothing is written there: set direction = \"to_store\", or add it"
            ),
        );
    }
    let deleted = settings.api.deleted.as_ref().map(|(field, _)| field);
    let taken = [
        ("key", Some(&settings.api.key)),
        ("modified", settings.api.modified.as_ref()),
        ("created", settings.api.created.as_ref()),
        ("deleted", deleted),
    ];
    for (role, field) in taken {
        if field == Some(&rule.crm) {
            reader.problem(
                node,
                format!(
                    "`{}` is the `{role}` field of [crm.{name}], and this field would write it: set direction = \"to_store\", \
                     or map another field",
                    rule.crm
                ),
            );
        }
    }
}
