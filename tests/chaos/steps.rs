//! Every point of a push, one after the other: what leaves and what comes back, at the store and, on PostgreSQL, at the CRM.

use std::time::Instant;

use crate::ledger::Cell;
use crate::plan::Plan;
use crate::random::Random;
use crate::strikes::{Action, Point, Strikes};
use crate::world::World;
use crate::{FEW, again_steps, number, postgres, rest, time, told};

/// Edits of every kind, so that a pass has all kinds of writes to make.
async fn edits(world: &World) {
    let cell = |system, person, field| Cell { system, person, field };
    for field in 0..world.plan.fields.len() {
        let fresh = || Some(world.fresh(field));
        for person in 1..=2 {
            world.edit(cell(0, person, field), fresh()).await;
            world.edit(cell(1, person + 2, field), fresh()).await;
        }
    }
    // Clears, and a conflict that is decided.
    world.edit(cell(0, 5, 0), None).await;
    world.edit(cell(1, 6, 0), None).await;
    world.edit(cell(0, 5, 1), Some(world.fresh(1))).await;
    world.edit(cell(1, 5, 1), Some(world.fresh(1))).await;
    // So that there is something to clear the next time.
    world.edit(cell(0, 6, 2), Some(world.fresh(2))).await;
    world.edit(cell(0, 6, 0), Some(world.fresh(0))).await;
}

/// A pass that is struck at one point; then somebody edits what was on its way, and everything comes to rest.
async fn strike(world: &World, at: u64, random: &mut Random) -> bool {
    edits(world).await;
    let point = *random.pick(&[Point::Before, Point::After]);
    let action = match random.below(3) {
        // Most of all it is killed there.
        0..2 => Action::Kill(random.chance(500).then(|| 50 + random.below(300))),
        _ => Strikes::any(point, random),
    };
    world.strikes.arm(Some((at, action)));
    world.attune.start("sync --patience 1s").await;
    world.attune.end().await;
    let struck = !world.strikes.is_armed();
    world.strikes.arm(None);
    if struck && random.chance(500) {
        let cell = Cell { system: usize::try_from(random.below(2)).unwrap(), person: 1 + random.below(4), field: 0 };
        world.edit(cell, Some(world.fresh(0))).await;
    }
    rest::come_to_rest(world).await;
    struck
}

/// How many points an undisturbed pass has.
async fn points(world: &World) -> u64 {
    world.attune.run("sync").await;
    edits(world).await;
    world.strikes.arm(None);
    world.attune.run("sync").await;
    world.strikes.points()
}

async fn every_point(postgres: bool) {
    let seed = number("ATTUNE_SEED").unwrap_or(0);
    let outcome = told(Plan::calm(seed, postgres), move |world| async move {
        let mut random = Random::keyed(seed, &[20]);
        let points = points(&world).await;
        let mut order: Vec<u64> = (0..points).collect();
        // So that those that fit into the time are spread over the push.
        order.sort_by_key(|at| Random::keyed(seed, &[21, *at]).next());
        let began = Instant::now();
        let (mut tried, mut struck) = (0, 0);
        for at in order {
            let goes_on = time().map_or(tried < FEW, |time| began.elapsed() < time);
            if !goes_on || !world.ledger.violations().is_empty() {
                break;
            }
            tried += 1;
            struck += u64::from(strike(&world, at, &mut random).await);
        }
        println!("{struck} strikes in {tried} passes, of {points} points");
        if tried < points {
            println!("skipped: {} points (ATTUNE_CHAOS_SECONDS gives time for them)", points - tried);
        }
        rest::check(&world, false).await;
    })
    .await;
    if !outcome.violations.is_empty() {
        println!("{}", outcome.story);
    }
    assert!(outcome.violations.is_empty(), "{:#?}\n{}", outcome.violations, again_steps(seed));
    println!("met: {:#?}", outcome.met);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_push() {
    every_point(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_push_to_postgres() {
    if postgres().is_none() {
        println!("skipped: ATTUNE_TEST_POSTGRES is not set");
        return;
    }
    every_point(true).await;
}
