//! `bpf-linker` and the LLVM it was built against.

use std::{
    env, fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::compiler::Compiler;

/// How much of the executable is searched for the name of its LLVM: the table of dynamic strings lies at the front.
const HEAD: u64 = 1 << 20;

/// An installed `bpf-linker`.
#[derive(Debug, Clone)]
pub struct Linker {
    path: PathBuf,
    llvm: Option<u32>,
}

impl Linker {
    /// Every `bpf-linker` on the search path and in cargo's own directory, in that order.
    pub fn installed() -> Vec<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut found: Vec<Self> = Vec::new();
        for directory in env::split_paths(&path).chain(cargo_bin()) {
            let candidate = directory.join("bpf-linker");
            if candidate.is_file() && found.iter().all(|known| known.path != candidate) {
                found.push(Self {
                    llvm: linked_llvm(&candidate).ok().flatten(),
                    path: candidate,
                });
            }
        }
        found
    }

    /// Where the program lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The major version of the LLVM that it loads; `None` where it was linked statically.
    pub fn llvm(&self) -> Option<u32> {
        self.llvm
    }

    /// What it says of its version.
    pub(crate) fn version(&self) -> Result<String> {
        let output = Command::new(&self.path)
            .arg("--version")
            .output()
            .with_context(|| format!("{} does not start", self.path.display()))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Whether it understands the bitcode of `compiler`. One that does not tell its LLVM is taken on trust.
    pub fn reads_output_of(&self, compiler: &Compiler) -> bool {
        match (self.llvm, compiler.llvm()) {
            (Some(linker), Some(compiler)) => linker == compiler,
            _ => true,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(path: &str, llvm: Option<u32>) -> Self {
        Self {
            path: path.into(),
            llvm,
        }
    }
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bpf-linker ({}", self.path.display())?;
        if let Some(llvm) = self.llvm {
            write!(f, ", LLVM {llvm}")?;
        }
        f.write_str(")")
    }
}

/// Where `cargo install` puts programs.
fn cargo_bin() -> Option<PathBuf> {
    let set = env::var_os("CARGO_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    Some(
        set.or_else(|| Some(env::home_dir()?.join(".cargo")))?
            .join("bin"),
    )
}

/// The LLVM that the executable asks the dynamic loader for.
fn linked_llvm(executable: &Path) -> io::Result<Option<u32>> {
    let mut head = Vec::new();
    File::open(executable)?.take(HEAD).read_to_end(&mut head)?;
    Ok(library_version(&head))
}

/// The number after `libLLVM.so.` or `libLLVM-` in a string table.
fn library_version(strings: &[u8]) -> Option<u32> {
    [b"libLLVM.so.".as_slice(), b"libLLVM-"]
        .into_iter()
        .find_map(|name| {
            let start = strings
                .windows(name.len())
                .position(|window| window == name)?
                + name.len();
            let digits = strings
                .get(start..)?
                .iter()
                .take_while(|byte| byte.is_ascii_digit());
            String::from_utf8(digits.copied().collect())
                .ok()?
                .parse()
                .ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_is_read_from_the_name_of_the_library() {
        assert_eq!(library_version(b"\0libc.so.6\0libLLVM.so.22.1\0"), Some(22));
        assert_eq!(library_version(b"\0libLLVM-19.so.1\0"), Some(19));
        assert_eq!(library_version(b"\0libLLVM.so.\0"), None);
        assert_eq!(library_version(b"\0libc.so.6\0"), None);
        assert_eq!(library_version(b""), None);
    }

    #[test]
    fn only_the_same_major_version_of_llvm_fits() {
        let compiler = Compiler::for_test("/usr/bin/rustc", 22);
        assert!(Linker::for_test("a", Some(22)).reads_output_of(&compiler));
        assert!(!Linker::for_test("a", Some(23)).reads_output_of(&compiler));
        assert!(Linker::for_test("a", None).reads_output_of(&compiler));
    }
}
