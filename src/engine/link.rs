//! Pairing records up: with whom it was linked before, or with exactly one candidate on each side, or with nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::{CHUNK, Engine, Error, Pair};
use crate::checkpoint::{NewHeld, RecordRow, Transaction};
use crate::model::{HeldReason, Side};
use crate::telemetry::Event;

/// What the search for links found among one chunk of customers.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Customer and contact that are one person, and what says so.
    pub unique: Vec<(RecordRow, RecordRow, By)>,
    /// Records with several candidates, or one that is taken.
    pub ambiguous: Vec<Ambiguous>,
    /// Customers that nobody matches.
    pub alone: Vec<RecordRow>,
}

/// What says that two records are one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// They were linked until one of them was gone or did not take part: a link is a pair of keys, whatever they match by now.
    Key,
    /// The match rule at this place.
    Rule(usize),
}

impl By {
    /// As it is told: the store field of the rule, or `key`.
    pub(super) fn name(self, pair: &Pair) -> &str {
        match self {
            Self::Key => "key",
            Self::Rule(rule) => pair.mapping.matches.get(rule).map_or("", |rule| rule.store.as_str()),
        }
    }
}

/// A record that could be several.
#[derive(Clone, Debug)]
pub(super) struct Ambiguous {
    pub side: Side,
    pub record: RecordRow,
    pub candidates: Vec<String>,
}

/// What a search for links came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Linked {
    /// Links made.
    pub made: u64,
    /// Mapped fields of records that are left without a link.
    pub unlinked: u64,
    /// Records that are ambiguous and were not before.
    pub held: u64,
}

/// All records that share one match value, on both sides.
#[derive(Default)]
struct Group {
    store: BTreeMap<i64, RecordRow>,
    crm: BTreeMap<i64, RecordRow>,
}

impl Engine {
    /// Makes the links that can be made, and holds what is ambiguous.
    pub(super) async fn link(
        &self,
        pair: &Pair,
        pass: u64,
        since: i64,
        matching_changed: bool,
    ) -> Result<Linked, Error> {
        let mut ahead = pair.linking.lock().await;
        let since = if matching_changed { 0 } else { since };
        let mut linked = self.make_links(pair, pass, since).await?;
        linked.made += std::mem::take(&mut *ahead);
        Ok(linked)
    }

    /// Makes the links of pairs that write one way into the same fields as this one and never passed: whoever passes
    /// first must know of the other's value, or it would be written before anybody can see that there are two.
    pub(super) async fn link_rivals(&self, pair: &Pair, pass: u64) -> Result<(), Error> {
        for side in [Side::Store, Side::Crm] {
            let into = |pair: &Pair| -> BTreeSet<i64> {
                let fields = pair.fields.iter().filter(|field| field.writes_only() == Some(side));
                fields.map(|field| field.on(side).1).collect()
            };
            let own = into(pair);
            let rivals = pair.source(side).pairs().into_iter().filter(|rival| rival.id != pair.id);
            for rival in rivals.filter(|rival| !own.is_disjoint(&into(rival))) {
                let mut ahead = rival.linking.lock().await;
                let mut transaction = self.checkpoint.read().await?;
                let decided = transaction.pair(rival.id).await?.decided;
                transaction.end().await?;
                if decided == 0 && self.cannot_pass(&rival).await?.is_none() {
                    *ahead += self.make_links(&rival, pass, 0).await?.made;
                }
            }
        }
        Ok(())
    }

    async fn make_links(&self, pair: &Pair, pass: u64, since: i64) -> Result<Linked, Error> {
        self.find_partners(pair, since).await?;
        let mut transaction = self.checkpoint.begin().await?;
        let waiting = self.gather(&mut transaction, pair, since).await?;
        let of_links = |reason| matches!(reason, HeldReason::Ambiguous | HeldReason::Merged);
        let known = transaction.held_records(pair.id).await?.into_iter();
        let mut before: BTreeMap<i64, i64> =
            known.filter(|(_, (_, reason))| of_links(*reason)).map(|(record, (id, _))| (record, id)).collect();
        transaction.commit().await?;
        let (mut made, mut without) = (0, 0);
        let mut after = 0;
        let mut news = Vec::new();
        loop {
            self.going_on()?;
            let mut transaction = self.checkpoint.begin().await?;
            let customers = transaction.candidates(pair.id, after, CHUNK).await?;
            let Some(last) = customers.last() else { break };
            after = last.id;
            let found = search(&mut transaction, pair, customers).await?;
            without += (found.alone.len() + found.ambiguous.len()) as u64;
            let records: Vec<(i64, i64)> = found.unique.iter().map(|(store, crm, _)| (store.id, crm.id)).collect();
            transaction.add_links(pair.id, &records, self.clock.now()).await?;
            let held: Vec<NewHeld> = found.ambiguous.iter().map(held).collect();
            transaction.hold(pair.id, self.clock.now(), &held).await?;
            transaction.commit().await?;
            news.extend(found.ambiguous.into_iter().filter(|held| before.remove(&held.record.id).is_none()));
            for (store, crm, by) in &found.unique {
                let by = by.name(pair);
                let (store_key, crm_key) = (store.key.as_str(), crm.key.as_str());
                Event::LinkCreated { pair: pair.event(), pass, store_key, crm_key, by }
                    .emit_at(made >= Event::RECORDS_PER_PASS);
                made += 1;
            }
        }
        if waiting > 0 {
            // What was held and was not found ambiguous again is not held any more.
            let mut transaction = self.checkpoint.begin().await?;
            transaction.release(&before.into_values().collect::<Vec<_>>()).await?;
            transaction.commit().await?;
        }
        for (number, held) in news.iter().enumerate() {
            let (key, candidates) = (held.record.key.as_str(), held.candidates.len() as u64);
            let reason = HeldReason::Ambiguous;
            Event::RecordHeld { pair: pair.event(), pass, side: held.side, key, reason, candidates }
                .emit_at(number as u64 >= Event::RECORDS_PER_PASS);
        }
        Ok(Linked { made, unlinked: without * pair.fields.len() as u64, held: news.len() as u64 })
    }

    /// Gathers the customers for which a link must be looked for.
    pub(super) async fn gather(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        since: i64,
    ) -> Result<u64, Error> {
        let rules: Vec<(i64, i64)> = pair.rules.iter().map(|(store, crm, _)| (*store, *crm)).collect();
        Ok(transaction.gather_candidates(pair.id, (pair.store.id, pair.crm.id), &rules, since).await?)
    }
}

impl Ambiguous {
    /// Its candidates, as they are kept with what is held.
    pub(super) fn detail(&self) -> String {
        self.candidates.join(", ")
    }
}

fn held(ambiguous: &Ambiguous) -> NewHeld {
    NewHeld {
        link: None,
        mapped: None,
        record: Some(ambiguous.record.id),
        reason: HeldReason::Ambiguous,
        store_value: "null".to_owned(),
        crm_value: "null".to_owned(),
        detail: Some(ambiguous.detail()),
    }
}

/// Looks for the partners of customers, in a constant number of statements.
pub(super) async fn search(
    transaction: &mut Transaction<'_>,
    pair: &Pair,
    customers: Vec<RecordRow>,
) -> Result<Found, Error> {
    let mut found = Found::default();
    let mut by_value: BTreeMap<(usize, String), Group> = BTreeMap::new();
    let ids: Vec<i64> = customers.iter().map(|customer| customer.id).collect();
    let mut partners: BTreeMap<i64, RecordRow> =
        returned(transaction, pair, &ids).await?.into_iter().map(|(store, crm)| (store.id, crm)).collect();
    for customer in customers {
        if let Some(contact) = partners.remove(&customer.id) {
            found.unique.push((customer, contact, By::Key));
            continue;
        }
        if customer.gone || !pair.takes(Side::Store, &customer.seen) {
            found.alone.push(customer);
            continue;
        }
        match pair.deciding(Side::Store, &customer.seen) {
            None => found.alone.push(customer),
            Some(value) => drop(by_value.entry(value).or_default().store.insert(customer.id, customer)),
        }
    }
    complete(transaction, pair, &mut by_value).await?;
    let everybody: Vec<i64> =
        by_value.values().flat_map(|group| group.store.keys().chain(group.crm.keys()).copied()).collect();
    let mut taken: BTreeSet<i64> = transaction.linked_among(pair.id, &everybody).await?.into_keys().collect();
    let back = returned(transaction, pair, &everybody).await?;
    taken.extend(back.into_iter().flat_map(|(store, crm)| [store.id, crm.id]));
    let parted: BTreeSet<(String, String)> = transaction.parted(pair.id).await?.into_iter().collect();
    for ((rule, _), group) in by_value {
        settle(pair, rule, group, &taken, &parted, &mut found);
    }
    Ok(found)
}

/// Of these records, those that go back to the partner they had: both are there again and take part.
async fn returned(
    transaction: &mut Transaction<'_>,
    pair: &Pair,
    records: &[i64],
) -> Result<Vec<(RecordRow, RecordRow)>, Error> {
    let mut returned = transaction.returned(pair.id, records).await?;
    returned.retain(|(store, crm)| pair.takes(Side::Store, &store.seen) && pair.takes(Side::Crm, &crm.seen));
    Ok(returned)
}

/// Adds everybody else who shares the match values, on both sides.
async fn complete(
    transaction: &mut Transaction<'_>,
    pair: &Pair,
    by_value: &mut BTreeMap<(usize, String), Group>,
) -> Result<(), Error> {
    for (at, (store_field, crm_field, _)) in pair.rules.iter().enumerate() {
        let values: Vec<String> =
            by_value.keys().filter(|(rule, _)| *rule == at).map(|(_, value)| value.clone()).collect();
        if values.is_empty() {
            continue;
        }
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        for (side, field) in [(Side::Crm, *crm_field), (Side::Store, *store_field)] {
            let members = transaction.records_with_match(field, &values).await?;
            let ids: Vec<i64> = members.iter().map(|(_, record)| *record).collect();
            let mut rows: BTreeMap<i64, RecordRow> =
                transaction.records_by_id(&ids).await?.into_iter().map(|row| (row.id, row)).collect();
            for (value, record) in members {
                let Some(row) = rows.remove(&record) else { continue };
                // Who decides by another rule, or does not take part, is no candidate under this one.
                let decides = pair.deciding(side, &row.seen).is_some_and(|(rule, own)| rule == at && own == value);
                if !decides || !pair.takes(side, &row.seen) {
                    continue;
                }
                let Some(group) = by_value.get_mut(&(at, value)) else { continue };
                match side {
                    Side::Store => drop(group.store.insert(record, row)),
                    Side::Crm => drop(group.crm.insert(record, row)),
                }
            }
        }
    }
    Ok(())
}

fn settle(
    pair: &Pair,
    rule: usize,
    group: Group,
    taken: &BTreeSet<i64>,
    parted: &BTreeSet<(String, String)>,
    found: &mut Found,
) {
    let is_free = |id: &i64| !taken.contains(id);
    if let (1, 1) = (group.store.len(), group.crm.len())
        && group.store.keys().chain(group.crm.keys()).all(is_free)
    {
        let customer = group.store.into_values().next();
        let contact = group.crm.into_values().next();
        if let (Some(customer), Some(contact)) = (customer, contact) {
            if parted.contains(&(customer.key.0.clone(), contact.key.0.clone())) {
                found.alone.push(customer);
            } else {
                found.unique.push((customer, contact, By::Rule(rule)));
            }
        }
        return;
    }
    // Who is linked has its partner for good: with nobody free on one side there is nothing to choose.
    if !group.crm.keys().any(is_free) || !group.store.keys().any(is_free) {
        found.alone.extend(group.store.into_values().filter(|record| is_free(&record.id)));
        return;
    }
    let name = |side: Side, record: &RecordRow| format!("{} {}", pair.source(side).name, record.key);
    for (side, own, others) in [(Side::Store, &group.store, &group.crm), (Side::Crm, &group.crm, &group.store)] {
        for record in own.values().filter(|record| is_free(&record.id)) {
            // Everybody who shares the value: those on the other side it could be, and those it competes with.
            let mut candidates: Vec<String> = others.values().map(|other| name(side.other(), other)).collect();
            candidates.extend(own.values().filter(|twin| twin.id != record.id).map(|twin| name(side, twin)));
            found.ambiguous.push(Ambiguous { side, record: record.clone(), candidates });
        }
    }
}
