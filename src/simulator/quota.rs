//! The quota of one store: windows, what is left, and the headers that say so.
//!
//! Must not know: who calls.

use super::settings::Quota;

/// The quota that an "unlimited" plan shows (<https://github.com/bigcommerce/bigcommerce-for-wordpress/issues/303>).
const UNLIMITED_CALLS: u64 = 16_101_495;

/// How much of the current window is used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    number: u64,
    used: u64,
}

/// What one call found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// Whether the call is within the quota.
    pub(super) allowed: bool,
    /// The quota as the headers show it.
    pub(super) calls: u64,
    /// Calls left in this window, after this one.
    pub(super) left: u64,
    /// Milliseconds until the next window.
    pub(super) reset_ms: u64,
    /// The window in milliseconds.
    pub(super) window_ms: u64,
}

impl Window {
    /// Takes one call out of the quota, if there is one left.
    pub(super) fn spend(&mut self, quota: &Quota, elapsed_ms: u64) -> Spent {
        let window_ms = quota.window_ms.max(1);
        let number = elapsed_ms / window_ms;
        if self.number != number {
            *self = Self { number, used: 0 };
        }
        let into_ms = elapsed_ms % window_ms;
        let reset_ms = window_ms - into_ms;
        if quota.unlimited {
            self.used += 1;
            let left = UNLIMITED_CALLS.saturating_sub(self.used);
            return Spent { allowed: true, calls: UNLIMITED_CALLS, left, reset_ms, window_ms };
        }
        let others = quota.other_apps.saturating_mul(into_ms + 1) / window_ms;
        let available = quota.calls.saturating_sub(others);
        let allowed = self.used < available;
        if allowed {
            self.used += 1;
        }
        Spent { allowed, calls: quota.calls, left: available.saturating_sub(self.used), reset_ms, window_ms }
    }
}

impl Spent {
    /// The headers of an answer.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("X-Rate-Limit-Time-Window-Ms", self.window_ms.to_string()),
            ("X-Rate-Limit-Time-Reset-Ms", self.reset_ms.to_string()),
            ("X-Rate-Limit-Requests-Quota", self.calls.to_string()),
            ("X-Rate-Limit-Requests-Left", self.left.to_string()),
        ];
        if !self.allowed {
            headers.push(("X-Retry-After", self.reset_ms.div_ceil(1000).to_string()));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_what_it_holds_and_the_next_begins_full() {
        let quota = Quota { calls: 3, window_ms: 1_000, ..Quota::default() };
        let mut window = Window::default();
        let left: Vec<(bool, u64)> =
            (0..5).map(|_| window.spend(&quota, 400)).map(|spent| (spent.allowed, spent.left)).collect();
        assert_eq!(left, [(true, 2), (true, 1), (true, 0), (false, 0), (false, 0)]);
        assert_eq!(window.spend(&quota, 999).reset_ms, 1);
        assert_eq!(
            window.spend(&quota, 1_000),
            Spent { allowed: true, calls: 3, left: 2, reset_ms: 1_000, window_ms: 1_000 }
        );
    }

    #[test]
    fn other_apps_take_their_part_evenly() {
        let quota = Quota { calls: 10, other_apps: 8, window_ms: 1_000, ..Quota::default() };
        let mut window = Window::default();
        assert_eq!(window.spend(&quota, 0).left, 9);
        assert_eq!(window.spend(&quota, 499).left, 4);
        assert_eq!(
            window.spend(&quota, 999),
            Spent { allowed: false, calls: 10, left: 0, reset_ms: 1, window_ms: 1_000 }
        );
    }

    #[test]
    fn an_unlimited_plan_shows_millions_and_refuses_nothing() {
        let quota = Quota { calls: 0, unlimited: true, ..Quota::default() };
        let spent = Window::default().spend(&quota, 5);
        assert!(spent.allowed && spent.calls == UNLIMITED_CALLS && spent.left == UNLIMITED_CALLS - 1);
    }
}
