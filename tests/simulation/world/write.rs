//! Writes: they land by themselves, also when nobody waits for their answer any more; and what is checked of each.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use attune::connector::PerCall;
use attune::model::{Class, Failure, Outcome, Timestamp, Write};

use super::system::{Origin, text_of};
use super::{Hub, Shared, World};
use crate::executor::Owner;
use crate::plan::{QUARANTINE_MS, Refuses};
use crate::random::hash;

/// A write leaves at most this long after its target was read again.
pub const WINDOW_MS: i64 = 2_000;

/// A clear leaves at most this long after its origin was read again: the slowest reads of both sides.
const CONFIRMED_WITHIN_MS: i64 = 15_000;

/// What a fault makes of one call.
pub enum Fate {
    /// It lands and is answered.
    Answered,
    /// No connection, 401 or 429.
    NotSent(Class),
    /// The answer is lost; the call takes effect this much later, or never.
    Lost(Option<i64>),
    /// It takes effect, and the answer lacks its last row.
    Cut,
}

type Slot = Arc<Mutex<Option<Vec<Outcome>>>>;

pub async fn write(hub: &Shared, system: usize, batch: &[Write]) -> Vec<Outcome> {
    let sent = hub.now();
    let (fate, before, after) = send(hub, system, batch, sent);
    let mut outcomes = match fate {
        Fate::NotSent(class) => {
            hub.sleep(before).await;
            Hub::answered(hub, system, batch, &[]);
            let mut failure = Failure::new(class, "it was not sent");
            failure.status = Some(if class == Class::Auth { 401 } else { 429 });
            vec![Outcome::NotSent(failure); batch.len()]
        }
        Fate::Lost(lands) => {
            if let Some(late) = lands {
                land_later(hub, system, batch, late);
            }
            hub.sleep(before + after + 1_500).await;
            unknown(batch.len())
        }
        Fate::Answered | Fate::Cut => {
            let slot = land_later(hub, system, batch, before);
            hub.sleep(before + after).await;
            let landed = slot.lock().unwrap().take();
            landed.unwrap_or_else(|| unknown(batch.len()))
        }
    };
    if matches!(fate, Fate::Cut) {
        outcomes.pop();
        outcomes.extend(unknown(1));
    }
    hub.world().systems[system].in_flight -= 1;
    Hub::answered(hub, system, batch, &outcomes);
    outcomes
}

fn unknown(count: usize) -> Vec<Outcome> {
    vec![Outcome::Unknown(Failure::new(Class::Retry, "the answer was lost").possibly_happened()); count]
}

/// Checks a call as it leaves, and decides what becomes of it.
fn send(hub: &Shared, system: usize, batch: &[Write], sent: i64) -> (Fate, i64, i64) {
    let mut world = hub.world();
    world.calls += 1;
    world.writes += 1;
    world.systems[system].in_flight += 1;
    let about = batch.first().map(|write| format!("{system} {} {}", write.key, write.field)).unwrap_or_default();
    for write in batch {
        let value = write.value.as_ref().map(text_of);
        world.say(sent, format!("write to system {system}: {} field {} := {value:?}", write.key, write.field));
    }
    check(&mut world, system, batch, sent);
    let (fate, before, after) = draw_fate(&mut world, system, ("write", &about), sent);
    for write in batch {
        let cell = (system, key_of(write), write.field);
        world.unknown.insert(cell, sent);
        let acts = world.may_carry(system, cell.1, write);
        if let Some(act) = acts.last() {
            world.sent.insert(cell, (sent, *act));
        }
        if acts.len() > 1 {
            // Which of them it carries cannot be told, and so neither what else is replaced by it.
            let known = |act: &usize| (*world.acts[*act].knows).clone();
            let all = acts.iter().map(known).reduce(|all, more| &all | &more).unwrap_or_default();
            let sure = acts.iter().map(known).reduce(|sure, more| &sure & &more).unwrap_or_default();
            world.doubtful.extend((&all - &sure).into_iter().chain(acts).map(|act| (write.field, act)));
        }
    }
    (fate, before, after)
}

/// What becomes of a call, and how long it is on its way and back.
pub fn draw_fate(world: &mut World, system: usize, (what, about): (&str, &str), sent: i64) -> (Fate, i64, i64) {
    let faults = world.plan.faults.clone();
    let mut random = world.decide(what, about);
    let (before, after) = (random.between(5, 400), random.between(5, 400));
    let refused = super::read::refusal(world, sent, system);
    let fate = if let Some(failure) = refused {
        Fate::NotSent(failure.class)
    } else if world.strikes("not sent", about, faults.write_not_sent) {
        Fate::NotSent(Class::Retry)
    } else if world.strikes("lost", about, faults.write_lost) {
        if random.chance(300) {
            Fate::Lost(None)
        } else if random.chance(faults.write_late) {
            Fate::Lost(Some(random.between(1_000, QUARANTINE_MS - 5_000)))
        } else {
            Fate::Lost(Some(before))
        }
    } else if world.strikes("cut", about, faults.answer_cut) {
        Fate::Cut
    } else {
        Fate::Answered
    };
    (fate, before, after)
}

/// What must be true of every call that leaves.
fn check(world: &mut World, system: usize, batch: &[Write], sent: i64) {
    let per_call = batch.first().map(|write| world.systems[system].resources[write.field].destination().per_call);
    let (rows, most) = match per_call {
        _ if world.is_crm(system) => (batch.len(), world.plan.crm_batch),
        // A call to customers takes so many of them, with whatever fields each has.
        Some(PerCall::Records(most)) => (batch.iter().map(key_of).collect::<BTreeSet<_>>().len(), most),
        Some(PerCall::Writes(most)) => (batch.len(), most),
        None => (0, 0),
    };
    if batch.is_empty() || rows > most {
        world.violate(sent, format!("a batch of {} writes to system {system}", batch.len()));
    }
    if world.systems[system].in_flight > world.systems[system].calls_at_once() {
        world.violate(sent, format!("{} writes at once to system {system}", world.systems[system].in_flight));
    }
    if world.quiet {
        world.violate(sent, format!("a write to system {system} after everything had agreed"));
    }
    let paused = |system: usize| world.paused.get(&system).is_some_and(|since| sent - since > WINDOW_MS * 5);
    if paused(system) || world.others(system).all(paused) {
        world.violate(sent, format!("a write to system {system} while it was paused"));
    }
    let destination = |write: &Write| world.systems[system].resources[write.field].destination().number;
    if !world.is_crm(system) && batch.iter().any(|write| destination(write) != destination(&batch[0])) {
        world.violate(sent, format!("a call to two resources of system {system}"));
    }
    for write in batch {
        let key = key_of(write);
        let person = world.systems[system].records.get(&key).map_or(0, |record| record.person);
        let mut partners = vec![(system, key)];
        if !world.stirred.contains(&person) {
            let others = world.others(system);
            partners.extend(world.of_person(person).into_iter().filter(|(other, _)| others.contains(other)));
        }
        for &(other, their_key) in &partners {
            let open = world.unknown.get(&(other, their_key, write.field)).copied();
            if open.is_some_and(|at| sent < at + QUARANTINE_MS) {
                let what = format!("a write to system {system} {key} field {} in quarantine of {other}", write.field);
                world.violate(sent, what);
            }
        }
        let read = world.rechecked.get(&(system, key, write.field)).copied();
        if read.is_none_or(|read| sent - read > WINDOW_MS) {
            let ago = read.map(|read| sent - read);
            world.violate(sent, format!("a write to system {system} {key} left {ago:?} ms after its recheck"));
        }
        if write.value.is_none() && world.is_crm(system) && !world.stirred.contains(&person) {
            // A store has no row for what is absent, and neither has a replica that lags.
            let confirmed = partners
                .iter()
                .filter(|(other, _)| *other != system)
                .filter_map(|(other, key)| world.rechecked.get(&(*other, *key, write.field)))
                .any(|read| sent - read <= CONFIRMED_WITHIN_MS);
            if !confirmed {
                world.violate(sent, format!("a clear of {key} at system {system} whose origin was not read again"));
            }
        }
        world.judge(sent, system, key, write);
    }
}

fn key_of(write: &Write) -> u64 {
    write.key.as_str().parse().unwrap()
}

/// Lands a call by itself after so many milliseconds; the slot holds the outcomes then.
fn land_later(hub: &Shared, system: usize, batch: &[Write], after: i64) -> Slot {
    let slot = Slot::default();
    let (landing, hub_then, batch) = (Arc::clone(&slot), Arc::clone(hub), batch.to_vec());
    hub.time.spawn(
        Owner::World,
        Box::pin(async move {
            hub_then.sleep(after).await;
            let now = hub_then.now();
            let outcomes = land(&mut hub_then.world(), now, system, &batch);
            *landing.lock().unwrap() = Some(outcomes);
        }),
    );
    slot
}

fn refuses(world: &World, system: usize, write: &Write) -> bool {
    let text = write.value.as_ref().map(text_of).unwrap_or_default();
    write.value.is_some() && hash(&format!("{system} {} {}", world.seed, text.trim())) % 1000 < world.plan.faults.poison
}

fn land(world: &mut World, now: i64, system: usize, batch: &[Write]) -> Vec<Outcome> {
    let refused: Vec<bool> = batch.iter().map(|write| refuses(world, system, write)).collect();
    let these = batch.iter().zip(&refused).filter(|(_, refused)| **refused).map(|(write, _)| write);
    world.refused.extend(these.map(|write| (system, key_of(write), write.field)));
    let (mode, whole_batch) = (world.plan.refuses, batch.len() > 1 && world.plan.refuses != Refuses::Rows);
    if let (Some(end), true) = (refused.iter().position(|refused| *refused), whole_batch) {
        if mode == Refuses::Partly {
            let differing = differing(world, system, &batch[..end]);
            batch[..end].iter().for_each(|write| drop(land_one(world, now, system, write, &differing)));
        }
        let mut failure = Failure::new(Class::Rejected, "a row is refused");
        failure.status = Some(422);
        return vec![Outcome::BatchRejected(failure); batch.len()];
    }
    let differing = differing(world, system, batch);
    batch
        .iter()
        .zip(refused)
        .map(|(write, refused)| {
            if refused {
                return Outcome::Rejected("this value is refused".to_owned());
            }
            land_one(world, now, system, write, &differing)
        })
        .collect()
}

/// The records of a conditional batch that do not hold any more what the recheck read: written entirely or not at all.
fn differing(world: &World, system: usize, batch: &[Write]) -> BTreeSet<u64> {
    if !world.is_crm(system) || !world.plan.conditional {
        return BTreeSet::new();
    }
    let differs = |write: &&Write| {
        let Some(record) = world.systems[system].records.get(&key_of(write)) else { return false };
        super::read::show_cell(&world.systems[system], write.field, &record.now().cells[write.field]).seen
            != write.expect.seen
    };
    batch.iter().filter(differs).map(key_of).collect()
}

fn land_one(world: &mut World, now: i64, system: usize, write: &Write, differing: &BTreeSet<u64>) -> Outcome {
    let key = key_of(write);
    let target = &world.systems[system];
    let Some(state) = target.records.get(&key).map(|record| record.now().clone()).filter(|state| !state.gone) else {
        return Outcome::Gone;
    };
    if differing.contains(&key) {
        return Outcome::Changed;
    }
    let (before, stamp) = (&state.cells[write.field], target.stamp(now));
    let expected: u64 = write.expect.token.as_deref().and_then(|token| token.parse().ok()).unwrap_or(0);
    // At first meeting nobody has said anything since; but a system that shows nothing denies what it holds.
    let counts = world.acts[before.carries].origin == Origin::Person || write.expect.token.is_none();
    if before.version != expected && !before.ours && counts {
        let act = before.carries;
        world.say(now, format!("act {act} is overwritten unseen, in the window"));
        world.lost_in_window.insert(act);
        world.meet("lost in the window");
    }
    let mut date = stamp;
    if world.is_crm(system) {
        date = date.max(state.modified).max(write.modified.map_or(0, Timestamp::as_millis));
    }
    let carries = world.carried(system, key, write).unwrap_or(before.carries);
    let value = write.value.as_ref().map(text_of);
    world.land((now, date), system, key, write.field, value, carries);
    let stored = world.systems[system].records[&key].now().cells[write.field].clone();
    world.say(now, format!("landed at system {system}: {key} field {} is {:?}", write.field, stored.value));
    Outcome::Written { stored: super::read::show_cell(&world.systems[system], write.field, &stored) }
}

impl Hub {
    /// The process knows the outcome of these: whatever is not unknown is no longer under way.
    fn answered(hub: &Shared, system: usize, batch: &[Write], outcomes: &[Outcome]) {
        let now = hub.now();
        let mut world = hub.world();
        for (at, write) in batch.iter().enumerate() {
            let outcome = outcomes.get(at);
            if let Some(outcome) = outcome {
                let word = match outcome {
                    Outcome::Written { .. } => "written",
                    Outcome::Changed => "changed",
                    Outcome::Gone => "gone",
                    Outcome::Rejected(_) => "rejected",
                    Outcome::BatchRejected(_) => "batch rejected",
                    Outcome::NotSent(_) => "not sent",
                    Outcome::Unknown(_) => "unknown",
                };
                world.say(now, format!("answer of system {system}: {} field {} {word}", write.key, write.field));
            }
            let key = key_of(write);
            if !matches!(outcome, Some(Outcome::Unknown(_))) {
                world.unknown.remove(&(system, key, write.field));
            }
            if matches!(outcome, Some(Outcome::Unknown(_) | Outcome::BatchRejected(_)))
                && let Some(act) = world.carried(system, key, write)
            {
                world.doubtful.insert((write.field, act));
            }
        }
    }
}
