//! What must be true at rest.

use std::collections::{BTreeMap, BTreeSet};

use attune::checkpoint::{HeldRow, HeldState, HistoryRow};
use attune::model::{Conflict, Direction, FieldRule, FieldType, HeldReason, Meaning, OnClear, Side, Timestamp, Value};

use crate::driver::Process;
use crate::executor::at_once;
use crate::provenance::into;
use crate::world::{Record, Resource, World, text_of};

/// What the checkpoint says at rest.
struct Remembered {
    /// Store, customer, CRM, contact.
    links: Vec<Link>,
    held: Vec<HeldRow>,
    history: Vec<HistoryRow>,
    /// Pairs that stand at a rail: nothing is promised of their records.
    stopped: BTreeSet<(usize, usize)>,
    open: usize,
}

type Link = ((usize, u64), (usize, u64));

pub fn at_rest(process: &Process) {
    let remembered = at_once(remember(process));
    let mut world = process.hub.world();
    let mut found = Vec::new();
    if remembered.open > 0 {
        found.push(format!("{} attempts are still open", remembered.open));
    }
    convergence(&world, &remembered, &mut found);
    linking(&world, &remembered, &mut found);
    making(&world, &remembered, &mut found);
    rails(&world, &remembered, &mut found);
    loss(&world, &remembered, &mut found);
    holding(&world, &remembered, &mut found);
    unlinking(&world, &mut found);
    size(&world, &remembered, &process.rows(), &mut found);
    let kinds: BTreeSet<&str> = world
        .systems
        .iter()
        .filter(|system| !system.is_crm)
        .flat_map(|system| &system.resources[1..])
        .map(|kind| kind.word())
        .collect();
    for kind in kinds {
        world.meet(&format!("a field of the kind: {kind}"));
    }
    for held in &remembered.held {
        world.meet(&format!("held: {}", held.reason));
    }
    for row in &remembered.history {
        world.meet(&format!("wrote: {} ({})", row.reason, row.outcome));
    }
    let now = process.hub.now();
    found.into_iter().for_each(|what| world.violate(now, what));
}

async fn remember(process: &Process) -> Remembered {
    let (systems, crms, rails) = {
        let world = process.hub.world();
        let names: Vec<String> = world.systems.iter().map(|system| system.name.clone()).collect();
        (names, world.plan.crms, world.plan.has_rails())
    };
    let mut transaction = process.checkpoint.read().await.unwrap();
    let (mut links, mut open, mut stopped) = (Vec::new(), 0, BTreeSet::new());
    for (store, name) in systems.iter().enumerate().skip(crms) {
        for pair in transaction.pairs_by_name(name).await.unwrap() {
            let crm = systems.iter().position(|name| *name == pair.crm).unwrap();
            for (_, customer, contact) in transaction.link_keys(pair.id, 0, 10_000).await.unwrap() {
                links.push(((store, customer.parse().unwrap()), (crm, contact.parse().unwrap())));
            }
            let far = Timestamp::from_millis(i64::MAX / 2);
            for side in [Side::Store, Side::Crm] {
                open += transaction.attempts_due(pair.id, side, far, 10_000).await.unwrap().len();
            }
            if rails && transaction.pair(pair.id).await.unwrap().stopped.is_some() {
                stopped.insert((store, crm));
            }
        }
    }
    transaction.end().await.unwrap();
    let mut history = process.history();
    history.extend(process.lost_history());
    Remembered { links, held: process.held(), history, stopped, open }
}

/// A value as it is compared: by a reading of its own, so that no fault of the merge is one of the model too.
pub fn compared(rule: &FieldRule, value: Option<&str>) -> Option<String> {
    // Nobody is in a segment halfway.
    let nothing = || (rule.meaning() == Meaning::Membership).then(|| "false".to_owned());
    let Some(text) = value.map(str::trim) else { return nothing() };
    if rule.kind == FieldType::Number
        && let Some((whole, fraction)) = text.split_once('.')
    {
        let fraction = fraction.trim_end_matches('0');
        return Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") });
    }
    if rule.kind == FieldType::List {
        let items: BTreeSet<String> = serde_json::from_str(text).unwrap();
        return (!items.is_empty()).then(|| serde_json::to_string(&items).unwrap());
    }
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether a side holds nothing that filling it could lose. Of who is in no segment a store cannot tell whether somebody
/// decided so; a CRM can.
pub fn is_blank(rule: &FieldRule, side: Side, value: Option<&str>) -> bool {
    match (rule.meaning(), side) {
        (Meaning::Membership, Side::Store) => compared(rule, value).as_deref() != Some("true"),
        (Meaning::Membership, Side::Crm) => value.is_none(),
        _ => compared(rule, value).is_none(),
    }
}

/// What the checkpoint's JSON says, as the world keeps it.
pub fn text_of_json(json: &str) -> Option<String> {
    serde_json::from_str::<Option<Value>>(json).unwrap_or_default().as_ref().map(text_of)
}

/// Every mapped field of a linked record that is neither held nor kept is equal on both sides.
fn convergence(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    for ((system, store_key), (crm, crm_key)) in &remembered.links {
        if remembered.stopped.contains(&(*system, *crm)) {
            continue;
        }
        for (at, rule) in world.plan.fields.iter().enumerate() {
            let store = compared(rule, world.holds(*system, *store_key, at + 1));
            let contact = compared(rule, world.holds(*crm, *crm_key, at + 1));
            if store == contact {
                continue;
            }
            let (name, crm_name) = (&world.systems[*system].name, &world.systems[*crm].name);
            let held = remembered.held.iter().find(|held| {
                (&held.store, &held.crm) == (name, crm_name)
                    && held.store_key.as_deref() == Some(&store_key.to_string())
                    && held.field.as_deref() == Some(&rule.store)
            });
            if let Some(held) = held.filter(|held| held.state == HeldState::Held) {
                let then = (
                    compared(rule, text_of_json(&held.store_value).as_deref()),
                    compared(rule, text_of_json(&held.crm_value).as_deref()),
                );
                if then != (store.clone(), contact.clone()) {
                    let now = (store, contact);
                    found.push(format!("{name} {store_key} {}: held as {then:?}, but they hold {now:?}", rule.store));
                }
                continue;
            }
            let source_is_empty = match rule.direction {
                Direction::Both => false,
                Direction::ToStore => world.holds(*crm, *crm_key, at + 1).is_none() || contact.is_none(),
                Direction::ToCrm => store.is_none(),
            };
            let kept = source_is_empty || (!rule.overwrite && store.is_some() && contact.is_some());
            let kept = kept || (!rule.overwrite && rule.on_clear != OnClear::Restore);
            // What an operator dropped stays as it is until either side changes.
            let dropped = world.plan.operations > 0;
            if !kept && !dropped {
                let pair = format!("{name} {store_key} and contact {crm_key} of {crm_name}");
                found.push(format!("{pair} do not agree in {}: {store:?} and {contact:?}", rule.store));
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
    for crm in 0..world.plan.crms {
        let contacts = emails(crm);
        for system in world.others(crm) {
            if remembered.stopped.contains(&(system, crm)) {
                continue;
            }
            let links = remembered.links.iter().filter(|link| (link.0.0, link.1.0) == (system, crm));
            let linked: BTreeSet<u64> = links.flat_map(|link| [link.0.1, link.1.1]).collect();
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
    for (store, crm) in &remembered.links {
        for (system, key) in [store, crm] {
            let gone = world.systems[*system].records[key].now().gone;
            if gone && !remembered.stopped.contains(&(store.0, crm.0)) {
                found.push(format!("{key} of {} is gone and still linked", world.systems[*system].name));
            }
        }
    }
}

/// Whoever lacks a partner that is to be made, and never had one, has one or is held.
fn making(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    if world.restored || world.remapped || world.plan.operations > 0 {
        return;
    }
    for target in 0..world.systems.len() {
        if !world.plan.creates_on(world.side(target)) {
            continue;
        }
        let has = |system: usize, email: &str| {
            let keys = world.systems[system].records.keys().filter(|key| {
                world.holds(system, **key, 0).is_some_and(|held| held.trim().eq_ignore_ascii_case(email.trim()))
            });
            keys.count()
        };
        for origin in world.others(target) {
            let (store, crm) = if world.is_crm(target) { (origin, target) } else { (target, origin) };
            if remembered.stopped.contains(&(store, crm)) {
                continue;
            }
            for (key, record) in &world.systems[origin].records {
                let Some(email) = world.holds(origin, *key, 0) else { continue };
                let held = remembered.held.iter().any(|held| {
                    let side = if world.is_crm(origin) { &held.crm_key } else { &held.store_key };
                    held.field.is_none() && side.as_deref() == Some(&key.to_string())
                });
                if has(origin, email) == 1
                    && has(target, email) == 0
                    && !world.stirred.contains(&record.person)
                    && !held
                {
                    found.push(format!(
                        "{key} of {} lacks a partner at {}",
                        world.systems[origin].name, world.systems[target].name
                    ));
                }
            }
        }
    }
}

/// Every value that a person wrote is somewhere: on a side, replaced by a person in its place, or in history.
fn loss(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    let mut overwritten: BTreeSet<(usize, u64, String, Option<String>)> = BTreeSet::new();
    for row in &remembered.history {
        let Some(rule) = world.plan.fields.iter().find(|rule| rule.store == row.field) else { continue };
        let old = text_of_json(&row.old);
        let (side, name, key) = if row.side == "crm" {
            (Side::Crm, &row.crm, &row.crm_key)
        } else {
            (Side::Store, &row.store, &row.store_key)
        };
        let system = world.system_named(side, name);
        overwritten.insert((system, key.parse().unwrap(), row.field.clone(), compared(rule, old.as_deref())));
    }
    for (number, act) in world.acts.iter().enumerate() {
        let Some(value) = act.value.as_deref().filter(|_| act.field > 0) else { continue };
        let rule = &world.plan.fields[act.field - 1];
        let value = compared(rule, Some(value));
        let place = (act.system, act.key, act.field);
        let again = |later: &crate::world::Act| (later.system, later.key, later.field) == place;
        if world.acts[number + 1..].iter().any(again)
            || world.systems[act.system].records[&act.key].now().gone
            || world.lost_in_window.contains(&number)
            || value.is_none()
            || compared(rule, world.holds(act.system, act.key, act.field)) == value
            || overwritten.contains(&(act.system, act.key, rule.store.clone(), value.clone()))
        {
            continue;
        }
        found.push(format!(
            "act {number} is lost: {value:?} in {} of {} at {} is neither there nor in history",
            rule.store, act.key, world.systems[act.system].name
        ));
    }
}

/// What is held is held for a reason that this world can have given.
fn holding(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    for held in remembered.held.iter().filter(|held| held.state == HeldState::Held) {
        let Some(at) = world.plan.fields.iter().position(|rule| Some(&rule.store) == held.field.as_ref()) else {
            continue;
        };
        let rule = &world.plan.fields[at];
        let store = world.system_named(Side::Store, &held.store);
        let key: Option<u64> = held.store_key.as_ref().and_then(|key| key.parse().ok());
        let [store_held, crm_held] =
            [&held.store_value, &held.crm_value].map(|json| compared(rule, text_of_json(json).as_deref()));
        let may = match held.reason {
            HeldReason::Conflict | HeldReason::FirstMeeting if world.remapped || world.restored => true,
            HeldReason::Conflict | HeldReason::FirstMeeting if rule.meaning() == Meaning::Consent => {
                consent_may_wait(rule, held.reason, &store_held, &crm_held)
            }
            // Of two values one was agreed on.
            HeldReason::Conflict if rule.meaning() == Meaning::Membership => false,
            HeldReason::Conflict => {
                matches!(rule.conflict, Conflict::Hold | Conflict::Newest) || rule.on_clear == OnClear::Hold
            }
            HeldReason::FirstMeeting => {
                matches!(rule.conflict, Conflict::Hold | Conflict::Newest) && rule.direction == Direction::Both
            }
            HeldReason::Rejected => {
                let crm = world.system_named(Side::Crm, &held.crm);
                let contact = held.crm_key.as_ref().and_then(|key| key.parse().ok());
                let refused =
                    |system, key: Option<u64>| key.is_some_and(|key| world.refused.contains(&(system, key, at + 1)));
                refused(store, key) || refused(crm, contact)
            }
            HeldReason::AlteredByTarget => {
                world.plan.normalises != crate::plan::Normalises::Nothing || !world.struck.is_empty()
            }
            HeldReason::TwoWriters => rule.direction != Direction::Both && world.systems.len() > 2,
            // People may carry a field to and fro as often; nobody else than they and we write here.
            HeldReason::Oscillating if rule.meaning() == Meaning::Consent && rule.direction == Direction::Both => {
                let contact = held.crm_key.as_ref().and_then(|key| key.parse().ok());
                let cells =
                    key.map(|key| (store, key)).zip(contact.map(|key| (world.system_named(Side::Crm, &held.crm), key)));
                cells.is_none_or(|(store, crm)| !refusal_is_news(world, rule, at + 1, [store, crm]))
            }
            HeldReason::Oscillating => true,
            HeldReason::Reverted => world.restored,
            HeldReason::CannotBeTaken => {
                let shape = Resource::of(&rule.store).shape(&rule.store);
                !shape.clearable && crm_held.is_none() && rule.direction != Direction::ToCrm
            }
            HeldReason::DefinitionChanged => false,
            HeldReason::Ambiguous | HeldReason::Merged => true,
        };
        if !may {
            found.push(format!("{} is held as {} without cause", rule.store, held.reason));
        }
        // What an operator decided does not come back by itself; but where a record has several partners, he has decided
        // for each of them, and one decision undoes another.
        let decided = key.and_then(|key| Some((key, (*world.decided.get(&(store, key, at + 1))?)?)));
        if let Some((key, acts)) = decided
            && world.systems.len() == 2
            && matches!(held.reason, HeldReason::Conflict | HeldReason::FirstMeeting)
        {
            let person = world.systems[store].records[&key].person;
            let since = world.acts[acts..].iter().any(|act| act.field == at + 1 && act.person == person);
            if !since && !world.stirred.contains(&person) && remembered.stopped.is_empty() {
                found.push(format!("{} of {key} is held again after an operator decided it", rule.store));
            }
        }
    }
}

/// Whether consent may wait for a person. A refusal waits for nobody where it can go: it wins every conflict and every first
/// meeting, and is carried over. It waits on the target of a one-way field, where it stays, or where the other side holds nothing
/// any more and what is cleared is to be held. What waits otherwise is a yes against nothing.
fn consent_may_wait(rule: &FieldRule, reason: HeldReason, store: &Option<String>, crm: &Option<String>) -> bool {
    let refuses = |held: &Option<String>| held.as_deref() == Some("false");
    let (side, other) = match (refuses(store), refuses(crm)) {
        (true, false) => (Side::Store, crm),
        (false, true) => (Side::Crm, store),
        _ => return true,
    };
    let was_cleared = other.is_none() && rule.on_clear == OnClear::Hold && reason == HeldReason::Conflict;
    into(rule.direction) == Some(side) || was_cleared
}

/// Whether one side says no where both had not: of what was said to and fro too often only a yes may wait, where both said no
/// before. What they had agreed on is what they both held last, for so long that it was seen.
fn refusal_is_news(world: &World, rule: &FieldRule, field: usize, places: [(usize, u64); 2]) -> bool {
    const SEEN_WITHIN_MS: i64 = 60_000;
    let [store, crm] = places.map(|(system, key)| &world.systems[system].records[&key]);
    let held =
        |record: &Record, at: i64| record.at(at).map(|state| compared(rule, state.cells[field].value.as_deref()));
    let says = |record: &Record, word: &str| held(record, i64::MAX).flatten().as_deref() == Some(word);
    let is_open = says(store, "false") && says(crm, "true") || says(store, "true") && says(crm, "false");
    let times: BTreeSet<i64> = store.states.iter().chain(&crm.states).map(|state| state.at).collect();
    let (mut agreed, mut since) = (None, None);
    for at in times {
        let equal = held(store, at).filter(|value| held(crm, at).as_ref() == Some(value));
        if let Some(begun) = since.filter(|_| equal != agreed) {
            since = None;
            // Too short to have been seen: nobody can tell what they agreed on.
            if at - begun < SEEN_WITHIN_MS {
                agreed = Some(Some("false".to_owned()));
            }
        }
        if let Some(value) = equal.filter(|_| since.is_none()) {
            (agreed, since) = (Some(value), Some(at));
        }
    }
    is_open && agreed.is_some_and(|value| value.as_deref() != Some("false"))
}

/// No link ended but because a record went away.
fn unlinking(world: &World, found: &mut Vec<String>) {
    if world.restored {
        return;
    }
    for ((store, crm), unlinked) in &world.unlinked {
        let went = world.goings[*store] + world.goings[*crm];
        if *unlinked > went {
            found.push(format!("{unlinked} links ended because a record was gone, and {went} went"));
        }
    }
}

/// The checkpoint holds no more than there is to know: its size does not grow with how often something happens.
fn size(world: &World, remembered: &Remembered, rows: &BTreeMap<String, usize>, found: &mut Vec<String>) {
    let records: usize = world.systems.iter().map(|system| system.records.len()).sum();
    let fields = world.plan.fields.len();
    let pairs = world.plan.crms * world.plan.stores;
    // A field that leaves the mapping and comes back is another one: history tells them apart.
    let mappings = if world.remapped { 1 + world.plan.upheavals.len() } else { 1 };
    let bounds = [
        ("record", records),
        ("match_value", records),
        ("link", remembered.links.len()),
        // Every field of every link; and records that are ambiguous or merged, once for each pair.
        ("held", remembered.links.len() * fields + records * world.plan.crms.max(world.plan.stores)),
        ("creation", records * world.plan.crms.max(world.plan.stores)),
        ("former", records * world.plan.crms.max(world.plan.stores)),
        ("waiting", 0),
        ("source", world.systems.len()),
        ("pair", pairs),
        ("mapped", pairs * fields * mappings),
        ("field", world.systems.len() * (fields + 1)),
    ];
    for (table, most) in bounds {
        let kept = rows[table];
        if kept > most {
            found.push(format!("{kept} rows in the table {table} of the checkpoint, where {most} are enough"));
        }
    }
}

/// No pair has written more in its day than its rails allow. Filling what is absent is free in a first pass.
fn rails(world: &World, remembered: &Remembered, found: &mut Vec<String>) {
    if world.plan.operations > 0 || world.restored {
        return;
    }
    for system in world.systems.iter().filter(|system| !system.is_crm) {
        for crm in &world.systems[..world.plan.crms] {
            let (mut writes, mut clears) = (0, 0);
            let ours = |row: &&HistoryRow| row.store == system.name && row.crm == crm.name && row.outcome != "refused";
            for row in remembered.history.iter().filter(ours) {
                // What takes somebody out of a segment is a clear where the CRM holds nothing.
                let leaves = row.field.starts_with("segment:") && row.new == "\"false\"";
                match (row.reason.as_str(), row.new == "null") {
                    ("filled" | "created" | "deleted", _) => {}
                    (_, false) if leaves => {}
                    (_, true) | ("first meeting", _) => clears += 1,
                    _ => writes += 1,
                }
            }
            if writes > world.plan.rails.writes.count || clears > world.plan.rails.clears.count {
                found.push(format!("{} wrote {writes} and cleared {clears}: beyond its rails", system.name));
            }
        }
    }
}
