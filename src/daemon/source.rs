//! The loop of one source: reach it, read it on its interval, on its sweep, or on demand; what fails backs off alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::SourcePlan;
use super::bell::{Bell, Wishes};
use super::blueprint::draw_source;
use super::fleet::attach_one;
use super::outage::{Delays, Failed, Outage};
use super::pulse::{BEAT, Pulse};
use super::schedule::{Polls, is_overdue};
use super::works::Works;
use crate::config::{Sweep, Times};
use crate::engine::{Error, Pulled, Reach, Source};
use crate::model::{Class, Side};
use crate::telemetry::metrics::{Measure, ReadOutcome};
use crate::telemetry::{Event, Source as Named};

/// How long the first read of a CRM waits for its stores to be reached.
const MEETING: Duration = Duration::from_secs(5);

/// How often it looks whether they are.
const GLANCE: Duration = Duration::from_millis(20);

/// What others know of the loop of one source.
pub(super) struct SourceState {
    pub side: Side,
    pub name: String,
    pub poll: Duration,
    pub sweep: Sweep,
    /// The pairs that use it.
    pub pairs: Vec<usize>,
    pub bell: Bell<Told>,
    pub pulse: Pulse,
    reached: Mutex<Option<Arc<Source>>>,
    outage: Mutex<Option<Outage>>,
    paused: AtomicBool,
}

/// What those who wait for a turn are told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// It was read.
    Read,
    /// It is paused.
    Paused,
    /// It could not be read.
    Failed(Failed),
}

impl SourceState {
    pub fn new(side: Side, name: &str, times: &Times, pairs: Vec<usize>) -> Self {
        Self {
            side,
            name: name.to_owned(),
            poll: times.poll,
            sweep: times.sweep.clone(),
            pairs,
            bell: Bell::default(),
            pulse: Pulse::default(),
            reached: Mutex::new(None),
            outage: Mutex::new(None),
            paused: AtomicBool::new(false),
        }
    }

    /// As events name it.
    pub fn event(&self) -> Named<'_> {
        Named::of(self.side, &self.name)
    }

    /// The source, once it was reached, and while it does not refuse us.
    pub fn reached(&self) -> Option<Arc<Source>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_reached(&self, source: Option<Arc<Source>>) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = source;
    }

    /// What is wrong with it.
    pub fn outage(&self) -> Option<Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it can be read at present, as far as is known.
    pub fn is_read(&self) -> bool {
        self.outage().is_none_or(|outage| outage.writes_of.is_some())
    }

    /// Why its pairs do not pass, as (state, sentence).
    pub fn obstacle(&self) -> Option<(&'static str, String)> {
        if self.paused.load(Ordering::SeqCst) {
            return Some(("paused", "a person paused it".to_owned()));
        }
        self.outage().map(|outage| (outage.state, outage.reason))
    }

    /// Notes a failure of this source, says it if it is news, and remembers it for `status`. `writes_of` is the pair
    /// whose writes it refused, where it is read well.
    pub async fn fails(&self, works: &Works, failed: &Failed, retry_in: Duration, writes_of: Option<usize>) {
        let known = {
            let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
            let before = outage.as_ref().map(|outage| (outage.state, outage.reason.clone()));
            Outage::note(&mut outage, failed, retry_in, writes_of);
            before
        };
        if known.is_none_or(|known| known != (failed.state(), failed.message.clone())) {
            self.remember(works, failed.state(), Some(&failed.message)).await;
        }
    }

    /// A turn went well. `by` is the pair that wrote to it, none if it was read.
    pub async fn works_again(&self, works: &Works, by: Option<usize>) {
        let outage = {
            let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
            let ends = outage.as_ref().is_some_and(|outage| by.is_some() || outage.writes_of.is_none());
            if ends { outage.take() } else { None }
        };
        if let Some(outage) = outage {
            outage.over(self.side, &self.name);
            self.remember(works, "ok", None).await;
        } else if let Some(outage) = self.outage() {
            // Having read it, the engine has noted that all is well.
            self.remember(works, outage.state, Some(&outage.reason)).await;
        }
    }

    async fn remember(&self, works: &Works, state: &str, reason: Option<&str>) {
        let noted = async {
            let mut transaction = works.engine.checkpoint().begin().await?;
            transaction.note_state(self.side, &self.name, state, reason).await?;
            transaction.commit().await
        };
        if let Err(error) = noted.await {
            works.note_checkpoint(Some(&error.to_string()));
        }
    }
}

/// Runs until stopped.
pub(super) async fn run(works: Arc<Works>, state: Arc<SourceState>) {
    let now = Instant::now();
    let mut turning = SourceLoop {
        polls: Polls::new(&state.name, state.poll),
        works,
        state,
        plan: None,
        delays: Delays::default(),
        first: true,
        away: true,
        next: now,
        resting: false,
        paused_since: None,
    };
    turning.make_up_for_a_sweep().await;
    while let Some(mut wishes) = turning.wait().await {
        let told = turning.turn(wishes.sweep).await;
        if let Some(told) = told {
            wishes.tell(&told);
        }
    }
}

struct SourceLoop {
    works: Arc<Works>,
    state: Arc<SourceState>,
    plan: Option<SourcePlan>,
    polls: Polls,
    delays: Delays,
    /// It was not read yet.
    first: bool,
    /// It could not be read lately: its pairs have been waiting.
    away: bool,
    next: Instant,
    /// It failed: only a person may wake it before its time.
    resting: bool,
    /// Since when it is paused.
    paused_since: Option<Instant>,
}

impl SourceLoop {
    /// A sweep that came due while nobody was there is made with the first read.
    async fn make_up_for_a_sweep(&self) {
        let (state, engine) = (&self.state, &self.works.engine);
        let swept_at = async {
            let mut transaction = engine.checkpoint().read().await?;
            let row = transaction.source(state.side, &state.name).await?;
            transaction.end().await?;
            Ok::<_, crate::checkpoint::Error>(row.and_then(|row| row.swept_at))
        };
        // Who was never swept is read whole anyway; a checkpoint that fails is told of by the turn that follows.
        if let Ok(Some(swept_at)) = swept_at.await
            && is_overdue(&state.sweep, &state.name, swept_at, engine.clock().now())
        {
            state.bell.sweep();
        }
    }

    /// Waits for the next turn; none when stopped.
    async fn wait(&self) -> Option<Wishes<Told>> {
        let (state, stop) = (&self.state, &self.works.stop);
        loop {
            state.pulse.beat();
            if stop.is_cancelled() {
                return None;
            }
            let (rung, demanded) = state.bell.is_rung();
            let now = Instant::now();
            if demanded || (rung && !self.resting) || now >= self.next {
                return Some(state.bell.take());
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = state.bell.changed() => {}
                () = tokio::time::sleep_until(self.next.min(now + BEAT)) => {}
            }
        }
    }

    /// One turn; none when stopped half-way.
    async fn turn(&mut self, sweep: bool) -> Option<Told> {
        let state = Arc::clone(&self.state);
        match self.read(sweep).await {
            Ok(None) => {
                if sweep {
                    state.bell.sweep_later();
                }
                self.away = true;
                self.paused_since.get_or_insert_with(Instant::now);
                self.goes_on();
                Some(Told::Paused)
            }
            Ok(Some(pulled)) => {
                self.works.note_checkpoint(None);
                let outcome = if pulled.torn { ReadOutcome::Torn } else { ReadOutcome::Whole };
                Measure::Read { source: state.event(), outcome, records: pulled.records }.note();
                if let Some(since) = self.paused_since.take()
                    && state.outage().is_none()
                {
                    let duration_ms = super::millis(since.elapsed());
                    Event::SourceRecovered { source: state.event(), duration_ms }.emit();
                }
                state.works_again(&self.works, None).await;
                let news = pulled.records > 0 || pulled.gone > 0 || pulled.swept;
                // A store's pairs also look, once a poll, at what waits for its time; a CRM may have many pairs.
                if state.side == Side::Store || news || self.away {
                    self.works.ring_pairs(&state, None);
                }
                (self.first, self.away) = (false, false);
                self.delays = Delays::default();
                self.goes_on();
                let torn = pulled.torn && sweep;
                Some(if torn { Told::Failed(torn_sweep(state.side, &state.name)) } else { Told::Read })
            }
            Err(error) => {
                if sweep {
                    state.bell.sweep_later();
                }
                self.away = true;
                // Told to stop, whatever was under way fails: that is nobody's trouble.
                let failed = Failed::of(&error, state.side, &state.name).filter(|_| !self.works.stop.is_cancelled());
                let Some(failed) = failed else {
                    self.next = Instant::now() + BEAT;
                    return None;
                };
                let delay = self.delays.after(&failed);
                if failed.of_checkpoint {
                    self.works.note_checkpoint(Some(&failed.message));
                } else {
                    Measure::Read { source: state.event(), outcome: ReadOutcome::Failed, records: 0 }.note();
                    state.fails(&self.works, &failed, delay, None).await;
                }
                if matches!(failed.class, Class::Auth | Class::Misconfigured) {
                    // The next turn looks for its secrets again, and reaches it anew.
                    state.set_reached(None);
                    self.plan = None;
                }
                self.next = Instant::now() + delay;
                self.resting = true;
                Some(Told::Failed(failed))
            }
        }
    }

    fn goes_on(&mut self) {
        self.next = self.polls.after(Instant::now());
        self.resting = false;
    }

    /// Reads the source; none: it is paused.
    async fn read(&mut self, sweep: bool) -> Result<Option<Pulled>, Error> {
        if self.is_paused().await? {
            return Ok(None);
        }
        let source = match self.state.reached() {
            Some(source) => source,
            None => self.attach().await?,
        };
        if self.first && source.finds_by_value() {
            self.state.pulse.during(self.meet_pairs(&source), || 0).await?;
        }
        let reach = if sweep { Reach::Sweep } else { Reach::Changes };
        let pulling = self.works.engine.pull(&source, reach);
        Ok(Some(self.state.pulse.during(pulling, || source.calls()).await?))
    }

    /// Makes the pairs of a CRM before it is read for the first time: it may be so large that only what its stores know of
    /// it is read. Stores that are not reached soon do without.
    async fn meet_pairs(&self, source: &Arc<Source>) -> Result<(), Error> {
        let until = Instant::now() + MEETING;
        for at in &self.state.pairs {
            let Some(pair) = self.works.pairs.get(*at) else { continue };
            while pair.store.reached().is_none() && pair.store.obstacle().is_none() && Instant::now() < until {
                let a_moment = tokio::time::sleep(GLANCE);
                if self.works.stop.run_until_cancelled(a_moment).await.is_none() {
                    return Err(Error::Stopped);
                }
            }
            if let Some(store) = pair.store.reached() {
                pair.made(&self.works.engine, &store, source).await?;
            }
        }
        Ok(())
    }

    async fn is_paused(&self) -> Result<bool, Error> {
        let state = &self.state;
        let mut transaction = self.works.engine.checkpoint().read().await?;
        let paused = transaction.source(state.side, &state.name).await?.is_some_and(|row| row.paused);
        transaction.end().await?;
        if !state.paused.swap(paused, Ordering::SeqCst) && paused && self.first {
            // Whoever pauses it while we run is told by what he did.
            Event::SourcePaused { source: state.event(), reason: "a person paused it before this start" }.emit();
        }
        Ok(paused)
    }

    async fn attach(&mut self) -> Result<Arc<Source>, Error> {
        let (works, state) = (&self.works, &self.state);
        let attaching = async {
            if self.plan.is_none() {
                let drawing = draw_source(&works.config, &works.surroundings, state.side, &state.name);
                // A secret may come from a command that takes its time.
                self.plan = works.stop.run_until_cancelled(drawing).await.flatten();
            }
            match &self.plan {
                Some(plan) => attach_one(&works.engine, plan).await,
                None => Err(Error::Stopped),
            }
        };
        let source = state.pulse.during(attaching, || 0).await?;
        state.set_reached(Some(Arc::clone(&source)));
        Ok(source)
    }
}

fn torn_sweep(side: Side, name: &str) -> Failed {
    let what = format!("the sweep of {name} was torn: records came and went while it was read; sweep it again");
    Failed::of_source(side, name, &crate::model::Failure::new(Class::Retry, what))
}
