//! Undoing: what our past writes replaced goes back where it stood, where nothing has changed since, and nowhere else.
//!
//! A person's word is recorded for each field and carried out by a push like any other write: rechecked, recorded,
//! verified, gone on with after a crash. Nothing is agreed on by it. The sides may differ afterwards, and are left alone
//! until either changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::decide::{Decided, Fate, Mood, Verdict, as_compared};
use super::pass::{PassReport, Standing};
use super::push::{Push, Scope};
use super::{CHUNK, Engine, Error, Pair};
use crate::checkpoint::{PastWrite, PutBack, Transaction, UndoFilter};
use crate::merge::{self, NotPutBack};
use crate::model::{Mode, Side, Timestamp, Value, Why};
use crate::telemetry::{Event, Source as Named};

/// Which past writes are meant. All that is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoSelection {
    /// These stores; empty: all.
    pub stores: Vec<String>,
    /// Those of this pass.
    pub pass: Option<i64>,
    /// Those made from this moment on.
    pub since: Option<Timestamp>,
    /// Those made before this moment.
    pub until: Option<Timestamp>,
    /// Those to this side.
    pub side: Option<Side>,
    /// Those to these fields, by their store names; empty: all.
    pub fields: Vec<String>,
    /// Nothing newer than the write with this number: exactly what was shown.
    pub newest: i64,
}

impl UndoSelection {
    fn filter(&self) -> UndoFilter {
        let Self { pass, since, until, side, fields, newest, .. } = self.clone();
        UndoFilter { pass, since, until, side, fields, newest }
    }
}

/// Why a write is not undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftAlone {
    /// The field holds something else by now.
    Changed,
    /// It holds what it held before.
    Already,
    /// A write of it is under way, or an edit of the other side is still to be carried over.
    Waits,
    /// It waits for a person.
    Held,
    /// The record was made with it.
    Made,
    /// The record was deleted.
    Deleted,
    /// The records are not linked any more, or one of them is gone.
    Unlinked,
    /// The mapping does not have the field any more.
    Unmapped,
    /// It is consent to be sent mail: a refusal is not overwritten, and nobody agrees by being undone.
    Consent,
    /// The target cannot take it.
    CannotBeTaken(String),
    /// The checkpoint is older than what the sides hold.
    Behind,
}

impl LeftAlone {
    /// Why, for people and scripts.
    pub fn sentence(&self) -> String {
        match self {
            Self::Changed => "changed since".to_owned(),
            Self::Already => "it holds that already".to_owned(),
            Self::Waits => "something is under way there: ask again after a pass".to_owned(),
            Self::Held => "held for a person".to_owned(),
            Self::Made => "the record was made with it: nobody is deleted".to_owned(),
            Self::Deleted => "the record was deleted: nobody is made again".to_owned(),
            Self::Unlinked => "not linked any more".to_owned(),
            Self::Unmapped => "not in the mapping any more".to_owned(),
            Self::Consent => "a refusal stays, and consent is not given by undoing".to_owned(),
            Self::CannotBeTaken(why) => format!("cannot be taken: {why}"),
            Self::Behind => "the checkpoint is older than what the sides hold: a pass comes first".to_owned(),
        }
    }
}

/// One field that was written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoLine {
    /// The customer.
    pub store_key: String,
    /// The contact.
    pub crm_key: String,
    /// By its store name.
    pub field: String,
    /// The side that was written.
    pub side: Side,
    /// What it holds now.
    pub old: Option<Value>,
    /// What goes back.
    pub new: Option<Value>,
    /// Why it does not, where it does not.
    pub left: Option<LeftAlone>,
}

/// What an undo comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UndoTotals {
    /// Values that go back to the store.
    pub store_writes: u64,
    /// Values that go back to the CRM.
    pub crm_writes: u64,
    /// Of these, how many clear the field.
    pub clears: u64,
    /// Fields that are left alone.
    pub left: u64,
}

impl UndoTotals {
    /// Values that go back to both sides.
    pub const fn writes(&self) -> u64 {
        self.store_writes + self.crm_writes
    }

    fn take(&mut self, line: &UndoLine) {
        match (&line.left, line.side) {
            (Some(_), _) => self.left += 1,
            (None, Side::Store) => self.store_writes += 1,
            (None, Side::Crm) => self.crm_writes += 1,
        }
        self.clears += u64::from(line.left.is_none() && line.new.is_none());
    }
}

impl Engine {
    /// The number of the newest write: an undo that begins with it is about no newer one.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn newest_write(&self) -> Result<i64, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let newest = transaction.newest_attempt().await?;
        transaction.end().await?;
        Ok(newest)
    }

    /// What undoing these writes of a pair comes to, line by line, by what is known now. Writes nothing.
    ///
    /// # Errors
    /// When the checkpoint fails, or we are told to stop.
    pub async fn plan_undo(
        &self,
        pair: &Pair,
        selection: &UndoSelection,
        each: &mut (dyn FnMut(UndoLine) + Send),
    ) -> Result<UndoTotals, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let mut totals = UndoTotals::default();
        let mut after = 0;
        while let Some(found) = self.look_back(&mut transaction, pair, selection, &mut after).await? {
            for Back { line, .. } in found {
                totals.take(&line);
                each(line);
            }
        }
        transaction.end().await?;
        Ok(totals)
    }

    /// Remembers what undoing these writes of a pair comes to: the next push puts it back. Asked for twice it is the same
    /// once. How many fields.
    ///
    /// # Errors
    /// When the checkpoint fails, or we are told to stop; what was remembered stays.
    pub async fn want_undo(&self, pair: &Pair, selection: &UndoSelection) -> Result<u64, Error> {
        if pair.mode == Mode::Observe {
            return Ok(0);
        }
        let (mut count, mut after) = (0, 0);
        loop {
            let mut transaction = self.checkpoint.begin().await?;
            let Some(found) = self.look_back(&mut transaction, pair, selection, &mut after).await? else { break };
            let wanted: Vec<PutBack> = found.into_iter().filter_map(|back| back.wanted).collect();
            let links: Vec<i64> = wanted.iter().map(|wanted| wanted.link).collect();
            transaction.want_back(pair.id, self.clock.now(), &wanted).await?;
            transaction.unsettle_links(&links, self.clock.now()).await?;
            transaction.commit().await?;
            count += wanted.len() as u64;
        }
        if count > 0 {
            Event::OperatorActed { target: Some(Named::Store(&pair.store.name)), action: "undo", count }.emit();
        }
        Ok(count)
    }

    /// Puts back what is to be put back in a pair, and writes nothing else. Whatever cannot be written now waits for a pass.
    ///
    /// # Errors
    /// When a source or the checkpoint fails, or we are told to stop. What was done stays done.
    pub async fn undo(&self, pair: &Pair) -> Result<PassReport, Error> {
        let started = self.clock.now();
        let calls = (pair.store.calls(), pair.crm.calls());
        if let Some(standing) = self.cannot_pass(pair).await? {
            return Ok(PassReport { standing, ..PassReport::default() });
        }
        self.resolve_attempts(pair).await?;
        self.resolve_waiting(pair).await?;
        let mut transaction = self.checkpoint.begin().await?;
        let links = transaction.links_to_put_back(pair.id).await?;
        if links.is_empty() || pair.mode != Mode::Sync {
            transaction.end().await?;
            return Ok(PassReport::default());
        }
        let row = transaction.pair(pair.id).await?;
        let past = self.past(&mut transaction, pair).await?;
        let linked = transaction.count_links(pair.id).await?;
        let pass = transaction.next_pass().await?;
        transaction.commit().await?;
        let base = (linked * pair.fields.len() as u64, linked);
        let mood = Mood { behind: row.behind, ..Mood::default() };
        let mut push = Push::new(self, pair, pass, mood, (past, base, row.first_pass_at.is_none()));
        push.scope = Scope::Undone;
        push.run_through(&links).await?;
        let report = PassReport {
            pass: u64::try_from(pass).unwrap_or(0),
            standing: Standing::Done,
            balance: push.balance,
            newly_held: push.newly_held,
            failure: push.failure.take(),
        };
        self.say_completed(pair, &report, started, self.clock.now(), calls);
        if matches!(report.failure, Some(Error::Stopped)) && self.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        Ok(report)
    }

    /// How many fields of a pair wait for being put back.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn undo_pending(&self, pair: &Pair) -> Result<u64, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let count = transaction.count_to_put_back(pair.id).await?;
        transaction.end().await?;
        Ok(count)
    }

    /// The next fields that were written to, and what is to be put back in them; none: there are no more.
    async fn look_back(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        selection: &UndoSelection,
        after: &mut i64,
    ) -> Result<Option<Vec<Back>>, Error> {
        self.going_on()?;
        let filter = selection.filter();
        let ids = transaction.written_links(pair.id, &filter, *after, CHUNK).await?;
        let Some(last) = ids.last() else { return Ok(None) };
        *after = *last;
        let writes = transaction.past_writes(pair.id, &filter, &ids).await?;
        let behind = transaction.pair(pair.id).await?.behind;
        let links = transaction.links(&ids).await?;
        let decided = self.decide(transaction, pair, links, Mood { behind, ..Mood::default() }).await?;
        let decided: BTreeMap<i64, Decided> = decided.into_iter().map(|decided| (decided.link.id, decided)).collect();
        let same_field = |one: &PastWrite, other: &PastWrite| {
            (one.link, one.mapped, one.side) == (other.link, other.mapped, other.side)
        };
        let mut found = Vec::new();
        for writes in writes.chunk_by(same_field) {
            let Some(newest) = writes.first() else { continue };
            let mut line = UndoLine {
                store_key: newest.store_key.clone(),
                crm_key: newest.crm_key.clone(),
                field: newest.name.clone(),
                side: newest.side,
                old: read(&newest.new),
                new: read(&newest.old),
                left: None,
            };
            let outcome = if behind.compares_only() {
                Err(LeftAlone::Behind)
            } else {
                inverse(pair, decided.get(&newest.link), writes, &mut line)
            };
            found.push(match outcome {
                Ok(wanted) => Back { newest: newest.id, line, wanted: Some(wanted) },
                Err(left) => Back { newest: newest.id, line: UndoLine { left: Some(left), ..line }, wanted: None },
            });
        }
        one_side_of_each(&mut found);
        Ok(Some(found))
    }
}

/// A field that was written to on a side.
struct Back {
    /// The number of the newest write.
    newest: i64,
    line: UndoLine,
    /// None: it is left alone.
    wanted: Option<PutBack>,
}

/// Of both sides of a field, which stand side by side, only one can be put back: the one that was written last.
fn one_side_of_each(found: &mut [Back]) {
    for at in 1..found.len() {
        let (before, from) = found.split_at_mut(at);
        let (Some(one), Some(other)) = (before.last_mut(), from.first_mut()) else { continue };
        let field = |back: &Back| back.wanted.as_ref().map(|wanted| (wanted.link, wanted.mapped));
        if field(one).is_some() && field(one) == field(other) {
            let older = if one.newest < other.newest { one } else { other };
            older.line.left = Some(LeftAlone::Changed);
            older.wanted = None;
        }
    }
}

fn read(json: &str) -> Option<Value> {
    serde_json::from_str::<Option<Value>>(json).unwrap_or_default()
}

/// What is to be put back in one field, after these writes to it, newest first: what the oldest of those replaced that led,
/// one after the other, to what it holds.
fn inverse(
    pair: &Pair,
    decided: Option<&Decided>,
    writes: &[PastWrite],
    line: &mut UndoLine,
) -> Result<PutBack, LeftAlone> {
    let (Some(newest), Some(decided)) = (writes.first(), decided) else { return Err(LeftAlone::Unlinked) };
    let side = newest.side;
    let Fate::Fields(verdicts) = &decided.fate else { return Err(LeftAlone::Unlinked) };
    let record = decided.link.record(side);
    if record.id != newest.record {
        return Err(LeftAlone::Unlinked);
    }
    let (field, verdict) =
        pair.fields.iter().zip(verdicts).find(|(field, _)| field.mapped == newest.mapped).ok_or(LeftAlone::Unmapped)?;
    let holds = record.seen.value(field.on(side).1);
    line.old = holds.cloned();
    let compared = |value: Option<&Value>| as_compared(&field.rule, side, value);
    let now = compared(holds);
    let mut before = None;
    for write in writes {
        if write.reason == Why::Created.as_str() || write.reason == Why::Deleted.as_str() {
            break;
        }
        let led_to = before.as_ref().map_or_else(|| now.clone(), |value: &Option<Value>| compared(value.as_ref()));
        if compared(read(&write.new).as_ref()) != led_to {
            break;
        }
        before = Some(read(&write.old));
    }
    let Some(value) = before else {
        return Err(match newest.reason.as_str() {
            reason if reason == Why::Created.as_str() => LeftAlone::Made,
            reason if reason == Why::Deleted.as_str() => LeftAlone::Deleted,
            _ => LeftAlone::Changed,
        });
    };
    line.new.clone_from(&value);
    match verdict {
        Verdict::Hold(_) => return Err(LeftAlone::Held),
        Verdict::Write(due) if due.intent.why == Why::Undone => {}
        Verdict::Write(_) | Verdict::Pending | Verdict::Unseen(_) => return Err(LeftAlone::Waits),
        Verdict::Unchanged | Verdict::Agree(_) | Verdict::Kept => {}
    }
    if compared(value.as_ref()) == now {
        return Err(LeftAlone::Already);
    }
    let seen = record.seen.seen(field.on(side).1);
    let shape = pair.source(side).defined(field.on(side).0).ok_or(LeftAlone::Unmapped)?.shape;
    let target = merge::Target { seen: &seen, edited: None, shape: &shape };
    let intent = merge::put_back(&field.rule, side, &target, value.as_ref()).map_err(|why| match why {
        NotPutBack::Consent => LeftAlone::Consent,
        NotPutBack::CannotBeTaken(why) => LeftAlone::CannotBeTaken(why.to_string()),
    })?;
    line.new.clone_from(&intent.encoded);
    let text = |value: Option<&Value>| serde_json::to_string(&value).unwrap_or_default();
    Ok(PutBack {
        link: newest.link,
        mapped: newest.mapped,
        side,
        value: text(intent.encoded.as_ref()),
        store_value: text(decided.link.store.seen.value(field.store.1)),
        crm_value: text(decided.link.crm.seen.value(field.crm.1)),
    })
}
