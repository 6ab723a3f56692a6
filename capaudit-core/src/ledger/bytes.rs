//! A session as bytes.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{Ledger, SCHEMA};

/// Why a saved session cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path:?}: {error}")]
    Read {
        /// The file as the caller named it.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// The file is no session, or a broken one.
    #[error("{path:?} is not a session that `capaudit run --save` wrote: {error}")]
    Format {
        /// The file as the caller named it.
        path: PathBuf,
        /// Where in the file the reader stopped, and why.
        error: serde_json::Error,
    },
    /// It is one of another version.
    #[error(
        "{path:?} has format {found:?}, this capaudit reads {SCHEMA:?}: use the version that wrote it"
    )]
    Version {
        /// The file as the caller named it.
        path: PathBuf,
        /// What the file gives as its `schema`.
        found: String,
    },
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

/// A session as it is saved.
///
/// # Errors
///
/// None that is known; serialisation might have one.
pub fn to_bytes(ledger: &Ledger) -> io::Result<Vec<u8>> {
    Ok(crate::text::json(ledger)?.into_bytes())
}
