//! What it costs to read everything, link and decide; then a pass with 1,000 changes.
//!
//! `cargo bench --bench first_pass`; `ATTUNE_BENCH_CUSTOMERS=10000` for another size. Processor seconds are the figure
//! to trust: the machine may be busy.

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use support::{Place, Store, be_the_simulator_if_asked};

const CHANGES: u64 = 1000;

fn main() {
    be_the_simulator_if_asked();
    let customers = std::env::var("ATTUNE_BENCH_CUSTOMERS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let store = Store::start(customers, None);
    let place = Place::make("first-pass", customers, &store);
    println!("{customers} customers × 5 values, half of them missing on each side; store simulated, CRM in SQLite");
    println!("{:<44}{:>9}{:>9}{:>9}{:>9}", "", "CPU s", "RSS MB", "wall s", "calls");

    if std::env::var_os("OBS").is_some() {
        place.configure(&store, "mode = \"observe\"");
    }
    store.reset();
    let used = place.attune(&[if std::env::var_os("OBS").is_some() { "sync" } else { "plan" }]);
    show("plan: read both sides, link, decide, record", used, &store);

    if std::env::var_os("ATTUNE_BENCH_PLAN_ONLY").is_some() {
        return;
    }
    store.reset();
    let used = place.attune(&["sync"]);
    show("sync: fill what is missing on each side", used, &store);

    // Out of the reach of the overlap with which every process begins.
    store.advance(Duration::from_secs(900));
    let settle = place.attune(&["sync"]);
    assert_eq!(settle.exit, 0, "everything agrees");
    store.advance(Duration::from_secs(900));
    for id in 1..=CHANGES {
        let body = format!("{{\"Job title\":\"changed {id}\"}}");
        store.control("PUT", &format!("/stores/abc123/customers/{id}/values"), &body);
    }
    store.reset();
    let used = place.attune(&["sync"]);
    show("sync: 1,000 values changed in the store", used, &store);
    assert_eq!(used.exit, 0, "everything agrees");

    store.advance(Duration::from_secs(900));
    store.reset();
    let used = place.attune(&["sync"]);
    show("sync: nothing changed", used, &store);
}

fn show(what: &str, used: support::Used, store: &Store) {
    let (calls, throttled, _) = store.calls();
    println!("{what:<44}{:>9.2}{:>9.1}{:>9.2}{calls:>9}", used.cpu_s, used.rss_mb, used.wall_s);
    assert_eq!(throttled, 0, "no 429");
}
