//! Small charts of a day: bars as integers, for SVG that needs no style and no script. Pure.

use std::time::Duration;

use super::Day;
use super::words::number;
use crate::model::lasting;

/// How high a chart is, in units of its own.
pub(super) const HEIGHT: u64 = 36;

/// From one bar to the next.
const STEP: u64 = 5;

/// One bar; zeros are not drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub x: u64,
    pub y: u64,
    pub height: u64,
    /// What it is, for the style sheet.
    pub kind: &'static str,
}

/// A chart, and what it says in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chart {
    pub width: u64,
    pub bars: Vec<Bar>,
    /// For whoever does not see it.
    pub words: String,
}

/// How high a value is among others of which this is the most: never nothing, so that one write in a thousand shows.
fn scaled(value: u64, most: u64) -> u64 {
    if value == 0 { 0 } else { (u128::from(value) * u128::from(HEIGHT) / u128::from(most.max(1))).max(2) as u64 }
}

/// How many values were written, to the store above those to the CRM.
pub(super) fn writes(day: &Day) -> Chart {
    let most = day.stretches.iter().map(|stretch| stretch.to_store + stretch.to_crm).max().unwrap_or(0);
    let mut bars = Vec::new();
    for (x, stretch) in (0..).step_by(STEP as usize).zip(&day.stretches) {
        let total = scaled(stretch.to_store + stretch.to_crm, most);
        let to_crm = if stretch.to_store == 0 { total } else { scaled(stretch.to_crm, most).min(total) };
        if to_crm > 0 {
            bars.push(Bar { x, y: HEIGHT - to_crm, height: to_crm, kind: "crm" });
        }
        if total > to_crm {
            bars.push(Bar { x, y: HEIGHT - total, height: total - to_crm, kind: "store" });
        }
    }
    let (store, crm) = totals(day);
    let words = match store + crm {
        0 => "nothing written in the last day".to_owned(),
        _ => format!("{} to the store and {} to the CRM in the last day", number(store), number(crm)),
    };
    Chart { width: width(day), bars, words }
}

/// How long edits waited until their write was sent.
pub(super) fn waits(day: &Day) -> Chart {
    let most = longest(day).unwrap_or(0);
    let bar = |(x, stretch): (u64, &super::Stretch)| {
        let height = scaled(stretch.longest_ms?.max(1), most);
        Some(Bar { x, y: HEIGHT - height, height, kind: "wait" })
    };
    let bars = (0..).step_by(STEP as usize).zip(&day.stretches).filter_map(bar).collect();
    let words = longest(day).map_or_else(
        || "no edit travelled in the last day".to_owned(),
        |longest| {
            format!("the longest that an edit waited in the last day: {}", lasting(Duration::from_millis(longest)))
        },
    );
    Chart { width: width(day), bars, words }
}

/// Values written to the store, and to the CRM.
pub(super) fn totals(day: &Day) -> (u64, u64) {
    let sum = |of: fn(&super::Stretch) -> u64| day.stretches.iter().map(of).sum();
    (sum(|stretch| stretch.to_store), sum(|stretch| stretch.to_crm))
}

/// The longest that an edit waited; none: none travelled.
pub(super) fn longest(day: &Day) -> Option<u64> {
    day.stretches.iter().filter_map(|stretch| stretch.longest_ms).max()
}

fn width(day: &Day) -> u64 {
    day.stretches.len() as u64 * STEP - 1
}

#[cfg(test)]
mod tests {
    use super::super::Stretch;
    use super::*;

    fn day(stretches: &[(u64, u64, Option<u64>)]) -> Day {
        let stretch = |(to_store, to_crm, longest_ms): &(u64, u64, Option<u64>)| Stretch {
            to_store: *to_store,
            to_crm: *to_crm,
            longest_ms: *longest_ms,
        };
        Day { stretches: stretches.iter().map(stretch).collect(), ..Day::default() }
    }

    #[test]
    fn bars_stand_on_each_other_and_little_is_still_seen() {
        let chart = writes(&day(&[(0, 0, None), (1, 0, None), (300, 600, None), (0, 1, None)]));
        let bar = |x, y, height, kind| Bar { x, y, height, kind };
        let expected = [bar(5, 34, 2, "store"), bar(10, 12, 24, "crm"), bar(10, 0, 12, "store"), bar(15, 34, 2, "crm")];
        assert_eq!((chart.width, chart.bars), (19, expected.to_vec()));
        assert_eq!(chart.words, "301 to the store and 601 to the CRM in the last day");
    }

    #[test]
    fn an_empty_day_has_no_bars_and_says_so() {
        let empty = day(&[(0, 0, None); 48]);
        assert_eq!((writes(&empty).bars.len(), waits(&empty).bars.len()), (0, 0));
        assert_eq!(writes(&empty).words, "nothing written in the last day");
        assert_eq!(waits(&empty).words, "no edit travelled in the last day");
        let huge = day(&[(u64::MAX / 2, 0, Some(u64::MAX)), (0, 0, Some(0))]);
        assert_eq!(writes(&huge).bars[0].height, HEIGHT);
        assert_eq!(waits(&huge).bars.iter().map(|bar| bar.height).collect::<Vec<_>>(), [HEIGHT, 2]);
    }
}
