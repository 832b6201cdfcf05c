//! History: every write, recorded before it leaves with what it overwrites. An attempt is a row that is still open: at
//! most one for each field of each record, by unique index.

use super::database::{Row, statement};
use super::{Error, Transaction, json};
use crate::model::{Canonical, Key, Side, Timestamp};

/// A write about to leave.
#[derive(Clone, Debug, serde::Serialize)]
pub struct NewAttempt {
    /// The link.
    pub link: i64,
    /// The mapped field.
    pub mapped: i64,
    /// The target record.
    pub record: i64,
    /// The target's field.
    pub field: i64,
    /// The customer's key.
    pub store_key: Key,
    /// The contact's key.
    pub crm_key: Key,
    /// The field's name.
    pub name: String,
    /// JSON: what the target holds.
    pub old: String,
    /// JSON: what is sent.
    pub new: String,
    /// JSON: what both sides agree on if it succeeds.
    pub canonical: String,
    /// By the target's clock, for ours may be another one when the outcome is known: when the edit that it carries was made.
    pub edited: Option<Timestamp>,
    /// Why.
    pub reason: &'static str,
    /// The rail it counts under.
    pub counted: Option<&'static str>,
    /// The side whose superseded value it carries.
    pub returned: Option<&'static str>,
}

/// A write whose outcome is not settled.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its number.
    pub id: i64,
    /// Ours: when it was recorded, right before it left.
    pub at: Timestamp,
    /// The pair.
    pub pair: i64,
    /// The link.
    pub link: i64,
    /// The mapped field.
    pub mapped: i64,
    /// The side written.
    pub side: Side,
    /// The target record.
    pub record: i64,
    /// The target's field.
    pub field: i64,
    /// JSON: what the target held.
    pub old: String,
    /// JSON: what was sent.
    pub new: String,
    /// What both sides agree on if it succeeded.
    pub canonical: Option<Canonical>,
    /// By the target's clock: when the edit that it carries was made.
    pub edited: Option<Timestamp>,
    /// Why it was sent.
    pub reason: String,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// Its number.
    pub id: i64,
    /// `written`, `refused` or `unknown`.
    pub outcome: &'static str,
    /// Whether it stays open, because it may still take effect.
    pub open: bool,
}

/// One write, as `history` shows it.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    /// Its number.
    pub id: i64,
    /// Ours.
    pub at: Timestamp,
    /// The pass it belongs to.
    pub pass: i64,
    /// The store's label.
    pub store: String,
    /// The CRM's label.
    pub crm: String,
    /// The customer's key.
    pub store_key: String,
    /// The contact's key.
    pub crm_key: String,
    /// The link.
    pub link: i64,
    /// The mapped field.
    pub mapped: i64,
    /// The field's name.
    pub field: String,
    /// The side written.
    pub side: String,
    /// JSON.
    pub old: String,
    /// JSON.
    pub new: String,
    /// Why.
    pub reason: String,
    /// `written`, `refused` or `unknown`.
    pub outcome: String,
}

/// Which writes to show.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// Only these stores' labels; empty: all.
    pub stores: Vec<String>,
    /// Only this customer or contact key.
    pub key: Option<String>,
    /// Only these fields, by their store names; empty: all.
    pub fields: Vec<String>,
    /// Only writes to this side.
    pub side: Option<Side>,
    /// Only of this pass.
    pub pass: Option<i64>,
    /// Only from this moment on (ours).
    pub since: Option<Timestamp>,
    /// Only before this moment (ours).
    pub until: Option<Timestamp>,
    /// Only writes older than the one with this number: the next page.
    pub before: Option<i64>,
    /// At most this many, newest first.
    pub limit: Option<u64>,
}

pub(super) fn side_of(word: &str) -> Side {
    if word == "store" { Side::Store } else { Side::Crm }
}

fn attempt(row: &Row) -> Result<Attempt, Error> {
    Ok(Attempt {
        id: row.get(0),
        at: Timestamp::from_millis(row.get(1)),
        pair: row.get(2),
        link: row.get(3),
        mapped: row.get(4),
        side: side_of(row.get(5)),
        record: row.get(6),
        field: row.get(7),
        old: row.get(8),
        new: row.get(9),
        canonical: super::from_json(row.get::<&str>(10))?,
        edited: row.get::<Option<i64>>(11).map(Timestamp::from_millis),
        reason: row.get(12),
    })
}

impl Transaction<'_> {
    /// Records attempts, before they leave. Must be the only thing its transaction writes before it commits, and
    /// survives a power loss. Their numbers, in order. None if one of the fields has an open attempt already.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn intend(
        &mut self,
        pass: i64,
        pair: i64,
        side: Side,
        at: Timestamp,
        attempts: &[NewAttempt],
    ) -> Result<Vec<i64>, Error> {
        self.add_history((pass, pair, side), at, ("unknown", true), attempts).await
    }

    /// Records writes whose outcome is known: what a record was made with.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_written(
        &mut self,
        pass: i64,
        pair: i64,
        side: Side,
        at: Timestamp,
        written: &[NewAttempt],
    ) -> Result<(), Error> {
        self.add_history((pass, pair, side), at, ("written", false), written).await?;
        Ok(())
    }

    async fn add_history(
        &mut self,
        (pass, pair, side): (i64, i64, Side),
        at: Timestamp,
        (outcome, open): (&str, bool),
        attempts: &[NewAttempt],
    ) -> Result<Vec<i64>, Error> {
        if attempts.is_empty() {
            return Ok(Vec::new());
        }
        if open {
            // What is intended has to survive a power loss.
            self.make_durable().await?;
        }
        let query = statement(
            "INSERT INTO history (at, pass, pair, side, outcome, open, link, mapped, record, field, store_key, crm_key, name,
                    old, new, canonical, edited, reason, counted, returned)
             SELECT ?1, ?2, ?3, ?4, ?6, ?7, value ->> 'link', value ->> 'mapped', value ->> 'record', value ->> 'field',
                    value ->> 'store_key', value ->> 'crm_key', value ->> 'name', value ->> 'old', value ->> 'new',
                    value ->> 'canonical', value ->> 'edited', value ->> 'reason', value ->> 'counted', value ->> 'returned'
             FROM json_each(?5) ORDER BY key RETURNING id",
        )
        .bind(at.as_millis())
        .bind(pass)
        .bind(pair)
        .bind(side.as_str())
        .bind(json(attempts)?)
        .bind(outcome)
        .bind(open);
        let rows = self.database.rows(query).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        self.newest = ids.iter().copied().max().or(self.newest);
        Ok(ids)
    }

    /// Begins to settle: what follows in this transaction survives a power loss.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn begin_settling(&mut self) -> Result<(), Error> {
        self.make_durable().await
    }

    /// Records what became of attempts.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn settle(&mut self, settled: &[Settled]) -> Result<(), Error> {
        if settled.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = settled.iter().map(|row| (row.id, row.outcome, i64::from(row.open))).collect();
        let query = statement(
            "UPDATE history SET outcome = n.outcome, open = n.open
             FROM (SELECT value ->> 0 AS id, value ->> 1 AS outcome, value ->> 2 AS open FROM json_each(?1)) AS n
             WHERE history.id = n.id",
        )
        .bind(json(&rows)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// The fields that open attempts keep from being written, of these records: the fields that were attempted, and the
    /// fields that they are linked with, in whatever pair: (record, field).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn under_way(&mut self, records: &[i64]) -> Result<Vec<(i64, i64)>, Error> {
        // Open attempts are few, links and their history many: it begins with the attempts.
        let query = statement(
            "SELECT h.record, h.field, l.store_record, m.store_field, l.crm_record, m.crm_field
             FROM history AS h INDEXED BY history_attempt
             LEFT JOIN link AS l ON l.id = h.link LEFT JOIN mapped AS m ON m.id = h.mapped
             WHERE h.open = 1 AND (h.record IN (SELECT value FROM json_each(?1))
                OR l.store_record IN (SELECT value FROM json_each(?1)) OR l.crm_record IN (SELECT value FROM json_each(?1)))",
        )
        .bind(json(records)?);
        let rows = self.database.rows(query).await?;
        // The link may have ended since.
        let field = |row: &Row, at: usize| row.get::<Option<i64>>(at).zip(row.get::<Option<i64>>(at + 1));
        Ok(rows.iter().flat_map(|row| [0, 2, 4].map(|at| field(row, at))).flatten().collect())
    }

    /// The open attempts of a pair on one side that are at least as old as `until` says.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn attempts_due(
        &mut self,
        pair: i64,
        side: Side,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Attempt>, Error> {
        let query = statement(
            "SELECT id, at, pair, link, mapped, side, record, field, old, new, canonical, edited, reason FROM history
             WHERE open = 1 AND pair = ?1 AND side = ?2 AND at <= ?3 ORDER BY id LIMIT ?4",
        )
        .bind(pair)
        .bind(side.as_str())
        .bind(until.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        rows.iter().map(attempt).collect()
    }

    /// The number of the newest attempt ever made.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn newest_attempt(&mut self) -> Result<i64, Error> {
        let query = statement("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'history'), 0)");
        Ok(self.one(query).await?.get(0))
    }

    /// Writes to these links since a moment, oldest first: (link, mapped, side, old, new), values as JSON. What a person has
    /// undone is nobody's to and fro.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn writes_since(
        &mut self,
        links: &[i64],
        since: Timestamp,
    ) -> Result<Vec<(i64, i64, Side, String, String)>, Error> {
        let query = statement(
            "SELECT h.link, h.mapped, h.side, h.old, h.new FROM json_each(?1) AS k
             CROSS JOIN history AS h ON h.link = k.value WHERE h.at > ?2 AND h.outcome = 'written' AND h.reason <> 'undone'
             ORDER BY h.id",
        )
        .bind(json(links)?)
        .bind(since.as_millis());
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1), side_of(row.get(2)), row.get(3), row.get(4))).collect())
    }

    /// Whether a pair has written anything since a moment: spares the search in a first pass.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn has_history(&mut self, pair: i64) -> Result<bool, Error> {
        let query = statement("SELECT EXISTS (SELECT 1 FROM history WHERE pair = ?1)").bind(pair);
        Ok(self.one(query).await?.get(0))
    }

    /// Values that our writes to these links have replaced: (link, mapped, side, old JSON). What a record that we made did
    /// not hold before it was there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn superseded_values(&mut self, links: &[i64]) -> Result<Vec<(i64, i64, Side, String)>, Error> {
        let query = statement(
            "SELECT DISTINCT h.link, h.mapped, h.side, h.old FROM json_each(?1) AS k
             CROSS JOIN history AS h ON h.link = k.value WHERE h.outcome = 'written' AND h.reason <> 'created'",
        )
        .bind(json(links)?);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1), side_of(row.get(2)), row.get(3))).collect())
    }

    /// How many fields of the source on this side have returned to superseded values since a moment: those that were
    /// carried over, and those that are held for it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn returned_since(&mut self, source: i64, side: Side, since: Timestamp) -> Result<u64, Error> {
        let query = statement(
            "SELECT (SELECT count(*) FROM history AS h CROSS JOIN pair AS p ON p.id = h.pair
                WHERE h.returned = ?2 AND h.at > ?3 AND (CASE ?2 WHEN 'store' THEN p.store ELSE p.crm END) = ?1)
              + (SELECT count(*) FROM held AS h CROSS JOIN pair AS p ON p.id = h.pair
                WHERE h.reason = 'reverted' AND h.since > ?3 AND (CASE ?2 WHEN 'store' THEN p.store ELSE p.crm END) = ?1)",
        )
        .bind(source)
        .bind(side.as_str())
        .bind(since.as_millis());
        let row = self.one(query).await?;
        Ok(u64::try_from(row.get::<i64>(0)).unwrap_or(0))
    }

    /// The writes that a filter names, newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn history(&mut self, filter: &HistoryFilter) -> Result<Vec<HistoryRow>, Error> {
        let query = statement(
            "SELECT h.id, h.at, h.pass, s.name, c.name, h.store_key, h.crm_key, h.link, h.mapped, h.name, h.side, h.old, h.new,
                    h.reason, h.outcome
             FROM history AS h CROSS JOIN pair AS p ON p.id = h.pair CROSS JOIN source AS s ON s.id = p.store CROSS JOIN source AS c ON c.id = p.crm
             WHERE (json_array_length(?1) = 0 OR s.name IN (SELECT value FROM json_each(?1)))
               AND (?2 IS NULL OR h.store_key = ?2 OR h.crm_key = ?2)
               AND (json_array_length(?3) = 0 OR h.name IN (SELECT value FROM json_each(?3)))
               AND h.at >= ?4 AND (?5 IS NULL OR h.at < ?5) AND (?6 IS NULL OR h.side = ?6)
               AND (?7 IS NULL OR h.pass = ?7) AND h.id < ?8
             ORDER BY h.id DESC LIMIT ?9",
        )
        .bind(json(&filter.stores)?)
        .bind(filter.key.as_deref())
        .bind(json(&filter.fields)?)
        .bind(filter.since.map_or(0, Timestamp::as_millis))
        .bind(filter.until.map(Timestamp::as_millis))
        .bind(filter.side.map(Side::as_str))
        .bind(filter.pass)
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(filter.limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(-1));
        let rows = self.database.rows(query).await?;
        Ok(rows
            .iter()
            .map(|row| HistoryRow {
                id: row.get(0),
                at: Timestamp::from_millis(row.get(1)),
                pass: row.get(2),
                store: row.get(3),
                crm: row.get(4),
                store_key: row.get(5),
                crm_key: row.get(6),
                link: row.get(7),
                mapped: row.get(8),
                field: row.get(9),
                side: row.get(10),
                old: row.get(11),
                new: row.get(12),
                reason: row.get::<&str>(13).to_owned(),
                outcome: row.get(14),
            })
            .collect())
    }
}
