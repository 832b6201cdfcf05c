//! Partners that are to be made, are being made, or were made: one row for each record that lacked one.

use super::database::{Row, statement};
use super::records::record_row;
use super::{Error, RecordRow, Transaction, json};
use crate::model::{Canonical, Key, Side, Timestamp, Value};

/// How far a creation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreationState {
    /// Nothing was sent, or what was sent is known not to have happened.
    Wanted,
    /// It was sent, and what became of it is not known.
    Open,
    /// The target refused it, or cannot take it: not again until its origin changes.
    Refused,
    /// It was made.
    Made,
    /// Not to be made: its partner was there and is gone.
    Declined,
}

impl CreationState {
    fn parse(word: &str) -> Option<Self> {
        [Self::Wanted, Self::Open, Self::Refused, Self::Made, Self::Declined]
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Open => "open",
            Self::Refused => "refused",
            Self::Made => "made",
            Self::Declined => "declined",
        }
    }
}

/// A record that lacks a partner.
#[derive(Clone, Debug)]
pub struct Creation {
    /// Its number.
    pub id: i64,
    /// When it was sent (ours), where nobody knows what became of it.
    pub open_since: Option<Timestamp>,
    /// What was sent last, for each mapped field.
    pub sent: Vec<SentField>,
    /// The record.
    pub origin: RecordRow,
}

/// A mapped field of what was sent: its number, the value as the target writes it, and as both sides hold it.
pub type SentField = (i64, Value, Canonical);

/// What is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// The creation.
    pub id: i64,
    /// The target's match field.
    pub field: i64,
    /// What it is to hold there, as compared.
    pub value: &'a str,
    /// Its mapped fields.
    pub sent: &'a [SentField],
}

/// What became of a creation.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The creation.
    pub id: i64,
    /// How far it came.
    pub state: CreationState,
    /// The partner's key, where it was made.
    pub key: Option<Key>,
}

const CREATIONS: &str = "SELECT c.id, c.state, c.at, c.sent, r.id, r.key, r.gone, r.merged_into, r.seen, r.changed
     FROM creation AS c CROSS JOIN record AS r ON r.id = c.record";

/// Whether a creation may be sent; `?2`: before when one of unknown outcome was.
const IS_DUE: &str =
    "(c.state = 'wanted' OR c.state = 'open' AND c.at <= ?2 OR c.state = 'refused' AND r.changed > c.change)";

fn creation(row: &Row) -> Result<Creation, Error> {
    let open_since = row.get::<Option<i64>>(2).filter(|_| row.get::<&str>(1) == "open").map(Timestamp::from_millis);
    let sent = row.get::<Option<&str>>(3).map_or(Ok(Vec::new()), super::from_json)?;
    Ok(Creation { id: row.get(0), open_since, sent, origin: record_row(row, 4)? })
}

impl Transaction<'_> {
    /// The records of a source that changed since, are there, have no link in this pair, and for which no partner was ever
    /// wanted; by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn without_partner(
        &mut self,
        pair: i64,
        source: i64,
        (since, after): (i64, i64),
        limit: usize,
    ) -> Result<Vec<RecordRow>, Error> {
        let query = statement(
            "SELECT r.id, r.key, r.gone, r.merged_into, r.seen, r.changed FROM record AS r
             WHERE r.source = ?2 AND r.changed > ?3 AND r.id > ?4 AND r.gone = 0
               AND NOT EXISTS (SELECT 1 FROM link AS l WHERE l.pair = ?1 AND l.store_record = r.id)
               AND NOT EXISTS (SELECT 1 FROM link AS l WHERE l.pair = ?1 AND l.crm_record = r.id)
               AND NOT EXISTS (SELECT 1 FROM creation AS c WHERE c.pair = ?1 AND c.record = r.id)
             ORDER BY r.id LIMIT ?5",
        )
        .bind(pair)
        .bind(source)
        .bind(since)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        rows.iter().map(|row| record_row(row, 0)).collect()
    }

    /// Remembers that these records want a partner on a side.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn want(&mut self, pair: i64, side: Side, records: &[i64]) -> Result<(), Error> {
        let query = statement(
            "INSERT INTO creation (pair, record, side, state)
             SELECT ?1, value, ?2, 'wanted' FROM json_each(?3) WHERE true
             ON CONFLICT (pair, record) DO NOTHING",
        )
        .bind(pair)
        .bind(side.as_str())
        .bind(json(records)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Remembers that no partner is to be made for these records: they had one, and it is gone.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn decline(&mut self, pair: i64, side: Side, records: &[i64]) -> Result<(), Error> {
        let query = statement(
            "INSERT INTO creation (pair, record, side, state)
             SELECT ?1, value, ?2, 'declined' FROM json_each(?3) WHERE true
             ON CONFLICT (pair, record) DO UPDATE SET state = 'declined'",
        )
        .bind(pair)
        .bind(side.as_str())
        .bind(json(records)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// The next creations on a side that may be sent: wanted, refused and changed since, or sent before `until` with an unknown
    /// outcome.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn creations_due(
        &mut self,
        (pair, side): (i64, Side),
        until: Timestamp,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Creation>, Error> {
        let sql =
            format!("{CREATIONS} WHERE c.pair = ?1 AND c.side = ?3 AND c.id > ?4 AND {IS_DUE} ORDER BY c.id LIMIT ?5");
        let query = statement(sql)
            .bind(pair)
            .bind(until.as_millis())
            .bind(side.as_str())
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        rows.iter().map(creation).collect()
    }

    /// Creations on a side whose record is linked and was not read since it was made: made, or found although nobody knew what
    /// became of it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unread_creations(
        &mut self,
        (pair, side): (i64, Side),
        after: i64,
        limit: usize,
    ) -> Result<Vec<Creation>, Error> {
        let query = statement(format!(
            "{CREATIONS}
             WHERE c.pair = ?1 AND c.side = ?2 AND c.id > ?3 AND c.state IN ('made', 'open') AND c.sent IS NOT NULL
               AND (EXISTS (SELECT 1 FROM link AS l WHERE l.pair = ?1 AND l.store_record = c.record)
                 OR EXISTS (SELECT 1 FROM link AS l WHERE l.pair = ?1 AND l.crm_record = c.record))
             ORDER BY c.id LIMIT ?4"
        ))
        .bind(pair)
        .bind(side.as_str())
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        rows.iter().map(creation).collect()
    }

    /// Records that these were read since they were made.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_creations_read(&mut self, ids: &[i64]) -> Result<(), Error> {
        let query = statement("UPDATE creation SET sent = NULL WHERE id IN (SELECT value FROM json_each(?1))");
        self.database.execute(query.bind(json(ids)?)).await?;
        Ok(())
    }

    /// Whether any creation of a pair has something to do, as [`Transaction::creations_due`] has it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn has_creations_due(&mut self, pair: i64, until: Timestamp) -> Result<bool, Error> {
        let sql = format!("SELECT EXISTS ({CREATIONS} WHERE c.pair = ?1 AND {IS_DUE})");
        let query = statement(sql).bind(pair).bind(until.as_millis());
        Ok(self.one(query).await?.get(0))
    }

    /// How far the creation of a record's partner has come, where one was ever wanted.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn creation_of(&mut self, pair: i64, record: i64) -> Result<Option<CreationState>, Error> {
        let query = statement("SELECT state FROM creation WHERE pair = ?1 AND record = ?2").bind(pair).bind(record);
        let rows = self.database.rows(query).await?;
        Ok(rows.first().and_then(|row| CreationState::parse(row.get::<&str>(0))))
    }

    /// The creations with these numbers.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn creations(&mut self, ids: &[i64]) -> Result<Vec<Creation>, Error> {
        let sql = format!("{CREATIONS} WHERE c.id IN (SELECT value FROM json_each(?1)) ORDER BY c.id");
        let query = statement(sql).bind(json(ids)?);
        let rows = self.database.rows(query).await?;
        rows.iter().map(creation).collect()
    }

    /// Records that creations are about to be sent. Must be the first thing its transaction writes; survives a power loss.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn send_creations(&mut self, at: Timestamp, sending: &[Sending<'_>]) -> Result<(), Error> {
        self.make_durable().await?;
        let rows: Vec<_> = sending.iter().map(|row| (row.id, row.field, row.value, row.sent)).collect();
        let query = statement(
            "UPDATE creation SET state = 'open', at = ?1, field = n.field, value = n.value, sent = n.sent
             FROM (SELECT value ->> 0 AS id, value ->> 1 AS field, value ->> 2 AS value, value -> 3 AS sent
                   FROM json_each(?2)) AS n
             WHERE creation.id = n.id",
        )
        .bind(at.as_millis())
        .bind(json(&rows)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Records what became of creations.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_creations(&mut self, ended: &[Ended]) -> Result<(), Error> {
        if ended.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = ended.iter().map(|row| (row.id, row.state.as_str(), &row.key)).collect();
        let query = statement(
            "UPDATE creation SET state = n.state, key = n.key,
                    change = (SELECT r.changed FROM record AS r WHERE r.id = creation.record)
             FROM (SELECT value ->> 0 AS id, value ->> 1 AS state, value ->> 2 AS key FROM json_each(?1)) AS n
             WHERE creation.id = n.id",
        )
        .bind(json(&rows)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Has the creations of these records that were refused tried again.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn retry_creations(&mut self, records: &[i64]) -> Result<(), Error> {
        let query = statement(
            "UPDATE creation SET state = 'wanted'
             WHERE state = 'refused' AND record IN (SELECT value FROM json_each(?1))",
        )
        .bind(json(records)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Forgets creations that are not wanted any more and that were not sent.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_creations(&mut self, ids: &[i64]) -> Result<(), Error> {
        let query = statement("DELETE FROM creation WHERE id IN (SELECT value FROM json_each(?1))").bind(json(ids)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// The numbers of open creations, of any pair, that are to hold one of these values in a match field of their target.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn open_creations(&mut self, field: i64, values: &[&str]) -> Result<Vec<(i64, String)>, Error> {
        let query = statement(
            "SELECT c.id, c.value FROM creation AS c
             WHERE c.state = 'open' AND c.field = ?1 AND c.value IN (SELECT value FROM json_each(?2))",
        )
        .bind(field)
        .bind(json(values)?);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// How many records a pair has made since a moment, those of unknown outcome included.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn created_since(&mut self, pair: i64, since: Timestamp) -> Result<u64, Error> {
        let query = statement(
            "SELECT count(*) FROM creation WHERE pair = ?1 AND state IN ('open', 'made', 'declined') AND at > ?2",
        )
        .bind(pair)
        .bind(since.as_millis());
        let row = self.one(query).await?;
        Ok(u64::try_from(row.get::<i64>(0)).unwrap_or(0))
    }

    /// Which of these keys of a source are of records that we made since a moment.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn made_since(&mut self, source: i64, keys: &[&Key], since: Timestamp) -> Result<Vec<Key>, Error> {
        let query = statement(
            "SELECT c.key FROM creation AS c CROSS JOIN pair AS p ON p.id = c.pair
             WHERE c.state = 'made' AND c.at > ?3 AND (CASE c.side WHEN 'store' THEN p.store ELSE p.crm END) = ?1
               AND c.key IN (SELECT value FROM json_each(?2))",
        )
        .bind(source)
        .bind(json(keys)?)
        .bind(since.as_millis());
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| Key(row.get(0))).collect())
    }
}
