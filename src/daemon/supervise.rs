//! A panic in one loop is caught, logged and counted; that loop starts again after a while, the others go on.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outage::Delays;
use super::pulse::Pulse;

/// A loop that ran this long before it panicked begins again with the shortest delay.
const LONG_AGO: Duration = Duration::from_secs(600);

/// Runs a loop until it ends by itself, however often it panics.
pub(super) async fn supervised<F, Fut>(
    name: String,
    pulse: &Pulse,
    panics: &AtomicU64,
    stop: &CancellationToken,
    run: F,
) where
    F: Fn() -> Fut,
    Fut: Future<Output = ()>,
{
    let mut delays = Delays::default();
    loop {
        let began = Instant::now();
        // What the loop shares with others is locks and counters, each left whole by whoever panics while using it.
        if AssertUnwindSafe(run()).catch_unwind().await.is_ok() {
            return;
        }
        if began.elapsed() > LONG_AGO {
            delays = Delays::default();
        }
        let delay = delays.next();
        let (panics, retry_in_ms) = (panics.fetch_add(1, Ordering::Relaxed) + 1, super::millis(delay));
        tracing::error!(
            target: "attune", event = "note", name, panics, retry_in_ms,
            "a defect: the loop of {name} panicked; the others go on, it starts again by itself; please report it"
        );
        if !pulse.rest(delay, stop).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_starts_again_and_each_panic_is_counted() {
        let (turns, panics) = (AtomicU64::new(0), AtomicU64::new(0));
        let (pulse, stop) = (Pulse::default(), CancellationToken::new());
        let began = Instant::now();
        supervised("store acme".to_owned(), &pulse, &panics, &stop, || async {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            assert!(turn >= 3, "turn {turn}");
        })
        .await;
        assert_eq!((turns.into_inner(), panics.into_inner()), (4, 3));
        assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_rests_after_a_panic_can_be_stopped() {
        let (pulse, stop) = (Pulse::default(), CancellationToken::new());
        let panics = AtomicU64::new(0);
        let running = supervised("store acme".to_owned(), &pulse, &panics, &stop, || async {
            stop.cancel();
            panic!("once");
        });
        running.await;
        assert_eq!(panics.into_inner(), 1);
    }
}
