//! The loop of one pair: a pass whenever one of its sources has news, or something waits for its time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::PairPlan;
use super::bell::{Bell, Wishes};
use super::outage::{Delays, Failed};
use super::passes::{PassNote, Passes};
use super::pulse::{BEAT, Pulse};
use super::source::SourceState;
use super::works::Works;
use crate::engine::{Balance, Engine, Error, Pair, PassOptions, PassReport, Source, Standing};
use crate::model::{Class, Side, Timestamp};
use crate::telemetry::{self, Event};

/// A pair that has nothing to tell says so this often.
const HEARTBEAT: Duration = Duration::from_secs(900);

/// What others know of the loop of one pair.
pub(super) struct PairState {
    /// Its place among the pairs.
    pub at: usize,
    pub plan: PairPlan,
    pub store: Arc<SourceState>,
    pub crm: Arc<SourceState>,
    pub bell: Bell<Passed>,
    pub pulse: Pulse,
    pub passes: Passes,
    pair: Mutex<Option<Arc<Pair>>>,
    making: tokio::sync::Mutex<()>,
    passed: AtomicBool,
    failing: Mutex<Option<String>>,
}

/// What those who wait for a pass are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    /// Whether it wrote anything.
    pub wrote: bool,
    /// Whether a rail stopped it.
    pub stopped: bool,
    /// Why it ended early.
    pub failed: Option<Failed>,
}

impl PairState {
    pub fn new(
        at: usize,
        plan: PairPlan,
        (store, crm): (Arc<SourceState>, Arc<SourceState>),
        has_passed: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            at,
            plan,
            store,
            crm,
            bell: Bell::default(),
            pulse: Pulse::default(),
            passes: Passes::new(now),
            pair: Mutex::new(None),
            making: tokio::sync::Mutex::default(),
            passed: AtomicBool::new(has_passed),
            failing: Mutex::new(None),
        }
    }

    /// The pair, once both of its sources were reached.
    pub fn pair(&self) -> Option<Arc<Pair>> {
        self.pair.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The pair of these two sources, made anew when one of them was reached anew.
    pub async fn made(&self, engine: &Engine, store: &Arc<Source>, crm: &Arc<Source>) -> Result<Arc<Pair>, Error> {
        let _one_at_a_time = self.making.lock().await;
        let before = self.pair();
        if let Some(pair) = &before
            && Arc::ptr_eq(&pair.store, store)
            && Arc::ptr_eq(&pair.crm, crm)
        {
            return Ok(Arc::clone(pair));
        }
        let pair = engine.pair(&self.plan.settings, store, crm).await?;
        if before.is_none() {
            pair.say_rails_anew();
        }
        *self.pair.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&pair));
        Ok(pair)
    }

    /// Whether it has passed since the process began.
    pub fn has_passed(&self) -> bool {
        self.passed.load(Ordering::SeqCst)
    }

    /// Why its last pass failed, if it did, while both of its sources work as far as is known.
    pub fn failing(&self) -> Option<String> {
        let sound = self.store.obstacle().is_none() && self.crm.obstacle().is_none();
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|_| sound)
    }

    /// Why it does not pass, where there is a reason.
    pub fn obstacle(&self) -> Option<String> {
        let source = |source: &SourceState| {
            source.obstacle().map(|(state, reason)| format!("{} {} is {state}: {reason}", source.side, source.name))
        };
        let own = || self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        source(&self.store).or_else(|| source(&self.crm)).or_else(own)
    }

    fn set_failing(&self, reason: Option<String>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn source(&self, side: Side) -> &Arc<SourceState> {
        if side == Side::Store { &self.store } else { &self.crm }
    }

    fn event(&self) -> telemetry::Pair<'_> {
        telemetry::Pair { store: &self.plan.store, crm: &self.plan.crm }
    }
}

/// Runs until stopped.
pub(super) async fn run(works: Arc<Works>, state: Arc<PairState>) {
    let mut turning = PairLoop {
        works,
        state,
        delays: Delays::default(),
        next: None,
        not_before: Instant::now(),
        heartbeat: Instant::now() + HEARTBEAT,
        passes: 0,
    };
    while let Some(mut wishes) = turning.wait().await {
        if let Some(passed) = turning.turn().await {
            wishes.tell(&passed);
        }
    }
}

struct PairLoop {
    works: Arc<Works>,
    state: Arc<PairState>,
    delays: Delays,
    /// When something that waits is due; none: nothing waits.
    next: Option<Instant>,
    /// After a failure only a person may wake it earlier.
    not_before: Instant,
    /// When it says that it is alive.
    heartbeat: Instant,
    /// Passes since the last heartbeat.
    passes: u64,
}

impl PairLoop {
    /// Waits for the next turn; none when stopped.
    async fn wait(&mut self) -> Option<Wishes<Passed>> {
        let (state, works) = (Arc::clone(&self.state), Arc::clone(&self.works));
        loop {
            state.pulse.beat();
            if works.stop.is_cancelled() {
                return None;
            }
            let now = Instant::now();
            let (rung, demanded) = state.bell.is_rung();
            if demanded || (now >= self.not_before && (rung || self.next.is_some_and(|next| now >= next))) {
                return Some(state.bell.take());
            }
            if now >= self.heartbeat {
                self.say_alive().await;
                continue;
            }
            let due = if rung { Some(self.not_before) } else { self.next };
            let until = due.map_or(now + BEAT, |due| due.max(self.not_before).min(now + BEAT));
            tokio::select! {
                biased;
                () = works.stop.cancelled() => return None,
                () = state.bell.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// One pass; none when stopped half-way.
    async fn turn(&mut self) -> Option<Passed> {
        let (state, works) = (Arc::clone(&self.state), Arc::clone(&self.works));
        self.next = None;
        let (Some(store), Some(crm)) = (state.store.reached(), state.crm.reached()) else {
            return Some(Passed::default());
        };
        if !state.store.is_read() || !state.crm.is_read() {
            // A source that cannot be read would only fail the pass as well; its recovery rings.
            return Some(Passed::default());
        }
        let began = Instant::now();
        let passing = async {
            let pair = state.made(&works.engine, &store, &crm).await?;
            works.engine.pass(&pair, PassOptions::default()).await
        };
        let passed = state.pulse.during(passing, || store.calls() + crm.calls()).await;
        self.passes += 1;
        match passed {
            Ok(report) => self.concluded(report, began).await,
            Err(error) => self.failed(0, Balance::default(), &error, began).await,
        }
    }

    async fn concluded(&mut self, report: PassReport, began: Instant) -> Option<Passed> {
        let (state, works) = (Arc::clone(&self.state), Arc::clone(&self.works));
        let balance = &report.balance;
        let is_news = is_news(balance) || report.newly_held > 0;
        if is_news {
            self.put_off_heartbeat();
        }
        let is_stopped = report.standing == Standing::Stopped;
        if (is_news || is_stopped) && report.failure.is_none() {
            self.note(report.pass, is_stopped.then(|| "stopped at a rail".to_owned()), report.balance, began);
        }
        // What was written here is news to whoever shares the source.
        for (side, writes) in [(Side::Store, balance.store_writes), (Side::Crm, balance.crm_writes)] {
            if writes > 0 {
                works.ring_pairs(state.source(side), Some(state.at));
            }
        }
        let wrote = balance.store_writes + balance.crm_writes > 0;
        let open = balance.pending + balance.superseded + balance.failed > 0;
        let passed = Passed { wrote, stopped: report.standing == Standing::Stopped, failed: None };
        match &report.failure {
            Some(Error::Stopped) if works.stop.is_cancelled() => return None,
            // It was paused under way: resuming it wakes us.
            None | Some(Error::Stopped) => {}
            Some(error) => {
                let failed = self.failed(report.pass, report.balance, error, began).await?;
                return Some(Passed { failed: failed.failed, ..passed });
            }
        }
        works.note_checkpoint(None);
        self.delays = Delays::default();
        self.not_before = Instant::now();
        self.next = open.then(|| Instant::now() + state.store.poll);
        state.set_failing(None);
        match report.standing {
            Standing::Done | Standing::Stopped => state.passed.store(true, Ordering::SeqCst),
            Standing::Paused | Standing::Unread => {}
        }
        if report.standing == Standing::Done && report.failure.is_none() {
            for (side, writes) in [(Side::Store, balance.store_writes), (Side::Crm, balance.crm_writes)] {
                let source = state.source(side);
                let refused_ours = source.outage().is_some_and(|outage| outage.writes_of == Some(state.at));
                if writes > 0 || refused_ours {
                    source.works_again(&works, Some(state.at)).await;
                }
            }
        }
        Some(passed)
    }

    async fn failed(&mut self, pass: u64, balance: Balance, error: &Error, began: Instant) -> Option<Passed> {
        let (state, works) = (Arc::clone(&self.state), Arc::clone(&self.works));
        // Told to stop, whatever was under way fails: that is nobody's trouble.
        let failed = Failed::of(error, Side::Store, &state.plan.store).filter(|_| !works.stop.is_cancelled())?;
        self.put_off_heartbeat();
        self.note(pass, Some(failed.message.clone()), balance, began);
        let delay = self.delays.after(&failed);
        Event::PassFailed {
            pair: state.event(),
            pass,
            duration_ms: super::millis(began.elapsed()),
            class: failed.class,
            reason: &failed.message,
            status: failed.status.map(u64::from),
            request_id: failed.request_id.as_deref(),
            retry_in_ms: Some(super::millis(delay)),
            detail: failed.detail.as_deref(),
        }
        .emit();
        if failed.of_checkpoint {
            works.note_checkpoint(Some(&failed.message));
        } else if failed.class == Class::Auth {
            state.source(failed.side).fails(&works, &failed, delay, Some(state.at)).await;
        }
        state.set_failing(Some(failed.message.clone()));
        self.not_before = Instant::now() + delay;
        self.next = Some(self.not_before);
        Some(Passed { failed: Some(failed), ..Passed::default() })
    }

    /// Remembers a pass for people who look.
    fn note(&self, number: u64, ended: Option<String>, balance: Balance, began: Instant) {
        let at = self.works.engine.clock().now();
        let duration_ms = super::millis(began.elapsed());
        self.state.passes.note(PassNote { number, at, duration_ms, ended, balance });
    }

    fn put_off_heartbeat(&mut self) {
        self.heartbeat = Instant::now() + HEARTBEAT;
        self.passes = 0;
    }

    /// Says how the pair stands.
    async fn say_alive(&mut self) {
        let passes = self.passes;
        self.put_off_heartbeat();
        if let Err(error) = self.standing(passes).await {
            tracing::debug!(target: "attune", "how a pair stands could not be found: {error}");
        }
    }

    async fn standing(&self, passes: u64) -> Result<(), Error> {
        let (state, engine) = (&self.state, &self.works.engine);
        let mut transaction = engine.checkpoint().read().await?;
        let mut read_at = Vec::new();
        for source in [&state.store, &state.crm] {
            read_at.push(transaction.source(source.side, &source.name).await?.and_then(|row| row.read_at));
        }
        transaction.end().await?;
        let oldest = read_at.into_iter().collect::<Option<Vec<_>>>().and_then(|read| read.into_iter().min());
        let lag_ms = oldest.map(|at| u64::try_from(engine.clock().now().millis_since(at)).unwrap_or(0));
        let pair = state.event();
        let Some(made) = state.pair() else {
            let obstacle = state.store.obstacle().or_else(|| state.crm.obstacle());
            let state = obstacle.map_or("new", |(state, _)| state);
            Event::StoreHeartbeat { pair, state, passes, pending: 0, held: 0, lag_ms }.emit();
            return Ok(());
        };
        let status = engine.pair_status(&made).await?;
        let (state, pending, held) = (status.state.as_str(), status.pending, status.held);
        Event::StoreHeartbeat { pair, state, passes, pending, held, lag_ms }.emit();
        Ok(())
    }
}

/// Whether `pass.completed` has something to tell.
const fn is_news(balance: &Balance) -> bool {
    balance.agreed
        + balance.written
        + balance.superseded
        + balance.failed
        + balance.links_created
        + balance.records_deleted
        + balance.store_writes
        + balance.crm_writes
        > 0
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use tokio_util::sync::CancellationToken;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::config::{self, Environment};
    use crate::daemon::Surroundings;
    use crate::engine::SystemClock;
    use crate::http::Client;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

    struct Fields<'a>(&'a mut BTreeMap<String, String>);

    impl Visit for Fields<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
        }
    }

    impl<S: tracing::Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut fields = BTreeMap::new();
            event.record(&mut Fields(&mut fields));
            if fields.contains_key("event") {
                self.0.lock().unwrap().push(fields);
            }
        }
    }

    const CONFIGURATION: &str = r#"
        [store.acme]
        store_hash = "abc123"
        access_token = { env = "NONE" }
        crm = "erp"
        mapping = "b2b"
        [crm.erp]
        kind = "sql"
        url = "sqlite:none.db"
        table = "contacts"
        [mapping.b2b]
        match = [{ store = "customer:email", crm = "email" }]
        field = [{ store = "attribute:Job title", crm = "job_title" }]
    "#;

    #[tokio::test(start_paused = true)]
    async fn a_pair_with_nothing_to_tell_says_so_every_quarter_of_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.toml");
        std::fs::write(&path, CONFIGURATION).unwrap();
        let stop = CancellationToken::new();
        let surroundings = Surroundings {
            environment: Arc::new(Environment::default()),
            patience: Duration::ZERO,
            stop: stop.clone(),
            client: Client::default(),
        };
        let database = Box::new(crate::checkpoint::on_the_spot::InMemory::open().unwrap());
        let engine =
            Engine::new(Checkpoint::simulated(database, None).unwrap(), Arc::new(SystemClock::default()), stop.clone());
        let config = config::load(&[path], []).unwrap();
        let works = Arc::new(Works::new(engine, config, surroundings, Arc::default(), &BTreeSet::new()));
        let heard = Heard::default();
        let listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(heard.clone()));
        let state = Arc::clone(&works.pairs[0]);
        state.bell.ring();
        let running = tokio::spawn(run(Arc::clone(&works), Arc::clone(&state)));
        tokio::time::sleep(HEARTBEAT * 2 + BEAT).await;
        let failing =
            Failed::of_source(Side::Crm, "erp", &crate::model::Failure::new(Class::Misconfigured, "no table"));
        state.crm.fails(&works, &failing, HEARTBEAT, None).await;
        tokio::time::sleep(HEARTBEAT).await;
        assert!(state.pulse.is_alive() && !running.is_finished());
        stop.cancel();
        running.await.unwrap();
        drop(listening);
        let heard: Vec<_> = heard
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|fields| (fields["event"].clone(), fields.get("state").cloned()))
            .collect();
        let expected = [
            ("store.heartbeat", Some("new")),
            ("store.heartbeat", Some("new")),
            ("source.unreachable", None),
            ("store.heartbeat", Some("misconfigured")),
        ];
        assert_eq!(heard, expected.map(|(event, state)| (event.to_owned(), state.map(str::to_owned))));
    }
}
