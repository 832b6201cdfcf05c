//! Rails: whether what is planned, with what the last 24 hours have done, would cross a limit.

use crate::model::{Rail, Rails};

/// How much of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values written.
    pub writes: u64,
    /// Values cleared, and differing values overwritten at first meeting.
    pub clears: u64,
    /// Records created.
    pub creates: u64,
    /// Records deleted, or unlinked because they are gone.
    pub deletes: u64,
}

/// A limit that would be crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// `writes`, `clears`, `creates` or `deletes`.
    pub rail: &'static str,
    /// What it would come to.
    pub count: u64,
    /// What is allowed.
    pub limit: u64,
}

/// How many changes a percentage always lets through.
const PERCENT_FREE: u64 = 10;

/// The rails that `past` (the last 24 hours) and `planned` together would cross. `fields`: all mapped fields of linked
/// records; `records`: linked records. A percentage never stops fewer than 10 changes, and a rail of which nothing is
/// planned stops nothing, whatever the past.
pub fn crossed(rails: &Rails, past: Counts, planned: Counts, fields: u64, records: u64) -> Vec<Crossed> {
    [
        ("writes", rails.writes, past.writes, planned.writes, fields),
        ("clears", rails.clears, past.clears, planned.clears, fields),
        ("creates", rails.creates, past.creates, planned.creates, records),
        ("deletes", rails.deletes, past.deletes, planned.deletes, records),
    ]
    .into_iter()
    .filter_map(|(name, rail, past, planned, base)| {
        let (count, limit) = (past.saturating_add(planned), limit(rail, base));
        (planned > 0 && count > limit).then_some(Crossed { rail: name, count, limit })
    })
    .collect()
}

/// What a rail allows, of so many.
fn limit(rail: Rail, base: u64) -> u64 {
    if rail.percent >= 100.0 {
        return rail.count;
    }
    // The hair makes up for binary fractions: 2.3 % of 1000 are 23. The cast cuts to 0 and to the greatest number.
    let share = (base as f64 * rail.percent / 100.0 + 1e-9).floor() as u64;
    rail.count.min(share.max(PERCENT_FREE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Counts = Counts { writes: 0, clears: 0, creates: 0, deletes: 0 };

    fn limits(count: u64, percent: f64, base: u64) -> u64 {
        limit(Rail { count, percent }, base)
    }

    #[test]
    fn whichever_limit_is_crossed_first() {
        assert_eq!(limits(100, 5.0, 1000), 50);
        assert_eq!(limits(100, 5.0, 2000), 100);
        assert_eq!(limits(100, 5.0, 1_000_000), 100);
        assert_eq!(limits(10_000, 2.3, 1000), 23);
        assert_eq!(limits(10_000, 0.5, 3999), 19);
    }

    #[test]
    fn a_percentage_never_stops_fewer_than_ten_but_a_count_may() {
        assert_eq!(limits(100, 5.0, 0), 10);
        assert_eq!(limits(100, 5.0, 199), 10);
        assert_eq!(limits(100, f64::NAN, 199), 10);
        assert_eq!(limits(100, -5.0, 100_000), 10);
        assert_eq!(limits(3, 5.0, 1000), 3);
        assert_eq!(limits(0, 100.0, 1000), 0);
    }

    #[test]
    fn a_hundred_percent_is_no_relative_limit() {
        assert_eq!(limits(100, 100.0, 5), 100);
        assert_eq!(limits(100, f64::INFINITY, 5), 100);
    }

    #[test]
    fn the_past_counts_and_each_rail_has_its_base() {
        let rails = Rails::default();
        let past = Counts { writes: 400, clears: 40, creates: 8, deletes: 9 };
        let planned = Counts { writes: 100, clears: 11, creates: 3, deletes: 1 };
        let crossed = crossed(&rails, past, planned, 1000, 200);
        assert_eq!(
            crossed,
            [Crossed { rail: "clears", count: 51, limit: 50 }, Crossed { rail: "creates", count: 11, limit: 10 },]
        );
    }

    #[test]
    fn up_to_the_limit_nothing_is_crossed() {
        let rails = Rails { clears: Rail { count: 100, percent: 100.0 }, ..Rails::default() };
        let planned = |clears| Counts { clears, ..NONE };
        assert!(crossed(&rails, planned(60), planned(40), 10, 2).is_empty());
        assert_eq!(crossed(&rails, planned(60), planned(41), 10, 2).len(), 1);
        assert_eq!(crossed(&rails, planned(u64::MAX), planned(1), 10, 2).len(), 1);
    }

    #[test]
    fn without_a_plan_nothing_is_crossed() {
        let past = Counts { writes: 1_000_000, clears: 1_000_000, creates: 1_000_000, deletes: 1_000_000 };
        assert!(crossed(&Rails::default(), past, NONE, 10, 2).is_empty());
    }
}
