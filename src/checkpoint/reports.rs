//! Counts and listings for people.

use super::database::statement;
use super::records::record_row;
use super::{Error, RecordRow, Transaction};
use crate::model::Timestamp;

/// How many records of a side have no link, and why, as far as match values tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LinkCounts {
    /// They hold no value to match by.
    pub no_value: u64,
    /// Nobody on the other side has their value.
    pub no_partner: u64,
}

/// A record and its link, for `explain`.
#[derive(Clone, Debug)]
pub struct ExplainRow {
    /// The record.
    pub record: RecordRow,
    /// Its source.
    pub source: i64,
    /// Its links, in whatever pair.
    pub links: Vec<i64>,
}

/// What was written to one side of a pair in one stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WritesInTime {
    /// Which stretch, counted from the moment that was asked about.
    pub stretch: u64,
    /// The side written, as history has it.
    pub side: String,
    /// How many values the target has shown since.
    pub writes: u64,
    /// The longest time from an edit on the other side to the sending of its write, in milliseconds, by the target's
    /// clock; none where no write carried an edit.
    pub longest_ms: Option<u64>,
}

impl Transaction<'_> {
    /// What was written to a pair since a moment (ours), by side and stretches of so many milliseconds.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn writes_in_time(
        &mut self,
        pair: i64,
        since: Timestamp,
        stretch_ms: i64,
    ) -> Result<Vec<WritesInTime>, Error> {
        // First meetings carry edits of years ago; what somebody chose or undid carries none.
        let query = statement(
            "SELECT (h.at - ?2) / ?3, h.side, count(*),
                    max(CASE WHEN h.reason IN ('changed', 'cleared', 'conflict', 'put back', 'edit beats clear')
                        THEN max(0, h.at + t.offset_ms - h.edited) END)
             FROM history AS h CROSS JOIN pair AS p ON p.id = h.pair
             CROSS JOIN source AS t ON t.id = CASE h.side WHEN 'store' THEN p.store ELSE p.crm END
             WHERE h.pair = ?1 AND h.at >= ?2 AND h.outcome = 'written' GROUP BY 1, 2 ORDER BY 1, 2",
        )
        .bind(pair)
        .bind(since.as_millis())
        .bind(stretch_ms.max(1));
        let rows = self.database.rows(query).await?;
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(rows
            .iter()
            .map(|row| WritesInTime {
                stretch: number(row.get(0)),
                side: row.get(1),
                writes: number(row.get(2)),
                longest_ms: row.get::<Option<i64>>(3).map(number),
            })
            .collect())
    }

    /// How many changes of a pair a rail stopped that nobody has let through.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn count_stopped(&mut self, pair: i64) -> Result<u64, Error> {
        let query = statement("SELECT count(*) FROM stopped WHERE pair = ?1 AND approved = 0").bind(pair);
        let row = self.one(query).await?;
        Ok(u64::try_from(row.get::<i64>(0)).unwrap_or(0))
    }

    /// What is left to do on a pair's links: fields, and since when (ours) the oldest.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unsettled(&mut self, pair: i64) -> Result<(u64, Option<Timestamp>), Error> {
        let query = statement(
            "SELECT coalesce(sum(pending), 0), min(CASE WHEN pending > 0 THEN unsettled END) FROM link
             WHERE pair = ?1 AND unsettled IS NOT NULL",
        )
        .bind(pair);
        let row = self.one(query).await?;
        let pending = u64::try_from(row.get::<i64>(0)).unwrap_or(0);
        Ok((pending, row.get::<Option<i64>>(1).map(Timestamp::from_millis)))
    }

    /// How many links of a pair have something left to do.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn count_unsettled(&mut self, pair: i64) -> Result<u64, Error> {
        let query = statement("SELECT count(*) FROM link WHERE pair = ?1 AND unsettled IS NOT NULL").bind(pair);
        let row = self.one(query).await?;
        Ok(u64::try_from(row.get::<i64>(0)).unwrap_or(0))
    }

    /// The next records of a source without a link in this pair (and not gone), by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn without_link(
        &mut self,
        pair: i64,
        source: i64,
        after: i64,
        limit: usize,
    ) -> Result<Vec<RecordRow>, Error> {
        let query = statement(
            "SELECT r.id, r.key, r.gone, r.merged_into, r.seen, r.changed FROM record AS r
             WHERE r.source = ?2 AND r.gone = 0 AND r.id > ?3
               AND NOT EXISTS (SELECT 1 FROM link AS l WHERE l.pair = ?1 AND (l.store_record = r.id OR l.crm_record = r.id))
             ORDER BY r.id LIMIT ?4",
        )
        .bind(pair)
        .bind(source)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        rows.iter().map(|row| record_row(row, 0)).collect()
    }

    /// The next links of a pair, by id: (link, customer's key, contact's key).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn link_keys(
        &mut self,
        pair: i64,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, String, String)>, Error> {
        let query = statement(
            "SELECT l.id, s.key, c.key FROM link AS l CROSS JOIN record AS s ON s.id = l.store_record
             CROSS JOIN record AS c ON c.id = l.crm_record WHERE l.pair = ?1 AND l.id > ?2 ORDER BY l.id LIMIT ?3",
        )
        .bind(pair)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
    }

    /// The records that a person may mean: by key, or by a match value (an e-mail), in any source.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn find_records(&mut self, words: &str) -> Result<Vec<ExplainRow>, Error> {
        let query = statement(
            "SELECT r.id, r.key, r.gone, r.merged_into, r.seen, r.changed, r.source FROM record AS r
             WHERE r.id IN (SELECT id FROM record WHERE source IN (SELECT id FROM source) AND key = ?1)
                OR r.id IN (SELECT record FROM match_value WHERE field IN (SELECT id FROM field) AND value IN (?1, ?2)) ORDER BY r.source, r.id LIMIT 100",
        )
        .bind(words.trim())
        .bind(words.trim().to_lowercase());
        let rows = self.database.rows(query).await?;
        let mut found = Vec::new();
        for row in &rows {
            found.push(ExplainRow { record: record_row(row, 0)?, source: row.get(6), links: Vec::new() });
        }
        for explained in &mut found {
            let query = statement("SELECT id FROM link WHERE store_record = ?1 OR crm_record = ?1 ORDER BY id")
                .bind(explained.record.id);
            let links = self.database.rows(query).await?;
            explained.links = links.iter().map(|row| row.get(0)).collect();
        }
        Ok(found)
    }
}
