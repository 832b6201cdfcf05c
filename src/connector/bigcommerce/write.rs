//! Writes: packed by who writes them, handed to their room, each call sent once. What became of each value is read from the
//! answer's rows, never from their order.

use std::collections::BTreeMap;

use super::field::{Field, Writer};
use super::{
    BigCommerce, Lane, Paid, Reservation, addresses, attributes, customers, explained, metafields, segments,
    subscribers,
};
use crate::http::{Answer, Endpoint, Request};
use crate::model::{Class, Failure, Outcome, Write};

/// Why a value is not part of the call.
pub(super) enum NotPut {
    /// Held until it changes; a sentence without the value.
    Refused(String),
    /// It may go another time.
    Failed(Failure),
}

impl BigCommerce {
    /// Each inner list is one call of one writer.
    pub(super) fn pack(&self, writes: Vec<Write>) -> Vec<Vec<Write>> {
        let mut by_writer: BTreeMap<Option<Writer>, Vec<Write>> = BTreeMap::new();
        for write in writes {
            by_writer.entry(self.writer_of(&write)).or_default().push(write);
        }
        let packed = by_writer.into_iter().flat_map(|(writer, writes)| match writer {
            Some(Writer::AttributeValues) => attributes::batches(writes),
            Some(Writer::Customers) => customers::batches(writes),
            Some(Writer::Segments) => segments::batches(writes),
            Some(Writer::Metafields) => metafields::batches(writes),
            Some(Writer::Subscribers) => subscribers::batches(writes),
            Some(Writer::Addresses) => addresses::batches(writes),
            None => vec![writes],
        });
        packed.collect()
    }

    /// Sends a batch once; one outcome for each write, in order.
    pub(super) async fn write_batch(&self, batch: &[Write], reservation: &dyn Reservation) -> Vec<Outcome> {
        let outcomes = match batch.first().and_then(|write| self.writer_of(write)) {
            Some(Writer::AttributeValues) => self.write_values(batch, reservation).await,
            Some(Writer::Customers) => self.put_customers(batch, reservation).await,
            Some(Writer::Segments) => self.move_members(batch, reservation).await,
            Some(Writer::Metafields) => self.write_metafields(batch, reservation).await,
            Some(Writer::Subscribers) => self.write_subscriber(batch, reservation).await,
            Some(Writer::Addresses) => self.write_addresses(batch, reservation).await,
            None => vec![Some(self.unsendable("its field cannot be written")); batch.len()],
        };
        let forgotten = || self.unsendable("it was left out of the call");
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(forgotten)).collect()
    }

    fn writer_of(&self, write: &Write) -> Option<Writer> {
        self.fields.get(write.field).and_then(Field::writer)
    }

    /// One call that changes something. Never repeated.
    pub(super) async fn send_write(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        reservation: &dyn Reservation,
    ) -> Result<Answer, Failure> {
        let paid = Paid::by(reservation, Lane::Fresh);
        let turn = self.caller.turn(endpoint, paid.write()).await?;
        self.caller.send(turn, request).await.map_err(explained)
    }

    /// A value that cannot be part of any call.
    pub(super) fn unsendable(&self, why: &str) -> Outcome {
        let sentence = format!("a value for store {} was not sent: {why}", self.store_hash);
        Outcome::NotSent(Failure::new(Class::Broken, sentence))
    }

    /// Our own data that does not become JSON.
    pub(super) fn unwritable(&self) -> Failure {
        let sentence = format!(
            "what was to be sent to store {} cannot be written as JSON; please report this as a defect of Attune",
            self.store_hash
        );
        Failure::new(Class::Broken, sentence)
    }
}

/// The outcome of every write of a call that failed as a whole. `hint`: what else may be the matter where one value alone is
/// refused.
pub(super) fn refuse(places: &[usize], failure: &Failure, hint: &str, outcomes: &mut [Option<Outcome>]) {
    if failure.class == Class::Rejected {
        // The sentence of a held value must hold nothing that came from the system, and it says what is wrong.
        let said = failure.detail.as_deref().unwrap_or_default();
        tracing::debug!(target: "attune", values = places.len(), "{failure}: {said}");
    }
    for place in places {
        outcomes[*place] = Some(match failure.class {
            _ if failure.may_have_happened => Outcome::Unknown(failure.clone()),
            Class::Rejected if places.len() == 1 => Outcome::Rejected(format!(
                "BigCommerce refused the value (status {}{}); correct it where it comes from{hint}",
                failure.status.unwrap_or_default(),
                failure.request_id.as_ref().map(|id| format!(", request {id}")).unwrap_or_default(),
            )),
            Class::Rejected => Outcome::BatchRejected(failure.clone()),
            _ => Outcome::NotSent(failure.clone()),
        });
    }
}
