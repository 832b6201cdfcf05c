//! Making the partners that records lack: look once more → intend → send → link → settle, a batch at a time.
//!
//! A creation is recorded before it leaves, and one of unknown outcome is looked for before it is sent again. What was made is
//! linked by its key, with nothing agreed: what it shows then is merged like any first meeting of equal values.

use std::collections::{BTreeMap, BTreeSet};

use super::conclude::{hold, settled_link};
use super::decide::holds;
use super::resolve::is_made_of;
use super::wanted::{Wanted, release};
use super::{CHUNK, Engine, Error, Pair, PairField, Source};
use crate::checkpoint::{
    Creation, CreationState, Ended, LinkRow, NewAttempt, NewHeld, RecordRow, RecordSave, SeenCell, SeenRecord, Sending,
    SentField, Transaction,
};
use crate::connector::{Created, Lane, Lifecycle, NewRecord};
use crate::merge::{self, Decision};
use crate::model::{Agreed, Canonical, Class, Failure, HeldReason, Key, Seen, Side, Timestamp, Value, Why};
use crate::telemetry::Event;

/// Why a record is held for which no partner can be made.
pub(super) const REASONS: [HeldReason; 2] = [HeldReason::CannotBeTaken, HeldReason::Rejected];

/// What the making of partners came to.
#[derive(Default)]
pub(super) struct Making {
    /// Records made, and linked.
    pub made: u64,
    /// Records that are held because no partner can be made for them, and were not before.
    pub held: u64,
    /// The failure that ended it early.
    pub failure: Option<Error>,
}

/// What a new record is to hold.
#[derive(Default)]
pub(super) struct Contents {
    /// By field of the target.
    pub values: Vec<(usize, Value)>,
    /// The mapped fields among them, by place in the mapping.
    pub mapped: Vec<(usize, Value, Canonical)>,
}

/// A record as it is about to be made.
struct Draft {
    creation: Creation,
    /// The match rule and value by which others would make it too.
    found_by: (usize, String),
    values: Vec<(usize, Value)>,
    sent: Vec<SentField>,
}

impl Engine {
    /// Makes these partners, as far as they still are wanted.
    pub(super) async fn make_partners(&self, pair: &Pair, pass: i64, wanted: &[Wanted]) -> Result<Making, Error> {
        let mut making = Making::default();
        for side in [Side::Store, Side::Crm] {
            let target = pair.source(side);
            let ids: Vec<i64> = wanted.iter().filter(|one| one.side == side).map(|one| one.creation).collect();
            let Some(lifecycle) = target.connector.lifecycle().filter(|_| !ids.is_empty()) else { continue };
            let each = lifecycle.lifecycle_limits().records_per_create.max(1);
            let mut groups: Vec<Vec<i64>> = ids.chunks(each).rev().map(<[i64]>::to_vec).collect();
            while let Some(group) = groups.pop() {
                self.going_on()?;
                if making.failure.is_some() {
                    break;
                }
                // One at a time for whoever shares the target: two stores may want the same contact.
                let _turn = target.lane.lock().await;
                let apart = self.make_batch(pair, (pass, side), lifecycle, &group, &mut making).await?;
                groups.extend(apart.into_iter().rev().map(|id| vec![id]));
            }
        }
        Ok(making)
    }

    /// One batch. Answers those of it that must be tried one by one, because the batch was refused for one of them.
    async fn make_batch(
        &self,
        pair: &Pair,
        (pass, side): (i64, Side),
        lifecycle: &dyn Lifecycle,
        ids: &[i64],
        making: &mut Making,
    ) -> Result<Vec<i64>, Error> {
        let target = pair.source(side);
        let reservation = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Error::Stopped),
            reservation = target.connector.reserve(Lane::Fresh, 1) => reservation,
        };
        let reservation = match reservation {
            Ok(reservation) => reservation,
            Err(failure) => {
                making.failure = Some(target.error(failure));
                return Ok(Vec::new());
            }
        };
        if let Err(error) = self.look_once_more(pair, side, ids).await {
            let Error::Source { .. } = error else { return Err(error) };
            making.failure = Some(error);
            return Ok(Vec::new());
        }
        let drafts = self.intend_to_make(pair, (pass, side), lifecycle, ids, making).await?;
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let batch: Vec<NewRecord> = drafts
            .iter()
            .map(|draft| NewRecord { token: token(pair, side, &draft.creation.origin), values: draft.values.clone() })
            .collect();
        target.call();
        let sent = self.clock.now();
        let mut answers = lifecycle.create(&batch, &*reservation).await.into_iter();
        let missing = || {
            let what = "the connector answered fewer outcomes than records";
            Created::Unknown(Failure::new(Class::Broken, what).possibly_happened())
        };
        let alone = drafts.len() == 1;
        let answered: Vec<(Draft, Created)> =
            drafts.into_iter().map(|draft| (draft, answers.next().unwrap_or_else(missing))).collect();
        let apart = answered
            .iter()
            .filter(|(_, created)| matches!(created, Created::BatchRejected(_)) && !alone)
            .map(|(draft, _)| draft.creation.id)
            .collect();
        self.settle_made(pair, (pass, side), sent, answered, making).await?;
        Ok(apart)
    }

    /// Reads the origins again, and whoever on the other side may be who is to be made.
    async fn look_once_more(&self, pair: &Pair, side: Side, ids: &[i64]) -> Result<(), Error> {
        let (origin, target) = (pair.source(side.other()), pair.source(side));
        let mut transaction = self.checkpoint.read().await?;
        let creations = transaction.creations(ids).await?;
        transaction.end().await?;
        let keys: Vec<Key> = creations.iter().map(|creation| creation.origin.key.clone()).collect();
        let every: Vec<usize> = (0..origin.fields.len()).collect();
        self.look(origin, &keys, &every, Lane::Fresh).await?;
        let Some(lookup) = target.connector.lookup() else { return Ok(()) };
        let mut transaction = self.checkpoint.read().await?;
        let creations = transaction.creations(ids).await?;
        transaction.end().await?;
        let mut wanted: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for creation in &creations {
            for (rule, value) in pair.findable(side.other(), &creation.origin.seen) {
                wanted.entry(rule).or_default().push(value);
            }
        }
        for (rule, values) in wanted {
            let place = pair.rule_field(rule, side).and_then(|field| target.place(field));
            let Some(place) = place.filter(|place| lookup.finds_by(*place)) else { continue };
            let fold = pair.rules.get(rule).is_some_and(|(_, _, fold)| *fold);
            for values in values.chunks(lookup.lookup_limits().values_per_find.max(1)) {
                self.find_and_read(target, lookup, (place, fold), values, Lane::Fresh).await?;
            }
        }
        Ok(())
    }

    /// Decides once more what is to be made, and records that it is about to be.
    async fn intend_to_make(
        &self,
        pair: &Pair,
        (pass, side): (i64, Side),
        lifecycle: &dyn Lifecycle,
        ids: &[i64],
        making: &mut Making,
    ) -> Result<Vec<Draft>, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        transaction.begin_settling().await?;
        let creations = transaction.creations(ids).await?;
        let still = self.sort_out(&mut transaction, pair, side, creations).await?;
        let mut drafts = Vec::new();
        let mut refused = Vec::new();
        for creation in still {
            let Some(found_by) = pair.findable(side.other(), &creation.origin.seen).into_iter().next() else {
                continue;
            };
            let field = pair.rule_field(found_by.0, side).unwrap_or_default();
            let open = transaction.open_creations(field, &[&found_by.1]).await?;
            // Another store has sent the same, and nobody knows yet what became of it.
            if open.iter().any(|(id, _)| *id != creation.id) {
                continue;
            }
            let Contents { values, mapped } = contents(pair, side, lifecycle, &creation.origin);
            let number = |at: usize| pair.fields.get(at).map_or(0, |field| field.mapped);
            let sent = mapped.into_iter().map(|(at, value, canonical)| (number(at), value, canonical)).collect();
            match lacking(pair.source(side), lifecycle, &values) {
                None => drafts.push(Draft { creation, found_by, values, sent }),
                Some(sentence) => refused.push((creation, HeldReason::CannotBeTaken, sentence)),
            }
        }
        self.refuse(&mut transaction, pair, (pass, side), &refused, making).await?;
        let sending: Vec<Sending<'_>> = drafts
            .iter()
            .map(|draft| Sending {
                id: draft.creation.id,
                field: pair.rule_field(draft.found_by.0, side).unwrap_or_default(),
                value: &draft.found_by.1,
                sent: &draft.sent,
            })
            .collect();
        transaction.send_creations(self.clock.now(), &sending).await?;
        transaction.commit().await?;
        Ok(drafts)
    }

    /// Records what became of a batch: what was made is linked, and read.
    async fn settle_made(
        &self,
        pair: &Pair,
        (pass, side): (i64, Side),
        sent: Timestamp,
        answered: Vec<(Draft, Created)>,
        making: &mut Making,
    ) -> Result<(), Error> {
        let target = pair.source(side);
        let (mut made, mut ended, mut refused, mut exist) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let alone = answered.len() == 1;
        let back = |draft: &Draft| Ended { id: draft.creation.id, state: CreationState::Wanted, key: None };
        for (draft, created) in answered {
            match created {
                Created::Made(key) => made.push((draft, key)),
                Created::Exists(key) => exist.push((draft, key)),
                Created::Rejected(sentence) => refused.push((draft.creation, HeldReason::Rejected, sentence)),
                Created::BatchRejected(failure) if alone => {
                    let sentence = format!("{} cannot make it: {failure}; correct it where it comes from", target.name);
                    refused.push((draft.creation, HeldReason::Rejected, sentence));
                }
                Created::BatchRejected(_) => ended.push(back(&draft)),
                Created::NotSent(failure) => {
                    ended.push(back(&draft));
                    making.failure = Some(target.error(failure));
                }
                // It stays open: it is looked for once it can take effect no more.
                Created::Unknown(failure) => making.failure = Some(target.error(failure)),
            }
        }
        let mut transaction = self.checkpoint.begin().await?;
        transaction.begin_settling().await?;
        transaction.end_creations(&ended).await?;
        self.refuse(&mut transaction, pair, (pass, side), &refused, making).await?;
        let links = self.link_made(&mut transaction, pair, (pass, side), sent, &made).await?;
        transaction.commit().await?;
        for (number, (draft, key)) in
            made.iter().enumerate().filter(|(_, (draft, _))| links.contains_key(&draft.creation.id))
        {
            let origin = draft.creation.origin.key.as_str();
            let (store_key, crm_key) = if side == Side::Crm { (origin, key.as_str()) } else { (key.as_str(), origin) };
            Event::RecordCreated { pair: pair.event(), pass: number_of(pass), side, store_key, crm_key }
                .emit_at(making.made + number as u64 >= Event::RECORDS_PER_PASS);
        }
        making.made += links.len() as u64;
        match self.read_made(pair, pass).await {
            // The next pass reads it before it decides anything.
            Err(error @ Error::Source { .. }) => making.failure = Some(error),
            read => read?,
        }
        self.meet_those_that_exist(pair, (pass, side), exist, making).await
    }

    /// Links what was made, as it is known to be: by its key, holding what was sent. Links by the number of the creation.
    async fn link_made(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        (pass, side): (i64, Side),
        sent: Timestamp,
        made: &[(Draft, Key)],
    ) -> Result<BTreeMap<i64, i64>, Error> {
        let (target, now) = (pair.source(side), self.clock.now());
        let keys: Vec<&Key> = made.iter().map(|(_, key)| key).collect();
        let mut known: BTreeMap<Key, i64> = BTreeMap::new();
        known.extend(transaction.records_by_key(target.id, &keys).await?.into_iter().map(|row| (row.key, row.id)));
        let fresh: Vec<RecordSave> = made
            .iter()
            .filter(|(_, key)| !known.contains_key(key))
            .map(|(draft, key)| {
                let mut seen = SeenRecord::EMPTY;
                for (place, value) in &draft.values {
                    let Some(field) = target.fields.get(*place) else { continue };
                    let cell = SeenCell {
                        value: Some(value.clone()),
                        acknowledged: Some(now),
                        ours: true,
                        ..SeenCell::default()
                    };
                    seen.set(field.id, cell);
                }
                let matches = Some(target.match_values(&seen));
                RecordSave { key: key.clone(), gone: false, merged_into: None, seen, is_new: true, matches }
            })
            .collect();
        let change = transaction.next_change().await?;
        known.extend(transaction.save_records(target.id, change, &fresh).await?);
        let ids: Vec<i64> = known.values().copied().collect();
        let taken = transaction.linked_among(pair.id, &ids).await?;
        let free = |key: &Key| known.get(key).copied().filter(|id| !taken.contains_key(id));
        let mut pairs: Vec<(i64, i64)> = Vec::new();
        let mut ended = Vec::new();
        for (draft, key) in made {
            ended.push(Ended { id: draft.creation.id, state: CreationState::Made, key: Some(key.clone()) });
            let Some(id) = free(key) else { continue };
            let origin = draft.creation.origin.id;
            pairs.push(if side == Side::Crm { (origin, id) } else { (id, origin) });
        }
        transaction.end_creations(&ended).await?;
        transaction.add_links(pair.id, &pairs, now).await?;
        let origins: Vec<i64> = made.iter().map(|(draft, _)| draft.creation.origin.id).collect();
        release(transaction, pair, &origins).await?;
        let linked = transaction.linked_among(pair.id, &origins).await?;
        let mut links = BTreeMap::new();
        for (draft, key) in made {
            let Some((link, _)) = linked.get(&draft.creation.origin.id).copied().zip(free(key)) else { continue };
            links.insert(draft.creation.id, link);
        }
        let rows = transaction.links(&links.values().copied().collect::<Vec<_>>()).await?;
        let mut updates = Vec::new();
        for (draft, _) in made {
            let link = links.get(&draft.creation.id).and_then(|id| rows.iter().find(|row| row.id == *id));
            if let Some(link) = link {
                self.note_made(transaction, pair, (pass, side), sent, link, &draft.sent).await?;
                // Its system says that it made it with this.
                let agreed =
                    draft.sent.iter().map(|(mapped, _, canonical)| (*mapped, Some(canonical.clone()))).collect();
                updates.push(settled_link(link, agreed, Some(now), pair.fields.len() as u64));
            }
        }
        transaction.update_links(&updates).await?;
        Ok(links)
    }

    /// Puts into history what a record was made with.
    pub(super) async fn note_made(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        (pass, side): (i64, Side),
        at: Timestamp,
        link: &LinkRow,
        sent: &[SentField],
    ) -> Result<(), Error> {
        let written: Vec<NewAttempt> = sent.iter().filter_map(|sent| attempt(pair, side, link, sent)).collect();
        transaction.note_written(pass, pair.id, side, at, &written).await?;
        Ok(())
    }

    /// Reads what was made and was not read since. What it shows as it was sent is agreed on; what its system altered must not
    /// flow back, and is held.
    pub(super) async fn read_made(&self, pair: &Pair, pass: i64) -> Result<(), Error> {
        for side in pair.creates_on() {
            let target = pair.source(side);
            let every: Vec<usize> = (0..target.fields.len()).collect();
            let limit = target.connector.limits().keys_per_fetch.min(CHUNK);
            let mut after = 0;
            loop {
                self.going_on()?;
                let mut transaction = self.checkpoint.read().await?;
                let unread = transaction.unread_creations((pair.id, side), after, limit).await?;
                let links = links_of(&mut transaction, pair, &unread).await?;
                transaction.end().await?;
                let Some(last) = unread.last() else { break };
                after = last.id;
                let keys: Vec<Key> = links.iter().map(|link| link.record(side).key.clone()).collect();
                self.look(target, &keys, &every, Lane::Fresh).await?;
                self.conclude_made(pair, (pass, side), &unread).await?;
            }
        }
        Ok(())
    }

    async fn conclude_made(&self, pair: &Pair, (pass, side): (i64, Side), unread: &[Creation]) -> Result<(), Error> {
        let now = self.clock.now();
        let mut transaction = self.checkpoint.begin().await?;
        let links = links_of(&mut transaction, pair, unread).await?;
        let (mut altered, mut updates, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for creation in unread {
            let Some(link) = links.iter().find(|link| link.record(side.other()).id == creation.origin.id) else {
                continue;
            };
            if let Some(sent_at) = creation.open_since {
                let key = Some(link.record(side).key.clone());
                ended.push(Ended { id: creation.id, state: CreationState::Made, key });
                self.note_made(&mut transaction, pair, (pass, side), sent_at, link, &creation.sent).await?;
            }
            let mut agreed = Vec::new();
            for (mapped, _, canonical) in &creation.sent {
                let Some(field) = pair.fields.iter().find(|field| field.mapped == *mapped) else { continue };
                match holds(link, field, side) {
                    Some(shown) if shown == *canonical => agreed.push((*mapped, Some(shown))),
                    Some(shown) if is_made_of(&shown, canonical) => {
                        altered.push(hold(link, field, HeldReason::AlteredByTarget, None));
                    }
                    // Somebody has edited it since; or it is not the one that we made, and they meet for the first time.
                    _ => {}
                }
            }
            updates.push(settled_link(link, agreed, Some(link.unsettled.unwrap_or(now)), link.pending));
        }
        transaction.update_links(&updates).await?;
        transaction.end_creations(&ended).await?;
        transaction.note_creations_read(&unread.iter().map(|creation| creation.id).collect::<Vec<_>>()).await?;
        transaction.hold(pair.id, now, &altered).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The target has a record that stands in the way: it is read, and may be linked by the next search. One that cannot be
    /// found by what links are found by is a person's to sort out.
    async fn meet_those_that_exist(
        &self,
        pair: &Pair,
        (pass, side): (i64, Side),
        exist: Vec<(Draft, Option<Key>)>,
        making: &mut Making,
    ) -> Result<(), Error> {
        if exist.is_empty() {
            return Ok(());
        }
        let target = pair.source(side);
        let keys: Vec<Key> = exist.iter().filter_map(|(_, key)| key.clone()).collect();
        let every: Vec<usize> = (0..target.fields.len()).collect();
        let read = self.look(target, &keys, &every, Lane::Fresh).await;
        let ids: Vec<i64> = exist.iter().map(|(draft, _)| draft.creation.id).collect();
        let mut transaction = self.checkpoint.begin().await?;
        let creations = transaction.creations(&ids).await?;
        let still = self.sort_out(&mut transaction, pair, side, creations).await?;
        let mut refused = Vec::new();
        for creation in still {
            let key =
                exist.iter().find(|(draft, _)| draft.creation.id == creation.id).and_then(|(_, key)| key.as_ref());
            let which = key.map_or_else(|| "another record".to_owned(), |key| format!("record {key}"));
            let sentence = format!(
                "{} {} says that {which} stands in the way, which no match rule finds; make them match, or link them by hand \
                 with `attune link add STORE CUSTOMER CONTACT`",
                target.side, target.name
            );
            refused.push((creation, HeldReason::Rejected, sentence));
        }
        self.refuse(&mut transaction, pair, (pass, side), &refused, making).await?;
        transaction.commit().await?;
        match read {
            Err(error @ Error::Source { .. }) => making.failure = Some(error),
            other => other?,
        }
        Ok(())
    }

    /// Holds records for which no partner can be made, until they change.
    async fn refuse(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        (pass, side): (i64, Side),
        refused: &[(Creation, HeldReason, String)],
        making: &mut Making,
    ) -> Result<(), Error> {
        if refused.is_empty() {
            return Ok(());
        }
        let before: BTreeSet<i64> = transaction.held_records(pair.id).await?.into_keys().collect();
        let ended: Vec<Ended> = refused
            .iter()
            .map(|(creation, ..)| Ended { id: creation.id, state: CreationState::Refused, key: None })
            .collect();
        transaction.end_creations(&ended).await?;
        let held: Vec<NewHeld> = refused
            .iter()
            .map(|(creation, reason, sentence)| NewHeld {
                link: None,
                mapped: None,
                record: Some(creation.origin.id),
                reason: *reason,
                store_value: "null".to_owned(),
                crm_value: "null".to_owned(),
                detail: Some(sentence.clone()),
            })
            .collect();
        transaction.hold(pair.id, self.clock.now(), &held).await?;
        for (creation, reason, _) in refused.iter().filter(|(creation, ..)| !before.contains(&creation.origin.id)) {
            let (key, side) = (creation.origin.key.as_str(), side.other());
            Event::RecordHeld { pair: pair.event(), pass: number_of(pass), side, key, reason: *reason, candidates: 0 }
                .emit_at(making.held >= Event::RECORDS_PER_PASS);
            making.held += 1;
        }
        Ok(())
    }
}

/// What names a creation to the target for ever, also where the checkpoint was lost: who wants whom where.
fn token(pair: &Pair, side: Side, origin: &RecordRow) -> String {
    let text = [&pair.store.identity, &pair.crm.identity, side.as_str(), origin.key.as_str()].join("\n");
    blake3::hash(text.as_bytes()).to_hex().as_str().chars().take(32).collect()
}

/// What a new record is to hold: what the merge would fill in, and what it is found by.
pub(super) fn contents(pair: &Pair, side: Side, lifecycle: &dyn Lifecycle, origin: &RecordRow) -> Contents {
    let Contents { mut values, mut mapped } = Contents::default();
    for (at, field) in pair.fields.iter().enumerate() {
        let place = field.on(side).0;
        if !lifecycle.creates_with(place) {
            continue;
        }
        if let Some((value, canonical)) = filled(pair, side, field, &origin.seen) {
            mapped.push((at, value.clone(), canonical));
            values.push((place, value));
        }
    }
    for rule in 0..pair.rules.len() {
        let (Some(from), Some(to)) = (pair.rule_field(rule, side.other()), pair.rule_field(rule, side)) else {
            continue;
        };
        let Some(place) = pair.source(side).place(to) else { continue };
        let is_there = values.iter().any(|(known, _)| *known == place);
        if let (Some(Value::Text(text)), false, true) =
            (origin.seen.value(from), is_there, lifecycle.creates_with(place))
            && !text.trim().is_empty()
        {
            values.push((place, Value::text(text.trim())));
        }
    }
    Contents { values, mapped }
}

/// What the merge fills into a field of a record that holds nothing yet.
fn filled(pair: &Pair, side: Side, field: &PairField, origin: &SeenRecord) -> Option<(Value, Canonical)> {
    let (store_defined, crm_defined) = (pair.store.defined(field.store.0)?, pair.crm.defined(field.crm.0)?);
    let is_unusable = |defined: &super::Defined| defined.changed.is_some() || defined.to_create;
    if is_unusable(&store_defined) || is_unusable(&crm_defined) {
        return None;
    }
    let from = origin.seen(field.on(side.other()).1);
    let (store, crm) = if side == Side::Store { (&Seen::Absent, &from) } else { (&from, &Seen::Absent) };
    let facts = merge::Facts {
        rule: &field.rule,
        agreed: &Agreed::Unknown,
        store: merge::Target { seen: store, edited: None, shape: &store_defined.shape },
        crm: merge::Target { seen: crm, edited: None, shape: &crm_defined.shape },
    };
    match merge::decide(&facts) {
        Decision::Write(intent) if intent.to == side => intent.encoded.zip(intent.value),
        _ => None,
    }
}

/// What a new record lacks that its system requires, as a sentence.
pub(super) fn lacking(target: &Source, lifecycle: &dyn Lifecycle, values: &[(usize, Value)]) -> Option<String> {
    let name = |place: usize| target.fields.get(place).map(|field| field.name.as_str());
    let has = |wanted: &str| values.iter().any(|(place, _)| name(*place) == Some(wanted));
    let missing: Vec<String> = lifecycle
        .required()
        .iter()
        .filter(|choice| !choice.iter().any(|wanted| has(wanted)))
        .map(|choice| choice.join(" or "))
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "no record can be made for it in {} {}, which needs {}; give it a value where it comes from",
            target.side,
            target.name,
            missing.join(" and ")
        )
    })
}

/// The links of the origins of some creations.
async fn links_of(transaction: &mut Transaction<'_>, pair: &Pair, made: &[Creation]) -> Result<Vec<LinkRow>, Error> {
    let origins: Vec<i64> = made.iter().map(|creation| creation.origin.id).collect();
    let linked = transaction.linked_among(pair.id, &origins).await?;
    Ok(transaction.links(&linked.into_values().collect::<Vec<_>>()).await?)
}

fn attempt(pair: &Pair, side: Side, link: &LinkRow, (mapped, value, canonical): &SentField) -> Option<NewAttempt> {
    let field = pair.fields.iter().find(|field| field.mapped == *mapped)?;
    Some(NewAttempt {
        link: link.id,
        mapped: *mapped,
        record: link.record(side).id,
        field: field.on(side).1,
        store_key: link.store.key.clone(),
        crm_key: link.crm.key.clone(),
        name: field.rule.store.clone(),
        old: "null".to_owned(),
        new: serde_json::to_string(value).ok()?,
        canonical: serde_json::to_string(canonical).ok()?,
        edited: None,
        reason: Why::Created.as_str(),
        counted: None,
        returned: None,
    })
}

fn number_of(pass: i64) -> u64 {
    u64::try_from(pass).unwrap_or(0)
}
