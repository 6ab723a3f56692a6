//! Stands in for an engine's socket: everything passes, and what makes a container gets the set that is to be enforced.
//!
//! A script that starts containers itself asks an engine to: the engine starts them, so nothing that the script's own
//! processes are denied limits them. But the script finds the engine by an address in its environment, and that can be ours.
//!
//! `role` says which subject a container is, `api` what is read and changed of requests (both are pure), `seen` keeps what
//! happened, `forward` passes a request on, `engine` asks on our own behalf.

mod api;
mod engine;
mod forward;
pub(crate) mod role;
mod seen;

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use capaudit_core::capability::CapSet;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{UnixListener, UnixStream},
    runtime::Runtime,
    sync::{Semaphore, oneshot},
};

use self::{
    api::Action,
    engine::{Engine, Present},
    role::Role,
};

pub(crate) use self::seen::{Made, Seen};

/// Connections at once. A client has one for each stream of each container, and waits for another one if there are too
/// many.
const CONNECTIONS: usize = 1024;

/// An engine's socket, and the one that stands in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// Where clients connect.
    pub(crate) ours: PathBuf,
    /// Where the engine listens.
    pub(crate) engines: PathBuf,
}

/// What is to be enforced, and on what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// What tells the subjects apart.
    pub(crate) roles: Vec<Role>,
    /// The set of each, in the same order; without any, containers get what they are asked for with.
    pub(crate) sets: Option<Vec<CapSet>>,
}

/// What the connections share.
#[derive(Debug)]
struct Shared {
    policy: Policy,
    seen: Mutex<Seen>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic while it was held leaves it as good as it was.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sockets that stand in for engines', in a thread of their own.
#[derive(Debug)]
pub(crate) struct Proxy {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens from here on.
    ///
    /// # Errors
    ///
    /// It cannot listen, or an engine does not answer.
    pub(crate) fn start(sockets: &[Socket], policy: Policy) -> io::Result<Self> {
        let runtime = runtime()?;
        let shared = Arc::new(Shared {
            policy,
            seen: Mutex::default(),
        });
        let mut listening = Vec::new();
        for socket in sockets {
            let engine = Engine::new(&socket.engines);
            let before = runtime.block_on(engine.present())?;
            let listener = runtime.block_on(async { listen(&socket.ours) })?;
            listening.push((engine, before, listener));
        }
        let (stop, stopped) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("engine's socket".to_owned())
            .spawn(move || {
                // With the runtime, every connection ends.
                runtime.block_on(serve(listening, of_thread, stopped))
            })?;
        Ok(Self {
            stop,
            thread,
            shared,
        })
    }

    /// Ends it, and removes what was made through it: containers, and volumes and networks that were not there before.
    ///
    /// # Errors
    ///
    /// Something could not be removed.
    pub(crate) fn stop(self) -> (Seen, io::Result<()>) {
        // If it has ended before, there is nothing to tell it.
        let _ = self.stop.send(());
        let removed = self
            .thread
            .join()
            .unwrap_or_else(|_panic| Err(io::Error::other("its thread panicked")));
        (std::mem::take(&mut *self.shared.seen()), removed)
    }
}

/// How many containers an engine has started since a look at it, and the next look.
#[derive(Debug)]
pub(crate) struct Watch {
    engines: Vec<(Engine, Present)>,
}

impl Watch {
    /// Looks at the engines behind these sockets.
    ///
    /// # Errors
    ///
    /// One does not answer.
    pub(crate) fn begin(sockets: &[PathBuf]) -> io::Result<Self> {
        let runtime = runtime()?;
        let engines = sockets.iter().map(|socket| {
            let engine = Engine::new(socket);
            let before = runtime.block_on(engine.present())?;
            Ok((engine, before))
        });
        Ok(Self {
            engines: engines.collect::<io::Result<_>>()?,
        })
    }

    /// How many containers were started since.
    ///
    /// # Errors
    ///
    /// One does not answer.
    pub(crate) fn started(&self) -> io::Result<usize> {
        let runtime = runtime()?;
        let counts = self.engines.iter().map(|(engine, before)| {
            let started = runtime.block_on(engine.told_since(before, Action::Start))?;
            Ok(started.len())
        });
        counts.sum()
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// A socket for nobody but our own user.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(
    listening: Vec<(Engine, Present, UnixListener)>,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let mut accepting = tokio::task::JoinSet::new();
    let mut engines = Vec::new();
    for (engine, before, listener) in listening {
        accepting.spawn(accept(listener, engine.clone(), Arc::clone(&shared)));
        engines.push((engine, before));
    }
    // Whether it was told to stop or forgotten.
    let _ = stopped.await;
    accepting.shutdown().await;
    for (engine, before) in engines {
        let told = engine.told_since(&before, Action::Create).await?;
        shared.seen().add_past(told);
        let (ids, volumes) = {
            let seen = shared.seen();
            (seen.ids(engine.path()), seen.things())
        };
        engine.remove(&ids, &volumes, &before).await?;
    }
    Ok(())
}

async fn accept(listener: UnixListener, engine: Engine, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _address)) => {
                let (engine, shared) = (engine.clone(), Arc::clone(&shared));
                tokio::spawn(converse(stream, engine, shared, Arc::new(permit)));
            }
            // Too many open files, say: there may be fewer soon.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

/// Answers the requests of one connection.
async fn converse(
    stream: UnixStream,
    engine: Engine,
    shared: Arc<Shared>,
    permit: Arc<tokio::sync::OwnedSemaphorePermit>,
) {
    let service = service_fn(|request| {
        let (engine, shared, permit) = (engine.clone(), Arc::clone(&shared), Arc::clone(&permit));
        async move {
            // What cannot be answered breaks the connection.
            forward::answer(&engine, &shared, request, permit).await
        }
    });
    let connection = http1::Builder::new()
        .preserve_header_case(true)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A client that hangs up has heard what it wanted to.
    let _ = connection.await;
}
