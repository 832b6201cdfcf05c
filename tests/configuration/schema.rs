//! The JSON Schema says what the reader says: the same tables, the same keys, the same words.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::load_text;

/// Each closed table of the schema: where it stands there, and a configuration that opens it, with `@` for what stands in it.
const TABLES: [(&str, &str); 39] = [
    ("", "@"),
    ("/properties/state", "[state]\n@"),
    ("/properties/state/properties/keep", "[state]\nkeep = { @ }"),
    ("/properties/server", "[server]\n@"),
    ("/properties/alerts", "[alerts]\n@"),
    ("/properties/log", "[log]\n@"),
    ("/properties/defaults", "[defaults]\n@"),
    ("/properties/defaults/properties/quota", "[defaults]\nquota = { @ }"),
    ("/properties/defaults/properties/sync/items", "[defaults]\nsync = [{ @ }]"),
    ("/$defs/store", "[store.a]\n@"),
    ("/$defs/store/properties/quota", "[store.a]\nquota = { @ }"),
    ("/$defs/store/properties/sync/items", "[store.a]\nsync = [{ @ }]"),
    ("/$defs/rails", "[store.a.rails]\n@"),
    ("/$defs/rails/properties/writes", "[store.a.rails]\nwrites = { @ }"),
    ("/$defs/rails/properties/clears", "[store.a.rails]\nclears = { @ }"),
    ("/$defs/rails/properties/creates", "[store.a.rails]\ncreates = { @ }"),
    ("/$defs/rails/properties/deletes", "[store.a.rails]\ndeletes = { @ }"),
    ("/$defs/mapping", "[mapping.m]\n@"),
    ("/$defs/mapping/properties/match/items", "[mapping.m]\nmatch = [{ @ }]"),
    ("/$defs/mapping/properties/only", "[mapping.m]\nonly = { @ }"),
    ("/$defs/mapping/properties/field/items", "[mapping.m]\nfield = [{ @ }]"),
    ("/$defs/mapping/properties/address/oneOf/1", "[mapping.m]\nfield = []\naddress = { @ }"),
    ("/$defs/crm_sql", "[crm.c]\nkind = \"sql\"\n@"),
    ("/$defs/crm_sql/properties/quota", "[crm.c]\nkind = \"sql\"\nurl = \"sqlite:a.db\"\ntable = \"t\"\nquota = { @ }"),
    (
        "/$defs/crm_sql/properties/relation/additionalProperties",
        "[crm.c]\nkind = \"sql\"\nrelation = { account = { @ } }",
    ),
    ("/$defs/crm_odoo", "[crm.c]\nkind = \"odoo\"\n@"),
    (
        "/$defs/crm_odoo/properties/quota",
        "[crm.c]\nkind = \"odoo\"\nurl = \"https://a.b\"\ndatabase = \"d\"\napi_key = { env = \"A\" }\nquota = { @ }",
    ),
    ("/$defs/crm_hubspot", "[crm.c]\nkind = \"hubspot\"\n@"),
    (
        "/$defs/crm_hubspot/properties/quota",
        "[crm.c]\nkind = \"hubspot\"\naccess_token = { env = \"A\" }\nquota = { @ }",
    ),
    ("/$defs/crm_salesforce", "[crm.c]\nkind = \"salesforce\"\n@"),
    (
        "/$defs/crm_salesforce/properties/quota",
        "[crm.c]\nkind = \"salesforce\"\nurl = \"https://a.b\"\nclient_id = \"c\"\nclient_secret = { env = \"A\" }\nquota = { @ }",
    ),
    ("/$defs/crm_tryton", "[crm.c]\nkind = \"tryton\"\n@"),
    (
        "/$defs/crm_tryton/properties/quota",
        "[crm.c]\nkind = \"tryton\"\nurl = \"https://a.b\"\ndatabase = \"d\"\nuser = \"u\"\npassword = { env = \"A\" }\nquota = { @ }",
    ),
    ("/$defs/crm_rest", "[crm.c]\nkind = \"rest\"\n@"),
    (
        "/$defs/crm_rest/properties/quota",
        "[crm.c]\nkind = \"rest\"\nprofile = \"directus\"\nurl = \"https://a.b\"\ncollection = \"c\"\nauth = { header = \"X\", secret = { env = \"A\" } }\nquota = { @ }",
    ),
    ("/$defs/crm_rest/properties/auth", "[crm.c]\nkind = \"rest\"\nauth = { @ }"),
    ("/$defs/crm_rest/properties/deleted/oneOf/1", "[crm.c]\nkind = \"rest\"\ndeleted = { @ }"),
    ("/$defs/crm_rest/properties/list", "[crm.c]\nkind = \"rest\"\nlist = { @ }"),
    ("/$defs/crm_rest/properties/read", "[crm.c]\nkind = \"rest\"\nread = { @ }"),
];

/// More of them: writing, making and removing in an API.
const WRITES: [(&str, &str); 3] = [
    ("/$defs/crm_rest/properties/write", "[crm.c]\nkind = \"rest\"\nwrite = { @ }"),
    ("/$defs/crm_rest/properties/create", "[crm.c]\nkind = \"rest\"\ncreate = { @ }"),
    ("/$defs/crm_rest/properties/delete", "[crm.c]\nkind = \"rest\"\ndelete = { @ }"),
];

fn tables() -> BTreeMap<&'static str, &'static str> {
    TABLES.into_iter().chain(WRITES).collect()
}

fn schema() -> Json {
    serde_json::from_str(attune::config::SCHEMA).unwrap()
}

/// The words that a list of known ones names: `a`, `b` and `c`.
fn quoted(prose: &str) -> BTreeSet<String> {
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The closed tables below a place; those of secrets are one way each and have tests of their own.
fn closed(at: &str, schema: &Json, found: &mut BTreeSet<String>) {
    if at == "/$defs/secret" {
        return;
    }
    match schema {
        Json::Object(entries) => {
            if entries.get("additionalProperties") == Some(&Json::Bool(false)) {
                found.insert(at.to_owned());
            }
            entries.iter().for_each(|(key, below)| closed(&format!("{at}/{key}"), below, found));
        }
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(place, below)| closed(&format!("{at}/{place}"), below, found));
        }
        _ => {}
    }
}

#[test]
fn every_table_of_the_schema_has_the_keys_that_the_reader_knows() {
    let schema = schema();
    let mut closed_tables = BTreeSet::new();
    closed("", &schema, &mut closed_tables);
    let tables = tables();
    assert_eq!(closed_tables, tables.keys().map(|at| (*at).to_owned()).collect());
    for (at, text) in tables {
        let problems = load_text(&text.replace('@', "zzz = 1")).unwrap_err();
        let known = problems.lines().find_map(|line| line.split_once("Known here: ")).map(|(_, known)| quoted(known));
        let properties = schema.pointer(at).and_then(|table| table["properties"].as_object()).unwrap();
        assert_eq!(known, Some(properties.keys().cloned().collect()), "{at}: {problems}");
    }
}

#[test]
fn every_list_of_words_in_the_schema_is_the_reader_s() {
    let schema = schema();
    let mut looked_at = 0;
    for (at, text) in tables() {
        let properties = schema.pointer(at).and_then(|table| table["properties"].as_object()).unwrap();
        for (key, property) in properties {
            let Some(words) = property["enum"].as_array() else { continue };
            let problems = load_text(&text.replace('@', &format!("{key} = \"zzz\""))).unwrap_err();
            let said: Vec<_> = problems.lines().filter(|line| line.contains(&format!("{key}: expected "))).collect();
            let expected = said.first().and_then(|line| line.split_once("expected ")).map(|(_, prose)| prose);
            let before_hint = expected.map(|prose| prose.split("; did you mean").next().unwrap_or_default());
            let words = words.iter().map(|word| word.as_str().unwrap().to_owned()).collect();
            assert_eq!(before_hint.map(quoted), Some(words), "{at}, {key}: {problems}");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 15, "{looked_at}");
}

#[test]
fn the_schema_has_a_table_for_each_kind_of_crm() {
    let problems = load_text("[crm.c]\nkind = \"zzz\"").unwrap_err();
    let line = problems.lines().find(|line| line.contains("crm.c.kind: expected ")).unwrap();
    let known = quoted(line.split_once("expected ").unwrap().1.split("; did").next().unwrap());
    let schema = schema();
    let kinds: BTreeSet<String> = schema["properties"]["crm"]["additionalProperties"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| {
            schema.pointer(&kind["$ref"].as_str().unwrap()[1..]).unwrap()["properties"]["kind"]["const"].clone()
        })
        .map(|kind| kind.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, known);
}
