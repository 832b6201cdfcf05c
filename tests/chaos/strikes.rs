//! What strikes at the points of a call: before it is passed on, when it has taken effect and its answer has not been
//! passed on, and right after the answer.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ledger::Ledger;
use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    Before,
    After,
    Answered,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Pass,
    /// `kill -9`; what was not passed on yet still arrives so much later, or never.
    Kill(Option<u64>),
    /// The connection is cut; the same.
    Cut(Option<u64>),
    Delay(u64),
    /// Half of the answer, then the end of the connection.
    Truncate,
}

/// The longest delay, in milliseconds.
const DELAY_MAX_MS: u64 = 300;

pub struct Strikes {
    seed: u64,
    ledger: Arc<Ledger>,
    per_mille: AtomicU64,
    points: AtomicU64,
    armed: Mutex<Option<(u64, Action)>>,
}

impl Strikes {
    pub const fn new(seed: u64, ledger: Arc<Ledger>) -> Self {
        Self { seed, ledger, per_mille: AtomicU64::new(0), points: AtomicU64::new(0), armed: Mutex::new(None) }
    }

    /// From now on so often; 0: nothing strikes any more.
    pub fn often(&self, per_mille: u64) {
        self.per_mille.store(per_mille, Ordering::SeqCst);
    }

    fn armed(&self) -> std::sync::MutexGuard<'_, Option<(u64, Action)>> {
        self.armed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts points from the beginning again, and strikes at this one.
    pub fn arm(&self, strike: Option<(u64, Action)>) {
        *self.armed() = strike;
        self.points.store(0, Ordering::SeqCst);
    }

    /// Whether what it was armed with has not struck yet.
    pub fn is_armed(&self) -> bool {
        self.armed().is_some()
    }

    pub fn points(&self) -> u64 {
        self.points.load(Ordering::SeqCst)
    }

    /// What happens at a point of a call.
    pub fn at(&self, point: Point, call: &str) -> Action {
        let number = self.points.fetch_add(1, Ordering::SeqCst);
        let mut action = Action::Pass;
        let mut armed = self.armed();
        if let Some((_, wanted)) = armed.take_if(|(at, _)| *at == number) {
            action = wanted;
        }
        drop(armed);
        let mut random = Random::keyed(self.seed, &[11, number]);
        if random.chance(self.per_mille.load(Ordering::SeqCst)) {
            action = Self::any(point, &mut random);
        }
        if action != Action::Pass {
            self.ledger.tell(format!("{action:?} at {point:?} of {call} (point {number})"));
            let what = format!("{action:?}");
            let what = what.split('(').next().unwrap_or_default();
            self.ledger.meet(&format!("{what} at {point:?}"));
        }
        action
    }

    /// Anything that can happen at such a point.
    pub fn any(point: Point, random: &mut Random) -> Action {
        let late = random.chance(500).then(|| 50 + random.below(DELAY_MAX_MS));
        match (random.below(10), point) {
            (0..3, _) => Action::Kill(late),
            (3..6, _) => Action::Cut(late),
            (6..8, Point::After) => Action::Truncate,
            _ => Action::Delay(10 + random.below(DELAY_MAX_MS)),
        }
    }
}
