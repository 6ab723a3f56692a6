//! What people call a container: name, image and compose labels, from the Docker API.
//!
//! Podman's API answers the same way. Containers may live for a few milliseconds, so the engine's event stream
//! is followed from the start; asking afterwards is only the second way. The module `api` has the requests and the
//! fields that are read, `client` speaks HTTP, `known` bounds what is remembered.

mod api;
mod client;
mod known;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    io,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use capaudit_core::{capability::CapSet, ledger::Pod};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};

use self::{
    api::{Containers, Event, Inspected},
    client::{Address, Client, RequestError},
    known::Known,
};
use crate::{privilege, proc::ContainerId};

/// How long an engine may take to answer before it counts as absent.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether an engine has come that was not there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What an engine tells about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What people call it; hostile.
    pub name: String,
    /// Its image as it was asked for.
    pub image: String,
    /// Label `com.docker.compose.project`; `None` for a container that compose did not start.
    pub compose_project: Option<String>,
    /// Label `com.docker.compose.service`; `None` for a container that compose did not start.
    pub compose_service: Option<String>,
    /// The Kubernetes pod it is of.
    pub pod: Option<Pod>,
    /// Release of the engine that told this, as it calls itself; hostile.
    pub engine_version: Option<String>,
    /// When it was made, in seconds since 1970 by the engine's clock; `None` if the engine has not told.
    pub created: Option<i64>,
}

impl Description {
    fn told_by(mut self, client: &Client) -> Self {
        self.engine_version = client.version().map(str::to_owned);
        self
    }
}

/// The engines that answer at the moment.
type Answering = Arc<Mutex<HashSet<Client>>>;

/// The container engines that answer: by now, and from later on, as an engine may be started, or started again.
#[derive(Debug)]
pub struct Engine {
    answering: Answering,
    known: Arc<Mutex<Known>>,
    keeper: JoinHandle<()>,
}

impl Engine {
    /// Connects to the engine of `DOCKER_HOST`, or without it to every engine that answers at a usual socket:
    /// Docker's and Podman's, the system's and those of users.
    ///
    /// Returns when each that is there has answered, or has taken too long. Those that come later are connected to when
    /// they do.
    pub async fn connect() -> Self {
        let since = jiff::Timestamp::now().as_second();
        let (answering, known) = (Answering::default(), Arc::<Mutex<Known>>::default());
        let mut listeners = JoinSet::new();
        for client in those_that_answer(candidates()).await {
            lock(&answering).insert(client.clone());
            listeners.spawn(listen(client, Arc::clone(&known), since));
        }
        let keeper = tokio::spawn(keep(
            listeners,
            Arc::clone(&answering),
            Arc::clone(&known),
            since,
        ));
        Self {
            answering,
            known,
            keeper,
        }
    }

    /// This, if any engine answers at the moment.
    pub fn answering(&self) -> Option<&Self> {
        (!lock(&self.answering).is_empty()).then_some(self)
    }

    /// What it takes of our own capabilities to go on asking.
    pub fn takes(&self) -> CapSet {
        lock(&self.answering)
            .iter()
            .filter_map(|client| client.address().path())
            .map(privilege::to_connect)
            .fold(CapSet::EMPTY, CapSet::union)
    }

    /// Descriptions of these containers, as far as the engines know them. Events that are still under way are waited for
    /// with this much patience.
    pub async fn describe(
        &self,
        wanted: &[ContainerId],
        patience: Duration,
    ) -> HashMap<ContainerId, Description> {
        let deadline = tokio::time::Instant::now() + patience;
        while self.answering().is_some()
            && !self.knows_all(wanted)
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.ask(wanted).await
    }

    /// The same of containers that run already: no event is waited for.
    pub async fn ask(&self, wanted: &[ContainerId]) -> HashMap<ContainerId, Description> {
        let mut engines = self.engines();
        let mut described = HashMap::new();
        for container in wanted {
            let mut description = self.known(container);
            // The event of its start does not tell when it was made.
            if description
                .as_ref()
                .is_none_or(|known| known.created.is_none())
                && let Some((_id, told)) = inspect(&mut engines, container.as_str()).await
            {
                lock(&self.known).insert(container.clone(), told.clone());
                description = Some(told);
            }
            described.extend(description.map(|description| (container.clone(), description)));
        }
        described
    }

    /// The same for whoever waits for nothing else: engines are connected to for this question only.
    ///
    /// # Errors
    ///
    /// The kernel refuses what waiting takes.
    pub fn ask_once(wanted: &[ContainerId]) -> io::Result<HashMap<ContainerId, Description>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(async { Self::connect().await.ask(wanted).await }))
    }

    /// What is known of a container by now, without asking.
    pub fn known(&self, container: &ContainerId) -> Option<Description> {
        lock(&self.known).get(container).cloned()
    }

    /// Forgets what is known of these containers.
    pub fn forget(&self, containers: &[ContainerId]) {
        let mut known = lock(&self.known);
        for container in containers {
            known.remove(container);
        }
    }

    /// The container with this name, id or unambiguous beginning of an id.
    pub async fn find(&self, name: &str) -> Option<ContainerId> {
        let (id, description) = inspect(&mut self.engines(), name).await?;
        lock(&self.known).insert(id.clone(), description);
        Some(id)
    }

    /// The running containers of a compose service.
    pub async fn running_of_service(&self, service: &str) -> HashSet<ContainerId> {
        let target = api::running_with_label(&format!("com.docker.compose.service={service}"));
        let mut found = HashSet::new();
        for client in self.engines() {
            if let Ok(Containers(containers)) = client.json(&target).await {
                found.extend(containers.into_iter().map(|(id, _)| id));
            }
        }
        found
    }

    fn engines(&self) -> Vec<Client> {
        lock(&self.answering).iter().cloned().collect()
    }

    fn knows_all(&self, wanted: &[ContainerId]) -> bool {
        let known = lock(&self.known);
        wanted.iter().all(|id| known.get(id).is_some())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // With it go the listeners.
        self.keeper.abort();
    }
}

/// Asks the engines for a container. One that takes too long is not asked any more: there may be a thousand containers
/// to ask for.
async fn inspect(engines: &mut Vec<Client>, name: &str) -> Option<(ContainerId, Description)> {
    let target = api::inspect(name);
    let mut index = 0;
    while let Some(client) = engines.get(index) {
        match client.json::<Inspected>(&target).await {
            Ok(inspected) => {
                let (id, description) = inspected.described()?;
                return Some((id, description.told_by(client)));
            }
            Err(RequestError::TimedOut) => {
                engines.swap_remove(index);
            }
            Err(_unknown) => index += 1,
        }
    }
    None
}

/// The clients whose engines answer.
async fn those_that_answer(candidates: Vec<Client>) -> Vec<Client> {
    let mut asked = JoinSet::new();
    for mut client in candidates {
        asked.spawn(async move { client.ping().await.is_ok().then_some(client) });
    }
    let answers = asked.join_all().await;
    answers.into_iter().flatten().collect()
}

/// Connects to engines as they come, again and again. The listeners end when this does.
async fn keep(
    mut listeners: JoinSet<(Client, i64)>,
    answering: Answering,
    known: Arc<Mutex<Known>>,
    mut since: i64,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // At once, which has been done.
    look.tick().await;
    loop {
        tokio::select! {
            Some(ended) = listeners.join_next() => if let Ok((client, last)) = ended {
                lock(&answering).remove(&client);
                since = since.max(last);
            },
            _ = look.tick() => {
                let mut absent = candidates();
                absent.retain(|client| !lock(&answering).contains(client));
                for client in those_that_answer(absent).await {
                    lock(&answering).insert(client.clone());
                    let known = Arc::clone(&known);
                    listeners.spawn(async move {
                        // What was started before it could be listened to; an engine forgets its events when it ends.
                        list(&client, &known).await;
                        listen(client, known, since).await
                    });
                }
            }
        }
    }
}

/// Takes the names of all containers that an engine has.
async fn list(client: &Client, known: &Mutex<Known>) {
    let Ok(Containers(containers)) = client.json(api::ALL_CONTAINERS).await else {
        return; // they are asked for one by one in the end
    };
    let mut known = lock(known);
    for (id, description) in containers {
        if known.get(&id).is_none() {
            known.insert(id, description.told_by(client));
        }
    }
}

/// Clients of the engines that may be there: that of `DOCKER_HOST`, else one for each socket at the usual places.
fn candidates() -> Vec<Client> {
    let addresses = match std::env::var_os("DOCKER_HOST") {
        Some(host) => Address::of_docker_host(&host).into_iter().collect(),
        None => sockets(Path::new("/run")),
    };
    addresses
        .into_iter()
        .map(|address| Client::new(address, PATIENCE))
        .collect()
}

/// Sockets at the usual places below /run: the system's engines', then those of users (rootless).
fn sockets(run: &Path) -> Vec<Address> {
    let mut places = vec![run.to_owned()];
    if let Ok(users) = std::fs::read_dir(run.join("user")) {
        places.extend(users.flatten().map(|user| user.path()));
    }
    places
        .iter()
        .flat_map(|place| [place.join("docker.sock"), place.join("podman/podman.sock")])
        .filter(|socket| {
            std::fs::metadata(socket).is_ok_and(|metadata| metadata.file_type().is_socket())
        })
        .map(Address::Unix)
        .collect()
}

/// Follows an engine's events until the stream ends. Returns the client, with the time of the last event in seconds
/// since 1970 by the engine's clock.
async fn listen(client: Client, known: Arc<Mutex<Known>>, since: i64) -> (Client, i64) {
    let mut last = since;
    if let Ok(mut events) = client.lines(&api::events(since)).await {
        while let Ok(Some(event)) = events.next::<Event>().await {
            last = event.time.unwrap_or(last);
            if let Some((id, description)) = event.described() {
                lock(&known).insert(id, description.told_by(&client));
            }
        }
    }
    (client, last)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held leaves the map as good as it was.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
