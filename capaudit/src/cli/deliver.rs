//! Where results go: to a file, whole, or to a stream.

use std::{io, os::fd::AsFd, path::Path};

use capaudit_core::ledger::Ledger;
use capaudit_tracer::stream;

use super::failure::Failure;

/// Writes text to a file, or to `otherwise` if none is given.
///
/// # Errors
///
/// It cannot be written. A closed pipe is no error.
pub(super) fn deliver(text: &str, file: Option<&Path>, otherwise: impl AsFd) -> io::Result<()> {
    match file {
        Some(file) => capaudit_storage::write_whole(file, text.as_bytes()).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write {file:?}: {error}"))
        }),
        None => match stream::write_all(otherwise, text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        },
    }
}

/// Saves a session where it is to be; if that cannot be, elsewhere, as it cannot be made again so easily.
///
/// # Errors
///
/// It is not where it was to be. The message says where it is.
pub(super) fn save(ledger: &Ledger, file: &Path) -> Result<(), Failure> {
    capaudit_storage::save(ledger, file).map_err(|error| {
        let rescued = match capaudit_storage::save_elsewhere(ledger) {
            Ok(other) => format!("it was saved to {other:?} instead"),
            Err(error) => format!("nor is there room elsewhere: {error}"),
        };
        Failure::usage(format!(
            "cannot save the record to {file:?}: {error}; {rescued}"
        ))
    })
}

/// Whether files could be written at the end: better known before a long test suite has run.
///
/// # Errors
///
/// One of them could not.
pub(super) fn check_writable<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    files.into_iter().try_for_each(|file| {
        capaudit_storage::check_writable(file)
            .map_err(|error| Failure::usage(format!("cannot write {file:?}: {error}")))
    })
}
