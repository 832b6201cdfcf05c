//! The CRM as a connector: one feed, dates of whole records, nulls shown, writes conditional where the seed says so.

use async_trait::async_trait;
use attune::connector::{Connector, Lane, Lifecycle, Limits, Lookup, Page, Prepared, Reservation};
use attune::model::{Failure, FieldShape, Key, Observed, Outcome, Timestamp, Write};
use futures::stream::BoxStream;

use super::life::Register;
use super::read::{self, Shows, Walk};
use super::store::{pages, prepare, reserve};
use super::{Shared, write};

pub struct Crm {
    pub hub: Shared,
    pub system: usize,
    pub names: Vec<String>,
    pub conditional: bool,
    pub batch: usize,
    pub register: Register,
}

#[async_trait]
impl Connector for Crm {
    fn kind(&self) -> &'static str {
        "crm"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        Limits {
            batches_per_round: 1,
            writes_per_batch: self.batch,
            keys_per_fetch: 100,
            conditional_writes: self.conditional,
            shows_nulls: true,
        }
    }

    async fn prepare(&self, _known: &[Option<String>], _may_create: bool) -> Result<Prepared, Failure> {
        prepare(&self.hub, self.system, vec![FieldShape::TEXT; self.names.len()]).await
    }

    fn feeds(&self) -> &'static [&'static str] {
        &["rows"]
    }

    fn changes(&self, feed: &'static str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        pages(&self.hub, Walk::new(self.system, feed, Shows::Records, Some(since), false))
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

    fn batches(&self, mut writes: Vec<Write>) -> Vec<Vec<Write>> {
        writes.sort_by(|one, other| one.key.cmp(&other.key));
        writes.chunks(self.batch).map(<[Write]>::to_vec).collect()
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
