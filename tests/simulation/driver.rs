//! One history: the process as the daemon runs it (a task for each source and each pair), killed and started again
//! where the seed says so; then no faults, then no edits, then no writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use attune::checkpoint::{self, Checkpoint, HeldFilter, HeldRow, HistoryFilter, HistoryRow, Transaction};
use attune::engine::{
    Engine, HeldAction, Pair, PairSettings, PassOptions, PassReport, Reach, Request, Source, SourceSettings, Standing,
};
use attune::model::{Mode, Side};
use tokio_util::sync::CancellationToken;

use crate::database::{InMemory, Tables};
use crate::executor::{Executor, Owner, at_once};
use crate::plan::{QUARANTINE_MS, TIMES};
use crate::random::Random;
use crate::script::{Death, Deed, Script, Strike};
use crate::world::{Crm, Hub, OurClock, Rebirth, Register, Shared, Store};
use crate::{oracle, people};

/// So long without faults may pass until everything has come to rest: attempts are read back after their quarantine, stale
/// reads are read again, and two sweeps find what the feeds cannot show.
const HEAL_MS_MAX: i64 = QUARANTINE_MS * 2 + 240_000;

/// So long must nothing happen: longer than anything waits for its time.
const REST_MS: i64 = 35_000;
const SWEEP_MS: i64 = 12_000;
const IDLE_MS: i64 = 30_000;

/// How often the checkpoint is copied where it will be restored.
const COPY_MS: i64 = 5_000;

/// What a history came to.
pub struct History {
    pub violations: Vec<String>,
    pub hash: u64,
    pub writes: u64,
    pub calls: u64,
    pub acts: usize,
    pub lost_in_window: usize,
    pub crashes: usize,
    /// The faults that struck.
    pub struck: Vec<Strike>,
    /// How often each thing was met.
    pub met: BTreeMap<String, u64>,
    /// Turns of the process's tasks, and commits, of its first life.
    pub turns: u64,
    pub commits: i64,
}

/// What the process shares with the crash that ends it.
pub struct Process {
    pub hub: Shared,
    pub checkpoint: Checkpoint,
    /// Commits left until it dies at one; negative: it does not.
    commits_left: Arc<AtomicI64>,
    sweeps_often: AtomicBool,
    /// Commits so far.
    commits: Arc<AtomicI64>,
    /// How many of the fields are in the mapping.
    mapped: AtomicUsize,
    database: InMemory,
    copies: Mutex<Vec<(i64, Tables)>>,
    /// What a restored checkpoint does not know any more.
    lost_history: Mutex<Vec<HistoryRow>>,
}

impl Process {
    pub fn new(hub: &Shared) -> Arc<Self> {
        let commits_left = Arc::new(AtomicI64::new(-1));
        let commits = Arc::new(AtomicI64::new(0));
        let (left, world, made) = (Arc::clone(&commits_left), Arc::clone(hub), Arc::clone(&commits));
        let crash = move || {
            made.fetch_add(1, Ordering::SeqCst);
            if left.load(Ordering::SeqCst) < 0 || left.fetch_sub(1, Ordering::SeqCst) > 0 {
                return false;
            }
            world.world().crash = true;
            true
        };
        let database = InMemory::open().unwrap();
        let checkpoint = Checkpoint::simulated(Box::new(database.clone()), Some(Arc::new(crash))).unwrap();
        Arc::new(Self {
            hub: Arc::clone(hub),
            checkpoint,
            commits_left,
            commits,
            sweeps_often: AtomicBool::new(false),
            mapped: AtomicUsize::new(usize::MAX),
            database,
            copies: Mutex::default(),
            lost_history: Mutex::default(),
        })
    }

    /// From the next start on only so many fields are in the mapping.
    pub fn map_only(&self, fields: usize) {
        self.mapped.store(fields, Ordering::SeqCst);
    }

    /// Copies the checkpoint now and then.
    async fn copy_for_ever(self: Arc<Self>) {
        loop {
            let copy = self.database.copy().unwrap();
            self.copies.lock().unwrap().push((self.hub.now(), copy));
            self.hub.sleep(COPY_MS).await;
        }
    }

    /// Begins again like this.
    fn reborn(&self, rebirth: Rebirth) {
        match rebirth {
            Rebirth::Same => {}
            Rebirth::Mapping(fields) => self.map_only(fields.max(1)),
            Rebirth::Restored { at, with_mark } => {
                self.lost_history.lock().unwrap().extend(self.history());
                let copies = self.copies.lock().unwrap();
                let copy = copies.iter().rev().find(|(copied, _)| *copied <= at).or_else(|| copies.first()).unwrap();
                self.database.put_back(&copy.1).unwrap();
                if with_mark {
                    at_once(self.checkpoint.accept_as_it_is()).unwrap();
                }
                // What was under way it knows nothing of, nor who was paused since: an operator sees to that.
                self.hub.world().unknown.clear();
                let (systems, paused): (Vec<String>, Vec<usize>) = {
                    let world = self.hub.world();
                    let names = world.systems.iter().map(|system| system.name.clone()).collect();
                    (names, world.paused.keys().copied().collect())
                };
                for (number, name) in systems.into_iter().enumerate() {
                    let is_paused = paused.contains(&number);
                    let request = if is_paused { Request::Pause { name } } else { Request::Resume { name } };
                    self.operate(&request);
                }
            }
        }
    }

    /// What it knows of all writes.
    pub fn history(&self) -> Vec<HistoryRow> {
        self.read(async |transaction| transaction.history(&HistoryFilter::default()).await)
    }

    /// The history that restored checkpoints have lost.
    pub fn lost_history(&self) -> Vec<HistoryRow> {
        std::mem::take(&mut *self.lost_history.lock().unwrap())
    }

    pub fn engine(&self) -> Engine {
        let clock = Arc::new(OurClock::new(&self.hub));
        Engine::new(self.checkpoint.clone(), clock, CancellationToken::new())
    }

    /// Does what a person asks for, in a process of its own that no crash of ours strikes.
    pub fn operate(&self, request: &Request) {
        if let Request::Held { action, .. } = request {
            self.note_decided(*action);
        }
        let left = self.commits_left.swap(-1, Ordering::SeqCst);
        at_once(self.engine().operate(request)).unwrap();
        self.commits_left.store(left, Ordering::SeqCst);
    }

    /// An operator decides what is held: what stood against it counts no more.
    pub fn note_decided(&self, action: HeldAction) {
        let held = self.held();
        let (now, mut world) = (self.hub.now(), self.hub.world());
        let many = world.acts.len();
        for held in held {
            let at = world.plan.fields.iter().position(|rule| Some(&rule.store) == held.field.as_ref());
            let Some(field) = at else { continue };
            let rule = world.plan.fields[field].clone();
            let sides = [
                (Side::Store, &held.store, &held.store_key, &held.store_value),
                (Side::Crm, &held.crm, &held.crm_key, &held.crm_value),
            ];
            let mut cells = Vec::new();
            // What he has not seen yet he has not decided.
            let mut is_final = matches!(action, HeldAction::Take(_));
            for (side, name, key, value) in sides {
                let system = world.system_named(side, name);
                let Some(key) = key.as_ref().and_then(|key| key.parse().ok()) else { continue };
                let then = oracle::text_of_json(value);
                let now = oracle::compared(&rule, world.holds(system, key, field + 1));
                is_final &= oracle::compared(&rule, then.as_deref()) == now;
                cells.push((system, key, field + 1));
            }
            for cell in cells {
                world.decided.insert(cell, is_final.then_some(many));
            }
            world.stirred_at = now;
            world.meet("operator decides");
        }
    }

    /// How many rows each table of the checkpoint has.
    pub fn rows(&self) -> BTreeMap<String, usize> {
        self.database.copy().unwrap().into_iter().map(|(table, rows)| (table, rows.len())).collect()
    }

    /// Whether a partner is yet to be made, or may have been: where nothing is found by value a whole read tells, later.
    pub fn waits_to_create(&self) -> bool {
        let stores: Vec<String> = {
            let world = self.hub.world();
            if world.plan.creates == attune::model::Create::None {
                return false;
            }
            world.systems.iter().filter(|system| !system.is_crm).map(|system| system.name.clone()).collect()
        };
        let far = attune::model::Timestamp::from_millis(i64::MAX / 2);
        self.read(async |transaction| {
            for store in &stores {
                for pair in transaction.pairs_by_name(store).await? {
                    let stopped = transaction.pair(pair.id).await?.stopped.is_some();
                    if !stopped && transaction.has_creations_due(pair.id, far).await? {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        })
    }

    /// What is held now.
    pub fn held(&self) -> Vec<HeldRow> {
        self.read(async |transaction| transaction.held(&HeldFilter::default()).await)
    }

    fn read<T>(&self, work: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<T, checkpoint::Error>) -> T {
        at_once(async {
            let mut transaction = self.checkpoint.read().await.unwrap();
            let found = work(&mut transaction).await.unwrap();
            transaction.end().await.unwrap();
            found
        })
    }

    /// The settings of every source, the CRMs first.
    pub fn sources(&self) -> Vec<SourceSettings> {
        let world = self.hub.world();
        let settings = |system: &crate::world::System| {
            let (hub, mut names) = (Arc::clone(&self.hub), system.names.clone());
            names.truncate(self.mapped.load(Ordering::SeqCst).saturating_add(1));
            let match_field = names[0].clone();
            let number = system.number;
            let register = Register { hub: Arc::clone(&hub), system: number, finds: world.plan.finds };
            let (side, connector): (Side, Arc<dyn attune::connector::Connector>) = if system.is_crm {
                let (conditional, batch) = (world.plan.conditional, world.plan.crm_batch);
                (Side::Crm, Arc::new(Crm { hub, system: number, names, conditional, batch, register }))
            } else {
                (Side::Store, Arc::new(Store::new(number, names, register)))
            };
            let match_fields = vec![(match_field, true)];
            SourceSettings { side, name: system.name.clone(), times: TIMES, connector, match_fields }
        };
        world.systems.iter().map(settings).collect()
    }

    pub fn pair_settings(&self) -> PairSettings {
        let world = self.hub.world();
        let mut mapping = world.plan.mapping();
        mapping.fields.truncate(self.mapped.load(Ordering::SeqCst));
        PairSettings { mapping, mode: Mode::Sync, rails: world.plan.rails }
    }

    /// Checks a report as it comes.
    pub fn judge(&self, pair: &Pair, report: &PassReport) {
        let balance = report.balance;
        self.hub.tell(|| {
            let failure = report.failure.as_ref().map(ToString::to_string);
            format!("pass {} of {}: {:?} {failure:?} {balance:?}", report.pass, pair.store.name, report.standing)
        });
        if !balance.adds_up() {
            let now = self.hub.now();
            self.hub.world().violate(now, format!("the balance of a pass does not add up: {balance:?}"));
        }
    }
}

/// The process from its start: reach everything, then a loop for each source and each pair.
async fn boot(process: Arc<Process>) {
    process.hub.world().begin_life(process.hub.now());
    let engine = process.engine();
    engine.recognise_restored_checkpoint().await.unwrap();
    let mut sources = Vec::new();
    for settings in process.sources() {
        let source = loop {
            match engine.attach(&settings).await {
                Ok(source) => break Arc::new(source),
                Err(error) => expected(&process.hub, "attach", &error),
            }
            process.hub.sleep(1_000).await;
        };
        sources.push(source);
    }
    let crms = process.hub.world().plan.crms;
    let mut pairs = Vec::new();
    for store in &sources[crms..] {
        for crm in &sources[..crms] {
            match engine.pair(&process.pair_settings(), store, crm).await {
                Ok(pair) => pairs.push(pair),
                Err(error) => process.hub.world().violations.push(format!("pair: {error}")),
            }
        }
    }
    for source in sources {
        let work = read_for_ever(Arc::clone(&process), engine.clone(), source);
        process.hub.time.spawn(Owner::Process, Box::pin(work));
    }
    for pair in pairs {
        let work = pass_for_ever(Arc::clone(&process), engine.clone(), pair);
        process.hub.time.spawn(Owner::Process, Box::pin(work));
    }
}

async fn read_for_ever(process: Arc<Process>, engine: Engine, source: Arc<Source>) {
    let hub = &process.hub;
    let mut backoff = 1_000;
    let mut swept = hub.now();
    let number = hub.world().system_named(source.side, &source.name);
    let (chaos_sweep_ms, poll_ms) = {
        let world = hub.world();
        (world.plan.sweep_ms, world.plan.poll_ms)
    };
    loop {
        if hub.world().paused.contains_key(&number) {
            hub.sleep(1_000).await;
            continue;
        }
        let sweep_every = if process.sweeps_often.load(Ordering::SeqCst) { SWEEP_MS } else { chaos_sweep_ms };
        let reach = if hub.now() - swept >= sweep_every { Reach::Sweep } else { Reach::Changes };
        match engine.pull(&source, reach).await {
            Ok(pulled) => {
                if pulled.swept && !pulled.torn {
                    swept = hub.now();
                }
                took(hub, number, &source.name, pulled);
                backoff = 1_000;
                hub.sleep(poll_ms).await;
            }
            Err(error) => {
                expected(hub, "pull", &error);
                hub.sleep(backoff).await;
                backoff = (backoff * 2).min(10_000);
            }
        }
    }
}

fn took(hub: &Hub, system: usize, name: &str, pulled: attune::engine::Pulled) {
    let (now, mut world) = (hub.now(), hub.world());
    if pulled.drift > 0 && !world.misses_injected {
        world.violate(now, format!("the feeds of {name} had missed {}", pulled.drift));
    }
    world.reads[system] += u64::from(pulled.records + pulled.gone > 0);
}

fn passed(hub: &Hub, sides: [usize; 2], report: &PassReport) {
    let (now, mut world) = (hub.now(), hub.world());
    let balance = &report.balance;
    if report.standing == Standing::Stopped {
        world.meet("stopped at a rail");
    } else if balance.pending + balance.superseded + balance.failed > 0 {
        world.stirred_at = now;
    }
    *world.unlinked.entry((sides[0], sides[1])).or_default() += balance.records_deleted;
    for system in sides {
        world.reads[system] += u64::from(balance.records_created + balance.records_deleted > 0);
    }
    // What was written here is news to whoever shares the source.
    for (system, writes) in sides.into_iter().zip([balance.store_writes, balance.crm_writes]) {
        world.reads[system] += u64::from(writes > 0);
    }
}

/// As the daemon does: when one of its sources has news, or when something that waits may be due.
async fn pass_for_ever(process: Arc<Process>, engine: Engine, pair: Arc<Pair>) {
    let hub = &process.hub;
    let sides = {
        let world = hub.world();
        [(Side::Store, &pair.store), (Side::Crm, &pair.crm)]
            .map(|(side, source)| world.system_named(side, &source.name))
    };
    let poll_ms = hub.world().plan.poll_ms;
    let mut known = [u64::MAX; 2];
    let mut due = None;
    let mut backoff = 1_000;
    loop {
        let reads = sides.map(|system| hub.world().reads[system]);
        if reads == known && due.is_none_or(|due| hub.now() < due) {
            hub.sleep(1_000).await;
            continue;
        }
        known = reads;
        match engine.pass(&pair, PassOptions::default()).await {
            Ok(report) => {
                process.judge(&pair, &report);
                let balance = &report.balance;
                let open =
                    balance.pending + balance.superseded + balance.failed > 0 || report.standing != Standing::Done;
                due = open.then(|| hub.now() + poll_ms);
                passed(hub, sides, &report);
                if report.failure.is_none() {
                    backoff = 1_000;
                    continue;
                }
            }
            Err(error) => expected(hub, "pass", &error),
        }
        due = Some(hub.now());
        hub.sleep(backoff).await;
        backoff = (backoff * 2).min(10_000);
    }
}

/// A failure of a source is part of life; any other error is not.
fn expected(hub: &Hub, what: &str, error: &attune::engine::Error) {
    let now = hub.now();
    if error.failure().is_some() {
        hub.tell(|| format!("{what}: {error}"));
    } else {
        hub.world().violate(now, format!("{what}: {error}"));
    }
}

/// Runs the history of a seed from its beginning to its end.
pub fn run(seed: u64, tell: bool) -> History {
    play(&Script::of(seed), tell)
}

/// Runs a history from its beginning to its end.
pub fn play(script: &Script, tell: bool) -> History {
    let hub = Hub::new(script, tell);
    let process = Process::new(&hub);
    let mut executor = Executor::new(Arc::clone(&hub.time), script.seed);
    hub.time.spawn(Owner::World, Box::pin(people::live(Arc::clone(&process), script.deeds.clone())));
    if script.deeds.iter().any(|timed| matches!(timed.deed, Deed::RestoreCheckpoint { .. })) {
        hub.time.spawn(Owner::World, Box::pin(Arc::clone(&process).copy_for_ever()));
    }
    let ended = Arc::new(AtomicBool::new(false));
    let chaos_ms = script.plan.chaos_ms;
    hub.time.spawn(Owner::World, Box::pin(direct(Arc::clone(&process), chaos_ms, Arc::clone(&ended))));

    let mut lives = script.deaths.iter().copied();
    let mut random = Random::keyed(script.seed, &[6]);
    let mut turns_left = start(&process, lives.next(), &mut random);
    let (mut crashes, mut turns, mut commits) = (0, 0, 0);
    while let Some(owner) = executor.step() {
        if ended.load(Ordering::SeqCst) {
            break;
        }
        if owner == Owner::Process {
            turns += u64::from(crashes == 0);
            if turns_left > 0 && !hub.world().calm {
                turns_left -= 1;
                hub.world().crash |= turns_left == 0;
            }
        }
        if std::mem::take(&mut hub.world().crash) {
            if crashes == 0 {
                commits = process.commits.load(Ordering::SeqCst);
            }
            crashes += 1;
            hub.world().meet("the process dies");
            hub.tell(|| "the process dies".to_owned());
            executor.kill();
            process.commits_left.store(-1, Ordering::SeqCst);
            let rebirth = hub.world().rebirth.take();
            rebirth.into_iter().for_each(|rebirth| process.reborn(rebirth));
            turns_left = start(&process, lives.next(), &mut random);
        }
    }
    executor.kill();
    if crashes == 0 {
        commits = process.commits.load(Ordering::SeqCst);
    }
    oracle::at_rest(&process);
    let mut world = hub.world();
    History {
        violations: std::mem::take(&mut world.violations),
        hash: world.hash,
        writes: world.writes,
        calls: world.calls,
        acts: world.acts.len(),
        lost_in_window: world.lost_in_window.len(),
        crashes,
        struck: std::mem::take(&mut world.struck),
        met: with_merges(std::mem::take(&mut world.met)),
        turns,
        commits,
    }
}

/// Adds what the merge met, where it counts.
#[cfg(feature = "proof")]
fn with_merges(mut met: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    met.extend(attune::proof::met());
    met
}

#[cfg(not(feature = "proof"))]
const fn with_merges(met: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    met
}

/// Starts the process, a little later; says after how many turns it dies (0: not by that).
fn start(process: &Arc<Process>, death: Option<Death>, random: &mut Random) -> u64 {
    let death = death.filter(|_| !process.hub.world().calm).unwrap_or_default();
    if let Some(commits) = death.commits {
        process.commits_left.store(commits, Ordering::SeqCst);
    }
    let (delay, process) = (random.between(100, 20_000), Arc::clone(process));
    let time = Arc::clone(&process.hub.time);
    time.spawn(
        Owner::Process,
        Box::pin(async move {
            process.hub.sleep(delay).await;
            boot(process).await;
        }),
    );
    death.turns.unwrap_or(0)
}

/// Chaos, then healing until nothing happens any more, then idleness.
async fn direct(process: Arc<Process>, chaos_ms: i64, ended: Arc<AtomicBool>) {
    let hub = &process.hub;
    hub.sleep(chaos_ms).await;
    let calm_at = hub.now();
    {
        let mut world = hub.world();
        world.calm = true;
        world.stirred_at = calm_at;
        if process.mapped.load(Ordering::SeqCst) < world.plan.fields.len() {
            let fields = world.plan.fields.len();
            world.begin_again(Rebirth::Mapping(fields));
        }
    }
    process.commits_left.store(-1, Ordering::SeqCst);
    process.sweeps_often.store(true, Ordering::SeqCst);
    hub.tell(|| "no more faults".to_owned());
    let paused: Vec<String> = {
        let world = hub.world();
        world.paused.keys().map(|number| world.systems[*number].name.clone()).collect()
    };
    for name in paused {
        process.operate(&Request::Resume { name });
    }
    hub.world().paused.clear();
    while hub.now() - hub.world().stirred_at < REST_MS || process.waits_to_create() {
        if hub.now() - calm_at > HEAL_MS_MAX {
            let now = hub.now();
            hub.world().violate(now, "it does not come to rest".to_owned());
            break;
        }
        hub.sleep(1_000).await;
    }
    hub.world().quiet = true;
    hub.tell(|| "everything must have agreed".to_owned());
    hub.sleep(IDLE_MS).await;
    ended.store(true, Ordering::SeqCst);
}
