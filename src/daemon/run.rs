//! `attune run`: from a checked configuration and an open checkpoint to the end of the process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::alerts::{self, Herald};
use super::blueprint::Surroundings;
use super::control::{Control, Reloaded};
use super::lookout::Lookout;
use super::meters::Meters;
use super::office::Desk;
use super::pulse::Pulse;
use super::schedule::Sweeps;
use super::supervise::supervised;
use super::vitals::Vitals;
use super::works::Works;
use super::{millis, pair, requests, service, source, tidying};
use crate::checkpoint::{Checkpoint, Lock};
use crate::config::{Alerts, Config, Environment, Problems};
use crate::engine::{self, Clock, Engine, SystemClock};
use crate::http::Client;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{self, Event};
use crate::web::{CannotListen, Server};

/// Reads the configuration again, from where it was read first. Called on a thread that may block.
pub type Loader = Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// systemd is told how we stand this often.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// All that a daemon needs.
pub struct RunSettings {
    /// The configuration, as it was loaded.
    pub config: Config,
    /// Loads it again.
    pub loader: Loader,
    /// The stores it is narrowed to (`--store`); none: all.
    pub stores: Vec<String>,
    /// Where secrets are looked for.
    pub environment: Environment,
    /// Open for writing.
    pub checkpoint: Checkpoint,
    /// Held until the end.
    pub lock: Lock,
    /// What it is told from outside.
    pub control: Control,
    /// How long what is in flight may take when it is told to stop.
    pub grace: Duration,
    /// How long reads of a failing system are repeated before a turn has failed.
    pub patience: Duration,
    /// The process's HTTP client.
    pub client: Client,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
}

impl RunSettings {
    /// Settings with every default: all stores, 10 s of grace, 30 s of patience.
    pub fn new(
        config: Config,
        loader: Loader,
        environment: Environment,
        checkpoint: Checkpoint,
        lock: Lock,
        control: Control,
    ) -> Self {
        Self {
            config,
            loader,
            stores: Vec::new(),
            environment,
            checkpoint,
            lock,
            control,
            grace: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            client: Client::shared(),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

/// How a daemon ended that was told to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why: `SIGTERM`, `SIGINT`, or a sentence.
    pub reason: String,
    /// Whether everything in flight was finished.
    pub finished: bool,
}

/// Why a daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong (78): the address for health is not to be had.
    #[error(transparent)]
    Listen(#[from] CannotListen),
    /// The configuration is wrong (78): it names no such store.
    #[error("{0}")]
    Misconfigured(String),
    /// The checkpoint failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

impl Error {
    /// Whether a change of configuration (and nothing else) mends it.
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Listen(_) | Self::Misconfigured(_) => true,
            Self::Engine(engine::Error::Checkpoint(error)) => error.is_configuration(),
            Self::Engine(_) => false,
        }
    }
}

/// Runs until told to stop, in whatever state its stores are.
///
/// # Errors
/// When it cannot start.
pub async fn run(settings: RunSettings) -> Result<Ended, Error> {
    let began = Instant::now();
    let RunSettings { config, loader, stores, control, grace, .. } = &settings;
    let config = config.clone().narrowed(stores).map_err(Error::Misconfigured)?;
    let server = match config.server.listen {
        Some(address) => Some(Server::bind(address).await?),
        None => None,
    };
    let mut daemon = Daemon {
        panics: Arc::default(),
        metrics: Metrics::listen(),
        alerts: watch::Sender::new(config.alerts.clone()),
        config: config.clone(),
        settings: &settings,
        running: Running::none(),
        vitals: None,
    };
    say_warnings(&config);
    let engine = Engine::new(settings.checkpoint.clone(), Arc::clone(&settings.clock), CancellationToken::new());
    engine.recognise_restored_checkpoint().await?;
    let vitals = daemon.start(config.clone(), &BTreeSet::new()).await;
    let lookout = Arc::new(Lookout::default());
    let telling = daemon.tell(&vitals, &lookout);
    let meters = Arc::new(Meters::new(Arc::clone(&daemon.metrics), Arc::clone(&vitals), lookout));
    let closing = CancellationToken::new();
    let serving = server.map(|server| {
        control.listens_on(server.address());
        let token = config.server.admin_token.clone();
        let clock = Arc::clone(&settings.clock);
        let desk = Arc::new(Desk::new(Arc::clone(&vitals), clock, token, settings.environment.clone()));
        let looking = Arc::clone(&desk);
        tokio::spawn(async move { looking.say_missing_token().await });
        tokio::spawn(server.serve(Arc::clone(&vitals) as _, meters, desk, closing.clone()))
    });
    let (stores, crms, pairs) = daemon.counts();
    Event::DaemonStarted { version: env!("CARGO_PKG_VERSION"), stores, crms, pairs }.emit();
    service::ready();

    let watchdog = service::watchdog_interval();
    let every = watchdog.map_or(STATUS_EVERY, |watchdog| watchdog.min(STATUS_EVERY));
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            biased;
            () = control.stopping().cancelled() => break,
            wanted = control.reload_wanted() => {
                service::reloading();
                let reloaded = daemon.reload(loader).await;
                service::ready();
                for wanting in wanted {
                    // Who sent a signal does not listen.
                    let _ = wanting.send(reloaded.clone());
                }
            }
            _ = ticks.tick() => {
                // Fed only while every loop turns: a loop that hangs is ended by systemd with the process.
                if watchdog.is_some() && vitals.is_alive() {
                    service::alive();
                }
                service::status(&vitals.summary());
            }
        }
    }

    service::stopping();
    let finished = daemon.running.stop(*grace).await;
    if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(1), requests::refuse_all(&engine)).await {
        tracing::debug!(target: "attune", "open requests could not be answered: {error}");
    }
    // It was told to stop when we were, and drops what it was sending.
    let _ = telling.await;
    closing.cancel();
    if let Some(serving) = serving {
        // It ends within a second; that it panicked changes nothing any more.
        let _ = serving.await;
    }
    let reason = control.reason();
    Event::DaemonStopped { reason: &reason, finished, duration_ms: millis(began.elapsed()) }.emit();
    Ok(Ended { reason, finished })
}

fn say_warnings(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!(target: "attune", event = "note", "{warning}");
    }
}

/// There are metrics of these works, and of nothing else.
fn serve(metrics: &Metrics, works: &Works) {
    let sources = works.sources.iter().map(|state| telemetry::Source::of(state.side, &state.name));
    let pairs = works.pairs.iter().map(|state| telemetry::Pair { store: &state.plan.store, crm: &state.plan.crm });
    metrics.serve(&sources.collect::<Vec<_>>(), &pairs.collect::<Vec<_>>());
}

/// The process: what stays when the configuration changes.
struct Daemon<'a> {
    settings: &'a RunSettings,
    config: Config,
    panics: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    alerts: watch::Sender<Option<Alerts>>,
    running: Running,
    vitals: Option<Arc<Vitals>>,
}

/// The loops of one configuration.
struct Running {
    works: Option<Arc<Works>>,
    loops: JoinSet<()>,
    sweeps: Option<Sweeps>,
}

impl Daemon<'_> {
    /// Starts the loops of a configuration.
    async fn start(&mut self, config: Config, passed: &BTreeSet<(String, String)>) -> Arc<Vitals> {
        let stop = CancellationToken::new();
        let settings = self.settings;
        let surroundings = Surroundings {
            environment: Arc::new(settings.environment.clone()),
            patience: settings.patience,
            stop: stop.clone(),
            client: settings.client.clone(),
        };
        let engine = Engine::new(settings.checkpoint.clone(), Arc::clone(&settings.clock), stop);
        let works = Arc::new(Works::new(engine, config, surroundings, Arc::clone(&self.panics), passed));
        let vitals = match &self.vitals {
            Some(vitals) => Arc::clone(vitals),
            None => Arc::clone(self.vitals.insert(Arc::new(Vitals::new(Arc::clone(&works))))),
        };
        serve(&self.metrics, &works);
        self.running = Running::start(Arc::clone(&works)).await;
        vitals.look_at(works);
        vitals
    }

    /// Starts what tells people of changes. It stays when the configuration changes.
    fn tell(&self, vitals: &Arc<Vitals>, lookout: &Arc<Lookout>) -> JoinHandle<()> {
        let herald = Arc::new(Herald {
            vitals: Arc::clone(vitals),
            lookout: Arc::clone(lookout),
            clock: Arc::clone(&self.settings.clock),
            client: self.settings.client.clone(),
            environment: self.settings.environment.clone(),
            configured: self.alerts.subscribe(),
            stop: self.settings.control.stopping().clone(),
            pulse: Pulse::default(),
        });
        let panics = Arc::clone(&self.panics);
        tokio::spawn(async move {
            let again = || alerts::run(Arc::clone(&herald));
            supervised("alerts".to_owned(), &herald.pulse, &panics, &herald.stop, again).await;
        })
    }

    fn note_rejected(&self, rejected: bool) {
        if let Some(vitals) = &self.vitals {
            vitals.note_rejected(rejected);
        }
    }

    fn counts(&self) -> (u64, u64, u64) {
        let pairs = self.config.stores.values().map(|store| store.pairs.len() as u64).sum();
        (self.config.stores.len() as u64, self.config.crms.len() as u64, pairs)
    }

    /// Reads the configuration again, and swaps it if it is sound.
    async fn reload(&mut self, loader: &Loader) -> Reloaded {
        let loader = Arc::clone(loader);
        let loaded = tokio::task::spawn_blocking(move || loader()).await;
        let narrowed = match loaded {
            Ok(Ok(config)) => config.narrowed(&self.settings.stores).map_err(|reason| (1, reason)),
            Ok(Err(problems)) => {
                let first = problems.iter().next().map(ToString::to_string).unwrap_or_default();
                Err((problems.iter().count() as u64, first))
            }
            Err(_) => Err((1, "reading it panicked: a defect of Attune, please report it".to_owned())),
        };
        let config = match narrowed {
            Ok(config) => config,
            Err((problems, reason)) => {
                self.note_rejected(true);
                Event::ConfigRejected { problems, reason: &reason }.emit();
                return Reloaded::Rejected(reason);
            }
        };
        self.note_rejected(false);
        say_warnings(&config);
        let (old, new) = (&self.config, &config);
        if old.state != new.state || old.server != new.server || old.log != new.log {
            tracing::warn!(target: "attune", event = "note", "changes of [state], [server] and [log] take effect at the next start");
        }
        let same = old.stores == new.stores && old.crms == new.crms && old.mappings == new.mappings;
        self.alerts.send_replace(config.alerts.clone());
        self.config = config.clone();
        if same {
            // Who asks may have mended a secret.
            let rested = self.running.works.iter().flat_map(|works| &works.sources).filter(|s| s.outage().is_some());
            rested.for_each(|source| source.bell.demand());
        } else {
            let passed = self.running.works.as_ref().map(|works| works.passed()).unwrap_or_default();
            self.running.stop(self.settings.grace).await;
            if !self.settings.control.stopping().is_cancelled() {
                self.start(config, &passed).await;
            }
        }
        let (stores, crms, pairs) = self.counts();
        Event::ConfigReloaded { stores, crms, pairs }.emit();
        if same { Reloaded::Unchanged } else { Reloaded::Taken }
    }
}

impl Running {
    fn none() -> Self {
        Self { works: None, loops: JoinSet::new(), sweeps: None }
    }

    async fn start(works: Arc<Works>) -> Self {
        let mut loops = JoinSet::new();
        for state in &works.sources {
            let (works, state) = (Arc::clone(&works), Arc::clone(state));
            loops.spawn(async move {
                let name = format!("{} {}", state.side, state.name);
                let again = || source::run(Arc::clone(&works), Arc::clone(&state));
                supervised(name, &state.pulse, &works.panics, &works.stop, again).await;
            });
        }
        for state in &works.pairs {
            let (works, state) = (Arc::clone(&works), Arc::clone(state));
            loops.spawn(async move {
                let name = format!("{} with {}", state.plan.store, state.plan.crm);
                let again = || pair::run(Arc::clone(&works), Arc::clone(&state));
                supervised(name, &state.pulse, &works.panics, &works.stop, again).await;
            });
        }
        let taking = Arc::clone(&works);
        loops.spawn(async move {
            let again = || requests::run(Arc::clone(&taking));
            supervised("requests".to_owned(), &taking.requests_pulse, &taking.panics, &taking.stop, again).await;
        });
        let tidy = Arc::clone(&works);
        loops.spawn(async move {
            let again = || tidying::run(Arc::clone(&tidy));
            // Nobody's life hangs on it: nobody listens.
            supervised("tidying".to_owned(), &Pulse::default(), &tidy.panics, &tidy.stop, again).await;
        });
        let sweeps = match Sweeps::start(&works.sources).await {
            Ok(sweeps) => Some(sweeps),
            Err(error) => {
                tracing::error!(target: "attune", event = "note", "a defect: no sweep will begin by itself, the schedule refuses: {error}");
                None
            }
        };
        Self { works: Some(works), loops, sweeps }
    }

    /// Stops the loops: each ends after the batch that is in flight. Whether all of them did within `grace`.
    async fn stop(&mut self, grace: Duration) -> bool {
        if let Some(works) = &self.works {
            works.stop.cancel();
        }
        if let Some(sweeps) = self.sweeps.take() {
            sweeps.stop().await;
        }
        let ending = async { while self.loops.join_next().await.is_some() {} };
        let finished = tokio::time::timeout(grace, ending).await.is_ok();
        // What is cut off here is an attempt of unknown outcome: the next start reads it back.
        self.loops.shutdown().await;
        finished
    }
}
