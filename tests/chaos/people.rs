//! People: they edit both sides, in their own time.

use std::time::Duration;

use crate::ledger::Cell;
use crate::random::Random;
use crate::world::World;

/// Until the time comes.
pub async fn live(world: &World, until_ms: u64) {
    let plan = &world.plan;
    let mut random = Random::keyed(plan.seed, &[2]);
    while world.ledger.now_ms() < until_ms {
        tokio::time::sleep(Duration::from_millis(1 + random.below(2 * plan.gap_ms))).await;
        let field = usize::try_from(random.below(plan.fields.len() as u64)).unwrap();
        let person = 1 + random.below(plan.people);
        let system =
            if random.chance(500) { 0 } else { 1 + usize::try_from(random.below(plan.stores as u64)).unwrap() };
        let cell = Cell { system, person, field };
        let other = Cell { system: if system == 0 { 1 } else { 0 }, ..cell };
        match random.below(100) {
            0..14 => {
                world.edit(cell, None).await;
            }
            14..22 => {
                let value = world.fresh(field);
                let here = world.edit(cell, Some(value.clone())).await;
                if world.edit(other, Some(value)).await && here {
                    world.ledger.meet("same edit on both sides");
                }
            }
            22..34 => {
                let here = world.edit(cell, Some(world.fresh(field))).await;
                if world.edit(other, Some(world.fresh(field))).await && here {
                    world.ledger.meet("different edits on both sides");
                }
            }
            34..38 => {
                let here = world.edit(cell, Some(world.fresh(field))).await;
                if world.edit(other, None).await && here {
                    world.ledger.meet("edit against clear");
                }
            }
            38..42 => {
                // An import: everybody's field at once.
                for person in 1..=plan.people {
                    world.edit(Cell { person, ..cell }, Some(world.fresh(field))).await;
                }
            }
            _ => {
                world.edit(cell, Some(world.fresh(field))).await;
            }
        }
    }
}
