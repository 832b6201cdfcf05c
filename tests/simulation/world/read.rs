//! Reads: feeds and sweeps in pages, each page at its own moment, and direct reads. Replicas may show the past.

use attune::connector::{End, Page};
use attune::model::{Cell, Class, Existence, Failure, Key, Observed, Seen, Timestamp, Value};

use super::resource::Resource;
use super::system::{CellState, State, System};
use super::{Shared, World};
use crate::plan::REPLICA_LAG_MS;

/// What a read shows of each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Everything.
    Records,
    /// One value of this resource a row, nothing of the others; cleared values have no row.
    Values(Resource),
}

/// A read of several pages.
pub struct Walk {
    pub system: usize,
    pub what: &'static str,
    pub shows: Shows,
    pub since: Option<Timestamp>,
    /// Pages by offset shift when rows vanish; pages by key do not.
    pub by_offset: bool,
    position: u64,
    offset: usize,
    /// When the first page was looked at, and how many rows there were.
    began: Option<(i64, usize)>,
    /// Rows on later pages that changed since then.
    joined: usize,
    met: std::collections::BTreeSet<u64>,
    torn: bool,
    ended: bool,
}

impl Walk {
    pub const fn new(
        system: usize,
        what: &'static str,
        shows: Shows,
        since: Option<Timestamp>,
        by_offset: bool,
    ) -> Self {
        let met = std::collections::BTreeSet::new();
        Self {
            system,
            what,
            shows,
            since,
            by_offset,
            position: 0,
            offset: 0,
            began: None,
            joined: 0,
            met,
            torn: false,
            ended: false,
        }
    }

    /// The next page; none after the last.
    pub async fn page(&mut self, hub: &Shared) -> Option<Result<Page, Failure>> {
        if self.ended {
            return None;
        }
        let asked = hub.now();
        let (before, after, fails) = delays(hub, self.system, self.what);
        hub.sleep(before).await;
        let page = self.look(&mut hub.world(), asked, hub.now());
        hub.sleep(after).await;
        self.ended = page.end.is_some();
        if let Some(failure) = fails {
            self.ended = true;
            hub.tell(|| format!("{} of system {} fails", self.what, self.system));
            return Some(Err(failure));
        }
        Some(Ok(page))
    }

    fn look(&mut self, world: &mut World, asked: i64, now: i64) -> Page {
        let size = world.plan.page;
        let view = view(world, self.system, self.what, now);
        let exclusive = world.plan.since_is_exclusive;
        let torn = {
            let torn = world.plan.faults.torn_read;
            world.strikes("torn", self.what, torn)
        };
        let hidden = {
            let hidden = world.plan.faults.hidden;
            let (system, what) = (self.system, self.what);
            match what {
                "sweep" => world.strikes("hidden", &system.to_string(), hidden),
                _ if what.starts_with("sweep") => world.strikes("hidden", &format!("{system} {what}"), hidden),
                _ => false,
            }
        };
        world.misses_injected |= hidden;
        let system = &world.systems[self.system];
        // As its API takes it: whole seconds where it has no others.
        let since = self.since.map(|since| {
            let ms = since.as_millis();
            if system.whole_seconds { ms.div_euclid(1000) * 1000 } else { ms }
        });
        let changed = |date: i64| since.is_none_or(|since| if exclusive { date > since } else { date >= since });
        let silent = world.is_silent(self.system);
        let leaves_rows = world.plan.leaves_rows;
        let mut seemed = 0;
        let mut rows: Vec<(u64, Observed)> = Vec::new();
        for (key, record) in &system.records {
            let Some(state) = record.at(view).filter(|_| !silent) else { continue };
            let stays = self.shows == Shows::Values(Resource::Metafield) && leaves_rows;
            if state.gone && !stays {
                continue;
            }
            if record.now().gone && !stays {
                seemed += 1;
            }
            match self.shows {
                Shows::Records if changed(state.modified) => {
                    rows.push((*key, show(system, *key, state, |at| !system.resources[at].is_beside())));
                }
                Shows::Records => {}
                Shows::Values(resource) => {
                    for (field, cell) in state.cells.iter().enumerate() {
                        if system.resources[field] == resource && cell.value.is_some() && changed(cell.date) {
                            let shown = show(system, *key, state, |shown| shown == field);
                            // Nobody checks whether the customer of a metafield exists.
                            let is_sign = resource != Resource::Metafield;
                            let existence = if is_sign { Existence::Present } else { Existence::NotSaid };
                            rows.push((cell.id, Observed { existence, ..shown }));
                        }
                    }
                }
            }
        }
        rows.sort_by_key(|(id, _)| *id);
        let first = self.began.is_none();
        let (began, promised) = *self.began.get_or_insert((system.stamp(now).div_euclid(1000) * 1000, rows.len()));
        let (mut shown, end): (Vec<_>, bool) = if self.by_offset {
            let shown: Vec<_> = rows.iter().skip(self.offset).take(size).cloned().collect();
            self.offset += size;
            (shown, self.offset >= rows.len())
        } else {
            let shown: Vec<_> = rows.iter().filter(|(id, _)| *id > self.position).take(size).cloned().collect();
            self.position = shown.last().map_or(self.position, |(id, _)| *id);
            let more = rows.iter().any(|(id, _)| *id > self.position);
            (shown, !more)
        };
        if torn || hidden {
            // What a page that shifted under our hands leaves out.
            shown.pop();
        }
        // Shown as if it were still there: it may be linked, and goes once more.
        world.goings[self.system] += seemed;
        self.met.extend(shown.iter().map(|(id, _)| *id));
        // As the connector does it: what joined since does not stand for what slipped away.
        let dates = shown.iter().flat_map(|(_, shown)| &shown.cells).filter_map(|cell| cell.modified);
        self.joined += dates.filter(|date| !first && date.as_millis() > began).count();
        self.torn |= torn;
        let whole = !self.torn && (!self.by_offset || self.met.len() >= promised + self.joined);
        let end = end.then_some(if whole { End::Whole } else { End::Torn });
        let clock = world.systems[self.system].clock(asked);
        let keys: Vec<&str> = shown.iter().map(|(_, shown)| shown.key.as_str()).collect();
        let line = format!("{} of system {}: {keys:?} {end:?} as of {}", self.what, self.system, now - view);
        let many = !keys.is_empty();
        if many {
            world.say(now, line);
        }
        Page { observed: shown.into_iter().map(|(_, shown)| shown).collect(), clock, end }
    }
}

/// Reads records directly: complete for the fields asked. What is in lists of its own is read after the rest.
pub async fn fetch(hub: &Shared, system: usize, keys: &[Key], fields: &[usize]) -> Result<Vec<Observed>, Failure> {
    let lists: Vec<(Resource, Vec<usize>)> = {
        let world = hub.world();
        let of = |resource: Resource| {
            let is_of = |field: &usize| world.systems[system].resources[*field] == resource;
            (resource, fields.iter().copied().filter(is_of).collect::<Vec<_>>())
        };
        [of(Resource::Metafield), of(Resource::Subscriber)].into_iter().filter(|(_, asked)| !asked.is_empty()).collect()
    };
    let others: Vec<usize> =
        fields.iter().copied().filter(|field| lists.iter().all(|(_, asked)| !asked.contains(field))).collect();
    let mut found = if others.is_empty() && !lists.is_empty() {
        let count = hub.world().systems[system].names.len();
        let not_said = |key: &Key| Observed {
            key: key.clone(),
            existence: Existence::NotSaid,
            modified: None,
            cells: vec![Cell::default(); count],
        };
        keys.iter().map(not_said).collect()
    } else {
        fetch_records(hub, system, keys, &others).await?
    };
    for (resource, asked) in &lists {
        fetch_rows(hub, system, *resource, asked, &mut found).await?;
    }
    let now = hub.now();
    let mut world = hub.world();
    for key in keys {
        for field in fields {
            world.rechecked.insert((system, key.as_str().parse().unwrap(), *field), now);
        }
    }
    Ok(found)
}

/// Shows of records what a list beside them holds: of whom it has no row, an absence; of who is gone and so has no e-mail
/// by which a subscriber could be found, nothing.
async fn fetch_rows(
    hub: &Shared,
    system: usize,
    resource: Resource,
    fields: &[usize],
    found: &mut [Observed],
) -> Result<(), Failure> {
    let what = format!("fetch of {}", resource.word());
    let (before, after, fails) = delays(hub, system, &what);
    hub.sleep(before).await;
    {
        let now = hub.now();
        let mut world = hub.world();
        let view = view(&mut world, system, &what, now);
        world.say(now, format!("{what} of system {system}: {fields:?} as of {}", now - view));
        let silent = world.is_silent(system);
        let there = |existence: &Existence| matches!(existence, Existence::Present | Existence::NotSaid);
        for record in found.iter_mut().filter(|record| there(&record.existence)) {
            let number: u64 = record.key.as_str().parse().unwrap();
            let known = world.systems[system].records.get(&number);
            let state = known.and_then(|record| record.at(view)).filter(|state| !state.gone && !silent);
            // Before there was a record there were no rows of it.
            let first = |field: usize| known.map(|record| record.states[0].cells[field].version.to_string());
            for field in fields {
                record.cells[*field] = match state {
                    Some(state) => show_cell(&world.systems[system], *field, &state.cells[*field]),
                    None if resource == Resource::Metafield => Cell { token: first(*field), ..Cell::absent() },
                    None => Cell::default(),
                };
            }
        }
    }
    hub.sleep(after).await;
    if let Some(failure) = fails {
        hub.tell(|| format!("{what} of system {system} fails"));
        return Err(failure);
    }
    Ok(())
}

/// Reads records directly, with what is shown with them and attribute values.
async fn fetch_records(hub: &Shared, system: usize, keys: &[Key], fields: &[usize]) -> Result<Vec<Observed>, Failure> {
    let (before, after, fails) = delays(hub, system, "fetch");
    hub.sleep(before).await;
    let found = {
        let now = hub.now();
        let mut world = hub.world();
        let view = view(&mut world, system, "fetch", now);
        world.say(now, format!("fetch of system {system}: {keys:?} {fields:?} as of {}", now - view));
        let silent = world.is_silent(system);
        let mut seemed = 0;
        let mut one = |key: &Key| {
            let number: u64 = key.as_str().parse().unwrap();
            let record = world.systems[system].records.get(&number);
            let state = record.and_then(|record| record.at(view)).filter(|_| !silent);
            let shows_it = state.is_some_and(|state| !state.gone);
            seemed += u64::from(record.is_some_and(|record| record.now().gone == shows_it));
            match state.filter(|state| !state.gone) {
                Some(state) => show(&world.systems[system], number, state, |field| fields.contains(&field)),
                // A store asked for values alone does not say that there is no such customer.
                None if !fields.is_empty() && !fields.iter().any(|field| world.systems[system].is_own(*field)) => {
                    let mut cells = vec![Cell::default(); world.systems[system].names.len()];
                    fields.iter().for_each(|field| cells[*field] = Cell::absent());
                    Observed { key: key.clone(), existence: Existence::NotSaid, modified: None, cells }
                }
                None => {
                    let cells = vec![Cell::default(); world.systems[system].names.len()];
                    let merged = record.filter(|_| state.is_some()).and_then(|record| record.merged_into);
                    let existence =
                        merged.map_or(Existence::Gone, |into| Existence::MergedInto(Key::new(into.to_string())));
                    Observed { key: key.clone(), existence, modified: None, cells }
                }
            }
        };
        let found: Vec<Observed> = keys.iter().map(&mut one).collect();
        world.goings[system] += seemed;
        if found.iter().any(|found| found.existence == Existence::Gone) {
            // That is news to the process.
            world.stirred_at = now;
        }
        found
    };
    hub.sleep(after).await;
    if let Some(failure) = fails {
        hub.tell(|| format!("fetch of system {system} fails"));
        return Err(failure);
    }
    Ok(found)
}

/// How many records there are.
pub async fn count(hub: &Shared, system: usize) -> Result<u64, Failure> {
    Ok(u64::try_from(find_where(hub, system, "count", |_| true).await?.len()).unwrap())
}

/// The records that hold one of these values, whatever the case of their letters.
pub async fn find(hub: &Shared, system: usize, field: usize, values: &[String]) -> Result<Vec<Key>, Failure> {
    let values: Vec<String> = values.iter().map(|value| value.to_lowercase()).collect();
    let holds_one = |state: &State| {
        state.cells[field].value.as_ref().is_some_and(|value| values.contains(&value.trim().to_lowercase()))
    };
    find_where(hub, system, "find", holds_one).await
}

async fn find_where(
    hub: &Shared,
    system: usize,
    what: &str,
    is_meant: impl Fn(&State) -> bool + Send,
) -> Result<Vec<Key>, Failure> {
    let (before, after, fails) = delays(hub, system, what);
    hub.sleep(before).await;
    let found: Vec<Key> = {
        let now = hub.now();
        let mut world = hub.world();
        let view = view(&mut world, system, what, now);
        let silent = world.is_silent(system);
        let there = |state: &&State| !state.gone && !silent && is_meant(state);
        let records = world.systems[system].records.iter();
        let found = records.filter(|(_, record)| record.at(view).filter(there).is_some());
        let found: Vec<Key> = found.map(|(number, _)| Key::new(number.to_string())).collect();
        world.say(now, format!("{what} in system {system}: {found:?} as of {}", now - view));
        found
    };
    hub.sleep(after).await;
    fails.map_or(Ok(found), Err)
}

/// How long a call is on its way and back, and whether it comes to nothing.
pub fn delays(hub: &Shared, system: usize, what: &str) -> (i64, i64, Option<Failure>) {
    let now = hub.now();
    let mut world = hub.world();
    world.calls += 1;
    let faults = world.plan.faults.clone();
    let about = format!("{system} {what}");
    let mut random = world.decide("delay", &about);
    let mut delays = (random.between(5, 300), random.between(5, 300));
    if world.strikes("slow", &about, faults.slow) {
        delays = (random.between(300, 2500), random.between(300, 2500));
    }
    let fails = world.strikes("read fails", &about, faults.read_fails).then(|| failed("the read failed"));
    (delays.0, delays.1, refusal(&mut world, now, system).or(fails))
}

/// Credentials expire now and then, and are renewed a little later.
pub fn refusal(world: &mut World, now: i64, system: usize) -> Option<Failure> {
    let about = system.to_string();
    let per_mille = world.plan.faults.unauthorized;
    if world.strikes("unauthorized", &about, per_mille) {
        let until = now + world.decide("renewed", &about).between(2_000, 30_000);
        world.unauthorized.insert(system, until);
    }
    let refused = world.unauthorized.get(&system).is_some_and(|until| now < *until) && !world.calm;
    refused.then(|| Failure::new(Class::Auth, "the credentials are refused"))
}

/// The moment that a read shows.
pub fn view(world: &mut World, system: usize, what: &str, now: i64) -> i64 {
    let per_mille = world.plan.faults.stale_read;
    if !world.strikes("stale", &format!("{system} {what}"), per_mille) {
        return now;
    }
    world.misses_injected = true;
    let age = world.decide("age", &format!("{system} {what}")).between(100, REPLICA_LAG_MS - 6_000);
    let age = if world.plan.stale_ms > 0 { world.plan.stale_ms } else { age };
    world.past(system, now - age)
}

pub fn failed(why: &str) -> Failure {
    Failure::new(Class::Retry, why)
}

fn show(system: &System, key: u64, state: &State, shown: impl Fn(usize) -> bool) -> Observed {
    let all = state.cells.iter().enumerate();
    let cells = all.map(|(at, cell)| if shown(at) { show_cell(system, at, cell) } else { Cell::default() }).collect();
    // A row of the values feed says nothing of its customer.
    let whole = (0..state.cells.len()).any(|field| shown(field) && system.is_own(field));
    let modified = (whole || system.is_crm).then(|| Timestamp::from_millis(state.modified));
    Observed { key: Key::new(key.to_string()), existence: Existence::Present, modified, cells }
}

/// A store dates each value of an attribute, a metafield or a subscriber; a customer's own fields, like a CRM's, have their
/// record's date, and all others none.
pub fn show_cell(system: &System, field: usize, cell: &CellState) -> Cell {
    let dated = !system.is_own(field) && cell.value.is_some();
    let seen = shown_as(system.resources[field], cell.value.as_deref());
    Cell { seen, modified: dated.then(|| Timestamp::from_millis(cell.date)), token: Some(cell.version.to_string()) }
}

/// What a field shows: of who is not in a segment a store says so.
pub fn shown_as(resource: Resource, value: Option<&str>) -> Seen {
    match (resource, value) {
        (Resource::Segment, None) => Seen::Value(Value::text("false")),
        (_, None) => Seen::Absent,
        (Resource::Segments, Some(items)) => match serde_json::from_str::<Vec<String>>(items).unwrap() {
            items if items.is_empty() => Seen::Absent,
            items => Seen::Value(Value::List(items)),
        },
        (_, Some(value)) => Seen::Value(Value::text(value)),
    }
}
