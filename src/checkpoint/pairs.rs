//! Pairs, their mapped fields, the work of a pass, and what rails stopped.

use std::collections::BTreeSet;

use super::database::{Row, statement};
use super::{Error, Transaction, json};
use crate::model::Timestamp;

/// One store with one CRM.
#[derive(Clone, Debug)]
pub struct PairRow {
    /// Its id in the checkpoint.
    pub id: i64,
    /// Fingerprint of all that decides, as of the last pass.
    pub mapping: String,
    /// Fingerprint of `match` and `only`, as of the last pass.
    pub matching: String,
    /// The change number up to which its links were looked at.
    pub decided: i64,
    /// Ours: when a pass first completed, with nothing kept from being written.
    pub first_pass_at: Option<Timestamp>,
    /// Ours: when a pass last completed.
    pub passed_at: Option<Timestamp>,
    /// The balance of the last pass, JSON.
    pub pass: Option<String>,
    /// The checkpoint was older than the sides: compare only, write nothing.
    pub behind: Behind,
    /// The rails that stopped it, JSON.
    pub stopped: Option<String>,
    /// Ours: when a person approved what was stopped.
    pub approved_at: Option<Timestamp>,
}

/// A pair, by the labels of its sources.
#[derive(Clone, Debug)]
pub struct PairNames {
    /// Its id in the checkpoint.
    pub id: i64,
    /// The store.
    pub store_id: i64,
    /// The CRM.
    pub crm_id: i64,
    /// The CRM's label.
    pub crm: String,
}

/// A field of a mapping.
#[derive(Clone, Debug)]
pub struct MappedRow {
    /// Its id in the checkpoint; agreed values belong to it.
    pub id: i64,
    /// The store's field.
    pub store_field: i64,
    /// The CRM's field.
    pub crm_field: i64,
    /// The rule as it was last, JSON.
    pub rule: String,
}

/// One change that a rail stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The link.
    pub link: i64,
    /// The mapped field; 0: the link itself.
    pub mapped: i64,
    /// Side and value, as one text.
    pub value: String,
}

fn pair_row(row: &Row) -> PairRow {
    let time = |index: usize| row.get::<Option<i64>>(index).map(Timestamp::from_millis);
    PairRow {
        id: row.get(0),
        mapping: row.get(1),
        matching: row.get(2),
        decided: row.get(3),
        first_pass_at: time(4),
        passed_at: time(5),
        pass: row.get(6),
        behind: Behind::of(row.get(7)),
        stopped: row.get(8),
        approved_at: time(9),
    }
}

const PAIR: &str =
    "SELECT id, mapping, matching, decided, first_pass_at, passed_at, pass, behind, stopped, approved_at FROM pair";

/// Whether a checkpoint is older than what the sides hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behind {
    /// It is not.
    #[default]
    No,
    /// It looks so: people may have done the same on both sides.
    Suspected,
    /// It was restored from a copy.
    Certain,
}

impl Behind {
    const fn of(number: i64) -> Self {
        match number {
            0 => Self::No,
            2 => Self::Suspected,
            _ => Self::Certain,
        }
    }

    const fn number(self) -> i64 {
        match self {
            Self::No => 0,
            Self::Suspected => 2,
            Self::Certain => 1,
        }
    }

    /// Whether a pass compares only.
    pub const fn compares_only(self) -> bool {
        !matches!(self, Self::No)
    }
}

impl Transaction<'_> {
    /// The pair of these two sources, made where it is new.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn bind_pair(&mut self, store: i64, crm: i64) -> Result<PairRow, Error> {
        let insert =
            statement("INSERT INTO pair (store, crm) VALUES (?1, ?2) ON CONFLICT DO NOTHING").bind(store).bind(crm);
        self.database.execute(insert).await?;
        let pair = self.pair_of(store, crm).await?;
        pair.ok_or_else(|| Error::Encoding("a pair that was just recorded".to_owned()))
    }

    /// The pair of these two sources.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn pair_of(&mut self, store: i64, crm: i64) -> Result<Option<PairRow>, Error> {
        let sql = format!("{PAIR} WHERE store = ?1 AND crm = ?2");
        let query = statement(sql).bind(store).bind(crm);
        Ok(self.first(query).await?.as_ref().map(pair_row))
    }

    /// The pair as it is now.
    ///
    /// # Errors
    /// When the database refuses, or the pair was forgotten.
    pub async fn pair(&mut self, pair: i64) -> Result<PairRow, Error> {
        let sql = format!("{PAIR} WHERE id = ?1");
        let query = statement(sql).bind(pair);
        let row = self.first(query).await?;
        row.as_ref().map(pair_row).ok_or_else(|| Error::Encoding("a pair that was forgotten".to_owned()))
    }

    /// The pairs of a store, by label.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn pairs_by_name(&mut self, store: &str) -> Result<Vec<PairNames>, Error> {
        let query = statement(
            "SELECT p.id, p.store, p.crm, c.name FROM pair AS p CROSS JOIN source AS s ON s.id = p.store
             CROSS JOIN source AS c ON c.id = p.crm WHERE s.name = ?1 ORDER BY p.id",
        )
        .bind(store);
        let rows = self.database.rows(query).await?;
        Ok(rows
            .iter()
            .map(|row| PairNames { id: row.get(0), store_id: row.get(1), crm_id: row.get(2), crm: row.get(3) })
            .collect())
    }

    /// Makes the next pass of a pair look at everything.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn look_again_at_pair(&mut self, pair: i64) -> Result<(), Error> {
        let query = statement("UPDATE pair SET decided = 0 WHERE id = ?1").bind(pair);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Of these links, those that are in the work of the pair.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn in_work(&mut self, pair: i64, links: &[i64]) -> Result<BTreeSet<i64>, Error> {
        let query = statement(
            "SELECT w.link FROM json_each(?2) AS k CROSS JOIN temp.work AS w ON w.pair = ?1 AND w.link = k.value",
        )
        .bind(pair)
        .bind(json(links)?);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The mapped fields of a pair.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn mapped(&mut self, pair: i64) -> Result<Vec<MappedRow>, Error> {
        let query = statement(
            "SELECT id, store_field, crm_field, rule FROM mapped WHERE pair = ?1 AND removed_at IS NULL ORDER BY id",
        )
        .bind(pair);
        let rows = self.database.rows(query).await?;
        Ok(rows
            .iter()
            .map(|row| MappedRow { id: row.get(0), store_field: row.get(1), crm_field: row.get(2), rule: row.get(3) })
            .collect())
    }

    /// Adds a mapped field; its id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_mapped(&mut self, pair: i64, store_field: i64, crm_field: i64, rule: &str) -> Result<i64, Error> {
        let query =
            statement("INSERT INTO mapped (pair, store_field, crm_field, rule) VALUES (?1, ?2, ?3, ?4) RETURNING id")
                .bind(pair)
                .bind(store_field)
                .bind(crm_field)
                .bind(rule);
        Ok(self.one(query).await?.get(0))
    }

    /// Takes a field out of the mapping: what was agreed in it is forgotten with its id, and nobody needs to decide it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_mapped(&mut self, mapped: i64, at: Timestamp) -> Result<(), Error> {
        let query = statement("UPDATE mapped SET removed_at = ?2 WHERE id = ?1").bind(mapped).bind(at.as_millis());
        self.database.execute(query).await?;
        let query = statement("DELETE FROM held WHERE mapped = ?1").bind(mapped);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Records a mapped field's rule.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_mapped_rule(&mut self, mapped: i64, rule: &str) -> Result<(), Error> {
        let query = statement("UPDATE mapped SET rule = ?2 WHERE id = ?1").bind(mapped).bind(rule);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Records the fingerprints of the mapping; every link is looked at again.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_mapping(&mut self, pair: i64, mapping: &str, matching: &str) -> Result<(), Error> {
        let query = statement("UPDATE pair SET mapping = ?2, matching = ?3, decided = 0 WHERE id = ?1")
            .bind(pair)
            .bind(mapping)
            .bind(matching);
        self.database.execute(query).await?;
        Ok(())
    }

    /// The links that a pass must look at: those with something left to do, and those with a record that changed since
    /// the last pass. Counts them, in ascending order of id in `temp.work`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn gather_work(&mut self, pair: i64, store: i64, crm: i64, since: i64) -> Result<u64, Error> {
        let clear = statement("DELETE FROM temp.work WHERE pair = ?1").bind(pair);
        self.database.execute(clear).await?;
        let query = statement(
            "INSERT INTO temp.work (pair, link)
             SELECT ?1, id FROM link WHERE pair = ?1 AND unsettled IS NOT NULL
             UNION SELECT ?1, l.id FROM record AS r CROSS JOIN link AS l ON l.pair = ?1 AND l.store_record = r.id
                   WHERE r.source = ?2 AND r.changed > ?4
             UNION SELECT ?1, l.id FROM record AS r CROSS JOIN link AS l ON l.pair = ?1 AND l.crm_record = r.id
                   WHERE r.source = ?3 AND r.changed > ?4",
        )
        .bind(pair)
        .bind(store)
        .bind(crm)
        .bind(since);
        self.database.execute(query).await
    }

    /// Makes exactly these links the work of the pass.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_work(&mut self, pair: i64, links: &[i64]) -> Result<(), Error> {
        let clear = statement("DELETE FROM temp.work WHERE pair = ?1").bind(pair);
        self.database.execute(clear).await?;
        let query = statement(
            "INSERT INTO temp.work (pair, link) SELECT ?1, value FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(pair)
        .bind(json(links)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Makes the pair's links that are newer than this one, and these as far as they are left, the work of the pass.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_work_since(&mut self, pair: i64, newer_than: i64, links: &[i64]) -> Result<(), Error> {
        let clear = statement("DELETE FROM temp.work WHERE pair = ?1").bind(pair);
        self.database.execute(clear).await?;
        let query = statement(
            "INSERT INTO temp.work (pair, link)
             SELECT pair, id FROM link WHERE pair = ?1 AND id > ?2
             UNION SELECT l.pair, l.id FROM json_each(?3) AS k CROSS JOIN link AS l ON l.id = k.value WHERE l.pair = ?1",
        )
        .bind(pair)
        .bind(newer_than)
        .bind(json(links)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// The next links of the work, by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn work(&mut self, pair: i64, after: i64, limit: usize) -> Result<Vec<i64>, Error> {
        let query = statement("SELECT link FROM temp.work WHERE pair = ?1 AND link > ?2 ORDER BY link LIMIT ?3")
            .bind(pair)
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Records that a pass ended: how far it decided, and its balance. `complete`: nothing kept it from writing what it
    /// found; a pair's first pass lasts until one is.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_pass(
        &mut self,
        pair: i64,
        decided: i64,
        at: Timestamp,
        balance: &str,
        complete: bool,
    ) -> Result<(), Error> {
        let query = statement(
            "UPDATE pair SET decided = ?2, passed_at = ?3, pass = ?4, first_pass_at = CASE WHEN ?5 THEN coalesce(first_pass_at, ?3) ELSE first_pass_at END WHERE id = ?1",
        )
        .bind(pair)
        .bind(decided)
        .bind(at.as_millis())
        .bind(balance)
        .bind(complete);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Takes the next pass number.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn next_pass(&mut self) -> Result<i64, Error> {
        let query = statement("UPDATE counter SET pass = pass + 1 RETURNING pass");
        Ok(self.one(query).await?.get(0))
    }

    /// Marks every pair: the checkpoint is older than what the sides hold.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_behind(&mut self, behind: Behind, pair: Option<i64>) -> Result<(), Error> {
        let query = statement(
            "UPDATE pair SET behind = ?1, decided = CASE WHEN ?1 <> 0 THEN 0 ELSE decided END WHERE ?2 IS NULL OR id = ?2",
        )
        .bind(behind.number())
        .bind(pair);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Records which rails stopped the pair, and what they stopped; none: it goes on.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_stopped(&mut self, pair: i64, rails: Option<&str>, at: Timestamp) -> Result<(), Error> {
        let query = statement("UPDATE pair SET stopped = ?2, stopped_at = ?3 WHERE id = ?1")
            .bind(pair)
            .bind(rails)
            .bind(at.as_millis());
        self.database.execute(query).await?;
        let clear = statement("DELETE FROM stopped WHERE pair = ?1 AND approved = 0").bind(pair);
        self.database.execute(clear).await?;
        Ok(())
    }

    /// Adds to what was stopped.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_stopped(&mut self, pair: i64, stopped: &[Stopped]) -> Result<(), Error> {
        if stopped.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = stopped.iter().map(|row| (row.link, row.mapped, row.value.as_str())).collect();
        let query = statement(
            "INSERT INTO stopped (pair, link, mapped, value)
             SELECT ?1, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2) WHERE true
             ON CONFLICT (pair, link, mapped) DO UPDATE SET value = excluded.value, approved = 0",
        )
        .bind(pair)
        .bind(json(&rows)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Lets through what was stopped; how many changes that is.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn approve(&mut self, pair: i64, at: Timestamp) -> Result<u64, Error> {
        let query =
            statement("UPDATE pair SET approved_at = ?2, stopped = NULL WHERE id = ?1").bind(pair).bind(at.as_millis());
        self.database.execute(query).await?;
        let query = statement("UPDATE stopped SET approved = 1 WHERE pair = ?1").bind(pair);
        self.database.execute(query).await
    }

    /// What a person approved of these links, after a moment (ours).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn approved(&mut self, pair: i64, links: &[i64], since: Timestamp) -> Result<Vec<Stopped>, Error> {
        let query = statement(
            "SELECT s.link, s.mapped, s.value FROM json_each(?2) AS k
             CROSS JOIN stopped AS s ON s.pair = ?1 AND s.link = k.value CROSS JOIN pair AS p ON p.id = s.pair
             WHERE s.approved = 1 AND p.approved_at > ?3",
        )
        .bind(pair)
        .bind(json(links)?)
        .bind(since.as_millis());
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| Stopped { link: row.get(0), mapped: row.get(1), value: row.get(2) }).collect())
    }

    /// What the rails count of the last day: (rail, number) of writes, and records removed.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn counted_since(&mut self, pair: i64, since: Timestamp) -> Result<(Vec<(String, u64)>, u64), Error> {
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let query = statement(
            "SELECT counted, count(*) FROM history WHERE pair = ?1 AND at > ?2 AND counted IS NOT NULL
                AND outcome <> 'refused' GROUP BY counted",
        )
        .bind(pair)
        .bind(since.as_millis());
        let rows = self.database.rows(query).await?;
        let writes = rows.iter().map(|row| (row.get(0), number(row.get(1)))).collect();
        let query = statement("SELECT count(*) FROM removal WHERE pair = ?1 AND at > ?2 AND counted = 1")
            .bind(pair)
            .bind(since.as_millis());
        let row = self.one(query).await?;
        Ok((writes, number(row.get(0))))
    }
}
