//! The outside: systems with records whose whole past is kept, people who edit them, and faults between them and us.

mod beside;
mod crm;
mod life;
mod read;
mod resource;
mod store;
mod system;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use attune::engine::Clock;
use attune::model::{Side, Timestamp};

pub use crm::Crm;
pub use life::Register;
pub use resource::{Resource, SEGMENTS};
pub use store::Store;
pub use system::{Act, CellState, Origin, Record, System, text_of};

use crate::executor::Time;
use crate::plan::Plan;
use crate::random::{Random, hash};
use crate::script::{Script, Strike};

/// The place of the (first) CRM among the systems; further CRMs follow, then stores.
pub const CRM: usize = 0;

/// The moment at which every history begins: 2026-01-01T00:00:00Z.
pub const BEGIN_MS: i64 = 1_767_225_600_000;

pub struct World {
    pub seed: u64,
    pub plan: Plan,
    pub systems: Vec<System>,
    /// Whatever was said of a field by somebody else than us: at the beginning, or by an edit.
    pub acts: Vec<Act>,
    /// Acts that were overwritten unseen, between our last read of a field and the landing of a write: the window that
    /// cannot be closed where writes are not conditional.
    pub lost_in_window: BTreeSet<usize>,
    /// Acts that we sent somewhere and never learned whether they arrived: by field.
    pub doubtful: BTreeSet<(usize, usize)>,
    /// When somebody last typed into a record what was there already: no act, but it dates the record.
    pub retyped: BTreeMap<(usize, u64), i64>,
    /// What was sent last to a cell, and when: an answer that nobody recorded before the process died is in doubt.
    pub sent: BTreeMap<(usize, u64, usize), (i64, usize)>,
    /// How wrong our clock was when this life of the process began.
    pub skew_of_life_ms: i64,
    /// People whose records were removed, merged, or whose e-mails changed: their links come and go.
    pub stirred: BTreeSet<u64>,
    /// Cells that an operator decided; and how many acts there were then, if he decided by what stands there.
    pub decided: BTreeMap<(usize, u64, usize), Option<usize>>,
    /// No more faults.
    pub calm: bool,
    /// No more writes are allowed.
    pub quiet: bool,
    pub writes: u64,
    pub calls: u64,
    pub paused: BTreeMap<usize, i64>,
    /// Systems that show nothing.
    pub silent: BTreeSet<usize>,
    /// How often a record of a system went away, or seemed to in an answer that we must believe.
    pub goings: Vec<u64>,
    /// Links that the passes of a pair (store, CRM) ended because a record was gone.
    pub unlinked: BTreeMap<(usize, usize), u64>,
    /// Values that a system refused: by system, key, field.
    pub refused: BTreeSet<(usize, u64, usize)>,
    /// A system or the checkpoint was restored: what was superseded returns, and the day's counts are wrong.
    pub restored: bool,
    /// The mapping is not what it was at first.
    pub remapped: bool,
    /// Another life begins as this says, instead of dying by chance.
    pub rebirth: Option<Rebirth>,
    /// Writes whose outcome the process does not know: when they were sent, by system, key and field.
    pub unknown: BTreeMap<(usize, u64, usize), i64>,
    /// When a direct read of a field was last answered.
    pub rechecked: BTreeMap<(usize, u64, usize), i64>,
    pub violations: Vec<String>,
    pub crash: bool,
    /// Something that the feeds cannot show in time was part of this world.
    pub misses_injected: bool,
    pub our_skew_ms: i64,
    /// Until when a system refuses our credentials.
    pub unauthorized: BTreeMap<usize, i64>,
    /// How often the feeds of a system showed anything.
    pub reads: Vec<u64>,
    /// Records that we made, by system and token.
    pub made: BTreeMap<(usize, String), u64>,
    /// Records that we made without knowing it.
    pub made_unknown: BTreeSet<(usize, u64)>,
    /// Keys kept for records that nobody made: by system and person.
    pub kept_keys: Vec<(usize, u64, u64)>,
    /// How often a system showed nothing.
    pub silences: u64,
    /// When something last happened that keeps the world from rest.
    pub stirred_at: i64,
    pub hash: u64,
    pub tell: bool,
    /// The faults that struck.
    pub struck: Vec<Strike>,
    /// How often each thing was met.
    pub met: BTreeMap<String, u64>,
    strikes: Option<BTreeSet<Strike>>,
    nth: BTreeMap<(u64, u64), u64>,
}

/// How the process begins again.
#[derive(Clone, Copy, Debug)]
pub enum Rebirth {
    /// With its checkpoint of that time, and the mark of that time too or not.
    Restored { at: i64, with_mark: bool },
    /// With so many fields in the mapping.
    Mapping(usize),
    /// As it was, but for what the world has changed already.
    Same,
}

/// What connectors, people and the driver share.
pub struct Hub {
    pub time: Arc<Time>,
    world: Mutex<World>,
}

pub type Shared = Arc<Hub>;

impl Hub {
    pub fn new(script: &Script, tell: bool) -> Shared {
        let plan = script.plan.clone();
        let systems = System::all(&plan);
        let mut world = World {
            seed: script.seed,
            our_skew_ms: plan.our_skew_ms,
            skew_of_life_ms: plan.our_skew_ms,
            plan,
            reads: vec![0; systems.len()],
            goings: vec![0; systems.len()],
            systems,
            acts: Vec::new(),
            lost_in_window: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            retyped: BTreeMap::new(),
            sent: BTreeMap::new(),
            stirred: BTreeSet::new(),
            decided: BTreeMap::new(),
            calm: false,
            quiet: false,
            writes: 0,
            calls: 0,
            paused: BTreeMap::new(),
            silent: BTreeSet::new(),
            unlinked: BTreeMap::new(),
            refused: BTreeSet::new(),
            restored: false,
            remapped: false,
            rebirth: None,
            unknown: BTreeMap::new(),
            rechecked: BTreeMap::new(),
            violations: Vec::new(),
            crash: false,
            misses_injected: false,
            unauthorized: BTreeMap::new(),
            made: BTreeMap::new(),
            made_unknown: BTreeSet::new(),
            kept_keys: script.absent.clone(),
            silences: 0,
            stirred_at: BEGIN_MS,
            hash: 0,
            tell,
            struck: Vec::new(),
            met: BTreeMap::new(),
            strikes: script.strikes.clone(),
            nth: BTreeMap::new(),
        };
        if tell {
            for (at, rule) in world.plan.fields.iter().enumerate() {
                println!(
                    "field {}: {} and {}, {:?}, {:?}, conflict {:?}, on_clear {:?}, overwrite {}",
                    at + 1,
                    rule.store,
                    rule.crm,
                    rule.kind,
                    rule.direction,
                    rule.conflict,
                    rule.on_clear,
                    rule.overwrite
                );
            }
        }
        for being in &script.beings {
            world.add(BEGIN_MS - 3_600_000, being.system, being.key, being.person, &being.values);
        }
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

    /// Counts that something was met.
    pub fn meet(&mut self, what: &str) {
        if let Some(times) = self.met.get_mut(what) {
            *times += 1;
        } else {
            self.met.insert(what.to_owned(), 1);
        }
    }

    fn occasion(&mut self, kind: &str, about: &str) -> (Random, u64) {
        let (kind, about) = (hash(kind), hash(about));
        let nth = self.nth.entry((kind, about)).or_default();
        *nth += 1;
        (Random::keyed(self.seed, &[kind, about, *nth]), *nth)
    }

    /// The generator for the next decision of this kind about this thing.
    pub fn decide(&mut self, kind: &str, about: &str) -> Random {
        self.occasion(kind, about).0
    }

    /// Whether a fault of this kind strikes this thing now.
    pub fn strikes(&mut self, kind: &str, about: &str, per_mille: u64) -> bool {
        if self.calm || per_mille == 0 {
            return false;
        }
        let (mut random, nth) = self.occasion(kind, about);
        let strikes = match &self.strikes {
            None => random.chance(per_mille),
            Some(listed) => listed.contains(&(kind.to_owned(), about.to_owned(), nth)),
        };
        if strikes {
            self.struck.push((kind.to_owned(), about.to_owned(), nth));
            self.meet(kind);
        }
        strikes
    }

    /// The process ends now, and begins again like this.
    pub const fn begin_again(&mut self, rebirth: Rebirth) {
        self.crash = true;
        self.rebirth = Some(rebirth);
    }

    /// Whether a system shows nothing now.
    pub fn is_silent(&self, system: usize) -> bool {
        !self.calm && self.silent.contains(&system)
    }

    /// The process begins, or begins again.
    pub fn begin_life(&mut self, now: i64) {
        /// The longest call, and the longest time between two lives.
        const ANSWERED_WITHIN_MS: i64 = 30_000;
        // What it sees of changes that the feeds do not show, it sees later.
        self.stirred_at = now;
        // Nobody waits any more for what the one before it had under way.
        self.systems.iter_mut().for_each(|system| system.in_flight = 0);
        let sent = std::mem::take(&mut self.sent).into_iter().filter(|(_, (at, _))| now - at <= ANSWERED_WITHIN_MS);
        self.doubtful.extend(sent.map(|((_, _, field), (_, act))| (field, act)).collect::<Vec<_>>());
        if self.our_skew_ms != self.skew_of_life_ms {
            // It knows only by the machine's clock when the one before it sent something.
            self.unknown.clear();
            self.skew_of_life_ms = self.our_skew_ms;
        }
    }

    /// Nothing is as anybody knew it: links come and go, and what was replaced returns.
    pub fn stir_all(&mut self) {
        let people = self.systems.iter().flat_map(|system| system.records.values().map(|record| record.person));
        self.stirred.extend(people.collect::<Vec<_>>());
        self.misses_injected = true;
    }

    pub const fn is_crm(&self, system: usize) -> bool {
        system < self.plan.crms
    }

    pub const fn side(&self, system: usize) -> Side {
        if self.is_crm(system) { Side::Crm } else { Side::Store }
    }

    /// The systems on the other side of one: those that it has pairs with.
    pub fn others(&self, system: usize) -> std::ops::Range<usize> {
        if self.is_crm(system) { self.plan.crms..self.systems.len() } else { 0..self.plan.crms }
    }

    pub fn system_named(&self, side: Side, name: &str) -> usize {
        self.systems.iter().position(|system| system.name == name && self.side(system.number) == side).unwrap()
    }
}

/// Our clock, as wrong as it was when the process began: jumps of the machine's clock move it in the next life only.
pub struct OurClock {
    hub: Shared,
    skew_ms: i64,
}

impl OurClock {
    pub fn new(hub: &Shared) -> Self {
        let skew_ms = hub.world().our_skew_ms;
        Self { hub: Arc::clone(hub), skew_ms }
    }
}

#[async_trait::async_trait]
impl Clock for OurClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.hub.now() + self.skew_ms)
    }

    async fn sleep(&self, duration: std::time::Duration) {
        self.hub.sleep(i64::try_from(duration.as_millis()).unwrap()).await;
    }
}
