//! Reading what was made, before anything else is decided about it: what it shows as it was sent is agreed on.

use std::collections::BTreeSet;

use super::super::conclude::{hold, settled_link};
use super::super::decide::holds;
use super::super::resolve::is_made_of;
use super::{CHUNK, Creation, CreationState, Ended, Engine, Error, Pair};
use crate::checkpoint::{LinkRow, Transaction};
use crate::connector::Lane;
use crate::model::{Existence, HeldReason, Key, Side};

impl Engine {
    /// Reads what was made and was not read since. What it shows as it was sent is agreed on; what its system altered must not
    /// flow back, and is held.
    pub(in super::super) async fn read_made(&self, pair: &Pair, pass: i64) -> Result<(), Error> {
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
                if keys.is_empty() {
                    continue;
                }
                let as_ever = (target.covered(), false);
                let (shown, _) = self.look_at(target, &keys, &every, Lane::Fresh, as_ever).await?;
                // What a replica does not show yet was not read.
                let there = shown.into_iter().filter(|shown| shown.existence == Existence::Present);
                let there: BTreeSet<Key> = there.map(|shown| shown.key).collect();
                self.conclude_made(pair, (pass, side), &unread, &there).await?;
            }
        }
        Ok(())
    }

    /// Concludes those of some creations that were shown.
    async fn conclude_made(
        &self,
        pair: &Pair,
        (pass, side): (i64, Side),
        unread: &[Creation],
        there: &BTreeSet<Key>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut transaction = self.checkpoint.begin().await?;
        let links = links_of(&mut transaction, pair, unread).await?;
        let (mut read, mut altered, mut updates, mut ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for creation in unread {
            let link = links.iter().find(|link| link.record(side.other()).id == creation.origin.id);
            let Some(link) = link.filter(|link| there.contains(&link.record(side).key)) else { continue };
            read.push(creation.id);
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
        transaction.note_creations_read(&read).await?;
        transaction.hold(pair.id, now, &altered).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// The links of the origins of some creations.
async fn links_of(transaction: &mut Transaction<'_>, pair: &Pair, made: &[Creation]) -> Result<Vec<LinkRow>, Error> {
    let origins: Vec<i64> = made.iter().map(|creation| creation.origin.id).collect();
    let linked = transaction.linked_among(pair.id, &origins).await?;
    Ok(transaction.links(&linked.into_values().collect::<Vec<_>>()).await?)
}
