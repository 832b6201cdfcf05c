//! Deleting the partners of records that are gone, where the mapping says so: confirm → intend → send → settle.
//!
//! A partner stays where another live link holds it, where its record was not gone after all, and where somebody edited it
//! since both sides agreed: an edit beats a deletion as it beats a clear. Whatever it held is in history before it goes.

use std::collections::BTreeSet;

use super::decide::holds;
use super::observe::Reading;
use super::survey::Ended;
use super::{Engine, Error, Pair};
use crate::checkpoint::{LinkRow, NewAttempt, NewHeld, Settled};
use crate::connector::{Lane, Lifecycle, Removed};
use crate::model::{Cell, Class, Existence, Failure, HeldReason, Key, Observed, OnDelete, Side, Value, Why};

/// What became of the partners of links that end.
#[derive(Default)]
pub(super) struct Removal {
    /// Links whose partner was deleted.
    pub removed: BTreeSet<i64>,
    /// Links that do not end now: the record is there after all, or what became of the partner is not known.
    pub waiting: BTreeSet<i64>,
    /// The failure that ended it early.
    pub failure: Option<Error>,
}

impl Engine {
    /// Deletes the partners of those links that end because a record is gone.
    pub(super) async fn remove_partners(
        &self,
        pair: &Pair,
        pass: i64,
        ended: &[(LinkRow, Ended)],
    ) -> Result<Removal, Error> {
        let mut removal = Removal::default();
        if pair.mapping.on_delete != OnDelete::Delete {
            return Ok(removal);
        }
        for side in [Side::Store, Side::Crm] {
            let target = pair.source(side);
            let Some(lifecycle) = target.connector.lifecycle() else { continue };
            let links: Vec<i64> = ended
                .iter()
                .filter(|(link, why)| {
                    *why == Ended::Gone(side.other())
                        && link.record(side.other()).merged_into.is_none()
                        && !link.record(side).gone
                })
                .map(|(link, _)| link.id)
                .collect();
            let each = lifecycle.lifecycle_limits().keys_per_remove.max(1);
            for chunk in links.chunks(each) {
                self.going_on()?;
                if removal.failure.is_some() {
                    removal.waiting.extend(chunk);
                    continue;
                }
                let _turn = target.lane.lock().await;
                self.remove_batch(pair, (pass, side), lifecycle, chunk, &mut removal).await?;
            }
        }
        Ok(removal)
    }

    async fn remove_batch(
        &self,
        pair: &Pair,
        (pass, side): (i64, Side),
        lifecycle: &dyn Lifecycle,
        ids: &[i64],
        removal: &mut Removal,
    ) -> Result<(), Error> {
        let target = pair.source(side);
        let confirmed = async {
            let reservation = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Error::Stopped),
                reservation = target.connector.reserve(Lane::Fresh, 1) => reservation,
            };
            let reservation = reservation.map_err(|failure| target.error(failure))?;
            self.read_both(pair, ids).await?;
            Ok(reservation)
        };
        let reservation = match confirmed.await {
            Ok(reservation) => reservation,
            Err(error @ Error::Source { .. }) => {
                removal.waiting.extend(ids);
                removal.failure = Some(error);
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        if self.is_paused(pair).await? {
            removal.waiting.extend(ids);
            removal.failure = Some(Error::Stopped);
            return Ok(());
        }
        let going = self.intend_to_remove(pair, (pass, side), ids, removal).await?;
        if going.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = going.iter().map(|(link, _)| link.record(side).key.clone()).collect();
        target.call();
        let started = self.clock.now();
        let mut answers = lifecycle.remove(&keys, &*reservation).await.into_iter();
        let missing = || {
            let what = "the connector answered fewer outcomes than keys";
            Removed::Unknown(Failure::new(Class::Broken, what).possibly_happened())
        };
        let (mut settled, mut held, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (link, attempts) in going {
            let (outcome, open) = match answers.next().unwrap_or_else(missing) {
                Removed::Gone => {
                    removal.removed.insert(link.id);
                    gone.push(link.record(side).key.clone());
                    ("written", false)
                }
                Removed::Rejected(sentence) => {
                    held.push(refused(&link, side, sentence));
                    ("refused", false)
                }
                Removed::NotSent(failure) => {
                    removal.waiting.insert(link.id);
                    removal.failure = Some(target.error(failure));
                    ("refused", false)
                }
                Removed::Unknown(failure) => {
                    removal.waiting.insert(link.id);
                    removal.failure = Some(target.error(failure));
                    ("unknown", true)
                }
            };
            settled.extend(attempts.into_iter().map(|id| Settled { id, outcome, open }));
        }
        let mut transaction = self.checkpoint.begin().await?;
        transaction.begin_settling().await?;
        transaction.settle(&settled).await?;
        transaction.hold(pair.id, self.clock.now(), &held).await?;
        transaction.commit().await?;
        let blank = vec![Cell::default(); target.fields.len()];
        let observed: Vec<Observed> = gone
            .into_iter()
            .map(|key| Observed { key, existence: Existence::Gone, modified: None, cells: blank.clone() })
            .collect();
        self.record(target, &observed, Reading::direct(target, started), false).await?;
        Ok(())
    }

    /// Reads both records of links directly: the one that is gone, and its partner.
    async fn read_both(&self, pair: &Pair, ids: &[i64]) -> Result<(), Error> {
        let mut transaction = self.checkpoint.read().await?;
        let links = transaction.links(ids).await?;
        transaction.end().await?;
        for side in [Side::Store, Side::Crm] {
            let source = pair.source(side);
            let keys: Vec<Key> = links.iter().map(|link| link.record(side).key.clone()).collect();
            let every: Vec<usize> = (0..source.fields.len()).collect();
            self.look(source, &keys, &every, Lane::Fresh).await?;
        }
        Ok(())
    }

    /// Decides once more whose partners go, and records what they hold. Answers the links with the numbers of their
    /// attempts.
    async fn intend_to_remove(
        &self,
        pair: &Pair,
        (pass, side): (i64, Side),
        ids: &[i64],
        removal: &mut Removal,
    ) -> Result<Vec<(LinkRow, Vec<i64>)>, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        transaction.begin_settling().await?;
        let links = transaction.links(ids).await?;
        let partners: Vec<i64> = links.iter().map(|link| link.record(side).id).collect();
        let elsewhere: BTreeSet<i64> =
            transaction.links_elsewhere(pair.id, &partners).await?.into_iter().map(|(record, ..)| record).collect();
        let under_way: BTreeSet<i64> =
            transaction.under_way(&partners).await?.into_iter().map(|(record, _)| record).collect();
        let mut going = Vec::new();
        for link in links {
            let partner = link.record(side);
            if !link.record(side.other()).gone || under_way.contains(&partner.id) {
                removal.waiting.insert(link.id);
                continue;
            }
            if partner.gone || elsewhere.contains(&partner.id) || is_edited(pair, &link, side) {
                continue;
            }
            let attempts: Vec<NewAttempt> =
                (0..pair.fields.len()).filter_map(|at| attempt(pair, &link, side, at)).collect();
            let numbers = transaction.intend(pass, pair.id, side, self.clock.now(), &attempts).await?;
            going.push((link, numbers));
        }
        transaction.commit().await?;
        Ok(going)
    }
}

/// Whether a partner holds something that the other side never got.
fn is_edited(pair: &Pair, link: &LinkRow, side: Side) -> bool {
    pair.fields.iter().filter(|field| field.writes_only() != Some(side)).any(|field| {
        let now = holds(link, field, side);
        match link.agreed.get(&field.mapped) {
            Some(agreed) => now != *agreed,
            None => now.is_some(),
        }
    })
}

fn attempt(pair: &Pair, link: &LinkRow, side: Side, at: usize) -> Option<NewAttempt> {
    let field = pair.fields.get(at)?;
    let record = link.record(side);
    let value: &Value = record.seen.value(field.on(side).1)?;
    Some(NewAttempt {
        link: link.id,
        mapped: field.mapped,
        record: record.id,
        field: field.on(side).1,
        store_key: link.store.key.clone(),
        crm_key: link.crm.key.clone(),
        name: field.rule.store.clone(),
        old: serde_json::to_string(value).ok()?,
        new: "null".to_owned(),
        canonical: "null".to_owned(),
        edited: None,
        reason: Why::Deleted.as_str(),
        counted: None,
        returned: None,
    })
}

fn refused(link: &LinkRow, side: Side, sentence: String) -> NewHeld {
    NewHeld {
        link: None,
        mapped: None,
        record: Some(link.record(side).id),
        reason: HeldReason::Rejected,
        store_value: "null".to_owned(),
        crm_value: "null".to_owned(),
        detail: Some(sentence),
    }
}
