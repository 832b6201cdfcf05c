//! The configuration as an operator meets it: every message is read, none shows what was written.

#![allow(clippy::unwrap_used)]

#[path = "configuration/schema.rs"]
mod schema;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attune::config::{
    self, AlertFormat, Alerts, Config, CrmKind, LogFormat, LogLevel, ModifiedBy, PairSettings, RestAuth,
    SalesforceGrant, Secret, Sweep, Times, UrlSource,
};
use attune::model::{
    ApiBody, ApiPaging, Conflict, Create, Direction, FieldRule, FieldType, Keep, Mode, OnClear, OnDelete, Rail, Rails,
};
use tempfile::TempDir;

/// What must never be seen in a message.
const TOKEN: &str = "hunter2-the-token";

const STORE: &str = r#"
[store.acme]
store_hash   = "abc123"
access_token = { credential = "acme" }
crm          = "erp"
mapping      = "b2b"
"#;

const CRM: &str = r#"
[crm.erp]
kind  = "sql"
url   = { env = "ERP_URL" }
table = "contacts"
"#;

const MAPPING: &str = r#"
[mapping.b2b]
match = [{ store = "customer:email", crm = "email" }]
field = [{ store = "attribute:Job title", crm = "job_title" }]
"#;

/// A sound configuration, to break in one place.
fn sound() -> String {
    format!("{STORE}{CRM}{MAPPING}")
}

/// The sound one with `from` replaced; fails if there is nothing to replace.
fn with(from: &str, to: &str) -> String {
    let sound = sound();
    assert!(sound.contains(from), "nothing to replace: {from}");
    sound.replace(from, to)
}

/// The sound one with another mapped field, as it stands between braces.
fn with_field(field: &str) -> String {
    with(r#"{ store = "attribute:Job title", crm = "job_title" }"#, &format!("{{ {field} }}"))
}

/// Files in a folder of their own, read in this order.
struct Files {
    folder: TempDir,
    paths: Vec<PathBuf>,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = files
            .iter()
            .map(|(name, text)| {
                let path = folder.path().join(name);
                fs::write(&path, text).unwrap();
                path
            })
            .collect();
        Self { folder, paths }
    }

    fn load(&self, environment: &[(&str, &str)]) -> Result<Config, String> {
        load(&self.paths, environment).map_err(|text| self.shown(&text))
    }

    /// A message without the folder's name.
    fn shown(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn load(paths: &[PathBuf], environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment.iter().map(|(name, text)| (OsString::from(name), OsString::from(text)));
    config::load(paths, environment).map_err(|problems| {
        let text = problems.to_string();
        assert!(!text.contains(TOKEN), "a message shows the secret: {text}");
        assert!(problems.iter().count() > 0);
        text
    })
}

fn load_text(text: &str) -> Result<Config, String> {
    Files::new(&[("attune.toml", text)]).load(&[])
}

fn accepted(text: &str) -> Config {
    load_text(text).unwrap_or_else(|problems| panic!("refused: {problems}"))
}

/// The one problem that there is.
#[track_caller]
fn problem(text: &str) -> String {
    let problems = load_text(text).expect_err("accepted");
    assert_eq!(problems.lines().count(), 1, "more than one problem:\n{problems}");
    problems
}

/// The one problem there is begins with a place and says this.
#[track_caller]
fn refused(text: &str, place: &str, says: &[&str]) {
    let problem = problem(text);
    assert!(problem.starts_with(place), "not at {place}: {problem}");
    for say in says {
        assert!(problem.contains(say), "does not say {say:?}: {problem}");
    }
}

fn refused_field(field: &str, place: &str, says: &[&str]) {
    refused(&with_field(field), &format!("attune.toml:15: mapping.b2b.field[0]{place}: "), says);
}

// ---- what is accepted -------------------------------------------------------------------------------------------

#[test]
fn the_minimal_example_loads_with_every_default() {
    let config = load(&[example("minimal.toml")], &[]).unwrap();
    assert_eq!(config.state.url, UrlSource::Literal("sqlite:attune.db".to_owned()));
    assert_eq!(config.state.keep, Keep { age: Duration::from_secs(365 * 86_400), writes: 5_000_000 });
    assert_eq!(config.server.listen, Some("127.0.0.1:9464".parse().unwrap()));
    assert_eq!(config.server.admin_token, None);
    assert_eq!((config.log.format, config.log.level), (None, LogLevel::Info));
    let store = &config.stores["acme"];
    assert_eq!((store.name.as_str(), store.store_hash.as_str()), ("acme", "abc123"));
    assert_eq!(store.access_token, Secret::Credential("acme".to_owned()));
    assert_eq!(store.api_url, "https://api.bigcommerce.com");
    assert_eq!(store.pairs, [PairSettings { crm: "erp".to_owned(), mapping: "b2b".to_owned() }]);
    assert_eq!((store.mode, store.share), (Mode::Sync, 0.8));
    assert_eq!(store.rails, Rails::default());
    let times = Times {
        poll: Duration::from_secs(30),
        sweep: Sweep::Daily,
        overlap: Duration::from_secs(300),
        quarantine: Duration::from_secs(120),
        replica_lag: Duration::from_secs(60),
    };
    assert_eq!(store.times, times);
    let crm = &config.crms["erp"];
    assert_eq!((crm.name.as_str(), &crm.times, crm.quota), ("erp", &times, None));
    let CrmKind::Sql(sql) = &crm.kind else { panic!("another kind") };
    assert_eq!(sql.url, UrlSource::Secret(Secret::Env("ERP_URL".to_owned())));
    assert_eq!((sql.table.as_str(), sql.key.as_str(), sql.modified.as_str()), ("contacts", "id", "updated_at"));
    assert_eq!((sql.modified_by, &sql.deleted), (ModifiedBy::Attune, &None));
    let mapping = &config.mappings["b2b"];
    assert_eq!((mapping.create, mapping.on_delete, mapping.create_attributes), (Create::None, OnDelete::Unlink, false));
    assert!(mapping.only.store.is_empty() && mapping.only.crm.is_empty());
    assert_eq!(mapping.fields[0], FieldRule::new("attribute:Job title", "job_title"));
    let to_store =
        FieldRule { direction: Direction::ToStore, ..FieldRule::new("attribute:Wholesaler ID", "wholesaler_id") };
    assert_eq!(mapping.fields[1], to_store);
    assert!(config.warnings.is_empty());
}

#[test]
fn the_full_example_says_nothing_but_the_defaults() {
    let full = load(&[example("full.toml")], &[]).unwrap();
    let minimal = load(&[example("minimal.toml")], &[]).unwrap();
    assert_eq!((&full.state, &full.server, full.log), (&minimal.state, &minimal.server, minimal.log));
    assert_eq!((&full.alerts, &minimal.alerts), (&None, &None));
    assert_eq!((&full.stores, &full.crms), (&minimal.stores, &minimal.crms));
    assert_eq!(full.mappings["b2b"].fields, [FieldRule::new("attribute:Wholesaler ID", "wholesaler_id")]);
    assert!(full.warnings.is_empty());
}

/// What the full example leaves out as `# none:` is accepted where it stands.
#[test]
fn the_full_example_accepts_what_it_leaves_out() {
    let text = fs::read_to_string(example("full.toml")).unwrap();
    assert_eq!(text.matches("# none: ").count(), 10);
    let config = accepted(&text.replace("# none: ", ""));
    let url = Secret::Credential("alerts".to_owned());
    assert_eq!(config.alerts, Some(Alerts { url, format: AlertFormat::Json, after: Duration::from_secs(60) }));
    assert_eq!(config.log.format, Some(LogFormat::Json));
    let CrmKind::Sql(sql) = &config.crms["erp"].kind else { panic!("another kind") };
    assert_eq!(sql.deleted.as_deref(), Some("deleted_at"));
    assert_eq!(sql.relations["account"].from, "account_id");
    assert_eq!(config.mappings["b2b"].only.store["customer:group"], ["Wholesale"]);
    assert_eq!(config.mappings["b2b"].only.crm["type"], ["contact"]);
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// Every key there is, as operators copy it from the contract.
#[test]
fn everything_at_once_is_accepted() {
    let config = accepted(include_str!("configuration/everything.toml"));
    assert_eq!(config.crms["erp"].quota.unwrap().calls, 90);
    assert_eq!(config.mappings["b2b"].only.crm["type"], ["contact"]);
    assert_eq!(config.warnings.len(), 1, "the quota of a database: {:?}", config.warnings);
}

#[test]
fn every_setting_reaches_the_configuration() {
    let config = accepted(
        r#"
[state]
url = "sqlite:/var/lib/attune/state.db"
[server]
listen = "off"
admin_token = { file = "admin.token" }
[log]
format = "text"
level = "debug"
[defaults]
poll = "1m"
crm = "erp"
mapping = "b2b"
rails = { writes = { count = 5 }, deletes = { percent = 2.5 } }
[crm.erp]
kind = "sql"
url = "postgres://attune@db/erp"
table = "sales.contacts"
key = "uuid"
modified = "changed"
modified_by = "database"
deleted = "gone"
sweep = "30 3 * * MON-FRI"
quota = { calls = 90, per = "10s" }
[mapping.b2b]
match = [{ store = "customer:email", crm = "email" }, { store = "attribute:ERP", crm = "@key" }]
create_attributes = true
[[mapping.b2b.field]]
store = "attribute:Tier"
crm = "tier"
type = "string"
direction = "both"
conflict = "hold"
on_clear = "restore"
overwrite = false
trim = false
values = { gold = "Gold tier", none = "No tier" }
[[mapping.b2b.field]]
store = "customer:company"
crm = "company"
direction = "to_crm"
on_clear = "hold"
[[mapping.b2b.field]]
store = "attribute:ERP"
crm = "@key"
type = "number"
direction = "to_store"
[store.acme]
store_hash = "abc123"
access_token = { command = ["pass", "show", "acme"] }
api_url = "http://127.0.0.1:8080/"
mode = "observe"
sweep = "off"
overlap = "1h"
quarantine = "500ms"
replica_lag = "0s"
quota = { share = 1 }
rails = { writes = { percent = 100 }, clears = { count = 0, percent = 0 } }
[store.beta]
store_hash = "def456"
access_token = { file = "beta.token" }
poll = "2h"
sync = [{ crm = "erp", mapping = "b2b" }]
"#,
    );
    assert_eq!(config.state.url, UrlSource::Literal("sqlite:/var/lib/attune/state.db".to_owned()));
    assert_eq!(config.server.listen, None);
    assert_eq!(config.server.admin_token, Some(Secret::File("admin.token".into())));
    assert_eq!((config.log.format, config.log.level.as_str()), (Some(LogFormat::Text), "debug"));
    let crm = &config.crms["erp"];
    assert_eq!(crm.times.sweep, Sweep::Cron("0 30 3 * * MON-FRI".to_owned()));
    assert_eq!(crm.times.poll, Duration::from_secs(30), "[defaults] are for stores");
    let quota = crm.quota.unwrap();
    assert_eq!((quota.calls, quota.per, quota.concurrency), (90, Duration::from_secs(10), 4));
    let CrmKind::Sql(sql) = &crm.kind else { panic!("another kind") };
    assert_eq!(sql.url, UrlSource::Literal("postgres://attune@db/erp".to_owned()));
    assert_eq!((sql.table.as_str(), sql.key.as_str(), sql.modified.as_str()), ("sales.contacts", "uuid", "changed"));
    assert_eq!((sql.modified_by, sql.deleted.as_deref()), (ModifiedBy::Database, Some("gone")));
    let mapping = &config.mappings["b2b"];
    assert_eq!(mapping.matches.len(), 2);
    assert!(mapping.create_attributes);
    let tier = &mapping.fields[0];
    assert_eq!((tier.conflict, tier.on_clear), (Conflict::Hold, OnClear::Restore));
    assert!(!tier.overwrite && !tier.trim);
    assert_eq!((tier.values["gold"].as_str(), tier.values.len()), ("Gold tier", 2));
    assert_eq!((mapping.fields[1].direction, mapping.fields[1].on_clear), (Direction::ToCrm, OnClear::Hold));
    assert_eq!(mapping.fields[2].kind, FieldType::Number);
    let acme = &config.stores["acme"];
    assert_eq!(acme.access_token, Secret::Command(["pass", "show", "acme"].map(str::to_owned).to_vec()));
    assert_eq!(acme.api_url, "http://127.0.0.1:8080");
    assert_eq!((acme.mode, acme.share, &acme.times.sweep), (Mode::Observe, 1.0, &Sweep::Off));
    assert_eq!(acme.times.poll, Duration::from_secs(60));
    assert_eq!(acme.times.overlap, Duration::from_secs(3600));
    assert_eq!((acme.times.quarantine, acme.times.replica_lag), (Duration::from_millis(500), Duration::ZERO));
    assert_eq!(acme.rails.writes, Rail { count: 5, percent: 100.0 }, "rails are laid over the defaults one by one");
    assert_eq!(acme.rails.clears, Rail { count: 0, percent: 0.0 });
    assert_eq!(acme.rails.deletes, Rail { count: 20, percent: 2.5 });
    assert_eq!(acme.pairs, config.stores["beta"].pairs);
    assert_eq!(config.stores["beta"].times.poll, Duration::from_secs(7200));
}

#[test]
fn what_has_no_effect_is_said() {
    let text = format!(
        "{}{}",
        sound()
            .replace(
                r#"crm = "job_title" }"#,
                r#"crm = "job_title", direction = "to_crm", conflict = "crm", type = "number", trim = false }"#
            )
            .replace(r#"table = "contacts""#, "table = \"contacts\"\nquota = { calls = 9, per = \"1s\" }"),
        CRM.replace("erp", "spare"),
    );
    let files = Files::new(&[("attune.toml", &text)]);
    let config = files.load(&[]).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(|warning| files.shown(&warning.to_string())).collect();
    assert_eq!(
        warnings,
        [
            "attune.toml:12: crm.erp.quota: a database has no quota that could be asked for: this has no effect, take it out",
            "attune.toml:16: mapping.b2b.field[0].conflict: has no effect on a field that flows one way: take it out",
            "attune.toml:16: mapping.b2b.field[0].trim: has no effect on a type other than \"string\": take it out",
            "attune.toml:18: crm.spare: no store uses the CRM `spare`: it is not read",
        ]
    );
}

#[test]
fn narrowing_keeps_the_stores_named_and_their_crms() {
    let other = format!("{STORE}{CRM}").replace("acme", "beta").replace("abc123", "def456").replace("erp", "crm2");
    let config = accepted(&format!("{}{other}", sound()));
    let narrow = |names: &[&str]| config.clone().narrowed(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(narrow(&[]).unwrap().stores.len(), 2);
    let beta = narrow(&["beta"]).unwrap();
    assert_eq!(beta.stores.keys().collect::<Vec<_>>(), ["beta"]);
    assert_eq!(beta.crms.keys().collect::<Vec<_>>(), ["crm2"]);
    assert_eq!(narrow(&["bta"]).unwrap_err(), "no store is called `bta` in the configuration; did you mean `beta`?");
}

// ---- files and environment --------------------------------------------------------------------------------------

#[test]
fn a_folder_is_read_sorted_by_name_and_tables_add_up() {
    let files = Files::new(&[("b.toml", STORE), ("a.toml", CRM), ("c.toml", MAPPING), ("d.txt", "not read")]);
    let config = load(&[files.folder.path().to_path_buf()], &[]).unwrap();
    assert_eq!((config.stores.len(), config.crms.len(), config.mappings.len()), (1, 1, 1));
    let beta = STORE.replace("acme", "beta").replace("abc123", "def456");
    let files = Files::new(&[("a.toml", &sound()), ("b.toml", &beta)]);
    assert_eq!(files.load(&[]).unwrap().stores.len(), 2, "stores may stand in different files");
}

#[test]
fn the_same_table_in_two_files_names_both() {
    let files = Files::new(&[
        ("a.toml", &format!("[log]\nlevel = \"info\"\n{}", sound())),
        ("b.toml", "[store.acme]\npoll = \"5s\"\n[log]\nlevel = \"debug\"\n"),
    ]);
    let tail = "a table stands in one file only, so that no file silently overrides another; put them together";
    assert_eq!(
        files.load(&[]).unwrap_err(),
        format!("b.toml:1: store.acme: also in a.toml, line 4: {tail}\nb.toml:3: log: also in a.toml, line 1: {tail}")
    );
}

#[test]
fn without_paths_the_first_default_that_exists_is_read() {
    let files = Files::new(&[("attune.toml", &sound())]);
    let (here, there) = (files.folder.path().join("attune.toml"), files.folder.path().join("etc"));
    fs::create_dir(&there).unwrap();
    fs::write(there.join("attune.toml"), "nonsense = 1").unwrap();
    let none: [(OsString, OsString); 0] = [];
    assert!(config::load_or_default(&[], &[&here, &there], none.clone()).is_ok());
    fs::remove_file(&here).unwrap();
    let problems = config::load_or_default(&[], &[&here, &there], none.clone()).unwrap_err().to_string();
    assert!(problems.contains("nonsense: unknown key"), "{problems}");
    fs::remove_dir_all(&there).unwrap();
    let problems = config::load_or_default(&[], &[&here, &there], none).unwrap_err().to_string();
    assert_eq!(
        files.shown(&problems),
        "no configuration: neither attune.toml nor etc exists; name one with `--config PATH`, or try `attune demo`, \
         which needs none"
    );
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let files = Files::new(&[]);
    let folder = files.folder.path();
    let say = |path: &Path| files.shown(&load(&[path.to_path_buf()], &[]).unwrap_err());
    assert_eq!(say(&folder.join("none.toml")), "none.toml: cannot be read: it does not exist");
    assert!(
        load(&[folder.to_path_buf()], &[])
            .unwrap_err()
            .ends_with("no *.toml in this folder: put the configuration there, or name a file")
    );
    fs::write(folder.join("latin.toml"), b"a = \"\xe9\"").unwrap();
    assert_eq!(say(&folder.join("latin.toml")), "latin.toml: not UTF-8 text: save the file as UTF-8");
    fs::write(folder.join("big.toml"), "#".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(say(&folder.join("big.toml")), "big.toml: larger than 1 MiB: this is not a configuration of Attune");
    let deep = format!("a = {}1{}", "[".repeat(40), "]".repeat(40));
    fs::write(folder.join("deep.toml"), deep).unwrap();
    assert!(say(&folder.join("deep.toml")).contains("nest deeper than 16"));
}

#[test]
fn what_is_not_toml_has_a_line_and_a_column_and_no_echo() {
    for broken in [
        format!("[store.acme]\naccess_token = \"{TOKEN}"),
        format!("[store.acme]\naccess_token = {TOKEN}"),
        format!("[store.acme]\naccess_token \"{TOKEN}\""),
        format!("[store.acme]\naccess_token = \"a\"\naccess_token = \"{TOKEN}\""),
        format!("[store.acme]\naccess_token = {{ a = \"{TOKEN}\""),
        format!("[store.acme]\naccess_token = \"{TOKEN}\\q\""),
    ] {
        let problem = problem(&broken);
        let place = problem.strip_prefix("attune.toml:").unwrap();
        let mut parts = place.splitn(3, ':');
        let line: usize = parts.next().unwrap().parse().unwrap();
        let column: usize = parts.next().unwrap().parse().unwrap();
        assert!((2..=3).contains(&line) && column >= 1, "{problem}");
        assert!(parts.next().unwrap().starts_with(" not TOML: "), "{problem}");
    }
    assert_eq!(
        problem("[store.acme]\npoll = \n"),
        "attune.toml:2:8: not TOML: string values must be quoted, expected literal string"
    );
}

#[test]
fn variables_override_files_at_any_depth_and_in_any_case() {
    let files = Files::new(&[("attune.toml", &sound().replace("[store.acme]", "[store.Acme]"))]);
    let config = files
        .load(&[
            ("ATTUNE__STATE__URL", "sqlite:other.db"),
            ("attune__Store__ACME__poll", "5s"),
            ("ATTUNE__STORE__ACME__RAILS__WRITES__COUNT", "7"),
            ("ATTUNE__STORE__ACME__RAILS__WRITES__PERCENT", "12.5"),
            ("ATTUNE__STORE__ACME__ACCESS_TOKEN__FILE", "token"),
            ("ATTUNE__CRM__ERP__URL", "postgres://attune:hunter2-the-token@db/erp"),
            ("ATTUNE__MAPPING__B2B__CREATE_ATTRIBUTES", "true"),
            ("ATTUNE__MAPPING__B2B__MATCH", r#"[{ store = "customer:phone", crm = "phone" }]"#),
            ("ATTUNE_TEST_POSTGRES", "not ours"),
            ("ATTUNE", "not ours"),
            ("HOME", "not ours"),
        ])
        .unwrap();
    assert_eq!(config.state.url, UrlSource::Secret(Secret::Env("ATTUNE__STATE__URL".to_owned())));
    let store = &config.stores["Acme"];
    assert_eq!(store.times.poll, Duration::from_secs(5));
    assert_eq!(store.rails.writes, Rail { count: 7, percent: 12.5 });
    assert_eq!(store.access_token, Secret::File(PathBuf::from("token")), "it replaces the file's way");
    let CrmKind::Sql(sql) = &config.crms["erp"].kind else { panic!("another kind") };
    assert_eq!(sql.url, UrlSource::Secret(Secret::Env("ATTUNE__CRM__ERP__URL".to_owned())), "its value is not kept");
    assert!(config.mappings["b2b"].create_attributes);
    assert_eq!(config.mappings["b2b"].matches[0].store, "customer:phone");
}

#[test]
fn wrong_variables_are_named_and_not_echoed() {
    let files = Files::new(&[("attune.toml", &sound())]);
    for (name, text, message) in [
        (
            "ATTUNE__STORE__ACME__POL",
            TOKEN,
            "$ATTUNE__STORE__ACME__POL: store.acme.pol: unknown key; did you mean `poll`? ",
        ),
        ("ATTUNE__STORE__ACME__POLL", TOKEN, "$ATTUNE__STORE__ACME__POLL: store.acme.poll: expected a duration"),
        (
            "ATTUNE__STORE__ACME__MODE",
            TOKEN,
            "$ATTUNE__STORE__ACME__MODE: store.acme.mode: expected `sync` or `observe`",
        ),
        (
            "ATTUNE__STORE__ACME__QUOTA__SHARE",
            TOKEN,
            "$ATTUNE__STORE__ACME__QUOTA__SHARE: store.acme.quota.share: expected a number",
        ),
        ("ATTUNE__STORE____POLL", "1s", "$ATTUNE__STORE____POLL: not the name of a setting: expected ATTUNE__A__B"),
        ("ATTUNE__", "1s", "$ATTUNE__: not the name of a setting"),
        ("ATTUNE__STORE", "1s", "$ATTUNE__STORE: store: expected a table"),
    ] {
        let problems = files.load(&[(name, text)]).unwrap_err();
        assert!(problems.lines().any(|line| line.starts_with(message)), "not {message:?}: {problems}");
    }
    assert_eq!(
        files.load(&[("ATTUNE__LOG__LEVEL", "info"), ("attune__log__level", "debug")]).unwrap_err(),
        "$attune__log__level: says the same as $ATTUNE__LOG__LEVEL, or contains it (names are read in any case): unset one \
         of them"
    );
}

// ---- what is refused --------------------------------------------------------------------------------------------

#[test]
fn a_literal_secret_is_refused_with_the_ways_to_give_it() {
    assert_eq!(
        problem(&with("{ credential = \"acme\" }", &format!("\"{TOKEN}\""))),
        "attune.toml:4: store.acme.access_token: a secret never stands in a file: give it as { credential = \"NAME\" } (the \
         file NAME in $CREDENTIALS_DIRECTORY), { file = \"PATH\" }, { env = \"NAME\" } or { command = [\"PROGRAM\", \
         \"ARGUMENT\"] }"
    );
    for url in [
        format!("postgres://attune:{TOKEN}@db/erp"),
        format!("postgres://db/erp?user=attune&password={TOKEN}"),
        format!("mysql://attune:{TOKEN}@db/erp"),
    ] {
        refused(
            &with("{ env = \"ERP_URL\" }", &format!("\"{url}\"")),
            "attune.toml:10: crm.erp.url: a password never stands in a file: ",
            &["{ env = \"NAME\" }"],
        );
    }
    refused(
        &format!("[state]\nurl = \"postgres://attune:{TOKEN}@db/state\"\n{}", sound()),
        "attune.toml:2: state.url: a password never stands in a file",
        &[],
    );
    refused(
        &with(
            "crm          = \"erp\"",
            &format!("crm = \"erp\"\napi_url = \"https://user:{TOKEN}@api.bigcommerce.com\""),
        ),
        "attune.toml:6: store.acme.api_url: user names and passwords do not belong into this address",
        &[],
    );
}

#[test]
fn nothing_misplaced_is_echoed() {
    // `load` checks that no message holds it: here it stands wherever text can stand.
    for text in [
        with("\"abc123\"", &format!("\"{TOKEN} \"")),
        with("\"erp\"", &format!("\"{TOKEN} \"")),
        with("crm          =", &format!("mode = \"{TOKEN}\"\ncrm =")),
        with("crm          =", &format!("poll = \"{TOKEN}\"\ncrm =")),
        with("crm          =", &format!("sweep = \"{TOKEN}\"\ncrm =")),
        with("crm          =", &format!("acces_token = \"{TOKEN}\"\ncrm =")),
        with("crm          =", &format!("rails = \"{TOKEN}\"\ncrm =")),
        with("crm          =", &format!("api_url = \"{TOKEN}\"\ncrm =")),
        with("{ credential = \"acme\" }", &format!("{{ value = \"{TOKEN}\" }}")),
        with("{ credential = \"acme\" }", &format!("{{ credential = \"/{TOKEN}\" }}")),
        with("{ credential = \"acme\" }", &format!("{{ command = \"{TOKEN}\" }}")),
        with("{ credential = \"acme\" }", &format!("{{ env = \"${TOKEN}\" }}")),
        with("{ env = \"ERP_URL\" }", &format!("\"{TOKEN}\"")),
        with("{ env = \"ERP_URL\" }", &format!("\"{TOKEN}:x\"")),
        with("\"sql\"", &format!("\"{TOKEN}\"")),
        with_field(&format!("store = \"attribute:A\", crm = \"a\", type = \"{TOKEN}\"")),
        with_field(&format!("store = \"attribute:A\", crm = \"a\", direction = \"{TOKEN}\"")),
        with_field(&format!("store = \"attribute:A\", crm = \"a\", trim = \"{TOKEN}\"")),
    ] {
        assert!(load_text(&text).is_err(), "accepted: {text}");
    }
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    assert_eq!(
        problem(&with("crm          =", "pol = \"5s\"\ncrm =")),
        "attune.toml:5: store.acme.pol: unknown key; did you mean `poll`? Known here: `store_hash`, `access_token`, `api_url`, \
         `crm`, `mapping`, `sync`, `mode`, `poll`, `sweep`, `overlap`, `quarantine`, `replica_lag`, `quota` and `rails`"
    );
    for (text, place, near) in [
        (format!("[stat]\nurl = \"x\"\n{}", sound()), "attune.toml:1: stat: ", "state"),
        (format!("[log]\nlevle = \"info\"\n{}", sound()), "attune.toml:2: log.levle: ", "level"),
        (format!("{}[defaults]\npolll = \"1s\"\n", sound()), "attune.toml:17: defaults.polll: ", "poll"),
        (with("table =", "tabel = \"x\"\ntable ="), "attune.toml:11: crm.erp.tabel: ", "table"),
        (with("field =", "fields = []\nfield ="), "attune.toml:15: mapping.b2b.fields: ", "field"),
        (
            with("{ credential = \"acme\" }", "{ credentials = \"acme\" }"),
            "attune.toml:4: store.acme.access_token.",
            "credential",
        ),
        (
            with_field("store = \"attribute:A\", crm = \"a\", directon = \"both\""),
            "attune.toml:15: mapping.b2b.field[0].directon: ",
            "direction",
        ),
        (
            with("mapping      =", "rails = { write = {} }\nmapping ="),
            "attune.toml:6: store.acme.rails.write: ",
            "writes",
        ),
        (
            with("{ store = \"customer:email\"", "{ stor = 1, store = \"customer:email\""),
            "attune.toml:14: mapping.b2b.match[0].stor: ",
            "store",
        ),
        (
            with("field =", "only = { shop = { a = [\"x\"] } }\nfield ="),
            "attune.toml:15: mapping.b2b.only.shop: ",
            "store",
        ),
    ] {
        refused(&text, place, &["unknown key", &format!("did you mean `{near}`?"), "Known here: "]);
    }
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    for (text, message) in [
        (
            with("\"abc123\"", "123456"),
            "attune.toml:3: store.acme.store_hash: expected text in quotes, found a whole number",
        ),
        (
            with("crm          =", "poll = 30\ncrm ="),
            "attune.toml:5: store.acme.poll: expected a duration in quotes, such as \"30s\", found a whole number",
        ),
        (
            with("field =", "create_attributes = \"yes\"\nfield ="),
            "attune.toml:15: mapping.b2b.create_attributes: expected true or false, without quotes, found text",
        ),
        (
            with("crm          =", "quota = { share = \"0.5\" }\ncrm ="),
            "attune.toml:5: store.acme.quota.share: expected a number, without quotes, found text",
        ),
        (
            with("crm          =", "rails = { writes = { count = 1.5 } }\ncrm ="),
            "attune.toml:5: store.acme.rails.writes.count: expected a whole number, without quotes, found a number with a \
             fraction",
        ),
        (
            with("crm          =", "mode = true\ncrm ="),
            "attune.toml:5: store.acme.mode: expected `sync` or `observe` in quotes, found true or false",
        ),
        (
            format!("store = 2026-01-02\n{CRM}{MAPPING}"),
            "attune.toml:1: store: expected a table, found a date without quotes",
        ),
        (
            with_field("store = \"attribute:A\", crm = \"a\", values = [\"x\"]"),
            "attune.toml:15: mapping.b2b.field[0].values: expected a table, found a list",
        ),
        (
            format!(
                "{STORE}{CRM}[mapping.b2b]\nmatch = [{{ store = \"customer:email\", crm = \"email\" }}]\n[mapping.b2b.field]\nstore = \"attribute:A\"\n"
            ),
            "attune.toml:14: mapping.b2b.field: expected a list: write [[mapping.NAME.field]] with two brackets, or field = \
             [ … ], found a table",
        ),
    ] {
        let problems = load_text(&text).expect_err("accepted");
        assert!(problems.lines().any(|line| line == message), "not {message:?}:\n{problems}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for (line, says) in [
        ("store_hash   = \"abc123\"\n", "attune.toml:2: store.acme: `store_hash` is missing: "),
        ("access_token = { credential = \"acme\" }\n", "attune.toml:2: store.acme: `access_token` is missing: "),
        ("mapping      = \"b2b\"\n", "attune.toml:2: store.acme: `mapping` is missing: the name of a [mapping.…]"),
        ("kind  = \"sql\"\n", "attune.toml:8: crm.erp: `kind` is missing: expected a kind, such as kind = \"sql\""),
        ("url   = { env = \"ERP_URL\" }\n", "attune.toml:8: crm.erp: `url` is missing: "),
        ("table = \"contacts\"\n", "attune.toml:8: crm.erp: `table` is missing: "),
        (
            "match = [{ store = \"customer:email\", crm = \"email\" }]\n",
            "attune.toml:13: mapping.b2b: `match` is missing: ",
        ),
        (
            "field = [{ store = \"attribute:Job title\", crm = \"job_title\" }]",
            "attune.toml:13: mapping.b2b: `field` is missing: ",
        ),
    ] {
        refused(&with(line, ""), says, &[]);
    }
    refused(&format!("{CRM}{MAPPING}"), "no store is configured: add a [store.NAME]", &["access_token"]);
}

#[test]
fn a_store_without_its_crm_is_refused() {
    refused(
        &with("crm          = \"erp\"\nmapping      = \"b2b\"\n", ""),
        "attune.toml:2: store.acme: a store without its CRM: add `crm` and `mapping`, or, for several, `sync = [",
        &[],
    );
    refused(
        &with("crm          = \"erp\"\nmapping      = \"b2b\"\n", "sync = []"),
        "attune.toml:5: store.acme.sync: empty: a store without its CRM",
        &[],
    );
    assert_eq!(
        problem(&with("crm          = \"erp\"", "crm = \"epr\"")),
        "attune.toml:5: store.acme.crm: there is no [crm.…] called `epr`; did you mean `erp`?"
    );
    assert_eq!(
        problem(&with("mapping      = \"b2b\"", "mapping = \"b2c\"")),
        "attune.toml:6: store.acme.mapping: there is no [mapping.…] called `b2c`; did you mean `b2b`?"
    );
    assert_eq!(
        problem(&format!("{STORE}{MAPPING}")),
        "attune.toml:5: store.acme.crm: there is no [crm.…] called `erp`; there is no [crm.…] at all"
    );
}

#[test]
fn one_way_to_name_crms_and_each_crm_once() {
    let sync = "sync = [{ crm = \"erp\", mapping = \"b2b\" }]";
    refused(
        &with("mapping      = \"b2b\"", &format!("mapping = \"b2b\"\n{sync}")),
        "attune.toml:5: store.acme.crm: both ways to name CRMs are given: keep `crm` and `mapping` for one, or `sync = [",
        &[],
    );
    refused(
        &with(
            "crm          = \"erp\"\nmapping      = \"b2b\"",
            "sync = [\n{ crm = \"erp\", mapping = \"b2b\" },\n{ crm = \"erp\", mapping = \"b2b\" }]",
        ),
        "attune.toml:7: store.acme.sync[1]: `erp` stands here twice: a store meets a CRM under one mapping",
        &[],
    );
    // A store's own way replaces the other way in [defaults].
    let defaults = format!("[defaults]\n{sync}\n");
    assert_eq!(accepted(&format!("{defaults}{}", sound())).stores["acme"].pairs.len(), 1);
}

#[test]
fn one_store_hash_in_two_stores_is_refused() {
    let twin = STORE.replace("acme", "twin");
    assert_eq!(
        problem(&format!("{}{twin}", sound())),
        "attune.toml:18: store.twin.store_hash: the same store_hash as [store.acme]: a store is its store_hash, and stands \
         once; for several CRMs use `sync = [{ crm = …, mapping = … }]`"
    );
}

#[test]
fn names_cannot_be_mixed_up() {
    refused(&with("[store.acme]", "[store.\"a b\"]"), "attune.toml:2: store.\"a b\": not a name: ", &[]);
    refused(
        &format!("{}{}", sound(), STORE.replace("acme", "ACME").replace("abc123", "def456")),
        "attune.toml:2: store.acme: differs from `ACME` only in case",
        &[],
    );
    refused(
        &with("[store.acme]", "[store.erp]"),
        "attune.toml:2: store.erp: a CRM is called `erp` too, and `attune pause erp` could mean either: rename one",
        &[],
    );
}

const ODOO: &str = r#"
[crm.odoo]
kind     = "odoo"
url      = "https://erp.example.com/odoo/"
database = "erp"
api_key  = { env = "ODOO_KEY" }
quota    = { calls = 60, per = "60s", concurrency = 2 }
"#;

#[test]
fn an_odoo_is_read() {
    let config = accepted(&format!("{STORE}{ODOO}{MAPPING}").replace("\"erp\"\nmapping", "\"odoo\"\nmapping"));
    let crm = &config.crms["odoo"];
    let CrmKind::Odoo(odoo) = &crm.kind else { panic!("{crm:?}") };
    assert_eq!((odoo.url.as_str(), odoo.database.as_str()), ("https://erp.example.com/odoo", "erp"));
    assert_eq!((odoo.model.as_str(), &odoo.user), ("res.partner", &None));
    assert_eq!(odoo.api_key, Secret::Env("ODOO_KEY".to_owned()));
    assert_eq!(crm.quota.map(|quota| (quota.calls, quota.concurrency)), Some((60, 2)));
    for (one, other, beginning, ending) in [
        ("https:", "http:", "crm.odoo.url: must be https", ""),
        ("database = \"erp\"\n", "", "crm.odoo: `database` is missing", ""),
        ("{ env = \"ODOO_KEY\" }", "\"hunter2\"", "crm.odoo.api_key: ", ""),
        ("quota ", "modl = \"x\"\nquota ", "crm.odoo.modl: unknown key", "did you mean `model`?"),
        ("quota ", "model = \"res partner\"\nquota ", "crm.odoo.model: not the technical name of a model", ""),
    ] {
        let text = format!("{STORE}{}{MAPPING}", ODOO.replacen(one, other, 1));
        let problems = load_text(&text.replace("\"erp\"\nmapping", "\"odoo\"\nmapping")).expect_err("it is not sound");
        assert!(problems.contains(beginning) && problems.contains(ending), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}

const HUBSPOT: &str = r#"
[crm.hub]
kind         = "hubspot"
access_token = { env = "HUBSPOT_TOKEN" }
"#;

#[test]
fn a_hubspot_is_read() {
    let with = |crm: &str| format!("{STORE}{crm}{MAPPING}").replace("\"erp\"\nmapping", "\"hub\"\nmapping");
    let hubspot = |text: &str| match &accepted(text).crms["hub"].kind {
        CrmKind::HubSpot(settings) => settings.clone(),
        other => panic!("{other:?}"),
    };
    let one = hubspot(&with(HUBSPOT));
    assert_eq!((one.url.as_str(), one.object.as_str()), ("https://api.hubapi.com", "contacts"));
    assert_eq!(one.create_in_group, None);
    let more = "object = \"2-1234\"\ncreate_properties = true\nproperty_group = \"b2b\"\n";
    let one = hubspot(&with(&format!("{HUBSPOT}{more}")));
    assert_eq!((one.object.as_str(), one.create_in_group.as_deref()), ("2-1234", Some("b2b")));
    for (text, says) in [
        (HUBSPOT.replace("access_token = { env = \"HUBSPOT_TOKEN\" }", ""), "`access_token` is missing"),
        (HUBSPOT.replace("{ env = \"HUBSPOT_TOKEN\" }", "\"pat-eu1-hunter2\""), "crm.hub.access_token: "),
        (format!("{HUBSPOT}object = \"contacts/batch\"\n"), "HubSpot's internal name"),
    ] {
        let problems = load_text(&with(&text)).expect_err("it is not sound");
        assert!(problems.contains(says) && !problems.contains("hunter2"), "{problems}");
    }
}

const SALESFORCE: &str = r#"
[crm.sf]
kind          = "salesforce"
url           = "https://example.my.salesforce.com"
client_id     = "3MVG9"
client_secret = { env = "SALESFORCE_SECRET" }
"#;

#[test]
fn a_salesforce_is_read() {
    let with = |crm: &str| format!("{STORE}{crm}{MAPPING}").replace("\"erp\"\nmapping", "\"sf\"\nmapping");
    let salesforce = |text: &str| match &accepted(text).crms["sf"].kind {
        CrmKind::Salesforce(settings) => settings.clone(),
        other => panic!("{other:?}"),
    };
    let one = salesforce(&with(SALESFORCE));
    assert_eq!(one.grant, SalesforceGrant::ClientCredentials(Secret::Env("SALESFORCE_SECRET".to_owned())));
    assert_eq!((one.object.as_str(), one.external_id), ("Contact", None));
    let kept = salesforce(&with(&format!("{SALESFORCE}external_id = \"Attune__c\"\n")));
    assert_eq!(kept.external_id.as_deref(), Some("Attune__c"));
    let secret = "client_secret = { env = \"SALESFORCE_SECRET\" }";
    let by_key = SALESFORCE.replace(secret, "private_key = { file = \"key.pem\" }\nuser = \"attune@example.com\"");
    let SalesforceGrant::JwtBearer { user, audience, .. } = salesforce(&with(&by_key)).grant else {
        panic!("by a key")
    };
    assert_eq!((user.as_str(), audience.as_str()), ("attune@example.com", "https://login.salesforce.com"));
    for (text, says) in [
        (SALESFORCE.replace(secret, ""), "neither `client_secret`"),
        (format!("{SALESFORCE}private_key = {{ file = \"key.pem\" }}\n"), "both `client_secret` and `private_key`"),
        (by_key.replace("user = \"attune@example.com\"", ""), "`user` is missing"),
        (SALESFORCE.replace("{ env = \"SALESFORCE_SECRET\" }", "\"hunter2\""), "crm.sf.client_secret: "),
        (format!("{SALESFORCE}object = \"Contact WHERE\"\n"), "not the API name of an object"),
        (format!("{SALESFORCE}external_id = \"Attune c\"\n"), "not the API name of a field"),
    ] {
        let problems = load_text(&with(&text)).expect_err("it is not sound");
        assert!(problems.contains(says) && !problems.contains("hunter2"), "{problems}");
    }
}

#[test]
fn a_tryton_is_read_and_its_mistakes_are_named() {
    let sound = "kind = \"tryton\"\nurl = \"https://erp.example.com\"\ndatabase = \"crm\"\nuser = \"attune\"\n\
                 password = { env = \"ERP_URL\" }";
    let tryton = |crm: &str| with("kind  = \"sql\"\nurl   = { env = \"ERP_URL\" }\ntable = \"contacts\"", crm);
    let config = accepted(&tryton(sound));
    let CrmKind::Tryton(settings) = &config.crms["erp"].kind else { panic!("{config:?}") };
    assert_eq!((settings.database.as_str(), settings.model.as_str()), ("crm", "party.party"));
    for (from, to, place, says) in [
        ("user = \"attune\"", "", "crm.erp: ", "`user`"),
        ("\"crm\"", "\"../crm\"", "crm.erp.database: ", "not the name of a database"),
        ("\"attune\"", "\"at:tune\"", "crm.erp.user: ", "a colon"),
        ("https:", "http:", "crm.erp.url: ", "https"),
        ("{ env = \"ERP_URL\" }", "\"hunter2-the-token\"", "crm.erp.password: ", "{ credential = "),
        ("\"attune\"", "\"attune\"\nmodel = \"party party\"", "crm.erp.model: ", "party.party"),
        ("\"attune\"", "\"attune\"\napi_key = \"x\"", "crm.erp.api_key: ", "unknown"),
    ] {
        let problem = problem(&tryton(&sound.replace(from, to)));
        assert!(problem.contains(place) && problem.contains(says), "not {place}{says}: {problem}");
    }
}

#[test]
fn kinds_of_crm_are_known_by_name() {
    refused(
        &with("\"sql\"", "\"hubsopt\""),
        "attune.toml:9: crm.erp.kind: expected `sql`, `odoo`, `rest`, `hubspot`, `salesforce` or `tryton`; did you mean `hubspot`?",
        &[],
    );
    refused(
        &with("{ env = \"ERP_URL\" }", "\"sqlit:erp.db\""),
        "attune.toml:10: crm.erp.url: expected an address that begins with `sqlite`, ",
        &["did you mean `sqlite`?"],
    );
    refused(
        &with("table =", "key = \"updated_at\"\ntable ="),
        "attune.toml:8: crm.erp: `key` and `modified` name the same column",
        &[],
    );
    refused(
        &format!("[state]\nurl = \"postgres://db/state\"\n{}", sound()),
        "attune.toml:2: state.url: a checkpoint outside SQLite is not supported yet: use url = \"sqlite:attune.db\"",
        &[],
    );
    refused(&format!("[state]\nkeep = {{ age = \"23h\" }}\n{}", sound()), "attune.toml:2: state.keep.age: ", &["1d"]);
    refused(
        &format!("[state]\nkeep = {{ rows = 5 }}\n{}", sound()),
        "attune.toml:2: state.keep.rows: ",
        &["age", "writes"],
    );
    refused(
        &format!("[state]\nurl = \"sqlite::memory:\"\n{}", sound()),
        "attune.toml:2: state.url: what is remembered in memory is lost",
        &[],
    );
    refused(
        &format!("[server]\nlisten = \"localhost\"\n{}", sound()),
        "attune.toml:2: server.listen: expected an address and a port in quotes, such as \"127.0.0.1:9464\", or \"off\"",
        &[],
    );
    refused(
        &format!("[server]\nadmin_token = \"{TOKEN}\"\n{}", sound()),
        "attune.toml:2: server.admin_token: a secret never stands in a file: give it as { credential = \"NAME\" }",
        &[],
    );
}

#[test]
fn alerts_need_a_secret_address_and_know_two_shapes() {
    let alerts = |lines: &str| format!("{}[alerts]\n{lines}", sound());
    let config = accepted(&alerts("url = { env = \"HOOK\" }\nformat = \"slack\"\nafter = \"0s\"\n"));
    let url = Secret::Env("HOOK".to_owned());
    assert_eq!(config.alerts, Some(Alerts { url, format: AlertFormat::Slack, after: Duration::ZERO }));
    let line = sound().lines().count() + 1;
    for (lines, number, says) in [
        ("", line, "alerts: `url` is missing: the address of the webhook, as a secret"),
        ("url = \"https://hooks.example.com/hunter2\"", line + 1, "alerts.url: a secret never stands in a file"),
        ("url = { env = \"A\" }\nformat = \"teams\"", line + 2, "alerts.format: expected `json` or `slack`"),
        ("url = { env = \"A\" }\nafter = \"2d\"", line + 2, "alerts.after: out of range: expected 0s to 1d"),
        ("url = { env = \"A\" }\nfomat = \"json\"", line + 2, "alerts.fomat: unknown key"),
    ] {
        let problem = problem(&alerts(lines));
        assert!(problem.starts_with(&format!("attune.toml:{number}: {says}")), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
    let variables = [("ATTUNE__ALERTS__URL", "https://hooks.example.com/hunter2")];
    let files = Files::new(&[("attune.toml", &alerts("url = { file = \"hook\" }\n"))]);
    let config = load(&files.paths, &variables).unwrap();
    assert_eq!(config.alerts.unwrap().url, Secret::Env("ATTUNE__ALERTS__URL".to_owned()));
}

#[test]
fn a_secret_has_exactly_one_way() {
    for (way, says) in [
        ("{}", "store.acme.access_token: expected exactly one way to give a secret: { credential = \"NAME\" }"),
        ("{ env = \"A\", file = \"b\" }", "store.acme.access_token: expected exactly one way to give a secret"),
        (
            "{ credential = \"a/b\" }",
            "store.acme.access_token.credential: expected the name of a credential, not a path",
        ),
        ("{ env = \"$A\" }", "store.acme.access_token.env: expected the name of a variable, without `$`"),
        ("{ command = [] }", "store.acme.access_token.command: empty: expected the program and its arguments"),
        ("{ command = \"pass\" }", "store.acme.access_token.command: expected a list of texts"),
        ("{ file = \"\" }", "store.acme.access_token.file: empty"),
    ] {
        refused(&with("{ credential = \"acme\" }", way), &format!("attune.toml:4: {says}"), &[]);
    }
}

#[test]
fn the_api_is_reached_over_https() {
    refused(
        &with("crm          =", "api_url = \"http://api.bigcommerce.com\"\ncrm ="),
        "attune.toml:5: store.acme.api_url: must be https: over http anybody on the way reads the token",
        &["loopback"],
    );
}

#[test]
fn times_and_numbers_have_bounds() {
    let store = |line: &str| with("crm          =", &format!("{line}\ncrm ="));
    for (line, says) in [
        ("poll = \"fast\"", "poll: expected a duration: a whole number and its unit, such as \"500ms\""),
        ("poll = \"1ms\"", "poll: out of range: expected 10ms to 1d"),
        ("poll = \"2d\"", "poll: out of range"),
        ("overlap = \"8d\"", "overlap: out of range: expected 0s to 7d"),
        ("quarantine = \"99999999999999999999s\"", "quarantine: longer than the longest duration, 366d"),
        ("sweep = \"weekly\"", "sweep: expected \"daily\", \"off\", or a cron pattern in UTC of five fields"),
        ("sweep = \"61 * * * *\"", "sweep: a field of this cron pattern is out of its range or misspelt"),
        ("sweep = \"* * * * * * *\"", "sweep: expected \"daily\""),
        ("quota = { share = 1.5 }", "quota.share: out of range: expected 0.01 to 1"),
        ("quota = { share = 0 }", "quota.share: out of range"),
        ("quota = { share = nan }", "quota.share: out of range"),
        ("rails = { writes = { percent = 101 } }", "rails.writes.percent: out of range: expected 0 to 100"),
        ("rails = { clears = { percent = -1 } }", "rails.clears.percent: out of range"),
        ("rails = { deletes = { count = -1 } }", "rails.deletes.count: out of range: expected 0 to 1000000000"),
        ("rails = { deletes = { count = 9223372036854775808 } }", "rails.deletes.count: out of range"),
        ("store_hash2 = 1", "store_hash2: unknown key; did you mean `store_hash`?"),
    ] {
        refused(&store(line), &format!("attune.toml:5: store.acme.{says}"), &[]);
    }
    refused(
        &with("\"abc123\"", "\"https://store-abc123.mybigcommerce.com\""),
        "attune.toml:3: store.acme.store_hash: not a store hash: expected the letters and digits after /stores/",
        &[],
    );
}

#[test]
fn defaults_are_checked_even_where_every_store_overrides_them() {
    let overridden = with("crm          =", "poll = \"5s\"\ncrm =");
    refused(&format!("[defaults]\npoll = 5\n{overridden}"), "attune.toml:2: defaults.poll: expected a duration", &[]);
    let twice =
        format!("[defaults]\npoll = 5\n{}{}", sound(), STORE.replace("acme", "beta").replace("abc123", "def456"));
    refused(&twice, "attune.toml:2: defaults.poll: expected a duration", &[]);
}

// ---- mappings ---------------------------------------------------------------------------------------------------

#[test]
fn a_match_names_something() {
    refused(
        &with("[{ store = \"customer:email\", crm = \"email\" }]", "[]"),
        "attune.toml:14: mapping.b2b.match: empty: nobody would ever be linked",
        &[],
    );
    refused(
        &with("[{ store = \"customer:email\", crm = \"email\" }]", "[{ store = \"customer:email\" }]"),
        "attune.toml:14: mapping.b2b.match[0]: `crm` is missing",
        &[],
    );
    let rule = "{ store = \"customer:email\", crm = \"email\" }";
    refused(&with(rule, &format!("{rule}, {rule}")), "attune.toml:14: mapping.b2b.match[1]: the same rule twice", &[]);
}

#[test]
fn only_names_known_sides_and_some_values() {
    let only = |text: &str| with("field =", &format!("only = {text}\nfield ="));
    refused(
        &only("{ erp = { a = [\"x\"] } }"),
        "attune.toml:15: mapping.b2b.only.erp: unknown key; did you mean `crm`?",
        &[],
    );
    refused(
        &only("{ crm = { a = [] } }"),
        "attune.toml:15: mapping.b2b.only.crm.a: empty: no record could take part",
        &[],
    );
    refused(&only("{ crm = { a = [1] } }"), "attune.toml:15: mapping.b2b.only.crm.a[0]: expected text in quotes", &[]);
    refused(
        &only("{ store = { \"customer:grup\" = [\"x\"] } }"),
        "attune.toml:15: mapping.b2b.only.store.\"customer:grup\": a customer has no field `grup`; did you mean `customer:group`?",
        &[],
    );
}

#[test]
fn two_way_words_are_one_to_one() {
    let same = "store = \"attribute:T\", crm = \"t\", values = { gold = \"Top\", silver = \"Top\" }";
    refused_field(
        same,
        ".values.silver",
        &["not one-to-one: the CRM's words `gold` and `silver` have the same store word", "direction = \"to_store\""],
    );
    refused_field(
        &format!("{same}, direction = \"to_crm\""),
        ".values.silver",
        &["not one-to-one", "flows to the CRM"],
    );
    accepted(&with_field(&format!("{same}, direction = \"to_store\"")));
    refused_field(
        "store = \"attribute:T\", crm = \"t\", values = { gold = \"Top\", \" gold\" = \"Other\" }",
        ".values.gold",
        &["the same word twice"],
    );
    refused_field("store = \"attribute:T\", crm = \"t\", values = { gold = \"\" }", ".values.gold", &["empty"]);
    refused_field("store = \"attribute:T\", crm = \"t\", values = { gold = 1 }", ".values.gold", &["expected text"]);
}

#[test]
fn a_target_is_written_by_one_field() {
    let two = |first: &str, second: &str| {
        with(
            "[{ store = \"attribute:Job title\", crm = \"job_title\" }]",
            &format!("[\n{{ {first} }},\n{{ {second} }},\n]"),
        )
    };
    assert_eq!(
        problem(&two(
            "store = \"attribute:A\", crm = \"x\"",
            "store = \"attribute:B\", crm = \"x\", direction = \"to_crm\""
        )),
        "attune.toml:17: mapping.b2b.field[1]: two fields write one target: `attribute:A` (line 16) and `attribute:B` both \
         write the CRM's `x`; set direction = \"to_store\" on all but one"
    );
    accepted(&two(
        "store = \"attribute:A\", crm = \"x\"",
        "store = \"attribute:B\", crm = \"x\", direction = \"to_store\"",
    ));
    assert_eq!(
        problem(&two("store = \"attribute:A\", crm = \"x\"", "store = \"attribute:A\", crm = \"y\"")),
        "attune.toml:17: mapping.b2b.field[1]: two fields write one target: `attribute:A` is mapped twice (line 16): a store field stands once in a mapping"
    );
}

#[test]
fn store_fields_are_known() {
    let to_crm = "direction = \"to_crm\"";
    for (store, says) in [
        (
            "customer:id",
            "`customer:id` is read-only (BigCommerce sets it), and this field would write it: set direction = \"to_crm\"",
        ),
        ("customer:origin_channel_id", "`customer:origin_channel_id` is read-only (BigCommerce sets it)"),
        ("customer:store_credit", "`customer:store_credit` is read-only (it is money), and this field would write it"),
        (
            "customer:email",
            "`customer:email` is the customer's login, and this field would write it: set direction = \"to_crm\", or \
             allow_side_effects = true if that is what you want",
        ),
        ("customer:channel_ids", "`customer:channel_ids` decides where the customer can log in, and this field would"),
        ("customer:emial", "a customer has no field `emial`; did you mean `customer:email`?"),
        ("atribute:A", "there are no store fields `atribute:…`; did you mean `attribute:A`?"),
        (
            "Job title",
            "not a store field: expected `address:NAME`, `attribute:NAME`, `customer:NAME`, `form_field:NAME`, \
             `metafield:NAMESPACE/KEY`, `segment:NAME`, `segments` or `subscriber:CONSENT`; did you mean \
             `attribute:Job title`?",
        ),
        ("attribute:", "expected `attribute:NAME`"),
        ("attribute: A", "expected `attribute:NAME`, with no space"),
        ("form_field:", "expected `form_field:NAME`, with no space around the form field's name"),
        ("metafield:a", "expected `metafield:NAMESPACE/KEY`, each of 1 to 64 characters without commas"),
        ("metafield:a,b/c", "expected `metafield:NAMESPACE/KEY`"),
        ("address:town", "an address has no field `town`"),
        ("address:country", "`address:country` is read-only (BigCommerce takes it from `address:country_code`)"),
        ("subscriber:all", "there is no consent `all`: there are `marketing_newsletter` and `abandoned_cart`"),
        ("segment:", "expected `segment:NAME`, with no space around the segment's name"),
        ("", "empty"),
    ] {
        refused_field(&format!("store = \"{store}\", crm = \"x\""), ".store", &[says]);
    }
    for store in ["customer:id", "customer:email", "customer:store_credit", "customer:channel_ids"] {
        accepted(&with_field(&format!("store = \"{store}\", crm = \"x\", {to_crm}")));
    }
    let written = ["customer:company", "customer:group", "form_field:Size", "customer:name", "metafield:erp/a/b"];
    for store in written.into_iter().chain(["address:city", "address:country_code"]) {
        accepted(&with_field(&format!("store = \"{store}\", crm = \"x\"")));
    }
    for store in ["customer:email", "customer:channel_ids"] {
        let config = accepted(&with_field(&format!("store = \"{store}\", crm = \"x\", allow_side_effects = true")));
        assert!(config.mappings["b2b"].fields[0].options.allow_side_effects, "{store}");
    }
}

#[test]
fn segments_and_consents_have_their_types_and_options() {
    let newsletter = "store = \"subscriber:marketing_newsletter\", crm = \"x\", type = \"boolean\"";
    let gold = "store = \"segment:Gold\", crm = \"x\", type = \"boolean\"";
    let list = "store = \"segments\", crm = \"x\", type = \"list\"";
    for sound in [newsletter, gold] {
        accepted(&with_field(sound));
    }
    let config = accepted(&with_field(&format!("{list}, among = [\"Silver\", \"Gold\"]")));
    assert_eq!(config.mappings["b2b"].fields[0].options.among, ["Gold", "Silver"]);
    for (field, place, says) in [
        ("store = \"segment:Gold\", crm = \"x\"".to_owned(), "", "`segment:Gold` needs type = \"boolean\""),
        (gold.replace("boolean", "list"), ".type", "needs type = \"boolean\": somebody is in a segment or is not"),
        (newsletter.replace("boolean", "string"), ".type", "somebody consented or did not"),
        (format!("{}, among = [\"A\"]", list.replace("list", "string")), ".type", "needs type = \"list\""),
        (list.to_owned(), "", "`among` is missing: which segments the list is about"),
        (format!("{list}, among = []"), ".among", "empty"),
        (format!("{list}, among = [\"A\", \"A\"]"), ".among", "each once"),
        (format!("{gold}, among = [\"A\"]"), ".among", "belongs to `segments` alone"),
        (format!("{gold}, permission_set = \"read\""), ".permission_set", "belongs to `metafield:…` alone"),
        (format!("{newsletter}, conflict = \"crm\""), ".conflict", "a refusal wins every conflict"),
        (format!("{newsletter}, overwrite = false"), ".overwrite", "a refusal always goes through"),
        (format!("{newsletter}, on_clear = \"restore\""), ".on_clear", "consent is never restored"),
    ] {
        refused_field(&field, place, &[says]);
    }
    let metafield = "store = \"metafield:erp/id\", crm = \"x\"";
    let config = accepted(&with_field(&format!("{metafield}, permission_set = \"write\"")));
    assert_eq!(config.mappings["b2b"].fields[0].options.permission_set.as_deref(), Some("write"));
    refused_field(&format!("{metafield}, permission_set = \"all\""), ".permission_set", &["expected `app_only`"]);
    // One segment can narrow who takes part; a list of them cannot.
    let only =
        |store: &str| with("[mapping.b2b]", &format!("[mapping.b2b]\nonly = {{ store = {{ {store} = [\"true\"] }} }}"));
    accepted(&only("\"segment:Gold\""));
    assert!(load_text(&only("segments")).unwrap_err().contains("name one segment here, `segment:NAME`"));
}

#[test]
fn which_address_is_meant_is_said_by_the_mapping() {
    let city = with_field("store = \"address:city\", crm = \"x\"");
    let with_address = |address: &str| city.replace("[mapping.b2b]", &format!("[mapping.b2b]\naddress = {address}"));
    for (address, mark) in
        [("\"first\"", None), ("{ form_field = \"Kind\", value = \"Billing\" }", Some(("Kind", "Billing")))]
    {
        let config = accepted(&with_address(address));
        let meant = config.mappings["b2b"].fields[0].options.address.as_ref();
        assert_eq!(meant.map(|mark| (mark.form_field.as_str(), mark.value.as_str())), mark);
    }
    for (address, says) in [
        ("\"last\"", "expected \"first\", or the form field that says which"),
        ("{ form_field = \"Kind\" }", "`value` is missing"),
        ("{ form_fields = \"Kind\", value = \"B\" }", "unknown key"),
        ("3", "expected a table"),
    ] {
        let said = load_text(&with_address(address)).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn what_a_field_is_about_is_one_for_all_mappings_of_a_store() {
    let two = |first: &str, second: &str, fields: (&str, &str)| {
        let text = with_field(fields.0)
            .replace(
                "crm          = \"erp\"\nmapping      = \"b2b\"\n",
                "sync = [{ crm = \"erp\", mapping = \"b2b\" }, { crm = \"news\", mapping = \"news\" }]\n",
            )
            .replace("[mapping.b2b]", &format!("[mapping.b2b]\n{first}"));
        let match_rule = "match = [{ store = \"customer:email\", crm = \"email\" }]";
        format!(
            "{text}\n[crm.news]\nkind = \"sql\"\nurl = \"sqlite:news.db\"\ntable = \"people\"\n[mapping.news]\n{match_rule}\n{second}\n\
             field = [{{ {} }}]\n",
            fields.1
        )
    };
    let mark = "address = { form_field = \"Kind\", value = \"Billing\" }";
    let (city, phone) = ("store = \"address:city\", crm = \"x\"", "store = \"address:phone\", crm = \"y\"");
    accepted(&two(mark, mark, (city, phone)));
    accepted(&two("", "address = \"first\"", (city, phone)));
    let said = load_text(&two(mark, "", (city, phone))).unwrap_err();
    assert!(said.contains("[mapping.b2b]") && said.contains("different things of `address:…`"), "{said}");
    let list = |among: &str| format!("store = \"segments\", crm = \"x\", type = \"list\", among = [\"{among}\"]");
    accepted(&two("", "", (&list("Gold"), &list("Gold"))));
    let said = load_text(&two("", "", (&list("Gold"), &list("Silver")))).unwrap_err();
    assert!(said.contains("different things of `segments`"), "{said}");
}

#[test]
fn a_list_may_have_a_separator_in_the_crm() {
    let list = "store = \"form_field:Sizes\", crm = \"sizes\", type = \"list\"";
    let config = accepted(&with_field(&format!("{list}, separator = \";\"")));
    assert_eq!(config.mappings["b2b"].fields[0].options.separator.as_deref(), Some(";"));
    accepted(&with_field(list));
    for (wrong, says) in [("\"\"", "empty"), ("\"123456789\"", "expected what stands between"), ("1", "expected text")]
    {
        refused_field(&format!("{list}, separator = {wrong}"), ".separator", &[says]);
    }
}

#[test]
fn a_name_and_its_parts_are_one_target() {
    let both = |more: &str| {
        with(
            "{ store = \"attribute:Job title\", crm = \"job_title\" }",
            &format!(
                "{{ store = \"customer:name\", crm = \"a\" }}, {{ store = \"customer:last_name\", crm = \"b\"{more} }}"
            ),
        )
    };
    let said = load_text(&both("")).unwrap_err();
    assert!(said.contains("two fields write one target: `customer:name` and `customer:last_name`"), "{said}");
    accepted(&both(", direction = \"to_crm\""));
}

#[test]
fn crm_fields_are_checked_beside_their_crm() {
    for (crm, says) in [
        ("@key", "`@key` is read-only, and this field would write it: set direction = \"to_store\""),
        ("@kye", "the only name that begins with `@` is `@key`"),
        ("account.wholesaler_id", "one buyer's edit must not change all of them: set direction = \"to_store\""),
        ("a.b.c", "expected one dot at most"),
        ("\\u0000", "holds a control character"),
    ] {
        refused_field(&format!("store = \"attribute:A\", crm = \"{crm}\""), ".crm", &[says]);
    }
    let dotted = with_field("store = \"attribute:A\", crm = \"account.wholesaler_id\", direction = \"to_store\"");
    refused_field(
        "store = \"attribute:A\", crm = \"account.wholesaler_id\", direction = \"to_store\"",
        "",
        &["[crm.erp] does not say how: add [crm.erp.relation.account] with `table` and `from`"],
    );
    accepted(&format!("{dotted}\n[crm.erp.relation.account]\ntable = \"accounts\"\nfrom = \"account_id\"\n"));
    for (column, role) in [("id", "key"), ("updated_at", "modified")] {
        refused_field(
            &format!("store = \"attribute:A\", crm = \"{column}\""),
            "",
            &[&format!("`{column}` is the `{role}` column of [crm.erp], and this field would write it")],
        );
        accepted(&with_field(&format!("store = \"attribute:A\", crm = \"{column}\", direction = \"to_store\"")));
    }
}

#[test]
fn partners_are_made_and_deleted_where_the_mapping_says_so() {
    for create in ["none", "store", "crm", "both"] {
        accepted(&with("field =", &format!("create = \"{create}\"\nfield =")));
    }
    accepted(&with("field =", "on_delete = \"delete\"\nfield ="));
}

#[test]
fn what_is_to_come_says_so() {
    refused(
        &with("field =", "create = \"shop\"\nfield ="),
        "attune.toml:15: mapping.b2b.create: expected `none`, `store`, `crm` or `both`; did you mean `store`?",
        &[],
    );
}

#[test]
fn every_problem_is_said_at_once_and_by_line() {
    let text = format!(
        "{}{}",
        with("\"abc123\"", "7")
            .replace("\"acme\" }", "3 }")
            .replace("\"contacts\"", "\"\"")
            .replace("job_title\" }", "id\", typ = 1 }"),
        "[log]\nlevel = \"loud\"\n"
    );
    let problems = load_text(&text).unwrap_err();
    let places: Vec<&str> = problems.lines().map(|line| line.splitn(3, ": ").take(2).last().unwrap()).collect();
    assert_eq!(
        places,
        [
            "store.acme.store_hash",
            "store.acme.access_token.credential",
            "crm.erp.table",
            "mapping.b2b.field[0].typ",
            "log.level"
        ]
    );
}

#[test]
fn problems_are_data_too() {
    let files = Files::new(&[("attune.toml", &with("job_title", "id"))]);
    let problems = config::load(&files.paths, std::iter::empty()).unwrap_err();
    let json = serde_json::to_value(problems.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!((&json[0]["line"], &json[0]["path"]), (&15.into(), &"mapping.b2b.field[0]".into()));
    assert!(json[0]["file"].as_str().unwrap().ends_with("/attune.toml"));
    assert!(json[0]["message"].as_str().unwrap().starts_with("`id` is the `key` column of [crm.erp]"));
}

/// An API that is described in full.
const API: &str = r#"
[crm.erp]
kind     = "rest"
url      = "https://crm.example.com/api"
auth     = { header = "X-Key", secret = { credential = "crm" } }
modified = "updated_at"
[crm.erp.list]
path   = "/contacts"
paging = "key"
after  = "after={key}"
since  = "since={since}"
keys   = "ids={keys}"
[crm.erp.write]
path = "/contacts/{key}"
"#;

fn with_api(from: &str, to: &str) -> String {
    assert!(API.contains(from), "nothing to replace: {from}");
    format!("{STORE}{}{MAPPING}", API.replace(from, to))
}

#[test]
fn an_api_is_described_on_top_of_a_profile() {
    let crm = |text: &str| match Files::new(&[("attune.toml", text)]).load(&[]).unwrap().crms["erp"].kind.clone() {
        CrmKind::Rest(settings) => *settings,
        other => panic!("{other:?}"),
    };
    let plain = crm(&with_api("modified", "created = \"made_at\"\nmodified"));
    assert_eq!(
        (plain.api.key.as_str(), plain.api.modified.as_deref(), plain.api.created.as_deref()),
        ("id", Some("updated_at"), Some("made_at"))
    );
    assert_eq!(plain.api.list.paging, ApiPaging::Key { after: "after={key}".to_owned(), next: None });
    assert_eq!(plain.api.write.as_ref().unwrap().body, ApiBody::Record);
    // A profile's keys are overridden one by one, in its tables too; an empty text takes one out.
    let api = r#"
[crm.erp]
kind       = "rest"
profile    = "odata"
url        = "https://crm.example.com/odata"
auth       = { token_url = "https://login.example.com/token", client_id = "attune", secret = { credential = "crm" } }
collection = "Contacts"
created    = ""
list.page_size = 50
write.headers  = { Prefer = "return=minimal", If-Match = "" }
"#;
    let profiled = crm(&format!("{STORE}{api}{MAPPING}"));
    assert_eq!(
        (profiled.api.key.as_str(), profiled.api.created, profiled.api.etag.as_deref()),
        ("ID", None, Some("@odata.etag"))
    );
    assert_eq!((profiled.api.list.page_size, profiled.api.list.keys_max), (50, 40));
    let headers: Vec<_> = profiled.api.write.unwrap().headers.into_iter().collect();
    assert_eq!(headers, [("Prefer".to_owned(), "return=minimal".to_owned())]);
    assert!(matches!(profiled.auth, RestAuth::OAuth { scope: None, .. }));
    assert_eq!(profiled.api.create.unwrap().exists, [409]);
    assert!(profiled.api.delete.unwrap().headers.contains_key("If-Match"));
    for profile in ["directus", "nocodb", "dataverse"] {
        let settings = crm(&format!("{STORE}{}{MAPPING}", api.replace("\"odata\"", &format!("\"{profile}\""))));
        assert!(settings.api.list.since.is_some() && settings.api.write.is_some(), "{profile}");
        assert_eq!((settings.api.create.is_some(), settings.api.delete.is_some()), (true, profile != "nocodb"));
    }
}

#[test]
fn what_is_wrong_with_an_api_is_said() {
    for (from, to, message, also) in [
        ("modified =", "profile = \"directsu\"\nmodified =", "crm.erp.profile: expected ", "did you mean `directus`?"),
        ("header = \"X-Key\", ", "", "crm.erp.auth: expected exactly one of `header`", "`token_url`"),
        ("header = \"X-Key\"", "header = \"X Key\"", "crm.erp.auth.header: not the name of a header", ""),
        ("{ credential = \"crm\" }", "\"hunter2-the-token\"", "crm.erp.auth.secret: ", ""),
        (
            "modified =",
            "headers = { Authorization = \"hunter2-the-token\" }\nmodified =",
            "crm.erp.headers.Authorization: this header holds a secret",
            "",
        ),
        ("modified = \"updated_at\"\n", "", "crm.erp: `since` of `list` asks since when", ""),
        ("keys   = \"ids={keys}\"\n", "", "crm.erp: records cannot be read by their keys", "`read`"),
        ("\"ids={keys}\"", "\"ids={kesy}\"", "crm.erp.list.keys: {kesy} stands for nothing", "did you mean `keys`?"),
        ("after  = \"after={key}\"\n", "", "crm.erp.list: `after` is missing", ""),
        ("paging = \"key\"", "paging = \"page\"", "crm.erp.list: `total` is missing", ""),
        ("paging = \"key\"", "paging = \"cursor\"", "crm.erp.list: `next` is missing", ""),
        ("path   = \"/contacts\"", "path = \"/contacts?x=1\"", "crm.erp.list.path: not a path", "`query`"),
        ("path   = \"/contacts\"", "path = \"/{collection}\"", "crm.erp: `collection` is missing", ""),
        ("modified =", "time = \"%\"\nmodified =", "crm.erp.time: not a form of times", ""),
        ("modified = \"updated_at\"", "modified = \"id\"", "crm.erp: `key` and `modified` name the same field", ""),
        ("paging = \"key\"", "records = \"data\"\npaging = \"key\"", "crm.erp.list.records: not a JSON pointer", ""),
        (
            "path = \"/contacts/{key}\"",
            "path = \"/contacts\"\nbody = \"array\"\n[crm.erp.types]\nx = \"txet\"",
            "crm.erp.types.x: expected ",
            "did you mean `text`?",
        ),
        ("modified =", "etag = \"etag\"\nmodified =", "", ""),
        ("modified =", "create.path = \"/contacts\"\nmodified =", "", ""),
        ("modified =", "create.path = \"/contacts/{key}\"\nmodified =", "crm.erp.create.path: {key} stands for", ""),
        ("modified =", "create.query = \"x=1\"\nmodified =", "crm.erp.create: `path` is missing", ""),
        ("modified =", "create.path = \"/{collection}\"\nmodified =", "crm.erp: `collection` is missing", ""),
        ("modified =", "delete.path = \"/contacts/{key}\"\nmodified =", "", ""),
        (
            "modified =",
            "delete.path = \"/contacts\"\nmodified =",
            "crm.erp.delete: `path` of `delete` has no place",
            "",
        ),
        ("modified =", "delete.path = \"/{collection}/{key}\"\nmodified =", "crm.erp: `collection` is missing", ""),
        ("https://crm.example.com", "http://crm.example.com", "crm.erp.url: must be https", ""),
    ] {
        let text = with_api(from, to);
        if message.is_empty() {
            Files::new(&[("attune.toml", &text)]).load(&[]).unwrap();
            continue;
        }
        let problems = Files::new(&[("attune.toml", &text)]).load(&[]).unwrap_err();
        assert!(problems.contains(message) && problems.contains(also), "{to}: {problems}");
        assert!(!problems.contains(TOKEN), "{problems}");
    }
    let conditional = with_api("modified =", "etag = \"etag\"\nmodified =")
        .replace("path = \"/contacts/{key}\"", "path = \"/contacts\"\nbody = \"array\"");
    let problems = Files::new(&[("attune.toml", &conditional)]).load(&[]).unwrap_err();
    assert!(problems.contains("a list of records has no place for conditions"), "{problems}");
    // What the connector itself needs is not written, and nothing where there is no `write`.
    let own = with_api("modified =", "created = \"job_title\"\nmodified =");
    let problems = Files::new(&[("attune.toml", &own)]).load(&[]).unwrap_err();
    assert!(problems.contains("`job_title` is the `created` field of [crm.erp]"), "{problems}");
    let read_only = with_api("[crm.erp.write]\npath = \"/contacts/{key}\"", "");
    let problems = Files::new(&[("attune.toml", &read_only)]).load(&[]).unwrap_err();
    assert!(problems.contains("[crm.erp] has no `write`"), "{problems}");
}
