//! The outside: systems with records whose whole past is kept, people who edit them, and faults between them and us.

mod crm;
mod read;
mod store;
mod system;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use attune::engine::Clock;
use attune::model::{Side, Timestamp};

pub use crm::Crm;
pub use store::Store;
pub use system::{Author, System};

use crate::executor::Time;
use crate::plan::Plan;
use crate::random::{Random, hash};

/// The CRM's place among the systems; stores follow.
pub const CRM: usize = 0;

/// The moment at which every history begins: 2026-01-01T00:00:00Z.
pub const BEGIN_MS: i64 = 1_767_225_600_000;

/// One thing that a person did to a field.
#[derive(Clone, Debug)]
pub struct Edit {
    pub system: usize,
    pub key: u64,
    pub field: usize,
    pub value: Option<String>,
    /// Everybody was known to agree when it was made: nothing but another edit may take its place.
    pub alone: bool,
}

pub struct World {
    pub seed: u64,
    pub plan: Plan,
    pub systems: Vec<System>,
    pub edits: Vec<Edit>,
    /// Edits that were overwritten unseen, between our last read of a field and the landing of a write: the window that
    /// cannot be closed where writes are not conditional.
    pub lost_in_window: BTreeSet<usize>,
    /// No more faults.
    pub calm: bool,
    /// No more writes are allowed.
    pub quiet: bool,
    pub writes: u64,
    pub calls: u64,
    pub paused: BTreeMap<usize, i64>,
    /// Writes whose outcome the process does not know: when they were sent, by system, key and field.
    pub unknown: BTreeMap<(usize, u64, usize), i64>,
    /// When a direct read of a field was last answered.
    pub rechecked: BTreeMap<(usize, u64, usize), i64>,
    pub violations: Vec<String>,
    pub crash: bool,
    pub misses_injected: bool,
    /// By system: how often its feeds showed anything, and when the last whole read began.
    pub reads: Vec<u64>,
    pub pulled: Vec<i64>,
    /// By store: up to when both of its sides had been read when its last complete pass began.
    pub passed: Vec<i64>,
    /// By store and customer: when a link was first there.
    pub linked: BTreeMap<(usize, u64), i64>,
    pub hash: u64,
    pub tell: bool,
    nth: BTreeMap<(u64, u64), u64>,
}

/// What connectors, people and the driver share.
pub struct Hub {
    pub time: Arc<Time>,
    world: Mutex<World>,
}

pub type Shared = Arc<Hub>;

impl Hub {
    pub fn new(seed: u64, plan: Plan, tell: bool) -> Shared {
        let systems = System::all(&plan);
        let count = systems.len();
        let mut world = World {
            seed,
            plan,
            systems,
            edits: Vec::new(),
            lost_in_window: BTreeSet::new(),
            calm: false,
            quiet: false,
            writes: 0,
            calls: 0,
            paused: BTreeMap::new(),
            unknown: BTreeMap::new(),
            rechecked: BTreeMap::new(),
            violations: Vec::new(),
            crash: false,
            misses_injected: false,
            reads: vec![0; count],
            pulled: vec![0; count],
            passed: vec![0; count],
            linked: BTreeMap::new(),
            hash: 0,
            tell,
            nth: BTreeMap::new(),
        };
        world.populate();
        Arc::new(Self { time: Time::new(BEGIN_MS), world: Mutex::new(world) })
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn now(&self) -> i64 {
        self.time.now()
    }

    pub async fn sleep(&self, ms: i64) {
        self.time.sleep(ms).await;
    }

    /// Adds a line to the story.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        let now = self.now();
        self.world().say(now, line());
    }
}

impl World {
    pub fn say(&mut self, now: i64, line: String) {
        let line = format!("{:9.3} {line}", (now - BEGIN_MS) as f64 / 1000.0);
        if self.tell {
            println!("{line}");
        }
        self.hash = self.hash.rotate_left(5) ^ hash(&line);
    }

    pub fn violate(&mut self, now: i64, what: String) {
        self.say(now, format!("VIOLATION {what}"));
        self.violations.push(what);
    }

    /// The generator for the next decision of this kind about this thing.
    pub fn decide(&mut self, kind: &str, about: &str) -> Random {
        let (kind, about) = (hash(kind), hash(about));
        let nth = self.nth.entry((kind, about)).or_default();
        *nth += 1;
        Random::keyed(self.seed, &[kind, about, *nth])
    }

    /// Whether a fault of this kind strikes this thing now.
    pub fn strikes(&mut self, kind: &str, about: &str, per_mille: u64) -> bool {
        !self.calm && per_mille > 0 && self.decide(kind, about).chance(per_mille)
    }

    pub fn side(system: usize) -> Side {
        if system == CRM { Side::Crm } else { Side::Store }
    }
}

/// Our clock, as wrong as the seed makes it.
pub struct OurClock(pub Shared);

#[async_trait::async_trait]
impl Clock for OurClock {
    fn now(&self) -> Timestamp {
        let skew = self.0.world().plan.our_skew_ms;
        Timestamp::from_millis(self.0.now() + skew)
    }

    async fn sleep(&self, duration: std::time::Duration) {
        self.0.sleep(i64::try_from(duration.as_millis()).unwrap()).await;
    }
}
