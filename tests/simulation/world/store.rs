//! A store as a connector: two feeds, whole-second dates of each value or, of a customer's own fields, of the customer;
//! upserts of ten, customers by tens, no conditional writes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use attune::connector::{
    Connector, Dating, Destination, Lane, Lifecycle, Limits, Lookup, Page, PerCall, Prepared, Reservation, Unreserved,
};
use attune::model::{Definition, DefinitionState, Failure, FieldShape, Key, Observed, Outcome, Timestamp, Write};
use futures::stream::{self, BoxStream, StreamExt};

use super::life::Register;
use super::read::{self, Shows, Walk};
use super::{Shared, write};

pub struct Store {
    pub hub: Shared,
    pub system: usize,
    pub names: Vec<String>,
    pub register: Register,
}

impl Store {
    /// Whether a field is written with its customer.
    fn is_own(&self, field: usize) -> bool {
        !self.names[field].starts_with("attribute:")
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
        match self.names[field].split_once(':') {
            Some(("customer", _)) => Dating::Record,
            Some(("form_field", _)) => Dating::Nothing,
            _ => Dating::Itself,
        }
    }

    fn destination(&self, field: usize) -> Destination {
        if self.is_own(field) {
            Destination { number: 1, per_call: PerCall::Records(10) }
        } else {
            Destination { number: 0, per_call: PerCall::Writes(10) }
        }
    }

    async fn prepare(&self, _known: &[Option<String>], _may_create: bool) -> Result<Prepared, Failure> {
        prepare(&self.hub, self.system).await
    }

    fn feeds(&self) -> &'static [&'static str] {
        &["customers", "attribute_values"]
    }

    fn changes(&self, feed: &'static str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        let (shows, by_offset) = if feed == "customers" { (Shows::Records, false) } else { (Shows::Values, true) };
        pages(&self.hub, Walk::new(self.system, feed, shows, Some(since), by_offset))
    }

    fn everything(&self) -> BoxStream<'_, Result<Page, Failure>> {
        pages(&self.hub, Walk::new(self.system, "sweep", Shows::Records, None, false))
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
        let (own, values): (Vec<Write>, Vec<Write>) = writes.into_iter().partition(|write| self.is_own(write.field));
        let (upserts, deletes): (Vec<Write>, Vec<Write>) = values.into_iter().partition(|write| write.value.is_some());
        let mut customers: BTreeMap<Key, Vec<Write>> = BTreeMap::new();
        for write in own {
            customers.entry(write.key.clone()).or_default().push(write);
        }
        let customers: Vec<Vec<Write>> = customers.into_values().collect();
        let by_value = [&upserts, &deletes].into_iter().flat_map(|writes| writes.chunks(10)).map(<[Write]>::to_vec);
        by_value.chain(customers.chunks(10).map(|customers| customers.concat())).collect()
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

pub fn pages(hub: &Shared, walk: Walk) -> BoxStream<'_, Result<Page, Failure>> {
    stream::unfold(walk, move |mut walk| async move { Some((walk.page(hub).await?, walk)) }).boxed()
}

pub async fn prepare(hub: &Shared, system: usize) -> Result<Prepared, Failure> {
    let asked = hub.now();
    let (before, after, fails) = read::delays(hub, system, "prepare");
    hub.sleep(before + after).await;
    if let Some(failure) = fails {
        return Err(failure);
    }
    let world = hub.world();
    let system = &world.systems[system];
    let usable = Definition { id: None, state: DefinitionState::Usable(FieldShape::TEXT) };
    Ok(Prepared {
        identity: system.name.clone(),
        clock: system.clock(asked),
        definitions: vec![usable; system.names.len()],
        warnings: Vec::new(),
        choices: Vec::new(),
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
