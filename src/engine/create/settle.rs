//! What became of a batch: what was made is linked by its key, what stands in the way is read, the rest is held or waits.

use std::collections::BTreeMap;

use super::super::conclude::settled_link;
use super::wanted::release;
use super::{Draft, Engine, Error, Making, Pair, number_of};
use crate::checkpoint::{
    CreationState, Ended, LinkRow, NewAttempt, RecordSave, SeenCell, SeenRecord, SentField, Transaction,
};
use crate::connector::{Created, Lane};
use crate::model::{HeldReason, Key, Side, Timestamp, Why};
use crate::telemetry::Event;

impl Engine {
    /// Records what became of a batch: what was made is linked, and read.
    pub(super) async fn settle_made(
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
