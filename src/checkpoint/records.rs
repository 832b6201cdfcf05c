//! Records and what was seen of them; the index that links are found by; observations that wait for a second look.

use super::database::{Row, statement};
use super::{Error, SeenRecord, Transaction, from_json, json};
use crate::model::{Key, Timestamp};

/// One record of a source.
#[derive(Clone, Debug)]
pub struct RecordRow {
    /// Its id in the checkpoint.
    pub id: i64,
    /// Its key at the source.
    pub key: Key,
    /// Whether it is gone.
    pub gone: bool,
    /// The record that carries on, where it was merged away.
    pub merged_into: Option<Key>,
    /// What was seen of it.
    pub seen: SeenRecord,
    /// The change that last altered it.
    pub changed: i64,
}

/// A record to write, new or changed, with its match values.
#[derive(Clone, Debug)]
pub struct RecordSave {
    /// Its key at the source.
    pub key: Key,
    /// Whether it is gone.
    pub gone: bool,
    /// The record that carries on, where it was merged away.
    pub merged_into: Option<Key>,
    /// What was seen of it.
    pub seen: SeenRecord,
    /// Whether it was not known before.
    pub is_new: bool,
    /// Its match values, if they changed: (field, value as compared).
    pub matches: Option<Vec<(i64, String)>>,
}

/// An observation that waits for a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The record.
    pub record: i64,
    /// The field.
    pub field: i64,
    /// The value that was read, JSON.
    pub value: String,
    /// Ours: when it is read again.
    pub until: Timestamp,
}

pub(super) fn record_row(row: &Row, at: usize) -> Result<RecordRow, Error> {
    Ok(RecordRow {
        id: row.get(at),
        key: Key(row.get(at + 1)),
        gone: row.get(at + 2),
        merged_into: row.get::<Option<String>>(at + 3).map(Key),
        seen: from_json(row.get::<&str>(at + 4))?,
        changed: row.get(at + 5),
    })
}

impl Transaction<'_> {
    /// The records with these keys; those that are not known are left out.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn records_by_key(&mut self, source: i64, keys: &[&Key]) -> Result<Vec<RecordRow>, Error> {
        let query = statement(
            "SELECT r.id, r.key, r.gone, r.merged_into, r.seen, r.changed
             FROM json_each(?2) AS k CROSS JOIN record AS r ON r.source = ?1 AND r.key = k.value",
        )
        .bind(source)
        .bind(json(keys)?);
        let rows = self.database.rows(query).await?;
        rows.iter().map(|row| record_row(row, 0)).collect()
    }

    /// The records with these ids; those that are gone from the checkpoint are left out.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn records_by_id(&mut self, ids: &[i64]) -> Result<Vec<RecordRow>, Error> {
        let query = statement(
            "SELECT r.id, r.key, r.gone, r.merged_into, r.seen, r.changed FROM json_each(?1) AS k CROSS JOIN record AS r ON r.id = k.value",
        )
        .bind(json(ids)?);
        let rows = self.database.rows(query).await?;
        rows.iter().map(|row| record_row(row, 0)).collect()
    }

    /// Takes the next change number.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn next_change(&mut self) -> Result<i64, Error> {
        let query = statement("UPDATE counter SET change = change + 1 RETURNING change");
        Ok(self.one(query).await?.get(0))
    }

    /// The change number of the newest change.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn newest_change(&mut self) -> Result<i64, Error> {
        let query = statement("SELECT change FROM counter");
        Ok(self.one(query).await?.get(0))
    }

    /// Writes records, in four statements whatever their number. Answers the id of each, by key.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_records(
        &mut self,
        source: i64,
        change: i64,
        saves: &[RecordSave],
    ) -> Result<Vec<(Key, i64)>, Error> {
        if saves.is_empty() {
            return Ok(Vec::new());
        }
        let rows = saves
            .iter()
            .map(|save| Ok((&save.key, i64::from(save.gone), &save.merged_into, json(&save.seen)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let query = statement(
            "INSERT INTO record (source, key, gone, merged_into, seen, changed)
             SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?2 FROM json_each(?3) WHERE true
             ON CONFLICT (source, key) DO UPDATE SET gone = excluded.gone, merged_into = excluded.merged_into,
                 seen = excluded.seen, changed = excluded.changed
             RETURNING key, id",
        )
        .bind(source)
        .bind(change)
        .bind(json(&rows)?);
        let rows = self.database.rows(query).await?;
        let ids: Vec<(Key, i64)> = rows.iter().map(|row| (Key(row.get(0)), row.get(1))).collect();
        self.save_matches(saves, &ids).await?;
        Ok(ids)
    }

    async fn save_matches(&mut self, saves: &[RecordSave], ids: &[(Key, i64)]) -> Result<(), Error> {
        let by_key: std::collections::HashMap<&Key, i64> = ids.iter().map(|(key, id)| (key, *id)).collect();
        let mut known = Vec::new();
        let mut values = Vec::new();
        for save in saves {
            let (Some(matches), Some(id)) = (&save.matches, by_key.get(&save.key)) else { continue };
            if !save.is_new {
                known.push(*id);
            }
            values.extend(matches.iter().map(|(field, value)| (*field, value.as_str(), *id)));
        }
        if !known.is_empty() {
            let delete = statement("DELETE FROM match_value WHERE record IN (SELECT value FROM json_each(?1))")
                .bind(json(&known)?);
            self.database.execute(delete).await?;
        }
        if values.is_empty() {
            return Ok(());
        }
        values.sort_unstable();
        let insert = statement(
            "INSERT INTO match_value (field, value, record)
             SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(json(&values)?);
        self.database.execute(insert).await?;
        Ok(())
    }

    /// Writes what was seen of records that are known, by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_seen(&mut self, change: i64, records: &[(i64, &SeenRecord)]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let rows = records.iter().map(|(id, seen)| Ok((*id, json(seen)?))).collect::<Result<Vec<_>, Error>>()?;
        let query = statement(
            "UPDATE record SET seen = n.seen, changed = ?1
             FROM (SELECT value ->> 0 AS id, value ->> 1 AS seen FROM json_each(?2)) AS n WHERE record.id = n.id",
        )
        .bind(change)
        .bind(json(&rows)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Has the next pass look at these records as if they had changed, and at whoever could be linked to them.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn touch_records(&mut self, records: &[i64]) -> Result<(), Error> {
        let change = self.next_change().await?;
        let query = statement("UPDATE record SET changed = ?1 WHERE id IN (SELECT value FROM json_each(?2))")
            .bind(change)
            .bind(json(records)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Notes that a sweep in progress has met these records.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn mark_swept(&mut self, records: &[i64]) -> Result<(), Error> {
        let query = statement(
            "INSERT INTO temp.swept (record) SELECT value FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(json(records)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Forgets which records a sweep of this source has met.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn clear_swept(&mut self, source: i64) -> Result<(), Error> {
        let query =
            statement("DELETE FROM temp.swept WHERE record IN (SELECT id FROM record WHERE source = ?1)").bind(source);
        self.database.execute(query).await?;
        Ok(())
    }

    /// The next records, by id, that are thought to be there and that the sweep has not met.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn not_swept(&mut self, source: i64, after: i64, limit: usize) -> Result<Vec<(i64, Key)>, Error> {
        let query = statement(
            "SELECT id, key FROM record WHERE source = ?1 AND gone = 0 AND id > ?2
                AND id NOT IN (SELECT record FROM temp.swept) ORDER BY id LIMIT ?3",
        )
        .bind(source)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), Key(row.get(1)))).collect())
    }

    /// How many records of a source are there.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn count_records(&mut self, source: i64) -> Result<u64, Error> {
        let query = statement("SELECT count(*) FROM record WHERE source = ?1 AND gone = 0").bind(source);
        let row = self.one(query).await?;
        Ok(u64::try_from(row.get::<i64>(0)).unwrap_or(0))
    }

    /// Forgets the next records of a source that no link, also none that ended by itself, no creation, nothing that is held and no
    /// open attempt names. How many. The
    /// newest of all stays: its number must not be given to another.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_strangers(&mut self, source: i64, limit: usize) -> Result<u64, Error> {
        let query = statement(
            "DELETE FROM record WHERE id IN (
                SELECT r.id FROM record AS r WHERE r.source = ?1 AND r.id < (SELECT max(id) FROM record)
                   AND NOT EXISTS (SELECT 1 FROM link AS l WHERE l.store_record = r.id)
                   AND NOT EXISTS (SELECT 1 FROM link AS l WHERE l.crm_record = r.id)
                   AND NOT EXISTS (SELECT 1 FROM former AS f WHERE f.store_record = r.id)
                   AND NOT EXISTS (SELECT 1 FROM former AS f WHERE f.crm_record = r.id)
                   AND NOT EXISTS (SELECT 1 FROM held AS h WHERE h.record = r.id)
                   AND NOT EXISTS (SELECT 1 FROM creation AS c WHERE c.record = r.id)
                   AND NOT EXISTS (SELECT 1 FROM history AS a WHERE a.record = r.id AND a.open = 1)
                LIMIT ?2)",
        )
        .bind(source)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.database.execute(query).await
    }

    /// The keys of records that nobody has seen and that linked ones were merged into.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unmet_successors(&mut self, source: i64, limit: usize) -> Result<Vec<Key>, Error> {
        let query = statement(
            "SELECT DISTINCT r.merged_into FROM record AS r WHERE r.source = ?1 AND r.merged_into IS NOT NULL
                AND EXISTS (SELECT 1 FROM link AS l WHERE l.store_record = r.id OR l.crm_record = r.id)
                AND NOT EXISTS (SELECT 1 FROM record AS n WHERE n.source = ?1 AND n.key = r.merged_into)
             ORDER BY r.merged_into LIMIT ?2",
        )
        .bind(source)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| Key(row.get(0))).collect())
    }

    /// What waits for a second look, of these records.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn waiting_of(&mut self, records: &[i64]) -> Result<Vec<Waiting>, Error> {
        let query = statement(
            "SELECT w.record, w.field, w.value, w.until FROM json_each(?1) AS k CROSS JOIN waiting AS w ON w.record = k.value",
        )
        .bind(json(records)?);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(waiting_row).collect())
    }

    /// Records of this source whose second look is due: (record, key), at most `limit`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn waiting_due(&mut self, source: i64, now: Timestamp, limit: usize) -> Result<Vec<(i64, Key)>, Error> {
        let query = statement(
            "SELECT DISTINCT r.id, r.key FROM waiting AS w CROSS JOIN record AS r ON r.id = w.record
             WHERE r.source = ?1 AND w.until <= ?2 ORDER BY r.id LIMIT ?3",
        )
        .bind(source)
        .bind(now.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), Key(row.get(1)))).collect())
    }

    /// Adds, replaces and removes what waits for a second look.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_waiting(&mut self, add: &[Waiting], remove: &[(i64, i64)]) -> Result<(), Error> {
        if !remove.is_empty() {
            let query = statement(
                "DELETE FROM waiting WHERE (record, field) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))",
            )
            .bind(json(remove)?);
            self.database.execute(query).await?;
        }
        if !add.is_empty() {
            let rows: Vec<_> = add.iter().map(|row| (row.record, row.field, row.value.as_str(), row.until)).collect();
            let query = statement(
                "INSERT INTO waiting (record, field, value, until)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1) WHERE true
                 ON CONFLICT (record, field) DO UPDATE SET value = excluded.value, until = excluded.until",
            )
            .bind(json(&rows)?);
            self.database.execute(query).await?;
        }
        Ok(())
    }

    /// The match values of these records for these fields, and all that share them on the other side:
    /// for each value, the records (that are not gone) of the given field.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn records_with_match(&mut self, field: i64, values: &[&str]) -> Result<Vec<(String, i64)>, Error> {
        let query = statement(
            "SELECT m.value, m.record FROM json_each(?2) AS v
             CROSS JOIN match_value AS m ON m.field = ?1 AND m.value = v.value
             CROSS JOIN record AS r ON r.id = m.record WHERE r.gone = 0 ORDER BY m.value, m.record",
        )
        .bind(field)
        .bind(json(values)?);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}

pub(super) fn waiting_row(row: &Row) -> Waiting {
    Waiting { record: row.get(0), field: row.get(1), value: row.get(2), until: Timestamp::from_millis(row.get(3)) }
}
