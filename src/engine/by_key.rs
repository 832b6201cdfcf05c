//! Reading a CRM that is much larger than its stores: by the keys of its linked records, and by what unlinked customers
//! match by, whenever that takes fewer calls than reading all of it.
//!
//! What is not linked is then not remembered: it is found again by value when a customer may be it. Nothing may be decided
//! here that depends on having seen every contact, so a CRM from which customers are created is always read whole.

use std::sync::atomic::Ordering;

use super::pull::{Streamed, offset};
use super::{CHUNK, Engine, Error, Pair, Source};
use crate::connector::{Lane, Lookup};
use crate::model::{Class, Existence, Failure, Key, Side, Timestamp};

/// The most records that may share the values of one find: a match field that so many share names nobody.
const FOUND_MAX: usize = 100_000;

impl Engine {
    /// Whether a sweep of this source reads by key: it can, nobody needs to see all of it, and it takes fewer calls.
    pub(super) async fn reads_by_key(&self, source: &Source) -> Result<bool, Error> {
        let pairs = source.pairs();
        let Some(lookup) = source.connector.lookup().filter(|_| source.finds_by_value() && !pairs.is_empty()) else {
            return Ok(false);
        };
        let found_by_value = |pair: &Pair| {
            let makes_customers = pair.mapping.create.on(Side::Store);
            let is_found = |field: i64| source.place(field).is_some_and(|place| lookup.finds_by(place));
            !makes_customers && pair.rules.iter().all(|(_, field, _)| is_found(*field))
        };
        if !pairs.iter().all(|pair| found_by_value(pair)) {
            return Ok(false);
        }
        let limits = lookup.lookup_limits();
        let (mut linked, mut by_key) = (0, 0);
        for pair in &pairs {
            let customers = self.count_customers(&pair.store).await?;
            let mut transaction = self.checkpoint.read().await?;
            let links = transaction.count_links(pair.id).await?;
            transaction.end().await?;
            linked += links;
            by_key += calls(customers.saturating_sub(links), limits.values_per_find);
        }
        by_key += calls(linked, source.connector.limits().keys_per_fetch);
        source.call();
        let contacts = lookup.count(Lane::Sweep).await.map_err(|failure| source.error(failure))?;
        Ok(by_key < calls(contacts, limits.rows_per_page))
    }

    /// How many customers a store has: as it was read, or by asking it. One that cannot be asked counts as empty: to read by
    /// key is right for every number, and the next sweep chooses again.
    async fn count_customers(&self, store: &Source) -> Result<u64, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let row = transaction.source(store.side, &store.name).await?;
        let known = transaction.count_records(store.id).await?;
        transaction.end().await?;
        let lookup = store.connector.lookup().filter(|_| row.is_none_or(|row| row.swept_at.is_none()));
        let Some(lookup) = lookup else { return Ok(known) };
        store.call();
        Ok(lookup.count(Lane::Sweep).await.unwrap_or(known))
    }

    /// Reads by key all that must be known of a source: its linked records, and those that unlinked customers may be.
    pub(super) async fn sweep_by_key(&self, source: &Source, covered: Option<Timestamp>) -> Result<Streamed, Error> {
        let asked = self.clock.now();
        let clock = self.refresh_definitions(source, false).await?;
        let offset_ms = offset(source.offset_ms(), clock, asked, self.clock.now());
        source.offset_ms.store(offset_ms, Ordering::Relaxed);
        source.told_time.store(true, Ordering::Relaxed);
        let mut streamed = Streamed { records: 0, missed: 0, clock: Some(clock), whole: true };
        self.forget_strangers(source).await?;
        let limit = source.connector.limits().keys_per_fetch.min(CHUNK);
        let mut after = 0;
        loop {
            self.going_on()?;
            let mut transaction = self.checkpoint.read().await?;
            let known = transaction.not_swept(source.id, after, limit).await?;
            transaction.end().await?;
            let Some((last, _)) = known.last() else { break };
            after = *last;
            let keys: Vec<Key> = known.into_iter().map(|(_, key)| key).collect();
            let (records, missed) = self.read_records(source, &keys, covered, Lane::Sweep).await?;
            streamed.records += records;
            streamed.missed += missed;
        }
        self.meet_successors(source).await?;
        let Some(lookup) = source.connector.lookup() else { return Ok(streamed) };
        for pair in source.pairs() {
            // Its candidates are one list: not while it links. Who never passed looks for all of them then.
            let _linking = pair.linking.lock().await;
            let mut transaction = self.checkpoint.read().await?;
            let decided = transaction.pair(pair.id).await?.decided;
            transaction.end().await?;
            if decided > 0 {
                streamed.records += self.look_for_partners(&pair, lookup, 0, Lane::Sweep).await?;
            }
        }
        Ok(streamed)
    }

    /// Forgets the records of a source that are neither linked nor held nor under way, a piece at a time.
    async fn forget_strangers(&self, source: &Source) -> Result<(), Error> {
        loop {
            self.going_on()?;
            let mut transaction = self.checkpoint.begin().await?;
            let forgotten = transaction.forget_strangers(source.id, CHUNK).await?;
            transaction.commit().await?;
            if forgotten == 0 {
                return Ok(());
            }
        }
    }

    /// Reads all fields of these records: (records there, changes that the feeds had missed).
    async fn read_records(
        &self,
        source: &Source,
        keys: &[Key],
        covered: Option<Timestamp>,
        lane: Lane,
    ) -> Result<(u64, u64), Error> {
        let fields: Vec<usize> = (0..source.fields.len()).collect();
        let (mut there, mut missed) = (0, 0);
        for chunk in keys.chunks(source.connector.limits().keys_per_fetch.max(1)) {
            self.going_on()?;
            let (shown, recorded) = self.look_at(source, chunk, &fields, lane, (covered, true)).await?;
            there += shown.iter().filter(|shown| shown.existence == Existence::Present).count() as u64;
            missed += recorded.missed;
        }
        Ok((there, missed))
    }

    /// Reads the records into which others were merged, where nobody has seen them yet: their links move to them.
    pub(super) async fn meet_successors(&self, source: &Source) -> Result<(), Error> {
        let mut transaction = self.checkpoint.read().await?;
        let keys = transaction.unmet_successors(source.id, CHUNK).await?;
        transaction.end().await?;
        self.read_records(source, &keys, source.covered(), Lane::Fresh).await?;
        Ok(())
    }

    /// Where the CRM of a pair is read by key: finds and reads the contacts that unlinked customers may be, of those that
    /// changed since. Does nothing for a CRM that this process has not read.
    pub(super) async fn find_partners(&self, pair: &Pair, since: i64) -> Result<(), Error> {
        let crm = &pair.crm;
        let is_read = crm.by_key.load(Ordering::SeqCst) && crm.told_time.load(Ordering::SeqCst);
        if let Some(lookup) = crm.connector.lookup().filter(|_| is_read) {
            self.look_for_partners(pair, lookup, since, Lane::Fresh).await?;
        }
        Ok(())
    }

    async fn look_for_partners(&self, pair: &Pair, lookup: &dyn Lookup, since: i64, lane: Lane) -> Result<u64, Error> {
        let each = lookup.lookup_limits().values_per_find.max(1);
        let mut transaction = self.checkpoint.begin().await?;
        self.gather(&mut transaction, pair, since).await?;
        transaction.commit().await?;
        let (mut after, mut found) = (0, 0);
        let mut wanted: Vec<Vec<String>> = vec![Vec::new(); pair.rules.len()];
        loop {
            self.going_on()?;
            let mut transaction = self.checkpoint.read().await?;
            let customers = transaction.candidates(pair.id, after, CHUNK).await?;
            let ids: Vec<i64> = customers.iter().map(|customer| customer.id).collect();
            let linked = transaction.linked_among(pair.id, &ids).await?;
            transaction.end().await?;
            let last = ids.last().copied();
            for customer in customers {
                let is_free = !customer.gone && !linked.contains_key(&customer.id);
                if is_free
                    && pair.takes(Side::Store, &customer.seen)
                    && let Some((rule, value)) = pair.deciding(Side::Store, &customer.seen)
                {
                    wanted[rule].push(value);
                }
            }
            for (rule, values) in wanted.iter_mut().enumerate() {
                while values.len() >= each || (last.is_none() && !values.is_empty()) {
                    let now: Vec<String> = values.drain(..each.min(values.len())).collect();
                    found += self.find_by(pair, lookup, rule, &now, lane).await?;
                }
            }
            match last {
                Some(last) => after = last,
                None => return Ok(found),
            }
        }
    }

    /// Finds and reads the contacts that hold one of these values by a match rule. How many there are.
    async fn find_by(
        &self,
        pair: &Pair,
        lookup: &dyn Lookup,
        rule: usize,
        values: &[String],
        lane: Lane,
    ) -> Result<u64, Error> {
        let source = &pair.crm;
        let (_, field, fold) = pair.rules[rule];
        let Some(place) = source.place(field) else { return Ok(0) };
        self.find_and_read(source, lookup, (place, fold), values, lane).await
    }

    /// Finds and reads the records of a source that hold one of these values in a field. How many there are.
    pub(super) async fn find_and_read(
        &self,
        source: &Source,
        lookup: &dyn Lookup,
        (place, fold): (usize, bool),
        values: &[String],
        lane: Lane,
    ) -> Result<u64, Error> {
        source.call();
        let finding = lookup.keys_with(place, values, fold, lane);
        let keys = finding.await.map_err(|failure| source.error(failure))?;
        if keys.len() > FOUND_MAX {
            let sentence = format!(
                "more than {FOUND_MAX} records share {} values of `{}`, by which links are found; match by a field that \
                 names one person",
                values.len(),
                source.fields[place].name
            );
            return Err(source.error(Failure::new(Class::Misconfigured, sentence)));
        }
        Ok(self.read_records(source, &keys, source.covered(), lane).await?.0)
    }
}

/// The calls that so many records take.
fn calls(records: u64, each: usize) -> u64 {
    records.div_ceil(u64::try_from(each.max(1)).unwrap_or(u64::MAX))
}
