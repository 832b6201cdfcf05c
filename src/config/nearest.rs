//! The known word that somebody who wrote another one most likely meant.

/// What is longer than any word that anybody would mistype is not compared beyond this: the comparison takes memory for
/// every pair of letters.
const CHARS_COMPARED: usize = 128;

/// The candidate with the fewest edits (letters added, dropped, changed or swapped) from `word`, in any case; none only
/// if there are no candidates.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let compared = |word: &str| word.chars().take(CHARS_COMPARED).collect::<String>().to_lowercase();
    let word = compared(word);
    candidates.into_iter().min_by_key(|candidate| strsim::damerau_levenshtein(&word, &compared(candidate)))
}

/// `; did you mean `x`?`, or nothing where there are no candidates.
pub(super) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |found| format!("; did you mean `{found}`?"))
}

/// `a, b and c`, for a list of known words.
pub(super) fn list<'a>(words: impl IntoIterator<Item = &'a str>, conjunction: &str) -> String {
    let mut words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.pop() {
        None => String::new(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} {conjunction} {last}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_with_the_fewest_edits_wins() {
        assert_eq!(nearest("Pol", ["sweep", "poll", "overlap"]), Some("poll"));
        assert_eq!(nearest("polls", []), None);
        assert_eq!(hint("swepe", ["poll", "sweep"]), "; did you mean `sweep`?");
    }

    #[test]
    fn lists_read_as_prose() {
        assert_eq!(list(["a", "b", "c"], "or"), "`a`, `b` or `c`");
        assert_eq!(list(["a"], "or"), "`a`");
    }
}
