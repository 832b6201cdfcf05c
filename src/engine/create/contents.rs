//! What a new record is to hold: what the merge would fill into one that holds nothing, and what it is found by.
//!
//! Must not know: the checkpoint, calls.

use super::{Pair, PairField, RecordRow, Source};
use crate::checkpoint::SeenRecord;
use crate::connector::Lifecycle;
use crate::merge::{self, Decision};
use crate::model::{Agreed, Canonical, Seen, Side, Value};

/// What a new record is to hold.
#[derive(Default)]
pub(in super::super) struct Contents {
    /// By field of the target.
    pub values: Vec<(usize, Value)>,
    /// The mapped fields among them, by place in the mapping.
    pub mapped: Vec<(usize, Value, Canonical)>,
}

/// What a new record is to hold: what the merge would fill in, and what it is found by.
pub(in super::super) fn contents(pair: &Pair, side: Side, lifecycle: &dyn Lifecycle, origin: &RecordRow) -> Contents {
    let Contents { mut values, mut mapped } = Contents::default();
    for (at, field) in pair.fields.iter().enumerate() {
        let place = field.on(side).0;
        if !lifecycle.creates_with(place) {
            continue;
        }
        if let Some((value, canonical)) = filled(pair, side, field, &origin.seen) {
            mapped.push((at, value.clone(), canonical));
            values.push((place, value));
        }
    }
    for rule in 0..pair.rules.len() {
        let (Some(from), Some(to)) = (pair.rule_field(rule, side.other()), pair.rule_field(rule, side)) else {
            continue;
        };
        let Some(place) = pair.source(side).place(to) else { continue };
        let is_there = values.iter().any(|(known, _)| *known == place);
        if let (Some(Value::Text(text)), false, true) =
            (origin.seen.value(from), is_there, lifecycle.creates_with(place))
            && !text.trim().is_empty()
        {
            values.push((place, Value::text(text.trim())));
        }
    }
    Contents { values, mapped }
}

/// What the merge fills into a field of a record that holds nothing yet.
fn filled(pair: &Pair, side: Side, field: &PairField, origin: &SeenRecord) -> Option<(Value, Canonical)> {
    let (store_defined, crm_defined) = (pair.store.defined(field.store.0)?, pair.crm.defined(field.crm.0)?);
    let is_unusable = |defined: &super::super::Defined| defined.changed.is_some() || defined.to_create;
    if is_unusable(&store_defined) || is_unusable(&crm_defined) {
        return None;
    }
    let from = origin.seen(field.on(side.other()).1);
    let (store, crm) = if side == Side::Store { (&Seen::Absent, &from) } else { (&from, &Seen::Absent) };
    let facts = merge::Facts {
        rule: &field.rule,
        agreed: &Agreed::Unknown,
        store: merge::Target { seen: store, edited: None, shape: &store_defined.shape },
        crm: merge::Target { seen: crm, edited: None, shape: &crm_defined.shape },
    };
    match merge::decide(&facts) {
        Decision::Write(intent) if intent.to == side => intent.encoded.zip(intent.value),
        _ => None,
    }
}

/// What a new record lacks that its system requires, as a sentence.
pub(in super::super) fn lacking(
    target: &Source,
    lifecycle: &dyn Lifecycle,
    values: &[(usize, Value)],
) -> Option<String> {
    let name = |place: usize| target.fields.get(place).map(|field| field.name.as_str());
    let has = |wanted: &str| {
        values.iter().any(|(place, _)| name(*place).is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
    };
    let missing: Vec<String> = lifecycle
        .required()
        .iter()
        .filter(|choice| !choice.iter().any(|wanted| has(wanted)))
        .map(|choice| choice.join(" or "))
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "no record can be made for it in {} {}, which needs {}; give it a value where it comes from",
            target.side,
            target.name,
            missing.join(" and ")
        )
    })
}
