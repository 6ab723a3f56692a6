//! Asking a running daemon.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use super::socket::LEDGER;
use crate::ledger::{self, Ledger, LoadError};

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens, or not to us.
    #[error(
        "no capaudit daemon answers at {socket:?}: {error} (systemctl start capaudit; --socket tells another place)"
    )]
    Unreachable {
        /// Where.
        socket: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It refuses.
    #[error("the capaudit daemon refuses: {0}")]
    Refused(String),
    /// It answers in a way that this version does not understand.
    #[error(transparent)]
    NotUnderstood(#[from] LoadError),
}

/// All totals of the daemon that listens there.
///
/// # Errors
///
/// See [`ClientError`].
pub fn totals(socket: &Path) -> Result<Ledger, ClientError> {
    let answer = ask(socket).map_err(|error| ClientError::Unreachable {
        socket: socket.to_owned(),
        error,
    })?;
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(&answer) {
        return Err(ClientError::Refused(refusal.error));
    }
    Ok(ledger::from_bytes(&answer, socket)?)
}

fn ask(socket: &Path) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{LEDGER}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
