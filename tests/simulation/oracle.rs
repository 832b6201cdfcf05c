//! What must be true at rest.

use std::collections::{BTreeMap, BTreeSet};

use attune::checkpoint::{HeldFilter, HeldRow, HeldState, HistoryFilter, HistoryRow};
use attune::merge::canonical;
use attune::model::{Canonical, Direction, FieldRule, OnClear, Side, Timestamp, Value};

use crate::driver::Process;
use crate::executor::at_once;
use crate::world::{CRM, World};

/// What the checkpoint says at rest.
struct Remembered {
    links: Vec<(usize, u64, u64)>,
    held: Vec<HeldRow>,
    history: Vec<HistoryRow>,
    stopped: bool,
    open: usize,
}

pub fn at_rest(process: &Process) {
    let remembered = at_once(remember(process));
    let mut world = process.hub.world();
    let mut found = Vec::new();
    if remembered.open > 0 {
        found.push(format!("{} attempts are still open", remembered.open));
    }
    if !remembered.stopped {
        convergence(&world, &remembered, &mut found);
        linking(&world, &remembered, &mut found);
    }
    rails(&world, &remembered, &mut found);
    loss(&world, &remembered, &mut found);
    invention(&world, &mut found);
    if !remembered.stopped {
        last_word(&world, &remembered, &mut found);
        return_of_the_dead(&world, &remembered, &mut found);
    }
    let now = process.hub.now();
    found.into_iter().for_each(|what| world.violate(now, what));
}

async fn remember(process: &Process) -> Remembered {
    let (names, rails): (Vec<String>, bool) = {
        let world = process.hub.world();
        (world.systems.iter().map(|system| system.name.clone()).collect(), world.plan.has_rails())
    };
    let mut transaction = process.checkpoint.read().await.unwrap();
    let (mut links, mut open, mut stopped) = (Vec::new(), 0, false);
    for (number, name) in names.iter().enumerate().skip(1) {
        for pair in transaction.pairs_by_name(name).await.unwrap() {
            for (_, store, crm) in transaction.link_keys(pair.id, 0, 10_000).await.unwrap() {
                links.push((number, store.parse().unwrap(), crm.parse().unwrap()));
            }
            let far = Timestamp::from_millis(i64::MAX / 2);
            for side in [Side::Store, Side::Crm] {
                open += transaction.attempts_due(pair.id, side, far, 10_000).await.unwrap().len();
            }
            stopped |= rails && transaction.pair(pair.id).await.unwrap().stopped.is_some();
        }
    }
    let held = transaction.held(&HeldFilter::default()).await.unwrap();
    let history = transaction.history(&HistoryFilter::default()).await.unwrap();
    transaction.end().await.unwrap();
    Remembered { links, held, history, stopped, open }
}

/// A value as it is compared; what has no canonical form compares as it is written.
pub fn compared(rule: &FieldRule, side: Side, value: Option<&str>) -> Option<String> {
    let value = value?;
    match canonical(rule, side, &Value::text(value)) {
        Ok(canonical) => canonical.as_ref().map(Canonical::value).map(Value::display),
        Err(_) => Some(value.trim().to_owned()),
    }
}

/// Every mapped field of a linked record that is neither held nor kept is equal on both sides.
fn convergence(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    for (system, store_key, crm_key) in &remembered.links {
        for (at, rule) in world.plan.fields.iter().enumerate() {
            let store = compared(rule, Side::Store, world.holds(*system, *store_key, at + 1));
            let crm = compared(rule, Side::Crm, world.holds(CRM, *crm_key, at + 1));
            if store == crm {
                continue;
            }
            let name = &world.systems[*system].name;
            let held = remembered.held.iter().find(|held| {
                held.store == *name
                    && held.store_key.as_deref() == Some(&store_key.to_string())
                    && held.field.as_deref() == Some(&rule.store)
            });
            if let Some(held) = held.filter(|held| held.state == HeldState::Held) {
                let text = |json: &str| serde_json::from_str::<Option<String>>(json).unwrap_or_default();
                let then = (
                    compared(rule, Side::Store, text(&held.store_value).as_deref()),
                    compared(rule, Side::Crm, text(&held.crm_value).as_deref()),
                );
                if then != (store.clone(), crm.clone()) {
                    let now = (store, crm);
                    found.push(format!("{name} {store_key} {}: held as {then:?}, but they hold {now:?}", rule.store));
                }
                continue;
            }
            let source_is_empty = match rule.direction {
                Direction::Both => false,
                Direction::ToStore => crm.is_none(),
                Direction::ToCrm => store.is_none(),
            };
            let kept = source_is_empty || (!rule.overwrite && store.is_some() && crm.is_some());
            let kept = kept || (!rule.overwrite && rule.on_clear != OnClear::Restore);
            if !kept {
                let pair = format!("{name} {store_key} and contact {crm_key}");
                found.push(format!("{pair} do not agree in {}: {store:?} and {crm:?}", rule.store));
            }
        }
    }
}

/// A customer and a contact that have the same e-mail, and nobody else has it, are linked.
fn linking(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    let emails = |system: usize| {
        let mut emails: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for key in world.systems[system].records.keys() {
            if let Some(email) = world.holds(system, *key, 0) {
                emails.entry(email.trim().to_lowercase()).or_default().push(*key);
            }
        }
        emails
    };
    let contacts = emails(CRM);
    for system in 1..world.systems.len() {
        let linked: BTreeSet<u64> =
            remembered.links.iter().filter(|link| link.0 == system).flat_map(|link| [link.1, link.2]).collect();
        for (email, customers) in emails(system) {
            if let ([customer], Some([contact])) = (&customers[..], contacts.get(&email).map(|keys| &keys[..]))
                && !linked.contains(customer)
                && !linked.contains(contact)
            {
                found.push(format!("customer {customer} and contact {contact} are not linked"));
            }
        }
    }
}

/// Every value that a person wrote is somewhere: on a side, replaced by a person in its place, or in history.
fn loss(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    let mut overwritten: BTreeSet<(usize, u64, String, Option<String>)> = BTreeSet::new();
    for row in &remembered.history {
        let system = world.systems.iter().position(|system| system.name == row.store).unwrap();
        let Some(rule) = world.plan.fields.iter().find(|rule| rule.store == row.field) else { continue };
        let old = serde_json::from_str::<Option<String>>(&row.old).unwrap_or_default();
        let (side, system, key) =
            if row.side == "crm" { (Side::Crm, CRM, &row.crm_key) } else { (Side::Store, system, &row.store_key) };
        overwritten.insert((system, key.parse().unwrap(), row.field.clone(), compared(rule, side, old.as_deref())));
    }
    for (number, edit) in world.edits.iter().enumerate() {
        let Some(value) = edit.value.as_deref().filter(|_| edit.field > 0) else { continue };
        let rule = &world.plan.fields[edit.field - 1];
        let side = World::side(edit.system);
        let value = compared(rule, side, Some(value));
        let again =
            |later: &crate::world::Edit| (later.system, later.key, later.field) == (edit.system, edit.key, edit.field);
        let record = &world.systems[edit.system].records[&edit.key];
        if world.edits[number + 1..].iter().any(again)
            || record.now().gone
            || world.lost_in_window.contains(&number)
            || value.is_none()
            || compared(rule, side, world.holds(edit.system, edit.key, edit.field)) == value
            || overwritten.contains(&(edit.system, edit.key, rule.store.clone(), value.clone()))
        {
            continue;
        }
        found.push(format!(
            "edit {number} is lost: {value:?} in {} of {} at system {} is neither there nor in history",
            rule.store, edit.key, edit.system
        ));
    }
}

/// An edit that was made when everybody agreed, and that nobody edited after, is what everybody holds.
fn last_word(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    for (number, edit) in world.edits.iter().enumerate().filter(|(_, edit)| edit.alone) {
        let rule = &world.plan.fields[edit.field - 1];
        let side = World::side(edit.system);
        let person = world.systems[edit.system].records[&edit.key].person;
        let everybody = world.of_person(person);
        let of_it =
            |later: &crate::world::Edit| later.field == edit.field && everybody.contains(&(later.system, later.key));
        let held = is_held(remembered, rule, &everybody);
        if world.edits[number + 1..].iter().any(of_it)
            || held
            || !carries(rule, side)
            || !rule.overwrite
            || world.lost_in_window.contains(&number)
            || (edit.value.is_none() && rule.on_clear != OnClear::Propagate)
        {
            continue;
        }
        let value = compared(rule, side, edit.value.as_deref());
        // One way to the CRM, the other stores of a contact keep their own.
        let follows = |system: usize| rule.direction != Direction::ToCrm || system == CRM || system == edit.system;
        for (system, key) in everybody.into_iter().filter(|(system, _)| follows(*system)) {
            let now = compared(rule, World::side(system), world.holds(system, key, edit.field));
            if now != value {
                let place = format!("{} of {key} at system {system}", rule.store);
                found.push(format!("edit {number} to {value:?} was the last word, but {place} is {now:?}"));
            }
        }
    }
}

/// Whether edits of this side go over to the other.
fn carries(rule: &FieldRule, side: Side) -> bool {
    match rule.direction {
        Direction::Both => true,
        Direction::ToStore => side == Side::Crm,
        Direction::ToCrm => side == Side::Store,
    }
}

fn is_held(remembered: &Remembered, rule: &FieldRule, everybody: &[(usize, u64)]) -> bool {
    remembered.held.iter().any(|held| {
        held.field.as_deref() == Some(&rule.store)
            && everybody.iter().any(|(_, key)| held.store_key.as_deref() == Some(&key.to_string()))
    })
}

/// A value that a person replaced where it stood does not come back by itself.
fn return_of_the_dead(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    if world.plan.deletions + world.plan.duplicates > 0 {
        return;
    }
    for person in 1..=world.plan.people {
        let everybody = world.of_person(person);
        for (at, rule) in world.plan.fields.iter().enumerate() {
            if !rule.overwrite || is_held(remembered, rule, &everybody) {
                continue;
            }
            let canonical = |edit: &crate::world::Edit| compared(rule, World::side(edit.system), edit.value.as_deref());
            let edits: Vec<(usize, &crate::world::Edit)> = world
                .edits
                .iter()
                .enumerate()
                .filter(|(_, edit)| edit.field == at + 1 && everybody.contains(&(edit.system, edit.key)))
                .collect();
            for (system, key) in &everybody {
                let now = compared(rule, World::side(*system), world.holds(*system, *key, at + 1));
                if now.is_none() {
                    continue;
                }
                // Somebody wrote it, and nobody replaced it there.
                let stands = everybody.iter().any(|place| {
                    let last = edits.iter().rfind(|(_, edit)| (edit.system, edit.key) == *place);
                    last.map_or_else(|| began(world, rule, *place, at + 1), |(_, edit)| canonical(edit)) == now
                });
                if stands && !edits.iter().any(|(_, edit)| edit.alone) {
                    continue;
                }
                // The last time that somebody meant it.
                let meant = edits.iter().rposition(|(_, edit)| canonical(edit) == now);
                let (place, later) = match meant {
                    Some(meant) => ((edits[meant].1.system, edits[meant].1.key), &edits[meant + 1..]),
                    None => ((*system, *key), &edits[..]),
                };
                // Whoever edits where everybody agrees knows what it replaces, wherever that stood before.
                let last = later.iter().rfind(|(_, edit)| (edit.system, edit.key) == place || edit.alone);
                let replaced = last.filter(|(number, edit)| {
                    (edit.alone || (meant.is_some() && edit.value.is_some()))
                        && canonical(edit) != now
                        && carries(rule, World::side(edit.system))
                        && (edit.value.is_some() || rule.on_clear == OnClear::Propagate)
                        && !world.lost_in_window.contains(number)
                });
                if let Some((number, edit)) = replaced {
                    let field = &rule.store;
                    let by = &edit.value;
                    found.push(format!(
                        "{now:?} is back in {field} of {key} at system {system}: edit {number} replaced it by {by:?}"
                    ));
                }
            }
        }
    }
}

/// Nobody holds a value that no person ever wrote. What the CRM itself makes of a value is its own.
fn invention(world: &World, found: &mut Vec<String>) {
    for system in &world.systems[1..] {
        for (key, record) in &system.records {
            let everybody = world.of_person(record.person);
            for (at, rule) in world.plan.fields.iter().enumerate() {
                let meant = |system: usize, value: Option<&str>| compared(rule, World::side(system), value);
                let now = meant(system.number, world.holds(system.number, *key, at + 1));
                let edited = world
                    .edits
                    .iter()
                    .any(|edit| edit.field == at + 1 && meant(edit.system, edit.value.as_deref()) == now);
                // What the CRM made of the value of one store is, for the others, an edit of the CRM; and a field that is
                // filled again after a clear is filled with what the CRM has.
                let by_crm = (everybody.len() > 2 || rule.on_clear == OnClear::Restore)
                    && world.systems[CRM].records[&everybody[0].1]
                        .states
                        .iter()
                        .any(|state| now == meant(CRM, state.cells[at + 1].value.as_deref()));
                if now.is_some()
                    && !edited
                    && !by_crm
                    && !everybody.iter().any(|place| began(world, rule, *place, at + 1) == now)
                {
                    found.push(format!("{now:?} in {} of {key}: nobody ever wrote it", rule.store));
                }
            }
        }
    }
}

/// No pair has written more in its day than its rails allow. Filling what is absent is free in a first pass.
fn rails(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    for system in &world.systems[1..] {
        let (mut writes, mut clears) = (0, 0);
        for row in remembered.history.iter().filter(|row| row.store == system.name && row.outcome != "refused") {
            match (row.reason.as_str(), row.new == "null") {
                (_, true) | ("first meeting", _) => clears += 1,
                ("filled", _) => {}
                _ => writes += 1,
            }
        }
        if writes > world.plan.rails.writes.count || clears > world.plan.rails.clears.count {
            found.push(format!("{} wrote {writes} and cleared {clears}: beyond its rails", system.name));
        }
    }
}

/// What a field held when the history began.
fn began(world: &World, rule: &FieldRule, (system, key): (usize, u64), field: usize) -> Option<String> {
    let first = &world.systems[system].records[&key].states[0].cells[field];
    compared(rule, World::side(system), first.value.as_deref())
}
