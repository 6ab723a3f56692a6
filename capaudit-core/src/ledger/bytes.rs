//! A session as bytes.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{Ledger, SCHEMA};
use crate::text::json;

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
    from_json(text).map_err(format)
}

/// A session inside another JSON document, for `#[serde(with)]`: read and written here, so that no other crate compiles
/// that again for itself. The other document must be JSON, too, of `serde_json`, and printed in several lines.
pub mod embedded {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de, ser};
    use serde_json::value::RawValue;

    use super::{Ledger, from_json, json};

    /// Indentation of a member of a member, as `serde_json` prints.
    const INDENTED: &str = "\n    ";

    /// Writes what serialising the session itself would.
    ///
    /// # Errors
    ///
    /// None that is known; serialisation might have one.
    pub fn serialize<S: Serializer>(ledger: &Ledger, serializer: S) -> Result<S::Ok, S::Error> {
        embed(ledger)
            .map_err(ser::Error::custom)?
            .serialize(serializer)
    }

    /// Reads what [`serialize`] wrote.
    ///
    /// # Errors
    ///
    /// It is no session.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ledger, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        from_json(text.get().as_bytes()).map_err(de::Error::custom)
    }

    fn embed(ledger: &Ledger) -> serde_json::Result<Box<RawValue>> {
        // No string has a line break in it that is not escaped.
        RawValue::from_string(json(ledger)?.trim_end().replace('\n', INDENTED))
    }
}

/// Not generic, so that it is compiled here whoever calls it.
fn from_json(text: &[u8]) -> serde_json::Result<Ledger> {
    serde_json::from_slice(text)
}

/// A session as it is saved.
///
/// # Errors
///
/// None that is known; serialisation might have one.
pub fn to_bytes(ledger: &Ledger) -> io::Result<Vec<u8>> {
    Ok(json(ledger)?.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::ledger::{Hook, Session, Subject, SubjectRecord};

    #[derive(Serialize, Deserialize)]
    struct Embedded {
        #[serde(with = "embedded")]
        ledger: Ledger,
    }

    #[test]
    fn a_session_in_another_document_is_written_as_one_document_and_read_back()
    -> serde_json::Result<()> {
        let ledger = Ledger {
            schema: SCHEMA.to_owned(),
            session: Session {
                command: vec!["a\nb\u{9b}".to_owned()],
                ..Session::new(Hook::TpBtf)
            },
            subjects: vec![SubjectRecord::new(Subject::Command)],
        };
        let plain = BTreeMap::from([("audit", BTreeMap::from([("ledger", &ledger)]))]);
        let embedded = BTreeMap::from([(
            "audit",
            Embedded {
                ledger: ledger.clone(),
            },
        )]);
        let text = json(&embedded)?;
        assert_eq!(text, json(&plain)?);
        let read: BTreeMap<String, Embedded> = serde_json::from_str(&text)?;
        assert_eq!(read.get("audit").map(|audit| &audit.ledger), Some(&ledger));
        Ok(())
    }
}
