//! The three-way merge of one field.
//!
//! | | store unchanged | store changed |
//! |---|---|---|
//! | **CRM unchanged** | settled | write to the CRM ([`Field::follow`]) |
//! | **CRM changed** | write to the store ([`Field::follow`]) | equal: agree; else [`Field::both_changed`] |
//! | **agreed unknown** | equal: agree; one absent: fill it; else the policy ([`Field::first_meeting`]) | |
//!
//! One-way fields have no table: the target ends equal to the source ([`Field::one_way`]). For consent to be sent mail the
//! table is another one where somebody could be sent mail who does not want it: see [`super::consent`].

use super::canonical::{CannotBeTaken, as_written, canonical, encode, fits, nothing, spell};
use super::consent::said;
use crate::model::{
    Agreed, Canonical, Conflict, Direction, FieldRule, FieldShape, HeldReason, Meaning, OnClear, Seen, Side, Timestamp,
    Value, Why,
};
use crate::proof::Fault;

/// Edits this close to each other have no order: clocks are corrected, not exact, and some count whole seconds.
const TIE_MS: i64 = 2000;

/// All that the decision about one field looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What the configuration says.
    pub rule: &'a FieldRule,
    /// What both sides were last known to hold.
    pub agreed: &'a Agreed,
    /// The store's side.
    pub store: Target<'a>,
    /// The CRM's side.
    pub crm: Target<'a>,
}

/// One side of the field.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// What it was last seen to hold.
    pub seen: &'a Seen,
    /// When somebody else than us last edited it, on a clock common to both sides; none where that is not known for
    /// this very field.
    pub edited: Option<Timestamp>,
    /// What it can hold.
    pub shape: &'a FieldShape,
}

/// What to do about one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Both sides hold what was agreed.
    Settled,
    /// Both sides read equal: agree on it, write nothing.
    Agree(Agreed),
    /// Write.
    Write(Intent),
    /// A person must look.
    Hold(HeldReason),
    /// The target keeps its own: a one-way source never had a value, or `overwrite = false`.
    Kept,
    /// This side was never seen: nothing can be said before it is.
    Unseen(Side),
}

/// A write that the merge wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The side to write to.
    pub to: Side,
    /// What both sides will hold then; none: nothing.
    pub value: Option<Canonical>,
    /// The same as the target writes it.
    pub encoded: Option<Value>,
    /// Why.
    pub why: Why,
    /// How the rails count it.
    pub taken: Taken,
}

/// How the rails count a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It replaces a value, or adds one to an agreed absence.
    Write,
    /// It fills what is absent at first meeting: free in a pair's first pass.
    Fill,
    /// It clears a value, or overwrites a differing one at first meeting.
    Clear,
    /// A person asked for it: free.
    Free,
}

/// Decides what to do about one field. Total, pure, symmetric: swapping the sides and mirroring the policy mirrors it
/// (but for segments, where the store alone cannot say that nobody decided).
pub fn decide(facts: &Facts<'_>) -> Decision {
    let field = match Field::read(facts) {
        Ok(field) => field,
        Err(side) => return Decision::Unseen(side),
    };
    let decision = field.decide();
    crate::proof::meet(|| field.cell(&decision));
    decision
}

/// The decision when a person takes one side: the other side ends equal to it, whatever the mapping says.
pub fn resolve(facts: &Facts<'_>, take: Side) -> Decision {
    let field = match Field::read(facts) {
        Ok(field) => field,
        Err(side) => return Decision::Unseen(side),
    };
    if field.store == field.crm { field.settle() } else { field.send(take.other(), Why::Resolved) }
}

/// Why the other side's value cannot be written to `to`: the sentence behind [`HeldReason::CannotBeTaken`]. None where
/// it can, or where it was never seen.
pub fn obstacle(facts: &Facts<'_>, to: Side) -> Option<CannotBeTaken> {
    Field::read(facts).ok()?.encoded_for(to).err()
}

/// What a side holds: nothing, or something.
pub(super) type Held = Option<Form>;

/// A value in the form in which it is compared.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) value: Canonical,
    /// The problem, where the value has no canonical form (text in a number). It still differs from every other
    /// value, equals itself on the other side, and can be overwritten; what it cannot is be written anywhere.
    unreadable: Option<CannotBeTaken>,
}

/// One field, both sides seen, in comparable form.
pub(super) struct Field<'a> {
    pub(super) facts: &'a Facts<'a>,
    /// None: unknown.
    pub(super) agreed: Option<Held>,
    pub(super) store: Held,
    pub(super) crm: Held,
}

impl<'a> Field<'a> {
    /// The side that was never seen is the error.
    fn read(facts: &'a Facts<'a>) -> Result<Self, Side> {
        let rule = facts.rule;
        let held = |side: Side, seen: &Seen| match seen {
            Seen::Unseen => Err(side),
            Seen::Absent => Ok(Form::nothing(rule)),
            Seen::Value(value) => Ok(Form::of(rule, side, value)),
        };
        Ok(Self {
            facts,
            store: held(Side::Store, facts.store.seen)?,
            crm: held(Side::Crm, facts.crm.seen)?,
            agreed: match facts.agreed {
                Agreed::Unknown => None,
                Agreed::Absent => Some(Form::nothing(rule)),
                Agreed::Value(value) => Some(Form::of(rule, Side::Store, value.value())),
            },
        })
    }

    fn decide(&self) -> Decision {
        let rule = self.facts.rule;
        if self.store == self.crm {
            return self.settle();
        }
        if rule.meaning() == Meaning::Consent {
            return self.decide_consent();
        }
        if !rule.overwrite && !self.is_blank(Side::Store) && !self.is_blank(Side::Crm) {
            return Decision::Kept;
        }
        self.by_direction()
    }

    /// The sides differ, and may be overwritten.
    pub(super) fn by_direction(&self) -> Decision {
        let rule = self.facts.rule;
        match rule.direction {
            Direction::Both => self.both_ways(),
            Direction::ToStore => self.one_way(Side::Store),
            Direction::ToCrm => self.one_way(Side::Crm),
        }
    }

    /// The cell of the table that a decision was made in, in words.
    fn cell(&self, decision: &Decision) -> String {
        let is_consent = self.facts.rule.meaning() == Meaning::Consent;
        let held = |held: &Held| match (held, &self.agreed) {
            _ if is_consent => said(held),
            (None, _) => "absent",
            (Some(_), None) => "a value",
            (now, Some(agreed)) if now == agreed => "unchanged",
            (Some(_), Some(_)) => "changed",
        };
        let agreed = match &self.agreed {
            None => "unknown",
            Some(agreed) if is_consent => said(agreed),
            Some(None) => "absent",
            Some(Some(_)) => "a value",
        };
        let equal = if self.store == self.crm { ", equal" } else { "" };
        let of = if is_consent { "consent" } else { "merge" };
        let what = match decision {
            Decision::Settled => "settled".to_owned(),
            Decision::Agree(_) => "agree".to_owned(),
            Decision::Write(intent) => format!("write to the {}: {}", intent.to, intent.why.as_str()),
            Decision::Hold(reason) => format!("hold: {reason}"),
            Decision::Kept => "kept".to_owned(),
            Decision::Unseen(side) => format!("the {side} is unseen"),
        };
        let (store, crm) = (held(&self.store), held(&self.crm));
        format!("{of}: {:?}, agreed {agreed}, store {store}, CRM {crm}{equal}: {what}", self.facts.rule.direction)
    }

    pub(super) const fn held(&self, side: Side) -> &Held {
        match side {
            Side::Store => &self.store,
            Side::Crm => &self.crm,
        }
    }

    /// Both sides are equal.
    fn settle(&self) -> Decision {
        if self.agreed.as_ref() == Some(&self.store) {
            Decision::Settled
        } else {
            Decision::Agree(Agreed::on(self.store.as_ref().map(|form| form.value.clone())))
        }
    }

    /// `direction = "both"`, the sides differ.
    fn both_ways(&self) -> Decision {
        let Some(agreed) = &self.agreed else {
            return self.first_meeting();
        };
        let (store_changed, crm_changed) = (self.store != *agreed, self.crm != *agreed);
        match (store_changed, crm_changed) {
            (true, false) => self.follow(Side::Store),
            (false, true) => self.follow(Side::Crm),
            (true, true) => self.both_changed(),
            (false, false) => Decision::Settled,
        }
    }

    /// Nothing was ever agreed, the sides differ.
    fn first_meeting(&self) -> Decision {
        match (self.is_blank(Side::Store), self.is_blank(Side::Crm)) {
            (true, false) if crate::proof::has(Fault::FirstMeetingClears) => self.send(Side::Crm, Why::Cleared),
            (true, _) => self.write(Side::Store, Why::Filled),
            (_, true) => self.write(Side::Crm, Why::Filled),
            (false, false) => match self.facts.rule.conflict {
                Conflict::Store => self.write(Side::Crm, Why::FirstMeeting),
                Conflict::Crm => self.write(Side::Store, Why::FirstMeeting),
                Conflict::Newest | Conflict::Hold => Decision::Hold(HeldReason::FirstMeeting),
            },
        }
    }

    /// One side changed, the other did not.
    fn follow(&self, changed: Side) -> Decision {
        let unchanged = changed.other();
        match (self.held(changed), self.facts.rule.on_clear) {
            (Some(_), _) => self.write(unchanged, Why::Changed),
            (None, OnClear::Propagate) => self.write(unchanged, Why::Cleared),
            (None, OnClear::Restore) => self.write(changed, Why::Restored),
            (None, OnClear::Hold) => Decision::Hold(HeldReason::Conflict),
        }
    }

    /// Both sides changed, to different values.
    fn both_changed(&self) -> Decision {
        match (&self.store, &self.crm) {
            (None, Some(_)) if crate::proof::has(Fault::ClearBeatsEdit) => self.send(Side::Crm, Why::Cleared),
            (None, _) => self.write(Side::Store, Why::EditBeatsClear),
            (_, None) => self.write(Side::Crm, Why::EditBeatsClear),
            (Some(_), Some(_)) => match self.winner() {
                Some(winner) => self.write(winner.other(), Why::Conflict),
                None => Decision::Hold(HeldReason::Conflict),
            },
        }
    }

    /// The side that the conflict policy chooses.
    fn winner(&self) -> Option<Side> {
        match self.facts.rule.conflict {
            Conflict::Store => Some(Side::Store),
            Conflict::Crm => Some(Side::Crm),
            Conflict::Hold => None,
            Conflict::Newest => {
                let (store, crm) = (self.facts.store.edited?, self.facts.crm.edited?);
                let tie_ms = if crate::proof::has(Fault::TieByTime) { 0 } else { TIE_MS };
                if store.millis_since(crm) > tie_ms {
                    Some(Side::Store)
                } else if crm.millis_since(store) > tie_ms {
                    Some(Side::Crm)
                } else {
                    None
                }
            }
        }
    }

    /// `direction = "to_store"` or `"to_crm"`, the sides differ: the target ends equal to the source.
    fn one_way(&self, target: Side) -> Decision {
        let source_held = self.held(target.other());
        match (source_held, &self.agreed) {
            // The source never had a value: the target keeps its own.
            (None, None | Some(None)) => Decision::Kept,
            (Some(_), None) if self.shows_nothing(target.other()) => Decision::Kept,
            (None, Some(Some(_))) => match self.facts.rule.on_clear {
                OnClear::Propagate => self.write(target, Why::Cleared),
                OnClear::Restore => Decision::Kept,
                OnClear::Hold => Decision::Hold(HeldReason::Conflict),
            },
            (Some(_), None) if self.is_blank(target) => self.write(target, Why::Filled),
            (Some(_), None) => self.write(target, Why::FirstMeeting),
            (Some(_), Some(agreed)) if self.held(target) == agreed => self.write(target, Why::Changed),
            (Some(_), Some(_)) => self.write(target, Why::PutBack),
        }
    }

    /// Makes `to` equal to the other side, as far as `overwrite` lets it.
    fn write(&self, to: Side, why: Why) -> Decision {
        let rule = self.facts.rule;
        if !rule.overwrite && rule.meaning() != Meaning::Consent && !self.is_blank(to) {
            return Decision::Kept;
        }
        self.send(to, why)
    }

    /// Makes `to` equal to the other side, if it can take that.
    pub(super) fn send(&self, to: Side, why: Why) -> Decision {
        let Ok(encoded) = self.encoded_for(to) else {
            return Decision::Hold(HeldReason::CannotBeTaken);
        };
        let value = self.held(to.other()).as_ref().map(|form| form.value.clone());
        let taken = match (&value, self.held(to), &self.agreed) {
            _ if why == Why::Resolved => Taken::Free,
            (None, _, _) => Taken::Clear,
            // Where nothing counts as something, it is carried over as a clear all the same.
            _ if self.shows_nothing(to.other()) => Taken::Clear,
            (Some(_), _, None) if self.is_blank(to) => Taken::Fill,
            (Some(_), _, None) => Taken::Clear,
            (Some(_), _, Some(_)) => Taken::Write,
        };
        Decision::Write(Intent { to, value, encoded, why, taken })
    }

    /// Whether a side has nothing that filling it could lose. Of who is in no segment the store cannot tell whether somebody
    /// decided so.
    fn is_blank(&self, side: Side) -> bool {
        let held = self.held(side);
        let is_member = || held.as_ref().is_some_and(|form| form.value.value() != &Value::text("false"));
        held.is_none()
            || (self.facts.rule.meaning() == Meaning::Membership
                && (self.shows_nothing(side) || (side == Side::Store && !is_member())))
    }

    fn shows_nothing(&self, side: Side) -> bool {
        let seen = if side == Side::Store { self.facts.store.seen } else { self.facts.crm.seen };
        *seen == Seen::Absent
    }

    /// What the other side holds, as `to` writes it; none clears.
    fn encoded_for(&self, to: Side) -> Result<Option<Value>, CannotBeTaken> {
        let shape = match to {
            Side::Store => self.facts.store.shape,
            Side::Crm => self.facts.crm.shape,
        };
        if !shape.writable {
            return Err(CannotBeTaken("the target field cannot be written".to_owned()));
        }
        let Some(form) = self.held(to.other()) else {
            return if shape.clearable {
                Ok(None)
            } else {
                Err(CannotBeTaken("the target field cannot hold nothing".to_owned()))
            };
        };
        if let Some(problem) = &form.unreadable {
            return Err(problem.clone());
        }
        let encoded = spell(self.facts.rule, to, shape, encode(self.facts.rule, to, &form.value)?)?;
        fits(shape, &encoded)?;
        Ok(Some(encoded))
    }
}

/// The problem's sentence names a side, so it is no part of the value.
impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.unreadable.is_some() == other.unreadable.is_some()
    }
}

impl Form {
    fn nothing(rule: &FieldRule) -> Held {
        nothing(rule).map(|value| Self { value, unreadable: None })
    }

    fn of(rule: &FieldRule, side: Side, value: &Value) -> Held {
        match canonical(rule, side, value) {
            Ok(canonical) => canonical.map(|value| Self { value, unreadable: None }),
            Err(problem) => Some(Self { value: as_written(rule, value), unreadable: Some(problem) }),
        }
    }
}
