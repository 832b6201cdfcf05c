//! Who pays for a call: a reservation as long as it lasts, then a turn in a lane.

use super::{Lane, Reservation};
use crate::http::{Pay, Reserved};

/// How the calls of one piece of work are paid for.
#[derive(Clone, Copy)]
pub(super) struct Paid<'a> {
    reservation: Option<&'a dyn Reservation>,
    lane: Lane,
}

impl<'a> Paid<'a> {
    pub(super) const fn in_lane(lane: Lane) -> Self {
        Self { reservation: None, lane }
    }

    pub(super) const fn by(reservation: &'a dyn Reservation, lane: Lane) -> Self {
        Self { reservation: Some(reservation), lane }
    }

    pub(super) fn read(self) -> Pay {
        if self.reservation.is_some_and(Reservation::take) { Pay::Prepaid } else { Pay::InTurn(self.lane) }
    }

    /// A write follows its recheck at once or not at all.
    pub(super) fn write(self) -> Pay {
        if self.reservation.is_some_and(Reservation::take) { Pay::PrepaidNow } else { Pay::InTurn(self.lane) }
    }
}

impl Reservation for Reserved {
    fn take(&self) -> bool {
        Self::take(self)
    }
}
