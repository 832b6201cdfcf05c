//! What only the proof of the promises needs: faults that it plants one at a time to see that they are found, and counts
//! of what its histories met. Without the feature `proof` none can be planted, nothing is counted, and nothing is left of
//! this in the program.
//!
//! Must not know: anything of ours.

/// A fault that the simulation plants. Each takes back one remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A value is agreed on when its write is intended, not when it is acknowledged.
    AgreedBeforeAnswer,
    /// History keeps the new value in the place of what it overwrites.
    HistoryWithoutOld,
    /// Cursors move to our clock.
    CursorFromOurClock,
    /// Cursors move although pages were torn.
    CursorDespiteTear,
    /// Feeds are read from the cursor itself, with no overlap.
    NoOverlap,
    /// Values are compared as they are spelt.
    ComparedAsSpelt,
    /// A lost answer counts as success.
    UnknownIsSuccess,
    /// A lost answer counts as failure: nothing is in quarantine.
    UnknownIsFailure,
    /// Attempts are read back before they can no longer take effect.
    ShortQuarantine,
    /// Open attempts block nothing.
    AttemptBlocksNothing,
    /// A process that starts forgets the open attempts of the one before.
    AttemptsForgottenAtStart,
    /// Targets are not read again before they are written.
    NoRecheck,
    /// Values older than one already seen are taken at once.
    NoSecondLook,
    /// Values older than one already seen are never taken.
    OlderIsNever,
    /// Reads that began before our own write was acknowledged are taken.
    ReadBeforeOurWrite,
    /// An absence is not younger than the value that it replaced.
    AbsenceWithoutAge,
    /// A record that one sweep did not show is gone.
    GoneUnconfirmed,
    /// A torn sweep counts as a whole one.
    TornSweepIsWhole,
    /// The origin of a clear, or of what was never agreed, is not read again.
    OriginUnconfirmed,
    /// What an answer does not show is absent.
    UnseenIsAbsent,
    /// A refused batch holds all of its rows.
    BatchErrorOnAllRows,
    /// The later of two edits wins, however close they are.
    TieByTime,
    /// Times of the sides are compared without the offset of their clocks.
    NoClockOffset,
    /// Our own writes count as edits of this moment.
    OwnWriteIsEdit,
    /// A clear beats an edit.
    ClearBeatsEdit,
    /// At first meeting the side that holds nothing clears the other.
    FirstMeetingClears,
    /// Rails are looked at after the first write.
    RailAfterFirstWrite,
    /// What an operator decided is held again.
    DecisionForgotten,
    /// A pause is looked at by nobody.
    PauseIgnored,
    /// What a target made of our value is an edit like any other.
    AlterationIsEdit,
    /// Records that lost their partner are not looked at again.
    PartedForgotten,
    /// A creation whose answer was lost is sent again at once.
    CreateSentAgain,
    /// Nobody is looked for before a record is made.
    CreateUnlooked,
    /// A yes to be sent mail fills a blank, and goes over a refusal by policy.
    ConsentPresumed,
    /// A refusal wins no conflict and no first meeting.
    RefusalLoses,
    /// Of who is in a segment or not, nothing is not the same as false.
    NothingIsNotFalse,
    /// Who is in which segments is believed as lists that were read one by one say.
    MembersUnconfirmed,
    /// What belongs to a record says that it is there.
    BesideIsSignOfLife,
    /// A record is met by a sweep that showed only what belongs to it.
    BesideIsMet,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 39] = [
        Self::AgreedBeforeAnswer,
        Self::HistoryWithoutOld,
        Self::CursorFromOurClock,
        Self::CursorDespiteTear,
        Self::NoOverlap,
        Self::ComparedAsSpelt,
        Self::UnknownIsSuccess,
        Self::UnknownIsFailure,
        Self::ShortQuarantine,
        Self::AttemptBlocksNothing,
        Self::AttemptsForgottenAtStart,
        Self::NoRecheck,
        Self::NoSecondLook,
        Self::OlderIsNever,
        Self::ReadBeforeOurWrite,
        Self::AbsenceWithoutAge,
        Self::GoneUnconfirmed,
        Self::TornSweepIsWhole,
        Self::OriginUnconfirmed,
        Self::UnseenIsAbsent,
        Self::BatchErrorOnAllRows,
        Self::TieByTime,
        Self::NoClockOffset,
        Self::OwnWriteIsEdit,
        Self::ClearBeatsEdit,
        Self::FirstMeetingClears,
        Self::RailAfterFirstWrite,
        Self::DecisionForgotten,
        Self::PauseIgnored,
        Self::AlterationIsEdit,
        Self::PartedForgotten,
        Self::CreateSentAgain,
        Self::CreateUnlooked,
        Self::ConsentPresumed,
        Self::RefusalLoses,
        Self::NothingIsNotFalse,
        Self::MembersUnconfirmed,
        Self::BesideIsSignOfLife,
        Self::BesideIsMet,
    ];
}

#[cfg(feature = "proof")]
mod kept {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
        static MET: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// Plants a fault in all that this thread runs from now on; none takes it away.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    /// What this thread has met since it was last asked, and how often.
    pub fn met() -> BTreeMap<String, u64> {
        MET.take()
    }

    pub(crate) fn has(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }

    pub(crate) fn meet(what: impl FnOnce() -> String) {
        MET.with_borrow_mut(|met| *met.entry(what()).or_default() += 1);
    }
}

#[cfg(feature = "proof")]
pub(crate) use kept::{has, meet};
#[cfg(feature = "proof")]
pub use kept::{met, plant};

#[cfg(not(feature = "proof"))]
pub(crate) const fn has(_: Fault) -> bool {
    false
}

#[cfg(not(feature = "proof"))]
#[allow(clippy::needless_pass_by_value, reason = "the same call in both builds")]
pub(crate) fn meet<F: FnOnce() -> String>(_: F) {}
