//! A store as a connector: feeds of customers and of attribute values, and of what else is mapped; whole-second dates of each
//! value or, of a customer's own fields, of the customer; writes packed by what each call takes, none conditional.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use attune::connector::{
    Connector, Dating, Destination, Lane, Lifecycle, Limits, Lookup, Page, PerCall, Prepared, Reservation, Unreserved,
};
use attune::model::{
    Definition, DefinitionState, Failure, FieldShape, Key, Observed, Outcome, Timestamp, Value, Write,
};
use futures::stream::{self, BoxStream, StreamExt};

use super::beside::{Roster, everything, members};
use super::life::Register;
use super::read::{self, Shows, Walk};
use super::resource::Resource;
use super::{Shared, write};

pub struct Store {
    hub: Shared,
    system: usize,
    names: Vec<String>,
    resources: Vec<Resource>,
    feeds: Vec<&'static str>,
    roster: Mutex<Roster>,
    register: Register,
}

impl Store {
    pub fn new(system: usize, names: Vec<String>, register: Register) -> Self {
        let resources: Vec<Resource> = names.iter().map(|name| Resource::of(name)).collect();
        let mut feeds = vec!["customers", "attribute_values"];
        for feed in ["segments", "metafields", "subscribers"] {
            if resources.iter().any(|resource| resource.feed() == Some(feed)) {
                feeds.push(feed);
            }
        }
        let hub = register.hub.clone();
        Self { hub, system, names, resources, feeds, roster: Mutex::default(), register }
    }
}

#[async_trait]
impl Connector for Store {
    fn kind(&self) -> &'static str {
        "store"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        Limits {
            batches_per_round: 3,
            writes_per_batch: 10,
            keys_per_fetch: 4,
            conditional_writes: false,
            shows_nulls: false,
        }
    }

    fn dating(&self, field: usize) -> Dating {
        self.resources[field].dating()
    }

    fn destination(&self, field: usize) -> Destination {
        self.resources[field].destination()
    }

    async fn prepare(&self, _known: &[Option<String>], _may_create: bool) -> Result<Prepared, Failure> {
        let shapes = self.names.iter().zip(&self.resources).map(|(name, resource)| resource.shape(name));
        prepare(&self.hub, self.system, shapes.collect()).await
    }

    fn feeds(&self) -> &[&'static str] {
        &self.feeds
    }

    fn changes(&self, feed: &'static str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        let (shows, by_offset) = match feed {
            "segments" => return members(&self.hub, self.system, &self.roster),
            "customers" => (Shows::Records, false),
            "metafields" => (Shows::Values(Resource::Metafield), true),
            "subscribers" => (Shows::Values(Resource::Subscriber), true),
            _ => (Shows::Values(Resource::Attribute), true),
        };
        pages(&self.hub, Walk::new(self.system, feed, shows, Some(since), by_offset))
    }

    fn everything(&self) -> BoxStream<'_, Result<Page, Failure>> {
        everything(&self.hub, self.system, &self.resources)
    }

    async fn fetch(
        &self,
        keys: &[Key],
        fields: &[usize],
        _reservation: &dyn Reservation,
    ) -> Result<Vec<Observed>, Failure> {
        read::fetch(&self.hub, self.system, keys, fields).await
    }

    fn batches(&self, writes: Vec<Write>) -> Vec<Vec<Write>> {
        let mut apart: BTreeMap<usize, Vec<Write>> = BTreeMap::new();
        for write in writes {
            apart.entry(self.destination(write.field).number).or_default().push(write);
        }
        apart.into_values().flat_map(|writes| self.pack(writes)).collect()
    }

    async fn reserve(&self, _lane: Lane, _calls: usize) -> Result<Box<dyn Reservation>, Failure> {
        reserve(&self.hub, self.system).await
    }

    async fn write(&self, batch: &[Write], _reservation: &dyn Reservation) -> Vec<Outcome> {
        write::write(&self.hub, self.system, batch).await
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        (self.register.finds > 0).then_some(&self.register)
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(&self.register)
    }
}

impl Store {
    /// Packs the writes of one destination into calls.
    fn pack(&self, writes: Vec<Write>) -> Vec<Vec<Write>> {
        let Some(first) = writes.first() else { return Vec::new() };
        let resource = self.resources[first.field];
        match resource.destination().per_call {
            PerCall::Records(most) => {
                let mut customers: BTreeMap<Key, Vec<Write>> = BTreeMap::new();
                for write in writes {
                    customers.entry(write.key.clone()).or_default().push(write);
                }
                let customers: Vec<Vec<Write>> = customers.into_values().collect();
                customers.chunks(most).map(|customers| customers.concat()).collect()
            }
            // One call takes people into one segment, or out of it; lists are split further on the way.
            PerCall::Writes(most) if resource.is_about_segments() => {
                let mut alike: BTreeMap<_, Vec<Write>> = BTreeMap::new();
                for write in writes {
                    let joins = write.value.clone().filter(|value| matches!(value, Value::Text(_)));
                    alike.entry((write.field, joins)).or_default().push(write);
                }
                alike.values().flat_map(|writes| writes.chunks(most)).map(<[Write]>::to_vec).collect()
            }
            PerCall::Writes(most) => {
                let (upserts, deletes): (Vec<Write>, Vec<Write>) =
                    writes.into_iter().partition(|write| write.value.is_some());
                // Metafields are deleted one by one.
                let at_once = if resource == Resource::Metafield { 1 } else { most };
                let deletes = deletes.chunks(at_once).map(<[Write]>::to_vec);
                upserts.chunks(most).map(<[Write]>::to_vec).chain(deletes).collect()
            }
        }
    }
}

pub fn pages(hub: &Shared, walk: Walk) -> BoxStream<'_, Result<Page, Failure>> {
    stream::unfold(walk, move |mut walk| async move { Some((walk.page(hub).await?, walk)) }).boxed()
}

/// `shapes`: what each field can hold.
pub async fn prepare(hub: &Shared, system: usize, shapes: Vec<FieldShape>) -> Result<Prepared, Failure> {
    let asked = hub.now();
    let (before, after, fails) = read::delays(hub, system, "prepare");
    hub.sleep(before + after).await;
    if let Some(failure) = fails {
        return Err(failure);
    }
    let world = hub.world();
    let system = &world.systems[system];
    let usable = |shape| Definition { id: None, state: DefinitionState::Usable(shape) };
    Ok(Prepared {
        identity: system.name.clone(),
        clock: system.clock(asked),
        definitions: shapes.into_iter().map(usable).collect(),
        warnings: Vec::new(),
    })
}

pub async fn reserve(hub: &Shared, system: usize) -> Result<Box<dyn Reservation>, Failure> {
    let waits = {
        let mut world = hub.world();
        let throttled = world.plan.faults.throttled;
        let about = system.to_string();
        if world.strikes("throttled", &about, throttled) {
            world.decide("wait", &about).between(500, 15_000)
        } else {
            1
        }
    };
    hub.sleep(waits).await;
    Ok(Box::new(Unreserved(Lane::Fresh)))
}
