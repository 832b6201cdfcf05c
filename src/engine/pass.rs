//! One pass of one pair: resolve what is under way, link, survey, push.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::balance::Balance;
use super::create::Making;
use super::create::Wanted;
use super::link::Linked;
use super::push::{Push, Scope};
use super::rails::Scale;
use super::survey::Survey;
use super::{Engine, Error, Pair};
use crate::checkpoint::{Behind, PairRow, Transaction};
use crate::model::{Mode, Timestamp};
use crate::proof::Fault;
use crate::telemetry::Event;

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
        let mut linked = self.link(pair, number, row.decided, row.decided == 0).await?;
        if row.decided == 0 {
            self.link_rivals(pair, number).await?;
        }
        // Before anything is decided: what was made without our knowing is no first meeting.
        self.read_made(pair, pass).await?;
        let mut survey = self.survey(pair, &row, row.decided).await?;
        let mood = survey.mood;
        if !mood.behind.compares_only() && options.limit.is_none() {
            survey.wanted = self.want_partners(pair, row.decided).await?;
        }
        let mut scale = self.weigh(pair, &survey).await?;
        let mut deleted = 0;
        let (mut making, mut trouble) = (Making::default(), None);
        if writes && scale.crossed.is_empty() && !(survey.ended.is_empty() && survey.wanted.is_empty()) {
            let newest_link = self.newest_link().await?;
            let ended = std::mem::take(&mut survey.ended);
            if !ended.is_empty() {
                let unlinked = self.unlink(pair, pass, &ended, &scale.approved).await?;
                deleted = unlinked.ended;
                trouble = unlinked.failure;
                // Whoever lost its partner may have another: somebody who registered again, say.
                let more = self.link(pair, number, row.decided, false).await?;
                linked = Linked { made: linked.made + more.made, held: linked.held + more.held, ..more };
            }
            let wanted = std::mem::take(&mut survey.wanted);
            making = self.make_partners(pair, pass, &wanted).await?;
            let kept: Vec<i64> = ended.iter().map(|(link, _)| link.id).collect();
            self.survey_also(pair, &row, (newest_link, &kept), &mut survey).await?;
            scale = self.weigh(pair, &survey).await?;
        } else if writes && !scale.approved_partners.is_empty() {
            let is_free = |wanted: &Wanted| scale.approved_partners.contains(&wanted.record);
            let (free, kept): (Vec<Wanted>, Vec<Wanted>) = survey.wanted.iter().partition(|wanted| is_free(wanted));
            survey.wanted = kept;
            let newest_link = self.newest_link().await?;
            making = self.make_partners(pair, pass, &free).await?;
            self.survey_also(pair, &row, (newest_link, &[]), &mut survey).await?;
        }
        let mut report = self.carry_out(pair, pass, &row, survey, scale, options).await?;
        report.pass = number;
        report.failure = report.failure.or(trouble).or(making.failure);
        report.balance.records_created = making.made;
        report.newly_held += making.held;
        report.balance.links_created = linked.made + making.made;
        report.balance.records_deleted += deleted;
        report.balance.put_unlinked(linked.unlinked);
        report.newly_held += linked.held;

        let ended = self.clock.now();
        let mut transaction = self.checkpoint.begin().await?;
        // Told to stop or failed half-way, every link of the work is looked at again; it is cheap, and safe.
        let decided = if report.failure.is_some() { row.decided } else { newest };
        let complete = writes
            && !mood.behind.compares_only()
            && report.standing == Standing::Done
            && report.failure.is_none()
            && options.limit.is_none()
            && !self.stop.is_cancelled();
        transaction.note_pass(pair.id, decided, ended, &text_of(&report.balance), complete).await?;
        if mood.behind.compares_only() && report.failure.is_none() {
            transaction.set_behind(Behind::No, Some(pair.id)).await?;
        }
        transaction.commit().await?;
        pair.has_compared();
        self.say_completed(pair, &report, started, ended, calls);
        if matches!(report.failure, Some(Error::Stopped)) && self.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        Ok(report)
    }

    pub(super) async fn cannot_pass(&self, pair: &Pair) -> Result<Option<Standing>, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let mut standing = None;
        for source in [&pair.store, &pair.crm] {
            match transaction.source(source.side, &source.name).await? {
                Some(row) if row.paused && !crate::proof::has(Fault::PauseIgnored) => standing = Some(Standing::Paused),
                Some(row) if row.swept_at.is_some() && !source.must_sweep.load(Ordering::SeqCst) => {}
                _ => standing = standing.or(Some(Standing::Unread)),
            }
        }
        transaction.end().await?;
        Ok(standing)
    }

    async fn nothing_left(&self, transaction: &mut Transaction<'_>, pair: &Pair) -> Result<bool, Error> {
        let quarantine = pair.store.times.quarantine.max(pair.crm.times.quarantine);
        Ok(transaction.count_unsettled(pair.id).await? == 0
            && !transaction.has_creations_due(pair.id, self.clock.now() - quarantine).await?
            && !transaction.pair(pair.id).await?.behind.compares_only())
    }

    /// Whether a person has paused one of its sources meanwhile: waiting for a quota may take minutes.
    pub(super) async fn is_paused(&self, pair: &Pair) -> Result<bool, Error> {
        if crate::proof::has(Fault::PauseIgnored) {
            return Ok(false);
        }
        let mut transaction = self.checkpoint.read().await?;
        let paused = transaction.is_paused(pair.store.id).await? || transaction.is_paused(pair.crm.id).await?;
        transaction.end().await?;
        Ok(paused)
    }

    async fn newest_link(&self) -> Result<i64, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let newest = transaction.newest_link().await?;
        transaction.end().await?;
        Ok(newest)
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

    /// Does what the survey found to do, within the rails.
    async fn carry_out(
        &self,
        pair: &Pair,
        pass: i64,
        row: &PairRow,
        survey: Survey,
        scale: Scale,
        options: PassOptions,
    ) -> Result<PassReport, Error> {
        let Scale { past, base, approved, crossed, .. } = scale;
        let mut report = PassReport { balance: survey.balance, ..PassReport::default() };
        let mut trouble = None;
        let first_pass = row.first_pass_at.is_none();
        let mut push = Push::new(self, pair, pass, survey.mood, (past, base, first_pass));
        push.say_held(&survey.news);
        push.last = true;
        let writes = pair.mode == Mode::Sync;
        if crossed.is_empty() && writes {
            let limit = options.limit.unwrap_or(usize::MAX).min(survey.due.len());
            push.run_through(&survey.due[..limit]).await?;
            push.scope = Scope::Nothing;
            push.run(&survey.due[limit..]).await?;
        } else {
            // What a rail stopped stays; what a person let through goes, whatever else is due.
            let (free, kept): (Vec<_>, Vec<_>) =
                survey.ended.iter().cloned().partition(|(link, _)| writes && approved.contains(&link.id));
            let unlinked = self.unlink(pair, pass, &free, &approved).await?;
            report.balance.records_deleted = unlinked.ended;
            trouble = unlinked.failure;
            let kept: Vec<i64> = kept.iter().map(|(link, _)| link.id).collect();
            let mut transaction = self.checkpoint.begin().await?;
            transaction.unsettle_links(&kept, self.clock.now()).await?;
            transaction.commit().await?;
            push.scope = if writes { Scope::Approved } else { Scope::Nothing };
            push.run(&survey.due).await?;
        }
        report.failure = push.failure.take().or(trouble);
        report.newly_held = push.newly_held;
        let crossed = if crossed.is_empty() { std::mem::take(&mut push.crossed) } else { crossed };
        report.balance.add(&push.balance);
        if writes {
            self.note_rails(pair, pass, row, &crossed, &survey).await?;
        } else {
            say_would_write(pair, row, report.balance.pending);
        }
        if !crossed.is_empty() {
            report.standing = Standing::Stopped;
        }
        Ok(report)
    }

    pub(super) fn say_completed(
        &self,
        pair: &Pair,
        report: &PassReport,
        started: Timestamp,
        ended: Timestamp,
        calls: (u64, u64),
    ) {
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
            records_created: balance.records_created,
            records_deleted: balance.records_deleted,
            conflicts: balance.conflicts,
            put_back: balance.put_back,
            store_writes: balance.store_writes,
            crm_writes: balance.crm_writes,
            store_calls: pair.store.calls() - calls.0,
            crm_calls: pair.crm.calls() - calls.1,
            recheck_window_ms: balance.recheck_window_ms,
        };
        if report.newly_held > 0 { completed.emit_as_news() } else { completed.emit() }
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

fn text_of(balance: &Balance) -> String {
    serde_json::to_string(balance).unwrap_or_default()
}
