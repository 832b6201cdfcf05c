//! What the page is told: the facts of `attune status`, `held`, `explain` and `history`, through the same functions. What it
//! asks for is done in `acts`.
//!
//! It reads through a connection of its own, one question at a time, each within a few seconds: no loop waits for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::Value as Json;
use tokio::sync::MutexGuard;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::acts::{carry_out, refused, stopped_now};
use super::pair::PairState;
use super::standings::{Known, Standings, troubled};
use super::told::{held, held_count, held_list, pair_standing, pass, quota, record, write};
use super::vitals::Vitals;
use super::works::Works;
use crate::checkpoint::{Checkpoint, HeldFilter, HistoryFilter, SourceRow, Transaction};
use crate::config::{Environment, Secret};
use crate::engine::{Clock, Engine, Error, rails_of};
use crate::model::{Side, Timestamp};
use crate::web::page::{
    Act, CrmDetail, CrossedRail, Day, HeldList, HeldQuery, Office, Outcome, Overview, PairDetail, PairStanding,
    Records, Sight, SourceStanding, StoreDetail, Stretch, Unavailable,
};

/// A question is answered within this time, or not at all.
const PATIENCE: Duration = Duration::from_secs(8);

/// What one pair has to do is looked through within this time, or told of as its last pass left it.
const PAIR_PATIENCE: Duration = Duration::from_millis(1500);

/// And all pairs of one question together within this.
const PAIRS_PATIENCE: Duration = Duration::from_secs(4);

/// An act that takes longer goes on by itself.
const ACT_PATIENCE: Duration = Duration::from_secs(8);

/// More pairs, CRMs or stores of a CRM are only counted.
const PAIRS_MAX: usize = 100;

/// Held fields and records on one page.
const HELD_MAX: usize = 50;

/// Records that some words mean.
const RECORDS_MAX: usize = 10;

/// Writes of a store that are shown.
const WRITES_MAX: u64 = 20;

/// Half an hour: a day has 48 of them.
const STRETCH_MS: i64 = 30 * 60 * 1000;

const STRETCHES: i64 = 48;

/// What a day holds is kept this many times as long as it took to find.
const DAY_KEPT: u32 = 20;

/// The daemon's side of the page.
pub(super) struct Desk {
    vitals: Arc<Vitals>,
    clock: Arc<dyn Clock>,
    admin_token: Option<Secret>,
    environment: Environment,
    /// Reads beside the loops; none: it is opened by the next question.
    reading: tokio::sync::Mutex<Option<Engine>>,
    /// By pair: until when it is good, and what it is.
    days: Mutex<BTreeMap<i64, (Instant, Day)>>,
}

/// The right to read, for one question.
struct Reading<'a> {
    place: MutexGuard<'a, Option<Engine>>,
    engine: Engine,
}

impl Reading<'_> {
    /// Leaves the connection for the next question. Without this it is closed: a question that was cut off may have left a
    /// transaction open, and with it a picture that keeps the checkpoint's log from being taken in.
    fn done(mut self) {
        *self.place = Some(self.engine);
    }
}

impl Desk {
    pub fn new(
        vitals: Arc<Vitals>,
        clock: Arc<dyn Clock>,
        admin_token: Option<Secret>,
        environment: Environment,
    ) -> Self {
        Self { vitals, clock, admin_token, environment, reading: tokio::sync::Mutex::new(None), days: Mutex::default() }
    }

    /// Says at once where the token is missing, not when somebody needs it.
    pub async fn say_missing_token(&self) {
        if let Some(secret) = &self.admin_token
            && let Err(reason) = secret.resolve(&self.environment).await
        {
            tracing::warn!(target: "attune", event = "note", "nobody can sign in to the page: server.admin_token: {reason}");
        }
    }

    async fn read(&self, works: &Works) -> Result<Reading<'_>, Error> {
        let mut place = self.reading.lock().await;
        let engine = match place.take() {
            Some(engine) => engine,
            None => {
                let checkpoint = match works.engine.checkpoint().path() {
                    Some(path) => Checkpoint::open_to_read(path).await?,
                    None => works.engine.checkpoint().clone(),
                };
                Engine::new(checkpoint, Arc::clone(&self.clock), CancellationToken::new())
            }
        };
        Ok(Reading { place, engine })
    }

    /// What a pair wrote in the last day.
    async fn day(&self, transaction: &mut Transaction<'_>, pair: i64) -> Result<Day, Error> {
        let began = Instant::now();
        let known = self.days.lock().unwrap_or_else(PoisonError::into_inner).get(&pair).cloned();
        if let Some((until, day)) = known
            && began < until
        {
            return Ok(day);
        }
        let from = (self.clock.now().as_millis().div_euclid(STRETCH_MS) - (STRETCHES - 1)) * STRETCH_MS;
        let rows = transaction.writes_in_time(pair, Timestamp::from_millis(from), STRETCH_MS).await?;
        let mut stretches = vec![Stretch::default(); usize::try_from(STRETCHES).unwrap_or_default()];
        for row in rows {
            let at = usize::try_from(row.stretch).unwrap_or(usize::MAX);
            let Some(stretch) = stretches.get_mut(at) else { continue };
            let side = if row.side == Side::Store.as_str() { &mut stretch.to_store } else { &mut stretch.to_crm };
            *side = row.writes;
            stretch.longest_ms = stretch.longest_ms.max(row.longest_ms);
        }
        let day = Day { from: Timestamp::from_millis(from), stretch_ms: STRETCH_MS.unsigned_abs(), stretches };
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        days.retain(|_, (until, _)| *until > began);
        days.insert(pair, (Instant::now() + began.elapsed() * DAY_KEPT, day.clone()));
        Ok(day)
    }

    /// How these pairs and CRMs stand.
    async fn standings(
        &self,
        engine: &Engine,
        pairs: &[&Arc<PairState>],
        crms: &[&str],
    ) -> Result<(Vec<PairStanding>, Standings), Error> {
        let made: Vec<_> = pairs.iter().map(|state| state.pair()).collect();
        let known = pairs
            .iter()
            .zip(&made)
            .map(|(state, pair)| Known { plan: &state.plan, pair: pair.as_ref().map(AsRef::as_ref) });
        let until = Instant::now() + PAIRS_PATIENCE;
        let patience = || PAIR_PATIENCE.min(until.saturating_duration_since(Instant::now()));
        let standings = Standings::look(engine, known, crms.iter().copied(), &[], patience).await?;
        let mut shown = Vec::new();
        for standing in &standings.stores {
            let mut transaction = engine.checkpoint().read().await?;
            let day = match pair_id(&mut transaction, &standing.name, &standing.crm).await? {
                Some(id) => Some(self.day(&mut transaction, id).await?),
                None => None,
            };
            transaction.end().await?;
            shown.push(pair_standing(standing, day));
        }
        Ok((shown, standings))
    }

    async fn detail(&self, engine: &Engine, state: &PairState, standing: PairStanding) -> Result<PairDetail, Error> {
        let mut detail = PairDetail {
            passes: state.passes.newest().iter().map(pass).collect(),
            noted_since: state.passes.since,
            ..PairDetail::default()
        };
        let mut transaction = engine.checkpoint().read().await?;
        if let Some(id) = pair_id(&mut transaction, &standing.store, &standing.crm).await?
            && let Some(stopped) = transaction.pair(id).await?.stopped
        {
            let rail = |(rail, count, limit)| CrossedRail { rail, count, limit };
            detail.rails = rails_of(&stopped).into_iter().map(rail).collect();
            detail.stopped = transaction.count_stopped(id).await?;
        }
        if standing.held > 0 {
            let counts = transaction.held_counts().await?;
            let own = counts.into_iter().filter(|count| count.store == standing.store && count.crm == standing.crm);
            detail.held = own.map(held_count).collect();
        }
        transaction.end().await?;
        detail.standing = standing;
        Ok(detail)
    }
}

/// What a question comes to, in time.
async fn within<T>(answering: impl Future<Output = Result<T, Error>>) -> Result<T, Unavailable> {
    match tokio::time::timeout(PATIENCE, answering).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Unavailable(error.to_string())),
        Err(_) => {
            let what = format!("the checkpoint gave no answer within {} s; look again in a while", PATIENCE.as_secs());
            Err(Unavailable(what))
        }
    }
}

#[async_trait]
impl Office for Desk {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn can_sign_in(&self) -> bool {
        self.admin_token.is_some()
    }

    async fn admin_token(&self) -> Result<SecretString, String> {
        match &self.admin_token {
            None => Err("server.admin_token is not configured: nobody can sign in".to_owned()),
            Some(secret) => {
                secret.resolve(&self.environment).await.map_err(|reason| format!("server.admin_token: {reason}"))
            }
        }
    }

    async fn overview(&self) -> Result<Overview, Unavailable> {
        let works = self.vitals.works();
        within(async {
            let reading = self.read(&works).await?;
            let pairs: Vec<&Arc<PairState>> = works.pairs.iter().take(PAIRS_MAX).collect();
            let crms = works.sources.iter().filter(|source| source.side == Side::Crm).take(PAIRS_MAX);
            let crms: Vec<&str> = crms.map(|source| source.name.as_str()).collect();
            let (shown, standings) = self.standings(&reading.engine, &pairs, &crms).await?;
            reading.done();
            let crm = |crm: crate::daemon::CrmStanding| SourceStanding {
                paused: crm.state == "paused",
                name: crm.name,
                state: crm.state,
                reason: crm.reason,
                last_read: crm.last_read,
                quota: quota(&crm.quota),
                ..SourceStanding::default()
            };
            Ok(Overview {
                pairs: shown,
                left_out: works.pairs.len().saturating_sub(PAIRS_MAX) as u64,
                crms: standings.crms.into_iter().map(crm).collect(),
                checkpoint_failure: works.checkpoint_failure(),
            })
        })
        .await
    }

    async fn store(&self, name: &str, sight: Sight) -> Result<Option<StoreDetail>, Unavailable> {
        let works = self.vitals.works();
        let pairs: Vec<&Arc<PairState>> =
            works.pairs.iter().filter(|pair| pair.plan.store == name).take(PAIRS_MAX).collect();
        if pairs.is_empty() {
            return Ok(None);
        }
        within(async {
            let reading = self.read(&works).await?;
            let (standings, _) = self.standings(&reading.engine, &pairs, &[]).await?;
            let mut store =
                StoreDetail { source: source(&reading.engine, Side::Store, name).await?, ..Default::default() };
            for (state, standing) in pairs.iter().zip(standings) {
                store.pairs.push(self.detail(&reading.engine, state, standing).await?);
            }
            let mut transaction = reading.engine.checkpoint().read().await?;
            store.stopped = stopped_now(&mut transaction, name).await?.map(|(shown, _)| shown);
            transaction.end().await?;
            if sight == Sight::Whole {
                let filter = HistoryFilter {
                    stores: vec![name.to_owned()],
                    limit: Some(WRITES_MAX),
                    ..HistoryFilter::default()
                };
                let mut transaction = reading.engine.checkpoint().read().await?;
                store.writes = transaction.history(&filter).await?.iter().map(write).collect();
                transaction.end().await?;
            }
            reading.done();
            Ok(Some(store))
        })
        .await
    }

    async fn crm(&self, name: &str) -> Result<Option<CrmDetail>, Unavailable> {
        let works = self.vitals.works();
        let pairs: Vec<&Arc<PairState>> =
            works.pairs.iter().filter(|pair| pair.plan.crm == name).take(PAIRS_MAX).collect();
        if pairs.is_empty() {
            return Ok(None);
        }
        within(async {
            let reading = self.read(&works).await?;
            let source = source(&reading.engine, Side::Crm, name).await?;
            let (pairs, _) = self.standings(&reading.engine, &pairs, &[]).await?;
            reading.done();
            Ok(Some(CrmDetail { source, pairs }))
        })
        .await
    }

    async fn held(&self, query: &HeldQuery, sight: Sight) -> Result<HeldList, Unavailable> {
        let works = self.vitals.works();
        within(async {
            let reading = self.read(&works).await?;
            let filter = HeldFilter {
                stores: query.store.iter().cloned().collect(),
                reasons: query.reason.iter().copied().collect(),
                after: query.after,
                limit: Some(HELD_MAX as u64 + 1),
                ..HeldFilter::default()
            };
            let mut transaction = reading.engine.checkpoint().read().await?;
            let counts = transaction.held_counts().await?;
            let mut rows = transaction.held(&filter).await?;
            transaction.end().await?;
            reading.done();
            let more = rows.len() > HELD_MAX;
            rows.truncate(HELD_MAX);
            Ok(held_list(query, &counts, rows.iter().map(|row| held(row, sight)).collect(), more))
        })
        .await
    }

    async fn records(&self, words: &str) -> Result<Records, Unavailable> {
        let works = self.vitals.works();
        within(async {
            let reading = self.read(&works).await?;
            let mut records = Records::default();
            for state in &works.pairs {
                let Some(pair) = state.pair() else {
                    records.unread.push((state.plan.store.clone(), state.plan.crm.clone()));
                    continue;
                };
                for explained in reading.engine.explain(&pair, words).await? {
                    records.more = records.found.len() >= RECORDS_MAX;
                    if !records.more {
                        records.found.push(record(&state.plan.store, &state.plan.crm, explained));
                    }
                }
                if records.more {
                    break;
                }
            }
            records.unread.truncate(PAIRS_MAX);
            reading.done();
            Ok(records)
        })
        .await
    }

    async fn act(&self, act: &Act) -> Outcome {
        let (works, act) = (self.vitals.works(), act.clone());
        // A task of its own: a browser that goes away does not leave it half done.
        let acting = tokio::spawn(async move { carry_out(&works, &act).await });
        match tokio::time::timeout(ACT_PATIENCE, acting).await {
            Ok(Ok(Ok(outcome))) => outcome,
            Ok(Ok(Err(error))) => refused(error.to_string()),
            Ok(Err(_)) => refused("this made the daemon panic: a defect of Attune, please report it"),
            Err(_) => refused("it takes long, and goes on by itself: look again in a while"),
        }
    }
}

async fn pair_id(transaction: &mut Transaction<'_>, store: &str, crm: &str) -> Result<Option<i64>, Error> {
    let store = transaction.source(Side::Store, store).await?;
    let crm = transaction.source(Side::Crm, crm).await?;
    let (Some(store), Some(crm)) = (store, crm) else { return Ok(None) };
    Ok(transaction.pair_of(store.id, crm.id).await?.map(|pair| pair.id))
}

async fn source(engine: &Engine, side: Side, name: &str) -> Result<SourceStanding, Error> {
    let mut transaction = engine.checkpoint().read().await?;
    let row = transaction.source(side, name).await?;
    transaction.end().await?;
    let (state, reason) = troubled(row.as_ref())
        .unwrap_or_else(|| (row.as_ref().map_or("new", |row| row.state.as_str()).to_owned(), None));
    let Some(row) = row else {
        return Ok(SourceStanding { name: name.to_owned(), state, reason, ..Default::default() });
    };
    let SourceRow { name, paused, read_at, swept_at, drift, quota: told, .. } = row;
    let told = told.as_deref().and_then(|told| serde_json::from_str(told).ok()).unwrap_or(Json::Null);
    let quota = quota(&told);
    Ok(SourceStanding { name, state, reason, paused, last_read: read_at, last_sweep: swept_at, drift, quota })
}
