//! The gauges of `/metrics`: how everything stands at the moment of asking, from the same look as `attune status` has.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::Instant;

use super::lookout::{Look, Lookout};
use super::vitals::Vitals;
use super::watched::{WatchedPair, WatchedSource};
use super::works::Works;
use crate::http::Quota;
use crate::model::{HeldReason, Timestamp};
use crate::telemetry::metrics::{Gauges, Metric, Metrics, PAIR_STATES, SOURCE_STATES};
use crate::telemetry::{Pair, Source};
use crate::web;

/// How long an answer waits for a fresh look; then it tells the last one, and how old that is.
const PATIENCE: Duration = Duration::from_secs(3);

/// What answers `/metrics`.
pub(super) struct Meters {
    metrics: Arc<Metrics>,
    vitals: Arc<Vitals>,
    lookout: Arc<Lookout>,
    started: SystemTime,
    began: Instant,
}

impl Meters {
    pub fn new(metrics: Arc<Metrics>, vitals: Arc<Vitals>, lookout: Arc<Lookout>) -> Self {
        Self { metrics, vitals, lookout, started: SystemTime::now(), began: Instant::now() }
    }

    async fn of_process(&self, works: &Works, gauges: &mut Gauges) {
        gauges.set(Metric::Build, &[env!("CARGO_PKG_VERSION")], 1.0);
        gauges.set(Metric::Started, &[], self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        let (stuck, loops) = self.vitals.loops();
        gauges.set(Metric::Loops, &["turning"], number(loops.saturating_sub(stuck) as u64));
        gauges.set(Metric::Loops, &["stuck"], number(stuck as u64));
        gauges.set(Metric::Panics, &[], number(works.panics.load(Ordering::Relaxed)));
        gauges.set(Metric::ConfigTaken, &[], truth(!self.vitals.is_rejected()));
        // Every turn of a loop writes, so what keeps it from writing is known within a poll.
        gauges.set(Metric::CheckpointWritable, &[], truth(works.checkpoint_failure().is_none()));
        if let Some(path) = works.engine.checkpoint().path() {
            let mut bytes = 0;
            for ending in ["", "-wal"] {
                let mut file = path.as_os_str().to_owned();
                file.push(ending);
                bytes += tokio::fs::metadata(file).await.map_or(0, |file| file.len());
            }
            gauges.set(Metric::CheckpointSize, &[], number(bytes));
        }
    }
}

#[async_trait]
impl web::Meters for Meters {
    async fn text(&self) -> String {
        let works = self.vitals.works();
        let mut gauges = Gauges::default();
        self.of_process(&works, &mut gauges).await;
        let look = self.lookout.look(&works, PATIENCE).await;
        // Without any look nothing is told that could look like news; that there is none grows old like one.
        let since = look.as_ref().map_or(self.began, |look| look.at);
        gauges.set(Metric::ReportAge, &[], since.elapsed().as_secs_f64());
        if let Some(look) = look {
            of_look(&works, &look, &mut gauges);
        }
        // A thousand pairs are a hundred thousand lines: they are written where nobody waits for the thread.
        let metrics = Arc::clone(&self.metrics);
        tokio::task::spawn_blocking(move || metrics.text(gauges)).await.unwrap_or_default()
    }
}

fn of_look(works: &Works, look: &Look, gauges: &mut Gauges) {
    for standing in &look.watched.sources {
        let state = works.sources.iter().find(|state| state.side == standing.side && state.name == standing.name);
        let told = state.and_then(|state| state.reached()).and_then(|source| source.quota());
        let kept = || standing.quota.as_deref().and_then(|quota| serde_json::from_str(quota).ok());
        of_source(standing, told.or_else(kept), gauges);
    }
    for standing in &look.watched.pairs {
        of_pair(standing, gauges);
    }
}

fn of_source(standing: &WatchedSource, quota: Option<Quota>, gauges: &mut Gauges) {
    let source = Source::of(standing.side, &standing.name);
    let mut set = |metric, words: &[&str], value| gauges.set_of_source(metric, source, words, value);
    debug_assert!(SOURCE_STATES.contains(&standing.state.as_str()), "{} is not a state", standing.state);
    for state in SOURCE_STATES {
        set(Metric::SourceState, &[state], truth(*state == standing.state));
    }
    for (metric, at) in [(Metric::LastRead, standing.last_read), (Metric::LastSweep, standing.last_sweep)] {
        if let Some(at) = at {
            set(metric, &[], since_1970(at));
        }
    }
    if let Some(age_ms) = standing.cursor_age_ms {
        set(Metric::CursorAge, &[], seconds(age_ms));
    }
    if let Some(offset_ms) = standing.offset_ms {
        set(Metric::ClockOffset, &[], seconds(offset_ms.unsigned_abs()) * if offset_ms < 0 { -1.0 } else { 1.0 });
    }
    set(Metric::Drift, &[], number(standing.drift));
    if let Some(quota) = quota {
        set(Metric::QuotaLimit, &[], number(quota.quota));
        set(Metric::QuotaLeft, &[], number(quota.left));
        let used = if quota.quota == 0 { 0.0 } else { 1.0 - number(quota.left) / number(quota.quota) };
        set(Metric::QuotaUsed, &[], used.max(0.0));
    }
}

fn of_pair(standing: &WatchedPair, gauges: &mut Gauges) {
    let WatchedPair { store, crm, status } = standing;
    let pair = Pair { store, crm };
    let mut set = |metric, words: &[&str], value| gauges.set_of_pair(metric, pair, words, value);
    debug_assert!(PAIR_STATES.contains(&status.state.as_str()), "{} is not a state", status.state);
    for state in PAIR_STATES {
        set(Metric::PairState, &[state], truth(*state == status.state));
    }
    set(Metric::Lag, &[], seconds(status.lag_ms));
    set(Metric::Pending, &[], number(status.pending));
    for reason in HeldReason::ALL {
        let held = status.held_by_reason.iter().find(|(known, _)| *known == reason);
        set(Metric::Held, &[reason.as_str()], number(held.map_or(0, |(_, count)| *count)));
    }
    set(Metric::Linked, &[], number(status.linked));
    if let Some(at) = status.last_pass {
        set(Metric::LastPass, &[], since_1970(at));
    }
}

const fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// As metrics hold numbers: exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
const fn number(count: u64) -> f64 {
    count as f64
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

fn since_1970(at: Timestamp) -> f64 {
    seconds(u64::try_from(at.as_millis()).unwrap_or(0))
}
