//! What it costs to read everything, link and decide, and then to fill what is missing on each side.
//!
//! `cargo bench -- first_pass`; `ATTUNE_BENCH_CUSTOMERS=10000` for another size. Processor seconds are the figure
//! to trust: the machine may be busy.

use super::support::{self, Place, Store};

/// Runs the bench.
pub fn run() {
    let customers = std::env::var("ATTUNE_BENCH_CUSTOMERS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let store = Store::start(customers, 0.5, None);
    let place = Place::make("first-pass", customers, false, &store);
    println!("{customers} customers × 5 values, half of them missing on each side; store simulated, CRM in SQLite");
    println!("{:<44}{:>9}{:>9}{:>9}{:>9}", "", "CPU s", "RSS MB", "wall s", "calls");

    store.reset();
    let used = place.attune(&["plan"]);
    show("plan: read both sides, link, decide, record", used, &store);

    store.reset();
    let used = place.attune(&["sync"]);
    show("sync: fill what is missing on each side", used, &store);
}

fn show(what: &str, used: support::Used, store: &Store) {
    let (calls, throttled, _) = store.calls();
    println!("{what:<44}{:>9.2}{:>9.1}{:>9.2}{calls:>9}", used.cpu_s, used.rss_mb, used.wall_s);
    assert_eq!(throttled, 0, "no 429");
}
