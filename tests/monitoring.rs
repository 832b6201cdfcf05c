//! Holds `deploy/monitoring/` to the program: every metric, label, event and field that its files name exists, and every alert
//! leads to a section of the runbook.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use attune::telemetry::Event;
use attune::telemetry::metrics::{Definition, Metric};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn rules() -> String {
    read("deploy/monitoring/prometheus-rules.yaml")
}

/// Every expression of the dashboard, and the variables' queries.
fn dashboard() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let queries = variables.iter().filter_map(|variable| variable["query"]["query"].as_str().map(str::to_owned));
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).chain(queries).collect()
}

/// What stands behind `expr: '` of rules.
fn expressions(rules: &str) -> Vec<String> {
    let lines = rules.lines().filter_map(|line| line.trim_start().strip_prefix("expr: '"));
    lines.map(|line| line.trim_end_matches('\'').replace("''", "'")).collect()
}

/// Names of our metrics in an expression, each with its selector's matchers, as (label, operator and value).
fn selectors(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found = Vec::new();
    for (at, _) in expression.match_indices("attune_") {
        let rest = &expression[at..];
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        let matchers = rest[name.len()..].strip_prefix('{').map_or("", |inner| inner.split('}').next().unwrap());
        let matchers = matchers.split(", ").filter(|matcher| !matcher.is_empty()).map(|matcher| {
            let label: String = matcher.chars().take_while(char::is_ascii_lowercase).collect();
            let value = matcher.split('"').nth(1).unwrap().to_owned();
            (label, value)
        });
        found.push((name, matchers.collect()));
    }
    found
}

#[test]
fn every_metric_and_label_that_rules_and_dashboard_name_exists() {
    let known: BTreeMap<String, Metric> = Metric::ALL.iter().map(|metric| (metric.full_name(), *metric)).collect();
    let mut used = BTreeSet::new();
    let all: Vec<String> = expressions(&rules()).into_iter().chain(dashboard()).collect();
    assert!(all.len() >= 70, "only {} expressions were found", all.len());
    for expression in &all {
        for (name, matchers) in selectors(expression) {
            let of_histogram = ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part));
            let metric = known.get(&name).or_else(|| known.get(of_histogram?));
            let metric = metric.unwrap_or_else(|| panic!("{name} is no metric: {expression}"));
            used.insert(metric.full_name());
            for (label, value) in matchers {
                if label == "le" {
                    continue;
                }
                assert!(metric.labels().contains(&label.as_str()), "{name} has no label {label}: {expression}");
                let Definition { by, .. } = metric.definition();
                if let Some((_, words)) = by.iter().find(|(name, _)| *name == label) {
                    for word in value.split('|') {
                        assert!(words.contains(&word), "{label} of {name} is never {word}: {expression}");
                    }
                }
            }
        }
    }
    let unused: Vec<&String> = known.keys().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, [""; 0], "neither on the dashboard nor in a rule");
}

#[test]
fn every_alert_says_what_is_wrong_how_bad_it_is_and_leads_to_the_runbook() {
    let anchor = |heading: &str| {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    };
    let runbook = read("docs/runbook.md");
    let sections: BTreeSet<String> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    for (rules, least) in [(rules(), 25), (read("deploy/monitoring/loki-rules.yaml"), 8)] {
        let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
        assert!(alerts.len() >= least, "only {} alerts", alerts.len());
        assert_eq!(alerts.len(), expressions(&rules).len());
        for alert in alerts {
            let name = alert.lines().next().unwrap();
            let severity =
                ["critical", "warning", "info"].iter().filter(|word| alert.contains(&format!("severity: {word}")));
            assert_eq!(severity.count(), 1, "{name} has a severity");
            assert!(alert.contains("summary: ") && alert.contains("description: "), "{name} says what is wrong");
            let (_, url) = alert.split_once("runbook_url: ").unwrap_or_else(|| panic!("{name} leads nowhere"));
            let url = url.lines().next().unwrap();
            let section = url.strip_prefix("https://attune.example.com/docs/runbook.md#").unwrap();
            assert!(sections.contains(section), "{name} leads to {section}, which is not in the runbook");
        }
    }
}

#[test]
fn the_tests_of_rules_are_of_alerts_that_exist() {
    let tests = read("deploy/monitoring/prometheus-rules-test.yaml");
    let rules = rules();
    let alerts: BTreeSet<&str> = rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).collect();
    for line in tests.lines().filter(|line| line.contains("alertname: ")) {
        let name = line.split("alertname: ").nth(1).unwrap().split(',').next().unwrap();
        assert!(alerts.contains(name), "{name} is tried, and is no alert");
    }
}

#[test]
fn every_event_and_field_that_queries_name_exists() {
    let page = read("docs/events.md");
    let fields: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).chain(["store", "crm"]).collect();
    let mut named = 0;
    for file in ["queries.logql", "loki-rules.yaml", "journald.sh", "vector.toml"] {
        let text = read(&format!("deploy/monitoring/{file}")).replace("\\\"", "\"");
        for event in ["event=\"", "event=~\"", "event!~\"", "event == \""]
            .iter()
            .flat_map(|before| text.split(before).skip(1))
            .flat_map(|rest| rest.split('"').next().unwrap().split('|'))
        {
            assert!(Event::NAMES.contains(&event), "{event} in {file} is no event");
            named += 1;
        }
        let listed = text.lines().filter_map(|line| line.split_once("includes([")?.1.split(']').next());
        for event in listed.flat_map(|words| words.split('"').skip(1).step_by(2)) {
            assert!(Event::NAMES.contains(&event), "{event} in {file} is no event");
            named += 1;
        }
        for field in text.split("unwrap ").skip(1).map(|rest| rest.split([' ', ')', '[']).next().unwrap()) {
            assert!(fields.contains(field), "{field} in {file} is no field of an event");
            named += 1;
        }
    }
    assert!(named >= 35, "only {named} names were found");
}
