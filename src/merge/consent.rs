//! Consent to be sent mail: whether somebody may be written to is not to be guessed, and a refusal is not to be lost.
//!
//! Two rules stand above the table. **A refusal wins**: where both sides changed, and at first meeting, the side that says
//! no is carried to the other, whatever the policy. **Consent is carried only by an edit that was seen**: "yes" is written
//! where the target still holds what both sides had agreed on, and nowhere else: not over a refusal, not into a blank that
//! was never agreed on, not to put something back. Nor is a refusal that was not agreed on overwritten with nothing. What is
//! left is held. A person may decide otherwise.

use super::decide::{Decision, Field, Held, Intent};
use crate::model::{Direction, HeldReason, Side, Value, Why};
use crate::proof::Fault;

impl Field<'_> {
    /// The sides differ, and the field is consent.
    pub(super) fn decide_consent(&self) -> Decision {
        if let Some(refusing) = self.refuses().filter(|_| self.is_open() && !crate::proof::has(Fault::RefusalLoses)) {
            let reached = refusing.other();
            if self.facts.rule.direction != one_way_to(refusing) {
                return self.send(reached, self.why(reached));
            }
        }
        let presumes = |intent: &Intent| {
            (intent.value.as_ref().is_some_and(is_yes) || says_no(self.held(intent.to))) && !self.stands(intent.to)
        };
        match self.by_direction() {
            Decision::Write(intent) if presumes(&intent) && !crate::proof::has(Fault::ConsentPresumed) => {
                Decision::Hold(self.open_reason())
            }
            other => other,
        }
    }

    /// The one side that says no.
    fn refuses(&self) -> Option<Side> {
        [Side::Store, Side::Crm].into_iter().find(|side| says_no(self.held(*side)) && !says_no(self.held(side.other())))
    }

    /// Whether no side still holds what was agreed, or nothing was.
    fn is_open(&self) -> bool {
        !self.stands(Side::Store) && !self.stands(Side::Crm)
    }

    /// Whether a side still holds what was agreed.
    fn stands(&self, side: Side) -> bool {
        self.agreed.as_ref() == Some(self.held(side))
    }

    const fn open_reason(&self) -> HeldReason {
        match self.agreed {
            None => HeldReason::FirstMeeting,
            Some(_) => HeldReason::Conflict,
        }
    }

    fn why(&self, reached: Side) -> Why {
        match (&self.agreed, self.held(reached)) {
            (None, None) => Why::Filled,
            (None, Some(_)) => Why::FirstMeeting,
            (Some(_), None) => Why::EditBeatsClear,
            (Some(_), Some(_)) => Why::Conflict,
        }
    }
}

/// What somebody said, in a word.
pub(super) fn said(held: &Held) -> &'static str {
    match held.as_ref().map(|form| form.value.value()) {
        None => "nothing",
        Some(Value::Text(text)) if text == "true" => "yes",
        Some(Value::Text(text)) if text == "false" => "no",
        Some(_) => "neither",
    }
}

/// The direction in which a side is only ever written to.
const fn one_way_to(side: Side) -> Direction {
    match side {
        Side::Store => Direction::ToStore,
        Side::Crm => Direction::ToCrm,
    }
}

fn says_no(held: &Held) -> bool {
    held.as_ref().is_some_and(|form| matches!(form.value.value(), Value::Text(text) if text == "false"))
}

fn is_yes(value: &crate::model::Canonical) -> bool {
    matches!(value.value(), Value::Text(text) if text == "true")
}
