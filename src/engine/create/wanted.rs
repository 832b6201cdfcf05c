//! Which records lack a partner that the mapping makes: decided by what is remembered, written nowhere but in the list of
//! what is wanted.
//!
//! A record is alone if it takes part, holds a value to be found by, shares it with nobody on its own side, and nobody on the
//! other side holds any of its values, whether that one takes part or not: who is in doubt is left alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{CHUNK, Engine, Error, Pair};
use crate::checkpoint::{Creation, RecordRow, Transaction};
use crate::model::{Side, Timestamp};
use crate::proof::Fault;

/// A creation that has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    /// Where the partner is to be made.
    pub side: Side,
    /// The number of the creation.
    pub creation: i64,
    /// The record that lacks a partner.
    pub record: i64,
}

impl Engine {
    /// Looks for records that lack a partner, of those that changed since, and remembers them. Answers all that can be made
    /// now.
    pub(in super::super) async fn want_partners(&self, pair: &Pair, since: i64) -> Result<Vec<Wanted>, Error> {
        let mut wanted = Vec::new();
        for side in pair.creates_on() {
            // Who was not seen may be the partner.
            if side == Side::Store && pair.crm.by_key.load(std::sync::atomic::Ordering::SeqCst) {
                continue;
            }
            let origin = pair.source(side.other());
            let mut after = 0;
            loop {
                self.going_on()?;
                let mut transaction = self.checkpoint.begin().await?;
                let records = transaction.without_partner(pair.id, origin.id, (since, after), CHUNK).await?;
                let Some(last) = records.last() else { break };
                after = last.id;
                let alone = alone(&mut transaction, pair, side, records).await?;
                transaction.want(pair.id, side, &alone.into_iter().map(|record| record.id).collect::<Vec<_>>()).await?;
                transaction.commit().await?;
            }
            self.review_wanted(pair, side, &mut wanted).await?;
        }
        Ok(wanted)
    }

    /// Goes through what is wanted on a side: what is not alone any more is forgotten.
    async fn review_wanted(&self, pair: &Pair, side: Side, wanted: &mut Vec<Wanted>) -> Result<(), Error> {
        let mut after = 0;
        loop {
            self.going_on()?;
            let mut transaction = self.checkpoint.begin().await?;
            let until = self.may_be_repeated(&mut transaction, pair, side).await?;
            let due = transaction.creations_due((pair.id, side), until, after, CHUNK).await?;
            let Some(last) = due.last() else { return Ok(()) };
            after = last.id;
            let still = self.sort_out(&mut transaction, pair, side, due).await?;
            transaction.commit().await?;
            let of = |creation: Creation| Wanted { side, creation: creation.id, record: creation.origin.id };
            wanted.extend(still.into_iter().map(of));
        }
    }

    /// Those of some creations whose origins still lack a partner. The others are forgotten.
    pub(super) async fn sort_out(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        side: Side,
        creations: Vec<Creation>,
    ) -> Result<Vec<Creation>, Error> {
        let origins: Vec<RecordRow> = creations.iter().map(|creation| creation.origin.clone()).collect();
        let alone: BTreeSet<i64> =
            alone(transaction, pair, side, origins).await?.into_iter().map(|record| record.id).collect();
        let (mut still, mut forgotten, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        for creation in creations {
            let record = creation.origin.id;
            if alone.contains(&record) {
                still.push(creation);
                continue;
            }
            settled.push(record);
            forgotten.push(creation.id);
        }
        transaction.forget_creations(&forgotten).await?;
        release(transaction, pair, &settled).await?;
        Ok(still)
    }

    /// The moment up to which a creation of unknown outcome was sent that may be tried again: it can take effect no more,
    /// and if it did, the record was seen since: found by its value, or by a whole read.
    async fn may_be_repeated(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        side: Side,
    ) -> Result<Timestamp, Error> {
        let target = pair.source(side);
        if crate::proof::has(Fault::CreateSentAgain) {
            return Ok(self.clock.now());
        }
        let settled = self.clock.now() - target.times.quarantine;
        if target.connector.lookup().is_some() {
            return Ok(settled);
        }
        let row = transaction.source(target.side, &target.name).await?;
        let swept = row.and_then(|row| row.swept_at).map(|swept| swept - target.times.quarantine);
        Ok(swept.map_or(Timestamp::from_millis(0), |swept| swept.min(settled)))
    }
}

/// Releases what was held of records because no partner could be made for them.
pub(super) async fn release(transaction: &mut Transaction<'_>, pair: &Pair, records: &[i64]) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    let held = transaction.held_records(pair.id).await?;
    let released: Vec<i64> = records
        .iter()
        .filter_map(|record| held.get(record))
        .filter(|(_, reason)| super::REASONS.contains(reason))
        .map(|(id, _)| *id)
        .collect();
    transaction.release(&released).await?;
    Ok(())
}

/// Those of some records that are alone: nobody on `side` can be their partner, nor stand in the way of making one.
pub(in super::super) async fn alone(
    transaction: &mut Transaction<'_>,
    pair: &Pair,
    side: Side,
    records: Vec<RecordRow>,
) -> Result<Vec<RecordRow>, Error> {
    let own = side.other();
    let ids: Vec<i64> = records.iter().map(|record| record.id).collect();
    let linked = transaction.linked_among(pair.id, &ids).await?;
    let takes_part =
        |record: &RecordRow| !record.gone && !linked.contains_key(&record.id) && pair.takes(own, &record.seen);
    let records: Vec<(RecordRow, Vec<(usize, String)>)> = records
        .into_iter()
        .filter(takes_part)
        .map(|record| {
            let values: Vec<(usize, String)> = pair.findable(own, &record.seen).collect();
            (record, values)
        })
        .filter(|(_, values)| !values.is_empty())
        .collect();
    // (rule, value) → who holds it: on the record's own side, and on the other.
    let mut holders: BTreeMap<(usize, String), [BTreeSet<i64>; 2]> = BTreeMap::new();
    for value in records.iter().flat_map(|(_, values)| values) {
        holders.entry(value.clone()).or_default();
    }
    for rule in 0..pair.rules.len() {
        let values: Vec<String> =
            holders.keys().filter(|(at, _)| *at == rule).map(|(_, value)| value.clone()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        if values.is_empty() {
            continue;
        }
        for (place, holder) in [own, side].into_iter().enumerate() {
            let Some(field) = pair.rule_field(rule, holder) else { continue };
            for (value, record) in transaction.records_with_match(field, &values).await? {
                holders.entry((rule, value)).or_default()[place].insert(record);
            }
        }
    }
    let is_alone = |values: &[(usize, String)]| {
        let decides = values.first().and_then(|value| holders.get(value));
        let has_no_twin = decides.is_some_and(|[twins, _]| twins.len() <= 1);
        has_no_twin && values.iter().filter_map(|value| holders.get(value)).all(|[_, others]| others.is_empty())
    };
    Ok(records.into_iter().filter(|(_, values)| is_alone(values)).map(|(record, _)| record).collect())
}
