//! Records that we make and remove: they land by themselves, as writes do; and what is checked of each.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use attune::connector::{
    Created, Lane, Lifecycle, LifecycleLimits, Lookup, LookupLimits, NewRecord, Removed, Reservation,
};
use attune::model::{Class, Failure, Key};

use super::system::text_of;
use super::write::{Fate, WINDOW_MS, draw_fate};
use super::{Shared, World};
use crate::executor::Owner;
use crate::oracle::compared;
use crate::random::hash;

/// The most records of one call.
const RECORDS_PER_CALL: usize = 2;

/// Whoever was there so long ago was there to be found: a look, and the way of the call; or the slowest look, by a stale
/// replica.
const FOUND_WITHIN_MS: [i64; 2] = [8_000, 30_000];

/// Keys of records that we make where no person's key was kept for them.
const FRESH_KEYS: u64 = 500_000;

/// How records of a system are found, made and removed, whatever its side.
pub struct Register {
    pub hub: Shared,
    pub system: usize,
    /// The values of one lookup; 0: it has none.
    pub finds: usize,
}

#[async_trait]
impl Lookup for Register {
    fn lookup_limits(&self) -> LookupLimits {
        LookupLimits { values_per_find: self.finds, rows_per_page: 1 }
    }

    fn finds_by(&self, field: usize) -> bool {
        field == 0
    }

    async fn count(&self, _lane: Lane) -> Result<u64, Failure> {
        super::read::count(&self.hub, self.system).await
    }

    async fn keys_with(&self, field: usize, values: &[String], _fold: bool, _lane: Lane) -> Result<Vec<Key>, Failure> {
        super::read::find(&self.hub, self.system, field, values).await
    }
}

#[async_trait]
impl Lifecycle for Register {
    fn lifecycle_limits(&self) -> LifecycleLimits {
        LifecycleLimits { records_per_create: RECORDS_PER_CALL, keys_per_remove: RECORDS_PER_CALL }
    }

    fn creates_with(&self, field: usize) -> bool {
        self.hub.world().systems[self.system].resources[field].is_made_with()
    }

    async fn create(&self, batch: &[NewRecord], _reservation: &dyn Reservation) -> Vec<Created> {
        create(&self.hub, self.system, batch).await
    }

    async fn remove(&self, keys: &[Key], _reservation: &dyn Reservation) -> Vec<Removed> {
        remove(&self.hub, self.system, keys).await
    }
}

type Slot<T> = Arc<Mutex<Option<Vec<T>>>>;

/// Makes records.
pub async fn create(hub: &Shared, system: usize, batch: &[NewRecord]) -> Vec<Created> {
    let about = batch.first().map(|record| format!("{system} {}", record.token)).unwrap_or_default();
    let (fate, before, after) = {
        let (sent, mut world) = (hub.now(), hub.world());
        for record in batch {
            let values: Vec<String> =
                record.values.iter().map(|(field, value)| format!("{field} := {:?}", value.display())).collect();
            world.say(sent, format!("create at system {system}: {}", values.join(", ")));
        }
        check(&mut world, system, sent, batch.len());
        for record in batch {
            world.judge_creation(sent, system, record);
        }
        draw_fate(&mut world, system, ("create", &about), sent)
    };
    let lost = || Created::Unknown(Failure::new(Class::Retry, "the answer was lost").possibly_happened());
    let mut outcomes = match fate {
        Fate::NotSent(class) => {
            hub.sleep(before).await;
            vec![Created::NotSent(Failure::new(class, "it was not sent")); batch.len()]
        }
        Fate::Lost(lands) => {
            if let Some(late) = lands {
                land_later(hub, late, batch, move |world, now, record| {
                    let created = make(world, now, system, record);
                    world.doubt_making(system, &created);
                });
            }
            hub.sleep(before + after + 1_500).await;
            vec![lost(); batch.len()]
        }
        Fate::Answered | Fate::Cut => {
            let slot = land_later(hub, before, batch, move |world, now, record| make(world, now, system, record));
            hub.sleep(before + after).await;
            slot.lock().unwrap().take().unwrap_or_else(|| vec![lost(); batch.len()])
        }
    };
    let (now, mut world) = (hub.now(), hub.world());
    if matches!(fate, Fate::Cut) {
        outcomes.pop().into_iter().for_each(|created| world.doubt_making(system, &created));
        outcomes.push(lost());
    }
    world.systems[system].in_flight -= 1;
    world.say(now, format!("answer of system {system}: {outcomes:?}"));
    outcomes
}

/// Removes records.
pub async fn remove(hub: &Shared, system: usize, keys: &[Key]) -> Vec<Removed> {
    let about = keys.first().map(|key| format!("{system} {key}")).unwrap_or_default();
    let (fate, before, after) = {
        let (sent, mut world) = (hub.now(), hub.world());
        world.say(sent, format!("remove at system {system}: {keys:?}"));
        check(&mut world, system, sent, keys.len());
        for key in keys {
            world.judge_removal(sent, system, key);
        }
        draw_fate(&mut world, system, ("remove", &about), sent)
    };
    let lost = || Removed::Unknown(Failure::new(Class::Retry, "the answer was lost").possibly_happened());
    let outcomes = match fate {
        Fate::NotSent(class) => {
            hub.sleep(before).await;
            vec![Removed::NotSent(Failure::new(class, "it was not sent")); keys.len()]
        }
        Fate::Lost(lands) => {
            if let Some(late) = lands {
                land_later(hub, late, keys, move |world, now, key| unmake(world, now, system, key));
            }
            hub.sleep(before + after + 1_500).await;
            vec![lost(); keys.len()]
        }
        Fate::Answered | Fate::Cut => {
            let slot = land_later(hub, before, keys, move |world, now, key| unmake(world, now, system, key));
            hub.sleep(before + after).await;
            slot.lock().unwrap().take().unwrap_or_else(|| vec![lost(); keys.len()])
        }
    };
    hub.world().systems[system].in_flight -= 1;
    outcomes
}

/// Lands a call by itself after so many milliseconds; the slot holds the outcomes then.
fn land_later<T: Clone + Send + 'static, R: Send + 'static>(
    hub: &Shared,
    after: i64,
    batch: &[T],
    land: impl Fn(&mut World, i64, &T) -> R + Send + 'static,
) -> Slot<R> {
    let slot = Slot::default();
    let (landing, then, batch) = (Arc::clone(&slot), Arc::clone(hub), batch.to_vec());
    let work = async move {
        then.sleep(after).await;
        let (now, mut world) = (then.now(), then.world());
        let outcomes = batch.iter().map(|one| land(&mut world, now, one)).collect();
        *landing.lock().unwrap() = Some(outcomes);
    };
    hub.time.spawn(Owner::World, Box::pin(work));
    slot
}

/// What must be true of every call that leaves.
fn check(world: &mut World, system: usize, sent: i64, count: usize) {
    world.calls += 1;
    world.writes += 1;
    world.systems[system].in_flight += 1;
    if count == 0 || count > RECORDS_PER_CALL {
        world.violate(sent, format!("a call about {count} records of system {system}"));
    }
    if world.systems[system].in_flight > 3 {
        world.violate(sent, format!("{} writes at once to system {system}", world.systems[system].in_flight));
    }
    if world.quiet {
        world.violate(sent, format!("a record is made or removed at system {system} after everything had agreed"));
    }
    let paused = |system: usize| world.paused.get(&system).is_some_and(|since| sent - since > WINDOW_MS * 5);
    if paused(system) || world.others(system).all(paused) {
        world.violate(sent, format!("a record is made or removed at system {system} while it was paused"));
    }
}

fn value_of(record: &NewRecord, field: usize) -> Option<String> {
    record.values.iter().find(|(at, _)| *at == field).map(|(_, value)| text_of(value))
}

fn folded(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Makes one record, unless it is refused.
fn make(world: &mut World, now: i64, system: usize, record: &NewRecord) -> Created {
    world.stirred_at = now;
    let email = value_of(record, 0).unwrap_or_default();
    if let Some(key) = world.made.get(&(system, record.token.clone())).copied()
        && world.plan.keeps_tokens
        && !world.systems[system].records[&key].now().gone
    {
        world.meet("made before under the same token");
        return Created::Made(Key::new(key.to_string()));
    }
    let holder = world.holder(system, &email);
    if let Some(key) = holder.filter(|_| world.plan.unique_emails) {
        world.meet("somebody has the e-mail already");
        let tells = world.decide("tells", &record.token).chance(500);
        return Created::Exists(tells.then(|| Key::new(key.to_string())));
    }
    if hash(&format!("{system} {} {}", world.seed, folded(&email))) % 1000 < world.plan.faults.poison {
        return Created::Rejected("this record is refused".to_owned());
    }
    let person = world.person_of(system, &email);
    let kept = world.kept_keys.iter().position(|(at, who, _)| (*at, *who) == (system, person));
    let key = kept.map_or(FRESH_KEYS + world.versions(), |at| world.kept_keys.remove(at).2);
    let count = world.systems[system].names.len();
    let values: Vec<Option<String>> = (0..count).map(|field| value_of(record, field)).collect();
    world.make(now, system, (key, person), &values);
    world.made.insert((system, record.token.clone()), key);
    world.meet("record made");
    Created::Made(Key::new(key.to_string()))
}

fn unmake(world: &mut World, now: i64, system: usize, key: &Key) -> Removed {
    let key: u64 = key.as_str().parse().unwrap();
    if !world.systems[system].records[&key].now().gone {
        world.meet("record removed by us");
        world.remove(now, system, key, None);
        world.stirred_at = now;
    }
    Removed::Gone
}

impl World {
    /// Who holds an e-mail at a system now.
    fn holder(&self, system: usize, email: &str) -> Option<u64> {
        let keys = self.systems[system].records.keys().copied();
        let mut held = keys.filter(|key| self.holds(system, *key, 0).is_some_and(|held| folded(held) == folded(email)));
        held.next()
    }

    /// Nobody was told that it was made: whoever edits it before it is found meets what he never saw.
    fn doubt_making(&mut self, system: usize, created: &Created) {
        if let Created::Made(key) = created {
            self.made_unknown.insert((system, key.as_str().parse().unwrap()));
        }
    }

    /// Whose e-mail that is, or was, on the other side.
    fn person_of(&self, system: usize, email: &str) -> u64 {
        let had = |record: &&super::system::Record| {
            let emails = record.states.iter().filter_map(|state| state.cells[0].value.as_deref());
            emails.map(folded).any(|held| held == folded(email))
        };
        let others = self.systems[self.others(system)].iter().flat_map(|system| system.records.values());
        others.filter(had).map(|record| record.person).next_back().unwrap_or(0)
    }

    /// A record is made that lacked: nobody was there who could have been found.
    fn judge_creation(&mut self, sent: i64, system: usize, record: &NewRecord) {
        let email = value_of(record, 0).unwrap_or_default();
        if !self.plan.creates_on(self.side(system)) {
            return self.violate(sent, format!("a record is made at system {system}, which nobody asked for"));
        }
        let faults = &self.plan.faults;
        let is_quick = faults.stale_read + faults.slow + faults.late_commit + faults.read_fails == 0;
        let before = sent - if is_quick { FOUND_WITHIN_MS[0] } else { FOUND_WITHIN_MS[1] };
        let stood = |key: &u64| {
            let states = &self.systems[system].records[key].states;
            let then = states.iter().rposition(|state| state.at <= before);
            then.is_some_and(|then| {
                states[then..].iter().all(|state| {
                    !state.gone && state.cells[0].value.as_deref().is_some_and(|held| folded(held) == folded(&email))
                })
            })
        };
        let there = self.systems[system].records.keys().find(|key| stood(key)).copied();
        let can_be_found = self.plan.finds > 0 && !self.restored && !self.is_silent(system) && self.silences == 0;
        if let Some(key) = there.filter(|_| can_be_found) {
            self.violate(sent, format!("{email} is made again at system {system}, where {key} has it"));
        }
    }

    /// A record is removed whose partner is gone; nobody else has it for a partner, and nobody's word is lost with it.
    fn judge_removal(&mut self, sent: i64, system: usize, key: &Key) {
        let number: u64 = key.as_str().parse().unwrap();
        if !self.plan.deletes {
            return self.violate(sent, format!("{number} is removed at system {system}, which nobody asked for"));
        }
        let person = self.systems[system].records[&number].person;
        let partners: Vec<(usize, u64)> =
            self.of_person(person).into_iter().filter(|(other, _)| self.others(system).contains(other)).collect();
        let went =
            partners.iter().any(|(other, key)| self.systems[*other].records[key].states.iter().any(|state| state.gone));
        let mixed = self.plan.emails + self.plan.merges > 0 || self.restored || self.silences > 0;
        if !went && !mixed {
            self.violate(sent, format!("{number} is removed at system {system}, and none of its partners went"));
        }
    }

    /// A record appears that we made: each of its cells carries what somebody said elsewhere.
    fn make(&mut self, now: i64, system: usize, (key, person): (u64, u64), values: &[Option<String>]) {
        let mut carried = Vec::new();
        for (field, value) in values.iter().enumerate() {
            carried.push(self.said(system, person, field, value.as_deref()));
        }
        self.add_made(now, system, (key, person), values, &carried);
    }

    /// The act that a value of a new record carries: what a person said on the other side.
    fn said(&self, system: usize, person: u64, field: usize, value: Option<&str>) -> Option<usize> {
        let rule = self.plan.fields.get(field.checked_sub(1)?)?;
        let value = compared(rule, Some(value?));
        value.as_ref()?;
        let others = self.systems[self.others(system)].iter().flat_map(|system| system.records.values());
        let stood: BTreeSet<usize> = others
            .filter(|record| record.person == person)
            .flat_map(|record| &record.states)
            .map(|state| &state.cells[field])
            .filter(|cell| compared(rule, cell.value.as_deref()) == value)
            .map(|cell| cell.carries)
            .collect();
        stood.last().copied()
    }
}
