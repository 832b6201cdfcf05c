//! Undoing: the past writes that a person means, and what is to be put back.
//!
//! What is to be put back is a row of `held`, one for each field, with what both sides held when a person said so. It
//! waits there until it is written, and stays after that: both sides are left as they are until either changes.

use super::attempts::side_of;
use super::database::{Statement, statement};
use super::{Error, Transaction, json};
use crate::model::{Side, Timestamp};

/// Which past writes of a pair are meant. All that is given must fit.
#[derive(Clone, Debug, Default)]
pub struct UndoFilter {
    /// Only of this pass.
    pub pass: Option<i64>,
    /// Only from this moment on (ours).
    pub since: Option<Timestamp>,
    /// Only before this moment (ours).
    pub until: Option<Timestamp>,
    /// Only writes to this side.
    pub side: Option<Side>,
    /// Only these fields, by their store names; empty: all.
    pub fields: Vec<String>,
    /// Nothing newer than the write with this number.
    pub newest: i64,
}

/// A write that is known to have been made.
#[derive(Clone, Debug)]
pub struct PastWrite {
    /// Its number.
    pub id: i64,
    /// The link.
    pub link: i64,
    /// The mapped field.
    pub mapped: i64,
    /// The side written.
    pub side: Side,
    /// The record written.
    pub record: i64,
    /// The customer's key.
    pub store_key: String,
    /// The contact's key.
    pub crm_key: String,
    /// The field's name.
    pub name: String,
    /// JSON: what it replaced.
    pub old: String,
    /// JSON: what it wrote.
    pub new: String,
    /// Why.
    pub reason: String,
}

/// A field in which something is to be put back.
#[derive(Clone, Debug)]
pub struct PutBack {
    /// The link.
    pub link: i64,
    /// The mapped field.
    pub mapped: i64,
    /// The side on which.
    pub side: Side,
    /// JSON: what.
    pub value: String,
    /// JSON: what the store holds now.
    pub store_value: String,
    /// JSON: what the CRM holds now.
    pub crm_value: String,
}

const MEANT: &str =
    "h.pair = ?1 AND h.id <= ?2 AND h.at >= ?3 AND (?4 IS NULL OR h.at < ?4) AND (?5 IS NULL OR h.side = ?5)
    AND (?6 IS NULL OR h.pass = ?6) AND (json_array_length(?7) = 0 OR h.name IN (SELECT value FROM json_each(?7)))
    AND h.outcome = 'written'";

fn meant(query: Statement, pair: i64, filter: &UndoFilter) -> Result<Statement, Error> {
    Ok(query
        .bind(pair)
        .bind(filter.newest)
        .bind(filter.since.map_or(i64::MIN, Timestamp::as_millis))
        .bind(filter.until.map(Timestamp::as_millis))
        .bind(filter.side.map(Side::as_str))
        .bind(filter.pass)
        .bind(json(&filter.fields)?))
}

impl Transaction<'_> {
    /// The next links, by id, that writes which the filter names were made to.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn written_links(
        &mut self,
        pair: i64,
        filter: &UndoFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<i64>, Error> {
        // In the order of links, so that the next page goes on where this one ends.
        let sql = format!(
            "SELECT DISTINCT h.link FROM history AS h INDEXED BY history_link WHERE h.link > ?8 AND {MEANT}
             ORDER BY h.link LIMIT ?9"
        );
        let query = meant(statement(sql), pair, filter)?.bind(after).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The writes to these links that the filter names: by link, field and side, newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn past_writes(
        &mut self,
        pair: i64,
        filter: &UndoFilter,
        links: &[i64],
    ) -> Result<Vec<PastWrite>, Error> {
        let sql = format!(
            "SELECT h.link, h.mapped, h.side, h.record, h.store_key, h.crm_key, h.name, h.old, h.new, h.reason, h.id
             FROM json_each(?8) AS k CROSS JOIN history AS h INDEXED BY history_link ON h.link = k.value
             WHERE {MEANT} ORDER BY h.link, h.mapped, h.side, h.id DESC"
        );
        let query = meant(statement(sql), pair, filter)?.bind(json(links)?);
        let rows = self.database.rows(query).await?;
        Ok(rows
            .iter()
            .map(|row| PastWrite {
                link: row.get(0),
                mapped: row.get(1),
                side: side_of(row.get(2)),
                record: row.get(3),
                store_key: row.get(4),
                crm_key: row.get(5),
                name: row.get(6),
                old: row.get(7),
                new: row.get(8),
                reason: row.get(9),
                id: row.get(10),
            })
            .collect())
    }

    /// Remembers what a person wants put back.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn want_back(&mut self, pair: i64, at: Timestamp, wanted: &[PutBack]) -> Result<(), Error> {
        let rows: Vec<_> = wanted
            .iter()
            .map(|row| (row.link, row.mapped, row.side, &row.store_value, &row.crm_value, &row.value))
            .collect();
        let query = statement(
            "INSERT INTO held (pair, since, reason, link, mapped, state, store_value, crm_value, detail)
             SELECT ?1, ?2, 'undone', value ->> 0, value ->> 1, 'undo ' || (value ->> 2), value ->> 3, value ->> 4, value ->> 5
             FROM json_each(?3) WHERE true
             ON CONFLICT (link, mapped) DO UPDATE SET since = excluded.since, reason = excluded.reason,
                 state = excluded.state, store_value = excluded.store_value, crm_value = excluded.crm_value,
                 detail = excluded.detail",
        )
        .bind(pair)
        .bind(at.as_millis())
        .bind(json(&rows)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Records that something was put back on a side: (link, mapped field, JSON: what is there now). What the other side held
    /// when a person said so stays: had that changed since, it is carried over.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_put_back(&mut self, side: Side, fields: &[(i64, i64, String)]) -> Result<(), Error> {
        if fields.is_empty() {
            return Ok(());
        }
        let sql: &'static str = match side {
            Side::Store => {
                "UPDATE held SET state = 'undone', detail = NULL, store_value = n.value
                 FROM (SELECT value ->> 0 AS link, value ->> 1 AS mapped, value ->> 2 AS value FROM json_each(?1)) AS n
                 WHERE held.link = n.link AND held.mapped = n.mapped AND held.state = 'undo store'"
            }
            Side::Crm => {
                "UPDATE held SET state = 'undone', detail = NULL, crm_value = n.value
                 FROM (SELECT value ->> 0 AS link, value ->> 1 AS mapped, value ->> 2 AS value FROM json_each(?1)) AS n
                 WHERE held.link = n.link AND held.mapped = n.mapped AND held.state = 'undo crm'"
            }
        };
        self.database.execute(statement(sql).bind(json(fields)?)).await?;
        Ok(())
    }

    /// The links of a pair in which something is to be put back, by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn links_to_put_back(&mut self, pair: i64) -> Result<Vec<i64>, Error> {
        let query = statement(
            "SELECT DISTINCT link FROM held WHERE pair = ?1 AND state IN ('undo store', 'undo crm') ORDER BY link",
        )
        .bind(pair);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// How many fields of a pair something is to be put back in.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn count_to_put_back(&mut self, pair: i64) -> Result<u64, Error> {
        let query =
            statement("SELECT count(*) FROM held WHERE pair = ?1 AND state IN ('undo store', 'undo crm')").bind(pair);
        Ok(u64::try_from(self.one(query).await?.get::<i64>(0)).unwrap_or(0))
    }
}
