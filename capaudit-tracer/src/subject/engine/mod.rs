//! What people call a container: name, image and compose labels, from the Docker API.
//!
//! Podman's API answers the same way. Containers may live for a few milliseconds, so the engine's event stream
//! is followed from the start; asking afterwards is only the second way. The module `api` has the requests and the
//! fields that are read, `client` speaks HTTP, `known` bounds what is remembered, `places` is where engines are looked for,
//! and `speaker` says of whom an engine is believed.

mod api;
mod client;
mod known;
mod places;
mod speaker;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::Pod,
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};

pub use self::told::Told;
use self::{
    api::{Containers, Event, Inspected, Volumes},
    client::{Client, RequestError},
    known::Words,
    places::Places,
    speaker::{Speaker, Subordinates},
};
use crate::{privilege, proc::ContainerId};

pub use self::speaker::Asked;

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
    /// What its events told of its life.
    pub told: Told,
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
    words: Arc<Mutex<Words>>,
    subordinates: Subordinates,
    keeper: JoinHandle<()>,
}

impl Engine {
    /// Connects to the engine of `DOCKER_HOST`, or without it to every engine that answers at a usual socket:
    /// Docker's and Podman's, the system's and those of users.
    ///
    /// Returns when each that is there has answered, or has taken too long. Those that come later are connected to when
    /// they do.
    pub async fn connect() -> Self {
        let (answering, words) = (Answering::default(), Arc::<Mutex<Words>>::default());
        let mut places = Places::new(jiff::Timestamp::now().as_second());
        let mut listeners = JoinSet::new();
        for (client, since) in places.those_that_answer(&answering).await {
            lock(&answering).insert(client.clone());
            listeners.spawn(listen(client, Arc::clone(&words), since));
        }
        let keeper = tokio::spawn(keep(
            listeners,
            places,
            Arc::clone(&answering),
            Arc::clone(&words),
        ));
        Self {
            answering,
            words,
            subordinates: Subordinates::of_machine(),
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
            .filter_map(|client| match client.speaker() {
                Speaker::System => client.address().path().map(privilege::to_connect),
                // Nothing is looked at that a user may have put somewhere else meanwhile.
                Speaker::User(_) => Some(Capability::DAC_OVERRIDE.into()),
            })
            .fold(CapSet::EMPTY, CapSet::union)
    }

    /// Descriptions of these containers, as far as the engines know them. Events that are still under way are waited for
    /// with this much patience.
    pub async fn describe(
        &self,
        wanted: &[Asked],
        patience: Duration,
    ) -> HashMap<ContainerId, Description> {
        let deadline = tokio::time::Instant::now() + patience;
        while self.answering().is_some()
            && !wanted.iter().all(|asked| self.known(asked).is_some())
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.ask(wanted).await
    }

    /// The same of containers that run already: no event is waited for.
    pub async fn ask(&self, wanted: &[Asked]) -> HashMap<ContainerId, Description> {
        let mut engines = self.engines();
        let mut described = HashMap::new();
        for asked in wanted {
            let mut description = self.known(asked);
            // The event of its start does not tell when it was made.
            if description
                .as_ref()
                .is_none_or(|known| known.created.is_none())
            {
                let is_believed = |speaker, id: &ContainerId| {
                    *id == asked.id && self.may_speak(speaker, std::slice::from_ref(asked))
                };
                let told = inspect(&mut engines, asked.id.as_str(), &is_believed).await;
                if let Some((speaker, id, told)) = told {
                    lock(&self.words).insert(speaker, id, told.clone());
                    description = Some(told);
                }
            }
            described.extend(description.map(|description| (asked.id.clone(), description)));
        }
        described
    }

    /// The same for whoever waits for nothing else: engines are connected to for this question only.
    ///
    /// # Errors
    ///
    /// The kernel refuses what waiting takes.
    pub fn ask_once(wanted: &[Asked]) -> io::Result<HashMap<ContainerId, Description>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut wanted = wanted.to_vec();
        // Of a container's processes that one counts which is in the outermost user namespace.
        wanted.sort_by_key(|asked| asked.user_namespace_level);
        let mut seen = HashSet::new();
        wanted.retain(|asked| seen.insert(asked.id.clone()));
        Ok(runtime.block_on(async { Self::connect().await.ask(&wanted).await }))
    }

    /// What is known of a container by now, without asking.
    pub fn known(&self, asked: &Asked) -> Option<Description> {
        let words = lock(&self.words);
        let of_user = || {
            let owner = self.subordinates.owner(asked)?;
            words.get(Speaker::User(owner), &asked.id)
        };
        words
            .get(Speaker::System, &asked.id)
            .or_else(of_user)
            .cloned()
    }

    /// Forgets what is known of these containers.
    pub fn forget(&self, containers: &[Asked]) {
        let mut words = lock(&self.words);
        for container in containers {
            words.remove(&container.id);
        }
    }

    /// The container with this name, id or unambiguous beginning of an id; of those that are `running`, if a user's engine
    /// says so.
    pub async fn find(&self, name: &str, running: &[Asked]) -> Option<ContainerId> {
        let is_believed = |speaker, id: &ContainerId| self.may_speak_of(speaker, id, running);
        let (speaker, id, description) = inspect(&mut self.engines(), name, &is_believed).await?;
        lock(&self.words).insert(speaker, id.clone(), description);
        Some(id)
    }

    /// The running containers of a compose service.
    pub async fn running_of_service(
        &self,
        service: &str,
        running: &[Asked],
    ) -> HashSet<ContainerId> {
        let target = api::running_with_label(&format!("com.docker.compose.service={service}"));
        let mut found = HashSet::new();
        for client in self.engines() {
            if let Ok(Containers(containers)) = client.json(&target).await {
                let ids = containers.into_iter().map(|(id, _)| id);
                found.extend(ids.filter(|id| self.may_speak_of(client.speaker(), id, running)));
            }
        }
        found
    }

    /// Whether somebody is believed of a container that has these processes.
    fn may_speak(&self, speaker: Speaker, processes: &[Asked]) -> bool {
        match speaker {
            Speaker::System => true,
            Speaker::User(user) => {
                let is_own = |process| self.subordinates.owner(process) == Some(user);
                !processes.is_empty() && processes.iter().all(is_own)
            }
        }
    }

    /// The same of one of those that run.
    fn may_speak_of(&self, speaker: Speaker, id: &ContainerId, running: &[Asked]) -> bool {
        let processes = running.iter().filter(|process| process.id == *id);
        self.may_speak(speaker, &processes.cloned().collect::<Vec<_>>())
    }

    /// Those that answer, the system's first: what it says is believed of everything.
    fn engines(&self) -> Vec<Client> {
        let mut engines: Vec<Client> = lock(&self.answering).iter().cloned().collect();
        engines.sort_by_key(|client| client.speaker() != Speaker::System);
        engines
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // With it go the listeners.
        self.keeper.abort();
    }
}

/// Asks the engines for a container, until one is believed. One that takes too long is not asked any more: there may be a
/// thousand containers to ask for.
async fn inspect(
    engines: &mut Vec<Client>,
    name: &str,
    is_believed: &dyn Fn(Speaker, &ContainerId) -> bool,
) -> Option<(Speaker, ContainerId, Description)> {
    let target = api::inspect(name);
    let mut index = 0;
    while let Some(client) = engines.get(index) {
        let speaker = client.speaker();
        match client.json::<Inspected>(&target).await {
            Ok(inspected) => match inspected.described() {
                Some((id, description)) if is_believed(speaker, &id) => {
                    return Some((speaker, id, description.told_by(client)));
                }
                _ => index += 1,
            },
            Err(RequestError::TimedOut) => {
                engines.remove(index);
            }
            Err(_unknown) => index += 1,
        }
    }
    None
}

/// Connects to engines as they come, again and again. The listeners end when this does.
async fn keep(
    mut listeners: JoinSet<Ended>,
    mut places: Places,
    answering: Answering,
    words: Arc<Mutex<Words>>,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // At once, which has been done.
    look.tick().await;
    loop {
        tokio::select! {
            Some(ended) = listeners.join_next() => if let Ok(ended) = ended {
                lock(&answering).remove(&ended.client);
                places.ended(&ended);
            },
            _ = look.tick() => {
                for (client, since) in places.those_that_answer(&answering).await {
                    lock(&answering).insert(client.clone());
                    let words = Arc::clone(&words);
                    listeners.spawn(async move {
                        // What was started before it could be listened to; an engine forgets its events when it ends.
                        list(&client, &words).await;
                        listen(client, words, since).await
                    });
                }
            }
        }
    }
}

/// Takes the names of all containers that an engine has.
async fn list(client: &Client, words: &Mutex<Words>) {
    let Ok(Containers(containers)) = client.json(api::ALL_CONTAINERS).await else {
        return; // they are asked for one by one in the end
    };
    let (mut words, speaker) = (lock(words), client.speaker());
    for (id, description) in containers {
        if words.get(speaker, &id).is_none() {
            words.insert(speaker, id, description.told_by(client));
        }
    }
}

/// An engine whose events have ended.
struct Ended {
    client: Client,
    /// When the last of them was, in seconds since 1970 by the engine's clock.
    last: i64,
    /// How long they were listened to.
    lasted: Duration,
}

/// Follows an engine's events until the stream ends.
async fn listen(client: Client, words: Arc<Mutex<Words>>, since: i64) -> Ended {
    let begun = tokio::time::Instant::now();
    let mut last = since;
    if let Ok(mut events) = client.lines(&api::events(since)).await {
        let mut is_patient = true;
        while let Ok(Some(event)) = events.next::<Event>().await {
            last = event.time.unwrap_or(last);
            if let Some((id, volume)) = event.mounted() {
                lock(&words).tell(client.speaker(), id, &Told::volume(volume, None));
            } else if let Some((id, description)) = event.described() {
                let description = description.told_by(&client);
                lock(&words).insert(client.speaker(), id.clone(), description);
                if is_patient {
                    is_patient = date_volumes(&client, &words, &id).await;
                }
            }
        }
    }
    Ended {
        client,
        last,
        lasted: begun.elapsed(),
    }
}

/// Asks since when a container's volumes are there: once for all of them, when it starts. Whether the engine answered in
/// time: one that takes too long is not asked any more, as its events wait meanwhile.
async fn date_volumes(client: &Client, words: &Mutex<Words>, container: &ContainerId) -> bool {
    let undated = lock(words).to_date(client.speaker(), container);
    if undated.is_empty() {
        return true;
    }
    match client.json::<Volumes>(&api::volumes(&undated)).await {
        Ok(volumes) => {
            for (name, made) in volumes.dated() {
                if undated.contains(&name) {
                    let told = Told::volume(name, Some(made));
                    lock(words).tell(client.speaker(), container.clone(), &told);
                }
            }
            true
        }
        Err(RequestError::TimedOut) => false,
        Err(_unknown) => true,
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held leaves the map as good as it was.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
