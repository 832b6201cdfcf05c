//! Links that end: a record is gone, was merged away, or does not take part any more. No value is written. Who was linked with
//! whom is remembered: back again they are linked again.

use std::collections::BTreeSet;

use super::survey::Ended;
use super::{Engine, Error, Pair};
use crate::checkpoint::{LinkRow, NewHeld, Transaction};
use crate::model::{HeldReason, Side};
use crate::proof::Fault;
use crate::telemetry::Event;

/// What the ending of links came to.
pub(super) struct Unlinked {
    /// Links that ended because a record is gone.
    pub ended: u64,
    /// Why partners could not be deleted.
    pub failure: Option<Error>,
}

impl Engine {
    /// Ends links, and deletes their partners where the mapping says so. `approved`: those whose end a person let through;
    /// the rails do not count them. Their records are looked at again, for they may have another partner.
    pub(super) async fn unlink(
        &self,
        pair: &Pair,
        pass: i64,
        ended: &[(LinkRow, Ended)],
        approved: &BTreeSet<i64>,
    ) -> Result<Unlinked, Error> {
        let removal = self.remove_partners(pair, pass, ended).await?;
        let now = self.clock.now();
        let mut transaction = self.checkpoint.begin().await?;
        let (mut removed, mut parted, mut gone, mut merged) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
        let (mut counted, mut free) = (0, 0);
        let mut shown = 0;
        for (link, why) in ended {
            if removal.waiting.contains(&link.id) {
                continue;
            }
            let Ended::Gone(side) = *why else {
                removed.push(link.id);
                parted.extend([link.store.id, link.crm.id]);
                continue;
            };
            if self.follow_merge(&mut transaction, pair, link, side).await? {
                continue;
            }
            if link.record(side).merged_into.is_some() {
                merged.insert(link.id);
            }
            removed.push(link.id);
            parted.extend([link.store.id, link.crm.id]);
            gone.push((side, link));
            if approved.contains(&link.id) {
                free += 1;
            } else {
                counted += 1;
            }
            Event::RecordDeleted {
                pair: pair.event(),
                pass: u64::try_from(pass).unwrap_or(0),
                side,
                store_key: link.store.key.as_str(),
                crm_key: link.crm.key.as_str(),
                partner_deleted: removal.removed.contains(&link.id),
            }
            .emit_at(shown >= Event::RECORDS_PER_PASS);
            shown += 1;
        }
        if !removed.is_empty() {
            transaction.note_removals(pair.id, now, counted, free).await?;
            let may_return: Vec<i64> = removed.iter().copied().filter(|link| !merged.contains(link)).collect();
            transaction.remember_former(&may_return).await?;
            transaction.remove_links(&removed).await?;
            if !crate::proof::has(Fault::PartedForgotten) {
                transaction.touch_records(&parted).await?;
            }
            for side in pair.creates_on() {
                // What somebody has deleted is not made again.
                let bereft: Vec<i64> = gone
                    .iter()
                    .filter(|(from, _)| *from == side)
                    .map(|(_, link)| link.record(side.other()).id)
                    .collect();
                transaction.decline(pair.id, side, &bereft).await?;
            }
        }
        transaction.unsettle_links(&removal.waiting.into_iter().collect::<Vec<_>>(), now).await?;
        transaction.commit().await?;
        Ok(Unlinked { ended: counted + free, failure: removal.failure })
    }

    /// A record that was merged into another is not gone: the link moves to the one that carries on, with nothing
    /// agreed. Where that one has a link already it is held. Answers whether the link moved.
    async fn follow_merge(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        link: &LinkRow,
        side: Side,
    ) -> Result<bool, Error> {
        let record = link.record(side);
        let Some(successor) = &record.merged_into else { return Ok(false) };
        let found = transaction.records_by_key(pair.source(side).id, &[successor]).await?;
        let Some(carries_on) = found.into_iter().find(|row| !row.gone) else { return Ok(false) };
        if transaction.linked_among(pair.id, &[carries_on.id]).await?.is_empty() {
            transaction.move_link(link.id, side, carries_on.id, self.clock.now()).await?;
            return Ok(true);
        }
        let held = NewHeld {
            link: None,
            mapped: None,
            record: Some(carries_on.id),
            reason: HeldReason::Merged,
            store_value: "null".to_owned(),
            crm_value: "null".to_owned(),
            detail: Some(format!("{} was merged into it, and it has a link of its own", record.key)),
        };
        transaction.hold(pair.id, self.clock.now(), &[held]).await?;
        Ok(false)
    }
}
