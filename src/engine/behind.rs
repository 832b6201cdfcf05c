//! A checkpoint that is older than what the sides hold (restored from a copy) knows agreed values that are history
//! already. It is recognised, and leads to a comparison that writes nothing: what is equal is agreed; where both sides hold
//! something else than was agreed they are held, for nobody can say which is the newer. Where one side still holds what was
//! agreed, the other was edited: where the copy is certain that is held too, otherwise the next pass carries it over.

use super::{Engine, Error, Pair};
use crate::checkpoint::Behind;
use crate::telemetry::Event;

/// Marks what was held because of it: such a hold stands until a person, or either side, changes it.
pub(super) const DETAIL: &str = "the checkpoint was older than what the sides hold";

/// So many fields that both sides have moved to the same new value since this checkpoint last looked, found by the first
/// pass of a process: we moved them ourselves, after it was copied.
const MET_MIN: u64 = 3;

impl Engine {
    /// Looks, once at start, whether the checkpoint is older than the mark beside it; then every pair compares only.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn recognise_restored_checkpoint(&self) -> Result<bool, Error> {
        let behind = self.checkpoint.is_behind_its_mark().await?;
        if behind {
            let mut transaction = self.checkpoint.begin().await?;
            transaction.set_behind(Behind::Certain, None).await?;
            // What was seen is as old as what was agreed.
            transaction.sweep_all_again().await?;
            transaction.commit().await?;
            self.checkpoint.accept_as_it_is().await?;
        }
        Ok(behind)
    }

    /// What the first pass of a process has found: if so many fields moved on both sides alike, the pair is behind.
    pub(super) async fn recognise_by_sides(&self, pair: &Pair, met: u64, moved: u64) -> Result<bool, Error> {
        // People who type the same on both sides while we were away do so in a field here and there, not in most of
        // what changed.
        if met < MET_MIN || met * 2 < moved {
            return Ok(false);
        }
        let mut transaction = self.checkpoint.begin().await?;
        transaction.set_behind(Behind::Suspected, Some(pair.id)).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) fn say_behind(&self, pair: &Pair) {
        let reason = "the sides hold values newer than this checkpoint: this pass compares and writes nothing; what is \
                      equal is agreed, what both sides changed is held";
        Event::CheckpointBehind { pair: pair.event(), reason }.emit();
    }
}
