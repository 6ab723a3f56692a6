//! What people call a container: name, image and compose labels, from the Docker API.
//!
//! Podman's API answers the same way. Containers may live for a few milliseconds, so the engine's event stream
//! is followed from the start; asking afterwards is only the second way.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::EventMessage,
    query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder},
};
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;

use crate::{capability::CapSet, ledger::Pod, privilege, subject::container::ContainerId};

/// How long an engine may take to answer before it counts as absent.
const PATIENCE: Duration = Duration::from_secs(2);

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

/// The container engines that answer.
#[derive(Debug)]
pub struct Engine {
    connections: Vec<Connection>,
    known: Known,
}

/// One engine.
#[derive(Debug)]
struct Connection {
    docker: Docker,
    /// Where, if it is a socket of this machine.
    socket: Option<PathBuf>,
    listener: JoinHandle<()>,
}

impl Engine {
    /// Connects to the engine of `DOCKER_HOST`, or without it to every engine that answers at a usual socket:
    /// Docker's and Podman's, the system's and those of users. `None` if none answers.
    pub async fn connect() -> Option<Self> {
        let since = jiff::Timestamp::now();
        let known = Known::default();
        let mut answering = tokio::task::JoinSet::new();
        for (docker, socket) in candidates() {
            answering.spawn(async move {
                let answer = tokio::time::timeout(PATIENCE, docker.negotiate_version()).await;
                Some((answer.ok()?.ok()?, socket))
            });
        }
        let mut connections = Vec::new();
        while let Some(answer) = answering.join_next().await {
            if let Ok(Some((docker, socket))) = answer {
                let listener = tokio::spawn(listen(docker.clone(), Arc::clone(&known), since));
                connections.push(Connection {
                    docker,
                    socket,
                    listener,
                });
            }
        }
        (!connections.is_empty()).then_some(Self { connections, known })
    }

    /// What it takes of our own capabilities to go on asking.
    pub fn takes(&self) -> CapSet {
        let sockets = self.connections.iter();
        sockets
            .filter_map(|connection| connection.socket.as_deref())
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
        while self.missing(wanted).next().is_some() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.ask(wanted).await
    }

    /// The same of containers that run already: no event is waited for.
    pub async fn ask(&self, wanted: &[ContainerId]) -> HashMap<ContainerId, Description> {
        let missing: Vec<ContainerId> = self.missing(wanted).cloned().collect();
        for container in missing {
            if let Some((_id, description)) = self.inspect(container.as_str()).await {
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
        let (id, description) = self.inspect(name).await?;
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
        for connection in &self.connections {
            let listed = connection.docker.list_containers(Some(options.clone()));
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

    async fn inspect(&self, name: &str) -> Option<(ContainerId, Description)> {
        for connection in &self.connections {
            let inspected = connection.docker.inspect_container(name, None);
            if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, inspected).await {
                let config = answer.config.unwrap_or_default();
                let name = answer.name.unwrap_or_default();
                let described = Description {
                    name: name.trim_start_matches('/').to_owned(),
                    image: config.image.unwrap_or_default(),
                    ..of_labels(&config.labels.unwrap_or_default())
                };
                return Some((ContainerId::new(&answer.id?)?, described));
            }
        }
        None
    }

    fn missing<'a>(&self, wanted: &'a [ContainerId]) -> impl Iterator<Item = &'a ContainerId> {
        let known = lock(&self.known).clone();
        wanted.iter().filter(move |id| !known.contains_key(*id))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Engines that may be there.
fn candidates() -> Vec<(Docker, Option<PathBuf>)> {
    if let Ok(host) = std::env::var("DOCKER_HOST") {
        let socket = host.strip_prefix("unix://").map(PathBuf::from);
        let docker = Docker::connect_with_defaults().ok();
        return docker.map(|docker| (docker, socket)).into_iter().collect();
    }
    let seconds = PATIENCE.as_secs();
    sockets(Path::new("/run"))
        .into_iter()
        .filter_map(|socket| {
            let docker =
                Docker::connect_with_unix(socket.to_str()?, seconds, API_DEFAULT_VERSION).ok()?;
            Some((docker, Some(socket)))
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

async fn listen(docker: Docker, known: Known, since: jiff::Timestamp) {
    let options = EventsOptionsBuilder::default()
        .since(&since.as_second().to_string())
        .filters(&HashMap::from([("type", vec!["container"])]))
        .build();
    let mut events = std::pin::pin!(docker.events(Some(options)));
    while let Some(Ok(event)) = events.next().await {
        if let Some((id, description)) = described(event) {
            lock(&known).insert(id, description);
        }
    }
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

fn lock(known: &Known) -> std::sync::MutexGuard<'_, HashMap<ContainerId, Description>> {
    // A panic while it was held leaves the map as good as it was.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::EventActor;

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
