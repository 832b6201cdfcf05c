//! One round: permits first, then the targets are read again, decided once more, and recorded as attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Item, Push, Ready, index};
use crate::checkpoint::{LinkRow, NewAttempt, Settled};
use crate::connector::{Lane, Reservation};
use crate::engine::balance::Place;
use crate::engine::decide::{Decided, Due, Fate, Verdict};
use crate::engine::observe::Reading;
use crate::engine::rails::{count, uncount};
use crate::engine::{Counts, Error, Source};
use crate::merge;
use crate::model::{Cell, Class, Existence, Failure, Key, Observed, Side, Timestamp, Value, Write};
use crate::proof::Fault;

/// A write leaves at most this long after its target was read again.
const WINDOW_MAX: Duration = Duration::from_secs(2);

/// How often a single write is read again because it could not leave in time; then the next pass tries.
const RECHECKS_MAX: u32 = 3;

impl Push<'_> {
    /// One round, and the rounds that bisect what it had refused.
    pub(super) async fn flush(&mut self, side: Side) -> Result<(), Error> {
        let items = self.next_round(side);
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
        let calls = self.calls_of(side, &items) + 1;
        let reservation = tokio::select! {
            biased;
            () = self.engine.stop.cancelled() => Err(Failure::new(Class::Retry, "stopped while waiting for the quota")),
            reservation = source.connector.reserve(Lane::Fresh, calls) => reservation,
        };
        let reservation = match reservation {
            Ok(reservation) => reservation,
            Err(failure) => return Ok(self.give_up(source, side, items, failure)),
        };
        // Waiting for the quota may have taken minutes.
        if self.engine.is_paused(self.pair).await? {
            self.failure = Some(Error::Stopped);
            self.queues[index(side)].extend(items);
            return Ok(Vec::new());
        }
        let mut items = items;
        let mut tries = 0;
        let (ready, window_ms) = loop {
            let (shown, answered) = match self.recheck(source, side, &items, &*reservation).await {
                Ok(shown) => shown,
                Err(Error::Source { failure, side: failed, .. }) => {
                    let failed = self.pair.source(failed);
                    return Ok(self.give_up(failed, side, items, *failure));
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
        if crate::proof::has(Fault::NoRecheck) {
            return Ok((self.as_remembered(side, items, &links), self.engine.clock.now()));
        }
        let confirms = |item: &&Item| item.due.confirm && !crate::proof::has(Fault::OriginUnconfirmed);
        let confirm: Vec<&Item> = items.iter().filter(confirms).collect();
        if !confirm.is_empty() {
            let origin = self.pair.source(side.other());
            let keys = keys_of(confirm.iter().copied(), &links, side.other());
            let fields = self.fields_of(confirm.iter().copied(), side.other());
            self.engine.look(origin, &keys, &fields, Lane::Fresh).await?;
            if !origin.connector.limits().shows_nulls && confirm.iter().any(|item| item.due.intent.value.is_none()) {
                // Absent values of a record that is gone are no clears.
                self.engine.look(origin, &keys, &[], Lane::Fresh).await?;
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
            let reading = Reading { of_target: true, ..Reading::direct(source, started) };
            self.engine.record(source, &found, reading, false).await?;
            shown.extend(found.into_iter().map(|observed| (observed.key.clone(), observed)));
        }
        Ok((shown, answered.unwrap_or_else(|| self.engine.clock.now())))
    }

    /// What the targets were last seen to hold: a planted fault's recheck.
    fn as_remembered(&self, side: Side, items: &[Item], links: &BTreeMap<i64, LinkRow>) -> BTreeMap<Key, Observed> {
        let mut shown: BTreeMap<Key, Observed> = BTreeMap::new();
        for (item, link) in items.iter().filter_map(|item| Some((item, links.get(&item.link)?))) {
            let record = link.record(side);
            let (at, id) = self.pair.fields[item.field].on(side);
            let blank = vec![Cell::default(); self.pair.source(side).fields.len()];
            let observed = shown.entry(record.key.clone()).or_insert_with(|| Observed {
                key: record.key.clone(),
                existence: Existence::Present,
                modified: None,
                cells: blank,
            });
            observed.cells[at] = Cell { seen: record.seen.seen(id), ..Cell::default() };
        }
        shown
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
                let record = decided.link.record(side).id;
                Ready { item, record, write, attempt }
            })
            .collect();
        let mut early: BTreeMap<i64, Vec<_>> = BTreeMap::new();
        if crate::proof::has(Fault::AgreedBeforeAnswer) {
            for item in items {
                let mapped = self.pair.fields[item.field].mapped;
                early.entry(item.link).or_default().push((mapped, item.due.intent.value.clone()));
            }
        }
        self.put(&mut transaction, &outcomes, early).await?;
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
        let record = decided.link.record(side);
        let field = self.pair.fields.get(item.field)?;
        let expect = shown.get(&record.key)?.cells.get(field.on(side).0)?.clone();
        // What the recheck has shown and was not taken (it may be older than our own write) was not decided on either.
        if expect.seen != record.seen.seen(field.on(side).1) {
            return None;
        }
        let mut planned = Counts::default();
        count(due, self.first_pass, &mut planned);
        let late = crate::proof::has(Fault::RailAfterFirstWrite);
        let weighed = if late { self.past } else { planned };
        let past = if late { Counts::default() } else { self.past };
        let crossed = merge::crossed(&self.pair.rails, past, weighed, self.base.0, self.base.1);
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
        let record = decided.link.record(side);
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
            old: text(if crate::proof::has(Fault::HistoryWithoutOld) {
                write.value.as_ref()
            } else {
                write.expect.seen.value()
            }),
            new: text(write.value.as_ref()),
            canonical: serde_json::to_string(&item.due.intent.value).unwrap_or_default(),
            edited: item.due.edited.map(|at| self.pair.source(side).their_time(at)),
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
}

fn keys_of<'b>(items: impl Iterator<Item = &'b Item>, links: &BTreeMap<i64, LinkRow>, side: Side) -> Vec<Key> {
    let keys: BTreeSet<Key> =
        items.filter_map(|item| links.get(&item.link)).map(|link| link.record(side).key.clone()).collect();
    keys.into_iter().collect()
}
