//! Concluding what was decided: fields are held or released, values are agreed on, and a link is settled or left for
//! later.

use std::collections::BTreeMap;

use super::balance::Place;
use super::decide::{Decided, Fate, Verdict, same_values};
use super::{Engine, Error, Pair, PairField};
use crate::checkpoint::{HeldState, LinkRow, LinkUpdate, NewHeld, Transaction};
use crate::merge;
use crate::model::{Agreed, Canonical, HeldReason, Key, Seen, Side, Timestamp, Value};

/// A field that is newly held: customer, contact, field, why, detail.
pub(super) type News = (Key, Key, String, HeldReason, Option<String>);

impl Engine {
    /// Holds what is to be held and releases what is not any more. Answers what is newly held.
    pub(super) async fn conclude(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        decided: &[Decided],
    ) -> Result<Vec<News>, Error> {
        let (mut holds, mut releases, mut news) = (Vec::new(), Vec::new(), Vec::new());
        for decided in decided {
            let Fate::Fields(verdicts) = &decided.fate else { continue };
            for (field, verdict) in pair.fields.iter().zip(verdicts) {
                let known = decided.held.get(&field.mapped);
                let seen = |side: Side| decided.link.record(side).seen.seen(field.on(side).1);
                let same =
                    known.is_some_and(|known| same_values(known, &field.rule, &seen(Side::Store), &seen(Side::Crm)));
                match verdict {
                    Verdict::Hold(reason) => {
                        let stands =
                            known.is_some_and(|known| known.reason == *reason && known.state == HeldState::Held);
                        if stands && same {
                            continue;
                        }
                        let detail = decided.detail(pair, field, *reason);
                        holds.push(hold(&decided.link, field, *reason, detail.clone()));
                        if !stands {
                            let (store, crm) = (decided.link.store.key.clone(), decided.link.crm.key.clone());
                            news.push((store, crm, field.rule.store.clone(), *reason, detail));
                        }
                    }
                    Verdict::Kept
                        if same
                            && known
                                .is_some_and(|known| matches!(known.state, HeldState::Dropped | HeldState::Undone)) => {
                    }
                    Verdict::Write(_)
                        if same
                            && known.is_some_and(|known| {
                                matches!(known.state, HeldState::Take(_) | HeldState::Undo(_))
                            }) => {}
                    // Until it is written, it tells that both sides agreed in two spellings, or on two values.
                    Verdict::Write(_)
                        if known.is_some_and(|known| {
                            let altered = known.reason == HeldReason::AlteredByTarget && known.state == HeldState::Held;
                            altered || known.state == HeldState::Undone
                        }) => {}
                    Verdict::Pending | Verdict::Unseen(_) => {}
                    Verdict::Unchanged | Verdict::Agree(_) | Verdict::Kept | Verdict::Write(_) => {
                        releases.extend(known.map(|known| known.id));
                    }
                }
            }
        }
        transaction.hold(pair.id, self.clock.now(), &holds).await?;
        transaction.release(&releases).await?;
        Ok(news)
    }
}

impl Decided {
    /// What a held row says beside its reason.
    fn detail(&self, pair: &Pair, field: &PairField, reason: HeldReason) -> Option<String> {
        match reason {
            HeldReason::DefinitionChanged => [(&pair.store, field.store.0), (&pair.crm, field.crm.0)]
                .into_iter()
                .find_map(|(source, at)| source.defined(at).and_then(|defined| defined.changed)),
            HeldReason::FirstMeeting if self.behind.compares_only() => Some(super::behind::DETAIL.to_owned()),
            HeldReason::CannotBeTaken => self.obstacle(pair, field),
            _ => None,
        }
    }

    fn obstacle(&self, pair: &Pair, field: &PairField) -> Option<String> {
        let (store, crm) = (self.link.store.seen.seen(field.store.1), self.link.crm.seen.seen(field.crm.1));
        let (store_shape, crm_shape) = (pair.store.defined(field.store.0)?.shape, pair.crm.defined(field.crm.0)?.shape);
        let target = |seen, shape| merge::Target { seen, edited: None, shape };
        let facts = merge::Facts {
            rule: &field.rule,
            agreed: &Agreed::Unknown,
            store: target(&store, &store_shape),
            crm: target(&crm, &crm_shape),
        };
        let holds = |seen: &Seen| seen.value().is_some();
        [(Side::Crm, holds(&store)), (Side::Store, holds(&crm))]
            .into_iter()
            .filter(|(_, has_origin)| *has_origin)
            .find_map(|(to, _)| merge::obstacle(&facts, to).map(|obstacle| obstacle.to_string()))
    }
}

/// Where a field ends up whose verdict needs no write.
pub(super) const fn place_of(verdict: &Verdict) -> Place {
    match verdict {
        Verdict::Unchanged => Place::Unchanged,
        Verdict::Agree(_) => Place::Agreed,
        Verdict::Hold(_) => Place::Held,
        Verdict::Kept => Place::Kept,
        Verdict::Write(_) | Verdict::Pending | Verdict::Unseen(_) => Place::Pending,
    }
}

/// What is agreed on without a write, by link.
pub(super) fn agreed_of(pair: &Pair, decided: &[Decided]) -> BTreeMap<i64, Vec<(i64, Option<Canonical>)>> {
    let mut agreed: BTreeMap<i64, Vec<(i64, Option<Canonical>)>> = BTreeMap::new();
    for decided in decided {
        let Fate::Fields(verdicts) = &decided.fate else { continue };
        for (field, verdict) in pair.fields.iter().zip(verdicts) {
            let news = match verdict {
                Verdict::Agree(value) => Some(value),
                // What is held next, or written, does not tell any more what was agreed.
                _ => decided.apart.get(&field.mapped),
            };
            if let Some(value) = news {
                agreed.entry(decided.link.id).or_default().push((field.mapped, value.clone()));
            }
        }
    }
    agreed
}

/// A link with what is newly agreed on it.
pub(super) fn settled_link(
    link: &LinkRow,
    news: Vec<(i64, Option<Canonical>)>,
    unsettled: Option<Timestamp>,
    pending: u64,
) -> LinkUpdate {
    let mut agreed = link.agreed.clone();
    agreed.extend(news);
    LinkUpdate { id: link.id, agreed, unsettled, pending }
}

/// A field to hold, with what both sides hold in it.
pub(super) fn hold(link: &LinkRow, field: &PairField, reason: HeldReason, detail: Option<String>) -> NewHeld {
    let text = |value: Option<&Value>| serde_json::to_string(&value).unwrap_or_default();
    NewHeld {
        link: Some(link.id),
        mapped: Some(field.mapped),
        record: None,
        reason,
        store_value: text(link.store.seen.value(field.store.1)),
        crm_value: text(link.crm.seen.value(field.crm.1)),
        detail,
    }
}
