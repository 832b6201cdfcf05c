//! How much of its share of a store's quota Attune uses while there is work, and whether it is ever told 429.
//!
//! `cargo bench -- quota`. A Standard store allows 150 calls in 30 s; here the window is 3 s, so that the bench is
//! short. Attune's share is four fifths (the default of `quota.share`).

use super::support::{Place, Store};

const CUSTOMERS: u64 = 8000;
const CALLS: u64 = 150;
const WINDOW_MS: u64 = 3000;
const SHARE: f64 = 0.8;

/// Runs the bench.
pub fn run() {
    let store = Store::start(CUSTOMERS, 0.5, Some((CALLS, WINDOW_MS)));
    let place = Place::make("quota", CUSTOMERS, false, &store);
    let used = place.attune(&["sync"]);
    let (calls, throttled, by_endpoint) = store.calls();
    let allowed = SHARE * CALLS as f64 * used.wall_s * 1000.0 / WINDOW_MS as f64;
    println!(
        "first pass over {CUSTOMERS} customers × 5 values, {CALLS} calls allowed in {WINDOW_MS} ms, a share of {SHARE}"
    );
    println!("calls                      {calls:>10}");
    println!("allowed in {:>6.1} s        {allowed:>10.0}", used.wall_s);
    println!("share used                 {:>9.1} %", 100.0 * calls as f64 / allowed);
    println!("answered with 429          {throttled:>10}");
    println!("processor seconds          {:>10.2}", used.cpu_s);
    println!("by endpoint                {by_endpoint}");
    assert_eq!(used.exit, 0, "everything agrees");
}
