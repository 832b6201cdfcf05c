//! Metrics: what `/metrics` shows, counted where events are emitted, so that logs and metrics cannot disagree.
//!
//! Counters and histograms are fed by events, and by [`Measure`]s of what happens too often for a line of its own
//! (`feed`). Gauges are given by whoever is asked for the text, at that moment ([`Gauges`]). A series exists for what is
//! served and for nothing else: a name that is not in the configuration is not counted, so their number is bounded.
//!
//! Must not know: who serves the text, what a pass does.

mod definition;
mod feed;
#[cfg(test)]
mod page_test;
mod series;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

pub use definition::{Definition, Kind, Metric, PAIR_STATES, SOURCE_STATES, Scope};
pub use feed::{CallOutcome, Measure, MessageOutcome, ReadOutcome, WriteOutcome};
pub use series::Gauges;

use super::{Event, Pair, Source};
use series::Series;

/// Those that hear the events of this process: a daemon each.
static LISTENING: RwLock<Vec<Weak<Metrics>>> = RwLock::new(Vec::new());

/// How many they are, for whoever need not look further.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);

/// The metrics of one daemon, fed for as long as they are held.
#[derive(Debug, Default)]
pub struct Metrics {
    series: Mutex<Series>,
}

impl Metrics {
    /// Hears every event from now on; about whom, [`Metrics::serve`] says.
    pub fn listen() -> Arc<Self> {
        let metrics = Arc::new(Self::default());
        let mut listening = LISTENING.write().unwrap_or_else(PoisonError::into_inner);
        listening.retain(|other| other.strong_count() > 0);
        listening.push(Arc::downgrade(&metrics));
        LISTENERS.store(listening.len(), Ordering::Relaxed);
        metrics
    }

    /// There are series for these from now on, and for no others; counters go on where they were.
    pub fn serve(&self, sources: &[Source<'_>], pairs: &[Pair<'_>]) {
        self.series().serve(sources, pairs);
    }

    /// All of it, as OpenMetrics text.
    pub fn text(&self, gauges: Gauges) -> String {
        // What is counted meanwhile does not wait for the text to be written.
        let snapshot = self.series().snapshot(gauges);
        snapshot.text()
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        // Whoever panics while counting leaves a sound map.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(feed: impl Fn(&mut Series)) {
    if LISTENERS.load(Ordering::Relaxed) == 0 {
        return;
    }
    for metrics in LISTENING.read().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
        feed(&mut metrics.series());
    }
}

/// Counts an event, whether its level is logged or not.
pub(super) fn hear(event: &Event<'_>) {
    tell(|series| feed::event(series, event));
}

impl Measure<'_> {
    /// Counts it.
    pub fn note(&self) {
        tell(|series| feed::measure(series, self));
    }
}
