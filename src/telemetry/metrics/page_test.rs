//! Holds `docs/metrics.md` and the metrics together; and what is counted, for whom, and how it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::model::{Class, HeldReason, Side};

const PAGE: &str = include_str!("../../../docs/metrics.md");

fn in_ticks<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

/// The cells of the page's table rows that begin with a name of ours.
fn rows() -> Vec<Vec<&'static str>> {
    let row = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    PAGE.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[test]
fn the_page_lists_every_metric_as_it_is() {
    let of_metrics = rows().into_iter().filter(|row| row[0].starts_with("`attune_"));
    let mut on_page: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in of_metrics {
        assert_eq!(row.len(), 6, "{row:?}");
        assert!(!row[5].is_empty(), "{} says what to do", row[0]);
        let twice = on_page.insert(row[0].trim_matches('`').to_owned(), row);
        assert_eq!(twice, None, "on the page twice");
    }
    let mut wrong = Vec::new();
    for metric in Metric::ALL {
        let Definition { kind, unit, help, .. } = metric.definition();
        let name = metric.full_name();
        let right = [
            format!("`{name}`"),
            kind.as_str().to_owned(),
            unit.unwrap_or("-").to_owned(),
            in_ticks(metric.labels()),
            help.trim().trim_end_matches('.').to_owned(),
        ];
        let told = on_page.remove(&name).unwrap_or_default();
        if told.iter().take(5).copied().ne(right.iter().map(String::as_str)) {
            wrong.push(format!("| {} | … |", right.join(" | ")));
        }
    }
    assert!(wrong.is_empty(), "the page must say:\n{}", wrong.join("\n"));
    assert_eq!(on_page.into_keys().collect::<Vec<_>>(), Vec::<String>::new(), "on the page, and no metric");
}

#[test]
fn the_page_lists_every_value_of_every_label() {
    let mut on_page = BTreeSet::new();
    for row in rows().into_iter().filter(|row| !row[0].starts_with("`attune_")) {
        on_page.insert(row.join(" | "));
    }
    let mut right = BTreeSet::new();
    for metric in Metric::ALL {
        for (label, words) in metric.definition().by {
            let words = if *label == "event" {
                "the names in [events.md](events.md)".to_owned()
            } else {
                in_ticks(words.iter().copied())
            };
            right.insert(format!("`{label}` | `{}` | {words}", metric.full_name()));
        }
    }
    let missing: Vec<_> = right.difference(&on_page).map(|row| format!("| {row} |")).collect();
    assert!(missing.is_empty(), "the page must say:\n{}", missing.join("\n"));
    assert_eq!(on_page.difference(&right).collect::<Vec<_>>(), Vec::<&String>::new(), "on the page, and no label");
}

#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for metric in Metric::ALL {
        let Definition { name, help, by, .. } = metric.definition();
        assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{name}");
        assert!(help.trim().ends_with('.') && !help.contains('|'), "{help}");
        assert!(names.insert(metric.full_name()), "{name} is there twice");
        for (label, words) in by {
            assert!(["side", "outcome", "reason", "state", "event"].contains(label), "{label}");
            assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len(), "{name} by {label}");
        }
    }
}

const ACME: Source<'static> = Source::Store("acme");
const ERP: Source<'static> = Source::Crm("erp");
const PAIR: Pair<'static> = Pair { store: "acme", crm: "erp" };

fn series() -> Series {
    let mut series = Series::default();
    series.serve(&[ACME, ERP], &[PAIR]);
    series
}

fn text(series: &Series) -> String {
    series.snapshot(Gauges::default()).text()
}

/// The lines of one metric that are not 0.
fn lines(text: &str, name: &str) -> Vec<String> {
    let of = |line: &&str| line.starts_with(name) && !line.ends_with(" 0.0") && !line.ends_with(" 0");
    text.lines().filter(of).map(str::to_owned).collect()
}

#[test]
fn every_series_that_is_served_is_there_from_the_start_and_the_text_is_sound() {
    let text = text(&series());
    assert!(text.ends_with("# EOF\n"));
    for metric in Metric::ALL {
        let Definition { name, unit, kind, help, .. } = metric.definition();
        let name = unit.map_or_else(|| format!("attune_{name}"), |unit| format!("attune_{name}_{unit}"));
        assert_eq!(text.matches(&format!("# TYPE {name} {}\n", kind.as_str())).count(), 1, "{name}");
        assert_eq!(text.matches(&format!("# HELP {name} {}\n", help.trim())).count(), 1, "{name}");
    }
    let writes: Vec<&str> = text.lines().filter(|line| line.starts_with("attune_writes_total{")).collect();
    let expected: Vec<String> = ["store", "crm"]
        .iter()
        .flat_map(|side| ["refused", "unknown", "written"].map(|outcome| (side, outcome)))
        .map(|(side, outcome)| {
            format!("attune_writes_total{{store=\"acme\",crm=\"erp\",side=\"{side}\",outcome=\"{outcome}\"}} 0.0")
        })
        .collect();
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(writes.iter().map(|line| (*line).to_owned()).collect()), sorted(expected));
    assert!(text.contains("\nattune_reads_total{store=\"acme\",outcome=\"torn\"} 0.0\n"), "{text}");
    assert!(text.contains("\nattune_reads_total{crm=\"erp\",outcome=\"torn\"} 0.0\n"), "{text}");
    assert!(text.contains("\nattune_panics_total 0.0\n"), "{text}");
    // What counters and histograms of a pair take; its gauges are about 25 more.
    let of_pair = text.lines().filter(|line| line.contains("store=\"acme\",crm=\"erp\"")).count();
    assert!((70..90).contains(&of_pair), "{of_pair} lines for a pair");
}

#[test]
fn events_and_measures_are_counted_for_whom_they_are_about_and_for_nobody_else() {
    let mut series = series();
    let failed = |pair| Event::PassFailed {
        pair,
        pass: 1,
        duration_ms: 250,
        class: Class::Retry,
        reason: "no answer",
        status: None,
        request_id: None,
        retry_in_ms: None,
        detail: None,
    };
    feed::event(&mut series, &failed(PAIR));
    feed::event(&mut series, &failed(Pair { store: "other", crm: "erp" }));
    let held = Event::RecordHeld {
        pair: PAIR,
        pass: 1,
        side: Side::Store,
        key: "4711",
        reason: HeldReason::Ambiguous,
        candidates: 2,
    };
    feed::event(&mut series, &held);
    let write = Measure::Writes { pair: PAIR, side: Side::Crm, outcome: WriteOutcome::Unknown, count: 3 };
    feed::measure(&mut series, &write);
    feed::measure(&mut series, &Measure::QuotaWait { source: ACME, waited: Duration::from_millis(1500) });
    feed::measure(&mut series, &Measure::Call { source: ACME, outcome: CallOutcome::of_status(429) });
    feed::measure(&mut series, &Measure::Read { source: ERP, outcome: ReadOutcome::Whole, records: 7 });
    let text = text(&series);
    assert!(!text.contains("\"other\"") && !text.contains("4711"), "{text}");
    let expected = [
        ("attune_pass_failures_total", "{store=\"acme\",crm=\"erp\",reason=\"retry\"} 1.0"),
        ("attune_newly_held_total", "{store=\"acme\",crm=\"erp\",reason=\"ambiguous\"} 1.0"),
        ("attune_writes_total", "{store=\"acme\",crm=\"erp\",side=\"crm\",outcome=\"unknown\"} 3.0"),
        ("attune_quota_wait_seconds_total", "{store=\"acme\"} 1.5"),
        ("attune_http_calls_total", "{store=\"acme\",outcome=\"throttled\"} 1.0"),
        ("attune_reads_total", "{crm=\"erp\",outcome=\"whole\"} 1.0"),
        ("attune_read_records_total", "{crm=\"erp\"} 7.0"),
        ("attune_pass_duration_seconds_count", "{store=\"acme\",crm=\"erp\",outcome=\"failed\"} 1"),
        ("attune_pass_duration_seconds_sum", "{store=\"acme\",crm=\"erp\",outcome=\"failed\"} 0.25"),
    ];
    for (name, line) in expected {
        assert_eq!(lines(&text, name), [format!("{name}{line}")]);
    }
    // Both passes failed; that one is of nobody who is served here is no matter of the events' own count.
    assert_eq!(
        lines(&text, "attune_events_total{event=\"pass.failed\"}"),
        ["attune_events_total{event=\"pass.failed\"} 2.0"]
    );
}

#[test]
fn what_is_not_served_any_more_is_gone_and_what_stays_goes_on() {
    let mut series = series();
    feed::measure(&mut series, &Measure::Read { source: ERP, outcome: ReadOutcome::Whole, records: 7 });
    series.serve(&[Source::Store("bravo"), ERP], &[Pair { store: "bravo", crm: "erp" }]);
    let text = text(&series);
    assert!(!text.contains("acme") && text.contains("store=\"bravo\",crm=\"erp\""), "{text}");
    assert_eq!(lines(&text, "attune_read_records_total"), ["attune_read_records_total{crm=\"erp\"} 7.0"]);
}

#[test]
fn gauges_are_told_as_given() {
    let mut gauges = Gauges::default();
    gauges.set(Metric::Build, &["1.2.3"], 1.0);
    gauges.set(Metric::Panics, &[], 2.0);
    gauges.set_of_pair(Metric::Held, PAIR, &["first meeting"], 4.0);
    gauges.set_of_source(Metric::QuotaUsed, ACME, &[], 0.25);
    let text = series().snapshot(gauges).text();
    for line in [
        "attune_build_info{version=\"1.2.3\"} 1",
        "attune_panics_total 2.0",
        "attune_held{store=\"acme\",crm=\"erp\",reason=\"first meeting\"} 4.0",
        "attune_quota_used_ratio{store=\"acme\"} 0.25",
    ] {
        assert_eq!(text.lines().filter(|other| *other == line).count(), 1, "{line}\n{text}");
    }
    assert_eq!(text.matches("\nattune_panics_total").count(), 1);
}

#[test]
fn whoever_listens_hears_what_is_emitted_at_any_level() {
    // Other tests of this process emit too; nobody else has this name.
    let pair = Pair { store: "heard-by-metrics", crm: "erp" };
    let metrics = Metrics::listen();
    metrics.serve(&[], &[pair]);
    Event::LinkCreated { pair, pass: 1, store_key: "1", crm_key: "2", by: "customer:email" }.emit_at(true);
    let text = metrics.text(Gauges::default());
    let line = "attune_links_created_total{store=\"heard-by-metrics\",crm=\"erp\"} 1.0";
    assert_eq!(lines(&text, "attune_links_created_total"), [line]);
}
