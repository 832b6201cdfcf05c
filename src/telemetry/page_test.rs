//! Holds `docs/events.md` and the events together: names, levels, fields and example lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;

use super::logging::subscriber;
use super::{Event, Format, Pair, Source};
use crate::model::{Class, HeldReason, Side};

const PAGE: &str = include_str!("../../docs/events.md");

const PAIR: Pair<'static> = Pair { store: "acme", crm: "erp" };
const STORE: Source<'static> = Source::Store("acme");
const CRM: Source<'static> = Source::Crm("erp");
const DETAIL: Option<&str> = Some("no customer jane@example.com");

/// One of each with every field filled; the first of a name is the example on the page.
fn samples() -> Vec<Event<'static>> {
    let mut samples = vec![
        Event::DaemonStarted { version: "0.1.0", stores: 2, crms: 1, pairs: 2 },
        Event::DaemonStopped { reason: "SIGTERM", finished: true, duration_ms: 86_400_000 },
        Event::ConfigReloaded { stores: 3, crms: 1, pairs: 3 },
        Event::ConfigRejected {
            problems: 1,
            reason: "/etc/attune/attune.toml:12: unknown key `pol` in [store.acme]: did you mean `poll`?",
        },
        completed(),
        Event::PassFailed {
            pair: PAIR,
            pass: 1842,
            duration_ms: 30_012,
            class: Class::Retry,
            reason: "store acme did not answer within 30 s; it is asked again by itself",
            status: Some(503),
            request_id: Some("7f3c"),
            retry_in_ms: Some(2000),
            detail: DETAIL,
        },
        Event::StoreHeartbeat {
            pair: PAIR,
            state: "in agreement",
            passes: 30,
            pending: 0,
            held: 2,
            lag_ms: Some(12_400),
        },
        Event::LinkCreated { pair: PAIR, pass: 1, store_key: "4711", crm_key: "C-17", by: "customer:email" },
        Event::RecordCreated { pair: PAIR, pass: 7, side: Side::Crm, store_key: "4711", crm_key: "C-17" },
        Event::RecordCreated { pair: PAIR, pass: 7, side: Side::Store, store_key: "4711", crm_key: "C-17" },
        Event::RecordDeleted {
            pair: PAIR,
            pass: 90,
            side: Side::Crm,
            store_key: "4711",
            crm_key: "C-17",
            partner_deleted: false,
        },
        Event::RecordDeleted {
            pair: PAIR,
            pass: 90,
            side: Side::Store,
            store_key: "4711",
            crm_key: "C-17",
            partner_deleted: true,
        },
        Event::AttributeCreated { source: STORE, field: "attribute:Job title", attribute_id: "12" },
        Event::FieldHeld {
            pair: PAIR,
            pass: 1842,
            store_key: "4711",
            crm_key: "C-17",
            field: "attribute:Job title",
            reason: HeldReason::CannotBeTaken,
            detail: DETAIL,
        },
        Event::RecordHeld {
            pair: PAIR,
            pass: 1842,
            side: Side::Store,
            key: "4711",
            reason: HeldReason::Ambiguous,
            candidates: 2,
        },
        Event::ConflictResolved {
            pair: PAIR,
            pass: 1842,
            store_key: "4711",
            crm_key: "C-17",
            field: "attribute:Job title",
            winner: Side::Crm,
            policy: "newest",
        },
        Event::RailStopped { pair: PAIR, pass: 1842, rail: "clears", count: 140, limit: 100 },
        Event::CheckpointBehind {
            pair: PAIR,
            reason: "both sides hold newer values than were ever agreed on; they are compared first, nothing is written",
        },
        Event::OperatorActed { target: Some(STORE), action: "approve", count: 140 },
        Event::OperatorActed { target: Some(CRM), action: "resume", count: 1 },
        Event::OperatorActed { target: None, action: "held retry", count: 3 },
    ];
    samples.extend(about_a_source(STORE));
    samples.extend(about_a_source(CRM));
    samples
}

fn about_a_source(source: Source<'static>) -> Vec<Event<'static>> {
    vec![
        Event::SweepCompleted { source, duration_ms: 91_204, records: 100_000, gone: 3, drift: 0, calls: 402 },
        Event::SchemaChanged {
            source,
            field: "attribute:Job title",
            reason: "its definition is gone; the field is held until the definition or the mapping is put right",
        },
        Event::QuotaWaiting { source, wait_ms: 4200, left: Some(30), quota: Some(150) },
        Event::QuotaThrottled { source, wait_ms: 15_000, request_id: Some("7f3c") },
        Event::SourcePaused { source, reason: "by an operator" },
        Event::SourceRecovered { source, duration_ms: 61_000 },
        Event::SourceUnauthorized {
            source,
            reason: "the access token is refused; give a valid one, the daemon reads it again by itself",
            status: Some(401),
            request_id: Some("7f3c"),
            retry_in_ms: Some(300_000),
            detail: DETAIL,
        },
        Event::SourceUnreachable {
            source,
            reason: "it answered with an error; it is asked again by itself",
            status: Some(503),
            request_id: Some("7f3c"),
            failures: 3,
            retry_in_ms: Some(4000),
            detail: DETAIL,
        },
        Event::ClockSkewed { source, ahead_ms: 7_200_000, records: 4 },
        Event::DriftFound { source, drift: 3 },
    ]
}

/// A pass that balances and did something.
fn completed() -> Event<'static> {
    pass([3, 1, 5, 2, 1, 1, 1, 1, 4], 19)
}

fn pass(parts: [u64; 9], observed: u64) -> Event<'static> {
    let [unchanged, agreed, written, held, kept, superseded, pending, failed, unlinked] = parts;
    Event::PassCompleted {
        pair: PAIR,
        pass: 1842,
        duration_ms: 840,
        observed,
        unchanged,
        agreed,
        written,
        held,
        kept,
        superseded,
        pending,
        failed,
        unlinked,
        links_created: 0,
        records_created: 0,
        records_deleted: 0,
        conflicts: 0,
        put_back: 0,
        store_writes: written,
        crm_writes: 0,
        store_calls: 4,
        crm_calls: 2,
        recheck_window_ms: 310,
    }
}

/// Stands in for stderr.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written, as text.
fn lines(format: Format, level: LevelFilter, speak: impl FnOnce()) -> Vec<String> {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing::subscriber::with_default(subscriber(format, level, move || writer.clone()), speak);
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn json(level: LevelFilter, speak: impl FnOnce()) -> Vec<Map<String, Value>> {
    lines(Format::Json, level, speak).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The one line that an event is at `info`, or at `debug` without its detail.
fn line_of(event: &Event<'_>) -> Map<String, Value> {
    let mut all = json(LevelFilter::DEBUG, || event.emit());
    all.retain(|line| line.contains_key("event"));
    assert_eq!(all.len(), 1, "{} is one line", event.name());
    let mut line = all.remove(0);
    assert!(line.remove("timestamp").is_some());
    line
}

/// What the page says of one event.
#[derive(Default)]
struct Described {
    levels: String,
    fields: BTreeSet<String>,
    example: Map<String, Value>,
    text: String,
}

/// Reads the page: `## `name``, `**Level:** …`, rows `| `field` | …`, one fenced JSON line.
fn page() -> BTreeMap<String, Described> {
    let mut events = BTreeMap::new();
    for section in PAGE.split("\n## `").skip(1) {
        let (name, body) = section.split_once('`').unwrap();
        let mut described = Described { text: body.to_owned(), ..Described::default() };
        for line in body.lines() {
            if let Some(levels) = line.strip_prefix("Level: ") {
                levels.clone_into(&mut described.levels);
            } else if let Some(row) = line.strip_prefix("| `") {
                described.fields.insert(row.split_once('`').unwrap().0.to_owned());
            } else if line.starts_with('{') {
                described.example = serde_json::from_str(line).unwrap();
            }
        }
        assert!(events.insert(name.to_owned(), described).is_none(), "{name} is on the page twice");
    }
    events
}

#[test]
fn the_page_and_the_code_name_the_same_events() {
    let on_page: BTreeSet<_> = page().into_keys().collect();
    let in_code: BTreeSet<_> = Event::NAMES.iter().map(|name| (*name).to_owned()).collect();
    let in_samples: BTreeSet<_> = samples().iter().map(|event| event.name().to_owned()).collect();
    assert_eq!(on_page, in_code);
    assert_eq!(in_samples, in_code);
}

#[test]
fn the_page_and_the_code_agree_on_fields_levels_and_examples() {
    let mut written: BTreeMap<&str, Vec<Map<String, Value>>> = BTreeMap::new();
    for event in samples() {
        written.entry(event.name()).or_default().push(line_of(&event));
    }
    for (name, described) in page() {
        let lines = &written[name.as_str()];
        let common = ["level", "event", "message", "target"];
        let fields: BTreeSet<_> =
            lines.iter().flat_map(Map::keys).filter(|key| !common.contains(&key.as_str())).cloned().collect();
        assert_eq!(described.fields, fields, "the fields of {name}");
        let mut example = described.example.clone();
        assert!(example.remove("timestamp").is_some(), "the example of {name} has a timestamp");
        let right = serde_json::to_string(&lines[0]).unwrap();
        assert_eq!(&example, &lines[0], "the example of {name} is not what it writes (keep a timestamp): {right}");
        for line in lines {
            let level = line["level"].as_str().unwrap().to_lowercase();
            assert!(described.levels.contains(&format!("`{level}`")), "the page gives {name} the level {level}");
        }
        for heading in ["What it means: ", "What to do: "] {
            assert!(described.text.contains(heading), "{name} says {heading}");
        }
    }
}

#[test]
fn store_and_crm_are_on_every_event_about_one() {
    for event in samples() {
        let line = line_of(&event);
        let about = (line.contains_key("store"), line.contains_key("crm"));
        let about_the_process = event.name().starts_with("daemon.")
            || event.name().starts_with("config.")
            || matches!(event, Event::OperatorActed { target: None, .. });
        assert_eq!(about == (false, false), about_the_process, "{}", event.name());
        if line.contains_key("pass") {
            assert_eq!(about, (true, true), "{} is about a pair", event.name());
        }
    }
}

#[test]
fn what_a_system_said_is_shown_at_debug_only() {
    for event in samples() {
        let shown = lines(Format::Json, LevelFilter::INFO, || event.emit());
        assert!(!shown.iter().any(|line| line.contains("jane@example.com")), "{}", event.name());
    }
    let failed = samples().into_iter().find(|event| event.name() == "pass.failed").unwrap();
    let all = json(LevelFilter::DEBUG, || failed.emit());
    let detail = all.iter().find(|line| line.contains_key("detail")).unwrap();
    assert_eq!(detail["level"], "DEBUG");
    assert_eq!(detail["about"], "pass.failed");
    assert_eq!(detail["store"], "acme");
    assert!(!detail.contains_key("event"));
}

#[test]
fn a_completed_pass_is_news_only_when_something_happened_and_an_error_when_it_does_not_balance() {
    assert_eq!(completed().level(), tracing::Level::INFO);
    assert_eq!(pass([7, 0, 0, 2, 1, 0, 1, 0, 4], 15).level(), tracing::Level::DEBUG);
    assert_eq!(pass([7, 1, 0, 0, 0, 0, 0, 0, 0], 8).level(), tracing::Level::INFO);
    assert_eq!(pass([7, 0, 0, 0, 0, 0, 0, 0, 0], 8).level(), tracing::Level::ERROR);
    assert_eq!(pass([u64::MAX, 1, 0, 0, 0, 0, 0, 0, 0], 0).level(), tracing::Level::ERROR);
    assert!(line_of(&pass([0; 9], 1))["message"].as_str().unwrap().contains("does not balance"));
}

#[test]
fn an_event_about_one_record_can_be_quiet() {
    let link = Event::LinkCreated { pair: PAIR, pass: 1, store_key: "1", crm_key: "2", by: "customer:email" };
    assert_eq!(json(LevelFilter::INFO, || link.emit_at(false)).len(), 1);
    assert_eq!(json(LevelFilter::INFO, || link.emit_at(true)).len(), 0);
    assert_eq!(json(LevelFilter::DEBUG, || link.emit_at(true))[0]["level"], "DEBUG");
}

#[test]
fn text_is_one_line_whatever_a_key_holds() {
    let link = Event::LinkCreated {
        pair: PAIR,
        pass: 1,
        store_key: "4\n\u{1b}[31m",
        crm_key: "C \"17\"",
        by: "customer:email",
    };
    let lines = lines(Format::Text, LevelFilter::INFO, || link.emit());
    assert_eq!(lines.len(), 1);
    assert!(!lines[0].contains('\u{1b}'));
    let (_, after_time) = lines[0].split_once(' ').unwrap();
    insta::assert_snapshot!(after_time.trim_start(), @r#"INFO link.created  customer 4\n\u{1b}[31m is contact C "17", by customer:email  store="acme"  crm="erp"  pass=1  store_key="4\n\u{1b}[31m"  crm_key="C \"17\""  by="customer:email""#);
}

#[test]
fn other_crates_speak_from_warn_on_and_ours_as_told() {
    let speak = || {
        tracing::info!(target: "sqlx::query", "select");
        tracing::debug!(target: "hyper", "header");
        tracing::warn!(target: "hyper", "slow");
        tracing::debug!(target: "attune::engine", "ours");
    };
    let seen: Vec<_> =
        json(LevelFilter::TRACE, speak).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seen, ["slow", "ours"]);
    assert!(json(LevelFilter::OFF, speak).is_empty());
    assert_eq!(json(LevelFilter::INFO, speak).len(), 1);
}

#[test]
fn what_a_server_said_to_the_driver_is_for_debugging_only() {
    // As the driver logs a trigger's RAISE WARNING, and a connection that a pool gave up.
    let speak = || {
        tracing::warn!(target: "sqlx::postgres::notice", "ada@example.com was changed");
        tracing::error!(target: "sqlx_core::pool::inner", error = "ada@example.com", "error returned from after_connect");
    };
    assert!(json(LevelFilter::INFO, speak).is_empty());
    assert_eq!(json(LevelFilter::DEBUG, speak).len(), 2);
}

#[test]
fn a_wrong_level_is_refused_with_the_right_ones() {
    let refused = super::init(Format::Json, "loud").unwrap_err().to_string();
    assert_eq!(refused, "log.level = \"loud\" is not a level: use off, error, warn, info, debug or trace");
}

#[test]
fn a_panic_is_a_line_with_its_place_and_without_what_it_said() {
    let before = std::panic::take_hook();
    super::install_panic_hook();
    let panic = || std::panic::catch_unwind(|| panic!("jane@example.com")).unwrap_err();
    let shown = json(LevelFilter::INFO, || drop(panic()));
    let all = json(LevelFilter::DEBUG, || drop(panic()));
    std::panic::set_hook(before);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["level"], "ERROR");
    assert!(shown[0]["message"].as_str().unwrap().contains("src/telemetry/page_test.rs:"));
    assert!(!shown[0].values().any(|value| value.to_string().contains("jane")));
    assert_eq!(all[1]["detail"], "jane@example.com");
}
