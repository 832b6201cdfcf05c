//! What the checkpoint and the engine know, as the page shows it. Pure.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::passes::PassNote;
use super::standings::StoreStanding;
use crate::checkpoint::{HeldCount, HeldRow, HeldState, HistoryRow, SeenCell};
use crate::engine::{Explained, next_step};
use crate::model::{Side, Value};
use crate::web::page::{
    self, Day, Held, HeldList, HeldQuery, HeldValues, PairStanding, Pass, Quota, Record, RecordField, SeenValue, Sight,
    Write,
};

pub(super) fn pair_standing(standing: &StoreStanding, day: Option<Day>) -> PairStanding {
    PairStanding {
        store: standing.name.clone(),
        crm: standing.crm.clone(),
        state: standing.state.clone(),
        reason: standing.reason.clone(),
        lag_ms: standing.lag_ms,
        pending: standing.pending,
        held: standing.held,
        linked: standing.linked,
        last_pass: standing.last_pass,
        quota: quota(&standing.quota),
        day,
    }
}

pub(super) fn quota(told: &Json) -> Option<Quota> {
    Some(Quota { left: told["left"].as_u64()?, of: told["quota"].as_u64()? })
}

pub(super) fn pass(note: &PassNote) -> Pass {
    let balance = note.balance;
    Pass {
        number: note.number,
        at: note.at,
        duration_ms: note.duration_ms,
        ended: note.ended.clone(),
        observed: balance.observed,
        unchanged: balance.unchanged,
        agreed: balance.agreed,
        written: balance.written,
        held: balance.held,
        kept: balance.kept,
        superseded: balance.superseded,
        pending: balance.pending,
        failed: balance.failed,
        unlinked: balance.unlinked,
    }
}

pub(super) fn held_count(count: HeldCount) -> page::HeldCount {
    page::HeldCount { reason: count.reason, count: count.count }
}

pub(super) fn held_list(query: &HeldQuery, counts: &[HeldCount], rows: Vec<Held>, more: bool) -> HeldList {
    let (mut stores, mut reasons) = (BTreeMap::<&str, u64>::new(), Vec::<page::HeldCount>::new());
    let mut total = 0;
    for count in counts {
        *stores.entry(&count.store).or_default() += count.count;
        if query.store.as_ref().is_some_and(|store| *store != count.store) {
            continue;
        }
        match reasons.iter_mut().find(|reason| reason.reason == count.reason) {
            Some(reason) => reason.count += count.count,
            None => reasons.push(held_count(count.clone())),
        }
        if query.reason.is_none_or(|reason| reason == count.reason) {
            total += count.count;
        }
    }
    let stores = stores.into_iter().map(|(store, count)| (store.to_owned(), count)).collect();
    HeldList { rows, total, more, stores, reasons }
}

pub(super) fn held(row: &HeldRow, sight: Sight) -> Held {
    let values = || HeldValues {
        agreed: row.agreed.as_deref().map(value),
        store: value(&row.store_value),
        crm: value(&row.crm_value),
        detail: row.detail.clone(),
    };
    Held {
        id: row.id,
        store: row.store.clone(),
        crm: row.crm.clone(),
        store_key: row.store_key.clone(),
        crm_key: row.crm_key.clone(),
        field: row.field.clone(),
        reason: row.reason,
        since: row.since,
        chosen: if let HeldState::Take(side) = row.state { Some(side) } else { None },
        next_step: next_step(row),
        values: (sight == Sight::Whole).then(values),
    }
}

/// A value that the checkpoint holds as JSON; none: nothing.
fn value(text: &str) -> Option<Value> {
    serde_json::from_str::<Option<Value>>(text).ok().flatten()
}

pub(super) fn write(row: &HistoryRow) -> Write {
    Write {
        at: row.at,
        pass: row.pass,
        crm: row.crm.clone(),
        store_key: row.store_key.clone(),
        crm_key: row.crm_key.clone(),
        field: row.field.clone(),
        side: row.side.clone(),
        old: value(&row.old),
        new: value(&row.new),
        reason: row.reason.clone(),
        outcome: row.outcome.clone(),
    }
}

pub(super) fn record(store: &str, crm: &str, explained: Explained) -> Record {
    let linked = explained.partner.is_some();
    let (own, partner) = (Some(explained.key), explained.partner);
    let (store_key, crm_key) = if explained.side == Side::Store { (own, partner) } else { (partner, own) };
    let seen = |cell: SeenCell| SeenValue { value: cell.value, modified: cell.modified };
    let fields = explained.fields.into_iter().map(|field| RecordField {
        name: field.field,
        agreed: field.agreed.map(|agreed| serde_json::from_value::<Option<Value>>(agreed).ok().flatten()),
        store: field.store.map(seen),
        crm: field.crm.map(seen),
        next: field.held_id.map_or(field.next.clone(), |id| field.next.replace(" ID", &format!(" {id}"))),
        held: field.held_id,
    });
    Record {
        store: store.to_owned(),
        crm: crm.to_owned(),
        store_key,
        crm_key,
        linked,
        gone: explained.gone,
        why: explained.why,
        fields: fields.collect(),
        writes: explained.history.iter().map(write).collect(),
    }
}
