//! What the object is made of.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use hmac_sha256::Hash;

/// The files and directories below the repository's root that the object is built from.
pub const SOURCES: [&str; 6] = [
    "capaudit-ebpf/src",
    "capaudit-ebpf/Cargo.toml",
    "capaudit-ebpf/Cargo.lock",
    "capaudit-ebpf/.cargo/config.toml",
    "capaudit-common/src",
    "capaudit-common/Cargo.toml",
];

/// A hash of the names and contents of all [`SOURCES`].
///
/// # Errors
///
/// A file cannot be read.
pub(crate) fn hash(repository: &Path) -> Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        list(repository, Path::new(source), &mut files)
            .with_context(|| format!("cannot read {}", repository.join(source).display()))?;
    }
    files.sort();
    let mut hash = Hash::new();
    for file in files {
        let place = repository.join(&file);
        let content =
            fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?;
        // With their lengths, so that nothing can move from one to the next unnoticed.
        for part in [file.as_os_str().as_encoded_bytes(), &content] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    Ok(hex(hash.finalize()))
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hash_of(content: &[u8]) -> String {
    hex(Hash::hash(content))
}

fn hex(hash: [u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list(root: &Path, path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !fs::metadata(root.join(path))?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(root.join(path))? {
        list(root, &path.join(entry?.file_name()), files)?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for source in SOURCES {
            let file = if source.ends_with("/src") {
                root.path().join(source).join("deep/main.rs")
            } else {
                root.path().join(source)
            };
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, source).unwrap();
        }
        root
    }

    #[test]
    fn every_source_counts_and_nothing_else() {
        let (one, other) = (repository(), repository());
        let before = hash(one.path()).unwrap();
        assert_eq!(before, hash(other.path()).unwrap());
        fs::write(one.path().join("Cargo.toml"), "").unwrap();
        assert_eq!(before, hash(one.path()).unwrap());
        for source in SOURCES {
            let changed = repository();
            let mut file = changed.path().join(source);
            if file.is_dir() {
                file.push("new.rs");
            }
            fs::write(file, "changed").unwrap();
            assert_ne!(before, hash(changed.path()).unwrap(), "{source}");
        }
    }

    #[test]
    fn a_missing_source_is_named() {
        let root = repository();
        fs::remove_file(root.path().join(SOURCES[1])).unwrap();
        assert!(format!("{:#}", hash(root.path()).unwrap_err()).contains(SOURCES[1]));
    }
}
