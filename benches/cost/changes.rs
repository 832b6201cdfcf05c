//! What a pass with 1,000 changes costs, and that it does not cost more where more exists.
//!
//! `cargo bench -- changes`; `ATTUNE_BENCH_CUSTOMERS=10000,1000000` for other sizes, side by side. Both sides hold
//! the same values at first, so that the first pass writes nothing.

use std::time::Duration;

use super::support::{Place, Store};

const CHANGES: u64 = 1000;

/// Runs the bench.
pub fn run() {
    let sizes = std::env::var("ATTUNE_BENCH_CUSTOMERS").unwrap_or_else(|_| "10000,100000".to_owned());
    println!("{:<14}{:<34}{:>9}{:>9}{:>9}{:>9}", "customers", "", "CPU s", "RSS MB", "wall s", "calls");
    for size in sizes.split(',') {
        let customers = size.trim().parse().expect("numbers of customers, separated by commas");
        let store = Store::start(customers, 0.0, None);
        let place = Place::make("changes", customers, true, &store);
        let measure = |what: &str| {
            store.reset();
            let used = place.attune(&["sync"]);
            let (calls, throttled, _) = store.calls();
            println!("{customers:<14}{what:<34}{:>9.2}{:>9.1}{:>9.2}{calls:>9}", used.cpu_s, used.rss_mb, used.wall_s);
            assert!(used.exit == 0 && throttled == 0, "everything agrees, and no 429");
            // Out of the reach of the overlap with which every process begins.
            store.advance(Duration::from_secs(900));
        };
        measure("first pass");
        for id in 1..=CHANGES {
            let body = format!("{{\"Job title\":\"changed {id}\"}}");
            store.control("PUT", &format!("/stores/abc123/customers/{id}/values"), &body);
        }
        measure("1,000 changes in the store");
        place.change_crm(CHANGES);
        measure("1,000 changes in the CRM");
        measure("nothing changed");
    }
}
