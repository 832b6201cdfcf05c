//! Does what the script says people do: edits, removals, and what an operator does about all that waits for him.

use std::sync::Arc;

use attune::engine::{HeldAction, HeldSelection, Request};
use attune::model::Side;

use crate::driver::Process;
use crate::executor::Owner;
use crate::script::{Deed, Operation, Return, Timed};
use crate::world::{BEGIN_MS, Rebirth, Resource, World};

/// Until the script has no more of them, or the world is calm.
pub async fn live(process: Arc<Process>, deeds: Vec<Timed>) {
    let hub = &process.hub;
    for timed in deeds {
        hub.sleep(BEGIN_MS + timed.at_ms - hub.now()).await;
        if hub.world().calm {
            return;
        }
        act(&process, timed.deed);
    }
}

fn act(process: &Arc<Process>, deed: Deed) {
    let hub = &process.hub;
    let now = hub.now();
    match deed {
        Deed::Edit { system, key, field, value, late_ms } if late_ms > 0 => {
            hub.world().misses_injected = true;
            hub.world().meet("late commit");
            let (then, dated) = (Arc::clone(hub), now);
            let later = async move {
                then.sleep(late_ms).await;
                let now = then.now();
                then.world().edit(now, system, key, field, value, dated);
            };
            hub.time.spawn(Owner::World, Box::pin(later));
        }
        Deed::Edit { system, key, field, value, late_ms: _ } => {
            let mut world = hub.world();
            if field == 0 {
                stir(&mut world, system, key);
                stir_whose(&mut world, value.as_deref());
                world.meet("e-mail changed");
            }
            world.edit(now, system, key, field, value, now);
            if field == 0 {
                // Of the new one nobody has asked yet whether it may be written to.
                let resources = world.systems[system].resources.iter().enumerate();
                let consents: Vec<usize> =
                    resources.filter(|(_, resource)| **resource == Resource::Subscriber).map(|(at, _)| at).collect();
                consents.into_iter().for_each(|field| world.edit(now, system, key, field, None, now));
            }
        }
        Deed::Remove { system, key } => {
            let mut world = hub.world();
            stir(&mut world, system, key);
            world.meet("record removed");
            world.say(now, format!("person: system {system} removes {key}"));
            world.remove(now, system, key, None);
        }
        Deed::Register(Return { system, key, person, values }) => {
            let mut world = hub.world();
            world.meet("registered again");
            world.say(now, format!("person: registers again at system {system} as {key}"));
            world.add(now, system, key, person, &values);
            stir(&mut world, system, key);
        }
        Deed::Merge { system, key, into } => {
            let mut world = hub.world();
            let here = |key: u64| world.systems[system].records.get(&key).is_some_and(|record| !record.now().gone);
            if here(key) && here(into) {
                stir(&mut world, system, key);
                stir(&mut world, system, into);
                world.meet("record merged");
                world.say(now, format!("person: system {system} merges {key} into {into}"));
                world.remove(now, system, key, Some(into));
            }
        }
        Deed::Pause { system, for_ms } => {
            let pausing = pause(Arc::clone(process), system, for_ms);
            hub.time.spawn(Owner::World, Box::pin(pausing));
        }
        Deed::Step { ms } => {
            let mut world = hub.world();
            world.our_skew_ms += ms;
            world.meet("our clock jumps");
            world.say(now, format!("our clock jumps by {ms} ms"));
        }
        Deed::Operate(operation) => operate(process, operation),
        Deed::Silence { system, for_ms } => {
            hub.time.spawn(Owner::World, Box::pin(silence(Arc::clone(process), system, for_ms)));
        }
        Deed::Restore { .. } | Deed::RestoreCheckpoint { .. } | Deed::Remap { .. } | Deed::Repolicy { .. } => {
            upheave(&mut hub.world(), now, deed);
        }
    }
}

/// What befalls a whole system; or the process begins again under other conditions.
fn upheave(world: &mut World, now: i64, deed: Deed) {
    match deed {
        Deed::Restore { system, age_ms } => {
            world.meet("system restored");
            world.say(now, format!("system {system} is restored from {age_ms} ms ago"));
            world.restore(now, system, now - age_ms);
        }
        Deed::RestoreCheckpoint { age_ms, with_mark } => {
            let how = if with_mark { "with its mark" } else { "without its mark" };
            world.meet(&format!("checkpoint restored, {how}"));
            world.say(now, format!("the checkpoint is restored from {age_ms} ms ago, {how}"));
            world.begin_again(Rebirth::Restored { at: now - age_ms, with_mark });
            world.restored = true;
            world.stir_all();
        }
        Deed::Remap { fields } => {
            world.meet("mapping changed");
            world.say(now, format!("{fields} fields are mapped"));
            world.begin_again(Rebirth::Mapping(fields));
            world.remapped = true;
            world.stir_all();
        }
        Deed::Repolicy { field, conflict } => {
            world.meet("policy changed");
            world.say(now, format!("conflicts in field {field} go by {conflict:?}"));
            world.begin_again(Rebirth::Same);
            world.plan.fields[field - 1].conflict = conflict;
            world.remapped = true;
        }
        _ => {}
    }
}

async fn silence(process: Arc<Process>, system: usize, for_ms: i64) {
    let hub = &process.hub;
    hub.tell(|| format!("system {system} shows nothing"));
    {
        let mut world = hub.world();
        world.meet("a system shows nothing");
        world.silent.insert(system);
        world.silences += 1;
        world.stir_all();
    }
    hub.sleep(for_ms).await;
    hub.tell(|| format!("system {system} shows what it holds again"));
    let now = hub.now();
    let mut world = hub.world();
    world.silent.remove(&system);
    world.stirred_at = now;
}

fn stir(world: &mut World, system: usize, key: u64) {
    if let Some(record) = world.systems[system].records.get(&key) {
        let person = record.person;
        world.stirred.insert(person);
    }
}

/// Whoever has an e-mail that somebody else takes may be linked to him.
fn stir_whose(world: &mut World, email: Option<&str>) {
    let plain = |email: &str| email.trim().to_lowercase();
    let Some(email) = email.map(plain) else { return };
    let mut owners = Vec::new();
    for record in world.systems.iter().flat_map(|system| system.records.values()) {
        let mut emails = record.states.iter().filter_map(|state| state.cells[0].value.as_deref());
        owners.extend(emails.any(|theirs| plain(theirs) == email).then_some(record.person));
    }
    world.stirred.extend(owners);
}

async fn pause(process: Arc<Process>, system: usize, for_ms: i64) {
    let hub = &process.hub;
    let name = hub.world().systems[system].name.clone();
    process.operate(&Request::Pause { name: name.clone() });
    let now = hub.now();
    hub.world().paused.insert(system, now);
    hub.world().meet("paused");
    hub.tell(|| format!("person: pauses {name}"));
    hub.sleep(for_ms).await;
    process.operate(&Request::Resume { name: name.clone() });
    hub.world().paused.remove(&system);
    hub.tell(|| format!("person: resumes {name}"));
}

fn operate(process: &Arc<Process>, operation: Operation) {
    let hub = &process.hub;
    let held = |action| Request::Held { selection: HeldSelection::default(), action };
    let requests: Vec<Request> = match operation {
        Operation::TakeStore => vec![held(HeldAction::Take(Side::Store))],
        Operation::TakeCrm => vec![held(HeldAction::Take(Side::Crm))],
        Operation::Drop => vec![held(HeldAction::Drop)],
        Operation::Retry => vec![held(HeldAction::Retry)],
        Operation::Approve => {
            let world = hub.world();
            let stores = world.systems.iter().filter(|system| !system.is_crm);
            stores.map(|system| Request::Approve { store: system.name.clone() }).collect()
        }
    };
    hub.tell(|| format!("operator: {operation:?}"));
    hub.world().meet(&format!("operator: {operation:?}"));
    for request in requests {
        process.operate(&request);
    }
}
