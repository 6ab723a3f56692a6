//! What people call a container: name, image and compose labels, from the Docker API.
//!
//! Podman's API answers the same way. Containers may live for a few milliseconds, so the engine's event stream
//! is followed from the start; asking afterwards is only the second way.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::EventMessage,
    query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder},
};
use capaudit_core::{capability::CapSet, ledger::Pod};
use futures_util::StreamExt as _;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};

use crate::{privilege, subject::container::ContainerId};

/// How long an engine may take to answer before it counts as absent.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether an engine has come that was not there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What an engine tells about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its image as it was asked for.
    pub image: String,
    /// `com.docker.compose.project`
    pub compose_project: Option<String>,
    /// `com.docker.compose.service`
    pub compose_service: Option<String>,
    /// The Kubernetes pod it is of.
    pub pod: Option<Pod>,
}

type Known = Arc<Mutex<HashMap<ContainerId, Description>>>;

/// The engines that answer at the moment, by where they listen.
type Connections = Arc<Mutex<HashMap<String, Docker>>>;

/// The container engines that answer: by now, and from later on, as an engine may be started, or started again.
#[derive(Debug)]
pub struct Engine {
    connections: Connections,
    known: Known,
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
        let (connections, known) = (Connections::default(), Known::default());
        let mut listeners = JoinSet::new();
        for (place, docker) in answering(candidates()).await {
            lock(&connections).insert(place.clone(), docker.clone());
            listeners.spawn(listen(docker, place, Arc::clone(&known), since));
        }
        let keeper = tokio::spawn(keep(
            listeners,
            Arc::clone(&connections),
            Arc::clone(&known),
            since,
        ));
        Self {
            connections,
            known,
            keeper,
        }
    }

    /// This, if any engine answers at the moment.
    pub fn answering(&self) -> Option<&Self> {
        (!lock(&self.connections).is_empty()).then_some(self)
    }

    /// What it takes of our own capabilities to go on asking.
    pub fn takes(&self) -> CapSet {
        lock(&self.connections)
            .keys()
            .map(|place| place.strip_prefix("unix://").unwrap_or(place))
            .filter(|place| place.starts_with('/'))
            .map(|socket| privilege::to_connect(Path::new(socket)))
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
            && self.missing(wanted).next().is_some()
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.ask(wanted).await
    }

    /// The same of containers that run already: no event is waited for.
    pub async fn ask(&self, wanted: &[ContainerId]) -> HashMap<ContainerId, Description> {
        let missing: Vec<ContainerId> = self.missing(wanted).cloned().collect();
        let mut engines = self.engines();
        for container in missing {
            if let Some((_id, description)) = inspect(&mut engines, container.as_str()).await {
                lock(&self.known).insert(container, description);
            }
        }
        let known = lock(&self.known);
        wanted
            .iter()
            .filter_map(|id| Some((id.clone(), known.get(id)?.clone())))
            .collect()
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
        let label = format!("com.docker.compose.service={service}");
        let options = ListContainersOptionsBuilder::default()
            .filters(&HashMap::from([("label", vec![label.as_str()])]))
            .build();
        let mut found = HashSet::new();
        for docker in self.engines() {
            let listed = docker.list_containers(Some(options.clone()));
            if let Ok(Ok(containers)) = tokio::time::timeout(PATIENCE, listed).await {
                found.extend(
                    containers
                        .iter()
                        .filter_map(|container| ContainerId::new(container.id.as_deref()?)),
                );
            }
        }
        found
    }

    fn engines(&self) -> Vec<Docker> {
        lock(&self.connections).values().cloned().collect()
    }

    fn missing<'a>(&self, wanted: &'a [ContainerId]) -> impl Iterator<Item = &'a ContainerId> {
        let known = lock(&self.known).clone();
        wanted.iter().filter(move |id| !known.contains_key(*id))
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
async fn inspect(engines: &mut Vec<Docker>, name: &str) -> Option<(ContainerId, Description)> {
    let mut index = 0;
    while let Some(docker) = engines.get(index) {
        match tokio::time::timeout(PATIENCE, docker.inspect_container(name, None)).await {
            Ok(Ok(answer)) => {
                let config = answer.config.unwrap_or_default();
                let name = answer.name.unwrap_or_default();
                let described = Description {
                    name: name.trim_start_matches('/').to_owned(),
                    image: config.image.unwrap_or_default(),
                    ..of_labels(&config.labels.unwrap_or_default())
                };
                return Some((ContainerId::new(&answer.id?)?, described));
            }
            Ok(Err(_unknown)) => index += 1,
            Err(_elapsed) => {
                engines.swap_remove(index);
            }
        }
    }
    None
}

/// Those of the engines that answer.
async fn answering(candidates: Vec<(String, Docker)>) -> Vec<(String, Docker)> {
    let mut asked = JoinSet::new();
    for (place, docker) in candidates {
        asked.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, docker.negotiate_version()).await;
            Some((place, answer.ok()?.ok()?))
        });
    }
    let answers = asked.join_all().await;
    answers.into_iter().flatten().collect()
}

/// Connects to engines as they come, again and again. The listeners end when this does.
async fn keep(
    mut listeners: JoinSet<(String, i64)>,
    connections: Connections,
    known: Known,
    mut since: i64,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // At once, which has been done.
    look.tick().await;
    loop {
        tokio::select! {
            Some(ended) = listeners.join_next() => if let Ok((place, last)) = ended {
                lock(&connections).remove(&place);
                since = since.max(last);
            },
            _ = look.tick() => {
                let mut absent = candidates();
                absent.retain(|(place, _)| !lock(&connections).contains_key(place));
                for (place, docker) in answering(absent).await {
                    lock(&connections).insert(place.clone(), docker.clone());
                    let known = Arc::clone(&known);
                    listeners.spawn(async move {
                        // What was started before it could be listened to; an engine forgets its events when it ends.
                        list(&docker, &known).await;
                        listen(docker, place, known, since).await
                    });
                }
            }
        }
    }
}

/// Takes the names of all containers that an engine has.
async fn list(docker: &Docker, known: &Known) {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let listed = tokio::time::timeout(PATIENCE, docker.list_containers(Some(options))).await;
    let Ok(Ok(containers)) = listed else {
        return; // they are asked for one by one in the end
    };
    let mut known = lock(known);
    for container in containers {
        if let Some(id) = container.id.as_deref().and_then(ContainerId::new) {
            let names = container.names.unwrap_or_default();
            let name = names.first().map_or("", String::as_str);
            known.entry(id).or_insert_with(|| Description {
                name: name.trim_start_matches('/').to_owned(),
                image: container.image.unwrap_or_default(),
                ..of_labels(&container.labels.unwrap_or_default())
            });
        }
    }
}

/// Engines that may be there, each with where it listens.
fn candidates() -> Vec<(String, Docker)> {
    if let Some(host) = std::env::var_os("DOCKER_HOST") {
        let docker = Docker::connect_with_defaults().ok();
        let place = host.to_string_lossy().into_owned();
        return docker.map(|docker| (place, docker)).into_iter().collect();
    }
    let seconds = PATIENCE.as_secs();
    sockets(Path::new("/run"))
        .into_iter()
        .filter_map(|socket| {
            let place = socket.to_str()?;
            let docker = Docker::connect_with_unix(place, seconds, API_DEFAULT_VERSION).ok()?;
            Some((place.to_owned(), docker))
        })
        .collect()
}

/// Sockets at the usual places below /run: the system's engines', then those of users (rootless).
fn sockets(run: &Path) -> Vec<PathBuf> {
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
        .collect()
}

/// Takes what an engine tells, until it ends. Returns where it listened, and when, by its own clock, the last came that
/// it told.
async fn listen(docker: Docker, place: String, known: Known, since: i64) -> (String, i64) {
    let options = EventsOptionsBuilder::default()
        .since(&since.to_string())
        .filters(&HashMap::from([("type", vec!["container"])]))
        .build();
    let mut last = since;
    let mut events = std::pin::pin!(docker.events(Some(options)));
    while let Some(Ok(event)) = events.next().await {
        last = event.time.unwrap_or(last);
        if let Some((id, description)) = described(event) {
            lock(&known).insert(id, description);
        }
    }
    (place, last)
}

fn described(event: EventMessage) -> Option<(ContainerId, Description)> {
    let actor = event.actor?;
    let id = ContainerId::new(&actor.id?)?;
    let attributes = actor.attributes?;
    let description = Description {
        name: attributes.get("name").cloned().unwrap_or_default(),
        image: attributes.get("image").cloned().unwrap_or_default(),
        ..of_labels(&attributes)
    };
    Some((id, description))
}

fn of_labels(labels: &HashMap<String, String>) -> Description {
    let label = |name: &str| labels.get(&format!("com.docker.compose.{name}")).cloned();
    // The labels that kubelet has its container runtime set (pkg/kubelet/types/labels.go).
    let kubernetes = |name: &str| labels.get(&format!("io.kubernetes.{name}")).cloned();
    let pod = kubernetes("pod.name").map(|name| Pod {
        namespace: kubernetes("pod.namespace").unwrap_or_default(),
        name,
        container: kubernetes("container.name").unwrap_or_default(),
    });
    Description {
        compose_project: label("project"),
        compose_service: label("service"),
        pod,
        ..Description::default()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held leaves the map as good as it was.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    #[test]
    fn an_event_tells_name_image_and_service() {
        let id = "a".repeat(64);
        let attributes = [
            ("name", "shop-web-1"),
            ("image", "nginx:1"),
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", "web"),
        ];
        let event = EventMessage {
            actor: Some(EventActor {
                id: Some(id.clone()),
                attributes: Some(
                    attributes
                        .iter()
                        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                        .collect(),
                ),
            }),
            ..EventMessage::default()
        };
        let expected = Description {
            name: "shop-web-1".to_owned(),
            image: "nginx:1".to_owned(),
            compose_project: Some("shop".to_owned()),
            compose_service: Some("web".to_owned()),
            pod: None,
        };
        assert_eq!(
            described(event),
            ContainerId::new(&id).map(|id| (id, expected))
        );
    }

    #[test]
    fn kubelets_labels_tell_the_pod() {
        let labels = HashMap::from([
            ("io.kubernetes.pod.name".to_owned(), "web-0".to_owned()),
            ("io.kubernetes.pod.namespace".to_owned(), "shop".to_owned()),
            (
                "io.kubernetes.container.name".to_owned(),
                "nginx".to_owned(),
            ),
        ]);
        let pod = Pod {
            namespace: "shop".to_owned(),
            name: "web-0".to_owned(),
            container: "nginx".to_owned(),
        };
        assert_eq!(of_labels(&labels).pod, Some(pod));
    }

    #[test]
    fn only_sockets_at_the_usual_places_are_engines() -> std::io::Result<()> {
        let run = tempfile::tempdir()?;
        std::fs::create_dir_all(run.path().join("user/1000/podman"))?;
        std::fs::write(run.path().join("docker.sock"), "no socket")?;
        let rootless = run.path().join("user/1000/podman/podman.sock");
        let _listening = std::os::unix::net::UnixListener::bind(&rootless)?;
        assert_eq!(sockets(run.path()), [rootless]);
        Ok(())
    }

    #[test]
    fn an_event_of_a_network_tells_nothing() {
        let event = EventMessage {
            actor: Some(EventActor {
                id: Some("bridge".to_owned()),
                attributes: None,
            }),
            ..EventMessage::default()
        };
        assert_eq!(described(event), None);
    }
}
