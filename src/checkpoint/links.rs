//! Links, what is agreed on them, and the search for new ones.

use std::collections::BTreeMap;

use super::database::statement;
use super::records::record_row;
use super::{Error, RecordRow, Transaction, from_json, json};
use crate::model::{Canonical, Side, Timestamp};

/// One link with both of its records.
#[derive(Clone, Debug)]
pub struct LinkRow {
    /// Its id.
    pub id: i64,
    /// The customer.
    pub store: RecordRow,
    /// The contact.
    pub crm: RecordRow,
    /// Mapped field → what is agreed (none: both hold nothing). One that is not here is unknown.
    pub agreed: BTreeMap<i64, Option<Canonical>>,
    /// Ours: since when something is left to do.
    pub unsettled: Option<Timestamp>,
    /// How many fields that is.
    pub pending: u64,
}

impl LinkRow {
    /// The record on a side.
    pub const fn record(&self, side: Side) -> &RecordRow {
        match side {
            Side::Store => &self.store,
            Side::Crm => &self.crm,
        }
    }
}

/// What changed about a link.
#[derive(Clone, Debug)]
pub struct LinkUpdate {
    /// The link.
    pub id: i64,
    /// All that is agreed on it.
    pub agreed: BTreeMap<i64, Option<Canonical>>,
    /// Ours: since when something is left to do.
    pub unsettled: Option<Timestamp>,
    /// How many fields that is.
    pub pending: u64,
}

impl Transaction<'_> {
    /// The links with these ids, in their order.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn links(&mut self, ids: &[i64]) -> Result<Vec<LinkRow>, Error> {
        let query = statement(
            "SELECT l.id, l.agreed, l.unsettled, l.pending,
                    s.id, s.key, s.gone, s.merged_into, s.seen, s.changed,
                    c.id, c.key, c.gone, c.merged_into, c.seen, c.changed
             FROM json_each(?1) AS k CROSS JOIN link AS l ON l.id = k.value
             CROSS JOIN record AS s ON s.id = l.store_record CROSS JOIN record AS c ON c.id = l.crm_record ORDER BY k.key",
        )
        .bind(json(ids)?);
        let rows = self.database.rows(query).await?;
        rows.iter()
            .map(|row| {
                Ok(LinkRow {
                    id: row.get(0),
                    agreed: from_json(row.get::<&str>(1))?,
                    unsettled: row.get::<Option<i64>>(2).map(Timestamp::from_millis),
                    pending: u64::try_from(row.get::<i64>(3)).unwrap_or(0),
                    store: record_row(row, 4)?,
                    crm: record_row(row, 10)?,
                })
            })
            .collect()
    }

    /// Makes links of these records: (customer, contact), unsettled from now. Their ids, in the same order.
    ///
    /// # Errors
    /// When the database refuses; also when a record has a link in this pair already.
    pub async fn add_links(&mut self, pair: i64, records: &[(i64, i64)], at: Timestamp) -> Result<Vec<i64>, Error> {
        let query = statement(
            "INSERT INTO link (pair, store_record, crm_record, unsettled)
             SELECT ?1, value ->> 0, value ->> 1, ?2 FROM json_each(?3) ORDER BY key RETURNING id",
        )
        .bind(pair)
        .bind(at.as_millis())
        .bind(json(records)?);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Writes what changed about links.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn update_links(&mut self, updates: &[LinkUpdate]) -> Result<(), Error> {
        if updates.is_empty() {
            return Ok(());
        }
        let rows = updates
            .iter()
            .map(|update| {
                let pending = i64::try_from(update.pending).unwrap_or(i64::MAX);
                Ok((update.id, json(&update.agreed)?, update.unsettled, pending))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let query = statement(
            "UPDATE link SET agreed = n.agreed, unsettled = n.unsettled, pending = n.pending
             FROM (SELECT value ->> 0 AS id, value ->> 1 AS agreed, value ->> 2 AS unsettled, value ->> 3 AS pending
                   FROM json_each(?1)) AS n WHERE link.id = n.id",
        )
        .bind(json(&rows)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Makes sure that the next pass looks at these links.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unsettle_links(&mut self, links: &[i64], at: Timestamp) -> Result<(), Error> {
        let query = statement(
            "UPDATE link SET unsettled = coalesce(unsettled, ?2) WHERE id IN (SELECT value FROM json_each(?1))",
        )
        .bind(json(links)?)
        .bind(at.as_millis());
        self.database.execute(query).await?;
        Ok(())
    }

    /// Forgets links, what is agreed on them, and what is held on them. Their open attempts stay: they may still take
    /// effect, whatever the records are linked with next.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_links(&mut self, links: &[i64]) -> Result<(), Error> {
        let list = json(links)?;
        let statements: [&'static str; 2] = [
            "DELETE FROM held WHERE link IN (SELECT value FROM json_each(?1))",
            "DELETE FROM link WHERE id IN (SELECT value FROM json_each(?1))",
        ];
        for sql in statements {
            let query = statement(sql).bind(list.as_str());
            self.database.execute(query).await?;
        }
        Ok(())
    }

    /// Remembers of these links, which are about to end, who was linked with whom.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remember_former(&mut self, links: &[i64]) -> Result<(), Error> {
        let query = statement(
            "INSERT OR REPLACE INTO former (pair, store_record, crm_record)
             SELECT pair, store_record, crm_record FROM link WHERE id IN (SELECT value FROM json_each(?1))",
        )
        .bind(json(links)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Of links that ended by themselves, those of these records whose both records are there and that nobody has parted:
    /// (customer, contact).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn returned(&mut self, pair: i64, records: &[i64]) -> Result<Vec<(RecordRow, RecordRow)>, Error> {
        let query = statement(
            "SELECT s.id, s.key, s.gone, s.merged_into, s.seen, s.changed, c.id, c.key, c.gone, c.merged_into, c.seen, c.changed
             FROM (SELECT f.store_record, f.crm_record FROM json_each(?2) AS k
                      CROSS JOIN former AS f ON f.pair = ?1 AND f.store_record = k.value
                   UNION
                   SELECT f.store_record, f.crm_record FROM json_each(?2) AS k
                      CROSS JOIN former AS f ON f.pair = ?1 AND f.crm_record = k.value) AS f
             CROSS JOIN record AS s ON s.id = f.store_record AND s.gone = 0
             CROSS JOIN record AS c ON c.id = f.crm_record AND c.gone = 0
             WHERE NOT EXISTS (SELECT 1 FROM parted AS p WHERE p.pair = ?1 AND p.store_key = s.key AND p.crm_key = c.key)
             ORDER BY s.id",
        )
        .bind(pair)
        .bind(json(records)?);
        let rows = self.database.rows(query).await?;
        rows.iter().map(|row| Ok((record_row(row, 0)?, record_row(row, 6)?))).collect()
    }

    /// The newest link of all pairs.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn newest_link(&mut self) -> Result<i64, Error> {
        Ok(self.one(statement("SELECT coalesce(max(id), 0) FROM link")).await?.get(0))
    }

    /// Moves a link to another record on one side, with nothing agreed.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn move_link(&mut self, link: i64, side: Side, record: i64, at: Timestamp) -> Result<(), Error> {
        let sql: &'static str = match side {
            Side::Store => "UPDATE link SET store_record = ?2, agreed = '{}', unsettled = ?3 WHERE id = ?1",
            Side::Crm => "UPDATE link SET crm_record = ?2, agreed = '{}', unsettled = ?3 WHERE id = ?1",
        };
        let query = statement(sql).bind(link).bind(record).bind(at.as_millis());
        self.database.execute(query).await?;
        Ok(())
    }

    /// Counts removals for the rails.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_removals(&mut self, pair: i64, at: Timestamp, counted: u64, free: u64) -> Result<(), Error> {
        for (number, flag) in [(counted, 1), (free, 0)] {
            if number > 0 {
                let query = statement(
                    "INSERT INTO removal (at, pair, counted)
                     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?3) SELECT ?1, ?2, ?4 FROM n",
                )
                .bind(at.as_millis())
                .bind(pair)
                .bind(i64::try_from(number).unwrap_or(i64::MAX))
                .bind(flag);
                self.database.execute(query).await?;
            }
        }
        Ok(())
    }

    /// Of these records, those that have a link in this pair: record → link.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn linked_among(&mut self, pair: i64, records: &[i64]) -> Result<BTreeMap<i64, i64>, Error> {
        let query = statement(
            "SELECT l.store_record, l.id FROM json_each(?2) AS k CROSS JOIN link AS l ON l.pair = ?1 AND l.store_record = k.value
             UNION ALL
             SELECT l.crm_record, l.id FROM json_each(?2) AS k CROSS JOIN link AS l ON l.pair = ?1 AND l.crm_record = k.value",
        )
        .bind(pair)
        .bind(json(records)?);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The links of other pairs that hold one of these records: (record, pair, link, other record).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn links_elsewhere(&mut self, pair: i64, records: &[i64]) -> Result<Vec<(i64, i64, i64, i64)>, Error> {
        let query = statement(
            "SELECT l.crm_record, l.pair, l.id, l.store_record FROM json_each(?2) AS k
               CROSS JOIN link AS l ON l.crm_record = k.value WHERE l.pair <> ?1
             UNION ALL
             SELECT l.store_record, l.pair, l.id, l.crm_record FROM json_each(?2) AS k
               CROSS JOIN link AS l ON l.store_record = k.value WHERE l.pair <> ?1",
        )
        .bind(pair)
        .bind(json(records)?);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect())
    }

    /// Gathers into `temp.candidate` the customers for which a link must be looked for: those without one that changed
    /// since, those that share a match value with a contact that changed since or were linked with it before, and, if anything
    /// changed, those that are held as ambiguous or share a match value with a contact that is.
    /// `rules`: (store field, CRM field) of each match rule.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn gather_candidates(
        &mut self,
        pair: i64,
        (store, crm): (i64, i64),
        rules: &[(i64, i64)],
        since: i64,
    ) -> Result<u64, Error> {
        let clear = statement("DELETE FROM temp.candidate WHERE pair = ?1").bind(pair);
        self.database.execute(clear).await?;
        let query = statement(
            "INSERT INTO temp.candidate (pair, record)
             SELECT ?1, r.id FROM record AS r WHERE r.source = ?2 AND r.changed > ?4 AND r.gone = 0
                AND NOT EXISTS (SELECT 1 FROM link AS l WHERE l.pair = ?1 AND l.store_record = r.id)
             UNION
             SELECT ?1, ms.record FROM record AS r CROSS JOIN json_each(?5) AS rule
                CROSS JOIN match_value AS mc ON mc.record = r.id AND mc.field = rule.value ->> 1
                CROSS JOIN match_value AS ms ON ms.field = rule.value ->> 0 AND ms.value = mc.value
                WHERE r.source = ?3 AND r.changed > ?4 AND r.gone = 0
                AND NOT EXISTS (SELECT 1 FROM link AS l WHERE l.pair = ?1 AND l.crm_record = r.id)
             UNION
             SELECT ?1, s.id FROM record AS r CROSS JOIN former AS f ON f.pair = ?1 AND f.crm_record = r.id
                CROSS JOIN record AS s ON s.id = f.store_record
                WHERE r.source = ?3 AND r.changed > ?4 AND r.gone = 0 AND s.gone = 0
             UNION
             SELECT ?1, h.record FROM held AS h CROSS JOIN record AS r ON r.id = h.record
                WHERE h.pair = ?1 AND r.source = ?2
                AND EXISTS (SELECT 1 FROM record AS n WHERE n.source IN (?2, ?3) AND n.changed > ?4)
             UNION
             SELECT ?1, ms.record FROM held AS h CROSS JOIN record AS r ON r.id = h.record CROSS JOIN json_each(?5) AS rule
                CROSS JOIN match_value AS mc ON mc.record = r.id AND mc.field = rule.value ->> 1
                CROSS JOIN match_value AS ms ON ms.field = rule.value ->> 0 AND ms.value = mc.value
                WHERE h.pair = ?1 AND r.source = ?3
                AND EXISTS (SELECT 1 FROM record AS n WHERE n.source IN (?2, ?3) AND n.changed > ?4)",
        )
        .bind(pair)
        .bind(store)
        .bind(crm)
        .bind(since)
        .bind(json(rules)?);
        self.database.execute(query).await
    }

    /// The next customers for which a link must be looked for, by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn candidates(&mut self, pair: i64, after: i64, limit: usize) -> Result<Vec<RecordRow>, Error> {
        let query = statement(
            "SELECT r.id, r.key, r.gone, r.merged_into, r.seen, r.changed FROM temp.candidate AS c CROSS JOIN record AS r ON r.id = c.record
             WHERE c.pair = ?1 AND c.record > ?2 ORDER BY c.record LIMIT ?3",
        )
        .bind(pair)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        rows.iter().map(|row| record_row(row, 0)).collect()
    }

    /// Which of these (customer key, contact key) a person has parted.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn parted(&mut self, pair: i64) -> Result<Vec<(String, String)>, Error> {
        let query = statement("SELECT store_key, crm_key FROM parted WHERE pair = ?1").bind(pair);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Remembers, or forgets, that a person has parted these (customer key, contact key).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_parted(&mut self, pair: i64, keys: &[(&str, &str)], parted: bool) -> Result<(), Error> {
        let sql: &'static str = if parted {
            "INSERT INTO parted (pair, store_key, crm_key)
             SELECT ?1, value ->> 0, value ->> 1 FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM parted WHERE pair = ?1
             AND (store_key, crm_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?2))"
        };
        let query = statement(sql).bind(pair).bind(json(keys)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// How many links a pair has.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn count_links(&mut self, pair: i64) -> Result<u64, Error> {
        let query = statement("SELECT links FROM pair WHERE id = ?1").bind(pair);
        let row = self.one(query).await?;
        Ok(u64::try_from(row.get::<i64>(0)).unwrap_or(0))
    }
}
