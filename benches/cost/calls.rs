//! What changes cost in calls: counts, not times, so that any machine gives the same figures.
//!
//! `cargo bench -- calls`. n changed values cost ⌈n/10⌉ upserts, a third as many rechecks, and the feed's pages; an
//! idle poll one call a feed.

use std::time::Duration;

use super::support::{Place, Store};

const CUSTOMERS: u64 = 2000;

/// Runs the bench.
pub fn run() {
    let store = Store::start(CUSTOMERS, 0.5, None);
    let place = Place::make("calls", CUSTOMERS, false, &store);
    println!("{CUSTOMERS} customers × 5 values; calls to the store");
    measure("first pass: read everything, fill what is missing", &store, &place);
    for changed in [0_u64, 1, 10, 100, 1000] {
        // Out of the reach of the overlap with which every process begins.
        store.advance(Duration::from_secs(900));
        place.attune(&["sync"]);
        store.advance(Duration::from_secs(900));
        place.change_crm(changed);
        measure(&format!("{changed} values changed in the CRM"), &store, &place);
    }
}

fn measure(what: &str, store: &Store, place: &Place) {
    store.reset();
    let used = place.attune(&["sync"]);
    let (calls, throttled, by_endpoint) = store.calls();
    println!("{what:<52}{calls:>6}  {by_endpoint}");
    assert_eq!((used.exit, throttled), (0, 0), "everything agrees, and no 429");
}
