//! Exit codes: an interface that scripts rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Done; both sides agree.
    #[default]
    Done,
    /// Done, but something is held, pending or stopped at a rail; `plan --exit-code`: there is something to write.
    Attention,
    /// Wrong usage.
    Usage,
    /// A defect of ours.
    Defect,
    /// A system could not be reached, or kept failing: try again.
    Unreachable,
    /// A system refused our credentials.
    Unauthorized,
    /// The configuration is wrong.
    Misconfigured,
}

impl Exit {
    /// By precedence, the most important first. Wrong usage is found before anything else can happen.
    const PRECEDENCE: [Self; 7] = [
        Self::Usage,
        Self::Defect,
        Self::Misconfigured,
        Self::Unauthorized,
        Self::Unreachable,
        Self::Attention,
        Self::Done,
    ];

    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Attention => 1,
            Self::Usage => 2,
            Self::Defect => 70,
            Self::Unreachable => 75,
            Self::Unauthorized => 77,
            Self::Misconfigured => 78,
        }
    }

    /// Which of two to end with where both apply: 70, 78, 77, 75, 1, 0 in that order.
    #[must_use]
    pub fn combine(self, other: Self) -> Self {
        Self::PRECEDENCE.into_iter().find(|exit| *exit == self || *exit == other).unwrap_or(self)
    }
}

/// Of several, the one that takes precedence; of none, [`Exit::Done`].
impl FromIterator<Exit> for Exit {
    fn from_iter<I: IntoIterator<Item = Exit>>(exits: I) -> Self {
        exits.into_iter().fold(Self::Done, Self::combine)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_is_as_documented() {
        let mut exits =
            [Exit::Done, Exit::Attention, Exit::Unreachable, Exit::Unauthorized, Exit::Misconfigured, Exit::Defect];
        let mut codes = Vec::new();
        for end in 1..=exits.len() {
            codes.push(exits[..end].iter().copied().collect::<Exit>().code());
        }
        assert_eq!(codes, [0, 1, 75, 77, 78, 70]);
        exits.reverse();
        assert_eq!(exits.into_iter().collect::<Exit>(), Exit::Defect);
        assert_eq!(std::iter::empty().collect::<Exit>(), Exit::Done);
    }

    #[test]
    fn combining_is_symmetric() {
        for one in Exit::PRECEDENCE {
            for other in Exit::PRECEDENCE {
                assert_eq!(one.combine(other), other.combine(one));
            }
        }
    }
}
