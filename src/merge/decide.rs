//! The three-way merge of one field.

use crate::model::{Agreed, Canonical, FieldRule, FieldShape, HeldReason, Seen, Side, Timestamp, Value, Why};

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

/// Decides what to do about one field. Total, pure, symmetric: swapping the sides and mirroring the policy mirrors it.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let _ = facts;
    Decision::Settled
}

/// The decision when a person takes one side: the other side ends equal to it, whatever the policy.
pub fn resolve(facts: &Facts<'_>, take: Side) -> Decision {
    let _ = (facts, take);
    Decision::Settled
}
