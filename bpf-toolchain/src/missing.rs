//! What keeps the BPF programs from being built, and how to mend it.

use std::fmt;

use crate::{
    OVERRIDE,
    compiler::{Compiler, OLDEST},
    linker::Linker,
};

/// One thing that is not there.
#[derive(Debug, Clone)]
pub enum Piece {
    /// No compiler that comes with the library's sources.
    Compiler {
        /// Why each compiler that was looked at will not do.
        rejected: Vec<String>,
    },
    /// No `bpf-linker` at all.
    Linker,
    /// Compilers and linkers, but no two of the same LLVM.
    MatchingLinker {
        /// The best compiler, which needs a linker of its own LLVM.
        compiler: Compiler,
        /// The linker that was found first.
        linker: Linker,
    },
    /// The variable that chooses a toolchain has a value that means nothing.
    Override {
        /// What the variable is set to.
        value: String,
    },
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler { rejected } => {
                write!(
                    f,
                    "no Rust compiler from {OLDEST} on that comes with the library's sources"
                )?;
                if !rejected.is_empty() {
                    write!(f, " ({})", rejected.join("; "))?;
                }
                Ok(())
            }
            Self::Linker => f.write_str("no bpf-linker in PATH or in cargo's bin directory"),
            Self::MatchingLinker { compiler, linker } => {
                write!(
                    f,
                    "{linker} cannot read what {compiler} writes, their LLVM differs"
                )
            }
            Self::Override { value } => write!(f, "{OVERRIDE} is {value:?}"),
        }
    }
}

/// Why no toolchain was found.
#[derive(Debug, Clone)]
pub struct Missing {
    pieces: Vec<Piece>,
}

impl Missing {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self {
            pieces: pieces.into_iter().collect(),
        }
    }

    /// Everything that is in the way.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// What to do about it, as the end of the message.
    pub fn remedy(&self) -> &'static str {
        match self.pieces[..] {
            [Piece::Override { .. }] => "set it to `debian` or `rustup`, or unset it",
            _ => "run `cargo xtask setup`",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot build the BPF programs: ")?;
        for piece in &self.pieces {
            write!(f, "{piece}; ")?;
        }
        f.write_str(self.remedy())
    }
}

impl std::error::Error for Missing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_piece_and_the_remedy_in_one_line() {
        let missing = Missing::new([
            Piece::Compiler {
                rejected: vec!["/usr/bin/rustc is absent".into()],
            },
            Piece::Linker,
        ]);
        assert_eq!(
            missing.to_string(),
            "cannot build the BPF programs: no Rust compiler from 1.95.0 on that comes with the library's sources \
             (/usr/bin/rustc is absent); no bpf-linker in PATH or in cargo's bin directory; run `cargo xtask setup`"
        );
        let typo = Missing::new([Piece::Override {
            value: "nightly".into(),
        }]);
        assert_eq!(
            typo.to_string(),
            "cannot build the BPF programs: CAPAUDIT_BPF_TOOLCHAIN is \"nightly\"; set it to `debian` or `rustup`, or \
             unset it"
        );
    }
}
