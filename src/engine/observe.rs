//! What a read shows becomes what is remembered: equal values cost nothing, older ones wait for a second look, and a
//! read that began before our own acknowledged write of a field says nothing about it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::{Engine, Error, Source, SourceField};
use crate::checkpoint::{RecordRow, RecordSave, SeenCell, SeenRecord, Transaction, Waiting};
use crate::connector::Dating;
use crate::model::{Existence, Key, Observed, Seen, Timestamp, Value};
use crate::proof::Fault;

/// How far back a feed may have been read before a change, so that the date of a whole record stands for a field.
const DATED_WITHIN: Duration = Duration::from_secs(600);

/// The circumstances of one read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Ours: when the request left.
    pub started: Timestamp,
    /// Theirs: up to when the feed had been read before; none where no feed stands behind this read.
    pub covered: Option<Timestamp>,
    /// It is of targets that are about to be overwritten.
    pub of_target: bool,
}

impl Reading {
    /// Of records that were asked for, and not because they are about to be overwritten.
    pub fn direct(source: &Source, started: Timestamp) -> Self {
        Self { started, covered: source.covered(), of_target: false }
    }
}

/// What recording a page came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recorded {
    /// Records on the page.
    pub records: u64,
    /// Fields whose value changed, that had been seen before, and that are dated before the feed's reach.
    pub missed: u64,
}

/// What one observation does to one record.
struct Working {
    id: Option<i64>,
    /// It was shown to be there: what only belongs to it may outlive it.
    shown: bool,
    gone: bool,
    merged_into: Option<Key>,
    seen: SeenRecord,
    dirty: bool,
    rematch: bool,
}

impl Engine {
    /// Records one page of observations of a source in one transaction.
    pub(super) async fn record(
        &self,
        source: &Source,
        observed: &[Observed],
        reading: Reading,
        sweep: bool,
    ) -> Result<Recorded, Error> {
        if observed.is_empty() {
            return Ok(Recorded::default());
        }
        let mut transaction = self.checkpoint.begin().await?;
        let recorded = self.record_in(&mut transaction, source, observed, reading, sweep).await?;
        transaction.commit().await?;
        Ok(recorded)
    }

    async fn record_in(
        &self,
        transaction: &mut Transaction<'_>,
        source: &Source,
        observed: &[Observed],
        reading: Reading,
        sweep: bool,
    ) -> Result<Recorded, Error> {
        let mut index: HashMap<&Key, usize> = HashMap::with_capacity(observed.len());
        let mut keys: Vec<&Key> = Vec::with_capacity(observed.len());
        for shown in observed {
            index.entry(&shown.key).or_insert_with(|| {
                keys.push(&shown.key);
                keys.len() - 1
            });
        }
        let mut working: Vec<Working> = keys.iter().map(|_| Working::new()).collect();
        let mut known = Vec::new();
        for row in transaction.records_by_key(source.id, &keys).await? {
            known.push(row.id);
            if let Some(at) = index.get(&row.key) {
                working[*at] = Working::of(row);
            }
        }
        let waiting = transaction.waiting_of(&known).await?;
        let mut second = SecondLooks { waiting, add: Vec::new(), remove: Vec::new() };
        let mut recorded = Recorded { records: keys.len() as u64, missed: 0 };
        let now = self.clock.now();
        let gone: Vec<&Key> =
            observed.iter().filter(|shown| shown.existence == Existence::Gone).map(|shown| &shown.key).collect();
        let young = if gone.is_empty() {
            Vec::new()
        } else {
            transaction.made_since(source.id, &gone, now - source.times.replica_lag).await?
        };
        for shown in observed {
            let Some(at) = index.get(&shown.key) else { continue };
            // A replica may not show yet what we made a moment ago.
            if shown.existence == Existence::Gone && young.contains(&shown.key) {
                continue;
            }
            recorded.missed += absorb(&mut working[*at], shown, source, reading, now, &mut second);
        }
        self.save(transaction, source, &keys, working, sweep).await?;
        transaction.save_waiting(&second.add, &second.remove).await?;
        Ok(recorded)
    }

    async fn save(
        &self,
        transaction: &mut Transaction<'_>,
        source: &Source,
        keys: &[&Key],
        working: Vec<Working>,
        sweep: bool,
    ) -> Result<(), Error> {
        let mut met: Vec<i64> = Vec::new();
        let mut newly_met: BTreeSet<Key> = BTreeSet::new();
        let mut saves = Vec::new();
        for (key, row) in keys.iter().zip(working) {
            // A record that was never seen and is gone is nothing to remember.
            if row.id.is_none() && row.gone {
                continue;
            }
            if sweep && row.shown && !row.gone {
                met.extend(row.id);
            }
            let rematch = row.rematch || row.id.is_none() || source.reindexes();
            if row.dirty || row.id.is_none() || (sweep && source.reindexes()) {
                let matches = rematch.then(|| source.match_values(&row.seen));
                if sweep && row.shown && row.id.is_none() {
                    newly_met.insert((*key).clone());
                }
                saves.push(RecordSave {
                    is_new: row.id.is_none(),
                    key: (*key).clone(),
                    gone: row.gone,
                    merged_into: row.merged_into,
                    seen: row.seen,
                    matches,
                });
            }
        }
        if !saves.is_empty() {
            let change = transaction.next_change().await?;
            let ids = transaction.save_records(source.id, change, &saves).await?;
            met.extend(ids.iter().filter(|(key, _)| newly_met.contains(key)).map(|(_, id)| *id));
        }
        if sweep {
            met.sort_unstable();
            transaction.mark_swept(&met).await?;
        }
        Ok(())
    }
}

impl Working {
    const fn new() -> Self {
        Self {
            id: None,
            shown: false,
            gone: false,
            merged_into: None,
            seen: SeenRecord::EMPTY,
            dirty: false,
            rematch: false,
        }
    }

    fn of(row: RecordRow) -> Self {
        Self {
            id: Some(row.id),
            shown: false,
            gone: row.gone,
            merged_into: row.merged_into,
            seen: row.seen,
            dirty: false,
            rematch: false,
        }
    }
}

/// Observations that wait for a second look, and what this page does to them.
struct SecondLooks {
    waiting: Vec<Waiting>,
    add: Vec<Waiting>,
    remove: Vec<(i64, i64)>,
}

/// Takes one observation into a record. Answers how many fields it shows changed that the feed should have shown.
fn absorb(
    record: &mut Working,
    shown: &Observed,
    source: &Source,
    reading: Reading,
    now: Timestamp,
    second: &mut SecondLooks,
) -> u64 {
    let (gone, merged_into) = match &shown.existence {
        Existence::Present => (false, None),
        Existence::Gone => (true, None),
        Existence::MergedInto(key) => (true, Some(key.clone())),
        Existence::NotSaid if crate::proof::has(Fault::BesideIsSignOfLife) => (false, None),
        Existence::NotSaid => (record.gone, record.merged_into.clone()),
    };
    record.shown |= shown.existence == Existence::Present
        || (shown.existence == Existence::NotSaid && crate::proof::has(Fault::BesideIsMet));
    if record.gone != gone || record.merged_into != merged_into {
        record.gone = gone;
        record.merged_into = merged_into;
        record.dirty = true;
    }
    if gone {
        // Of what is gone nothing waits any more.
        let waits = second.waiting.iter().filter(|waiting| Some(waiting.record) == record.id);
        second.remove.extend(waits.map(|waiting| (waiting.record, waiting.field)));
        return 0;
    }
    let mut missed = 0;
    for (cell, field) in shown.cells.iter().zip(&source.fields) {
        let value = match &cell.seen {
            Seen::Unseen if crate::proof::has(Fault::UnseenIsAbsent) => None,
            Seen::Unseen => continue,
            Seen::Absent => None,
            Seen::Value(value) => Some(value),
        };
        // The date of a whole record says nothing about an absent value of a field that has its own.
        let dated = cell.modified.or(match field.dating {
            Dating::Itself if value.is_none() => None,
            Dating::Itself | Dating::Record => shown.modified,
            Dating::Nothing => None,
        });
        let known = record.seen.get(field.id);
        let of_record = field.dating == Dating::Record && cell.modified.is_none();
        let with_record = |other: i64| source.dating(other) == Dating::Record;
        let beside = if of_record { record.seen.modified_beside(field.id, with_record) } else { None };
        let verdict = compare(known.as_ref(), value, (dated, beside), (reading, field.dating), source, now);
        let pending = record.id.and_then(|id| second.waiting.iter().find(|w| w.record == id && w.field == field.id));
        match verdict {
            Verdict::Drop => {}
            Verdict::Same => {
                if let (Some(mut cell), Some(dated)) = (known, dated)
                    && cell.modified.is_none_or(|modified| dated > modified)
                {
                    cell.modified = Some(dated);
                    record.seen.set(field.id, cell);
                    record.dirty = true;
                }
                second.remove.extend(pending.map(|w| (w.record, w.field)));
            }
            Verdict::Older => {
                let text = serde_json::to_string(&value).unwrap_or_default();
                match (pending, record.id) {
                    (Some(waiting), _)
                        if waiting.value == text && now >= waiting.until && !crate::proof::has(Fault::OlderIsNever) =>
                    {
                        second.remove.push((waiting.record, waiting.field));
                        take(record, source, field, value, (dated, cell.modified), reading, now);
                    }
                    (Some(waiting), _) if waiting.value == text => {}
                    (_, Some(id)) => {
                        let until = now + source.times.replica_lag;
                        second.add.push(Waiting { record: id, field: field.id, value: text, until });
                        // Whoever decides must know that this field waits.
                        record.dirty = true;
                    }
                    (_, None) => {}
                }
            }
            Verdict::New => {
                // What waits for its second look was shown.
                if known.is_some()
                    && pending.is_none()
                    && dated.zip(reading.covered).is_some_and(|(dated, covered)| dated + super::OVERREACH < covered)
                {
                    missed += 1;
                }
                second.remove.extend(pending.map(|w| (w.record, w.field)));
                take(record, source, field, value, (dated, cell.modified), reading, now);
            }
        }
    }
    missed
}

/// How an observation stands to what is remembered of the field.
enum Verdict {
    /// It was read before our own acknowledged write: it says nothing.
    Drop,
    /// The value that is remembered.
    Same,
    /// Another value, dated before one already seen, or undated right after our own write: a stale replica, or a late
    /// commit.
    Older,
    /// Another value.
    New,
}

fn compare(
    known: Option<&SeenCell>,
    value: Option<&Value>,
    (dated, beside): (Option<Timestamp>, Option<Timestamp>),
    (reading, dating): (Reading, Dating),
    source: &Source,
    now: Timestamp,
) -> Verdict {
    let replica_lag = source.times.replica_lag;
    let Some(known) = known else { return Verdict::New };
    if known.value.as_ref() == value {
        return Verdict::Same;
    }
    // An acknowledgement of the future is one of an earlier process, whose clock was ahead of ours.
    let acknowledged = known.acknowledged.filter(|acknowledged| *acknowledged <= now);
    let read_before = |acknowledged: Timestamp| reading.started <= acknowledged;
    if acknowledged.is_some_and(read_before) && !crate::proof::has(Fault::ReadBeforeOurWrite) {
        return Verdict::Drop;
    }
    // A replica may show what is known to have been replaced, for so long. Where we are about to overwrite what it shows,
    // what cannot be told from that must not be taken for an edit.
    let may_lag =
        |modified: Timestamp| reading.of_target && source.their_time(reading.started) < modified + replica_lag;
    // An absence has no date of its own: it is younger than the value that it replaced, which has this very date.
    let absent = known.value.is_none() && !crate::proof::has(Fault::AbsenceWithoutAge);
    let older = |(modified, dated): (Timestamp, Timestamp)| {
        // Of our own write to a record that is dated as a whole the very moment is known.
        let shown = if known.ours && dating == Dating::Record { latest(dated) } else { dated };
        shown < modified || dated == modified && (absent || may_lag(modified))
    };
    if crate::proof::has(Fault::NoSecondLook) {
        return Verdict::New;
    }
    if known.modified.zip(dated).is_some_and(older) {
        return Verdict::Older;
    }
    // The record was written later than it says: this is older, or dates run backwards.
    let runs_backwards =
        |(beside, dated): (Timestamp, Timestamp)| latest(dated) < beside && known.modified.is_none_or(|at| at < dated);
    if beside.zip(dated).is_some_and(runs_backwards) {
        return Verdict::Older;
    }
    // What has no date may be as old as a replica: right after our own write it proves nothing, and where nothing is ever
    // dated, neither right after the last change that was seen.
    let just_written = || acknowledged.is_some_and(|acknowledged| reading.started < acknowledged + replica_lag);
    let just_changed =
        |changed: Timestamp| dating == Dating::Nothing && source.their_time(reading.started) < changed + replica_lag;
    let too_soon = |modified: Timestamp| may_lag(modified) || just_changed(modified);
    if dated.is_none() && (known.ours && just_written() || known.modified.is_some_and(too_soon)) {
        return Verdict::Older;
    }
    Verdict::New
}

/// The last moment that a date stands for: without a fraction it may stand for its whole second.
pub(super) fn latest(dated: Timestamp) -> Timestamp {
    if dated.as_millis() % 1000 == 0 { dated + Duration::from_millis(999) } else { dated }
}

/// Remembers somebody else's value.
fn take(
    record: &mut Working,
    source: &Source,
    field: &SourceField,
    value: Option<&Value>,
    (dated, dated_itself): (Option<Timestamp>, Option<Timestamp>),
    reading: Reading,
    now: Timestamp,
) {
    let known = record.seen.get(field.id);
    // The date of a whole record stands for a field only if the old value is known to have stood until shortly before.
    let edited = dated_itself.or_else(|| {
        let record_date = dated.filter(|_| known.is_some() && field.dating == Dating::Record)?;
        reading.covered.filter(|covered| *covered + DATED_WITHIN >= record_date).map(|_| record_date)
    });
    let acknowledged = known.as_ref().and_then(|known| known.acknowledged);
    let known_modified = known.and_then(|known| known.modified);
    // Where its date runs backwards, it is younger than what it replaces all the same.
    let after_known = known_modified.filter(|modified| dated.is_some_and(|dated| dated < *modified));
    let after_known = after_known.map(|modified| modified + Duration::from_millis(1));
    let modified = if field.dating == Dating::Nothing {
        // It changed by now: what a lagging replica shows from here on is older than this.
        Some(source.their_time(now))
    } else {
        after_known.or(dated).or(known_modified)
    };
    record.seen.set(field.id, SeenCell { value: value.cloned(), modified, edited, acknowledged, ours: false });
    record.dirty = true;
    record.rematch |= source.is_match_field(field.id);
}
