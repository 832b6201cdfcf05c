//! What waits for a person.

use std::collections::BTreeMap;

use super::database::{Row, statement};
use super::{Error, Transaction, json};
use crate::model::{HeldReason, Side, Timestamp};

/// What a person said about a held field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldState {
    /// Nothing yet.
    Held,
    /// Leave both sides as they are until either changes.
    Dropped,
    /// Take this side.
    Take(Side),
    /// Put back on this side what a write of ours replaced there; what that was stands in the detail.
    Undo(Side),
    /// It was put back: leave both sides as they are until either changes.
    Undone,
}

impl HeldState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Dropped => "dropped",
            Self::Take(Side::Store) => "take store",
            Self::Take(Side::Crm) => "take crm",
            Self::Undo(Side::Store) => "undo store",
            Self::Undo(Side::Crm) => "undo crm",
            Self::Undone => "undone",
        }
    }

    fn parse(word: &str) -> Self {
        match word {
            "dropped" => Self::Dropped,
            "take store" => Self::Take(Side::Store),
            "take crm" => Self::Take(Side::Crm),
            "undo store" => Self::Undo(Side::Store),
            "undo crm" => Self::Undo(Side::Crm),
            "undone" => Self::Undone,
            _ => Self::Held,
        }
    }
}

/// A field or record to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHeld {
    /// The link, for a field.
    pub link: Option<i64>,
    /// The mapped field, for a field.
    pub mapped: Option<i64>,
    /// The record, for a record.
    pub record: Option<i64>,
    /// Why.
    pub reason: HeldReason,
    /// JSON: what the store holds.
    pub store_value: String,
    /// JSON: what the CRM holds.
    pub crm_value: String,
    /// A sentence, or the candidates.
    pub detail: Option<String>,
}

/// A held field or record, with what `held` shows.
#[derive(Clone, Debug)]
pub struct HeldRow {
    /// Its number.
    pub id: i64,
    /// The pair.
    pub pair: i64,
    /// The store's label.
    pub store: String,
    /// The CRM's label.
    pub crm: String,
    /// The link, for a field.
    pub link: Option<i64>,
    /// The mapped field, for a field.
    pub mapped: Option<i64>,
    /// The record, for a record.
    pub record: Option<i64>,
    /// The customer's key, where there is one.
    pub store_key: Option<String>,
    /// The contact's key, where there is one.
    pub crm_key: Option<String>,
    /// The field's name; none for a record.
    pub field: Option<String>,
    /// Why.
    pub reason: HeldReason,
    /// Ours.
    pub since: Timestamp,
    /// JSON: what is agreed; `null` for nothing or unknown.
    pub agreed: Option<String>,
    /// JSON.
    pub store_value: String,
    /// JSON.
    pub crm_value: String,
    /// A sentence, or the candidates.
    pub detail: Option<String>,
    /// What a person said.
    pub state: HeldState,
}

/// Which held fields and records are meant. All that is given must fit.
#[derive(Clone, Debug, Default)]
pub struct HeldFilter {
    /// Only these numbers; empty: all.
    pub ids: Vec<i64>,
    /// Only these stores' labels; empty: all.
    pub stores: Vec<String>,
    /// Only these fields, by their store names; empty: all.
    pub fields: Vec<String>,
    /// Only these reasons; empty: all.
    pub reasons: Vec<HeldReason>,
    /// Only those held since this moment or later.
    pub since: Option<Timestamp>,
    /// Only those with a higher number: the next page.
    pub after: Option<i64>,
    /// At most this many, oldest first.
    pub limit: Option<u64>,
}

/// How many fields and records of one pair are held for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldCount {
    /// The store's label.
    pub store: String,
    /// The CRM's label.
    pub crm: String,
    /// Why.
    pub reason: HeldReason,
    /// How many.
    pub count: u64,
}

/// What waits for a person, and not for a pass or for an edit.
const WAITS: &str = "h.state IN ('held', 'take store', 'take crm')";

const HELD: &str = "SELECT h.id, h.pair, s.name, c.name, h.link, h.mapped, h.record,
        CASE WHEN l.id IS NOT NULL THEN sr.key WHEN hr.source = p.store THEN hr.key END,
        CASE WHEN l.id IS NOT NULL THEN cr.key WHEN hr.source = p.crm THEN hr.key END,
        f.name, h.reason, h.since, h.store_value, h.crm_value, h.detail, h.state,
        CASE WHEN l.id IS NOT NULL THEN l.agreed -> ('$.\"' || h.mapped || '\"') END
     FROM held AS h CROSS JOIN pair AS p ON p.id = h.pair CROSS JOIN source AS s ON s.id = p.store CROSS JOIN source AS c ON c.id = p.crm
     LEFT JOIN link AS l ON l.id = h.link LEFT JOIN record AS sr ON sr.id = l.store_record
     LEFT JOIN record AS cr ON cr.id = l.crm_record LEFT JOIN record AS hr ON hr.id = h.record
     LEFT JOIN mapped AS m ON m.id = h.mapped LEFT JOIN field AS f ON f.id = m.store_field";

fn held_row(row: &Row) -> HeldRow {
    HeldRow {
        id: row.get(0),
        pair: row.get(1),
        store: row.get(2),
        crm: row.get(3),
        link: row.get(4),
        mapped: row.get(5),
        record: row.get(6),
        store_key: row.get(7),
        crm_key: row.get(8),
        field: row.get(9),
        reason: HeldReason::parse(row.get::<&str>(10)).unwrap_or(HeldReason::Conflict),
        since: Timestamp::from_millis(row.get(11)),
        store_value: row.get(12),
        crm_value: row.get(13),
        detail: row.get(14),
        state: HeldState::parse(row.get::<&str>(15)),
        agreed: row.get(16),
    }
}

impl Transaction<'_> {
    /// What is held on these links.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn held_on(&mut self, links: &[i64]) -> Result<Vec<HeldRow>, Error> {
        let sql = format!("{HELD} WHERE h.link IN (SELECT value FROM json_each(?1))");
        let query = statement(sql).bind(json(links)?);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(held_row).collect())
    }

    /// The records of a pair that are held themselves: record → number, and why.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn held_records(&mut self, pair: i64) -> Result<BTreeMap<i64, (i64, HeldReason)>, Error> {
        let query = statement("SELECT record, id, reason FROM held WHERE pair = ?1 AND record IS NOT NULL").bind(pair);
        let rows = self.database.rows(query).await?;
        let reason = |row: &Row| HeldReason::parse(row.get::<&str>(2)).unwrap_or(HeldReason::Ambiguous);
        Ok(rows.iter().map(|row| (row.get(0), (row.get(1), reason(row)))).collect())
    }

    /// The records of a pair that a person let go of, and between which candidates they were then.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn dropped_records(&mut self, pair: i64) -> Result<BTreeMap<i64, Option<String>>, Error> {
        let query =
            statement("SELECT record, detail FROM held WHERE pair = ?1 AND record IS NOT NULL AND state = 'dropped'")
                .bind(pair);
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// All that a filter names, oldest first. What a person has dropped or undone is not held any more, and not shown.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn held(&mut self, filter: &HeldFilter) -> Result<Vec<HeldRow>, Error> {
        let sql = format!(
            "{HELD} WHERE {WAITS}
               AND (json_array_length(?1) = 0 OR h.id IN (SELECT value FROM json_each(?1)))
               AND (json_array_length(?2) = 0 OR s.name IN (SELECT value FROM json_each(?2)))
               AND (json_array_length(?3) = 0 OR f.name IN (SELECT value FROM json_each(?3)))
               AND (json_array_length(?4) = 0 OR h.reason IN (SELECT value FROM json_each(?4)))
               AND h.since >= ?5 AND h.id > ?6 ORDER BY h.id LIMIT ?7"
        );
        let query = statement(sql)
            .bind(json(&filter.ids)?)
            .bind(json(&filter.stores)?)
            .bind(json(&filter.fields)?)
            .bind(json(&filter.reasons)?)
            .bind(filter.since.map_or(0, Timestamp::as_millis))
            .bind(filter.after.unwrap_or(0))
            .bind(filter.limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(-1));
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(held_row).collect())
    }

    /// How much is held, by pair and reason. What a person has dropped is not held any more.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn held_counts(&mut self) -> Result<Vec<HeldCount>, Error> {
        let query = statement(format!(
            "SELECT s.name, c.name, h.reason, count(*) FROM held AS h CROSS JOIN pair AS p ON p.id = h.pair
             CROSS JOIN source AS s ON s.id = p.store CROSS JOIN source AS c ON c.id = p.crm
             WHERE {WAITS} GROUP BY s.name, c.name, h.reason ORDER BY s.name, c.name, count(*) DESC, h.reason"
        ));
        let rows = self.database.rows(query).await?;
        let count = |row: &Row| HeldCount {
            store: row.get(0),
            crm: row.get(1),
            reason: HeldReason::parse(row.get::<&str>(2)).unwrap_or(HeldReason::Conflict),
            count: u64::try_from(row.get::<i64>(3)).unwrap_or(0),
        };
        Ok(rows.iter().map(count).collect())
    }

    /// Holds fields and records. One that is held already keeps its number, and its beginning if the reason is the same.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn hold(&mut self, pair: i64, at: Timestamp, held: &[NewHeld]) -> Result<(), Error> {
        let fields: Vec<_> = held.iter().filter(|held| held.link.is_some()).map(row_of).collect();
        let records: Vec<_> = held.iter().filter(|held| held.record.is_some()).map(row_of).collect();
        let statements: [(&Vec<_>, &'static str); 2] = [
            (
                &fields,
                "INSERT INTO held (pair, since, link, mapped, reason, store_value, crm_value, detail)
                 SELECT ?1, ?2, value ->> 0, value ->> 1, value ->> 3, value ->> 4, value ->> 5, value ->> 6
                 FROM json_each(?3) WHERE true
                 ON CONFLICT (link, mapped) DO UPDATE SET reason = excluded.reason, store_value = excluded.store_value,
                     crm_value = excluded.crm_value, detail = excluded.detail, state = 'held',
                     since = CASE WHEN held.reason = excluded.reason THEN held.since ELSE excluded.since END",
            ),
            (
                &records,
                "INSERT INTO held (pair, since, record, reason, store_value, crm_value, detail)
                 SELECT ?1, ?2, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
                 FROM json_each(?3) WHERE true
                 ON CONFLICT (pair, record) DO UPDATE SET reason = excluded.reason, detail = excluded.detail,
                     state = CASE WHEN held.detail IS excluded.detail THEN held.state ELSE 'held' END,
                     since = CASE WHEN held.reason = excluded.reason THEN held.since ELSE excluded.since END",
            ),
        ];
        for (rows, sql) in statements {
            if !rows.is_empty() {
                let query = statement(sql).bind(pair).bind(at.as_millis()).bind(json(rows)?);
                self.database.execute(query).await?;
            }
        }
        Ok(())
    }

    /// Holds nothing of these any more.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn release(&mut self, ids: &[i64]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let query = statement("DELETE FROM held WHERE id IN (SELECT value FROM json_each(?1))").bind(json(ids)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Holds these fields, (link, mapped), no more; and what was approved of them is done.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn release_fields(&mut self, fields: &[(i64, i64)]) -> Result<(), Error> {
        if fields.is_empty() {
            return Ok(());
        }
        let query =
            statement("DELETE FROM held WHERE (link, mapped) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))")
                .bind(json(fields)?);
        self.database.execute(query).await?;
        let query = statement(
            "DELETE FROM stopped WHERE (link, mapped) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))",
        )
        .bind(json(fields)?);
        self.database.execute(query).await?;
        Ok(())
    }

    /// Records what a person said of these.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_held_state(&mut self, ids: &[i64], state: HeldState) -> Result<(), Error> {
        let query = statement("UPDATE held SET state = ?2 WHERE id IN (SELECT value FROM json_each(?1))")
            .bind(json(ids)?)
            .bind(state.as_str());
        self.database.execute(query).await?;
        Ok(())
    }

    /// How much waits for a person on a pair, for each reason that there is.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn count_held_by_reason(&mut self, pair: i64) -> Result<Vec<(HeldReason, u64)>, Error> {
        let query = statement(format!(
            "SELECT reason, count(*) FROM held AS h WHERE h.pair = ?1 AND {WAITS} GROUP BY reason ORDER BY reason"
        ))
        .bind(pair);
        let rows = self.database.rows(query).await?;
        let count = |row: &Row| {
            let reason = HeldReason::parse(row.get::<&str>(0)).unwrap_or(HeldReason::Conflict);
            (reason, u64::try_from(row.get::<i64>(1)).unwrap_or(0))
        };
        Ok(rows.iter().map(count).collect())
    }
}

type Row7<'a> = (Option<i64>, Option<i64>, Option<i64>, &'static str, &'a str, &'a str, Option<&'a str>);

fn row_of(held: &NewHeld) -> Row7<'_> {
    (
        held.link,
        held.mapped,
        held.record,
        held.reason.as_str(),
        &held.store_value,
        &held.crm_value,
        held.detail.as_deref(),
    )
}
