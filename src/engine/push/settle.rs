//! Sending a round, and recording what became of every write in it: only what the answer shows is agreed on.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::{Item, Push, Ready, index};
use crate::checkpoint::{LinkRow, NewHeld, SeenCell, Settled};
use crate::connector::{Dating, Lane, Reservation, Unreserved};
use crate::engine::balance::Place;
use crate::engine::conclude::hold;
use crate::engine::decide::holds;
use crate::engine::rails::uncount;
use crate::engine::{Error, Source};
use crate::merge;
use crate::model::{
    Canonical, Cell, Class, Failure, FieldRule, HeldReason, Key, Observed, Outcome, Seen, Side, Timestamp, Why,
};
use crate::proof::Fault;
use crate::telemetry::metrics::{Measure, WriteOutcome};

/// How often writes that are known not to have happened are sent again in one pass.
const RESENDS_MAX: u32 = 3;

/// So many rounds of unknown outcome in a row end the pass.
const UNKNOWN_ROUNDS_MAX: u32 = 3;

/// What one round comes to, before it is recorded.
#[derive(Default)]
struct Settling {
    settled: Vec<Settled>,
    seen: Vec<(i64, i64, SeenCell)>,
    agreed: BTreeMap<i64, Vec<(i64, Option<Canonical>)>>,
    release: Vec<(i64, i64)>,
    /// What a person had put back: link, mapped field, what the target holds now as JSON.
    put_back: Vec<(i64, i64, String)>,
    hold: Vec<(i64, usize, HeldReason, Option<String>)>,
    /// What was sent where the target altered it.
    altered: BTreeMap<(i64, usize), Option<Canonical>>,
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

impl Push<'_> {
    /// Sends a round, a call for each batch, all at the same time; then settles it in one transaction.
    pub(super) async fn send(
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
                    Outcome::BatchRejected(_) if batch.len() > 1 && !crate::proof::has(Fault::BatchErrorOnAllRows) => {
                        group.push(ready);
                    }
                    other => outcomes.push((ready, other)),
                }
            }
            if !group.is_empty() {
                refused.push(group);
            }
        }
        let mut rest = Vec::new();
        for group in refused {
            rest.push(self.read_refused(source, side, group, &mut outcomes).await);
        }
        self.settle(source, side, sent, outcomes, &rest).await?;
        let mut groups = Vec::new();
        for group in rest {
            for ready in &group {
                uncount(&ready.item.due, self.first_pass, &mut self.past);
            }
            groups.push(group.into_iter().map(|ready| ready.item).collect());
        }
        Ok(groups)
    }

    /// A batch that was refused may have been written in part: what the targets show now tells which rows were. Answers
    /// those that were not; of the others the outcome is known, or unknown where they cannot be read.
    async fn read_refused(
        &self,
        source: &Source,
        side: Side,
        group: Vec<Ready>,
        outcomes: &mut Vec<(Ready, Outcome)>,
    ) -> Vec<Ready> {
        let keys: BTreeSet<Key> = group.iter().map(|ready| ready.write.key.clone()).collect();
        let fields: BTreeSet<usize> = group.iter().map(|ready| ready.write.field).collect();
        let (keys, fields): (Vec<Key>, Vec<usize>) = (keys.into_iter().collect(), fields.into_iter().collect());
        let mut shown: BTreeMap<Key, Observed> = BTreeMap::new();
        for chunk in keys.chunks(source.connector.limits().keys_per_fetch.max(1)) {
            source.call();
            match source.connector.fetch(chunk, &fields, &Unreserved(Lane::Resolve)).await {
                Ok(found) => shown.extend(found.into_iter().map(|observed| (observed.key.clone(), observed))),
                Err(failure) => {
                    let failure = failure.possibly_happened();
                    outcomes.extend(group.into_iter().map(|ready| (ready, Outcome::Unknown(failure.clone()))));
                    return Vec::new();
                }
            }
        }
        let mut rest = Vec::new();
        for ready in group {
            let cell = shown.get(&ready.write.key).and_then(|observed| observed.cells.get(ready.write.field));
            let rule = &self.pair.fields[ready.item.field].rule;
            match cell {
                Some(cell) if held_in(rule, side, cell).as_ref() == Ok(&ready.item.due.intent.value) => {
                    let stored = cell.clone();
                    outcomes.push((ready, Outcome::Written { stored }));
                }
                _ => rest.push(ready),
            }
        }
        rest
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
        let (mut again, mut unknown, mut unknowns) = (Vec::new(), None, 0_u64);
        for (ready, outcome) in outcomes {
            match outcome {
                Outcome::Unknown(_) if crate::proof::has(Fault::UnknownIsSuccess) => {
                    let seen = ready.write.value.clone().map_or(Seen::Absent, Seen::Value);
                    let stored = Cell { seen, ..Cell::default() };
                    self.written(side, sent, ready, stored, &mut settling);
                }
                Outcome::Unknown(_) if crate::proof::has(Fault::UnknownIsFailure) => {
                    settling.close(&ready, "refused", Place::Superseded);
                }
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
                    unknowns += 1;
                }
            }
        }
        let written = settling.settled.iter().filter(|settled| settled.outcome == "written").count() as u64;
        let refused = settling.settled.len() as u64 - written;
        let pair = self.pair.event();
        for (outcome, count) in
            [(WriteOutcome::Written, written), (WriteOutcome::Refused, refused), (WriteOutcome::Unknown, unknowns)]
        {
            Measure::Writes { pair, side, outcome, count }.note();
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
        let shown = held_in(&field.rule, side, &stored);
        let now = self.engine.clock.now();
        // Where only whole records are dated, the answer does not say when: after it was sent. What a lagging replica shows is
        // older than that.
        let target = self.pair.source(side);
        let at_least = (target.dating(field.on(side).1) != Dating::Itself).then(|| target.their_time(sent));
        let cell = SeenCell {
            value: stored.seen.value().cloned(),
            modified: stored.modified.max(ready.write.modified).max(at_least),
            edited: if crate::proof::has(Fault::OwnWriteIsEdit) {
                Some(target.their_time(now))
            } else {
                ready.item.due.edited.map(|at| target.their_time(at))
            },
            acknowledged: Some(now),
            ours: true,
        };
        settling.seen.push((ready.record, field.on(side).1, cell));
        settling.settled.push(Settled { id: ready.attempt, outcome: "written", open: false });
        if ready.item.due.intent.why == Why::Undone {
            // Nothing is agreed on: the sides may differ by a person's word. But a refusal that is put back is one.
            if merge::refuses_mail(&field.rule, intended.as_ref()) {
                settling.release.push((ready.item.link, field.mapped));
            } else {
                let now = serde_json::to_string(&stored.seen.value()).unwrap_or_default();
                settling.put_back.push((ready.item.link, field.mapped, now));
            }
            settling.outcomes.push((ready.item.link, ready.item.field, Place::Written));
        } else if shown.as_ref() == Ok(intended) {
            settling.agreed.entry(ready.item.link).or_default().push((field.mapped, intended.clone()));
            settling.release.push((ready.item.link, field.mapped));
            settling.outcomes.push((ready.item.link, ready.item.field, Place::Written));
        } else if crate::proof::has(Fault::AlterationIsEdit) {
            settling.outcomes.push((ready.item.link, ready.item.field, Place::Pending));
        } else {
            // What the target made of it is our doing, not an edit: whatever the source holds next is to replace it.
            if let Ok(shown) = shown {
                settling.agreed.entry(ready.item.link).or_default().push((field.mapped, shown));
            }
            settling.altered.insert((ready.item.link, ready.item.field), intended.clone());
            settling.hold.push((ready.item.link, ready.item.field, HeldReason::AlteredByTarget, None));
            settling.outcomes.push((ready.item.link, ready.item.field, Place::Held));
        }
        match side {
            Side::Store => self.balance.store_writes += 1,
            Side::Crm => self.balance.crm_writes += 1,
        }
        self.balance.put_back += u64::from(ready.item.due.intent.why == Why::PutBack);
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

    async fn record_settled(&mut self, side: Side, mut settling: Settling) -> Result<(), Error> {
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
        // Where the source has moved on while its value was under way, there is nothing to hold: the new value goes next.
        settling.hold.retain(|(link, field, ..)| {
            let sent = settling.altered.get(&(*link, *field));
            sent.zip(links.get(link))
                .zip(self.pair.fields.get(*field))
                .is_none_or(|((sent, row), field)| holds(row, field, side.other()) == *sent)
        });
        let held: Vec<NewHeld> = settling
            .hold
            .iter()
            .filter_map(|(link, field, reason, detail)| {
                Some(hold(links.get(link)?, self.pair.fields.get(*field)?, *reason, detail.clone()))
            })
            .collect();
        transaction.hold(self.pair.id, now, &held).await?;
        transaction.note_put_back(side, &settling.put_back).await?;
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
        self.engine.look(source, &settling.look.into_iter().collect::<Vec<_>>(), &every, Lane::Resolve).await?;
        self.engine.look(source, &settling.exist.into_iter().collect::<Vec<_>>(), &[], Lane::Resolve).await
    }
}

/// What a cell holds, as it is compared.
fn held_in(rule: &FieldRule, side: Side, cell: &Cell) -> Result<Option<Canonical>, merge::CannotBeTaken> {
    match &cell.seen {
        Seen::Value(value) => merge::canonical(rule, side, value),
        Seen::Absent => Ok(merge::nothing(rule)),
        Seen::Unseen => Ok(None),
    }
}
