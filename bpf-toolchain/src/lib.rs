//! The one place that knows how capaudit's BPF programs are compiled.
//!
//! This crate never loads what it compiles, and knows nothing of what the programs do. Begin to read with [`Toolchain`].
//!
//! The `capaudit-ebpf` crate is built for `bpfel-unknown-none`, a target without a shipped standard library. That takes
//! a Rust compiler that comes with the library's sources (`core` is compiled along), and a `bpf-linker` built against
//! the same major version of LLVM, since it reads the bitcode which the compiler writes. [`Toolchain::find`] looks for
//! such a pair; [`Toolchain::build`] compiles the crate with it, undisturbed by an outer cargo, so that a build script
//! can call it:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use std::path::Path;
//!
//! let toolchain = bpf_toolchain::Toolchain::find()?;
//! let object = toolchain.build(Path::new("../capaudit-ebpf"), Path::new("../target/bpf"))?;
//! # drop(object);
//! # Ok(())
//! # }
//! ```
//!
//! For those who have no such toolchain, an object lies in the repository, with a record of what it was built from:
//! [`Committed`] tells whether it may be used.
//!
//! Give it one target directory for every profile of the outer build: the object is the same, and `core` need not be
//! compiled again.

mod build;
mod choice;
mod committed;
mod compiler;
mod environment;
mod linker;
mod missing;
mod rustup;
mod sources;
mod system;

pub use choice::Choice;
pub use committed::{Committed, Comparison, Stale};
pub use compiler::{Compiler, Version};
pub use linker::Linker;
pub use missing::{Missing, Piece};
pub use sources::SOURCES;

use std::fmt;

use anyhow::Result;

/// The environment variable that restricts the search: `debian` for the system's own Rust, `rustup` for rustup's.
pub const OVERRIDE: &str = "CAPAUDIT_BPF_TOOLCHAIN";

/// A compiler and a linker that fit together.
#[derive(Debug, Clone)]
pub struct Toolchain {
    compiler: Compiler,
    linker: Linker,
}

impl Toolchain {
    /// The best pair on this machine: rustup's nightly, another toolchain of rustup's, the system's own Rust
    /// (`/usr/bin`), whichever comes first with library sources and a matching linker. The variable [`OVERRIDE`]
    /// narrows the search.
    pub fn find() -> Result<Self, Missing> {
        let (compilers, rejected) = compilers(Choice::from_environment()?);
        Self::pair(&compilers, &Linker::installed(), rejected)
    }

    /// The first compiler that some linker fits, or what is in the way.
    fn pair(
        compilers: &[Compiler],
        linkers: &[Linker],
        rejected: Vec<String>,
    ) -> Result<Self, Missing> {
        let fitting = compilers.iter().find_map(|compiler| {
            let linker = linkers
                .iter()
                .find(|linker| linker.reads_output_of(compiler))?;
            Some(Self {
                compiler: compiler.clone(),
                linker: linker.clone(),
            })
        });
        fitting.ok_or_else(|| {
            let no_linker = linkers.is_empty().then_some(Piece::Linker);
            match (compilers.first(), linkers.first()) {
                (None, _) => {
                    Missing::new([Piece::Compiler { rejected }].into_iter().chain(no_linker))
                }
                (Some(compiler), Some(linker)) => Missing::new([Piece::MatchingLinker {
                    compiler: compiler.clone(),
                    linker: linker.clone(),
                }]),
                (Some(_), None) => Missing::new(no_linker),
            }
        })
    }

    /// The compiler of the pair.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// The exact compiler and linker: two toolchains of which this is the same make the same object of the same sources.
    ///
    /// # Errors
    ///
    /// The linker does not start.
    pub fn identity(&self) -> Result<String> {
        Ok(format!(
            "{}, {}",
            self.compiler.identity(),
            self.linker.version()?
        ))
    }

    /// The linker of the pair.
    pub fn linker(&self) -> &Linker {
        &self.linker
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.compiler, self.linker)
    }
}

impl Compiler {
    /// The best compiler on this machine, whether or not there is a linker for it.
    pub fn best() -> Result<Self, Missing> {
        let (compilers, rejected) = compilers(Choice::from_environment()?);
        let best = compilers.into_iter().next();
        best.ok_or_else(|| Missing::new([Piece::Compiler { rejected }]))
    }
}

/// Every compiler that can build `core`, best first, and why each of the others cannot.
fn compilers(choice: Choice) -> (Vec<Compiler>, Vec<String>) {
    let mut found = Vec::new();
    let mut rejected = Vec::new();
    let rustup = if choice.allows_rustup() {
        rustup::compilers()
    } else {
        Vec::new()
    };
    let system = choice.allows_system().then(system::compiler);
    for candidate in rustup.into_iter().chain(system) {
        match candidate {
            Ok(compiler) => found.push(compiler),
            Err(reason) => rejected.push(reason),
        }
    }
    (found, rejected)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn compiler(llvm: u32) -> Compiler {
        Compiler::for_test(&format!("/opt/llvm{llvm}/rustc"), llvm)
    }

    fn linker(llvm: Option<u32>) -> Linker {
        Linker::for_test("/opt/bin/bpf-linker", llvm)
    }

    #[test]
    fn the_first_compiler_with_a_fitting_linker_wins() {
        let compilers = [compiler(23), compiler(22)];
        let found = Toolchain::pair(&compilers, &[linker(Some(22))], Vec::new()).unwrap();
        assert_eq!(found.compiler().llvm(), Some(22));
    }

    #[test]
    fn a_linker_that_does_not_tell_its_llvm_is_taken_on_trust() {
        let found = Toolchain::pair(
            &[compiler(23)],
            &[linker(Some(22)), linker(None)],
            Vec::new(),
        )
        .unwrap();
        assert_eq!(found.linker().llvm(), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |compilers: &[Compiler], linkers: &[Linker]| {
            Toolchain::pair(compilers, linkers, vec!["/usr/bin/rustc is absent".into()])
                .unwrap_err()
        };
        let pieces = missing(&[], &[]);
        assert!(
            matches!(pieces.pieces(), [Piece::Compiler { rejected }, Piece::Linker] if rejected.len() == 1)
        );
        assert!(matches!(
            missing(&[], &[linker(None)]).pieces(),
            [Piece::Compiler { .. }]
        ));
        assert!(matches!(
            missing(&[compiler(22)], &[]).pieces(),
            [Piece::Linker]
        ));
        let mismatch = missing(&[compiler(23)], &[linker(Some(22))]);
        assert!(matches!(mismatch.pieces(), [Piece::MatchingLinker { .. }]));
    }
}
