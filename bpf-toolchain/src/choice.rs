//! The user's say in which compiler is taken.

use std::env;

use crate::{
    OVERRIDE,
    missing::{Missing, Piece},
};

/// Where to look for a compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Among rustup's toolchains first, then in the system's own Rust.
    Any,
    /// Only among rustup's toolchains.
    Rustup,
    /// Only the system's own Rust in `/usr/bin`.
    System,
}

impl Choice {
    /// What [`OVERRIDE`] chooses; everywhere if it is unset or empty.
    ///
    /// # Errors
    ///
    /// It has a value that means nothing.
    pub fn from_environment() -> Result<Self, Missing> {
        let value = env::var_os(OVERRIDE).unwrap_or_default();
        let value = value.to_string_lossy();
        Self::parse(&value).ok_or_else(|| {
            Missing::new([Piece::Override {
                value: value.into_owned(),
            }])
        })
    }

    fn parse(value: &str) -> Option<Self> {
        match value {
            "" => Some(Self::Any),
            "rustup" => Some(Self::Rustup),
            "debian" => Some(Self::System),
            _ => None,
        }
    }

    pub(crate) fn allows_rustup(self) -> bool {
        self != Self::System
    }

    pub(crate) fn allows_system(self) -> bool {
        self != Self::Rustup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_names_restrict() {
        assert_eq!(Choice::parse(""), Some(Choice::Any));
        assert_eq!(Choice::parse("debian"), Some(Choice::System));
        assert_eq!(Choice::parse("rustup"), Some(Choice::Rustup));
        assert_eq!(Choice::parse("nightly"), None);
    }
}
