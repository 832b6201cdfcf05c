//! The arithmetic of a quota: when the next call may leave. Pure: every function is told what time it is.
//!
//! Three limits hold at once, each against another way of counting on the other side:
//! - a bucket that fills at the allowed rate with a small burst spreads calls over the window;
//! - a log of what was sent holds every window, sliding or fixed, wherever it starts, to the share;
//! - what the answers say is left, minus what is on its way, is never overdrawn, whoever else uses the quota.
//!
//! The windows we count are a little longer than the system's ([`STRETCH`]), so that calls which travel slowly and
//! calls which travel fast do not meet in one of its windows.

use std::collections::VecDeque;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::Quota;
use super::told::{BLOCK_MAX, Told};

/// How much longer our windows are than the system's: covers differing travel times, and costs 2 % of the share.
const STRETCH: f64 = 1.02;

/// Above this rate (calls a second) nothing is paced: the limit on concurrent calls binds long before. Stores on
/// unlimited plans show quotas of millions.
const RATE_PACED_MAX: f64 = 500.0;

/// Above this many calls a window the log of what was sent is not kept: a burst is then a negligible part of a window.
const LOG_CALLS_MAX: usize = 20_000;

/// The most calls that leave at once because nothing was sent for a while.
const BURST_CALLS_MAX: f64 = 10.0;

/// The window where an answer names a quota without one (BigCommerce's).
const WINDOW_DEFAULT: Duration = Duration::from_secs(30);

/// What we may use: `calls` in any window of `per`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Allowance {
    calls: usize,
    per: Duration,
    rate: f64,
    burst: f64,
}

impl Allowance {
    fn of(share: f64, quota: u64, window: Duration) -> Self {
        // Windows of nothing and quotas of nothing are answers that make no sense: the slowest sensible reading.
        let per = window.clamp(Duration::from_millis(100), Duration::from_secs(86_400)).mul_f64(STRETCH);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let calls = (share * quota as f64).floor().clamp(1.0, 1e12) as usize;
        #[allow(clippy::cast_precision_loss)]
        let share_calls = calls as f64;
        Self {
            calls,
            per,
            rate: share_calls / per.as_secs_f64(),
            burst: (share_calls * 0.04).floor().clamp(1.0, BURST_CALLS_MAX),
        }
    }

    fn paced(&self) -> bool {
        self.rate <= RATE_PACED_MAX
    }

    fn logged(&self) -> bool {
        self.paced() && self.calls <= LOG_CALLS_MAX
    }
}

/// The system's window as its answers describe it.
#[derive(Clone, Copy, Debug)]
struct Window {
    quota: u64,
    /// What is left for all apps: as told, less what left since.
    left: i64,
    ends: Instant,
    /// Until when `left` is to be believed: the window's end; where windows slide, calls come back sooner.
    holds_until: Instant,
    /// The first answer that spoke of this window: when, and which end it named.
    first_at: Instant,
    first_ends: Instant,
}

impl Window {
    /// What is never spent: others may be quicker than our knowledge of them.
    fn margin(&self) -> i64 {
        i64::try_from(self.quota / 50).unwrap_or(i64::MAX).clamp(1, 20)
    }
}

/// When the next call to one system may leave.
#[derive(Debug)]
pub(super) struct Pace {
    share: f64,
    allowance: Option<Allowance>,
    tokens: f64,
    filled_at: Instant,
    /// The bucket fills up to this while a reservation larger than the burst waits.
    wanted: f64,
    sent: VecDeque<Instant>,
    reserved: usize,
    in_flight: usize,
    window: Option<Window>,
    /// The system's windows slide: then what is left comes back all the time, and not at the window's end.
    sliding: bool,
    blocked_until: Option<Instant>,
    delays: Option<ExponentialBackoff>,
}

impl Pace {
    /// Nothing is known of the quota yet, unless `fixed` names one (calls, window).
    pub(super) fn new(share: f64, fixed: Option<(u64, Duration)>, now: Instant) -> Self {
        let allowance = fixed.map(|(quota, window)| Allowance::of(share, quota, window));
        Self {
            share,
            allowance,
            tokens: allowance.map_or(0.0, |allowance| allowance.burst),
            filled_at: now,
            wanted: 0.0,
            sent: VecDeque::new(),
            reserved: 0,
            in_flight: 0,
            window: None,
            sliding: false,
            blocked_until: None,
            delays: None,
        }
    }

    /// How long so many calls take at least, in seconds, by the share of the system's own windows as it is known.
    pub(super) fn seconds_for(&self, calls: u64) -> f64 {
        // Calls are few enough for the loss of precision to be none.
        #[allow(clippy::cast_precision_loss)]
        let calls = calls as f64;
        self.allowance.map_or(0.0, |allowance| calls / (allowance.rate * STRETCH))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The most calls that one reservation can hold.
    pub(super) fn reservable(&self) -> usize {
        self.allowance.map_or(usize::MAX, |allowance| allowance.calls)
    }

    /// Until when nothing is left of the quota, by what the newest answers say: whatever leaves now is refused.
    pub(super) fn used_up_until(&self, now: Instant) -> Option<Instant> {
        self.window.filter(|window| window.left <= 0 && now < window.holds_until).map(|window| window.holds_until)
    }

    /// The instant before which nothing may leave because the system said so.
    pub(super) fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.blocked_until.filter(|until| *until > now)
    }

    /// What the system last told of its quota.
    pub(super) fn quota(&self, now: Instant) -> Option<Quota> {
        let window = self.window?;
        let to_reset = window.ends.saturating_duration_since(now);
        let left = if to_reset.is_zero() { window.quota } else { u64::try_from(window.left).unwrap_or(0) };
        let reset_ms = u64::try_from(to_reset.as_millis()).unwrap_or(u64::MAX);
        Some(Quota { left, quota: window.quota, reset_ms })
    }

    /// Whether `calls` calls may leave now; otherwise when to ask again.
    pub(super) fn ready(&mut self, calls: usize, now: Instant) -> Result<(), Instant> {
        if let Some(until) = self.blocked_until(now) {
            return Err(until);
        }
        let Some(allowance) = self.allowance else { return Ok(()) };
        // The quota may have shrunk since the reservation began to wait.
        let calls = calls.min(allowance.calls);
        if let Some(window) = self.window.filter(|window| window.holds_until > now)
            && self.spendable(&window) < i64::try_from(calls).unwrap_or(i64::MAX)
        {
            return Err(window.holds_until);
        }
        if allowance.logged() {
            self.forget_sent(now, allowance.per);
            let counted = self.sent.len() + self.reserved + calls;
            if counted > allowance.calls {
                // Reservations end by themselves soon, and whoever ends one wakes us.
                let leaves = self.sent.get(counted - allowance.calls - 1).copied().unwrap_or(now);
                return Err((leaves + allowance.per).max(now + Duration::from_millis(1)));
            }
        }
        if allowance.paced() {
            #[allow(clippy::cast_precision_loss)]
            let needed = calls as f64;
            self.wanted = needed;
            self.fill(now);
            // A billionth of a call is rounding, not a call.
            if self.tokens + 1e-9 < needed {
                let rate = self.rate(now, &allowance);
                let wait = Duration::try_from_secs_f64((needed - self.tokens) / rate).unwrap_or(BLOCK_MAX);
                return Err(now + wait.clamp(Duration::from_millis(1), BLOCK_MAX));
            }
        }
        Ok(())
    }

    /// Pays for `calls` calls that [`Self::ready`] has just allowed.
    pub(super) fn reserve(&mut self, calls: usize) {
        #[allow(clippy::cast_precision_loss)]
        let paid = calls as f64;
        self.tokens = (self.tokens - paid).max(0.0);
        self.wanted = 0.0;
        self.reserved += calls;
    }

    /// A paid call leaves now, or (with [`Self::give_back`]) never.
    pub(super) fn take_reserved(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Paid calls that will not be made.
    pub(super) fn give_back(&mut self, calls: usize) {
        self.reserved = self.reserved.saturating_sub(calls);
        #[allow(clippy::cast_precision_loss)]
        let returned = calls as f64;
        let full = self.allowance.map_or(0.0, |allowance| allowance.burst).max(self.wanted);
        self.tokens = (self.tokens + returned).min(full.max(self.tokens));
    }

    /// A call leaves.
    pub(super) fn start(&mut self, now: Instant) {
        self.in_flight += 1;
        if let Some(window) = &mut self.window {
            window.left -= 1;
        }
        // Until the quota is known the log is kept too: it then counts what left before.
        if self.allowance.is_none_or(|allowance| allowance.logged()) {
            if self.sent.len() >= LOG_CALLS_MAX {
                self.sent.pop_front();
            }
            self.sent.push_back(now);
        }
    }

    /// A call is over, answered or not.
    pub(super) fn finish(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Learns from an answer (after [`Self::finish`] of its call). Returns how long nothing may leave, after a 429.
    pub(super) fn learn(&mut self, told: &Told, now: Instant) -> Option<Duration> {
        if let Some(quota) = told.quota {
            let allowance = Allowance::of(self.share, quota, told.window.unwrap_or(WINDOW_DEFAULT));
            if self.allowance != Some(allowance) {
                self.fill(now);
                if self.allowance.is_none() {
                    self.tokens = allowance.burst;
                }
                self.tokens = self.tokens.min(allowance.burst.max(self.wanted));
                self.allowance = Some(allowance);
                if !allowance.logged() {
                    self.sent.clear();
                }
            }
            if let Some(left) = told.left {
                let window = told.window.unwrap_or(WINDOW_DEFAULT);
                self.learn_left(quota, left, told.reset.unwrap_or(window).min(BLOCK_MAX), window, now);
            }
        }
        if told.success {
            self.delays = None;
        }
        if !told.throttled {
            return None;
        }
        let wait = self.wait_after(told, now);
        let until = self.blocked_until.map_or(now + wait, |until| until.max(now + wait));
        self.blocked_until = Some(until);
        self.fill(now);
        self.tokens = 0.0;
        Some(until - now)
    }

    fn learn_left(&mut self, quota: u64, left: u64, reset: Duration, length: Duration, now: Instant) {
        let ends = now + reset;
        // Calls still on their way are not counted in this answer; the system may count them before or after.
        let told = i64::try_from(left).unwrap_or(i64::MAX);
        let left = told.saturating_sub(i64::try_from(self.in_flight).unwrap_or(i64::MAX));
        let fresh = Window { quota, left, ends, holds_until: ends, first_at: now, first_ends: ends };
        let tolerance = length.mul_f64(0.05).max(Duration::from_millis(20));
        let Some(window) = self.window.filter(|window| window.ends > now) else {
            self.window = Some(fresh);
            return;
        };
        if ends + tolerance < window.ends {
            // An answer about an earlier window that came late.
            return;
        }
        // A fixed window keeps its end; the end of a sliding one moves with the time.
        if now >= window.first_at + tolerance {
            self.sliding = ends > window.first_ends + (now - window.first_at).mul_f64(0.5);
        }
        let left = if self.sliding || ends > window.ends + tolerance { left } else { left.min(window.left) };
        let holds_until = if self.sliding { ends.min(now + length / 10) } else { ends };
        self.window = Some(Window { quota, left, ends, holds_until, ..window });
    }

    fn spendable(&self, window: &Window) -> i64 {
        window.left - window.margin() - i64::try_from(self.reserved).unwrap_or(i64::MAX)
    }

    /// Calls a second, now: the share, or less where others leave us less of this window.
    fn rate(&self, now: Instant, allowance: &Allowance) -> f64 {
        let Some(window) = self.window.filter(|window| window.ends > now && !self.sliding) else {
            return allowance.rate;
        };
        #[allow(clippy::cast_precision_loss)]
        let left = self.spendable(&window).max(0) as f64;
        allowance.rate.min(left / (window.ends - now).as_secs_f64()).max(1e-6)
    }

    fn fill(&mut self, now: Instant) {
        if let Some(allowance) = self.allowance {
            let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
            let full = allowance.burst.max(self.wanted).max(self.tokens);
            self.tokens = (self.tokens + elapsed * self.rate(now, &allowance)).min(full);
        }
        self.filled_at = now;
    }

    fn forget_sent(&mut self, now: Instant, per: Duration) {
        while self.sent.front().is_some_and(|sent| *sent + per <= now) {
            self.sent.pop_front();
        }
    }

    /// How long nothing may leave after a 429: what it asks for. Where it asks for nothing, or asking was not enough the
    /// last time, longer each time until something succeeds; several calls refused at the same time count once.
    fn wait_after(&mut self, told: &Told, now: Instant) -> Duration {
        let asked = told.wait().unwrap_or_default();
        let together = self.blocked_until(now);
        let first = self.delays.is_none();
        let delays = self.delays.get_or_insert_with(|| {
            ExponentialBuilder::new()
                .with_jitter()
                .with_min_delay(Duration::from_millis(500))
                .with_max_delay(Duration::from_secs(30))
                .without_max_times()
                .build()
        });
        match together {
            Some(until) => asked.max(until - now),
            None if first && !asked.is_zero() => asked,
            None => asked.max(delays.next().unwrap_or(BLOCK_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn told(quota: u64, left: u64, reset: Duration) -> Told {
        Told {
            quota: Some(quota),
            left: Some(left),
            reset: Some(reset),
            window: Some(WINDOW),
            success: true,
            ..Told::default()
        }
    }

    /// A system that counts fixed windows, or sliding ones, and how many calls others make in a second.
    struct System {
        quota: u64,
        sliding: bool,
        others_per_second: f64,
        began: Instant,
        calls: Vec<Instant>,
    }

    impl System {
        fn new(quota: u64, sliding: bool, now: Instant) -> Self {
            Self { quota, sliding, others_per_second: 0.0, began: now, calls: Vec::new() }
        }

        fn answer(&mut self, now: Instant) -> Told {
            // The others' calls are spread evenly; they take what is left, never more.
            let window_start =
                self.began + WINDOW * u32::try_from((now - self.began).as_millis() / WINDOW.as_millis()).unwrap();
            let since = if self.sliding { now.checked_sub(WINDOW).unwrap_or(self.began) } else { window_start };
            self.calls.push(now);
            let ours = self.calls.iter().filter(|call| **call >= since && **call <= now).count() as u64;
            let others = ((now - since).as_secs_f64() * self.others_per_second) as u64;
            let used = ours + others;
            let reset = if self.sliding { WINDOW } else { window_start + WINDOW - now };
            let mut told = told(self.quota, self.quota.saturating_sub(used), reset);
            if ours + others.min(self.quota.saturating_sub(ours)) > self.quota {
                told.throttled = true;
                told.success = false;
            }
            told
        }
    }

    /// Calls as fast as the pace lets us; each answer comes `latency` later. Returns (calls, 429s).
    fn work(
        pace: &mut Pace,
        system: &mut System,
        from: Instant,
        length: Duration,
        latency: Duration,
    ) -> (usize, usize) {
        let mut now = from;
        let mut refused = 0;
        let before = system.calls.len();
        while now < from + length {
            match pace.ready(1, now) {
                Err(at) => now = at,
                Ok(()) => {
                    pace.reserve(1);
                    pace.take_reserved();
                    pace.start(now);
                    now += latency;
                    let told = system.answer(now);
                    refused += usize::from(told.throttled);
                    pace.finish();
                    pace.learn(&told, now);
                }
            }
        }
        (system.calls.len() - before, refused)
    }

    fn most_in_any_window(calls: &[Instant]) -> usize {
        (0..calls.len())
            .map(|first| calls[first..].iter().take_while(|call| **call - calls[first] < WINDOW).count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn the_share_is_used_and_never_exceeded_however_windows_are_counted() {
        for sliding in [false, true] {
            for latency_ms in [1, 120] {
                let began = Instant::now();
                let mut pace = Pace::new(0.8, None, began);
                let mut system = System::new(150, sliding, began);
                let (calls, refused) =
                    work(&mut pace, &mut system, began, WINDOW * 10, Duration::from_millis(latency_ms));
                assert_eq!(refused, 0);
                assert!(most_in_any_window(&system.calls) <= 120, "{}", most_in_any_window(&system.calls));
                assert!(calls >= 1140, "95 % of 10 × 120, sliding {sliding}, latency {latency_ms}: {calls}");
            }
        }
    }

    #[test]
    fn it_slows_down_where_others_use_the_window_up() {
        let began = Instant::now();
        let mut pace = Pace::new(0.8, None, began);
        let mut system = System::new(150, false, began);
        system.others_per_second = 4.0;
        let (calls, refused) = work(&mut pace, &mut system, began, WINDOW * 4, Duration::from_millis(50));
        assert_eq!(refused, 0);
        assert!((4 * 30..4 * 75).contains(&calls), "of 150 a window, others ask for 120: {calls} in four");
    }

    #[test]
    fn how_long_calls_take_goes_by_the_window_that_was_told() {
        let now = Instant::now();
        let mut pace = Pace::new(0.8, None, now);
        assert!(pace.seconds_for(1000) <= 0.0, "nothing is known");
        pace.learn(&Told { window: Some(Duration::from_secs(10)), ..told(100, 99, WINDOW) }, now);
        assert!((pace.seconds_for(80) - 10.0).abs() < 1e-9, "{}", pace.seconds_for(80));
    }

    #[test]
    fn nothing_leaves_when_others_have_used_the_window_up() {
        let now = Instant::now();
        let mut pace = Pace::new(0.8, None, now);
        pace.learn(&told(150, 2, Duration::from_secs(12)), now);
        assert_eq!(pace.ready(1, now), Err(now + Duration::from_secs(12)));
        assert_eq!(pace.ready(1, now + Duration::from_secs(12)), Ok(()));
    }

    #[test]
    fn quotas_of_millions_are_not_paced() {
        let now = Instant::now();
        let mut pace = Pace::new(0.8, None, now);
        pace.learn(&told(16_101_495, 16_101_494, WINDOW), now);
        for _ in 0..100_000 {
            assert_eq!(pace.ready(1, now), Ok(()));
            pace.reserve(1);
            pace.take_reserved();
            pace.start(now);
            pace.finish();
        }
        assert!(pace.sent.is_empty(), "and the log of them does not grow");
    }

    #[test]
    fn a_429_waits_the_longer_of_its_headers() {
        let now = Instant::now();
        let mut pace = Pace::new(0.8, None, now);
        let answer = Told {
            throttled: true,
            reset: Some(Duration::from_secs(9)),
            retry_after: Some(Duration::from_secs(4)),
            ..Told::default()
        };
        assert_eq!(pace.learn(&answer, now), Some(Duration::from_secs(9)));
        assert_eq!(pace.ready(1, now), Err(now + Duration::from_secs(9)));
        let shorter = Told { throttled: true, retry_after: Some(Duration::from_secs(2)), ..Told::default() };
        assert_eq!(pace.learn(&shorter, now), Some(Duration::from_secs(9)), "a block is never shortened");
    }

    #[test]
    fn bare_429s_back_off_exponentially_and_forget_after_a_success() {
        let bare = Told { throttled: true, ..Told::default() };
        let mut now = Instant::now();
        let mut pace = Pace::new(0.8, None, now);
        let mut waits = Vec::new();
        for _ in 0..4 {
            let wait = pace.learn(&bare, now).unwrap();
            assert_eq!(pace.learn(&bare, now), Some(wait), "one refused together with it counts once");
            waits.push(wait);
            now += wait;
        }
        for (index, wait) in waits.iter().enumerate() {
            let base = Duration::from_millis(500) * 2_u32.pow(u32::try_from(index).unwrap());
            assert!(*wait >= base && *wait <= base * 2, "{waits:?}");
        }
        pace.learn(&Told { success: true, ..Told::default() }, now);
        assert!(pace.learn(&bare, now).unwrap() <= Duration::from_secs(1));
    }

    #[test]
    fn a_429_that_asks_for_nothing_or_not_for_enough_backs_off_too() {
        let asking = |millis: u64| Told {
            throttled: true,
            reset: Some(Duration::from_millis(millis)),
            retry_after: Some(Duration::ZERO),
            ..Told::default()
        };
        for (millis, first) in [(0, Duration::from_millis(500)), (40, Duration::from_millis(40))] {
            let mut now = Instant::now();
            let mut pace = Pace::new(0.8, None, now);
            let mut waits = Vec::new();
            for _ in 0..4 {
                let wait = pace.learn(&asking(millis), now).unwrap();
                waits.push(wait);
                now += wait;
            }
            assert!(waits[0] >= first && waits[0] <= first * 2, "{waits:?}");
            assert!(waits[1..].iter().all(|wait| *wait >= Duration::from_millis(500)), "{waits:?}");
            assert!(waits[3] >= Duration::from_millis(2000), "{waits:?}");
            pace.learn(&Told { success: true, ..Told::default() }, now);
            assert!(pace.learn(&asking(40), now).unwrap() <= Duration::from_millis(40), "what was asked for");
        }
    }

    #[test]
    fn a_reservation_larger_than_the_burst_is_saved_up() {
        let now = Instant::now();
        let mut pace = Pace::new(0.8, Some((150, WINDOW)), now);
        let at = pace.ready(8, now).unwrap_err();
        assert!(at > now + Duration::from_millis(900) && at < now + Duration::from_millis(1100), "{:?}", at - now);
        assert_eq!(pace.ready(8, at), Ok(()));
        pace.reserve(8);
        assert!(pace.ready(1, at).is_err());
        pace.give_back(8);
        assert_eq!(pace.ready(1, at), Ok(()));
    }

    #[test]
    fn a_quota_that_shrinks_under_a_waiting_reservation_does_not_hold_it_for_ever() {
        let now = Instant::now();
        let mut pace = Pace::new(1.0, Some((150, WINDOW)), now);
        assert!(pace.ready(8, now).is_err());
        pace.learn(&told(5, 5, WINDOW), now);
        assert_eq!(pace.ready(8, now + WINDOW * 2), Ok(()));
    }

    #[test]
    fn absurd_headers_are_survived() {
        let now = Instant::now();
        let mut pace = Pace::new(0.8, None, now);
        let answer = Told {
            quota: Some(0),
            left: Some(u64::MAX),
            reset: Some(Duration::from_millis(u64::MAX)),
            window: Some(Duration::ZERO),
            retry_after: Some(Duration::from_secs(u64::MAX)),
            throttled: true,
            success: false,
        };
        assert_eq!(pace.learn(&answer, now), Some(BLOCK_MAX));
        assert_eq!(pace.ready(1, now), Err(now + BLOCK_MAX));
    }

    #[test]
    fn a_late_answer_of_the_last_window_does_not_stall_this_one() {
        let now = Instant::now();
        let mut pace = Pace::new(0.8, None, now);
        pace.learn(&told(150, 149, WINDOW), now);
        pace.learn(&told(150, 0, Duration::from_millis(5)), now);
        assert_eq!(pace.ready(1, now), Ok(()));
    }
}
