//! Pushing what is due: recheck → intend → send → verify → settle, a round of batches at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures::future::join_all;

use super::balance::{Balance, Place};
use super::decide::{Decided, Due, Fate, Mood, Verdict};
use super::{Counts, Engine, Error, Pair, Source};
use crate::checkpoint::{LinkRow, LinkUpdate, NewAttempt, NewHeld, SeenCell, Settled, Transaction};
use crate::connector::{Lane, Reservation};
use crate::merge::{self, Taken};
use crate::model::{
    Canonical, Cell, Class, Failure, HeldReason, Key, Observed, Outcome, Seen, Side, Timestamp, Value, Why, Write,
};
use crate::telemetry::Event;

/// A write leaves at most this long after its target was read again.
const WINDOW_MAX: Duration = Duration::from_secs(2);

/// How often a single write is read again because it could not leave in time; then the next pass tries.
const RECHECKS_MAX: u32 = 3;

/// How often writes that are known not to have happened are sent again in one pass.
const RESENDS_MAX: u32 = 3;

/// So many rounds of unknown outcome in a row end the pass.
const UNKNOWN_ROUNDS_MAX: u32 = 3;

/// Links decided at a time.
const LINKS: usize = 200;

/// What a pass may still do, and what became of what it did.
pub(super) struct Push<'a> {
    engine: &'a Engine,
    pair: &'a Pair,
    pass: i64,
    mood: Mood,
    /// What the rails have counted of the last 24 hours, this pass included.
    past: Counts,
    base: (u64, u64),
    first_pass: bool,
    queues: [VecDeque<Item>; 2],
    open: BTreeMap<i64, Open>,
    resends: u32,
    unknown_rounds: u32,
    shown: u64,
    /// Fields that this pass found to wait for a person.
    pub newly_held: u64,
    /// What the fields came to.
    pub balance: Balance,
    /// Links with a field that changed under our hands: decided again in this pass.
    pub redo: Vec<i64>,
    /// Whether no further pass over them follows.
    pub last: bool,
    /// Nothing (more) is to be sent: what is due is left.
    pub hold_back: bool,
    /// The failure that ended the pushing.
    pub failure: Option<Error>,
    /// The rails that the rechecks have brought us to.
    pub crossed: Vec<merge::Crossed>,
}

/// One write that is due.
#[derive(Clone)]
struct Item {
    link: i64,
    field: usize,
    due: Due,
}

/// A link some of whose fields are still to be written.
struct Open {
    places: Vec<Option<Place>>,
    unsettled: Option<Timestamp>,
}

/// An item that passed its recheck.
struct Ready {
    item: Item,
    record: i64,
    write: Write,
    attempt: i64,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Store => 0,
        Side::Crm => 1,
    }
}

impl<'a> Push<'a> {
    pub fn new(
        engine: &'a Engine,
        pair: &'a Pair,
        pass: i64,
        mood: Mood,
        (past, base, first_pass): (Counts, (u64, u64), bool),
    ) -> Self {
        Self {
            engine,
            pair,
            pass,
            mood,
            past,
            base,
            first_pass,
            queues: [VecDeque::new(), VecDeque::new()],
            open: BTreeMap::new(),
            resends: 0,
            unknown_rounds: 0,
            shown: 0,
            newly_held: 0,
            balance: Balance::default(),
            redo: Vec::new(),
            last: false,
            hold_back: false,
            failure: None,
            crossed: Vec::new(),
        }
    }

    /// Pushes what is due on these links, and settles them. What cannot be pushed is left for the next pass.
    pub async fn run(&mut self, links: &[i64]) -> Result<(), Error> {
        for chunk in links.chunks(LINKS) {
            self.take(chunk).await?;
            for side in [Side::Store, Side::Crm] {
                while self.goes_on() && self.queues[index(side)].len() >= self.capacity(side) {
                    self.flush(side).await?;
                }
            }
            if !self.goes_on() {
                self.leave().await?;
            }
        }
        for side in [Side::Store, Side::Crm] {
            while self.goes_on() && !self.queues[index(side)].is_empty() {
                self.flush(side).await?;
            }
        }
        self.leave().await
    }

    /// What is still queued is left for the next pass.
    async fn leave(&mut self) -> Result<(), Error> {
        let failed = self.failure.as_ref().is_some_and(|failure| !matches!(failure, Error::Stopped));
        let place = if failed { Place::Failed } else { Place::Pending };
        let left: Vec<Item> = self.queues.iter_mut().flat_map(std::mem::take).collect();
        if left.is_empty() {
            return Ok(());
        }
        let outcomes: Vec<(i64, usize, Place)> = left.iter().map(|item| (item.link, item.field, place)).collect();
        let mut transaction = self.engine.checkpoint.begin().await?;
        self.put(&mut transaction, &outcomes, BTreeMap::new()).await?;
        transaction.commit().await?;
        Ok(())
    }

    fn goes_on(&self) -> bool {
        !self.hold_back && self.failure.is_none() && self.crossed.is_empty() && !self.engine.stop.is_cancelled()
    }

    fn capacity(&self, side: Side) -> usize {
        let limits = self.pair.source(side).connector.limits();
        (limits.batches_per_round * limits.writes_per_batch).max(1)
    }

    /// Decides links again, right before, and queues what is due.
    async fn take(&mut self, ids: &[i64]) -> Result<(), Error> {
        let mut transaction = self.engine.checkpoint.begin().await?;
        let links = transaction.links(ids).await?;
        let decided = self.engine.decide(&mut transaction, self.pair, links, self.mood).await?;
        let mut outcomes = Vec::new();
        for decided in &decided {
            let Fate::Fields(verdicts) = &decided.fate else {
                // It went while we were at it: the next pass deals with it.
                self.open_link(decided, self.pair.fields.len());
                outcomes.extend((0..self.pair.fields.len()).map(|field| (decided.link.id, field, Place::Superseded)));
                continue;
            };
            self.open_link(decided, verdicts.len());
            for (field, verdict) in verdicts.iter().enumerate() {
                match verdict {
                    Verdict::Write(due) => self.queues[index(due.intent.to)].push_back(Item {
                        link: decided.link.id,
                        field,
                        due: due.clone(),
                    }),
                    other => outcomes.push((decided.link.id, field, place_of(other))),
                }
            }
        }
        let news = self.engine.conclude(&mut transaction, self.pair, &decided).await?;
        self.say_held(&news);
        let agreed = agreed_of(self.pair, &decided);
        self.put(&mut transaction, &outcomes, agreed).await?;
        transaction.commit().await?;
        Ok(())
    }

    fn open_link(&mut self, decided: &Decided, fields: usize) {
        let open = Open { places: vec![None; fields], unsettled: decided.link.unsettled };
        self.open.insert(decided.link.id, open);
    }

    /// Puts fields in their places; a link all of whose fields have one is settled, or left for later.
    async fn put(
        &mut self,
        transaction: &mut Transaction<'_>,
        outcomes: &[(i64, usize, Place)],
        mut agreed: BTreeMap<i64, Vec<(i64, Option<Canonical>)>>,
    ) -> Result<(), Error> {
        let mut touched: BTreeSet<i64> = agreed.keys().copied().collect();
        for (link, field, place) in outcomes {
            if let Some(slot) = self.open.get_mut(link).and_then(|open| open.places.get_mut(*field)) {
                *slot = Some(*place);
            }
            touched.insert(*link);
        }
        if touched.is_empty() {
            return Ok(());
        }
        let touched: Vec<i64> = touched.into_iter().collect();
        let now = self.engine.clock.now();
        let mut updates = Vec::new();
        for link in transaction.links(&touched).await? {
            let news = agreed.remove(&link.id).unwrap_or_default();
            let Some(open) = self.open.get(&link.id) else {
                updates.push(settled_link(&link, news, link.unsettled, link.pending));
                continue;
            };
            let left = open.places.iter().filter(|place| place.is_none_or(Place::is_open)).count() as u64;
            let unsettled = (left > 0).then(|| open.unsettled.or(link.unsettled).unwrap_or(now));
            if open.places.iter().all(Option::is_some) {
                self.close(link.id);
            }
            updates.push(settled_link(&link, news, unsettled, left));
        }
        transaction.update_links(&updates).await?;
        Ok(())
    }

    /// Every field of the link has its place: they are counted, unless the link is decided once more.
    fn close(&mut self, link: i64) {
        let Some(open) = self.open.remove(&link) else { return };
        let again = open.places.contains(&Some(Place::Superseded)) && !self.last;
        if again {
            self.redo.push(link);
            return;
        }
        for place in open.places.into_iter().flatten() {
            self.balance.put(place);
        }
    }

    /// One round, and the rounds that bisect what it had refused.
    async fn flush(&mut self, side: Side) -> Result<(), Error> {
        let capacity = self.capacity(side).min(self.queues[index(side)].len());
        let items: Vec<Item> = self.queues[index(side)].drain(..capacity).collect();
        let source = self.pair.source(side);
        // The turn is held for a round, so that pairs on one CRM are served alike.
        let _turn = source.lane.lock().await;
        let mut groups = vec![items];
        while let Some(group) = groups.pop() {
            if !self.goes_on() {
                self.queues[index(side)].extend(group);
                continue;
            }
            for refused in self.round(source, side, group).await? {
                let middle = refused.len().div_ceil(2);
                let (one, other) = refused.split_at(middle);
                groups.extend([one, other].into_iter().filter(|half| !half.is_empty()).map(<[Item]>::to_vec));
            }
        }
        Ok(())
    }

    /// One round of batches. Answers the batches that were refused without saying which row.
    async fn round(&mut self, source: &Source, side: Side, items: Vec<Item>) -> Result<Vec<Vec<Item>>, Error> {
        if self.is_paused().await? {
            self.failure = Some(Error::Stopped);
            self.queues[index(side)].extend(items);
            return Ok(Vec::new());
        }
        let limits = source.connector.limits();
        let batches = items.len().div_ceil(limits.writes_per_batch.max(1)) + 1;
        let reservation = tokio::select! {
            biased;
            () = self.engine.stop.cancelled() => Err(Failure::new(Class::Retry, "stopped while waiting for the quota")),
            reservation = source.connector.reserve(Lane::Fresh, batches) => reservation,
        };
        let reservation = match reservation {
            Ok(reservation) => reservation,
            Err(failure) => return Ok(self.give_up(source, side, items, failure)),
        };
        let mut items = items;
        let mut tries = 0;
        let (ready, window_ms) = loop {
            let (shown, answered) = match self.recheck(source, side, &items, &*reservation).await {
                Ok(shown) => shown,
                Err(Error::Source { failure, side: failed, .. }) => {
                    let failed = self.pair.source(failed);
                    return Ok(self.give_up(failed, side, items, failure));
                }
                Err(other) => return Err(other),
            };
            if !self.is_late(answered) {
                let ready = self.intend(side, &items, &shown).await?;
                if ready.is_empty() {
                    return Ok(Vec::new());
                }
                if !self.is_late(answered) {
                    break (ready, self.engine.clock.now().millis_since(answered));
                }
                self.withdraw(&ready).await?;
            }
            // Fewer are read faster: the others follow in a round of their own.
            let rest = items.split_off(items.len().div_ceil(2));
            if rest.is_empty() {
                tries += 1;
            }
            rest.into_iter().rev().for_each(|item| self.queues[index(side)].push_front(item));
            if tries >= RECHECKS_MAX {
                let outcomes: Vec<_> = items.iter().map(|item| (item.link, item.field, Place::Pending)).collect();
                let mut transaction = self.engine.checkpoint.begin().await?;
                self.put(&mut transaction, &outcomes, BTreeMap::new()).await?;
                transaction.commit().await?;
                return Ok(Vec::new());
            }
        };
        let window_ms = u64::try_from(window_ms).unwrap_or(0);
        self.balance.recheck_window_ms = self.balance.recheck_window_ms.max(window_ms);
        self.send(source, side, ready, &*reservation).await
    }

    /// Whether what was read then is too old to write by.
    fn is_late(&self, answered: Timestamp) -> bool {
        self.engine.clock.now() > answered + WINDOW_MAX
    }

    async fn is_paused(&self) -> Result<bool, Error> {
        let mut transaction = self.engine.checkpoint.read().await?;
        let paused =
            transaction.is_paused(self.pair.store.id).await? || transaction.is_paused(self.pair.crm.id).await?;
        transaction.end().await?;
        Ok(paused)
    }

    fn give_up(&mut self, source: &Source, side: Side, items: Vec<Item>, failure: Failure) -> Vec<Vec<Item>> {
        self.failure = Some(if self.engine.stop.is_cancelled() { Error::Stopped } else { source.error(failure) });
        self.queues[index(side)].extend(items);
        Vec::new()
    }

    /// Reads the targets again, in bulk; and the origins of what overwrites a value that was never agreed on, or clears.
    /// Answers what the targets show, and when the first of them was shown (ours).
    async fn recheck(
        &self,
        source: &Source,
        side: Side,
        items: &[Item],
        reservation: &dyn Reservation,
    ) -> Result<(BTreeMap<Key, Observed>, Timestamp), Error> {
        let mut transaction = self.engine.checkpoint.read().await?;
        let ids: Vec<i64> = items.iter().map(|item| item.link).collect::<BTreeSet<_>>().into_iter().collect();
        let links: BTreeMap<i64, LinkRow> =
            transaction.links(&ids).await?.into_iter().map(|link| (link.id, link)).collect();
        transaction.end().await?;
        let confirm: Vec<&Item> = items.iter().filter(|item| item.due.confirm).collect();
        if !confirm.is_empty() {
            let origin = self.pair.source(side.other());
            let keys = keys_of(confirm.iter().copied(), &links, side.other());
            let fields = self.fields_of(confirm.iter().copied(), side.other());
            self.engine.look(origin, &keys, &fields).await?;
            if !origin.connector.limits().shows_nulls && confirm.iter().any(|item| item.due.intent.value.is_none()) {
                // Absent values of a record that is gone are no clears.
                self.engine.look(origin, &keys, &[]).await?;
            }
        }
        let keys = keys_of(items.iter(), &links, side);
        let fields = self.fields_of(items.iter(), side);
        let mut shown = BTreeMap::new();
        let mut answered = None;
        for chunk in keys.chunks(source.connector.limits().keys_per_fetch.max(1)) {
            let started = self.engine.clock.now();
            source.call();
            let found =
                source.connector.fetch(chunk, &fields, reservation).await.map_err(|failure| source.error(failure))?;
            answered.get_or_insert(self.engine.clock.now());
            let reading = super::observe::Reading { started, covered: None };
            self.engine.record(source, &found, reading, false).await?;
            shown.extend(found.into_iter().map(|observed| (observed.key.clone(), observed)));
        }
        Ok((shown, answered.unwrap_or_else(|| self.engine.clock.now())))
    }

    fn fields_of<'b>(&self, items: impl Iterator<Item = &'b Item>, side: Side) -> Vec<usize> {
        let fields: BTreeSet<usize> =
            items.filter_map(|item| self.pair.fields.get(item.field)).map(|field| field.on(side).0).collect();
        fields.into_iter().collect()
    }

    /// Decides the round once more by what the recheck has shown, and records what is about to leave.
    async fn intend(
        &mut self,
        side: Side,
        items: &[Item],
        shown: &BTreeMap<Key, Observed>,
    ) -> Result<Vec<Ready>, Error> {
        let mut transaction = self.engine.checkpoint.begin().await?;
        // Must come first: what is intended has to survive a power loss.
        transaction.begin_settling().await?;
        let ids: Vec<i64> = items.iter().map(|item| item.link).collect::<BTreeSet<_>>().into_iter().collect();
        let links = transaction.links(&ids).await?;
        let decided: BTreeMap<i64, Decided> = self
            .engine
            .decide(&mut transaction, self.pair, links, self.mood)
            .await?
            .into_iter()
            .map(|decided| (decided.link.id, decided))
            .collect();
        let mut outcomes = Vec::new();
        let mut leaving = Vec::new();
        for item in items {
            let Some(decided) = decided.get(&item.link) else {
                outcomes.push((item.link, item.field, Place::Superseded));
                continue;
            };
            match self.admit(side, item, decided, shown) {
                Some((write, due)) => leaving.push((Item { due, ..item.clone() }, decided, write)),
                None if !self.crossed.is_empty() => outcomes.push((item.link, item.field, Place::Pending)),
                None => outcomes.push((item.link, item.field, Place::Superseded)),
            }
        }
        let attempts: Vec<NewAttempt> =
            leaving.iter().map(|(item, decided, write)| self.attempt(side, item, decided, write)).collect();
        let now = self.engine.clock.now();
        let numbers = if attempts.is_empty() {
            Vec::new()
        } else {
            transaction.intend(self.pass, self.pair.id, side, now, &attempts).await?
        };
        let ready = leaving
            .into_iter()
            .zip(numbers)
            .map(|((item, decided, write), attempt)| {
                let record = if side == Side::Store { decided.link.store.id } else { decided.link.crm.id };
                Ready { item, record, write, attempt }
            })
            .collect();
        self.put(&mut transaction, &outcomes, BTreeMap::new()).await?;
        transaction.commit().await?;
        Ok(ready)
    }

    /// Whether an item may leave, by what the recheck has shown and by what the rails leave.
    fn admit(
        &mut self,
        side: Side,
        item: &Item,
        decided: &Decided,
        shown: &BTreeMap<Key, Observed>,
    ) -> Option<(Write, Due)> {
        let Fate::Fields(verdicts) = &decided.fate else { return None };
        let Some(Verdict::Write(due)) = verdicts.get(item.field) else { return None };
        // What has to be confirmed was confirmed only if it was known before the recheck.
        if due.intent.to != side || (due.confirm && !item.due.confirm) {
            return None;
        }
        let record = if side == Side::Store { &decided.link.store } else { &decided.link.crm };
        let field = self.pair.fields.get(item.field)?;
        let expect = shown.get(&record.key)?.cells.get(field.on(side).0)?.clone();
        if expect.seen.is_unseen() {
            return None;
        }
        let mut planned = Counts::default();
        count(due, self.first_pass, &mut planned);
        let crossed = merge::crossed(&self.pair.rails, self.past, planned, self.base.0, self.base.1);
        if !crossed.is_empty() {
            self.crossed = crossed;
            return None;
        }
        count(due, self.first_pass, &mut self.past);
        let known = record.seen.get(field.on(side).1).and_then(|cell| cell.modified);
        let write = Write {
            key: record.key.clone(),
            field: field.on(side).0,
            expect,
            value: due.intent.encoded.clone(),
            modified: known,
        };
        Some((write, due.clone()))
    }

    fn attempt(&self, side: Side, item: &Item, decided: &Decided, write: &Write) -> NewAttempt {
        let field = &self.pair.fields[item.field];
        let record = if side == Side::Store { &decided.link.store } else { &decided.link.crm };
        let text = |value: Option<&Value>| serde_json::to_string(&value).unwrap_or_default();
        let mut counts = Counts::default();
        count(&item.due, self.first_pass, &mut counts);
        NewAttempt {
            link: item.link,
            mapped: field.mapped,
            record: record.id,
            field: field.on(side).1,
            store_key: decided.link.store.key.clone(),
            crm_key: decided.link.crm.key.clone(),
            name: field.rule.store.clone(),
            old: text(write.expect.seen.value()),
            new: text(write.value.as_ref()),
            canonical: serde_json::to_string(&item.due.intent.value).unwrap_or_default(),
            edited: item.due.edited,
            reason: item.due.intent.why.as_str(),
            counted: if counts.clears > 0 {
                Some("clears")
            } else if counts.writes > 0 {
                Some("writes")
            } else {
                None
            },
            returned: item.due.returned.map(Side::as_str),
        }
    }

    /// Takes back attempts that did not leave.
    async fn withdraw(&mut self, ready: &[Ready]) -> Result<(), Error> {
        let settled: Vec<Settled> =
            ready.iter().map(|ready| Settled { id: ready.attempt, outcome: "refused", open: false }).collect();
        for ready in ready {
            uncount(&ready.item.due, self.first_pass, &mut self.past);
        }
        let mut transaction = self.engine.checkpoint.begin().await?;
        transaction.begin_settling().await?;
        transaction.settle(&settled).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Sends a round, a call for each batch, all at the same time; then settles it in one transaction.
    async fn send(
        &mut self,
        source: &Source,
        side: Side,
        ready: Vec<Ready>,
        reservation: &dyn Reservation,
    ) -> Result<Vec<Vec<Item>>, Error> {
        let batches = source.connector.batches(ready.iter().map(|ready| ready.write.clone()).collect());
        let mut by_cell: BTreeMap<(Key, usize), Ready> =
            ready.into_iter().map(|ready| ((ready.write.key.clone(), ready.write.field), ready)).collect();
        let sending = batches.iter().map(|batch| {
            source.call();
            source.connector.write(batch, reservation)
        });
        let sent = self.engine.clock.now();
        let answers = join_all(sending).await;
        let mut outcomes = Vec::new();
        let mut refused = Vec::new();
        for (batch, answers) in batches.iter().zip(answers) {
            let mut group = Vec::new();
            let mut answers = answers.into_iter();
            for write in batch {
                let Some(ready) = by_cell.remove(&(write.key.clone(), write.field)) else { continue };
                let missing = || {
                    let what = "the connector answered fewer outcomes than writes";
                    Outcome::Unknown(Failure::new(Class::Broken, what).possibly_happened())
                };
                let outcome = answers.next().unwrap_or_else(missing);
                match outcome {
                    Outcome::BatchRejected(_) if batch.len() > 1 => group.push(ready),
                    other => outcomes.push((ready, other)),
                }
            }
            if !group.is_empty() {
                refused.push(group);
            }
        }
        self.settle(source, side, sent, outcomes, &refused).await?;
        let mut groups = Vec::new();
        for group in refused {
            // Some of it may have been written: the next recheck finds that, before anything is sent again.
            for ready in &group {
                uncount(&ready.item.due, self.first_pass, &mut self.past);
            }
            groups.push(group.into_iter().map(|ready| ready.item).collect());
        }
        Ok(groups)
    }

    async fn settle(
        &mut self,
        source: &Source,
        side: Side,
        sent: Timestamp,
        outcomes: Vec<(Ready, Outcome)>,
        refused: &[Vec<Ready>],
    ) -> Result<(), Error> {
        let mut settling = Settling::default();
        for ready in refused.iter().flatten() {
            settling.settled.push(Settled { id: ready.attempt, outcome: "refused", open: false });
        }
        let (mut again, mut unknown) = (Vec::new(), None);
        for (ready, outcome) in outcomes {
            match outcome {
                Outcome::Written { stored } => self.written(side, sent, ready, stored, &mut settling),
                Outcome::Changed => {
                    settling.close(&ready, "refused", Place::Superseded);
                    settling.look.insert(ready.write.key.clone());
                    uncount(&ready.item.due, self.first_pass, &mut self.past);
                }
                Outcome::Gone => {
                    settling.close(&ready, "refused", Place::Superseded);
                    settling.exist.insert(ready.write.key.clone());
                    uncount(&ready.item.due, self.first_pass, &mut self.past);
                }
                Outcome::Rejected(why) => self.rejected(ready, why, &mut settling),
                Outcome::BatchRejected(failure) => {
                    self.rejected(ready, failure.message.clone(), &mut settling);
                }
                Outcome::NotSent(failure) => {
                    uncount(&ready.item.due, self.first_pass, &mut self.past);
                    settling.settled.push(Settled { id: ready.attempt, outcome: "refused", open: false });
                    again.push((ready.item, failure));
                }
                Outcome::Unknown(failure) => {
                    settling.outcomes.push((ready.item.link, ready.item.field, Place::Pending));
                    unknown = Some(failure);
                }
            }
        }
        self.unknown_rounds = if unknown.is_some() { self.unknown_rounds + 1 } else { 0 };
        if let Some(failure) = unknown.filter(|_| self.unknown_rounds >= UNKNOWN_ROUNDS_MAX) {
            self.failure = Some(source.error(failure));
        }
        self.send_again(source, side, again);
        self.record_settled(side, settling).await
    }

    /// Writes that are known not to have happened go to the end of the queue, a few times.
    fn send_again(&mut self, source: &Source, side: Side, again: Vec<(Item, Failure)>) {
        let Some((_, failure)) = again.first() else { return };
        if failure.class != Class::Retry || self.resends >= RESENDS_MAX {
            self.failure = Some(source.error(failure.clone()));
        }
        self.resends += 1;
        self.queues[index(side)].extend(again.into_iter().map(|(item, _)| item));
    }

    fn written(&mut self, side: Side, sent: Timestamp, ready: Ready, stored: Cell, settling: &mut Settling) {
        let field = &self.pair.fields[ready.item.field];
        let intended = &ready.item.due.intent.value;
        let shown = match &stored.seen {
            Seen::Value(value) => merge::canonical(&field.rule, side, value),
            Seen::Absent | Seen::Unseen => Ok(None),
        };
        let now = self.engine.clock.now();
        let offset_ms = self.pair.source(side).offset_ms();
        // Where only whole records are dated, the answer does not say when: not before it was sent, in whole seconds. What
        // a lagging replica shows is older than that.
        let dated = || Timestamp::from_millis((sent.as_millis() + offset_ms).div_euclid(1000) * 1000);
        let at_least = (!self.pair.source(side).dates_fields).then(dated);
        let cell = SeenCell {
            value: stored.seen.value().cloned(),
            modified: stored.modified.max(ready.write.modified).max(at_least),
            edited: ready.item.due.edited.map(|at| Timestamp::from_millis(at.as_millis() + offset_ms)),
            acknowledged: Some(now),
            ours: true,
        };
        settling.seen.push((ready.record, field.on(side).1, cell));
        settling.settled.push(Settled { id: ready.attempt, outcome: "written", open: false });
        if shown.as_ref() == Ok(intended) {
            settling.agreed.entry(ready.item.link).or_default().push((field.mapped, intended.clone()));
            settling.release.push((ready.item.link, field.mapped));
            settling.outcomes.push((ready.item.link, ready.item.field, Place::Written));
        } else {
            // What the target made of it is our doing, not an edit: whatever the source holds next is to replace it.
            if let Ok(shown) = shown {
                settling.agreed.entry(ready.item.link).or_default().push((field.mapped, shown));
            }
            settling.hold.push((ready.item.link, ready.item.field, HeldReason::AlteredByTarget, None));
            settling.outcomes.push((ready.item.link, ready.item.field, Place::Held));
        }
        match side {
            Side::Store => self.balance.store_writes += 1,
            Side::Crm => self.balance.crm_writes += 1,
        }
        if ready.item.due.intent.why == Why::Conflict {
            self.balance.conflicts += 1;
            settling.conflicts.push((ready.item.link, ready.item.field, side.other()));
        }
    }

    fn rejected(&mut self, ready: Ready, why: String, settling: &mut Settling) {
        uncount(&ready.item.due, self.first_pass, &mut self.past);
        settling.settled.push(Settled { id: ready.attempt, outcome: "refused", open: false });
        settling.hold.push((ready.item.link, ready.item.field, HeldReason::Rejected, Some(why)));
        settling.outcomes.push((ready.item.link, ready.item.field, Place::Held));
        // A record that is gone refuses everything: then this is no matter of the value.
        settling.exist.insert(ready.write.key.clone());
    }

    async fn record_settled(&mut self, side: Side, settling: Settling) -> Result<(), Error> {
        let now = self.engine.clock.now();
        let mut transaction = self.engine.checkpoint.begin().await?;
        transaction.begin_settling().await?;
        transaction.settle(&settling.settled).await?;
        let records: Vec<i64> =
            settling.seen.iter().map(|(record, _, _)| *record).collect::<BTreeSet<_>>().into_iter().collect();
        let mut rows = transaction.records_by_id(&records).await?;
        for (record, field, cell) in settling.seen {
            if let Some(row) = rows.iter_mut().find(|row| row.id == record) {
                row.seen.set(field, cell);
            }
        }
        if !rows.is_empty() {
            let change = transaction.next_change().await?;
            let seen: Vec<_> = rows.iter().map(|row| (row.id, &row.seen)).collect();
            transaction.save_seen(change, &seen).await?;
        }
        let ids: Vec<i64> = settling
            .hold
            .iter()
            .map(|(link, ..)| *link)
            .chain(settling.conflicts.iter().map(|(link, ..)| *link))
            .collect();
        let links: BTreeMap<i64, LinkRow> =
            transaction.links(&ids).await?.into_iter().map(|link| (link.id, link)).collect();
        let held: Vec<NewHeld> = settling
            .hold
            .iter()
            .filter_map(|(link, field, reason, detail)| {
                Some(hold(links.get(link)?, self.pair.fields.get(*field)?, *reason, detail.clone()))
            })
            .collect();
        transaction.hold(self.pair.id, now, &held).await?;
        transaction.release_fields(&settling.release).await?;
        self.put(&mut transaction, &settling.outcomes, settling.agreed).await?;
        transaction.commit().await?;
        for (link, field, reason, detail) in &settling.hold {
            if let (Some(link), Some(field)) = (links.get(link), self.pair.fields.get(*field)) {
                self.say_held(&[(
                    link.store.key.clone(),
                    link.crm.key.clone(),
                    field.rule.store.clone(),
                    *reason,
                    detail.clone(),
                )]);
            }
        }
        for (link, field, winner) in &settling.conflicts {
            if let (Some(link), Some(field)) = (links.get(link), self.pair.fields.get(*field)) {
                self.say_conflict(link, field, *winner);
            }
        }
        let source = self.pair.source(side);
        let every: Vec<usize> = self.pair.fields.iter().map(|field| field.on(side).0).collect();
        self.engine.look(source, &settling.look.into_iter().collect::<Vec<_>>(), &every).await?;
        self.engine.look(source, &settling.exist.into_iter().collect::<Vec<_>>(), &[]).await
    }

    pub fn say_held(&mut self, held: &[(Key, Key, String, HeldReason, Option<String>)]) {
        for (store_key, crm_key, field, reason, detail) in held {
            Event::FieldHeld {
                pair: self.pair.event(),
                pass: u64::try_from(self.pass).unwrap_or(0),
                store_key: store_key.as_str(),
                crm_key: crm_key.as_str(),
                field,
                reason: *reason,
                detail: detail.as_deref(),
            }
            .emit_at(self.shown >= Event::RECORDS_PER_PASS);
            self.shown += 1;
            self.newly_held += 1;
        }
    }

    fn say_conflict(&mut self, link: &LinkRow, field: &super::PairField, winner: Side) {
        let policy = match field.rule.conflict {
            crate::model::Conflict::Newest => "newest",
            crate::model::Conflict::Store => "store",
            crate::model::Conflict::Crm => "crm",
            crate::model::Conflict::Hold => "hold",
        };
        Event::ConflictResolved {
            pair: self.pair.event(),
            pass: u64::try_from(self.pass).unwrap_or(0),
            store_key: link.store.key.as_str(),
            crm_key: link.crm.key.as_str(),
            field: &field.rule.store,
            winner,
            policy,
        }
        .emit_at(self.shown >= Event::RECORDS_PER_PASS);
        self.shown += 1;
    }
}

/// What one round comes to, before it is recorded.
#[derive(Default)]
struct Settling {
    settled: Vec<Settled>,
    seen: Vec<(i64, i64, SeenCell)>,
    agreed: BTreeMap<i64, Vec<(i64, Option<Canonical>)>>,
    release: Vec<(i64, i64)>,
    hold: Vec<(i64, usize, HeldReason, Option<String>)>,
    conflicts: Vec<(i64, usize, Side)>,
    outcomes: Vec<(i64, usize, Place)>,
    /// Records to read again: their fields, and whether they are there.
    look: BTreeSet<Key>,
    exist: BTreeSet<Key>,
}

impl Settling {
    fn close(&mut self, ready: &Ready, outcome: &'static str, place: Place) {
        self.settled.push(Settled { id: ready.attempt, outcome, open: false });
        self.outcomes.push((ready.item.link, ready.item.field, place));
    }
}

fn keys_of<'b>(items: impl Iterator<Item = &'b Item>, links: &BTreeMap<i64, LinkRow>, side: Side) -> Vec<Key> {
    let keys: BTreeSet<Key> = items
        .filter_map(|item| links.get(&item.link))
        .map(|link| if side == Side::Store { link.store.key.clone() } else { link.crm.key.clone() })
        .collect();
    keys.into_iter().collect()
}

/// How the rails count a write that is due.
pub(super) fn count(due: &Due, first_pass: bool, counts: &mut Counts) {
    match due.intent.taken {
        _ if due.approved => {}
        Taken::Free => {}
        Taken::Fill if first_pass => {}
        Taken::Write | Taken::Fill => counts.writes += 1,
        Taken::Clear => counts.clears += 1,
    }
}

fn uncount(due: &Due, first_pass: bool, counts: &mut Counts) {
    let mut one = Counts::default();
    count(due, first_pass, &mut one);
    counts.writes = counts.writes.saturating_sub(one.writes);
    counts.clears = counts.clears.saturating_sub(one.clears);
}

/// Where a field ends up whose verdict needs no write.
pub(super) const fn place_of(verdict: &Verdict) -> Place {
    match verdict {
        Verdict::Unchanged => Place::Unchanged,
        Verdict::Agree(_) => Place::Agreed,
        Verdict::Hold(_) => Place::Held,
        Verdict::Kept => Place::Kept,
        Verdict::Write(_) | Verdict::Pending | Verdict::Unseen(_) => Place::Pending,
    }
}

/// What is agreed on without a write, by link.
pub(super) fn agreed_of(pair: &Pair, decided: &[Decided]) -> BTreeMap<i64, Vec<(i64, Option<Canonical>)>> {
    let mut agreed: BTreeMap<i64, Vec<(i64, Option<Canonical>)>> = BTreeMap::new();
    for decided in decided {
        let Fate::Fields(verdicts) = &decided.fate else { continue };
        for (field, verdict) in pair.fields.iter().zip(verdicts) {
            if let Verdict::Agree(value) = verdict {
                agreed.entry(decided.link.id).or_default().push((field.mapped, value.clone()));
            }
        }
    }
    agreed
}

/// A link with what is newly agreed on it.
pub(super) fn settled_link(
    link: &LinkRow,
    news: Vec<(i64, Option<Canonical>)>,
    unsettled: Option<Timestamp>,
    pending: u64,
) -> LinkUpdate {
    let mut agreed = link.agreed.clone();
    agreed.extend(news);
    LinkUpdate { id: link.id, agreed, unsettled, pending }
}

/// A field to hold, with what both sides hold in it.
pub(super) fn hold(link: &LinkRow, field: &super::PairField, reason: HeldReason, detail: Option<String>) -> NewHeld {
    let text = |value: Option<&Value>| serde_json::to_string(&value).unwrap_or_default();
    NewHeld {
        link: Some(link.id),
        mapped: Some(field.mapped),
        record: None,
        reason,
        store_value: text(link.store.seen.value(field.store.1)),
        crm_value: text(link.crm.seen.value(field.crm.1)),
        detail,
    }
}
