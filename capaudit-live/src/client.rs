//! Asking a running daemon.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use capaudit_core::ledger::{self, Hook, Ledger, LoadError};
use thiserror::Error;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::mpsc,
};

use super::{
    LEDGER, WATCH,
    line::{Line, SCHEMA},
};

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a line at most.
const LONGEST: u64 = 1 << 20;
/// Lines that wait to be taken; then the daemon has to wait, and tells what was missed.
const WAITING: usize = 1 << 10;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens, or not to us.
    #[error(
        "no capaudit daemon answers at {socket:?}: {error} (systemctl start capaudit; --socket tells another place)"
    )]
    Unreachable {
        /// Path that was tried.
        socket: PathBuf,
        /// What connecting answered.
        error: io::Error,
    },
    /// There is a socket that this user may not connect to: a daemon may well listen.
    #[error(
        "you may not ask the capaudit daemon at {socket:?}: be root, or in the group that it was started with (--group)"
    )]
    NotAllowed {
        /// Path that was tried.
        socket: PathBuf,
    },
    /// The daemon answered, but does not do what it is asked for; its words.
    #[error("the capaudit daemon refuses: {0}")]
    Refused(String),
    /// It answers in a way that this version does not understand.
    #[error(transparent)]
    NotUnderstood(#[from] LoadError),
    /// It writes lines that this version does not understand.
    #[error(
        "the capaudit daemon writes lines that this capaudit does not understand: use the same version of both"
    )]
    NoLine,
}

/// All totals of the daemon that listens there.
///
/// # Errors
///
/// See [`ClientError`].
pub fn totals(socket: &Path) -> Result<Ledger, ClientError> {
    let answer = ask(socket).map_err(unreachable(socket))?;
    refused(&answer)?;
    Ok(ledger::from_bytes(&answer, socket)?)
}

fn unreachable(socket: &Path) -> impl Fn(io::Error) -> ClientError {
    |error| {
        let socket = socket.to_owned();
        // EACCES and EPERM say nothing of whether anybody listens.
        if error.kind() == io::ErrorKind::PermissionDenied {
            ClientError::NotAllowed { socket }
        } else {
            ClientError::Unreachable { socket, error }
        }
    }
}

fn refused(answer: &[u8]) -> Result<(), ClientError> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    match serde_json::from_slice::<Refusal>(answer) {
        Ok(refusal) => Err(ClientError::Refused(refusal.error)),
        Err(_) => Ok(()),
    }
}

fn ask(socket: &Path) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{LEDGER}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Checks from now on.
///
/// # Errors
///
/// See [`ClientError`].
pub async fn watch(socket: &Path) -> Result<Lines, ClientError> {
    let begin = async {
        let stream = tokio::net::UnixStream::connect(socket).await?;
        let (reader, mut writer) = stream.into_split();
        writer.write_all(format!("{WATCH}\n").as_bytes()).await?;
        let mut reader = BufReader::new(reader);
        let first = line(&mut reader).await?;
        Ok((reader, writer, first))
    };
    let (reader, writer, first) = tokio::time::timeout(PATIENCE, begin)
        .await
        .unwrap_or_else(|_over| Err(io::ErrorKind::TimedOut.into()))
        .map_err(unreachable(socket))?;
    refused(&first)?;
    let hook = match serde_json::from_slice(&first) {
        Ok(Line::Begin { schema, hook, .. }) if schema == SCHEMA => hook,
        _ => return Err(ClientError::NoLine),
    };
    let (sender, lines) = mpsc::channel(WAITING);
    tokio::spawn(read(reader, sender));
    Ok(Lines {
        hook,
        lines,
        writer,
    })
}

/// A line without its end; empty at the end of all.
async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.take(LONGEST).read_until(b'\n', &mut line).await?;
    Ok(line)
}

async fn read(
    mut reader: BufReader<OwnedReadHalf>,
    lines: mpsc::Sender<Result<Line, ClientError>>,
) {
    // A daemon that is killed leaves half a line, or an error: it has ended all the same.
    while let Ok(text) = line(&mut reader).await
        && text.ends_with(b"\n")
    {
        let line = serde_json::from_slice(&text).map_err(|_error| ClientError::NoLine);
        if lines.send(line).await.is_err() {
            break;
        }
    }
}

/// Lines of a daemon that is watched.
#[derive(Debug)]
pub struct Lines {
    hook: Hook,
    lines: mpsc::Receiver<Result<Line, ClientError>>,
    writer: OwnedWriteHalf,
}

impl Lines {
    /// How checks are seen.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// Waits for lines and takes at most so many; 0 if no more will come. May be cancelled at any time.
    ///
    /// # Errors
    ///
    /// It is not understood.
    pub async fn take(&mut self, into: &mut Vec<Line>, most: usize) -> Result<usize, ClientError> {
        let mut taken = Vec::new();
        self.lines.recv_many(&mut taken, most).await;
        let count = taken.len();
        for line in taken {
            into.push(line?);
        }
        Ok(count)
    }

    /// It is enough: only the last lines are wanted now.
    pub async fn end(&mut self) {
        // If the daemon is gone there are none.
        let _ = self.writer.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_ask_is_told_so() {
        let told = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            unreachable(Path::new("/run/x"))(error).to_string()
        };
        for errno in [1, 13] {
            let told = told(errno);
            assert!(told.starts_with("you may not ask"), "{told}");
            assert!(told.contains("--group"), "{told}");
        }
        // Nobody there, or nobody who listens.
        for errno in [2, 111] {
            let told = told(errno);
            assert!(told.starts_with("no capaudit daemon answers"), "{told}");
        }
    }
}
