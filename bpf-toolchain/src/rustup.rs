//! rustup's toolchains, found by their directories.
//!
//! rustup itself is not asked: depending on its settings, naming a toolchain makes it download one.

use std::{
    cmp::Reverse,
    env, fs,
    path::{Path, PathBuf},
};

use crate::compiler::Compiler;

/// Every toolchain, nightlies first, newest names first; the error of one says why it cannot be used.
pub(crate) fn compilers() -> Vec<Result<Compiler, String>> {
    let Some(home) = home() else {
        return Vec::new();
    };
    let examine = |bin: PathBuf| Compiler::examine(bin.join("cargo"), bin.join("rustc"));
    toolchains(&home)
        .into_iter()
        .map(|toolchain| examine(toolchain.join("bin")))
        .collect()
}

fn home() -> Option<PathBuf> {
    let set = env::var_os("RUSTUP_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    set.or_else(|| Some(env::home_dir()?.join(".rustup")))
}

/// The directories of the installed toolchains, in the order in which they are tried.
fn toolchains(rustup_home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(rustup_home.join("toolchains"))
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort_by_cached_key(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // "nightly-x86_64-…" follows the newest, "nightly-2026-05-01-x86_64-…" is pinned.
        let nightly = name.strip_prefix("nightly-");
        let pinned =
            nightly.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
        (nightly.is_none(), pinned, Reverse(name))
    });
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn nightlies_come_first_and_the_unpinned_one_before_the_pinned() {
        let home = tempfile::tempdir().unwrap();
        let names = [
            "1.95.0-x86_64",
            "nightly-2026-05-01-x86_64",
            "stable-x86_64",
            "nightly-x86_64",
        ];
        for name in names {
            fs::create_dir_all(home.path().join("toolchains").join(name)).unwrap();
        }
        fs::write(home.path().join("toolchains/settings"), "").unwrap();
        let order: Vec<_> = toolchains(home.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(
            order,
            [
                "nightly-x86_64",
                "nightly-2026-05-01-x86_64",
                "stable-x86_64",
                "1.95.0-x86_64"
            ]
        );
    }

    #[test]
    fn no_rustup_means_no_toolchain() {
        assert!(toolchains(Path::new("/nonexistent")).is_empty());
    }
}
