//! From what is remembered of a chunk of links to a verdict on each of their fields: the merge, and around it what the
//! merge cannot know (attempts under way, second looks, what a person said, what history shows).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::observe::latest;
use super::{Engine, Error, Pair, PairField};
use crate::checkpoint::{Behind, HeldRow, HeldState, LinkRow, SeenRecord, Transaction};
use crate::connector::Dating;
use crate::merge::{self, Decision, Facts, Intent, Target};
use crate::model::{
    Agreed, Canonical, Conflict, Direction, FieldRule, FieldType, HeldReason, Meaning, Seen, Side, Timestamp, Value,
    Why,
};
use crate::proof::Fault;

/// Flips within this time are counted.
const OSCILLATION_WINDOW: Duration = Duration::from_secs(3600);

/// Our own writes may flip a field this often in the window.
const FLIPS_MAX: usize = 3;

/// What a whole pass has been found to be in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mood {
    /// The checkpoint is older than the sides: compare only.
    pub behind: Behind,
    /// These sides look restored from a backup: what returned to superseded values is held.
    pub reverted: [Option<Side>; 2],
}

/// What to do about one field, all considered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Unchanged,
    Agree(Option<Canonical>),
    Write(Due),
    Hold(HeldReason),
    Kept,
    /// Something is under way, or waits for a second look.
    Pending,
    /// This side was never seen: it must be read.
    Unseen(Side),
}

/// A write that is due.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Due {
    pub intent: Intent,
    /// What the target holds now.
    pub old: Option<Value>,
    /// Ours: when the edit that it carries was made.
    pub edited: Option<Timestamp>,
    /// The source side has returned to a value that history says was superseded.
    pub returned: Option<Side>,
    /// The source must be read again before this overwrites anything.
    pub confirm: bool,
    /// A rail stopped exactly this, and a person let it through.
    pub approved: bool,
}

impl Due {
    /// What exactly is written, as `approve` compares it.
    pub fn fingerprint(&self) -> String {
        let value = serde_json::to_string(&self.intent.encoded).unwrap_or_default();
        format!("{} {value}", self.intent.to)
    }
}

/// What became of one link of a chunk.
#[derive(Debug)]
pub(super) enum Fate {
    /// One of its records is gone (or merged away); the side of the one that is.
    Gone(Side),
    /// One of its records does not take part any more.
    Left,
    /// A verdict for each field of the pair.
    Fields(Vec<Verdict>),
}

/// One link, decided.
pub(super) struct Decided {
    pub link: LinkRow,
    pub fate: Fate,
    /// What is held on it: by mapped field.
    pub held: BTreeMap<i64, HeldRow>,
    /// What a target had altered and is no more: both sides agreed on it in two spellings, and this is the one that stands.
    pub apart: BTreeMap<i64, Option<Canonical>>,
    /// Both sides changed to the same since they agreed, in so many fields.
    pub met: u64,
    /// It was decided with a checkpoint older than the sides.
    pub behind: Behind,
}

/// One of our writes: the side, what it held, what it holds since, as JSON.
type PastWrite = (Side, String, String);

/// What the checkpoint holds about a chunk of links, beside the links themselves.
struct Context {
    blocked: BTreeSet<(i64, i64)>,
    held: BTreeMap<(i64, i64), HeldRow>,
    approved: BTreeMap<(i64, i64), String>,
    /// Our writes of the last hour.
    writes: BTreeMap<(i64, i64), Vec<PastWrite>>,
    /// Values that were replaced, on whichever side our write replaced them.
    superseded: BTreeSet<(i64, i64, Canonical)>,
    rivals: BTreeMap<(i64, i64), Vec<SeenRecord>>,
    mood: Mood,
}

impl Engine {
    /// Decides a chunk of links, in a constant number of statements.
    pub(super) async fn decide(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        links: Vec<LinkRow>,
        mood: Mood,
    ) -> Result<Vec<Decided>, Error> {
        let context = self.context(transaction, pair, &links, mood).await?;
        Ok(links.into_iter().map(|link| context.decide_link(pair, link)).collect())
    }

    async fn context(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        links: &[LinkRow],
        mood: Mood,
    ) -> Result<Context, Error> {
        let ids: Vec<i64> = links.iter().map(|link| link.id).collect();
        let records: Vec<i64> = links.iter().flat_map(|link| [link.store.id, link.crm.id]).collect();
        let mut context = Context {
            blocked: BTreeSet::new(),
            held: BTreeMap::new(),
            approved: BTreeMap::new(),
            writes: BTreeMap::new(),
            superseded: BTreeSet::new(),
            rivals: BTreeMap::new(),
            mood,
        };
        context.blocked.extend(transaction.under_way(&records).await?);
        for waiting in transaction.waiting_of(&records).await? {
            context.blocked.insert((waiting.record, waiting.field));
        }
        for row in transaction.held_on(&ids).await? {
            if let (Some(link), Some(mapped)) = (row.link, row.mapped) {
                context.held.insert((link, mapped), row);
            }
        }
        for stopped in transaction.approved(pair.id, &ids, self.clock.now() - super::rails::DAY).await? {
            context.approved.insert((stopped.link, stopped.mapped), stopped.value);
        }
        if transaction.has_history(pair.id).await? {
            let since = self.clock.now() - OSCILLATION_WINDOW;
            for (link, mapped, side, old, new) in transaction.writes_since(&ids, since).await? {
                context.writes.entry((link, mapped)).or_default().push((side, old, new));
            }
            for (link, mapped, side, old) in transaction.superseded_values(&ids).await? {
                let Some(field) = pair.fields.iter().find(|field| field.mapped == mapped) else { continue };
                let Ok(Some(value)) = serde_json::from_str::<Option<Value>>(&old) else { continue };
                if let Ok(Some(value)) = merge::canonical(&field.rule, side, &value) {
                    context.superseded.insert((link, mapped, value));
                }
            }
        }
        self.find_rivals(transaction, pair, links, &mut context).await?;
        Ok(context)
    }

    /// Links of other pairs that write one way into the same field of the same record.
    async fn find_rivals(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        links: &[LinkRow],
        context: &mut Context,
    ) -> Result<(), Error> {
        for target in [Side::Store, Side::Crm] {
            let one_way: Vec<&PairField> =
                pair.fields.iter().filter(|field| field.writes_only() == Some(target)).collect();
            if one_way.is_empty() {
                continue;
            }
            let targets: Vec<i64> = links.iter().map(|link| link.record(target).id).collect();
            let elsewhere = transaction.links_elsewhere(pair.id, &targets).await?;
            if elsewhere.is_empty() {
                continue;
            }
            let others: Vec<i64> = elsewhere.iter().map(|(_, _, _, other)| *other).collect();
            let rows: BTreeMap<i64, _> =
                transaction.records_by_id(&others).await?.into_iter().map(|row| (row.id, row)).collect();
            let mut mappings = BTreeMap::new();
            for (record, other_pair, _, other) in elsewhere {
                if let std::collections::btree_map::Entry::Vacant(vacant) = mappings.entry(other_pair) {
                    vacant.insert(transaction.mapped(other_pair).await?);
                }
                let Some(row) = rows.get(&other).filter(|row| !row.gone) else { continue };
                for field in &one_way {
                    let (own, target_field) = (field.on(target.other()).0, field.on(target).1);
                    let Some(theirs) = mappings[&other_pair].iter().find(|mapped| {
                        let into = if target == Side::Store { mapped.store_field } else { mapped.crm_field };
                        into == target_field && super::attach::only_written(&mapped.rule) == Some(target)
                    }) else {
                        continue;
                    };
                    // The rival's value is kept under our own source field, so that one rule reads both.
                    let from = if target == Side::Store { theirs.crm_field } else { theirs.store_field };
                    let mut seen = SeenRecord::EMPTY;
                    if let Some(cell) = row.seen.get(from) {
                        seen.set(i64::try_from(own).unwrap_or(0), cell);
                    }
                    context.rivals.entry((record, target_field)).or_default().push(seen);
                }
            }
        }
        Ok(())
    }
}

impl Context {
    fn decide_link(&self, pair: &Pair, link: LinkRow) -> Decided {
        let held: BTreeMap<i64, HeldRow> =
            self.held.range((link.id, i64::MIN)..=(link.id, i64::MAX)).map(|((_, m), row)| (*m, row.clone())).collect();
        let (mut met, mut apart) = (0, BTreeMap::new());
        let fate = if link.store.gone {
            Fate::Gone(Side::Store)
        } else if link.crm.gone {
            Fate::Gone(Side::Crm)
        } else if !pair.takes(Side::Store, &link.store.seen) || !pair.takes(Side::Crm, &link.crm.seen) {
            Fate::Left
        } else {
            Fate::Fields(
                pair.fields.iter().map(|field| self.decide_field(pair, &link, field, &mut met, &mut apart)).collect(),
            )
        };
        Decided { link, fate, held, apart, met, behind: self.mood.behind }
    }

    fn decide_field(
        &self,
        pair: &Pair,
        link: &LinkRow,
        field: &PairField,
        met: &mut u64,
        apart: &mut BTreeMap<i64, Option<Canonical>>,
    ) -> Verdict {
        let (Some(store_defined), Some(crm_defined)) =
            (pair.store.defined(field.store.0), pair.crm.defined(field.crm.0))
        else {
            return Verdict::Pending;
        };
        if store_defined.changed.is_some() || crm_defined.changed.is_some() {
            return Verdict::Hold(HeldReason::DefinitionChanged);
        }
        let blocks = !crate::proof::has(Fault::AttemptBlocksNothing);
        let is_blocked = |record: i64, field: i64| blocks && self.blocked.contains(&(record, field));
        if is_blocked(link.store.id, field.store.1) || is_blocked(link.crm.id, field.crm.1) {
            return Verdict::Pending;
        }
        let (store, crm) = (link.store.seen.seen(field.store.1), link.crm.seen.seen(field.crm.1));
        // A field that is yet to be made holds nothing: what it is to be filled with is in the plan.
        let yet_to_be = |seen: Seen, to_create: bool| if to_create && seen.is_unseen() { Seen::Absent } else { seen };
        let (store, crm) = (yet_to_be(store, store_defined.to_create), yet_to_be(crm, crm_defined.to_create));
        let agreed = match link.agreed.get(&field.mapped) {
            None => Agreed::Unknown,
            Some(value) => Agreed::on(value.clone()),
        };
        let held = self.held.get(&(link.id, field.mapped));
        let agreed = match held.and_then(|held| spelt_apart(held, &field.rule, &store, &crm)) {
            Some(value) => {
                apart.insert(field.mapped, value.clone());
                Agreed::on(value)
            }
            None => agreed,
        };
        // Where the checkpoint is older than the sides, nothing it says was agreed can be believed.
        let cautious = FieldRule { conflict: Conflict::Hold, direction: Direction::Both, ..field.rule.clone() };
        let facts = Facts {
            rule: if self.mood.behind.compares_only() { &cautious } else { &field.rule },
            agreed: if self.mood.behind == Behind::Certain { &Agreed::Unknown } else { &agreed },
            store: Target { seen: &store, edited: edited(pair, link, field, Side::Store), shape: &store_defined.shape },
            crm: Target { seen: &crm, edited: edited(pair, link, field, Side::Crm), shape: &crm_defined.shape },
        };
        let was_held = held.is_some();
        let held = held.filter(|held| same_values(held, &field.rule, &store, &crm));
        let decision = match held.map(|held| (held.state, held.reason)) {
            Some((HeldState::Dropped, _)) => return Verdict::Kept,
            Some((HeldState::Take(_), reason)) if crate::proof::has(Fault::DecisionForgotten) => {
                return Verdict::Hold(reason);
            }
            Some((HeldState::Take(side), _)) => merge::resolve(&facts, side),
            Some((HeldState::Undo(side), _)) => put_back(&facts, side, held),
            Some((HeldState::Undone, _)) => match merge::decide(&facts) {
                equal @ (Decision::Settled | Decision::Agree(_)) => equal,
                _ => return Verdict::Kept,
            },
            Some((HeldState::Held, reason)) if sticks(reason, held) => return Verdict::Hold(reason),
            _ => merge::decide(&facts),
        };
        // Which edit is the newest cannot be told by a clock that an earlier process had set ours by.
        let by_date = match &decision {
            Decision::Hold(reason) => *reason == HeldReason::Conflict,
            Decision::Write(intent) => intent.why == Why::Conflict,
            _ => false,
        };
        let timed = |side: Side| pair.source(side).told_time.load(Ordering::Relaxed);
        if by_date && field.rule.conflict == Conflict::Newest && !(timed(Side::Store) && timed(Side::Crm)) {
            return Verdict::Pending;
        }
        match decision {
            Decision::Settled => Verdict::Unchanged,
            Decision::Kept => Verdict::Kept,
            Decision::Hold(HeldReason::Conflict) if self.mood.behind.compares_only() => {
                Verdict::Hold(HeldReason::FirstMeeting)
            }
            Decision::Hold(reason) => Verdict::Hold(reason),
            Decision::Unseen(side) => Verdict::Unseen(side),
            Decision::Agree(now) => {
                // Only `Absent` and `Value` are ever agreed on.
                let is_news = agreed != Agreed::Unknown && agreed != now && !was_held;
                *met += u64::from(is_news && !self.mood.behind.compares_only());
                Verdict::Agree(match now {
                    Agreed::Value(value) => Some(value),
                    Agreed::Absent | Agreed::Unknown => None,
                })
            }
            Decision::Write(intent) if self.mood.behind.compares_only() => {
                let one_sided = self.mood.behind == Behind::Suspected && intent.why != Why::EditBeatsClear;
                if one_sided { Verdict::Pending } else { Verdict::Hold(HeldReason::FirstMeeting) }
            }
            Decision::Write(intent) => self.consider(pair, link, field, &agreed, intent, (&store, &crm)),
        }
    }

    /// What history and other links say about a write that the merge wants.
    fn consider(
        &self,
        pair: &Pair,
        link: &LinkRow,
        field: &PairField,
        agreed: &Agreed,
        intent: Intent,
        (store, crm): (&Seen, &Seen),
    ) -> Verdict {
        let target = if intent.to == Side::Store { store } else { crm };
        let asked_for = intent.taken == merge::Taken::Free;
        if !asked_for && self.has_rival(link, field, &intent) {
            return Verdict::Hold(HeldReason::TwoWriters);
        }
        let old = target.value().cloned();
        let key = (link.id, field.mapped);
        let says_no = intent.value.as_ref().is_some_and(|value| *value.value() == Value::text("false"));
        // A refusal is somebody's word each time: it waits for nobody. What is put back is not.
        let refuses = says_no && field.rule.meaning() == Meaning::Consent && intent.why != Why::PutBack;
        if !asked_for
            && !refuses
            && self.writes.get(&key).is_some_and(|writes| oscillates(&field.rule, writes, old.as_ref(), &intent))
        {
            return Verdict::Hold(HeldReason::Oscillating);
        }
        let from = intent.to.other();
        // Only what moved can have returned: a value that is put back or restored has not.
        let moved = *agreed != Agreed::Unknown && *agreed != Agreed::on(intent.value.clone());
        // And what is true or false has nowhere else to go.
        let moved = moved && field.rule.kind != FieldType::Boolean;
        let before = |value: &Canonical| self.superseded.contains(&(link.id, field.mapped, value.clone()));
        let returned = intent.value.as_ref().is_some_and(|value| moved && before(value)).then_some(from);
        if let Some(side) = returned.filter(|_| !asked_for)
            && self.mood.reverted.contains(&Some(side))
        {
            return Verdict::Hold(HeldReason::Reverted);
        }
        let source = pair.source(from);
        // What is put back comes from history: there is no origin to read again.
        let undoes = intent.why == Why::Undone;
        let never_agreed = *agreed == Agreed::Unknown && old.is_some();
        // Who is in which segments is read list by list, and undated: somebody may have slipped off a page, or moved meanwhile.
        let pieced = source.dating(field.on(from).1) == Dating::Nothing
            && is_pieced(&field.rule, &intent)
            && !crate::proof::has(Fault::MembersUnconfirmed);
        let clears = intent.value.is_none() || intent.taken == merge::Taken::Clear;
        let cleared = clears && !source.connector.limits().shows_nulls;
        let mut due = Due {
            confirm: !undoes && (never_agreed || cleared || pieced),
            edited: edited(pair, link, field, from).filter(|_| !undoes),
            intent,
            old,
            returned: if asked_for { None } else { returned },
            approved: false,
        };
        due.approved = self.approved.get(&key).is_some_and(|approved| *approved == due.fingerprint());
        Verdict::Write(due)
    }

    fn has_rival(&self, link: &LinkRow, field: &PairField, intent: &Intent) -> bool {
        if field.writes_only() != Some(intent.to) {
            return false;
        }
        let record = link.record(intent.to).id;
        let from = intent.to.other();
        let own = i64::try_from(field.on(from).0).unwrap_or(0);
        let Some(rivals) = self.rivals.get(&(record, field.on(intent.to).1)) else { return false };
        rivals.iter().any(|seen| match seen.value(own) {
            None => false,
            Some(value) => merge::canonical(&field.rule, from, value) != Ok(intent.value.clone()),
        })
    }
}

/// When somebody else edited the field on a side, on our clock; none where that cannot be told: where whole records are
/// dated, it may be our own write to another field that gave the date.
fn edited(pair: &Pair, link: &LinkRow, field: &PairField, side: Side) -> Option<Timestamp> {
    let (source, record, field) = (pair.source(side), link.record(side), field.on(side).1);
    let theirs = record.seen.get(field)?.edited?;
    let by_us = |(earliest, acknowledged): (Timestamp, Timestamp)| {
        // A date without a fraction may stand for any moment of its second.
        latest(theirs) >= earliest && theirs <= source.their_time(acknowledged)
    };
    if source.dating(field) != Dating::Itself && record.seen.written_beside(field).any(by_us) {
        return None;
    }
    let offset_ms = if crate::proof::has(Fault::NoClockOffset) { 0 } else { source.offset_ms() };
    Some(Timestamp::from_millis(theirs.as_millis() - offset_ms))
}

/// Whether both sides still hold what they held when the field was held. Where somebody undid a write, another spelling of
/// the same is no edit: it must not be carried over.
pub(super) fn same_values(held: &HeldRow, rule: &FieldRule, store: &Seen, crm: &Seen) -> bool {
    is_still(held, rule, Side::Store, store) && is_still(held, rule, Side::Crm, crm)
}

fn is_still(held: &HeldRow, rule: &FieldRule, side: Side, now: &Seen) -> bool {
    let then = if side == Side::Store { &held.store_value } else { &held.crm_value };
    if matches!(held.state, HeldState::Undo(_) | HeldState::Undone) {
        let then = serde_json::from_str::<Option<Value>>(then).unwrap_or_default();
        return as_compared(rule, side, then.as_ref()) == as_compared(rule, side, now.value());
    }
    serde_json::to_string(&now.value()).is_ok_and(|now| now == *then)
}

/// Where the target altered a value the two sides hold one thing in two spellings, and where a person undid a write they
/// differ by that person's word: each is what was agreed there. When one of them changes, the other has not.
fn spelt_apart(held: &HeldRow, rule: &FieldRule, store: &Seen, crm: &Seen) -> Option<Option<Canonical>> {
    let altered = held.reason == HeldReason::AlteredByTarget && held.state == HeldState::Held;
    if !altered && held.state != HeldState::Undone {
        return None;
    }
    let unchanged = |side: Side, seen: &Seen| as_compared(rule, side, seen.value());
    match (is_still(held, rule, Side::Store, store), is_still(held, rule, Side::Crm, crm)) {
        (true, false) => Some(unchanged(Side::Store, store)),
        (false, true) => Some(unchanged(Side::Crm, crm)),
        _ => None,
    }
}

/// What a write of ours replaced is put back, where the target can still take it.
fn put_back(facts: &Facts<'_>, side: Side, held: Option<&HeldRow>) -> Decision {
    let target = if side == Side::Store { &facts.store } else { &facts.crm };
    let value = held.and_then(|held| serde_json::from_str::<Option<Value>>(held.detail.as_deref()?).ok());
    let intent = value.and_then(|value| merge::put_back(facts.rule, side, target, value.as_ref()).ok());
    intent.map_or_else(|| merge::decide(facts), Decision::Write)
}

/// Whether a hold stands by itself while both sides stay as they are; the others are derived again every time.
fn sticks(reason: HeldReason, held: Option<&HeldRow>) -> bool {
    match reason {
        HeldReason::Rejected | HeldReason::AlteredByTarget | HeldReason::Oscillating | HeldReason::Reverted => true,
        HeldReason::FirstMeeting => held.is_some_and(|held| held.detail.as_deref() == Some(super::behind::DETAIL)),
        _ => false,
    }
}

/// A value as it is compared; one that has no canonical form, as it is.
pub(super) fn as_compared(rule: &FieldRule, side: Side, value: Option<&Value>) -> Option<Canonical> {
    let Some(value) = value else { return merge::nothing(rule) };
    merge::canonical(rule, side, value).unwrap_or_else(|_| Some(Canonical(value.clone())))
}

/// What a side of a link holds in a field, as it is compared.
pub(super) fn holds(link: &LinkRow, field: &PairField, side: Side) -> Option<Canonical> {
    as_compared(&field.rule, side, link.record(side).seen.value(field.on(side).1))
}

/// Whether what a write says may have been put together from lists that nobody saw as they are: that somebody is missing from
/// one, and what somebody is in, of several.
fn is_pieced(rule: &FieldRule, intent: &Intent) -> bool {
    match intent.value.as_ref().map(Canonical::value) {
        Some(Value::Text(text)) => rule.meaning() == Meaning::Membership && text == "false",
        Some(Value::List(_)) => true,
        None => false,
    }
}

/// Whether our own writes have carried this field between the same two values, on whichever side, as often as is
/// allowed: somebody else keeps writing it back.
fn oscillates(rule: &FieldRule, writes: &[PastWrite], old: Option<&Value>, intent: &Intent) -> bool {
    let parse = |side: Side, text: &str| {
        as_compared(rule, side, serde_json::from_str::<Option<Value>>(text).unwrap_or_default().as_ref())
    };
    let planned = (as_compared(rule, intent.to, old), intent.value.clone());
    let flips = writes.iter().filter(|(side, old, new)| {
        let (old, new) = (parse(*side, old), parse(*side, new));
        (old == planned.0 && new == planned.1) || (old == planned.1 && new == planned.0)
    });
    flips.count() >= FLIPS_MAX
}
