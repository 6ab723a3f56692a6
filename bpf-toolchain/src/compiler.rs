//! A Rust compiler that brings what is needed to compile `core`.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::environment;

/// The oldest compiler that the BPF crate and aya-ebpf accept.
pub(crate) const OLDEST: Version = Version(1, 95, 0);

/// Where the library's sources lie below a sysroot; the lock file is the part that cargo's `build-std` asks for first.
pub(crate) const LIBRARY_LOCK: &str = "lib/rustlib/src/rust/library/Cargo.lock";

/// A compiler's release: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads `1.96.0` or `1.97.0-nightly`.
    fn parse(text: &str) -> Option<Self> {
        let release = text.split(['-', '+', ' ']).next()?;
        let mut numbers = release.split('.').map(|number| number.parse().ok());
        Some(Self(
            numbers.next()??,
            numbers.next()??,
            numbers.next().flatten().unwrap_or(0),
        ))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A cargo and a rustc that can build `core` for BPF.
#[derive(Debug, Clone)]
pub struct Compiler {
    cargo: PathBuf,
    rustc: PathBuf,
    sysroot: PathBuf,
    version: Version,
    identity: String,
    llvm: Option<u32>,
    unstable: bool,
}

impl Compiler {
    /// Asks `rustc` what it is; the error says in a few words why it will not do.
    pub(crate) fn examine(cargo: PathBuf, rustc: PathBuf) -> Result<Self, String> {
        for program in [&rustc, &cargo] {
            if !program.is_file() {
                return Err(format!("{} is absent", program.display()));
            }
        }
        let about = ask(&rustc, &["--version", "--verbose"])?;
        let version = field(&about, "release: ")
            .and_then(Version::parse)
            .ok_or_else(|| format!("{} does not tell its release", rustc.display()))?;
        if version < OLDEST {
            return Err(format!(
                "{} is {version}, older than {OLDEST}",
                rustc.display()
            ));
        }
        let sysroot = PathBuf::from(ask(&rustc, &["--print", "sysroot"])?.trim());
        if !sysroot.join(LIBRARY_LOCK).is_file() {
            return Err(format!("{} comes without library sources", rustc.display()));
        }
        Ok(Self {
            cargo,
            version,
            identity: format!(
                "{}, LLVM {}",
                about.lines().next().unwrap_or_default(),
                field(&about, "LLVM version: ").unwrap_or_default()
            ),
            llvm: field(&about, "LLVM version: ").and_then(|llvm| Some(Version::parse(llvm)?.0)),
            unstable: field(&about, "release: ")
                .is_some_and(|release| release.contains("-nightly")),
            rustc,
            sysroot,
        })
    }

    /// The cargo to build with.
    pub fn cargo(&self) -> &Path {
        &self.cargo
    }

    /// The compiler itself, not rustup's proxy for it.
    pub fn rustc(&self) -> &Path {
        &self.rustc
    }

    /// Where the compiler keeps its libraries and their sources.
    pub fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// Its release, as `rustc --version --verbose` gives it.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its release, commit and LLVM, in full.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// The major version of its LLVM, which the linker's must equal.
    pub fn llvm(&self) -> Option<u32> {
        self.llvm
    }

    /// Whether it allows `-Z` options by itself.
    pub(crate) fn is_nightly(&self) -> bool {
        self.unstable
    }

    #[cfg(test)]
    pub(crate) fn for_test(rustc: &str, llvm: u32) -> Self {
        Self {
            cargo: PathBuf::from(rustc).with_file_name("cargo"),
            rustc: rustc.into(),
            sysroot: "/usr".into(),
            version: OLDEST,
            identity: format!("rustc {OLDEST}, LLVM {llvm}"),
            llvm: Some(llvm),
            unstable: false,
        }
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustc {} ({}", self.version, self.rustc.display())?;
        if let Some(llvm) = self.llvm {
            write!(f, ", LLVM {llvm}")?;
        }
        f.write_str(")")
    }
}

/// What `rustc` prints, asked without the outer cargo's variables.
fn ask(rustc: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(rustc);
    environment::clean(&mut command);
    let output = command
        .args(arguments)
        .output()
        .map_err(|error| format!("{} does not start: {error}", rustc.display()))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{} fails: {}",
            rustc.display(),
            complaint.lines().next().unwrap_or_default()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The rest of the line that starts with `name`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const NIGHTLY: &str = "rustc 1.97.0-nightly (abc 2026-04-30)\nbinary: rustc\nrelease: 1.97.0-nightly\n\
                           LLVM version: 22.1.4\n";

    #[test]
    fn release_and_llvm_are_read_from_the_verbose_version() {
        assert_eq!(
            field(NIGHTLY, "release: ").and_then(Version::parse),
            Some(Version(1, 97, 0))
        );
        assert_eq!(
            field(NIGHTLY, "LLVM version: ").and_then(Version::parse),
            Some(Version(22, 1, 4))
        );
        assert_eq!(field(NIGHTLY, "host: "), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(Version::parse("1.100.0").unwrap() > Version::parse("1.95.0").unwrap());
        assert_eq!(Version::parse("22"), None);
        assert_eq!(Version::parse("22.1"), Some(Version(22, 1, 0)));
        assert_eq!(Version::parse("x.1"), None);
    }

    #[test]
    fn a_directory_without_a_compiler_is_rejected_by_name() {
        let reason = Compiler::examine("/nonexistent/cargo".into(), "/nonexistent/rustc".into())
            .unwrap_err();
        assert_eq!(reason, "/nonexistent/rustc is absent");
    }
}
