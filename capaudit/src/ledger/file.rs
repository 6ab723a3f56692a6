//! A ledger as a file.

use std::{
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{Ledger, SCHEMA};

/// Why a saved session cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read {path:?}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is none.
    #[error("{path:?} is not a session that `capaudit run --save` wrote: {error}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// It is one of another version.
    #[error(
        "{path:?} has format {found:?}, this capaudit reads {SCHEMA:?}: use the version that wrote it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: String,
    },
}

/// Reads a saved session.
///
/// # Errors
///
/// The file cannot be read, is no session, or one of another version.
pub fn load(path: &Path) -> Result<Ledger, LoadError> {
    let text = std::fs::read(path).map_err(|error| LoadError::Read {
        path: path.to_owned(),
        error,
    })?;
    from_bytes(&text, path)
}

/// Reads a session out of the bytes that came from `path`.
///
/// # Errors
///
/// They are no session, or one of another version.
pub fn from_bytes(text: &[u8], path: &Path) -> Result<Ledger, LoadError> {
    #[derive(serde::Deserialize)]
    struct Version {
        schema: String,
    }
    let format = |error| LoadError::Format {
        path: path.to_owned(),
        error,
    };
    // The version first: a newer format need not have the same fields.
    let version: Version = serde_json::from_slice(text).map_err(format)?;
    if version.schema != SCHEMA {
        return Err(LoadError::Version {
            path: path.to_owned(),
            found: version.schema,
        });
    }
    serde_json::from_slice(text).map_err(format)
}

/// Saves a session: whole, or not at all.
///
/// # Errors
///
/// The file cannot be written.
pub fn save(ledger: &Ledger, path: &Path) -> io::Result<()> {
    write_whole(path, &to_bytes(ledger)?)
}

/// A session as it is saved.
///
/// # Errors
///
/// None that is known; serialisation might have one.
pub fn to_bytes(ledger: &Ledger) -> io::Result<Vec<u8>> {
    Ok(crate::report::json(ledger)?.into_bytes())
}

/// Writes a file through a temporary one beside it, so that nobody ever sees half of it. It keeps owner and mode; a new
/// one has mode 0600 and belongs to the caller, under sudo to whom sudo was called by. A path that is no regular file
/// (`/dev/stdout`, a pipe) is written directly.
///
/// # Errors
///
/// The file cannot be written; the old one, if any, is left as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    if special {
        return std::fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(bytes);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new()
        .prefix(".capaudit-")
        .tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    let (owner, mode) = owner_and_mode(path);
    if let Some((user, group)) = owner {
        // Not root: then it is ours either way.
        let _ = std::os::unix::fs::fchown(temporary.as_file(), Some(user), Some(group));
    }
    if let Some(mode) = mode {
        temporary
            .as_file()
            .set_permissions(Permissions::from_mode(mode))?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Whose a file is to be, and its mode: as it was, or for a new one, the caller's under sudo, and for nobody else to read.
fn owner_and_mode(path: &Path) -> (Option<(u32, u32)>, Option<u32>) {
    if let Ok(metadata) = std::fs::metadata(path) {
        return (
            Some((metadata.uid(), metadata.gid())),
            Some(metadata.mode() & 0o7777),
        );
    }
    let id = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    (id("SUDO_UID").zip(id("SUDO_GID")), None)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        write_whole(&file, b"one").unwrap();
        write_whole(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(
            std::fs::read_dir(&directory).unwrap().count(),
            1,
            "nothing temporary is left"
        );
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        write_whole(&file, b"three").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        let missing = directory.path().join("no/such/f");
        assert!(write_whole(&missing, b"x").is_err());
        write_whole(Path::new("/dev/null"), b"x").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}
