//! One pass of one pair: resolve what is under way, link, decide, push.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::balance::{Balance, Place};
use super::decide::{Decided, Fate, Mood, Verdict};
use super::push::{Push, agreed_of, count, hold, place_of, settled_link};
use super::{CHUNK, Counts, Engine, Error, Pair};
use crate::checkpoint::{HeldState, LinkRow, PairRow, Stopped, Transaction};
use crate::merge::{self, Crossed};
use crate::model::{HeldReason, Key, Mode, Seen, Side, Timestamp};
use crate::telemetry::Event;

/// What rails look back on, and how long an approval lasts.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// So many fields of one source that return within a day to superseded values look like a restored backup.
const RETURNED_MAX: u64 = 20;

/// How often a pass decides again what changed under its hands.
const AGAIN_MAX: u32 = 3;

/// How a pass is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassOptions {
    /// Write to so many linked records only.
    pub limit: Option<usize>,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It did what there was to do.
    #[default]
    Done,
    /// One of its sources is paused: nothing was done.
    Paused,
    /// One of its sources was never read whole: nothing can be decided yet.
    Unread,
    /// A rail stopped it before a write.
    Stopped,
}

/// What a pass came to.
#[derive(Debug, Default)]
pub struct PassReport {
    /// Its number; 0: there was nothing to look at.
    pub pass: u64,
    /// How it ended.
    pub standing: Standing,
    /// Where every field is.
    pub balance: Balance,
    /// Fields and records that it found to wait for a person, and that did not before.
    pub newly_held: u64,
    /// The failure that ended its pushing early.
    pub failure: Option<Error>,
}

/// A field that is newly held: customer, contact, field, why, detail.
pub(super) type News = (Key, Key, String, HeldReason, Option<String>);

/// What looking at all the work has found.
#[derive(Default)]
struct Survey {
    balance: Balance,
    due: Vec<i64>,
    ended: Vec<(LinkRow, Ended)>,
    unseen: BTreeMap<Side, BTreeSet<Key>>,
    unseen_links: Vec<i64>,
    planned: Counts,
    returned: [u64; 2],
    met: u64,
    moved: u64,
    news: Vec<News>,
}

/// Why a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The record on this side is gone.
    Gone(Side),
    /// One of its records does not take part any more.
    Left,
}

impl Engine {
    /// One pass over a pair. Reads nothing but what it must read again; [`Engine::pull`] comes before it.
    ///
    /// # Errors
    /// When a source or the checkpoint fails, or we are told to stop. What was done stays done.
    pub async fn pass(&self, pair: &Pair, options: PassOptions) -> Result<PassReport, Error> {
        let started = self.clock.now();
        let calls = (pair.store.calls(), pair.crm.calls());
        if let Some(standing) = self.cannot_pass(pair).await? {
            return Ok(PassReport { standing, ..PassReport::default() });
        }
        let writes = pair.mode == Mode::Sync;
        if writes {
            self.create_definitions(pair).await?;
        }
        self.resolve_attempts(pair).await?;
        self.resolve_waiting(pair).await?;

        let mut transaction = self.checkpoint.begin().await?;
        let row = transaction.pair(pair.id).await?;
        let newest = transaction.newest_change().await?;
        let idle = row.decided >= newest && row.decided > 0 && self.nothing_left(&mut transaction, pair).await?;
        let pass = if idle { 0 } else { transaction.next_pass().await? };
        if idle {
            let balance = Balance::default();
            transaction.note_pass(pair.id, row.decided, started, &text_of(&balance), writes).await?;
            transaction.commit().await?;
            pair.has_compared();
            return Ok(PassReport::default());
        }
        transaction.commit().await?;

        let number = u64::try_from(pass).unwrap_or(0);
        let (made, unlinked, ambiguous) = self.link(pair, number, row.decided, row.decided == 0).await?;
        let (survey, mood) = self.survey(pair, &row, row.decided).await?;
        let mut report = self.carry_out(pair, pass, &row, survey, mood, options).await?;
        report.pass = number;
        report.balance.links_created = made;
        report.newly_held += ambiguous;
        report.balance.put_unlinked(unlinked);

        let ended = self.clock.now();
        let mut transaction = self.checkpoint.begin().await?;
        // Told to stop or failed half-way, every link of the work is looked at again; it is cheap, and safe.
        let decided = if report.failure.is_some() { row.decided } else { newest };
        let complete = writes
            && !mood.behind
            && report.standing == Standing::Done
            && report.failure.is_none()
            && options.limit.is_none()
            && !self.stop.is_cancelled();
        transaction.note_pass(pair.id, decided, ended, &text_of(&report.balance), complete).await?;
        if mood.behind && report.failure.is_none() {
            transaction.set_behind(false, Some(pair.id)).await?;
        }
        transaction.commit().await?;
        pair.has_compared();
        self.say_completed(pair, &report, started, ended, calls);
        if matches!(report.failure, Some(Error::Stopped)) && self.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        Ok(report)
    }

    async fn cannot_pass(&self, pair: &Pair) -> Result<Option<Standing>, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let mut standing = None;
        for source in [&pair.store, &pair.crm] {
            match transaction.source(source.side, &source.name).await? {
                Some(row) if row.paused => standing = Some(Standing::Paused),
                Some(row) if row.swept_at.is_some() && !source.must_sweep.load(Ordering::SeqCst) => {}
                _ => standing = standing.or(Some(Standing::Unread)),
            }
        }
        transaction.end().await?;
        Ok(standing)
    }

    async fn nothing_left(&self, transaction: &mut Transaction<'_>, pair: &Pair) -> Result<bool, Error> {
        Ok(transaction.count_unsettled(pair.id).await? == 0 && !transaction.pair(pair.id).await?.behind)
    }

    /// Creates the attribute definitions that are to be created: only here, in a pass that may write.
    async fn create_definitions(&self, pair: &Pair) -> Result<(), Error> {
        for source in [&pair.store, &pair.crm] {
            let missing =
                source.defined.read().unwrap_or_else(PoisonError::into_inner).iter().any(|field| field.to_create);
            if missing {
                self.refresh_definitions(source, true).await?;
            }
        }
        Ok(())
    }

    /// Looks at all the work: what needs no write is concluded, what does is counted.
    async fn survey(&self, pair: &Pair, row: &PairRow, since: i64) -> Result<(Survey, Mood), Error> {
        let first_pass = row.first_pass_at.is_none();
        let mut mood = Mood { behind: row.behind, ..Mood::default() };
        if mood.behind {
            self.say_behind(pair);
        }
        loop {
            let mut transaction = self.checkpoint.begin().await?;
            transaction.gather_work(pair.id, pair.store.id, pair.crm.id, if mood.behind { 0 } else { since }).await?;
            transaction.commit().await?;
            let mut survey = Survey::default();
            self.look_over(pair, mood, (true, first_pass), &mut survey).await?;
            if !survey.unseen_links.is_empty() {
                self.read_unseen(pair, &mut survey).await?;
                self.look_over(pair, mood, (false, first_pass), &mut survey).await?;
            }
            let first = pair.first_since_start.load(Ordering::SeqCst);
            if first && !mood.behind && self.recognise_by_sides(pair, survey.met, survey.moved).await? {
                mood.behind = true;
                self.say_behind(pair);
                continue;
            }
            if let Some(reverted) = self.find_reverted(pair, mood, &survey).await? {
                mood.reverted = reverted;
                continue;
            }
            return Ok((survey, mood));
        }
    }

    /// Goes through `temp.work` in chunks.
    async fn look_over(
        &self,
        pair: &Pair,
        mood: Mood,
        (may_read, first_pass): (bool, bool),
        survey: &mut Survey,
    ) -> Result<(), Error> {
        let mut after = 0;
        loop {
            self.going_on()?;
            let mut transaction = self.checkpoint.begin().await?;
            let ids = transaction.work(pair.id, after, CHUNK).await?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = *last;
            let links = transaction.links(&ids).await?;
            let decided = self.decide(&mut transaction, pair, links, mood).await?;
            let settled: Vec<Decided> =
                decided.into_iter().filter_map(|decided| survey.sort(decided, may_read, first_pass)).collect();
            survey.news.extend(self.conclude(&mut transaction, pair, &settled).await?);
            let mut agreed = agreed_of(pair, &settled);
            let now = self.clock.now();
            let mut updates = Vec::new();
            for decided in &settled {
                let Fate::Fields(verdicts) = &decided.fate else { continue };
                let places: Vec<Place> = verdicts.iter().map(place_of).collect();
                places.iter().for_each(|place| survey.balance.put(*place));
                let left = places.iter().filter(|place| place.is_open()).count() as u64;
                let unsettled = (left > 0).then(|| decided.link.unsettled.unwrap_or(now));
                let news = agreed.remove(&decided.link.id).unwrap_or_default();
                if !news.is_empty() || unsettled != decided.link.unsettled || left != decided.link.pending {
                    updates.push(settled_link(&decided.link, news, unsettled, left));
                }
            }
            transaction.update_links(&updates).await?;
            transaction.commit().await?;
        }
    }

    /// Reads fields of linked records that nobody has looked at.
    async fn read_unseen(&self, pair: &Pair, survey: &mut Survey) -> Result<(), Error> {
        for (side, keys) in std::mem::take(&mut survey.unseen) {
            let source = pair.source(side);
            let fields: BTreeSet<usize> = pair.fields.iter().map(|field| field.on(side).0).collect();
            let keys: Vec<Key> = keys.into_iter().collect();
            self.look(source, &keys, &fields.into_iter().collect::<Vec<_>>()).await?;
        }
        let links = std::mem::take(&mut survey.unseen_links);
        let mut transaction = self.checkpoint.begin().await?;
        transaction.set_work(pair.id, &links).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The sides that look restored from a backup.
    async fn find_reverted(
        &self,
        pair: &Pair,
        mood: Mood,
        survey: &Survey,
    ) -> Result<Option<[Option<Side>; 2]>, Error> {
        let mut reverted = mood.reverted;
        let since = self.clock.now() - DAY;
        for (at, side) in [Side::Store, Side::Crm].into_iter().enumerate() {
            if survey.returned[at] == 0 || reverted[at].is_some() {
                continue;
            }
            let mut transaction = self.checkpoint.read().await?;
            let before = transaction.returned_since(pair.source(side).id, side, since).await?;
            transaction.end().await?;
            if before + survey.returned[at] > RETURNED_MAX {
                reverted[at] = Some(side);
            }
        }
        let news = reverted.iter().flatten().count() > mood.reverted.iter().flatten().count();
        Ok(news.then_some(reverted))
    }

    /// Does what the survey found to do, within the rails.
    async fn carry_out(
        &self,
        pair: &Pair,
        pass: i64,
        row: &PairRow,
        survey: Survey,
        mood: Mood,
        options: PassOptions,
    ) -> Result<PassReport, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let links = transaction.count_links(pair.id).await?;
        let past = self.past(&mut transaction, pair).await?;
        let gone: Vec<i64> =
            survey.ended.iter().filter(|(_, ended)| *ended != Ended::Left).map(|(link, _)| link.id).collect();
        let approved = transaction.approved(pair.id, &gone, self.clock.now() - DAY).await?;
        transaction.end().await?;
        let base = (links * pair.fields.len() as u64, links);
        let approved: BTreeSet<i64> =
            approved.into_iter().filter(|stopped| stopped.mapped == 0).map(|s| s.link).collect();
        let deletes = gone.iter().filter(|link| !approved.contains(link)).count() as u64;
        let planned = Counts { deletes, ..survey.planned };
        let crossed = merge::crossed(&pair.rails, past, planned, base.0, base.1);

        let mut report = PassReport { balance: survey.balance, ..PassReport::default() };
        let first_pass = row.first_pass_at.is_none();
        let mut push = Push::new(self, pair, pass, mood, (past, base, first_pass));
        push.say_held(&survey.news);
        push.last = true;
        let writes = pair.mode == Mode::Sync;
        if crossed.is_empty() && writes {
            self.unlink(pair, pass, &survey.ended, &approved).await?;
            report.balance.records_deleted = gone.len() as u64;
            push.last = false;
            let limit = options.limit.unwrap_or(usize::MAX).min(survey.due.len());
            push.run(&survey.due[..limit]).await?;
            for again in 0..AGAIN_MAX {
                let redo = std::mem::take(&mut push.redo);
                if redo.is_empty() {
                    break;
                }
                push.last = again + 1 == AGAIN_MAX;
                push.run(&redo).await?;
            }
            push.hold_back = true;
            push.last = true;
            push.run(&survey.due[limit..]).await?;
        } else {
            let kept_open: Vec<i64> = survey.ended.iter().map(|(link, _)| link.id).collect();
            let mut transaction = self.checkpoint.begin().await?;
            transaction.unsettle_links(&kept_open, self.clock.now()).await?;
            transaction.commit().await?;
            push.hold_back = true;
            push.run(&survey.due).await?;
        }
        report.failure = push.failure.take();
        report.newly_held = push.newly_held;
        let crossed = if crossed.is_empty() { std::mem::take(&mut push.crossed) } else { crossed };
        add(&mut report.balance, &push.balance);
        if writes {
            self.note_rails(pair, pass, row, &crossed, &survey, mood).await?;
        } else {
            say_would_write(pair, row, report.balance.pending);
        }
        if !crossed.is_empty() {
            report.standing = Standing::Stopped;
        }
        Ok(report)
    }

    /// What the rails have counted of the last 24 hours.
    pub(super) async fn past(&self, transaction: &mut Transaction<'_>, pair: &Pair) -> Result<Counts, Error> {
        let (writes, deletes) = transaction.counted_since(pair.id, self.clock.now() - DAY).await?;
        let mut past = Counts { deletes, ..Counts::default() };
        for (rail, number) in writes {
            match rail.as_str() {
                "writes" => past.writes = number,
                "clears" => past.clears = number,
                _ => {}
            }
        }
        Ok(past)
    }

    /// Remembers which rails stopped the pair and exactly what; or that nothing stops it any more.
    async fn note_rails(
        &self,
        pair: &Pair,
        pass: i64,
        row: &PairRow,
        crossed: &[Crossed],
        survey: &Survey,
        mood: Mood,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        if crossed.is_empty() {
            if row.stopped.is_some() {
                let mut transaction = self.checkpoint.begin().await?;
                transaction.set_stopped(pair.id, None, now).await?;
                transaction.commit().await?;
            }
            return Ok(());
        }
        let rails: Vec<(&str, u64, u64)> = crossed.iter().map(|rail| (rail.rail, rail.count, rail.limit)).collect();
        let text = serde_json::to_string(&rails).unwrap_or_default();
        let mut transaction = self.checkpoint.begin().await?;
        transaction.set_stopped(pair.id, Some(&text), now).await?;
        let ended: Vec<Stopped> = survey
            .ended
            .iter()
            .map(|(link, _)| Stopped { link: link.id, mapped: 0, value: "gone".to_owned() })
            .collect();
        transaction.add_stopped(pair.id, &ended).await?;
        transaction.commit().await?;
        for chunk in survey.due.chunks(CHUNK) {
            let mut transaction = self.checkpoint.begin().await?;
            let links = transaction.links(chunk).await?;
            let decided = self.decide(&mut transaction, pair, links, mood).await?;
            transaction.add_stopped(pair.id, &stopped_of(pair, &decided)).await?;
            transaction.commit().await?;
        }
        let said = pair.rails_said.swap(true, Ordering::SeqCst);
        let known = row.stopped.as_deref().filter(|_| said).unwrap_or_default();
        for rail in crossed.iter().filter(|rail| !known.contains(rail.rail)) {
            Event::RailStopped {
                pair: pair.event(),
                pass: u64::try_from(pass).unwrap_or(0),
                rail: rail.rail,
                count: rail.count,
                limit: rail.limit,
            }
            .emit();
        }
        Ok(())
    }

    /// Holds what is to be held and releases what is not any more. Answers what is newly held.
    pub(super) async fn conclude(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        decided: &[Decided],
    ) -> Result<Vec<News>, Error> {
        let (mut holds, mut releases, mut news) = (Vec::new(), Vec::new(), Vec::new());
        for decided in decided {
            let Fate::Fields(verdicts) = &decided.fate else { continue };
            for (field, verdict) in pair.fields.iter().zip(verdicts) {
                let known = decided.held.get(&field.mapped);
                let fresh = || hold(&decided.link, field, HeldReason::Conflict, None);
                let same = known.is_some_and(|known| {
                    let now = fresh();
                    known.store_value == now.store_value && known.crm_value == now.crm_value
                });
                match verdict {
                    Verdict::Hold(reason) => {
                        let stands =
                            known.is_some_and(|known| known.reason == *reason && known.state == HeldState::Held);
                        if stands && same {
                            continue;
                        }
                        let detail = decided.detail(pair, field, *reason);
                        holds.push(hold(&decided.link, field, *reason, detail.clone()));
                        if !stands {
                            let (store, crm) = (decided.link.store.key.clone(), decided.link.crm.key.clone());
                            news.push((store, crm, field.rule.store.clone(), *reason, detail));
                        }
                    }
                    Verdict::Kept if same && known.is_some_and(|known| known.state == HeldState::Dropped) => {}
                    Verdict::Write(_)
                        if same && known.is_some_and(|known| matches!(known.state, HeldState::Take(_))) => {}
                    Verdict::Pending | Verdict::Unseen(_) => {}
                    Verdict::Unchanged | Verdict::Agree(_) | Verdict::Kept | Verdict::Write(_) => {
                        releases.extend(known.map(|known| known.id));
                    }
                }
            }
        }
        transaction.hold(pair.id, self.clock.now(), &holds).await?;
        transaction.release(&releases).await?;
        Ok(news)
    }

    fn say_completed(&self, pair: &Pair, report: &PassReport, started: Timestamp, ended: Timestamp, calls: (u64, u64)) {
        let balance = &report.balance;
        let completed = Event::PassCompleted {
            pair: pair.event(),
            pass: report.pass,
            duration_ms: u64::try_from(ended.millis_since(started)).unwrap_or(0),
            observed: balance.observed,
            unchanged: balance.unchanged,
            agreed: balance.agreed,
            written: balance.written,
            held: balance.held,
            kept: balance.kept,
            superseded: balance.superseded,
            pending: balance.pending,
            failed: balance.failed,
            unlinked: balance.unlinked,
            links_created: balance.links_created,
            records_created: 0,
            records_deleted: balance.records_deleted,
            conflicts: balance.conflicts,
            store_writes: balance.store_writes,
            crm_writes: balance.crm_writes,
            store_calls: pair.store.calls() - calls.0,
            crm_calls: pair.crm.calls() - calls.1,
            recheck_window_ms: balance.recheck_window_ms,
        };
        if report.newly_held > 0 { completed.emit_as_news() } else { completed.emit() }
    }
}

impl Survey {
    /// Sorts one decided link: what needs no write comes back, to be concluded.
    fn sort(&mut self, decided: Decided, may_read: bool, first_pass: bool) -> Option<Decided> {
        let verdicts = match &decided.fate {
            Fate::Gone(side) => {
                self.ended.push((decided.link, Ended::Gone(*side)));
                return None;
            }
            Fate::Left => {
                self.ended.push((decided.link, Ended::Left));
                return None;
            }
            Fate::Fields(verdicts) => verdicts,
        };
        if may_read && verdicts.iter().any(|verdict| matches!(verdict, Verdict::Unseen(_))) {
            for verdict in verdicts {
                if let Verdict::Unseen(side) = verdict {
                    let record = if *side == Side::Store { &decided.link.store } else { &decided.link.crm };
                    self.unseen.entry(*side).or_default().insert(record.key.clone());
                }
            }
            self.unseen_links.push(decided.link.id);
            return None;
        }
        self.met += decided.met;
        self.moved += decided.met;
        let mut due = false;
        for verdict in verdicts {
            if let Verdict::Write(write) = verdict {
                due = true;
                self.moved += 1;
                count(write, first_pass, &mut self.planned);
                if let Some(side) = write.returned {
                    self.returned[usize::from(side == Side::Crm)] += 1;
                }
            }
        }
        if due {
            self.due.push(decided.link.id);
            return None;
        }
        Some(decided)
    }
}

impl Decided {
    /// What a held row says beside its reason.
    fn detail(&self, pair: &Pair, field: &super::PairField, reason: HeldReason) -> Option<String> {
        match reason {
            HeldReason::DefinitionChanged => [(&pair.store, field.store.0), (&pair.crm, field.crm.0)]
                .into_iter()
                .find_map(|(source, at)| source.defined(at).and_then(|defined| defined.changed)),
            HeldReason::FirstMeeting if self.behind => Some(super::behind::DETAIL.to_owned()),
            HeldReason::CannotBeTaken => self.obstacle(pair, field),
            _ => None,
        }
    }

    fn obstacle(&self, pair: &Pair, field: &super::PairField) -> Option<String> {
        let (store, crm) = (self.link.store.seen.seen(field.store.1), self.link.crm.seen.seen(field.crm.1));
        let (store_shape, crm_shape) = (pair.store.defined(field.store.0)?.shape, pair.crm.defined(field.crm.0)?.shape);
        let target = |seen, shape| merge::Target { seen, edited: None, shape };
        let facts = merge::Facts {
            rule: &field.rule,
            agreed: &crate::model::Agreed::Unknown,
            store: target(&store, &store_shape),
            crm: target(&crm, &crm_shape),
        };
        let holds = |seen: &Seen| seen.value().is_some();
        [(Side::Crm, holds(&store)), (Side::Store, holds(&crm))]
            .into_iter()
            .filter(|(_, has_origin)| *has_origin)
            .find_map(|(to, _)| merge::obstacle(&facts, to).map(|obstacle| obstacle.to_string()))
    }
}

/// In `mode = "observe"`: how much would be written, when that has changed; `attune plan` lists it.
fn say_would_write(pair: &Pair, row: &PairRow, pending: u64) {
    let before: Balance = row.pass.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    if pending != before.pending {
        tracing::info!(
            target: "attune", event = "note", store = %pair.store.name, crm = %pair.crm.name, pending,
            "observing: {pending} fields would be written and nothing is sent; `attune plan` lists them"
        );
    }
}

/// The writes of decided links, as `approve` lets them through.
fn stopped_of(pair: &Pair, decided: &[Decided]) -> Vec<Stopped> {
    let mut stopped = Vec::new();
    for decided in decided {
        let Fate::Fields(verdicts) = &decided.fate else { continue };
        for (field, verdict) in pair.fields.iter().zip(verdicts) {
            if let Verdict::Write(due) = verdict
                && !due.approved
            {
                stopped.push(Stopped { link: decided.link.id, mapped: field.mapped, value: due.fingerprint() });
            }
        }
    }
    stopped
}

fn add(total: &mut Balance, more: &Balance) {
    total.observed += more.observed;
    total.unchanged += more.unchanged;
    total.agreed += more.agreed;
    total.written += more.written;
    total.held += more.held;
    total.kept += more.kept;
    total.superseded += more.superseded;
    total.pending += more.pending;
    total.failed += more.failed;
    total.conflicts += more.conflicts;
    total.store_writes += more.store_writes;
    total.crm_writes += more.crm_writes;
    total.recheck_window_ms = total.recheck_window_ms.max(more.recheck_window_ms);
}

fn text_of(balance: &Balance) -> String {
    serde_json::to_string(balance).unwrap_or_default()
}
