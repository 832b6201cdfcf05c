//! The waiting room in front of one system's quota.
//!
//! [`super::pace`] says when a call may leave, [`super::lanes`] who is next; here they wait. Waiting for a quota is not
//! failing: there is no timeout, but every wait ends when the cancellation token is cancelled. No task runs in the
//! background.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lanes::{Lanes, Waiter};
use super::pace::Pace;
use super::told::Told;
use super::{Lane, Quota};
use crate::model::{Class, Failure, Side};
use crate::telemetry::metrics::Measure;
use crate::telemetry::{Event, Source};

/// Waits shorter than this are pacing, not news.
const WAIT_WORTH_SAYING: Duration = Duration::from_secs(2);

/// The same event of one system is said at most once in this time.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A quota that somebody told us, where the system does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedQuota {
    /// Calls in each window.
    pub calls: u64,
    /// The window.
    pub per: Duration,
    /// The most calls in flight at once.
    pub in_flight_max: usize,
}

/// What a throttle needs to know of its system.
#[derive(Clone, Debug)]
pub struct ThrottleSettings {
    /// Which side the system is on, for events.
    pub side: Side,
    /// Its name in the configuration, for events.
    pub name: String,
    /// The part of the quota that is ours (0.8: four fifths).
    pub share: f64,
    /// The quota where the system does not tell it: calls, and the window they count in.
    pub fixed: Option<(u64, Duration)>,
    /// The most calls in flight at once.
    pub in_flight_max: usize,
}

impl ThrottleSettings {
    /// The system as events name it.
    const fn event(&self) -> Source<'_> {
        match self.side {
            Side::Store => Source::Store(self.name.as_str()),
            Side::Crm => Source::Crm(self.name.as_str()),
        }
    }
}

/// One system's quota, shared by everything that calls it.
pub struct Throttle {
    settings: ThrottleSettings,
    cancel: CancellationToken,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    pace: Pace,
    lanes: Lanes,
    waiting_said: Option<Instant>,
    throttled_said: Option<Instant>,
}

/// A place in a lane; leaving it (granted, cancelled or dropped) lets the next one look again.
struct Place<'a> {
    throttle: &'a Throttle,
    waiter: Waiter,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.throttle.state().lanes.leave(self.waiter);
        self.throttle.changed.notify_waiters();
    }
}

impl Throttle {
    /// A throttle whose every wait ends when `cancel` is cancelled.
    pub fn new(settings: ThrottleSettings, cancel: CancellationToken) -> Arc<Self> {
        let state = State {
            pace: Pace::new(settings.share, settings.fixed, Instant::now()),
            lanes: Lanes::default(),
            waiting_said: None,
            throttled_said: None,
        };
        Arc::new(Self { settings, cancel, state: Mutex::new(state), changed: Notify::new() })
    }

    /// The token that ends every wait.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The system, as events name it.
    pub(super) fn source(&self) -> Source<'_> {
        self.settings.event()
    }

    /// What the system last told of its quota.
    pub fn quota(&self) -> Option<Quota> {
        self.state().pace.quota(Instant::now())
    }

    /// How long so many calls take at least, in seconds, by the share as it is known.
    pub fn seconds_for(&self, calls: u64) -> f64 {
        self.state().pace.seconds_for(calls)
    }

    /// Waits until `calls` calls may leave at once, and pays for them. More calls than a whole window allows cannot be
    /// held at once: the reservation then has fewer, and the others wait their turn.
    ///
    /// # Errors
    /// When cancelled.
    pub async fn reserve(self: &Arc<Self>, lane: Lane, calls: usize) -> Result<Reserved, Failure> {
        let calls = calls.min(self.state().pace.reservable());
        self.granted(lane, calls, false).await?;
        Ok(Reserved { throttle: Arc::clone(self), left: Mutex::new(calls) })
    }

    /// Waits for one call's turn.
    ///
    /// # Errors
    /// When cancelled.
    pub(super) async fn turn(self: &Arc<Self>, lane: Lane) -> Result<Running, Failure> {
        self.granted(lane, 1, true).await?;
        Ok(Running::new(self))
    }

    /// Starts a call that a [`Reserved`] has paid for. After a 429 it waits as long as the system asks.
    ///
    /// # Errors
    /// When cancelled.
    pub(super) async fn prepaid(self: &Arc<Self>) -> Result<Running, Failure> {
        loop {
            match self.prepaid_now() {
                Ok(running) => return Ok(running),
                Err(until) => self.or_cancelled(tokio::time::sleep_until(until)).await?,
            }
        }
    }

    /// Starts a call that a [`Reserved`] has paid for.
    ///
    /// # Errors
    /// The instant until which the system wants to be left alone after a 429, or until which nothing is left: other apps
    /// may have used what was put aside for this call.
    pub(super) fn prepaid_now(self: &Arc<Self>) -> Result<Running, Instant> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(until) = state.pace.blocked_until(now).or_else(|| state.pace.used_up_until(now)) {
            return Err(until);
        }
        state.pace.start(now);
        Ok(Running::new(self))
    }

    /// Waits for `something`, but not beyond the cancellation.
    ///
    /// # Errors
    /// When cancelled.
    pub(super) async fn or_cancelled<T>(&self, something: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(stopped()),
            done = something => Ok(done),
        }
    }

    /// Stands in a lane until `calls` calls may leave; pays for them and, if `start`, counts them as on their way.
    async fn granted(&self, lane: Lane, calls: usize, start: bool) -> Result<(), Failure> {
        if calls == 0 {
            return Ok(());
        }
        let place = Place { throttle: self, waiter: self.state().lanes.join(lane, calls) };
        let mut waiting_since = None;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let again_at = {
                let mut state = self.state();
                let now = Instant::now();
                match self.try_grant(&mut state, place.waiter, now) {
                    Ok(()) => {
                        if start {
                            state.pace.take_reserved();
                            state.pace.start(now);
                        }
                        drop(state);
                        if let Some(since) = waiting_since {
                            Measure::QuotaWait { source: self.source(), waited: now - since }.note();
                        }
                        return Ok(());
                    }
                    Err(again_at) => {
                        waiting_since.get_or_insert(now);
                        if let Some(at) = again_at {
                            self.say_waiting(&mut state, at - now, now);
                        }
                        again_at
                    }
                }
            };
            let woken = async {
                match again_at {
                    Some(at) => tokio::select! { () = changed => {}, () = tokio::time::sleep_until(at) => {} },
                    None => changed.await,
                }
            };
            self.or_cancelled(woken).await?;
        }
    }

    /// Serves the waiter if it is its turn; otherwise when to look again (none: when something changes).
    fn try_grant(&self, state: &mut State, waiter: Waiter, now: Instant) -> Result<(), Option<Instant>> {
        let next = state.lanes.next() == Some(waiter);
        if self.cancel.is_cancelled() || !next || state.pace.in_flight() >= self.settings.in_flight_max {
            return Err(None);
        }
        state.pace.ready(waiter.calls, now).map_err(Some)?;
        state.pace.reserve(waiter.calls);
        state.lanes.served(waiter);
        Ok(())
    }

    fn give_back(&self, calls: usize) {
        if calls > 0 {
            self.state().pace.give_back(calls);
            self.changed.notify_waiters();
        }
    }

    fn finished(&self, answer: Option<(u16, &HeaderMap)>) {
        let mut state = self.state();
        state.pace.finish();
        if let Some((status, headers)) = answer {
            let now = Instant::now();
            if let Some(wait) = state.pace.learn(&Told::read(status, headers), now) {
                let request_id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
                self.say_throttled(&mut state, wait, request_id, now);
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn say_waiting(&self, state: &mut State, wait: Duration, now: Instant) {
        if wait >= WAIT_WORTH_SAYING && due(&mut state.waiting_said, now) {
            let quota = state.pace.quota(now);
            let (left, quota) = (quota.map(|quota| quota.left), quota.map(|quota| quota.quota));
            Event::QuotaWaiting { source: self.settings.event(), wait_ms: millis(wait), left, quota }.emit();
        }
    }

    fn say_throttled(&self, state: &mut State, wait: Duration, request_id: Option<&str>, now: Instant) {
        if due(&mut state.throttled_said, now) {
            Event::QuotaThrottled { source: self.settings.event(), wait_ms: millis(wait), request_id }.emit();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in a critical section panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure of every wait that was told to stop: the call has not been made.
pub(super) fn stopped() -> Failure {
    Failure::new(Class::Retry, "stopped before the call was made, because Attune is stopping")
}

fn due(said: &mut Option<Instant>, now: Instant) -> bool {
    let due = said.is_none_or(|at| now >= at + SAID_AGAIN_AFTER);
    if due {
        *said = Some(now);
    }
    due
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Calls that are paid for. Dropping it gives back what was not taken.
pub struct Reserved {
    throttle: Arc<Throttle>,
    left: Mutex<usize>,
}

impl Reserved {
    /// Takes one; false when none is left. The call is then made with [`super::Pay::Prepaid`].
    pub fn take(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if *left == 0 {
            return false;
        }
        *left -= 1;
        self.throttle.state().pace.take_reserved();
        true
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let left = *self.left.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.throttle.give_back(left);
    }
}

/// A call on its way; dropping it without an answer ends it too.
pub(super) struct Running {
    throttle: Option<Arc<Throttle>>,
}

impl Running {
    fn new(throttle: &Arc<Throttle>) -> Self {
        Self { throttle: Some(Arc::clone(throttle)) }
    }

    /// The system answered.
    pub(super) fn answered(mut self, status: u16, headers: &HeaderMap) {
        if let Some(throttle) = self.throttle.take() {
            throttle.finished(Some((status, headers)));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(throttle) = self.throttle.take() {
            throttle.finished(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(fixed: Option<(u64, Duration)>, in_flight_max: usize) -> Arc<Throttle> {
        let settings =
            ThrottleSettings { side: Side::Store, name: "acme".to_owned(), share: 1.0, fixed, in_flight_max };
        Throttle::new(settings, CancellationToken::new())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn without_headers_only_concurrency_limits() {
        let throttle = throttle(None, 2);
        let began = Instant::now();
        for _ in 0..1000 {
            drop(throttle.turn(Lane::Fresh).await.unwrap());
        }
        assert_eq!(Instant::now(), began);
        let (first, _second) = (throttle.turn(Lane::Fresh).await.unwrap(), throttle.turn(Lane::Fresh).await.unwrap());
        let third = tokio::spawn({
            let throttle = Arc::clone(&throttle);
            async move { throttle.turn(Lane::Fresh).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        drop(first);
        third.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_stops_everyone_until_the_system_is_ready() {
        let throttle = throttle(None, 4);
        let began = Instant::now();
        let running = throttle.turn(Lane::Fresh).await.unwrap();
        running.answered(429, &headers(&[("x-rate-limit-time-reset-ms", "7000"), ("x-retry-after", "3")]));
        assert!(throttle.prepaid_now().is_err());
        let (one, two) = tokio::join!(throttle.turn(Lane::Resolve), throttle.prepaid());
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_paced_ahead_of_the_limit() {
        let throttle = throttle(Some((60, Duration::from_secs(60))), 4);
        let began = Instant::now();
        for _ in 0..120 {
            drop(throttle.turn(Lane::Fresh).await.unwrap());
        }
        let took = began.elapsed().as_secs_f64();
        assert!((117.0..123.0).contains(&took), "one a second, less a small burst: {took}");
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_go_in_order_and_the_last_two_keep_a_tenth() {
        let throttle = throttle(Some((60, Duration::from_secs(60))), 100);
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        // Nobody is served before all stand in their lanes.
        let held = throttle.reserve(Lane::Resolve, 2).await.unwrap();
        for (lane, many) in [(Lane::Backfill, 2), (Lane::Sweep, 2), (Lane::Fresh, 25), (Lane::Resolve, 5)] {
            for _ in 0..many {
                let (throttle, served) = (Arc::clone(&throttle), Arc::clone(&served));
                tasks.push(tokio::spawn(async move {
                    let turn = throttle.turn(lane).await.unwrap();
                    served.lock().unwrap().push(lane);
                    drop(turn);
                }));
            }
        }
        tokio::task::yield_now().await;
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        let served = served.lock().unwrap().clone();
        assert_eq!(served.len(), 34);
        assert!(served[..5].iter().all(|lane| *lane == Lane::Resolve), "{served:?}");
        let last_two: Vec<usize> = (0..served.len()).filter(|index| served[*index] >= Lane::Sweep).collect();
        assert_eq!(last_two.len(), 4);
        assert!(last_two[0] <= 9 && last_two[1] <= 19 && last_two[2] <= 29, "{last_two:?}");
        assert!(last_two[1] >= 10, "no more than a tenth while others wait: {last_two:?}");
        let sweep_first = served.iter().position(|lane| *lane == Lane::Backfill).unwrap();
        assert!(served[..sweep_first].iter().filter(|lane| **lane == Lane::Sweep).count() == 2, "{served:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn reservations_are_paid_in_advance_and_given_back() {
        let throttle = throttle(Some((100, Duration::from_secs(100))), 10);
        let reserved = throttle.reserve(Lane::Fresh, 4).await.unwrap();
        let waiting = Instant::now();
        assert!(reserved.take() && reserved.take());
        let (_first, _second) = (throttle.prepaid().await.unwrap(), throttle.prepaid().await.unwrap());
        assert_eq!(Instant::now(), waiting, "what is paid for does not wait");
        drop(reserved);
        let again = throttle.reserve(Lane::Fresh, 2).await.unwrap();
        assert_eq!(Instant::now(), waiting, "two were given back");
        assert!(again.take() && again.take() && !again.take());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_never_asks_for_more_than_a_window_allows() {
        let throttle = throttle(Some((3, Duration::from_secs(30))), 10);
        let reserved = throttle.reserve(Lane::Fresh, 50).await.unwrap();
        assert!(reserved.take() && reserved.take() && reserved.take() && !reserved.take());
    }

    #[tokio::test(start_paused = true)]
    async fn every_wait_ends_when_cancelled() {
        let throttle = throttle(Some((1, Duration::from_secs(3600))), 10);
        drop(throttle.turn(Lane::Fresh).await.unwrap());
        throttle.turn(Lane::Fresh).await.unwrap().answered(429, &headers(&[("x-retry-after", "3600")]));
        let began = Instant::now();
        let cancel = throttle.cancelled().clone();
        let (turn, reserved, prepaid, ()) = tokio::join!(
            throttle.turn(Lane::Fresh),
            throttle.reserve(Lane::Sweep, 2),
            throttle.prepaid(),
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                cancel.cancel();
            }
        );
        let failures = [turn.err().unwrap(), reserved.err().unwrap(), prepaid.err().unwrap()];
        assert!(failures.iter().all(|failure| !failure.may_have_happened));
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert!(throttle.turn(Lane::Fresh).await.is_err(), "and so does every later one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_waiter_leaves_its_lane() {
        let throttle = throttle(Some((60, Duration::from_secs(60))), 10);
        let bulk = throttle.reserve(Lane::Resolve, 2).await.unwrap();
        let abandoned = tokio::time::timeout(Duration::from_millis(10), throttle.reserve(Lane::Resolve, 60)).await;
        assert!(abandoned.is_err());
        drop(bulk);
        let began = Instant::now();
        drop(throttle.turn(Lane::Backfill).await.unwrap());
        assert_eq!(Instant::now(), began);
    }
}
