//! What is kept for so long and no longer: old writes leave history in small steps, and the file gives back what they took.
//!
//! An attempt that is open stays, however old: it may still take effect.

use super::database::statement;
use super::{Checkpoint, Error, Transaction};
use crate::model::Timestamp;

impl Transaction<'_> {
    /// Forgets writes of before a moment (ours), at most `limit`. How many.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_writes_before(&mut self, until: Timestamp, limit: u64) -> Result<u64, Error> {
        // By pair, for that is how the index has them: without old ones there is nothing to look through.
        let query = statement(
            "DELETE FROM history WHERE id IN (
                SELECT h.id FROM pair AS p CROSS JOIN history AS h INDEXED BY history_pair ON h.pair = p.id
                WHERE h.at < ?1 AND h.open = 0 LIMIT ?2)",
        )
        .bind(until.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.database.execute(query).await
    }

    /// Forgets the oldest writes, of before a moment (ours), at most `limit`. How many.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_oldest_writes(&mut self, until: Timestamp, limit: u64) -> Result<u64, Error> {
        let query = statement(
            "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE open = 0 AND at < ?1 ORDER BY id LIMIT ?2)",
        )
        .bind(until.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.database.execute(query).await
    }

    /// How many writes are remembered beyond so many.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn writes_beyond(&mut self, most: u64) -> Result<u64, Error> {
        // Numbers that only grow: as long as their range is small there is nothing to count.
        let query = statement("SELECT coalesce(max(id) - min(id) + 1, 0) FROM history");
        let at_most = self.one(query).await?.get::<i64>(0);
        if u64::try_from(at_most).unwrap_or(0) <= most {
            return Ok(0);
        }
        let count = self.one(statement("SELECT count(*) FROM history")).await?.get::<i64>(0);
        Ok(u64::try_from(count).unwrap_or(0).saturating_sub(most))
    }

    /// Forgets removals of before a moment (ours), at most `limit`: no rail counts them any more. How many.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_removals_before(&mut self, until: Timestamp, limit: u64) -> Result<u64, Error> {
        let query = statement("DELETE FROM removal WHERE id IN (SELECT id FROM removal WHERE at < ?1 LIMIT ?2)")
            .bind(until.as_millis())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.database.execute(query).await
    }
}

impl Checkpoint {
    /// How many pages of the file are free, and how many there are.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn free_pages(&self) -> Result<(u64, u64), Error> {
        let mut transaction = self.read().await?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let free = transaction.one(statement("PRAGMA freelist_count")).await?.get(0);
        let all = transaction.one(statement("PRAGMA page_count")).await?.get(0);
        transaction.end().await?;
        Ok((number(free), number(all)))
    }

    /// Gives at most so many free pages back to the disk, in one short transaction. A file that an older Attune made keeps
    /// them for what it writes next.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn give_back(&self, pages: u64) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        transaction.database.rows(statement(format!("PRAGMA incremental_vacuum({pages})"))).await?;
        transaction.commit().await
    }
}
