//! Configuration files of known tables and keys with the wrong things in them, and variables over them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::{Bytes, Cost, fuzz};
use crate::mutation::{broken, number, text, time};
use crate::targets::configuration::{self, SECRET};

const TABLES: [&str; 9] = [
    "store.acme",
    "crm.erp",
    "mapping.b2b",
    "state",
    "server",
    "log",
    "defaults",
    "store.acme.rails",
    "crm.erp.relation.account",
];

const KEYS: [&str; 47] = [
    "store_hash",
    "access_token",
    "api_url",
    "crm",
    "mapping",
    "sync",
    "mode",
    "poll",
    "sweep",
    "overlap",
    "quarantine",
    "replica_lag",
    "quota",
    "rails",
    "kind",
    "url",
    "table",
    "key",
    "modified",
    "modified_by",
    "deleted",
    "relation",
    "match",
    "only",
    "create",
    "on_delete",
    "create_attributes",
    "create_groups",
    "separator",
    "allow_side_effects",
    "among",
    "permission_set",
    "address",
    "field",
    "listen",
    "format",
    "level",
    "writes",
    "clears",
    "store",
    "type",
    "direction",
    "conflict",
    "values",
    "trim",
    "from",
    "unknown",
];

/// Sound values of all kinds; a key gets that of another most of the time.
const VALUES: [&str; 44] = [
    "\"abc123\"",
    "\"erp\"",
    "\"b2b\"",
    "\"sql\"",
    "\"30s\"",
    "\"daily\"",
    "\"0 3 * * *\"",
    "\"* * * * * *\"",
    "\"sqlite:erp.db\"",
    "\"contacts\"",
    "\"https://api.bigcommerce.com\"",
    "\"observe\"",
    "\"off\"",
    "\"127.0.0.1:1\"",
    "\"json\"",
    "\"newest\"",
    "\"to_store\"",
    "\"number\"",
    "\"customer:email\"",
    "\"attribute:Job title\"",
    "\"account.id\"",
    "\"@key\"",
    "true",
    "false",
    "0",
    "-1",
    "1_000",
    "0xff",
    "1e400",
    "nan",
    "inf",
    "99999999999999999999",
    "2026-02-30",
    "2026-01-02T03:04:05Z",
    "[]",
    "{}",
    "[[[]]]",
    "{ env = \"ERP_URL\" }",
    "{ credential = \"acme\" }",
    "{ share = 0.5 }",
    "[{ store = \"customer:email\", crm = \"email\" }]",
    "{ store = { \"customer:group\" = [\"A\"] } }",
    "{ gold = \"Gold\", Gold = \"Gold\" }",
    "{ count = 1, percent = 2.5 }",
];

const SOUND: &str = r#"
[store.acme]
store_hash = "abc123"
access_token = { credential = "acme" }
crm = "erp"
mapping = "b2b"

[crm.erp]
kind = "sql"
url = { env = "ERP_URL" }
table = "contacts"

[mapping.b2b]
match = [{ store = "customer:email", crm = "email" }]
field = [{ store = "attribute:Job title", crm = "job_title" }]
"#;

fn value() -> BoxedStrategy<String> {
    prop_oneof![
        6 => select(VALUES.to_vec()).prop_map(str::to_owned),
        2 => text().prop_map(|text| serde_json::Value::from(text).to_string()),
        1 => text().prop_map(|text| format!("'{text}'")),
        1 => number(),
        1 => time(),
        1 => (1_usize..60).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
        1 => (1_usize..60).prop_map(|depth| format!("a{}", ".a".repeat(depth))),
    ]
    .boxed()
}

fn key() -> BoxedStrategy<String> {
    prop_oneof![
        6 => select(KEYS.to_vec()).prop_map(str::to_owned),
        1 => text().prop_map(|text| serde_json::Value::from(text).to_string()),
        1 => (select(KEYS.to_vec()), select(KEYS.to_vec())).prop_map(|(one, other)| format!("{one}.{other}")),
    ]
    .boxed()
}

/// The sound file with lines put into it, taken out, and given other values.
fn file() -> BoxedStrategy<String> {
    let line = prop_oneof![
        4 => (key(), value()).prop_map(|(key, value)| format!("{key} = {value}")),
        1 => select(TABLES.to_vec()).prop_map(|table| format!("[{table}]")),
        1 => select(TABLES.to_vec()).prop_map(|table| format!("[[{table}]]")),
    ];
    let change = (0_usize..16, 0_u8..4, line, value());
    prop::collection::vec(change, 0..5)
        .prop_map(|changes| {
            let mut lines: Vec<String> = SOUND.lines().map(str::to_owned).collect();
            for (at, change, line, value) in changes {
                let at = at.min(lines.len() - 1);
                match change {
                    0 => lines.insert(at, line),
                    1 => drop(lines.remove(at)),
                    2 => lines[at] = line,
                    _ => {
                        if let Some((key, _)) = lines[at].clone().split_once('=') {
                            lines[at] = format!("{key}= {value}");
                        }
                    }
                }
            }
            lines.join("\n")
        })
        .boxed()
}

fn variables() -> BoxedStrategy<Vec<(OsString, OsString)>> {
    let name = prop_oneof![
        6 => (select(vec!["store", "STORE", "crm", "mapping", "state", "defaults", "log"]), select(vec!["acme", "ERP", "b2b", "x"]), select(KEYS.to_vec()))
            .prop_map(|(room, name, key)| OsString::from(format!("ATTUNE__{room}__{name}__{key}"))),
        2 => (select(vec!["state", "server", "log", "x"]), select(KEYS.to_vec())).prop_map(|(room, key)| OsString::from(format!("attune__{room}__{key}"))),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| {
            OsString::from_vec([b"ATTUNE__".as_slice(), &bytes].concat())
        }),
    ];
    let bare = value().prop_map(|value| value.trim_matches('"').to_owned());
    let given = prop_oneof![
        4 => value().prop_map(OsString::from),
        4 => bare.prop_map(OsString::from),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(OsString::from_vec),
    ];
    prop::collection::vec((name, given), 0..4).boxed()
}

/// The ways in which people put a secret into a file or a variable where it does not belong, or where it does.
fn misplaced() -> BoxedStrategy<(String, Vec<(OsString, OsString)>)> {
    let in_file = select(vec![
        "access_token = \"S\"",
        "access_token = S",
        "access_token = 'S",
        "access_token = \"S",
        "access_token = \"\"\"S",
        "access_token = [\"S\"]",
        "access_token = { literal = \"S\" }",
        "access_token = { credential = \"dir/S\" }",
        "access_token = { env = \"$S\" }",
        "access_token = { env = \"A=S\" }",
        "access_token = { file = \"S\", env = \"S\" }",
        "access_token = { command = \"S\" }",
        "access_token = { command = [1, \"S\"] }",
        "access_token = { command = [\"echo\", 1, \"S\"] }",
        "access_token = \"S\" \"S\"",
        "access_token = \"\\S\"",
        "access_token = \"S\u{7}\"",
        "access_token : \"S\"",
        "access_token =",
        "store_hash = \"S/S\"",
        "store_hash = \"S S\"",
        "api_url = \"https://u:S@host\"",
        "api_url = \"https://host/?token=S\"",
        "api_url = \"S\"",
        "api_url = \"http://S\"",
        "poll = \"S\"",
        "sweep = \"S\"",
        "mode = \"S\"",
        "access_token.env.S2 = \"S\"",
        "quota = \"S\"",
        "rails = \"S\"",
        "rails = { writes = \"S\" }",
        "crm = \"S S\"",
        "mapping = { x = \"S\" }",
        "sync = \"S\"",
        "sync = [\"S\"]",
    ]);
    let in_crm = select(vec![
        "url = { env = \"ERP_URL\" }",
        "url = \"postgres://u:S@host/db\"",
        "url = \"postgres:u:S@host/db\"",
        "url = \"postgres:/u:S@host\"",
        "url = \"mysql:u:S@host/db\"",
        "url = \"postgres://host/db?password=S\"",
        "url = \"postgres://host/db?user=u&PASSWORD=S\"",
        "url = \"postgres://host/db?sslpassword=S\"",
        "url = \"S\"",
        "url = \"S:\"",
        "url = \"u:S@host\"",
        "url = { env = \"S S\" }",
        "url = { urls = \"S\" }",
        "url = \"postgres://u:S@host@host/db\"",
        "url = \"POSTGRES://u:S@host/db\"",
        "url = \"postgres://u:a/S@host/db\"",
        "url = 5",
        "url = \"postgres://u:S%40@host\"",
    ]);
    let in_variable = select(vec![
        "S",
        "[S",
        "{S",
        "{S=1}",
        "[\"S\"]",
        "{ S = \"S\" }",
        "{ literal = \"S\" }",
        "{\"S\"=1}",
        "{ env = \"S S\" }",
        "[1,\"S\"]",
        "\"S\"",
        "S\nS",
        "postgres://u:S@host/db",
        "{ credential = \"a/S\" }",
        "{S.S=1}",
        "",
        "{ }",
    ]);
    let name = select(vec![
        "ATTUNE__STORE__ACME__ACCESS_TOKEN",
        "ATTUNE__CRM__ERP__URL",
        "ATTUNE__STATE__URL",
        "ATTUNE__DEFAULTS__ACCESS_TOKEN",
        "ATTUNE__STORE__ACME__ACCESS_TOKEN__ENV__X",
        "ATTUNE__STORE__ACME__ACCESS_TOKEN__LITERAL",
        "ATTUNE__STORE__ACME__API_URL",
        "ATTUNE__STORE__ACME__POLL",
        "ATTUNE__STORE__ACME__RAILS__WRITES__COUNT",
    ]);
    let variables = prop::collection::vec((name, in_variable), 0..3);
    (in_file, in_crm, variables, 0_usize..400, any::<bool>())
        .prop_map(|(in_file, in_crm, variables, cut, is_cut)| {
            let with_secret = |text: &str| text.replace('S', SECRET);
            // The table's own keys hold an S as well, so only these lines are filled in.
            let key = in_file.split([' ', '.', ':']).next().unwrap_or_default();
            let kept = |line: &&str| !line.starts_with(key) && !line.starts_with("url");
            let mut lines: Vec<String> = SOUND.lines().filter(kept).map(str::to_owned).collect();
            lines.insert(2, with_secret(in_file));
            let at = lines.iter().position(|line| line == "[crm.erp]").unwrap_or(0);
            lines.insert(at + 1, with_secret(in_crm));
            let mut file = lines.join("\n");
            if is_cut {
                file.truncate(cut.min(file.len()));
                while !file.is_char_boundary(file.len()) {
                    file.pop();
                }
            }
            let variables =
                variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text.replace('S', SECRET))));
            (file, variables.collect())
        })
        .boxed()
}

#[test]
fn files() {
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let file = prop_oneof![8 => broken(file()), 1 => noise].prop_map(Bytes);
    fuzz("files", Cost::Trip, &(file, variables()), |(file, variables)| {
        let _ = configuration::anything(&file.0, variables);
    });
}

#[test]
fn secrets() {
    fuzz("secrets", Cost::Text, &misplaced(), |(file, variables)| {
        configuration::with_secrets(file.as_bytes(), variables)
    });
}

#[test]
fn the_sound_file_cut_at_every_byte() {
    let file = SOUND.replace("\"ERP_URL\"", &format!("\"ERP_URL\", literal = \"{SECRET}\""));
    for end in 0..=file.len() {
        configuration::with_secrets(&file.as_bytes()[..end], &[]);
    }
}

#[test]
fn tables_as_deep_as_a_file_can_hold() {
    for (open, middle, close) in
        [("a = ", "[", ""), ("a = ", "{a=", ""), ("", "a.", "a = 1"), ("[", "a.", "a]"), ("a = {", "a.", "a = 1}")]
    {
        let file = format!("{open}{}{close}", middle.repeat(1_000_000 / middle.len()));
        let _ = configuration::anything(file.as_bytes(), &[]);
    }
}

#[test]
fn words_as_long_as_a_file_can_hold() {
    let long = "x".repeat(200_000);
    for (from, to) in [
        ("crm = \"erp\"", format!("crm = \"{long}\"")),
        ("kind = \"sql\"", format!("kind = \"{long}\"")),
        ("kind = \"sql\"", format!("kind = \"sql\"\n{long} = 1")),
        ("url = { env = \"ERP_URL\" }", format!("url = \"{long}:\"")),
        ("\"customer:email\"", format!("\"customer:{long}\"")),
        ("\"customer:email\"", format!("\"{long}:email\"")),
        ("\"erp\"", format!("\"{long}\"\npoll = \"{long}\"\nsweep = \"{long}\"\n[crm.{long}x]")),
    ] {
        let _ = configuration::anything(SOUND.replacen(from, &to, 1).as_bytes(), &[]);
    }
}

#[test]
fn what_once_showed_a_secret() {
    // A password in an address that lacks its slashes.
    for url in ["postgres:u:S@host/db", "postgres:/u:S@host"] {
        let file = SOUND.replace("{ env = \"ERP_URL\" }", &format!("\"{}\"", url.replace('S', SECRET)));
        configuration::with_secrets(file.as_bytes(), &[]);
    }
    // A secret in a variable that can be read as a table.
    for text in ["{S=1}", "{\"S\"=1}", "{S.S=1}"] {
        let variable = (OsString::from("ATTUNE__STORE__ACME__ACCESS_TOKEN"), OsString::from(text.replace('S', SECRET)));
        configuration::with_secrets(SOUND.as_bytes(), &[variable]);
    }
}
