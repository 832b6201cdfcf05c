//! Sources, their fields, feeds and cursors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::database::{Row, statement};
use super::{Error, Transaction, from_json, json};
use crate::model::{FieldShape, Side, Timestamp};

/// One store or CRM, as it is remembered.
#[derive(Clone, Debug)]
pub struct SourceRow {
    /// Its id in the checkpoint.
    pub id: i64,
    /// Which side it is on.
    pub side: Side,
    /// Its label.
    pub name: String,
    /// What it says of itself, once it was reached.
    pub identity: Option<String>,
    /// Whether a person paused it.
    pub paused: bool,
    /// For people: `ok`, `unauthorized`, …
    pub state: String,
    /// Why, where it is not `ok`.
    pub reason: Option<String>,
    /// Its clock minus ours, in milliseconds.
    pub offset_ms: i64,
    /// Ours: when a feed was last read to its end.
    pub read_at: Option<Timestamp>,
    /// Ours: when a sweep last ended cleanly.
    pub swept_at: Option<Timestamp>,
    /// Changes that the last sweep found and the feeds had missed.
    pub drift: u64,
    /// The quota as last told, JSON.
    pub quota: Option<String>,
    /// Whether the last sweep read only linked records and those that unlinked ones on the other side may be.
    pub by_key: bool,
}

/// One field of a source.
#[derive(Clone, Debug)]
pub struct FieldRow {
    /// Its id in the checkpoint.
    pub id: i64,
    /// Its name at the source.
    pub name: String,
    /// The source's id for its definition.
    pub definition: Option<String>,
    /// What it can hold, as last seen.
    pub shape: Option<FieldShape>,
    /// Set when the definition is gone or is another one now.
    pub changed: Option<String>,
    /// Whether a clean sweep has read it since it was last put into a mapping.
    pub swept: bool,
    /// Whether its values are in the index that links are found by.
    pub indexed: bool,
}

/// How far one feed has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The source's own time.
    pub at: Timestamp,
    /// Ours: when it was last read from the cursor minus the whole overlap.
    pub overlapped_at: Timestamp,
}

const SOURCE_COLUMNS: &str = "SELECT id, side, name, identity, paused, state, reason, offset_ms, read_at, swept_at, drift, quota, by_key FROM source";

fn source_row(row: &Row) -> SourceRow {
    SourceRow {
        id: row.get(0),
        side: if row.get::<String>(1) == "store" { Side::Store } else { Side::Crm },
        name: row.get(2),
        identity: row.get(3),
        paused: row.get(4),
        state: row.get(5),
        reason: row.get(6),
        offset_ms: row.get(7),
        read_at: row.get::<Option<i64>>(8).map(Timestamp::from_millis),
        swept_at: row.get::<Option<i64>>(9).map(Timestamp::from_millis),
        drift: u64::try_from(row.get::<i64>(10)).unwrap_or(0),
        quota: row.get(11),
        by_key: row.get(12),
    }
}

impl Transaction<'_> {
    /// All sources, by side and name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sources(&mut self) -> Result<Vec<SourceRow>, Error> {
        let sql = format!("{SOURCE_COLUMNS} ORDER BY side, name");
        let rows = self.database.rows(statement(sql)).await?;
        Ok(rows.iter().map(source_row).collect())
    }

    /// The source with this label.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn source(&mut self, side: Side, name: &str) -> Result<Option<SourceRow>, Error> {
        let sql = format!("{SOURCE_COLUMNS} WHERE side = ?1 AND name = ?2");
        let query = statement(sql).bind(side.as_str()).bind(name);
        let row = self.first(query).await?;
        Ok(row.as_ref().map(source_row))
    }

    /// The source with this identity under this label: made where there is none, relabelled where it has another label.
    ///
    /// # Errors
    /// [`Error::AnotherSystem`] when the label means another system; else when the database refuses.
    pub async fn bind_source(&mut self, side: Side, name: &str, identity: &str) -> Result<SourceRow, Error> {
        if let Some(known) = self.source(side, name).await? {
            match known.identity {
                Some(ref other) if other != identity => {
                    return Err(Error::AnotherSystem {
                        side: side.as_str(),
                        name: name.to_owned(),
                        known: other.clone(),
                        found: identity.to_owned(),
                    });
                }
                Some(_) => return Ok(known),
                None => {}
            }
        }
        self.give_way(side, name, identity).await?;
        let query = statement(
            "INSERT INTO source (side, name, identity) VALUES (?1, ?2, ?3)
             ON CONFLICT (side, identity) WHERE identity IS NOT NULL DO UPDATE SET name = excluded.name
             ON CONFLICT (side, name) DO UPDATE SET identity = excluded.identity",
        )
        .bind(side.as_str())
        .bind(name)
        .bind(identity);
        self.database.execute(query).await?;
        self.source(side, name).await?.ok_or_else(|| Error::Encoding("a source that was just recorded".to_owned()))
    }

    /// A row that only says that a label was paused or failed before its first contact gives way to the system that
    /// was known under another label; what a person said of it stays.
    async fn give_way(&mut self, side: Side, name: &str, identity: &str) -> Result<(), Error> {
        let statements: [&'static str; 2] = [
            "UPDATE source SET paused = 1 WHERE side = ?1 AND identity = ?3 AND EXISTS
                (SELECT 1 FROM source WHERE side = ?1 AND name = ?2 AND identity IS NULL AND paused = 1)",
            "DELETE FROM source WHERE side = ?1 AND name = ?2 AND identity IS NULL AND EXISTS
                (SELECT 1 FROM source WHERE side = ?1 AND identity = ?3)",
        ];
        for sql in statements {
            let query = statement(sql).bind(side.as_str()).bind(name).bind(identity);
            self.database.execute(query).await?;
        }
        Ok(())
    }

    /// Makes a source known by its label alone, before its first contact; nothing where it is known.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn know_source(&mut self, side: Side, name: &str) -> Result<(), Error> {
        let query = statement("INSERT INTO source (side, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(side.as_str())
            .bind(name);
        self.database.execute(query).await?;
        Ok(())
    }

    /// The fields with these names, in their order; made where they are new.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn bind_fields(&mut self, source: i64, names: &[String]) -> Result<Vec<FieldRow>, Error> {
        let names_json = json(names)?;
        let insert = statement(
            "INSERT INTO field (source, name) SELECT ?1, value FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(source)
        .bind(names_json.as_str());
        self.database.execute(insert).await?;
        // A field that no mapping names any more is not read any more: put back, it must be read again.
        let unread = statement(
            "UPDATE field SET swept = 0, indexed = 0 WHERE source = ?1 AND (swept = 1 OR indexed = 1)
                AND name NOT IN (SELECT value FROM json_each(?2))",
        )
        .bind(source)
        .bind(names_json.as_str());
        self.database.execute(unread).await?;
        self.known_fields(source, names).await
    }

    /// The fields with these names, in their order; those that are not known are left out.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn known_fields(&mut self, source: i64, names: &[String]) -> Result<Vec<FieldRow>, Error> {
        let names_json = json(names)?;
        let select = statement(
            "SELECT f.id, f.name, f.definition, f.shape, f.changed, f.swept, f.indexed
             FROM json_each(?2) AS n CROSS JOIN field AS f ON f.source = ?1 AND f.name = n.value ORDER BY n.key",
        )
        .bind(source)
        .bind(names_json.as_str());
        let rows = self.database.rows(select).await?;
        rows.iter()
            .map(|row| {
                Ok(FieldRow {
                    id: row.get(0),
                    name: row.get(1),
                    definition: row.get(2),
                    shape: row.get::<Option<String>>(3).as_deref().map(from_json).transpose()?,
                    changed: row.get(4),
                    swept: row.get(5),
                    indexed: row.get(6),
                })
            })
            .collect()
    }

    /// Records how the source defines a field.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_field(&mut self, field: &FieldRow) -> Result<(), Error> {
        let shape = field.shape.as_ref().map(json).transpose()?;
        let query = statement("UPDATE field SET definition = ?2, shape = ?3, changed = ?4 WHERE id = ?1")
            .bind(field.id)
            .bind(field.definition.as_deref())
            .bind(shape)
            .bind(field.changed.as_deref());
        self.database.execute(query).await?;
        Ok(())
    }

    /// How far each feed of a source has been read.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn cursors(&mut self, source: i64) -> Result<BTreeMap<String, Cursor>, Error> {
        let query = statement("SELECT cursors FROM source WHERE id = ?1").bind(source);
        let row = self.first(query).await?;
        row.map_or_else(|| Ok(BTreeMap::new()), |row| from_json(row.get::<&str>(0)))
    }

    /// Records that the feeds of a source were read to their end: how far, and what its clock and quota said. One row.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_read(
        &mut self,
        source: i64,
        at: Timestamp,
        cursors: &BTreeMap<String, Cursor>,
        offset_ms: i64,
        quota: Option<&str>,
    ) -> Result<(), Error> {
        let query = statement(
            "UPDATE source SET read_at = ?2, cursors = ?3, offset_ms = ?4, quota = coalesce(?5, quota),
                    state = 'ok', reason = NULL WHERE id = ?1",
        )
        .bind(source)
        .bind(at.as_millis())
        .bind(json(cursors)?)
        .bind(offset_ms)
        .bind(quota);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Makes the next read of every source a sweep.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sweep_all_again(&mut self) -> Result<(), Error> {
        let query = statement("UPDATE source SET swept_at = NULL");
        self.database.execute(query).await?;
        Ok(())
    }

    /// Records that a sweep ended cleanly, and whether it read by key.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_swept(&mut self, source: i64, at: Timestamp, drift: u64, by_key: bool) -> Result<(), Error> {
        let query = statement("UPDATE source SET swept_at = ?2, drift = ?3, by_key = ?4 WHERE id = ?1")
            .bind(source)
            .bind(at.as_millis())
            .bind(i64::try_from(drift).unwrap_or(i64::MAX))
            .bind(by_key);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Records that a clean sweep has read these fields, and indexed those that links are found by.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_fields_swept(&mut self, fields: &[i64], indexed: &[i64]) -> Result<(), Error> {
        let query = statement("UPDATE field SET swept = 1 WHERE swept = 0 AND id IN (SELECT value FROM json_each(?1))")
            .bind(json(fields)?);
        self.database.execute(query).await?;
        let query =
            statement("UPDATE field SET indexed = 1 WHERE indexed = 0 AND id IN (SELECT value FROM json_each(?1))")
                .bind(json(indexed)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Takes the definitions that these mapped fields have now for theirs: what was known of the old ones, seen or agreed,
    /// says nothing about them, so their sources are read whole before anything is decided.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn accept_definitions(&mut self, mapped: &[i64]) -> Result<(), Error> {
        let list = json(mapped)?;
        let statements: [&'static str; 5] = [
            // What the old definition held says nothing of the new one: it is unseen, and so no clear comes of it.
            "UPDATE record SET seen = (SELECT json_group_array(json(c.value)) FROM json_each(record.seen) AS c
                WHERE c.value ->> 0 NOT IN (SELECT f.id FROM field AS f WHERE f.source = record.source AND f.changed IS NOT NULL))
             WHERE source IN (SELECT f.source FROM field AS f JOIN mapped AS m ON f.id IN (m.store_field, m.crm_field)
                WHERE m.id IN (SELECT value FROM json_each(?1)) AND f.changed IS NOT NULL)",
            "UPDATE source SET swept_at = NULL WHERE id IN (SELECT f.source FROM field AS f JOIN mapped AS m
                ON f.id IN (m.store_field, m.crm_field) WHERE m.id IN (SELECT value FROM json_each(?1)) AND f.changed IS NOT NULL)",
            "UPDATE field SET definition = NULL, changed = NULL, swept = 0 WHERE changed IS NOT NULL AND id IN (
                SELECT store_field FROM mapped WHERE id IN (SELECT value FROM json_each(?1))
                UNION SELECT crm_field FROM mapped WHERE id IN (SELECT value FROM json_each(?1)))",
            "UPDATE link SET agreed = (SELECT json_group_object(key, json(CASE type WHEN 'array' THEN value ELSE json_quote(value) END))
                FROM json_each(link.agreed) WHERE key NOT IN (SELECT CAST(value AS TEXT) FROM json_each(?1)))
             WHERE pair IN (SELECT pair FROM mapped WHERE id IN (SELECT value FROM json_each(?1)))",
            "UPDATE pair SET decided = 0 WHERE id IN (SELECT pair FROM mapped WHERE id IN (SELECT value FROM json_each(?1)))",
        ];
        for sql in statements {
            let query = statement(sql).bind(list.as_str());
            self.database.execute(query).await?;
        }
        Ok(())
    }

    /// Makes the next passes of all pairs of this source look at every link.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn look_again(&mut self, source: i64) -> Result<(), Error> {
        let query = statement("UPDATE pair SET decided = 0 WHERE store = ?1 OR crm = ?1").bind(source);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Records the state of a source for people. Makes the source where it was never reached.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_state(&mut self, side: Side, name: &str, state: &str, reason: Option<&str>) -> Result<(), Error> {
        let query = statement(
            "INSERT INTO source (side, name, state, reason) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (side, name) DO UPDATE SET state = excluded.state, reason = excluded.reason",
        )
        .bind(side.as_str())
        .bind(name)
        .bind(state)
        .bind(reason);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Pauses or resumes every source with this label; how many there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_paused(&mut self, name: &str, paused: bool) -> Result<u64, Error> {
        let query = statement("UPDATE source SET paused = ?2 WHERE name = ?1").bind(name).bind(paused);
        self.database.execute(query).await
    }

    /// Whether a person paused the source.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_paused(&mut self, source: i64) -> Result<bool, Error> {
        let query = statement("SELECT paused FROM source WHERE id = ?1").bind(source);
        let row = self.first(query).await?;
        Ok(row.is_some_and(|row| row.get(0)))
    }

    /// Drops all that is remembered of the sources with this label, with the history of their pairs; how many there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_source(&mut self, name: &str) -> Result<u64, Error> {
        let statements: [&'static str; 5] = [
            "DELETE FROM link WHERE pair IN (SELECT id FROM pair WHERE store IN (SELECT id FROM source WHERE name = ?1)
                OR crm IN (SELECT id FROM source WHERE name = ?1))",
            "DELETE FROM history WHERE pair IN (SELECT id FROM pair
                WHERE store IN (SELECT id FROM source WHERE name = ?1) OR crm IN (SELECT id FROM source WHERE name = ?1))",
            "DELETE FROM mapped WHERE pair IN (SELECT id FROM pair WHERE store IN (SELECT id FROM source WHERE name = ?1)
                OR crm IN (SELECT id FROM source WHERE name = ?1))",
            "DELETE FROM pair WHERE store IN (SELECT id FROM source WHERE name = ?1)
                OR crm IN (SELECT id FROM source WHERE name = ?1)",
            "DELETE FROM source WHERE name = ?1",
        ];
        let mut forgotten = 0;
        for sql in statements {
            let query = statement(sql).bind(name);
            forgotten = self.database.execute(query).await?;
        }
        Ok(forgotten)
    }
}
