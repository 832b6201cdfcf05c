//! Forgetting a person: every value, every match value and every write of theirs leaves the checkpoint; the mark that it
//! was done, and keys without values, stay.
//!
//! The record's row stays too, empty and gone: its number may be in the hands of a pass that is under way, and must not be
//! given to somebody else.

use std::collections::BTreeSet;

use super::database::statement;
use super::{Error, Transaction, json};
use crate::model::{Key, Side, Timestamp};

/// What is remembered of one person.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// Their records: their own, those merged into it, and the partners that nobody else is linked to.
    pub records: BTreeSet<i64>,
    /// Their links.
    pub links: BTreeSet<i64>,
    /// Partners that somebody else is linked to as well: (label of their source, key). They are not forgotten.
    pub shared: Vec<(String, Key)>,
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Records that held something.
    pub records: u64,
    /// Links.
    pub links: u64,
    /// Writes in history.
    pub writes: u64,
}

impl Transaction<'_> {
    /// Who somebody is, by the key of their record at a source.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn person(&mut self, source: i64, side: Side, key: &str) -> Result<Person, Error> {
        let mut person = Person::default();
        let query = statement("SELECT id FROM record WHERE source = ?1 AND (key = ?2 OR merged_into = ?2)");
        let rows = self.database.rows(query.bind(source).bind(key)).await?;
        person.records.extend(rows.iter().map(|row| row.get::<i64>(0)));
        let own = json(&person.records)?;
        let query = statement(
            "SELECT l.id, l.crm_record FROM json_each(?1) AS k CROSS JOIN link AS l ON l.store_record = k.value
             UNION ALL SELECT l.id, l.store_record FROM json_each(?1) AS k CROSS JOIN link AS l ON l.crm_record = k.value",
        );
        let rows = self.database.rows(query.bind(own)).await?;
        person.links.extend(rows.iter().map(|row| row.get::<i64>(0)));
        let mut partners: BTreeSet<i64> = rows.iter().map(|row| row.get::<i64>(1)).collect();
        // Whoever was their partner once and is gone.
        let former: &'static str = match side {
            Side::Store => {
                "SELECT DISTINCT r.id FROM history AS h CROSS JOIN pair AS p ON p.id = h.pair
                 CROSS JOIN record AS r ON r.source = p.crm AND r.key = h.crm_key
                 WHERE p.store = ?1 AND h.store_key = ?2 AND r.gone = 1
                 UNION SELECT r.id FROM record AS o CROSS JOIN former AS f ON f.store_record = o.id
                 CROSS JOIN record AS r ON r.id = f.crm_record WHERE o.source = ?1 AND o.key = ?2 AND r.gone = 1"
            }
            Side::Crm => {
                "SELECT DISTINCT r.id FROM history AS h CROSS JOIN pair AS p ON p.id = h.pair
                 CROSS JOIN record AS r ON r.source = p.store AND r.key = h.store_key
                 WHERE p.crm = ?1 AND h.crm_key = ?2 AND r.gone = 1
                 UNION SELECT r.id FROM record AS o CROSS JOIN former AS f ON f.crm_record = o.id
                 CROSS JOIN record AS r ON r.id = f.store_record WHERE o.source = ?1 AND o.key = ?2 AND r.gone = 1"
            }
        };
        let rows = self.database.rows(statement(former).bind(source).bind(key)).await?;
        partners.extend(rows.iter().map(|row| row.get::<i64>(0)));
        // And whoever is gone and was found by the same value: nothing was ever written between them.
        let query = statement(
            "SELECT DISTINCT r.id FROM json_each(?1) AS k CROSS JOIN match_value AS m ON m.record = k.value
             CROSS JOIN pair AS p ON ?2 IN (p.store, p.crm)
             CROSS JOIN field AS f ON f.source = CASE WHEN p.store = ?2 THEN p.crm ELSE p.store END
             CROSS JOIN match_value AS n ON n.field = f.id AND n.value = m.value
             CROSS JOIN record AS r ON r.id = n.record WHERE r.gone = 1",
        );
        let rows = self.database.rows(query.bind(json(&person.records)?).bind(source)).await?;
        partners.extend(rows.iter().map(|row| row.get::<i64>(0)));
        let query = statement(
            "SELECT l.id, r.id, s.name, r.key FROM json_each(?1) AS k CROSS JOIN record AS r ON r.id = k.value
             CROSS JOIN source AS s ON s.id = r.source CROSS JOIN link AS l ON l.store_record = r.id
             UNION ALL SELECT l.id, r.id, s.name, r.key FROM json_each(?1) AS k CROSS JOIN record AS r ON r.id = k.value
             CROSS JOIN source AS s ON s.id = r.source CROSS JOIN link AS l ON l.crm_record = r.id",
        );
        // In one statement with EXISTS, SQLite 3.51.3 misses links: it takes an OR with a further condition for less than it is.
        let rows = self.database.rows(query.bind(json(&partners)?)).await?;
        for row in rows.iter().filter(|row| !person.links.contains(&row.get::<i64>(0))) {
            if partners.remove(&row.get::<i64>(1)) {
                person.shared.push((row.get(2), Key(row.get(3))));
            }
        }
        person.records.extend(partners);
        Ok(person)
    }

    /// Whether a write to a person, or the making of their partner, is under way: it may still take effect.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_under_way(&mut self, person: &Person) -> Result<bool, Error> {
        let query = statement(
            "SELECT EXISTS (SELECT 1 FROM history AS h INDEXED BY history_attempt WHERE h.open = 1
                AND (h.record IN (SELECT value FROM json_each(?1)) OR h.link IN (SELECT value FROM json_each(?2))))
               OR EXISTS (SELECT 1 FROM creation WHERE state = 'open' AND record IN (SELECT value FROM json_each(?1)))",
        );
        Ok(self.one(query.bind(json(&person.records)?).bind(json(&person.links)?)).await?.get(0))
    }

    /// Forgets a person, and marks that it was done.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_person(
        &mut self,
        (source, side, key): (i64, Side, &str),
        person: &Person,
        at: Timestamp,
    ) -> Result<Forgotten, Error> {
        let (records, links) = (json(&person.records)?, json(&person.links)?);
        let count =
            statement("SELECT count(*) FROM record WHERE seen <> '[]' AND id IN (SELECT value FROM json_each(?1))");
        let held = self.one(count.bind(records.as_str())).await?.get::<i64>(0);
        let mut forgotten =
            Forgotten { records: u64::try_from(held).unwrap_or(0), links: person.links.len() as u64, writes: 0 };
        let of_key: &'static str = match side {
            Side::Store => {
                "DELETE FROM history WHERE record IN (SELECT value FROM json_each(?1)) OR link IN (SELECT value FROM json_each(?2))
                    OR (store_key = ?4 AND pair IN (SELECT id FROM pair WHERE store = ?3))"
            }
            Side::Crm => {
                "DELETE FROM history WHERE record IN (SELECT value FROM json_each(?1)) OR link IN (SELECT value FROM json_each(?2))
                    OR (crm_key = ?4 AND pair IN (SELECT id FROM pair WHERE crm = ?3))"
            }
        };
        let query = statement(of_key).bind(records.as_str()).bind(links.as_str()).bind(source).bind(key);
        forgotten.writes = self.database.execute(query).await?;
        let of_links: [&'static str; 3] = [
            "DELETE FROM held WHERE link IN (SELECT value FROM json_each(?1))",
            "DELETE FROM stopped WHERE mapped >= 0 AND link IN (SELECT value FROM json_each(?1))",
            "DELETE FROM link WHERE id IN (SELECT value FROM json_each(?1))",
        ];
        for sql in of_links {
            self.database.execute(statement(sql).bind(links.as_str())).await?;
        }
        let of_records: [&'static str; 8] = [
            "DELETE FROM former WHERE store_record IN (SELECT value FROM json_each(?1))",
            "DELETE FROM former WHERE crm_record IN (SELECT value FROM json_each(?1))",
            "DELETE FROM held WHERE record IN (SELECT value FROM json_each(?1))",
            "DELETE FROM stopped WHERE mapped < 0 AND link IN (SELECT value FROM json_each(?1))",
            "DELETE FROM waiting WHERE record IN (SELECT value FROM json_each(?1))",
            "DELETE FROM match_value WHERE record IN (SELECT value FROM json_each(?1))",
            // Nobody is made anew for whoever is left of them.
            "INSERT INTO creation (pair, record, side, state)
             SELECT p.id, r.id, CASE WHEN p.store = r.source THEN 'crm' ELSE 'store' END, 'declined'
             FROM json_each(?1) AS k CROSS JOIN record AS r ON r.id = k.value
             CROSS JOIN pair AS p ON r.source IN (p.store, p.crm) WHERE true
             ON CONFLICT (pair, record) DO UPDATE SET state = 'declined', field = NULL, value = NULL, sent = NULL, key = NULL",
            "UPDATE record SET seen = '[]', gone = 1, merged_into = NULL WHERE id IN (SELECT value FROM json_each(?1))",
        ];
        for sql in of_records {
            self.database.execute(statement(sql).bind(records.as_str())).await?;
        }
        if forgotten != Forgotten::default() {
            let query = statement(
                "INSERT INTO forgotten (at, source, key)
                 SELECT ?1, ?3, ?4 UNION SELECT ?1, source, key FROM record WHERE id IN (SELECT value FROM json_each(?2))",
            );
            let query = query.bind(at.as_millis()).bind(records.as_str()).bind(source).bind(key);
            self.database.execute(query).await?;
        }
        Ok(forgotten)
    }

    /// When a person was last forgotten, by the key of one of their records.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forgotten_at(&mut self, source: i64, key: &str) -> Result<Option<Timestamp>, Error> {
        let query = statement("SELECT max(at) FROM forgotten WHERE source = ?1 AND key = ?2").bind(source).bind(key);
        Ok(self.one(query).await?.get::<Option<i64>>(0).map(Timestamp::from_millis))
    }
}
