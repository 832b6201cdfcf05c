//! Looking for records by what they hold: how a source much larger than its other side is read, and what is asked before
//! a record is made.

use std::collections::HashSet;

use async_trait::async_trait;

use super::Lane;
use crate::model::{Failure, Key};

/// The most keys that one find collects: what so many records share names nobody, and whoever asks says so.
pub(super) const KEYS_FOUND_MAX: usize = 200_000;

/// What a source's lookups take in one call, and what a whole read takes: what to choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupLimits {
    /// The most values of one [`Lookup::keys_with`].
    pub values_per_find: usize,
    /// The records that one call of [`super::Connector::everything`] shows.
    pub rows_per_page: usize,
}

/// A source that finds records by a value.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// What to choose by.
    fn lookup_limits(&self) -> LookupLimits;

    /// Whether records can be found by this field (an index into the connector's fields).
    fn finds_by(&self, field: usize) -> bool;

    /// How many records there are, about.
    async fn count(&self, lane: Lane) -> Result<u64, Failure>;

    /// The keys of the records that hold one of these values in a field; with `fold`, whatever the case of their letters.
    /// It may name more (the caller compares what it reads of them), never fewer than there were when it was asked, as far as
    /// the source's own search knows them. At most `values_per_find` values, each without white space around it and with
    /// `fold` in small letters: white space around what a record holds does not count. Only for fields that
    /// [`Lookup::finds_by`].
    async fn keys_with(&self, field: usize, values: &[String], fold: bool, lane: Lane) -> Result<Vec<Key>, Failure>;
}

/// The values of one find, for a source whose own search tells less or other letters apart than whoever asks.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    values: HashSet<String>,
    fold: bool,
}

impl Wanted {
    /// These values; nothing is held by nobody.
    pub(super) fn new(values: &[String], fold: bool) -> Self {
        let values = values.iter().filter(|value| !value.is_empty()).cloned().collect();
        Self { values, fold }
    }

    /// Whether what a record holds is one of them.
    pub(super) fn is(&self, held: &str) -> bool {
        let held = held.trim();
        if self.fold { self.values.contains(&held.to_lowercase()) } else { self.values.contains(held) }
    }
}

/// A pattern of `LIKE` that is like a value, with `\` before what means something there. What is not ASCII may be anything: the database may not know its other case.
pub(super) fn like(value: &str) -> String {
    let mut pattern = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '%' | '_' | '\\' => pattern.extend(['\\', character]),
            _ if character.is_ascii() => pattern.push(character),
            _ if pattern.ends_with('%') && !pattern.ends_with("\\%") => {}
            _ => pattern.push('%'),
        }
    }
    pattern
}

/// Patterns of `LIKE` for what begins or ends with white space.
pub(super) fn spaced() -> impl Iterator<Item = String> {
    [" ", "\t", "\n", "\r", "\u{a0}"].into_iter().flat_map(|space| [format!("{space}%"), format!("%{space}")])
}

/// Values in pieces of at most so many, and of at most so many characters (by `chars`) where a piece has more than one.
pub(super) fn pieces(
    values: &[String],
    most: usize,
    chars_max: usize,
    chars: impl Fn(&str) -> usize,
) -> Vec<&[String]> {
    let mut pieces = Vec::new();
    let (mut begin, mut total) = (0, 0);
    for (at, value) in values.iter().enumerate() {
        let more = chars(value);
        if at > begin && (at - begin == most || total + more > chars_max) {
            pieces.push(&values[begin..at]);
            (begin, total) = (at, 0);
        }
        total += more;
    }
    if begin < values.len() {
        pieces.push(&values[begin..]);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_compared_without_white_space_and_in_small_letters() {
        let values = ["ärger@example.com".to_owned(), "B 7".to_owned(), String::new()];
        for (held, exactly, folded) in [
            (" ärger@example.com\t", true, true),
            ("ÄRGER@Example.COM\u{a0}", false, true),
            ("B 7", true, false),
            ("B  7", false, false),
            ("", false, false),
            (" ", false, false),
        ] {
            assert_eq!(Wanted::new(&values, false).is(held), exactly, "{held:?}");
            assert_eq!(Wanted::new(&values, true).is(held), folded, "{held:?}");
        }
    }

    #[test]
    fn patterns_mean_what_values_say() {
        for (value, expected) in [
            ("ada@example.com", "ada@example.com"),
            ("100%_\\", "100\\%\\_\\\\"),
            ("ärgerß", "%rger%"),
            ("äö%ü", "%\\%%"),
            ("%ä", "\\%%"),
        ] {
            assert_eq!(like(value), expected, "{value}");
        }
    }

    #[test]
    fn pieces_have_as_many_values_and_characters_as_they_may() {
        let of = |count: usize, chars: usize| vec!["x".repeat(chars); count];
        for (values, expected) in [
            (of(0, 1), vec![]),
            (of(100, 5), vec![100]),
            (of(101, 5), vec![100, 1]),
            (of(60, 100), vec![25, 25, 10]),
            (of(2, 5_000), vec![1, 1]),
        ] {
            let lengths: Vec<usize> = pieces(&values, 100, 2_500, str::len).into_iter().map(<[String]>::len).collect();
            assert_eq!(lengths, expected);
        }
    }
}
