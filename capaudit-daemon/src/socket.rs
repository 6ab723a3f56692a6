//! The socket: a line with a question, an answer, the end.
//!
//! The questions are
//!
//! - `ledger`: all totals, as a saved session has them;
//! - `watch`: checks from now on, in lines as `capaudit watch --json` writes them (docs/watch.schema.json), until the peer
//!   shuts its side of the connection down. Who reads too slowly is told how many lines it missed.
//!
//! A refusal is `{"error": "why"}`.

use std::{
    io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use capaudit_core::ledger::to_bytes;
use capaudit_live::{LEDGER, SOCKET, WATCH};
use nix::unistd::{Gid, Uid, chown};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader, split,
    },
    net::UnixListener,
    sync::mpsc,
    time::timeout,
};

use super::{DaemonError, ledger, peer::Allowed, room::Room, subscription};

pub use super::Question;

/// Bytes of a question at most.
const LONGEST: u64 = 256;
/// How long a peer may take to ask, and to listen to an answer that has an end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections at a time: more than may watch, so that those leave room for questions.
const CONNECTIONS: usize = 64;

/// A socket that nobody has been served at yet.
pub struct Listener {
    listener: UnixListener,
    allowed: Allowed,
}

impl Listener {
    /// Listens. Replaces a socket that nobody listens at any more.
    ///
    /// # Errors
    ///
    /// Another daemon listens there, there is no such group, or the directory cannot be written.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, DaemonError> {
        let failed = || DaemonError::system(format!("cannot listen at {}", path.display()));
        let allowed = Allowed::with_group(group).map_err(failed())?;
        if path == Path::new(SOCKET)
            && let Some(directory) = path.parent()
        {
            // systemd makes it for the unit; any other directory is its owner's to make.
            match std::fs::create_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed()(error));
                }
                _ => {}
            }
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                return Err(failed()(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another capaudit daemon listens there",
                )));
            }
            // The kernel refuses this of whatever is no socket, too (`unix_find_bsd`, net/unix/af_unix.c, Linux 6.18).
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let found = std::fs::symlink_metadata(path).map_err(failed())?;
                if !found.file_type().is_socket() {
                    return Err(failed()(io::Error::new(
                        io::ErrorKind::AlreadyExists,
                        "something else is there, which is left as it is",
                    )));
                }
                std::fs::remove_file(path).map_err(failed())?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed())?;
        let mode = if allowed.group().is_some() {
            0o660
        } else {
            0o600
        };
        chown(path, None, allowed.group()).map_err(|error| failed()(error.into()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed())?;
        Ok(Self { listener, allowed })
    }

    /// Answers whoever may ask; `descriptors` is how many the process may have.
    pub async fn serve(self, ask: mpsc::Sender<Question>, descriptors: u64) {
        let room = Room::of(CONNECTIONS, descriptors);
        loop {
            // Those beyond wait in the kernel, and take nothing of this process.
            let place = room.take().await;
            let Ok((stream, _address)) = self.listener.accept().await else {
                // Out of descriptors, say: others are served when there are some again.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let allowed = stream.peer_cred().is_ok_and(|peer| {
                self.allowed
                    .allows(Uid::from_raw(peer.uid()), Gid::from_raw(peer.gid()))
            });
            let ask = ask.clone();
            // A peer that goes away or dawdles is its own business.
            tokio::spawn(async move {
                let _place = place;
                answer(stream, allowed, &ask).await
            });
        }
    }
}

/// Reads one question and answers it; `allowed` is whether the peer may ask.
///
/// # Errors
///
/// The peer is gone.
pub async fn answer(
    stream: impl AsyncRead + AsyncWrite,
    allowed: bool,
    ask: &mpsc::Sender<Question>,
) -> io::Result<()> {
    let mut question = Vec::new();
    let (reader, mut writer) = split(stream);
    let mut reader = BufReader::new(reader.take(LONGEST));
    timeout(PATIENCE, reader.read_until(b'\n', &mut question)).await??;
    let question = String::from_utf8_lossy(&question);
    let answer = match (allowed, question.trim_end()) {
        (false, _) => refusal("you may not ask: be root, or in the daemon's group"),
        (true, LEDGER) => match ledger(ask).await {
            Some(ledger) => to_bytes(&ledger)?,
            None => refusal("the daemon is ending"),
        },
        (true, WATCH) => match subscription(ask).await {
            Some(Some(subscription)) => {
                let reader = reader.into_inner().into_inner();
                return subscription.stream(reader, writer, ask).await;
            }
            Some(None) => refusal("too many watch already"),
            None => refusal("the daemon is ending"),
        },
        (true, _) => refusal("no such question"),
    };
    timeout(PATIENCE, async {
        writer.write_all(&answer).await?;
        writer.shutdown().await
    })
    .await?
}

fn refusal(why: &str) -> Vec<u8> {
    format!("{}\n", serde_json::json!({ "error": why })).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_but_a_socket_is_replaced_and_no_directory_is_made() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let place = |name: &str| directory.path().join(name);
        std::fs::write(place("file"), "text")?;
        std::os::unix::fs::symlink("file", place("link"))?;
        for name in ["file", "link", "no/such/socket"] {
            assert!(Listener::bind(&place(name), None).is_err(), "{name}");
        }
        assert_eq!(std::fs::read(place("file"))?, b"text");
        assert!(!place("no").exists());
        drop(std::os::unix::net::UnixListener::bind(place("socket"))?);
        assert!(
            Listener::bind(&place("socket"), None).is_ok(),
            "left behind"
        );
        Ok(())
    }
}
