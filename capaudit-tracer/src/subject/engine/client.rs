//! A client of one engine: HTTP/1.1 over its socket, with a connection for each request.
//!
//! Any user can put a socket at one of the usual places and answer there. Each answer therefore has a deadline and a
//! maximum length, and a malformed one is an error. hyper bounds the head of an answer and what it reads ahead (both
//! some 400 kB by default).

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    hash::{Hash, Hasher},
    io, mem,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{HOST, SERVER},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::oneshot,
};

use super::{
    api,
    speaker::{Speaker, controllers},
};

/// Maximum length of an answer that is parsed as a whole, in bytes: enough for a list of 10,000 containers, of which
/// each takes some 1.5 kB.
const MAX_BODY: usize = 16 << 20;
/// Maximum length of one line of a stream, in bytes. An event repeats all labels of its container.
const MAX_LINE: usize = 1 << 20;
/// Bytes of a stream that are taken before a pause, so that one without end leaves time for what is observed: some
/// 2.5 MiB a second, a thousand events.
const AT_A_TIME: usize = 256 << 10;
const PAUSE: Duration = Duration::from_millis(100);
/// Connections of one client that are being made at a time. What leads to a socket may be on a file system that never
/// answers: whoever waits for that waits in a thread of its own.
const MAX_CONNECTING: usize = 4;

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// At a socket in the file system.
    Unix(PathBuf),
    /// At a TCP port, without TLS.
    Tcp {
        /// A name or an address; an IPv6 address has no brackets here.
        host: String,
        port: u16,
    },
}

impl Address {
    /// Parses a value of `DOCKER_HOST`: `unix://PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`. Of others, such as
    /// `ssh://`, it is `None`.
    pub(super) fn of_docker_host(value: &OsStr) -> Option<Self> {
        if let Some(path) = value.as_bytes().strip_prefix(b"unix://") {
            return Some(Self::Unix(Path::new(OsStr::from_bytes(path)).to_owned()));
        }
        let value = value.to_str()?;
        let rest = value.strip_prefix("tcp://");
        let rest = rest.or_else(|| value.strip_prefix("http://"))?;
        let uri: Uri = format!("http://{rest}").parse().ok()?;
        let host = uri.host()?;
        Some(Self::Tcp {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
        })
    }

    /// The socket's path, if there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp { .. } => None,
        }
    }
}

/// Why a request has no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("no answer in time")]
    TimedOut,
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("somebody else listens than before")]
    Speaker,
    #[error("the request is not valid HTTP")]
    Request,
    #[error("the exchange failed")]
    Http(#[from] hyper::Error),
    #[error("the answer has status {0}")]
    Status(StatusCode),
    #[error("the answer names no API version, so it is not a container engine's")]
    NoEngine,
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("the answer does not follow the API")]
    Json(#[from] serde_json::Error),
}

/// A client of the engine at an address, which is what makes it different from others.
#[derive(Clone, Debug)]
pub(super) struct Client {
    address: Address,
    patience: Duration,
    version: Option<String>,
    /// Whose word it is, since it answered.
    speaker: Speaker,
    /// Who runs capaudit.
    pub(super) own: u32,
    connecting: Arc<AtomicUsize>,
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl Eq for Client {}

impl Hash for Client {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address.hash(state);
    }
}

impl Client {
    /// A client that waits this long for a whole answer, or for the head of a stream.
    pub(super) fn new(address: Address, patience: Duration) -> Self {
        Self {
            address,
            patience,
            version: None,
            speaker: Speaker::System,
            own: rustix::process::geteuid().as_raw(),
            connecting: Arc::default(),
        }
    }

    /// The engine's release, as it called itself when it answered; `None` if it did not say.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whose word its answers are.
    pub(super) fn speaker(&self) -> Speaker {
        self.speaker
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Checks that a container engine answers, of which release it is, and whose.
    ///
    /// # Errors
    ///
    /// Nothing answers in time, or something else than an engine.
    pub(super) async fn ping(&mut self) -> Result<(), RequestError> {
        let (response, speaker) = self.in_time(self.exchange(api::PING)).await?;
        self.speaker = speaker;
        let headers = response.headers();
        if headers.contains_key(api::API_VERSION) {
            let server = headers.get(SERVER).and_then(|value| value.to_str().ok());
            self.version = server.and_then(api::release).map(str::to_owned);
            Ok(())
        } else {
            Err(RequestError::NoEngine)
        }
    }

    /// Sends a request and parses the whole answer.
    ///
    /// # Errors
    ///
    /// The answer is not complete in time, has another status than 2xx, is malformed or too long.
    pub(super) async fn json<T: DeserializeOwned>(&self, target: &str) -> Result<T, RequestError> {
        let body = self.in_time(async { whole(self.get(target).await?.into_body()).await });
        Ok(serde_json::from_slice(&body.await?)?)
    }

    /// Sends a request whose answer is a stream of lines.
    ///
    /// # Errors
    ///
    /// The head of the answer does not come in time, or has another status than 2xx.
    pub(super) async fn lines(&self, target: &str) -> Result<Lines, RequestError> {
        let response = self.in_time(self.get(target)).await?;
        Ok(Lines {
            body: response.into_body(),
            split: Split::default(),
            taken: 0,
        })
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let answer = tokio::time::timeout(self.patience, answer).await;
        answer.unwrap_or(Err(RequestError::TimedOut))
    }

    async fn get(&self, target: &str) -> Result<Response<Incoming>, RequestError> {
        let (response, speaker) = self.exchange(target).await?;
        if speaker == self.speaker {
            Ok(response)
        } else {
            Err(RequestError::Speaker)
        }
    }

    /// The answer, and whose it is.
    async fn exchange(&self, target: &str) -> Result<(Response<Incoming>, Speaker), RequestError> {
        match &self.address {
            Address::Unix(path) => {
                let (stream, speaker) = self.connect(path).await?;
                // HTTP/1.1 requires a host, and a Unix socket has none.
                let response = exchange(Box::new(stream), target, "localhost").await?;
                Ok((response, speaker))
            }
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(RequestError::Connect)?;
                let authority = if host.contains(':') {
                    format!("[{host}]:{port}")
                } else {
                    format!("{host}:{port}")
                };
                let response = exchange(Box::new(stream), target, &authority).await?;
                // Whoever gave `DOCKER_HOST` says whose word to take.
                Ok((response, Speaker::System))
            }
        }
    }

    /// Connects in a thread of its own, which goes on waiting when nobody waits for it any more.
    async fn connect(&self, path: &Path) -> Result<(UnixStream, Speaker), RequestError> {
        let (done, connected) = oneshot::channel();
        let (path, connecting) = (path.to_owned(), Arc::clone(&self.connecting));
        if connecting.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTING {
            connecting.fetch_sub(1, Ordering::Relaxed);
            return Err(RequestError::TimedOut);
        }
        let in_thread = Arc::clone(&connecting);
        let started = std::thread::Builder::new().spawn(move || {
            let stream = connect(&path);
            in_thread.fetch_sub(1, Ordering::Relaxed);
            // Nobody may wait any more.
            let _ = done.send(stream);
        });
        if let Err(error) = started {
            connecting.fetch_sub(1, Ordering::Relaxed);
            return Err(RequestError::Connect(error));
        }
        let (stream, mut controllers) = connected
            .await
            .unwrap_or_else(|_gone| Err(io::ErrorKind::Other.into()))
            .map_err(RequestError::Connect)?;
        let stream = UnixStream::from_std(stream).map_err(RequestError::Connect)?;
        // The credentials of who called listen(2) (`unix_listen`, net/unix/af_unix.c, Linux 6.18).
        let peer = stream.peer_cred().map_err(RequestError::Connect)?;
        controllers.insert(peer.uid());
        let speaker = Speaker::among(controllers, self.own).map_err(RequestError::Connect)?;
        Ok((stream, speaker))
    }
}

/// Connects to a socket, and finds out who controls what leads there.
fn connect(path: &Path) -> io::Result<(std::os::unix::net::UnixStream, BTreeSet<u32>)> {
    let stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_nonblocking(true)?;
    Ok((stream, controllers(path)?))
}

/// What an engine is reached through. One type for both kinds of [`Address`]: hyper is compiled for each type of stream.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl Stream for UnixStream {}

impl Stream for TcpStream {}

/// Sends a request over a new connection. The connection closes when the response has been read or is dropped.
async fn exchange(
    stream: Box<dyn Stream>,
    target: &str,
    host: &str,
) -> Result<Response<Incoming>, RequestError> {
    let request = Request::get(target)
        .header(HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(|_invalid| RequestError::Request)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // An error of the connection is also one of the response's body.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(RequestError::Status(response.status()))
    }
}

/// Reads a whole body. It copies each piece, because a piece keeps the buffer that it was read into, and pieces may be
/// of a single byte.
async fn whole(mut body: Incoming) -> Result<Vec<u8>, RequestError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if whole.len() + data.len() > MAX_BODY {
                return Err(RequestError::TooLong(MAX_BODY));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

/// An answer that comes line by line. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Lines {
    body: Incoming,
    split: Split,
    /// Bytes that have come since the last pause.
    taken: usize,
}

impl Lines {
    /// Waits for the next line that is not blank, and parses it. `None` when the engine has ended the stream.
    ///
    /// # Errors
    ///
    /// The connection breaks, or the line is malformed or too long.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RequestError> {
        loop {
            if let Some(line) = self.split.next()? {
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                self.taken += data.len();
                self.split.add(data);
            }
            if self.taken >= AT_A_TIME {
                self.taken = 0;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Splits a body that comes in pieces into lines.
#[derive(Debug, Default)]
struct Split {
    /// The beginning of the current line, from earlier pieces.
    partial: Vec<u8>,
    /// The rest of the last piece, not split yet.
    piece: Bytes,
}

impl Split {
    /// Adds a piece. The previous one must be used up: `next` has returned `None`.
    fn add(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    /// Takes the next complete line that is not blank, with its line break. `None` if that takes another piece.
    fn next(&mut self) -> Result<Option<Vec<u8>>, RequestError> {
        loop {
            let end = self.piece.iter().position(|&byte| byte == b'\n');
            let length = end.map_or(self.piece.len(), |end| end + 1);
            if self.partial.len() + length > MAX_LINE {
                return Err(RequestError::TooLong(MAX_LINE));
            }
            self.partial.extend_from_slice(&self.piece.split_to(length));
            if end.is_none() {
                return Ok(None);
            }
            let line = mem::take(&mut self.partial);
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn docker_host_is_understood_as_far_as_there_is_no_tls() {
        let address = |value: &str| Address::of_docker_host(OsStr::new(value));
        let unix = |path: &str| Some(Address::Unix(path.into()));
        let tcp = |host: &str, port| {
            let host = host.to_owned();
            Some(Address::Tcp { host, port })
        };
        assert_eq!(address("unix:///run/docker.sock"), unix("/run/docker.sock"));
        assert_eq!(address("tcp://localhost:2375"), tcp("localhost", 2375));
        assert_eq!(address("http://10.0.0.1:2375/"), tcp("10.0.0.1", 2375));
        assert_eq!(address("tcp://[::1]:2375"), tcp("::1", 2375));
        assert_eq!(address("tcp://user@docker"), tcp("docker", 80));
        for other in [
            "",
            "/run/docker.sock",
            "ssh://host",
            "https://host",
            "tcp://",
            "tcp://a b",
        ] {
            assert_eq!(address(other), None, "{other}");
        }
        let latin1 = OsStr::from_bytes(b"unix:///run/\xe9");
        let path = Path::new(OsStr::from_bytes(b"/run/\xe9"));
        assert_eq!(
            Address::of_docker_host(latin1),
            Some(Address::Unix(path.into()))
        );
    }

    fn lines(pieces: impl Iterator<Item = Vec<u8>>) -> Result<Vec<Vec<u8>>, RequestError> {
        let mut split = Split::default();
        let mut lines = Vec::new();
        for piece in pieces {
            split.add(piece.into());
            while let Some(line) = split.next()? {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    #[test]
    fn a_line_of_the_greatest_length_is_one_and_a_longer_one_an_error() {
        for (length, fits) in [(MAX_LINE, true), (MAX_LINE + 1, false)] {
            let mut line = vec![b'x'; length - 1];
            line.push(b'\n');
            for piece in [MAX_LINE + 1, 4096] {
                let found = lines(line.chunks(piece).map(<[u8]>::to_vec));
                assert_eq!(
                    found.is_ok_and(|lines| lines == [&*line]),
                    fits,
                    "{length} {piece}"
                );
            }
        }
        // Without an end, no more is held than that.
        let endless = lines(std::iter::repeat_n(vec![b'x'; 4096], MAX_LINE / 4096 + 1));
        assert!(matches!(endless, Err(RequestError::TooLong(MAX_LINE))));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_come(
            text in "[a\r\n ]{0,60}",
            cuts in proptest::collection::vec(1..9_usize, 1..60),
        ) {
            let (mut rest, all) = (text.as_bytes(), text.len());
            let pieces = cuts.iter().chain([&all]).map_while(|&cut| {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                (!piece.is_empty()).then(|| piece.to_vec())
            });
            let expected: Vec<Vec<u8>> = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n') && !line.trim().is_empty())
                .map(|line| line.as_bytes().to_vec())
                .collect();
            prop_assert_eq!(lines(pieces).ok(), Some(expected));
        }
    }
}
