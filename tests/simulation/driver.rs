//! One history: the process as the daemon runs it (a task for each source and each pair), killed and started again
//! where the seed says so; then no faults, then no edits, then no writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use attune::checkpoint::Checkpoint;
use attune::engine::{Engine, Pair, PairSettings, PassOptions, PassReport, Reach, Source, SourceSettings, Standing};
use attune::model::{Mode, Side};
use tokio_util::sync::CancellationToken;

use crate::database::InMemory;
use crate::executor::{Executor, Owner, at_once};
use crate::plan::{POLL_MS, Plan, QUARANTINE_MS, TIMES};
use crate::random::Random;
use crate::world::{CRM, Crm, Hub, OurClock, Shared, Store};
use crate::{oracle, people};

/// Long enough without faults for attempts to be read back, stale reads to be read again, and two sweeps.
const HEAL_MS: i64 = QUARANTINE_MS * 2 + 110_000;
const IDLE_MS: i64 = 60_000;
const SWEEP_MS: i64 = 45_000;

/// What a history came to.
pub struct History {
    pub violations: Vec<String>,
    pub hash: u64,
    pub writes: u64,
    pub calls: u64,
    pub edits: usize,
    pub lost_in_window: usize,
    pub crashes: u64,
}

/// What the process shares with the crash that ends it.
pub struct Process {
    pub hub: Shared,
    pub checkpoint: Checkpoint,
    /// Commits left until it dies at one; negative: it does not.
    commits_left: Arc<AtomicI64>,
    sweeps_often: AtomicBool,
    /// How many of the fields are in the mapping.
    mapped: AtomicUsize,
}

impl Process {
    pub fn new(hub: &Shared) -> Arc<Self> {
        let commits_left = Arc::new(AtomicI64::new(-1));
        let (left, world) = (Arc::clone(&commits_left), Arc::clone(hub));
        let crash = move || {
            if left.load(Ordering::SeqCst) < 0 || left.fetch_sub(1, Ordering::SeqCst) > 0 {
                return false;
            }
            world.world().crash = true;
            true
        };
        let database = Box::new(InMemory::open().unwrap());
        let checkpoint = Checkpoint::simulated(database, Some(Arc::new(crash))).unwrap();
        let (sweeps_often, mapped) = (AtomicBool::new(false), AtomicUsize::new(usize::MAX));
        Arc::new(Self { hub: Arc::clone(hub), checkpoint, commits_left, sweeps_often, mapped })
    }

    /// From the next start on only so many fields are in the mapping.
    pub fn map_only(&self, fields: usize) {
        self.mapped.store(fields, Ordering::SeqCst);
    }

    pub fn engine(&self) -> Engine {
        let clock = Arc::new(OurClock(Arc::clone(&self.hub)));
        Engine::new(self.checkpoint.clone(), clock, CancellationToken::new())
    }

    /// Does what a person asks for, in a process of its own that no crash of ours strikes.
    fn operate(&self, request: &attune::engine::Request) {
        let left = self.commits_left.swap(-1, Ordering::SeqCst);
        at_once(self.engine().operate(request)).unwrap();
        self.commits_left.store(left, Ordering::SeqCst);
    }

    /// The settings of every source, the CRM first.
    pub fn sources(&self) -> Vec<SourceSettings> {
        let world = self.hub.world();
        let settings = |system: &crate::world::System| {
            let (hub, mut names) = (Arc::clone(&self.hub), system.names.clone());
            names.truncate(self.mapped.load(Ordering::SeqCst).saturating_add(1));
            let match_field = names[0].clone();
            let (side, connector): (Side, Arc<dyn attune::connector::Connector>) = if system.number == CRM {
                let (conditional, batch) = (world.plan.conditional, world.plan.crm_batch);
                (Side::Crm, Arc::new(Crm { hub, names, conditional, batch }))
            } else {
                (Side::Store, Arc::new(Store { hub, system: system.number, names }))
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
        if balance.links_created > 0 {
            let links = at_once(async {
                let mut transaction = self.checkpoint.read().await.unwrap();
                let links = transaction.link_keys(pair.id, 0, 10_000).await.unwrap();
                transaction.end().await.unwrap();
                links
            });
            let (now, mut world) = (self.hub.now(), self.hub.world());
            let store = world.system_named(Side::Store, &pair.store.name);
            for (_, customer, _) in links {
                world.linked.entry((store, customer.parse().unwrap())).or_insert(now);
            }
        }
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
    let engine = process.engine();
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
    let mut pairs = Vec::new();
    for store in &sources[1..] {
        match engine.pair(&process.pair_settings(), store, &sources[0]).await {
            Ok(pair) => pairs.push(pair),
            Err(error) => process.hub.world().violations.push(format!("pair: {error}")),
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
    let chaos_sweep_ms = hub.world().plan.sweep_ms;
    loop {
        if hub.world().paused.contains_key(&number) {
            hub.sleep(1_000).await;
            continue;
        }
        let sweep_every = if process.sweeps_often.load(Ordering::SeqCst) { SWEEP_MS } else { chaos_sweep_ms };
        let reach = if hub.now() - swept >= sweep_every { Reach::Sweep } else { Reach::Changes };
        let started = hub.now();
        match engine.pull(&source, reach).await {
            Ok(pulled) => {
                if !pulled.torn {
                    hub.world().pulled[number] = started;
                }
                if pulled.swept && !pulled.torn {
                    swept = hub.now();
                }
                let missed = hub.world().misses_injected;
                if pulled.drift > 0 && !missed {
                    let now = hub.now();
                    hub.world().violate(now, format!("the feeds of {} had missed {}", source.name, pulled.drift));
                }
                if pulled.records > 0 && !pulled.swept {
                    hub.world().reads[number] += 1;
                }
                backoff = 1_000;
                hub.sleep(POLL_MS).await;
            }
            Err(error) => {
                expected(hub, "pull", &error);
                hub.sleep(backoff).await;
                backoff = (backoff * 2).min(10_000);
            }
        }
    }
}

async fn pass_for_ever(process: Arc<Process>, engine: Engine, pair: Arc<Pair>) {
    let hub = &process.hub;
    let mut reads = [0, 0];
    let mut passed = 0;
    let store = hub.world().system_named(Side::Store, &pair.store.name);
    let mut backoff = 1_000;
    loop {
        let (now_read, pulled) = {
            let world = hub.world();
            ([world.reads[CRM], world.reads[store]], world.pulled[CRM].min(world.pulled[store]))
        };
        if now_read == reads && hub.now() - passed < POLL_MS {
            hub.sleep(1_000).await;
            continue;
        }
        (reads, passed) = (now_read, hub.now());
        let report = engine.pass(&pair, PassOptions::default()).await;
        match report {
            Ok(report) => {
                process.judge(&pair, &report);
                if done(&report) && report.balance.pending + report.balance.superseded == 0 {
                    hub.world().passed[store] = pulled;
                }
                if report.failure.is_none() {
                    backoff = 1_000;
                    continue;
                }
            }
            Err(error) => expected(hub, "pass", &error),
        }
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

/// Now and then a person pauses a source, and resumes it.
async fn pause_now_and_then(process: Arc<Process>) {
    let hub = &process.hub;
    let mut random = Random::keyed(hub.world().seed, &[3]);
    loop {
        hub.sleep(random.between(10_000, 60_000)).await;
        if hub.world().calm {
            return;
        }
        let systems = hub.world().systems.len() as u64;
        let number = usize::try_from(random.below(systems)).unwrap();
        let name = hub.world().systems[number].name.clone();
        process.operate(&attune::engine::Request::Pause { name: name.clone() });
        let now = hub.now();
        hub.world().paused.insert(number, now);
        hub.tell(|| format!("person: pauses {name}"));
        hub.sleep(random.between(12_000, 40_000)).await;
        process.operate(&attune::engine::Request::Resume { name: name.clone() });
        hub.world().paused.remove(&number);
        hub.tell(|| format!("person: resumes {name}"));
    }
}

/// Runs the history of a seed from its beginning to its end.
pub fn run(seed: u64, tell: bool) -> History {
    let plan = Plan::of(seed);
    if tell {
        println!("{plan:#?}");
    }
    let hub = Hub::new(seed, plan.clone(), tell);
    let process = Process::new(&hub);
    let mut executor = Executor::new(Arc::clone(&hub.time), seed);
    hub.time.spawn(Owner::World, Box::pin(people::live(Arc::clone(&hub))));
    if plan.pauses {
        hub.time.spawn(Owner::World, Box::pin(pause_now_and_then(Arc::clone(&process))));
    }
    let ended = Arc::new(AtomicBool::new(false));
    hub.time.spawn(Owner::World, Box::pin(direct(Arc::clone(&process), plan.chaos_ms, Arc::clone(&ended))));

    let mut random = Random::keyed(seed, &[4]);
    let mut polls_left = start(&process, &plan, &mut random);
    let mut crashes = 0;
    while let Some(owner) = executor.step() {
        if ended.load(Ordering::SeqCst) {
            break;
        }
        if owner == Owner::Process && polls_left > 0 && !hub.world().calm {
            polls_left -= 1;
            hub.world().crash |= polls_left == 0;
        }
        if std::mem::take(&mut hub.world().crash) {
            crashes += 1;
            hub.tell(|| "the process dies".to_owned());
            executor.kill();
            process.commits_left.store(-1, Ordering::SeqCst);
            polls_left = start(&process, &plan, &mut random);
        }
    }
    executor.kill();
    oracle::at_rest(&process);
    let world = hub.world();
    History {
        violations: world.violations.clone(),
        hash: world.hash,
        writes: world.writes,
        calls: world.calls,
        edits: world.edits.len(),
        lost_in_window: world.lost_in_window.len(),
        crashes,
    }
}

/// Starts the process, a little later; says after how many polls it dies (0: not by that).
fn start(process: &Arc<Process>, plan: &Plan, random: &mut Random) -> u64 {
    let calm = process.hub.world().calm;
    let polls = if random.chance(plan.faults.crash_at_await) && !calm { 10 + random.below(1500) } else { 0 };
    if random.chance(plan.faults.crash_at_commit) && !calm {
        process.commits_left.store(random.between(0, 200), Ordering::SeqCst);
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
    polls
}

/// Chaos, then healing, then idleness.
async fn direct(process: Arc<Process>, chaos_ms: i64, ended: Arc<AtomicBool>) {
    let hub = &process.hub;
    hub.sleep(chaos_ms).await;
    hub.world().calm = true;
    process.commits_left.store(-1, Ordering::SeqCst);
    process.sweeps_often.store(true, Ordering::SeqCst);
    hub.tell(|| "no more faults".to_owned());
    let paused: Vec<String> = {
        let world = hub.world();
        world.paused.keys().map(|number| world.systems[*number].name.clone()).collect()
    };
    for name in paused {
        process.operate(&attune::engine::Request::Resume { name });
    }
    hub.world().paused.clear();
    hub.sleep(HEAL_MS).await;
    hub.world().quiet = true;
    hub.tell(|| "everything must have agreed".to_owned());
    hub.sleep(IDLE_MS).await;
    ended.store(true, Ordering::SeqCst);
}

/// Whether a report says that everything was done.
fn done(report: &PassReport) -> bool {
    report.standing == Standing::Done && report.failure.is_none()
}
