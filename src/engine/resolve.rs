//! What is under way: attempts whose quarantine is over are read back, and observations that wait get their second look.

use std::collections::{BTreeMap, BTreeSet};

use super::conclude::{hold, settled_link};
use super::decide::{as_compared, holds};
use super::{CHUNK, Engine, Error, Pair};
use crate::checkpoint::{Attempt, SeenCell, Settled};
use crate::connector::Lane;
use crate::merge;
use crate::model::{Canonical, HeldReason, Key, Side, Value, Why};
use crate::proof::Fault;

impl Engine {
    /// Reads back what may have been written, once it can no longer take effect late.
    pub(super) async fn resolve_attempts(&self, pair: &Pair) -> Result<(), Error> {
        for side in [Side::Store, Side::Crm] {
            let source = pair.source(side);
            loop {
                self.going_on()?;
                let short = crate::proof::has(Fault::ShortQuarantine);
                let quarantine = if short { source.times.quarantine / 8 } else { source.times.quarantine };
                let until = self.clock.now() - quarantine;
                let mut transaction = self.checkpoint.read().await?;
                let due = transaction
                    .attempts_due(pair.id, side, until, CHUNK.min(source.connector.limits().keys_per_fetch))
                    .await?;
                let records: Vec<i64> =
                    due.iter().map(|attempt| attempt.record).collect::<BTreeSet<_>>().into_iter().collect();
                let rows = transaction.records_by_id(&records).await?;
                transaction.end().await?;
                if due.is_empty() {
                    break;
                }
                let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
                let ids: BTreeSet<i64> = due.iter().map(|attempt| attempt.field).collect();
                let fields: Vec<usize> = source
                    .fields
                    .iter()
                    .enumerate()
                    .filter(|(_, field)| ids.contains(&field.id))
                    .map(|(at, _)| at)
                    .collect();
                self.look(source, &keys, &fields, Lane::Resolve).await?;
                self.close_attempts(pair, side, &due).await?;
            }
        }
        Ok(())
    }

    /// Settles attempts by what the target shows after quarantine: the attempted value is agreed, anything else is not.
    /// A third value is somebody's edit, unless it looks like what the target made of ours: that must not flow back, and is
    /// held.
    async fn close_attempts(&self, pair: &Pair, side: Side, due: &[Attempt]) -> Result<(), Error> {
        let mut transaction = self.checkpoint.begin().await?;
        transaction.begin_settling().await?;
        let now = self.clock.now();
        let records: Vec<i64> = due.iter().map(|attempt| attempt.record).collect();
        let mut rows: BTreeMap<i64, _> =
            transaction.records_by_id(&records).await?.into_iter().map(|row| (row.id, row)).collect();
        let mut settled = Vec::new();
        let mut agreed: BTreeMap<i64, Vec<(i64, Option<Canonical>)>> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        let mut third = Vec::new();
        let (mut put_back, mut released) = (Vec::new(), Vec::new());
        for attempt in due {
            let field = pair.fields.iter().find(|field| field.mapped == attempt.mapped);
            let row = rows.get_mut(&attempt.record).filter(|row| !row.gone);
            let took = match (field, &row) {
                (Some(field), Some(row)) => match row.seen.get(attempt.field) {
                    Some(cell) => shows(&field.rule, side, cell.value.as_ref(), attempt.canonical.as_ref()),
                    None => false,
                },
                _ => false,
            };
            if let (true, Some(row)) = (took, row) {
                if let Some(cell) = row.seen.get(attempt.field) {
                    let cell = SeenCell { edited: attempt.edited, acknowledged: Some(now), ours: true, ..cell };
                    row.seen.set(attempt.field, cell);
                    touched.insert(attempt.record);
                }
                if attempt.reason != Why::Undone.as_str() {
                    agreed.entry(attempt.link).or_default().push((attempt.mapped, attempt.canonical.clone()));
                } else if field.is_some_and(|field| merge::refuses_mail(&field.rule, attempt.canonical.as_ref())) {
                    released.push((attempt.link, attempt.mapped));
                } else {
                    put_back.push((attempt.link, attempt.mapped, text_of(row.seen.value(attempt.field))));
                }
            }
            if let (false, Some(field), Some(row)) = (took, field, rows.get(&attempt.record).filter(|row| !row.gone)) {
                let old = serde_json::from_str::<Option<Value>>(&attempt.old).unwrap_or_default();
                let before = as_compared(&field.rule, side, old.as_ref());
                let shown = as_compared(&field.rule, side, row.seen.value(attempt.field));
                let altered =
                    |shown: &Canonical| attempt.canonical.as_ref().is_some_and(|sent| is_made_of(shown, sent));
                if shown != before && shown.as_ref().is_some_and(altered) {
                    if attempt.reason == Why::Undone.as_str() {
                        put_back.push((attempt.link, attempt.mapped, text_of(row.seen.value(attempt.field))));
                    } else {
                        third.push((attempt, field, shown));
                    }
                }
            }
            settled.push(Settled { id: attempt.id, outcome: if took { "written" } else { "unknown" }, open: false });
        }
        transaction.settle(&settled).await?;
        let change = transaction.next_change().await?;
        let seen: Vec<_> = touched.iter().filter_map(|id| rows.get(id).map(|row| (*id, &row.seen))).collect();
        transaction.save_seen(change, &seen).await?;
        let links: Vec<i64> = due.iter().map(|attempt| attempt.link).collect::<BTreeSet<_>>().into_iter().collect();
        let mut updates = Vec::new();
        let mut held = Vec::new();
        for link in transaction.links(&links).await? {
            let mut news = agreed.remove(&link.id).unwrap_or_default();
            for (attempt, field, shown) in third.iter().filter(|(attempt, ..)| attempt.link == link.id) {
                let there = holds(&link, field, side.other());
                // Equal on both sides it is agreed on, whoever wrote it.
                if there == *shown {
                    continue;
                }
                if there == attempt.canonical {
                    held.push(hold(&link, field, HeldReason::AlteredByTarget, Some(THIRD.to_owned())));
                } else {
                    // Its source has moved on since: what the target made of the old value is to be replaced by the new one.
                    news.push((field.mapped, shown.clone()));
                }
            }
            updates.push(settled_link(&link, news, Some(link.unsettled.unwrap_or(now)), link.pending));
        }
        transaction.update_links(&updates).await?;
        transaction.hold(pair.id, now, &held).await?;
        transaction.note_put_back(side, &put_back).await?;
        transaction.release_fields(&released).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Reads again what was seen to be older than what is remembered.
    pub(super) async fn resolve_waiting(&self, pair: &Pair) -> Result<(), Error> {
        for side in [Side::Store, Side::Crm] {
            let source = pair.source(side);
            let limit = CHUNK.min(source.connector.limits().keys_per_fetch);
            let mut transaction = self.checkpoint.read().await?;
            let due = transaction.waiting_due(source.id, self.clock.now(), limit).await?;
            transaction.end().await?;
            if due.is_empty() {
                continue;
            }
            let keys: Vec<Key> = due.into_iter().map(|(_, key)| key).collect();
            let every: Vec<usize> = (0..source.fields.len()).collect();
            self.look(source, &keys, &every, Lane::Resolve).await?;
        }
        Ok(())
    }
}

/// Why a field is held after an attempt of unknown outcome.
const THIRD: &str = "the outcome of a write stayed unknown, and the target now holds neither what was sent nor what it \
                     held before, but something like it: it altered the value, or somebody edited it at the same time";

fn text_of(value: Option<&Value>) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}

/// Whether a side shows the attempted value.
fn shows(rule: &crate::model::FieldRule, side: Side, value: Option<&Value>, attempted: Option<&Canonical>) -> bool {
    match value {
        None => merge::nothing(rule).as_ref() == attempted,
        Some(value) => match merge::canonical(rule, side, value) {
            Ok(canonical) => canonical.as_ref() == attempted,
            Err(_) => false,
        },
    }
}

/// Whether one value could be what a target made of another: cut short, rounded, or respelt in case, blanks and signs.
pub(super) fn is_made_of(shown: &Canonical, sent: &Canonical) -> bool {
    let letters = |value: &Canonical| -> String {
        let text = value.value().display();
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (short, long) = (letters(shown), letters(sent));
    (!short.is_empty() && long.starts_with(&short))
        || is_rounded_from(&shown.value().display(), &sent.value().display())
}

/// Whether a number is another one, rounded or cut to the decimals that it shows.
fn is_rounded_from(shown: &str, sent: &str) -> bool {
    let (Ok(number), Ok(exact)) = (shown.parse::<f64>(), sent.parse::<f64>()) else { return false };
    let decimals = shown.split_once('.').map_or(0, |(_, fraction)| i32::try_from(fraction.len()).unwrap_or(i32::MAX));
    (number - exact).abs() < 10_f64.powi(-decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_makes_of_a_value_is_told_from_what_a_person_types() {
        let made = |shown: &str, sent: &str| is_made_of(&Canonical(Value::text(shown)), &Canonical(Value::text(sent)));
        for (shown, sent) in [
            ("Head of pur", "Head of purchasing"),
            ("HEAD OF PURCHASING", "Head of purchasing"),
            ("W-12", "w 12"),
            ("1.13", "1.125"),
            ("1010", "1009.5"),
            ("Head", "Head  "),
        ] {
            assert!(made(shown, sent), "{shown} of {sent}");
        }
        for (shown, sent) in [
            ("Buyer", "Head of purchasing"),
            ("Manager EMEA", "Manager"),
            ("W-13", "W-12"),
            ("7", "1.125"),
            ("1010.125", "1009.5"),
            ("-", "Head"),
        ] {
            assert!(!made(shown, sent), "{shown} of {sent}");
        }
    }
}
