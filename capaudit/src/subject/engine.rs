//! What people call a container: name, image and compose labels, from the Docker API.
//!
//! Podman's API answers the same way. Containers may live for a few milliseconds, so the engine's event stream
//! is followed from the start; asking afterwards is only the second way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{Docker, models::EventMessage, query_parameters::EventsOptionsBuilder};
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;

use crate::subject::container::ContainerId;

/// How long an engine may take to answer before it counts as absent.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait, at the end, for events that are still under way.
const LAST_EVENTS: Duration = Duration::from_millis(500);

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
}

type Known = Arc<Mutex<HashMap<ContainerId, Description>>>;

/// A connection to a container engine.
#[derive(Debug)]
pub struct Engine {
    docker: Docker,
    known: Known,
    listener: JoinHandle<()>,
}

impl Engine {
    /// Connects to the engine of `DOCKER_HOST`, else to the usual sockets. `None` if none answers.
    pub async fn connect() -> Option<Self> {
        let since = jiff::Timestamp::now();
        let docker = tokio::time::timeout(PATIENCE, async {
            let docker = Docker::connect_with_defaults().ok()?;
            docker.negotiate_version().await.ok()
        })
        .await
        .ok()??;
        let known = Known::default();
        let listener = tokio::spawn(listen(docker.clone(), Arc::clone(&known), since));
        Some(Self {
            docker,
            known,
            listener,
        })
    }

    /// Descriptions of these containers, as far as the engine knows them.
    pub async fn describe(&self, wanted: &[ContainerId]) -> HashMap<ContainerId, Description> {
        let deadline = tokio::time::Instant::now() + LAST_EVENTS;
        while self.missing(wanted).next().is_some() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.ask(wanted).await
    }

    /// The same of containers that run already: no event is waited for.
    pub async fn ask(&self, wanted: &[ContainerId]) -> HashMap<ContainerId, Description> {
        let missing: Vec<ContainerId> = self.missing(wanted).cloned().collect();
        for container in missing {
            let inspected = tokio::time::timeout(
                PATIENCE,
                self.docker.inspect_container(container.as_str(), None),
            );
            if let Ok(Ok(answer)) = inspected.await {
                let config = answer.config.unwrap_or_default();
                let name = answer.name.unwrap_or_default();
                let labels = config.labels.unwrap_or_default();
                let described = Description {
                    name: name.trim_start_matches('/').to_owned(),
                    image: config.image.unwrap_or_default(),
                    ..of_labels(&labels)
                };
                lock(&self.known).insert(container, described);
            }
        }
        let known = lock(&self.known);
        wanted
            .iter()
            .filter_map(|id| Some((id.clone(), known.get(id)?.clone())))
            .collect()
    }

    fn missing<'a>(&self, wanted: &'a [ContainerId]) -> impl Iterator<Item = &'a ContainerId> {
        let known = lock(&self.known).clone();
        wanted.iter().filter(move |id| !known.contains_key(*id))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.listener.abort();
    }
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
    Description {
        compose_project: label("project"),
        compose_service: label("service"),
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
        };
        assert_eq!(
            described(event),
            ContainerId::new(&id).map(|id| (id, expected))
        );
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
