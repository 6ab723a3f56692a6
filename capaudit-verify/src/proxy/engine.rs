//! The engine behind a socket, asked on our own behalf: what it says of a container, what is there, and that it goes.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    client::conn::http1,
    header::HOST,
};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::UnixStream;

use super::{
    api::{Action, Inspected, Thing, told},
    role::Traits,
};

/// How long an engine may take to accept a connection.
const TO_CONNECT: Duration = Duration::from_secs(10);
/// How long it may take to answer what we ask ourselves.
const TO_ANSWER: Duration = Duration::from_secs(60);
/// Longest answer that is read, in bytes.
const ANSWER: usize = 16 << 20;

/// The engine behind a socket.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    path: PathBuf,
}

/// What an engine has beside containers, at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    volumes: BTreeSet<String>,
    /// Seconds since 1970.
    time: u64,
}

impl Engine {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a request over a connection of its own, which ends with the answer.
    ///
    /// # Errors
    ///
    /// The engine cannot be reached, or does not speak HTTP.
    pub(super) async fn send<B>(&self, request: Request<B>) -> io::Result<Response<Incoming>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = tokio::time::timeout(TO_CONNECT, UnixStream::connect(&self.path))
            .await
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
        let (mut sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // An error of the connection is also one of the answer.
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(io::Error::other)
    }

    async fn ask(&self, method: Method, target: &str) -> io::Result<(StatusCode, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let answered = async {
            let response = self.send(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER).collect().await;
            Ok((status, body.map_err(io::Error::other)?.to_bytes()))
        };
        tokio::time::timeout(TO_ANSWER, answered)
            .await
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// What it says of a container; `None` if there is no such container any more.
    pub(super) async fn inspect(&self, name: &str) -> Option<Inspected> {
        let of = async |api: &str| {
            let target = format!("{api}/containers/{}/json", encoded(name));
            let (status, body) = self.ask(Method::GET, &target).await.ok()?;
            status.is_success().then(|| Inspected::parse(&body))?
        };
        let mut inspected: Inspected = of("").await?;
        if inspected.granted.is_none() {
            // Podman tells it in its own API alone, which has no path without a version.
            inspected.granted = of("/v4.0.0/libpod").await.and_then(|it| it.granted);
        }
        Some(inspected)
    }

    /// What is there now.
    ///
    /// # Errors
    ///
    /// It does not answer as an engine does.
    pub(super) async fn present(&self) -> io::Result<Present> {
        let (status, body) = self.ask(Method::GET, "/volumes").await?;
        if !status.is_success() {
            return Err(io::Error::other(format!("it answers with status {status}")));
        }
        let body: Value = serde_json::from_slice(&body)?;
        let volumes = body["Volumes"].as_array();
        let names = volumes.into_iter().flatten();
        Ok(Present {
            time: now(),
            volumes: names
                .filter_map(|volume| volume["Name"].as_str().map(str::to_owned))
                .collect(),
        })
    }

    /// Containers of which it tells since then that they were made or started, by whomever.
    ///
    /// # Errors
    ///
    /// It does not answer as an engine does.
    pub(super) async fn told_since(
        &self,
        then: &Present,
        action: Action,
    ) -> io::Result<Vec<(String, Traits)>> {
        let action = action.name();
        let filters = format!(r#"{{"type":["container"],"event":["{action}"]}}"#);
        // To the end of this second: of one that is not over, engines leave out what happened since it began.
        let target = format!(
            "/events?since={}&until={}&filters={}",
            then.time,
            now() + 1,
            encoded(&filters)
        );
        let (status, body) = self.ask(Method::GET, &target).await?;
        match status.is_success() {
            true => Ok(told(&body, action)),
            false => Err(io::Error::other(format!("it answers with status {status}"))),
        }
    }

    /// Removes containers, and other things that were not there before. What is gone already is no error.
    ///
    /// # Errors
    ///
    /// Something is left.
    pub(super) async fn remove(
        &self,
        containers: &[String],
        things: &BTreeSet<(Thing, String)>,
        before: &Present,
    ) -> io::Result<()> {
        for id in containers {
            let target = format!("/containers/{}?force=true&v=true", encoded(id));
            self.removed(&target).await?;
        }
        for (thing, name) in things {
            match thing {
                Thing::Volume if before.volumes.contains(name) => {}
                Thing::Volume => self.removed(&format!("/volumes/{}", encoded(name))).await?,
                Thing::Network => {
                    self.removed(&format!("/networks/{}", encoded(name)))
                        .await?
                }
            }
        }
        Ok(())
    }

    async fn removed(&self, target: &str) -> io::Result<()> {
        /// An engine may be at it already (`--rm`).
        const ATTEMPTS: u32 = 100;
        for _ in 0..ATTEMPTS {
            let (status, body) = self.ask(Method::DELETE, target).await?;
            match status {
                StatusCode::CONFLICT => tokio::time::sleep(Duration::from_millis(100)).await,
                StatusCode::NOT_FOUND => return Ok(()),
                status if status.is_success() => return Ok(()),
                // Of a network that somebody else has come to use, say.
                _ => {
                    let said = String::from_utf8_lossy(&body);
                    return Err(io::Error::other(said.trim().to_owned()));
                }
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 is none.
    since.map_or(0, |since| since.as_secs())
}

fn encoded(name: &str) -> impl std::fmt::Display {
    utf8_percent_encode(name, NON_ALPHANUMERIC)
}
