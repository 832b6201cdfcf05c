//! What a pass would write: the same decisions as the pass itself, in one consistent picture of the checkpoint, written
//! nowhere.

use super::create::alone;
use super::create::{Contents, contents, lacking};
use super::decide::{Decided, Fate, Mood, Verdict};
use super::rails::count;
use super::{CHUNK, Counts, Engine, Error, Pair};
use crate::checkpoint::{HeldFilter, LinkRow, RecordRow, Transaction};
use crate::connector::Lifecycle;
use crate::merge::{self, Crossed};
use crate::model::{HeldReason, Side, Value, Why};

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanLine {
    /// The customer.
    pub store_key: Option<String>,
    /// The contact.
    pub crm_key: Option<String>,
    /// The field, by its store name; none for a record.
    pub field: Option<String>,
    /// What the store holds.
    pub store_value: Option<Value>,
    /// What the CRM holds.
    pub crm_value: Option<Value>,
    /// What is to be done about it.
    pub what: Planned,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planned {
    /// Write this (none: clear) to this side.
    Write {
        /// The side written.
        side: Side,
        /// What it holds now.
        old: Option<Value>,
        /// What it will hold.
        new: Option<Value>,
        /// Why.
        why: Why,
    },
    /// It waits for a person.
    Hold(HeldReason),
}

/// Takes the lines of a plan as they are found.
pub trait PlanSink: Send {
    /// One more line.
    fn line(&mut self, line: PlanLine);
}

impl<F: FnMut(PlanLine) + Send> PlanSink for F {
    fn line(&mut self, line: PlanLine) {
        self(line);
    }
}

/// What the plan costs one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cost {
    /// Calls that read again right before writing.
    pub reads: u64,
    /// Calls that write.
    pub writes: u64,
}

/// What a plan comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanTotals {
    /// Values written to the store.
    pub store_writes: u64,
    /// Values written to the CRM.
    pub crm_writes: u64,
    /// Of all these, clears.
    pub clears: u64,
    /// Of all these, conflicts that a policy decides.
    pub conflicts: u64,
    /// Fields and records that wait for a person.
    pub held: u64,
    /// Fields that are not decided yet: under way, or waiting for a second look.
    pub pending: u64,
    /// Customers that would be made; their values are not counted among the writes.
    pub store_creates: u64,
    /// Contacts that would be made.
    pub crm_creates: u64,
    /// Links that would be made between records that are there.
    pub links: u64,
    /// Links that would end because a record is gone.
    pub unlinked: u64,
    /// Calls to the store.
    pub store_cost: Cost,
    /// Calls to the CRM.
    pub crm_cost: Cost,
    /// How long the calls take at least, by the quotas as they were last told.
    pub seconds: f64,
    /// The rails that would stop it.
    pub crossed: Vec<Crossed>,
    /// Sum of the digests of all writes: see [`PlanTotals::digest`].
    sum: u128,
}

impl PlanTotals {
    /// What names this very plan, whatever the order in which it was found. Several pairs: the sum over all of them.
    pub fn digest<'a>(totals: impl IntoIterator<Item = &'a Self>) -> String {
        let sum = totals.into_iter().fold(0_u128, |sum, total| sum.wrapping_add(total.sum));
        format!("{sum:032x}")
    }

    /// Values written to both sides, and records made.
    pub const fn writes(&self) -> u64 {
        self.store_writes + self.crm_writes + self.store_creates + self.crm_creates
    }
}

impl Engine {
    /// Plans a pass of a pair by what is known now. Links that do not exist yet are planned as if they did.
    ///
    /// # Errors
    /// When the checkpoint fails, or we are told to stop.
    pub async fn plan(&self, pair: &Pair, sink: &mut dyn PlanSink) -> Result<PlanTotals, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let row = transaction.pair(pair.id).await?;
        transaction.end().await?;
        self.find_partners(pair, row.decided).await?;
        let mut transaction = self.checkpoint.read().await?;
        let mood = Mood { behind: row.behind, ..Mood::default() };
        let first_pass = row.first_pass_at.is_none();
        let mut planning = Planning { totals: PlanTotals::default(), planned: Counts::default(), first_pass };
        let since = if mood.behind.compares_only() { 0 } else { row.decided };
        transaction.gather_work(pair.id, pair.store.id, pair.crm.id, since).await?;
        let mut after = 0;
        loop {
            self.going_on()?;
            let ids = transaction.work(pair.id, after, CHUNK).await?;
            let Some(last) = ids.last() else { break };
            after = *last;
            let links = transaction.links(&ids).await?;
            let decided = self.decide(&mut transaction, pair, links, mood).await?;
            decided.iter().for_each(|decided| planning.take(pair, decided, sink));
        }
        let searched = self.plan_links(&mut transaction, pair, row.decided, mood, &mut planning, sink).await?;
        if !mood.behind.compares_only() {
            self.plan_partners(&mut transaction, pair, row.decided, &mut planning, sink).await?;
        }
        self.plan_held(&mut transaction, pair, searched, &mut planning, sink).await?;
        let links = transaction.count_links(pair.id).await? + planning.totals.links;
        let past = self.past(&mut transaction, pair).await?;
        transaction.end().await?;
        let planned = Counts { deletes: planning.totals.unlinked, ..planning.planned };
        let mut totals = planning.totals;
        totals.crossed = merge::crossed(&pair.rails, past, planned, links * pair.fields.len() as u64, links);
        totals.store_cost = cost(pair, Side::Store, totals.store_writes, totals.store_creates);
        totals.crm_cost = cost(pair, Side::Crm, totals.crm_writes, totals.crm_creates);
        totals.seconds = seconds(pair, Side::Store, totals.store_cost) + seconds(pair, Side::Crm, totals.crm_cost);
        Ok(totals)
    }

    /// The links that would be made, and what would be written on them. Whether there was any record to search for.
    async fn plan_links(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        since: i64,
        mood: Mood,
        planning: &mut Planning,
        sink: &mut dyn PlanSink,
    ) -> Result<bool, Error> {
        let searched = self.gather(transaction, pair, since).await? > 0;
        let dropped = transaction.dropped_records(pair.id).await?;
        let mut after = 0;
        // Records in groups that reach over chunks are met once in each: they are one candidate all the same.
        let mut met = std::collections::BTreeSet::new();
        loop {
            self.going_on()?;
            let customers = transaction.candidates(pair.id, after, CHUNK).await?;
            let Some(last) = customers.last() else { return Ok(searched) };
            after = last.id;
            let found = super::link::search(transaction, pair, customers).await?;
            planning.totals.links += found.unique.len() as u64;
            let links = found.unique.into_iter().map(|(store, crm, _)| proposed(store, crm)).collect();
            let decided = self.decide(transaction, pair, links, mood).await?;
            decided.iter().for_each(|decided| planning.take(pair, decided, sink));
            for held in found.ambiguous {
                // A person let go of it, and nothing has changed about it since.
                if dropped.get(&held.record.id) == Some(&Some(held.detail())) {
                    continue;
                }
                if met.insert(held.record.id) {
                    let key = Some(held.record.key.0);
                    let (store_key, crm_key) = if held.side == Side::Store { (key, None) } else { (None, key) };
                    planning.hold(store_key, crm_key, HeldReason::Ambiguous, sink);
                }
            }
        }
    }

    /// The partners that would be made: for records that changed since, and for those that were wanted before.
    async fn plan_partners(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        since: i64,
        planning: &mut Planning,
        sink: &mut dyn PlanSink,
    ) -> Result<(), Error> {
        for side in pair.creates_on() {
            let Some(lifecycle) = pair.source(side).connector.lifecycle() else { continue };
            let mut after = (0, 0);
            loop {
                self.going_on()?;
                let origin = pair.source(side.other()).id;
                let mut records = transaction.without_partner(pair.id, origin, (since, after.0), CHUNK).await?;
                let due = transaction.creations_due((pair.id, side), self.clock.now(), after.1, CHUNK).await?;
                if records.is_empty() && due.is_empty() {
                    break;
                }
                after = (records.last().map_or(i64::MAX, |last| last.id), due.last().map_or(i64::MAX, |last| last.id));
                records.extend(due.into_iter().map(|creation| creation.origin));
                for record in alone(transaction, pair, side, records).await? {
                    planning.make(pair, side, lifecycle, &record, sink);
                }
            }
        }
        Ok(())
    }

    /// What was held before and is not looked at by this plan. `searched`: links were searched for, and with them
    /// every record that is held.
    async fn plan_held(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        searched: bool,
        planning: &mut Planning,
        sink: &mut dyn PlanSink,
    ) -> Result<(), Error> {
        let filter = HeldFilter { stores: vec![pair.store.name.clone()], ..HeldFilter::default() };
        let held = transaction.held(&filter).await?;
        let links: Vec<i64> = held.iter().filter_map(|row| row.link).collect();
        let looked_at = transaction.in_work(pair.id, &links).await?;
        for row in held.into_iter().filter(|row| row.pair == pair.id) {
            let is_of_links = matches!(row.reason, HeldReason::Ambiguous | HeldReason::Merged);
            if row.link.map_or(searched && is_of_links, |link| looked_at.contains(&link)) {
                continue;
            }
            planning.totals.held += 1;
            sink.line(PlanLine {
                store_key: row.store_key,
                crm_key: row.crm_key,
                field: row.field,
                store_value: serde_json::from_str(&row.store_value).unwrap_or_default(),
                crm_value: serde_json::from_str(&row.crm_value).unwrap_or_default(),
                what: Planned::Hold(row.reason),
            });
        }
        Ok(())
    }
}

/// A plan in the making.
struct Planning {
    totals: PlanTotals,
    planned: Counts,
    first_pass: bool,
}

impl Planning {
    fn take(&mut self, pair: &Pair, decided: &Decided, sink: &mut dyn PlanSink) {
        let verdicts = match &decided.fate {
            Fate::Gone(_) => {
                self.totals.unlinked += 1;
                return;
            }
            Fate::Left => return,
            Fate::Fields(verdicts) => verdicts,
        };
        for (field, verdict) in pair.fields.iter().zip(verdicts) {
            let what = match verdict {
                Verdict::Write(due) => {
                    count(due, self.first_pass, &mut self.planned);
                    Planned::Write {
                        side: due.intent.to,
                        old: due.old.clone(),
                        new: due.intent.encoded.clone(),
                        why: due.intent.why,
                    }
                }
                Verdict::Hold(reason) => Planned::Hold(*reason),
                Verdict::Pending | Verdict::Unseen(_) => {
                    self.totals.pending += 1;
                    continue;
                }
                Verdict::Unchanged | Verdict::Agree(_) | Verdict::Kept => continue,
            };
            let line = PlanLine {
                store_key: Some(decided.link.store.key.0.clone()),
                crm_key: Some(decided.link.crm.key.0.clone()),
                field: Some(field.rule.store.clone()),
                store_value: decided.link.store.seen.value(field.store.1).cloned(),
                crm_value: decided.link.crm.seen.value(field.crm.1).cloned(),
                what,
            };
            self.count(pair, &line);
            sink.line(line);
        }
    }

    /// A partner to be made, a line for each of its mapped fields.
    fn make(
        &mut self,
        pair: &Pair,
        side: Side,
        lifecycle: &dyn Lifecycle,
        origin: &RecordRow,
        sink: &mut dyn PlanSink,
    ) {
        let key = Some(origin.key.0.clone());
        let (store_key, crm_key) = if side == Side::Crm { (key, None) } else { (None, key) };
        let Contents { values, mapped } = contents(pair, side, lifecycle, origin);
        if lacking(pair.source(side), lifecycle, &values).is_some() {
            self.hold(store_key, crm_key, HeldReason::CannotBeTaken, sink);
            return;
        }
        self.planned.creates += 1;
        match side {
            Side::Store => self.totals.store_creates += 1,
            Side::Crm => self.totals.crm_creates += 1,
        }
        for (at, value, canonical) in mapped {
            let Some(field) = pair.fields.get(at) else { continue };
            let new = Some(value);
            let held = |of: Side| if of == side { None } else { Some(canonical.value().clone()) };
            let line = PlanLine {
                store_key: store_key.clone(),
                crm_key: crm_key.clone(),
                field: Some(field.rule.store.clone()),
                store_value: held(Side::Store),
                crm_value: held(Side::Crm),
                what: Planned::Write { side, old: None, new, why: Why::Created },
            };
            self.digest(pair, &line);
            sink.line(line);
        }
    }

    fn hold(
        &mut self,
        store_key: Option<String>,
        crm_key: Option<String>,
        reason: HeldReason,
        sink: &mut dyn PlanSink,
    ) {
        self.totals.held += 1;
        let what = Planned::Hold(reason);
        sink.line(PlanLine { store_key, crm_key, field: None, store_value: None, crm_value: None, what });
    }

    fn count(&mut self, pair: &Pair, line: &PlanLine) {
        let Planned::Write { side, new, why, .. } = &line.what else {
            self.totals.held += 1;
            return;
        };
        match side {
            Side::Store => self.totals.store_writes += 1,
            Side::Crm => self.totals.crm_writes += 1,
        }
        self.totals.clears += u64::from(new.is_none());
        self.totals.conflicts += u64::from(*why == Why::Conflict);
        self.digest(pair, line);
    }

    /// Takes a write into what names this plan.
    fn digest(&mut self, pair: &Pair, line: &PlanLine) {
        let Planned::Write { side, old, new, why } = &line.what else { return };
        let names = (&pair.store.name, &pair.crm.name, side, &line.store_key, &line.crm_key, &line.field);
        let text = serde_json::to_vec(&(names, old, new, why.as_str())).unwrap_or_default();
        let hash = blake3::hash(&text);
        let (head, _) = hash.as_bytes().split_at(16);
        let number = head.iter().fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
        self.totals.sum = self.totals.sum.wrapping_add(number);
    }
}

/// A link that does not exist yet.
fn proposed(store: RecordRow, crm: RecordRow) -> LinkRow {
    LinkRow { id: 0, store, crm, agreed: std::collections::BTreeMap::new(), unsettled: None, pending: 0 }
}

fn cost(pair: &Pair, side: Side, writes: u64, creates: u64) -> Cost {
    let connector = &pair.source(side).connector;
    let limits = connector.limits();
    let batches = writes.div_ceil(limits.writes_per_batch.max(1) as u64);
    let each = connector.lifecycle().map_or(1, |lifecycle| lifecycle.lifecycle_limits().records_per_create.max(1));
    let creating = creates.div_ceil(each as u64);
    // Whoever may be there already is looked for before, and what was made is read after.
    Cost { reads: batches.div_ceil(limits.batches_per_round.max(1) as u64) + creating * 2, writes: batches + creating }
}

fn seconds(pair: &Pair, side: Side, cost: Cost) -> f64 {
    pair.source(side).connector.seconds_for(cost.reads + cost.writes)
}
