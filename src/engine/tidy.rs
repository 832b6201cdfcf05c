//! Tidying up: history is kept for so long and no longer, in steps that keep nobody waiting.

use super::rails::DAY;
use super::{Engine, Error};
use crate::model::Keep;

/// Rows forgotten in one transaction.
const STEP_ROWS: u64 = 500;

/// Pages given back in one transaction: a megabyte.
const STEP_PAGES: u64 = 256;

impl Engine {
    /// Forgets what is older, or more, than is to be kept, and gives back the room that it took. What the rails, an undo and the
    /// recognition of what returns look back on for a day stays, and so does every open attempt. How many writes were forgotten.
    ///
    /// # Errors
    /// When the checkpoint fails, or we are told to stop. What was done stays done.
    pub async fn tidy(&self, keep: &Keep) -> Result<u64, Error> {
        let now = self.clock.now();
        let a_day_ago = now - DAY;
        let until = (now - keep.age).min(a_day_ago);
        let mut forgotten = 0;
        loop {
            self.going_on()?;
            let mut transaction = self.checkpoint.begin().await?;
            let writes = transaction.forget_writes_before(until, STEP_ROWS).await?;
            let removals = transaction.forget_removals_before(a_day_ago, STEP_ROWS).await?;
            transaction.commit().await?;
            forgotten += writes;
            if writes.max(removals) < STEP_ROWS {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut transaction = self.checkpoint.read().await?;
        let mut beyond = transaction.writes_beyond(keep.writes).await?;
        transaction.end().await?;
        while beyond > 0 {
            self.going_on()?;
            let mut transaction = self.checkpoint.begin().await?;
            let writes = transaction.forget_oldest_writes(a_day_ago, beyond.min(STEP_ROWS)).await?;
            transaction.commit().await?;
            forgotten += writes;
            beyond -= writes.min(beyond);
            if writes == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.give_back().await?;
        Ok(forgotten)
    }

    /// Gives free pages back once a tenth of the file is free, until a twentieth is: what is free is written to next.
    async fn give_back(&self) -> Result<(), Error> {
        let (free, all) = self.checkpoint.free_pages().await?;
        if free < STEP_PAGES || free < all / 10 {
            return Ok(());
        }
        let mut left = free;
        loop {
            self.going_on()?;
            self.checkpoint.give_back(STEP_PAGES).await?;
            let (free, all) = self.checkpoint.free_pages().await?;
            // One that an older version made gives nothing back.
            if free >= left || free <= all / 20 {
                return Ok(());
            }
            left = free;
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::checkpoint::{Checkpoint, HistoryFilter, NewAttempt, Settled};
    use crate::engine::SystemClock;
    use crate::model::{Key, Side};

    const HOUR: Duration = Duration::from_secs(3600);

    /// An engine on a new checkpoint, with a pair in it.
    async fn engine(folder: &std::path::Path) -> (Engine, i64) {
        let checkpoint = Checkpoint::open(&folder.join("attune.db")).await.unwrap();
        let mut transaction = checkpoint.begin().await.unwrap();
        let store = transaction.bind_source(Side::Store, "acme", "a").await.unwrap().id;
        let crm = transaction.bind_source(Side::Crm, "erp", "e").await.unwrap().id;
        let pair = transaction.bind_pair(store, crm).await.unwrap().id;
        transaction.commit().await.unwrap();
        (Engine::new(checkpoint, Arc::new(SystemClock::default()), CancellationToken::new()), pair)
    }

    /// Writes of so long ago, of records numbered from `first`; the last `open` of them without an outcome.
    async fn written(engine: &Engine, pair: i64, ago: Duration, (first, count, open): (i64, i64, usize)) {
        let attempts: Vec<NewAttempt> = (first..first + count)
            .map(|record| NewAttempt {
                link: record,
                mapped: 1,
                record,
                field: 1,
                store_key: Key::new(record.to_string()),
                crm_key: Key::new(record.to_string()),
                name: "attribute:Title".to_owned(),
                old: format!("\"{}\"", "x".repeat(500)),
                new: "null".to_owned(),
                canonical: "null".to_owned(),
                edited: None,
                reason: "changed",
                counted: None,
                returned: None,
            })
            .collect();
        let mut transaction = engine.checkpoint.begin().await.unwrap();
        let at = engine.clock.now() - ago;
        let numbers = transaction.intend(1, pair, Side::Store, at, &attempts).await.unwrap();
        let closed = &numbers[..numbers.len() - open];
        let settled: Vec<Settled> =
            closed.iter().map(|id| Settled { id: *id, outcome: "written", open: false }).collect();
        transaction.settle(&settled).await.unwrap();
        transaction.commit().await.unwrap();
    }

    /// The records that history knows, oldest write first.
    async fn left(engine: &Engine) -> Vec<i64> {
        let mut transaction = engine.checkpoint.read().await.unwrap();
        let rows = transaction.history(&HistoryFilter::default()).await.unwrap();
        transaction.end().await.unwrap();
        rows.iter().rev().map(|row| row.link).collect()
    }

    #[tokio::test]
    async fn what_is_too_old_leaves_and_open_attempts_and_the_last_day_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, pair) = engine(folder.path()).await;
        written(&engine, pair, 49 * HOUR, (1, 3, 1)).await;
        written(&engine, pair, 47 * HOUR, (10, 2, 0)).await;
        written(&engine, pair, 23 * HOUR, (20, 2, 0)).await;
        let two_days = Keep { age: 48 * HOUR, writes: 1000 };
        assert_eq!(engine.tidy(&two_days).await.unwrap(), 2);
        assert_eq!(left(&engine).await, [3, 10, 11, 20, 21]);
        assert_eq!(engine.tidy(&two_days).await.unwrap(), 0, "once is enough");
        let an_hour = Keep { age: HOUR, writes: 1000 };
        assert_eq!(engine.tidy(&an_hour).await.unwrap(), 2, "a day is kept in any case");
        assert_eq!(left(&engine).await, [3, 20, 21]);
    }

    #[tokio::test]
    async fn what_is_too_much_leaves_from_the_oldest_on() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, pair) = engine(folder.path()).await;
        written(&engine, pair, 72 * HOUR, (1, 3, 1)).await;
        written(&engine, pair, 48 * HOUR, (10, 3, 0)).await;
        written(&engine, pair, HOUR, (20, 2, 0)).await;
        assert_eq!(engine.tidy(&Keep { writes: 8, ..Keep::default() }).await.unwrap(), 0);
        assert_eq!(engine.tidy(&Keep { writes: 5, ..Keep::default() }).await.unwrap(), 3);
        assert_eq!(left(&engine).await, [3, 11, 12, 20, 21]);
        assert_eq!(engine.tidy(&Keep { writes: 0, ..Keep::default() }).await.unwrap(), 2);
        assert_eq!(left(&engine).await, [3, 20, 21], "neither what is open nor the last day");
    }

    #[tokio::test]
    async fn the_file_gives_back_the_room_that_history_took() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, pair) = engine(folder.path()).await;
        written(&engine, pair, 500 * 24 * HOUR, (1, 4000, 0)).await;
        let (_, before) = engine.checkpoint.free_pages().await.unwrap();
        assert_eq!(engine.tidy(&Keep::default()).await.unwrap(), 4000);
        let (free, after) = engine.checkpoint.free_pages().await.unwrap();
        assert!(after < before / 4 && free <= 256, "{before} pages before, {after} after, {free} of them free");
    }
}
