//! Pushing what is due: recheck → intend → send → verify → settle, a round of batches at a time.
//!
//! Here is the queue: which links are decided again, which writes wait, where each field ends up. `round` takes what waits
//! up to the moment at which it leaves; `settle` sends it and records what became of it.

mod round;
mod settle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::balance::{Balance, Place};
use super::conclude::{News, agreed_of, place_of, settled_link};
use super::decide::{Decided, Due, Fate, Mood, Verdict};
use super::{Counts, Engine, Error, Pair, PairField};
use crate::checkpoint::{LinkRow, Transaction};
use crate::connector::{Destination, PerCall};
use crate::merge;
use crate::model::{Canonical, Conflict, Side, Timestamp, Why, Write};
use crate::telemetry::Event;

/// How often a pass decides again what changed under its hands.
const AGAIN_MAX: u32 = 3;

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
    /// What may be sent.
    pub scope: Scope,
    /// The failure that ended the pushing.
    pub failure: Option<Error>,
    /// The rails that the rechecks have brought us to.
    pub crossed: Vec<merge::Crossed>,
}

/// What of that which is due may be sent; the rest is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Everything,
    /// What a rail stopped and a person let through, and what a person undoes.
    Approved,
    /// What a person undoes.
    Undone,
    Nothing,
}

impl Scope {
    fn takes(self, due: &Due) -> bool {
        let undoes = due.intent.why == Why::Undone;
        match self {
            Self::Everything | Self::Nothing => true,
            Self::Approved => due.approved || undoes,
            Self::Undone => undoes,
        }
    }
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

/// What goes to one destination in one round.
#[derive(Default)]
struct Load {
    writes: usize,
    links: BTreeSet<i64>,
}

impl Load {
    /// Whether so many calls take this item too; then it is in.
    fn takes(&mut self, item: &Item, per_call: PerCall, calls: usize) -> bool {
        let fits = match per_call {
            PerCall::Writes(writes) => self.writes < writes.max(1).saturating_mul(calls),
            PerCall::Records(records) => {
                self.links.contains(&item.link) || self.links.len() < records.max(1).saturating_mul(calls)
            }
        };
        if fits {
            self.writes += 1;
            self.links.insert(item.link);
        }
        fits
    }

    fn calls(&self, per_call: PerCall) -> usize {
        match per_call {
            PerCall::Writes(writes) => self.writes.div_ceil(writes.max(1)),
            PerCall::Records(records) => self.links.len().div_ceil(records.max(1)),
        }
    }
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
            scope: Scope::Everything,
            failure: None,
            crossed: Vec::new(),
        }
    }

    /// Pushes what is due on these links, and decides again in this pass what changed under its hands.
    pub async fn run_through(&mut self, links: &[i64]) -> Result<(), Error> {
        self.last = false;
        self.run(links).await?;
        for again in 0..AGAIN_MAX {
            let redo = std::mem::take(&mut self.redo);
            if redo.is_empty() {
                break;
            }
            self.last = again + 1 == AGAIN_MAX;
            self.run(&redo).await?;
        }
        self.last = true;
        Ok(())
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
        self.scope != Scope::Nothing
            && self.failure.is_none()
            && self.crossed.is_empty()
            && !self.engine.stop.is_cancelled()
    }

    fn destination(&self, side: Side, field: usize) -> Destination {
        let at = self.pair.fields.get(field).map_or(0, |field| field.on(side).0);
        self.pair.source(side).connector.destination(at)
    }

    /// How many waiting items are sure to fill a round, whatever their destinations.
    fn capacity(&self, side: Side) -> usize {
        let batches = self.pair.source(side).connector.limits().batches_per_round;
        let written = |field: &usize| self.pair.fields[*field].writes_only() != Some(side.other());
        let mut fields: BTreeMap<Destination, usize> = BTreeMap::new();
        for field in (0..self.pair.fields.len()).filter(written) {
            *fields.entry(self.destination(side, field)).or_default() += 1;
        }
        let items = fields.into_iter().map(|(destination, fields)| match destination.per_call {
            PerCall::Writes(writes) => batches * writes,
            PerCall::Records(records) => batches * records * fields,
        });
        items.sum::<usize>().max(1)
    }

    /// Takes from the queue what makes a round: of every destination as much as leaves at the same time.
    fn next_round(&mut self, side: Side) -> Vec<Item> {
        let batches = self.pair.source(side).connector.limits().batches_per_round.max(1);
        let mut loads: BTreeMap<Destination, Load> = BTreeMap::new();
        let (mut items, mut rest) = (Vec::new(), VecDeque::new());
        for item in std::mem::take(&mut self.queues[index(side)]) {
            let destination = self.destination(side, item.field);
            if loads.entry(destination).or_default().takes(&item, destination.per_call, batches) {
                items.push(item);
            } else {
                rest.push_back(item);
            }
        }
        self.queues[index(side)] = rest;
        items
    }

    /// The most calls that these items are packed into.
    fn calls_of(&self, side: Side, items: &[Item]) -> usize {
        let mut loads: BTreeMap<Destination, Load> = BTreeMap::new();
        for item in items {
            let destination = self.destination(side, item.field);
            loads.entry(destination).or_default().takes(item, destination.per_call, usize::MAX);
        }
        loads.iter().map(|(destination, load)| load.calls(destination.per_call)).sum()
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
                    Verdict::Write(due) if !self.scope.takes(due) => {
                        outcomes.push((decided.link.id, field, Place::Pending));
                    }
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
    pub fn say_held(&mut self, held: &[News]) {
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

    fn say_conflict(&mut self, link: &LinkRow, field: &PairField, winner: Side) {
        let policy = match field.rule.conflict {
            Conflict::Newest => "newest",
            Conflict::Store => "store",
            Conflict::Crm => "crm",
            Conflict::Hold => "hold",
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
