//! What a refusal does.

use crate::capability::Capability;

/// What the function that asks makes of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The system call fails, or does not do what it was called for.
    Fails,
    /// It fails unless this other capability is there, which is asked for at the same place.
    Either(Capability),
    /// It depends on arguments, limits or ids, as the text says; rules look at them. Where no rule can, it fails.
    Depends(&'static str),
    /// A finer rule decides afterwards: what it allows to everybody.
    First(&'static str),
    /// It goes on, and something that the program asked for is missing: what.
    Degrades(&'static str),
    /// It goes on without something that hardly any program asks for: what.
    Hides(&'static str),
    /// Nothing that a program can see: why it is asked.
    Nothing(&'static str),
    /// Nobody has looked: taken for [`Effect::Fails`].
    Unknown,
}

impl Effect {
    /// From the table: a word, and what belongs to it. `None` if the word is unknown or what belongs to it is missing.
    pub(super) fn parse(text: &'static str) -> Option<Self> {
        match text {
            "fails" => return Some(Self::Fails),
            "unknown" => return Some(Self::Unknown),
            _ => {}
        }
        if let Some(other) = text.strip_prefix("either ") {
            return other.parse().ok().map(Self::Either);
        }
        let (word, rest) = text.split_once(": ")?;
        match word {
            "depends" => Some(Self::Depends(rest)),
            "first" => Some(Self::First(rest)),
            "degrades" => Some(Self::Degrades(rest)),
            "hides" => Some(Self::Hides(rest)),
            "nothing" => Some(Self::Nothing(rest)),
            _ => None,
        }
    }

    /// How much hangs on it. Where a stack does not tell which of several functions asked, the greatest counts.
    pub fn weight(self) -> u8 {
        match self {
            Self::Nothing(_) => 0,
            Self::Hides(_) => 1,
            Self::Degrades(_) => 2,
            Self::First(_) => 3,
            Self::Either(_) => 4,
            Self::Depends(_) => 5,
            Self::Fails | Self::Unknown => 6,
        }
    }

    /// The first word of its row.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::Either(_) => "either",
            Self::Depends(_) => "depends",
            Self::First(_) => "first",
            Self::Degrades(_) => "degrades",
            Self::Hides(_) => "hides",
            Self::Nothing(_) => "nothing",
            Self::Unknown => "unknown",
        }
    }
}
