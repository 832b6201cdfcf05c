//! Lists beside a store's customers: sweeps that read them first, and who is in which segment, read as a whole now and then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use attune::connector::{End, Page};
use attune::model::{Cell, Existence, Failure, Key, Observed, Timestamp};
use futures::stream::{self, BoxStream, StreamExt};

use super::read::{Shows, Walk, delays, shown_as, view};
use super::resource::{Resource, SEGMENTS};
use super::store::pages;
use super::system::System;
use super::{Shared, World};

/// A sweep of a store: its lists of subscribers and of metafields, as far as they are mapped, then its customers, who show
/// what those lists have shown, and that what they have not is absent.
struct Sweep {
    system: usize,
    walks: VecDeque<Walk>,
    /// What the lists have shown: by customer and field. A metafield was shown as it came; a consent is shown with its customer.
    met: BTreeMap<(Key, usize), Cell>,
    torn: bool,
}

/// Everything that a store holds.
pub fn everything<'a>(hub: &'a Shared, system: usize, resources: &[Resource]) -> BoxStream<'a, Result<Page, Failure>> {
    let customers = Walk::new(system, "sweep", Shows::Records, None, false);
    let list = |what, resource| Walk::new(system, what, Shows::Values(resource), None, true);
    let mut walks = VecDeque::new();
    if resources.contains(&Resource::Subscriber) {
        walks.push_back(list("sweep of subscribers", Resource::Subscriber));
    }
    if resources.contains(&Resource::Metafield) {
        walks.push_back(list("sweep of metafields", Resource::Metafield));
    }
    if walks.is_empty() {
        return pages(hub, customers);
    }
    walks.push_back(customers);
    let sweep = Sweep { system, walks, met: BTreeMap::new(), torn: false };
    stream::unfold(sweep, move |mut sweep| async move { Some((sweep.page(hub).await?, sweep)) }).boxed()
}

impl Sweep {
    async fn page(&mut self, hub: &Shared) -> Option<Result<Page, Failure>> {
        let walk = self.walks.front_mut()?;
        let shows = walk.shows;
        let mut page = match walk.page(hub).await? {
            Ok(page) => page,
            Err(failure) => {
                self.walks.clear();
                return Some(Err(failure));
            }
        };
        let Shows::Values(resource) = shows else {
            self.show_beside(&hub.world(), &mut page);
            return Some(Ok(page));
        };
        if let Some(end) = page.end.take() {
            self.torn |= end == End::Torn;
            self.walks.pop_front();
        }
        for record in &page.observed {
            let shown = record.cells.iter().enumerate().filter(|(_, cell)| !cell.seen.is_unseen());
            self.met.extend(shown.map(|(field, cell)| ((record.key.clone(), field), cell.clone())));
        }
        if resource == Resource::Subscriber {
            // They are no customers.
            page.observed.clear();
        }
        Some(Ok(page))
    }

    /// Shows of a page of customers what their lists have shown, and what is absent because they have not.
    fn show_beside(&self, world: &World, page: &mut Page) {
        if self.torn {
            page.end = page.end.map(|_| End::Torn);
            return;
        }
        let resources = &world.systems[self.system].resources;
        for record in &mut page.observed {
            for (field, resource) in resources.iter().enumerate().filter(|(_, resource)| resource.is_beside()) {
                let met = self.met.get(&(record.key.clone(), field));
                match (resource, met) {
                    (Resource::Subscriber, Some(cell)) => record.cells[field] = cell.clone(),
                    (_, Some(_)) => {}
                    (_, None) => record.cells[field] = Cell::absent(),
                }
            }
        }
    }
}

/// A segment: the field that is about it, and its name where the field is about several.
type Segment = (usize, Option<&'static str>);

/// Who was in a segment when it was read last; in the memory of the process.
#[derive(Default)]
pub struct Roster {
    polls: u64,
    members: BTreeMap<Segment, BTreeSet<u64>>,
}

/// The feed of memberships: every so many polls all who are in, compared with who was before.
pub fn members<'a>(hub: &'a Shared, system: usize, roster: &'a Mutex<Roster>) -> BoxStream<'a, Result<Page, Failure>> {
    stream::once(read_members(hub, system, roster)).boxed()
}

async fn read_members(hub: &Shared, system: usize, roster: &Mutex<Roster>) -> Result<Page, Failure> {
    let asked = hub.now();
    let is_due = {
        let mut roster = roster.lock().unwrap_or_else(PoisonError::into_inner);
        let polls = roster.polls;
        roster.polls += 1;
        polls.is_multiple_of(hub.world().plan.polls_per_members.max(1))
    };
    let clock = hub.world().systems[system].clock(asked);
    if !is_due {
        return Ok(Page { observed: Vec::new(), clock, end: Some(End::Whole) });
    }
    let (mut now, mut end) = (BTreeMap::new(), End::Whole);
    let all = segments(&hub.world().systems[system]);
    for segment in all {
        let (members, is_torn) = members_of(hub, system, segment).await?;
        if is_torn {
            end = End::Torn;
        } else {
            now.insert(segment, members);
        }
    }
    let mut roster = roster.lock().unwrap_or_else(PoisonError::into_inner);
    let observed = moved(&hub.world().systems[system], &roster.members, &now);
    roster.members.extend(now);
    Ok(Page { observed, clock, end: Some(end) })
}

fn segments(system: &System) -> Vec<Segment> {
    let fields = system.resources.iter().enumerate();
    let of = |(field, resource): (usize, &Resource)| match resource {
        Resource::Segment => vec![(field, None)],
        Resource::Segments => SEGMENTS.map(|name| (field, Some(name))).to_vec(),
        _ => Vec::new(),
    };
    fields.flat_map(of).collect()
}

fn is_member(value: Option<&str>, segment: Segment) -> bool {
    match segment.1 {
        None => value == Some("true"),
        Some(name) => value.is_some_and(|items| serde_json::from_str::<Vec<&str>>(items).unwrap().contains(&name)),
    }
}

/// One segment's members, and whether the list changed while it was read.
async fn members_of(hub: &Shared, system: usize, segment: Segment) -> Result<(BTreeSet<u64>, bool), Failure> {
    let (before, after, fails) = delays(hub, system, "members");
    hub.sleep(before).await;
    let read = {
        let now = hub.now();
        let mut world = hub.world();
        let view = view(&mut world, system, "members", now);
        let (torn, hidden) = (world.plan.faults.torn_read, world.plan.faults.hidden);
        let is_torn = world.strikes("torn", "members", torn);
        let hides = world.strikes("hidden", &format!("{system} members"), hidden);
        world.misses_injected |= hides;
        let silent = world.is_silent(system);
        let of = |(key, record): (&u64, &super::system::Record)| {
            let state = record.at(view).filter(|state| !state.gone && !silent)?;
            is_member(state.cells[segment.0].value.as_deref(), segment).then_some(*key)
        };
        let mut members: BTreeSet<u64> = world.systems[system].records.iter().filter_map(of).collect();
        if hides {
            members.pop_last();
        }
        world.meet("members read");
        world.say(now, format!("members of {segment:?} of system {system}: {members:?} as of {}", now - view));
        (members, is_torn)
    };
    hub.sleep(after).await;
    fails.map_or(Ok(read), Err)
}

/// What is shown of those who joined or left. A customer that was deleted left, too: this is no sign of life.
fn moved(
    system: &System,
    before: &BTreeMap<Segment, BTreeSet<u64>>,
    now: &BTreeMap<Segment, BTreeSet<u64>>,
) -> Vec<Observed> {
    let none = BTreeSet::new();
    let moved: BTreeSet<u64> = now
        .iter()
        .flat_map(|(segment, members)| members.symmetric_difference(before.get(segment).unwrap_or(&none)))
        .copied()
        .collect();
    let cell = |field: usize, resource: Resource, key: u64| {
        let is_in = |segment: Segment| now.get(&segment).map(|members| members.contains(&key));
        let value = match resource {
            Resource::Segment => is_in((field, None)).map(|is_in| is_in.then(|| "true".to_owned())),
            _ => {
                let each: Option<Vec<(&str, bool)>> =
                    SEGMENTS.into_iter().map(|name| Some((name, is_in((field, Some(name)))?))).collect();
                each.map(|each| {
                    let within: Vec<&str> =
                        each.into_iter().filter(|(_, is_in)| *is_in).map(|(name, _)| name).collect();
                    (!within.is_empty()).then(|| serde_json::to_string(&within).unwrap())
                })
            }
        };
        value.map_or_else(Cell::default, |value| Cell { seen: shown_as(resource, value.as_deref()), ..Cell::default() })
    };
    let shown = |key: u64| {
        let fields = system.resources.iter().enumerate();
        let cells = fields.map(|(field, resource)| match resource.is_about_segments() {
            true => cell(field, *resource, key),
            false => Cell::default(),
        });
        let (existence, modified): (Existence, Option<Timestamp>) = (Existence::NotSaid, None);
        Observed { key: Key::new(key.to_string()), existence, modified, cells: cells.collect() }
    };
    moved.into_iter().map(shown).collect()
}
