//! Names that people mistype.

/// The known name that is most like this one, if any is like it.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.trim().to_lowercase();
    known
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.trim().to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= (wanted.chars().count() / 2).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name() {
        let known = ["Job title", "Wholesaler ID", "Credit limit"];
        assert_eq!(nearest("job titel", known.into_iter()), Some("Job title"));
        assert_eq!(nearest("Wholesaler Id ", known.into_iter()), Some("Wholesaler ID"));
        assert_eq!(nearest("Birthday", known.into_iter()), None);
    }
}
