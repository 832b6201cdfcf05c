//! Names that people mistype.

/// The longest name that is looked at, in characters: the comparison takes memory for every pair of letters, and one of the
/// names comes from an answer.
const CHARS_MAX: usize = 255;

/// The known name that is most like this one, if any is like it.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.trim().to_lowercase();
    if !is_short(&wanted) {
        return None;
    }
    known
        .filter(|candidate| is_short(candidate))
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.trim().to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= (wanted.chars().count() / 2).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The known name whose label this is, or that is most like it: people copy what they see on the screen. `known` has names with
/// their labels.
pub(super) fn meant<'a>(name: &str, known: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Option<&'a str> {
    let wanted = name.trim();
    let labelled = known.clone().find(|(_, label)| label.trim().eq_ignore_ascii_case(wanted)).map(|(name, _)| name);
    labelled.or_else(|| nearest(name, known.map(|(name, _)| name)))
}

fn is_short(name: &str) -> bool {
    name.chars().nth(CHARS_MAX).is_none()
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
        let labelled = [("jobtitle", "Job Title"), ("job_tile", "Roof"), ("x", "")];
        assert_eq!(meant("job title", labelled.into_iter()), Some("jobtitle"), "what people see");
        assert_eq!(meant("job_tite", labelled.into_iter()), Some("job_tile"));
        // Ten thousand gigabytes would be needed to compare these.
        let long = "x".repeat(1_000_000);
        assert_eq!(nearest(&long, [long.as_str()].into_iter()), None);
        assert_eq!(nearest("Job titel", [long.as_str(), "Job title"].into_iter()), Some("Job title"));
    }
}
