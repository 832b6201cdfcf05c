//! The store's own clock where answers carry no `Date` (something in between takes it out): it is asked for its time now
//! and then, and what that was goes on by our own clock, a little slower, so that it is never later than the truth.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::wire::{Object, number};
use super::{BigCommerce, Paid};
use crate::http::{Answer, Request};
use crate::model::Timestamp;

/// After this long a time that was told is asked for again, and one that was refused too.
const TOLD_LASTS: Duration = Duration::from_secs(600);

/// Clocks run at different speeds, by far less than one part in this many.
const SLOWER: u32 = 1000;

/// What was last known of a store's clock.
#[derive(Debug, Default)]
pub(super) struct StoreClock {
    told: Mutex<Option<Told>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    /// The store's time; none: it was asked for and not told.
    clock: Option<Timestamp>,
    at: Instant,
}

/// `GET /v2/time`: <https://developer.bigcommerce.com/docs/rest-management/store-information>.
#[derive(Deserialize)]
struct Time {
    #[serde(deserialize_with = "number")]
    time: u64,
}

impl StoreClock {
    fn note(&self, clock: Option<Timestamp>, at: Instant) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(Told { clock, at });
    }

    /// The store's time now, as the last answers let it be known; never later than the truth.
    pub(super) fn just_now(&self) -> Option<Timestamp> {
        let now = Instant::now();
        self.told(now)?.clock_at(now)
    }

    /// What is known now, while it lasts.
    fn told(&self, now: Instant) -> Option<Told> {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.filter(|told| now < told.at + TOLD_LASTS)
    }
}

impl Told {
    fn clock_at(self, now: Instant) -> Option<Timestamp> {
        let since = now.saturating_duration_since(self.at);
        self.clock.map(|clock| clock + (since - since / SLOWER))
    }
}

impl BigCommerce {
    /// Gives an answer without a date the store's time as it was when it was asked for. False: that is not known, and
    /// the store was asked for its time, so that the question is worth repeating.
    pub(super) async fn date(&self, answer: &mut Answer, asked_at: Instant, paid: Paid<'_>) -> bool {
        if answer.clock.is_some() {
            self.clock.note(answer.clock, asked_at);
            return true;
        }
        if let Some(told) = self.clock.told(asked_at) {
            answer.clock = told.clock_at(asked_at);
            return true;
        }
        let asked_at = Instant::now();
        let told = self.ask_for_time(paid).await;
        // It was that time when it answered, which is not before it was asked.
        self.clock.note(told.map(|told| told - asked_at.elapsed()), asked_at);
        told.is_none()
    }

    /// The store's time, in whole seconds; none where it cannot be had, which is no reason for a read to fail.
    async fn ask_for_time(&self, paid: Paid<'_>) -> Option<Timestamp> {
        let endpoint = &self.endpoints.time;
        let turn = self.caller.turn(endpoint, paid.read()).await.ok()?;
        let answer = self.caller.send(turn, &Request::get("")).await.ok()?;
        let Object(Time { time: seconds }) = answer.json().ok()?;
        Some(Timestamp::from_millis(i64::try_from(seconds).ok()?.checked_mul(1000)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_told_goes_on_a_little_slower_and_not_for_ever() {
        let clock = StoreClock::default();
        let began = Instant::now();
        assert!(clock.told(began).is_none());
        clock.note(Some(Timestamp::EPOCH), began);
        let later = began + Duration::from_secs(100);
        assert_eq!(clock.told(later).unwrap().clock_at(later), Some(Timestamp::from_millis(99_900)));
        assert!(clock.told(began + TOLD_LASTS).is_none());
        clock.note(None, began);
        assert_eq!(clock.told(later).unwrap().clock_at(later), None, "it was asked for, in vain");
    }
}
