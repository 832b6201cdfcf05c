//! Whether a side can do what a mapping asks of it beyond writing fields: make partners, and delete them.
//!
//! Must not know: the checkpoint, calls.

use crate::connector::{Connector, Lifecycle};
use crate::model::{Direction, Mapping, OnDelete, Side};

/// Why a side cannot do what a mapping asks of it, as a sentence; none if it can.
pub fn inability(mapping: &Mapping, side: Side, connector: &dyn Connector) -> Option<String> {
    let (name, kind) = (&mapping.name, connector.kind());
    let makes = mapping.create.on(side);
    let lifecycle = connector.lifecycle();
    let limits = lifecycle.map(Lifecycle::lifecycle_limits);
    if mapping.on_delete == OnDelete::Delete && limits.is_none_or(|limits| limits.keys_per_remove == 0) {
        return Some(format!(
            "the mapping `{name}` deletes partners, and this one, of kind `{kind}`, deletes no records as it is configured; \
             set on_delete = \"unlink\""
        ));
    }
    if !makes {
        return None;
    }
    let Some(lifecycle) = lifecycle.filter(|_| limits.is_some_and(|limits| limits.records_per_create > 0)) else {
        return Some(format!(
            "the mapping `{name}` makes missing partners here, and this one, of kind `{kind}`, makes no records as it is \
             configured; set create = \"none\", or make only those of the other side"
        ));
    };
    let reaches = |direction: Direction| match direction {
        Direction::Both => true,
        Direction::ToStore => side == Side::Store,
        Direction::ToCrm => side == Side::Crm,
    };
    let fields = mapping.fields.iter().filter(|rule| reaches(rule.direction)).map(|rule| (&rule.store, &rule.crm));
    let matched = mapping.matches.iter().map(|rule| (&rule.store, &rule.crm));
    let given: Vec<&str> = fields
        .chain(matched)
        .map(|(store, crm)| if side == Side::Store { store } else { crm })
        .map(String::as_str)
        .collect();
    let lacking = lifecycle
        .required()
        .into_iter()
        .find(|choice| !choice.iter().any(|name| given.iter().any(|given| given.eq_ignore_ascii_case(name))))?;
    let choice: Vec<String> = lacking.iter().map(|name| format!("`{name}`")).collect();
    Some(format!(
        "the mapping `{name}` makes missing partners here, which need {}; map it from the other side, or set create = \"none\"",
        choice.join(" or ")
    ))
}
