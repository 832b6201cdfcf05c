//! People who edit both sides, now and then the same field on both, now and then back to what it was.

use crate::executor::Owner;
use crate::plan::{Plan, REPLICA_LAG_MS};
use crate::random::Random;
use crate::world::{CRM, Shared, World};

/// Edits until the seed has no more of them.
pub async fn live(hub: Shared) {
    let plan = hub.world().plan.clone();
    let mut random = Random::keyed(hub.world().seed, &[2]);
    for number in 0..plan.edits {
        let gap = 1 + i64::try_from(random.below(u64::try_from(plan.edit_gap_ms).unwrap() * 2)).unwrap();
        hub.sleep(gap).await;
        if hub.world().calm {
            return;
        }
        act(&hub, &plan, &mut random, number);
    }
}

fn act(hub: &Shared, plan: &Plan, random: &mut Random, number: u64) {
    let person = 1 + random.below(plan.people);
    let field = 1 + usize::try_from(random.below(plan.fields.len() as u64)).unwrap();
    let mut world = hub.world();
    let places: Vec<(usize, u64)> =
        (0..=plan.stores).filter_map(|system| Some((system, world.key_of(system, person)?))).collect();
    // Half of all edits are made in the CRM.
    let place = if random.chance(500) { places[0] } else { *random.pick(&places) };
    let value = world.value(field, 1000 + number);
    let now = hub.now();
    match random.below(100) {
        0..62 => edit(hub, &mut world, place, field, Some(value), random),
        62..74 => edit(hub, &mut world, place, field, None, random),
        74..82 => {
            let old = world.systems[place.0].records[&place.1].states.first().unwrap().cells[field].value.clone();
            edit(hub, &mut world, place, field, old, random);
        }
        82..88 => {
            for place in places {
                edit(hub, &mut world, place, field, Some(value.clone()), random);
            }
        }
        88..95 => {
            for (at, place) in places.into_iter().enumerate() {
                let value = world.value(field, 2000 + number * 10 + at as u64);
                edit(hub, &mut world, place, field, Some(value), random);
            }
        }
        95..97 if random.chance(plan.deletions * 10) => {
            world.say(now, format!("person: system {} removes {}", place.0, place.1));
            world.systems[place.0].remove(now, place.1);
        }
        97..99 if random.chance(plan.duplicates * 10) => {
            // Somebody takes the e-mail of somebody else.
            let other = 1 + random.below(plan.people);
            let date = world.systems[place.0].stamp(now);
            world.edit(now, place.0, place.1, 0, Some(format!("p{other}@example.com ")), date);
        }
        _ => edit(hub, &mut world, place, field, Some(value), random),
    }
}

/// One edit: at once, or by a transaction that commits later and is dated when it began.
fn edit(
    hub: &Shared,
    world: &mut World,
    (system, key): (usize, u64),
    field: usize,
    value: Option<String>,
    random: &mut Random,
) {
    let now = hub.now();
    let date = world.systems[system].stamp(now);
    let late = world.plan.faults.late_commit;
    if system == CRM && world.strikes("late commit", &key.to_string(), late) {
        let delay = random.between(500, REPLICA_LAG_MS - 6_000);
        world.misses_injected = true;
        let hub_then = hub.clone();
        hub.time.spawn(
            Owner::World,
            Box::pin(async move {
                hub_then.sleep(delay).await;
                let now = hub_then.now();
                hub_then.world().edit(now, system, key, field, value, date);
            }),
        );
        return;
    }
    world.edit(now, system, key, field, value, date);
}
