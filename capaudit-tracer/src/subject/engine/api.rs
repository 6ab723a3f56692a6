//! The Docker Engine API, as far as it is used: requests, and the fields of answers that are read.
//!
//! Paths, parameters and fields are those of the API 1.41 (Docker 20.10; [its specification][1.41]) and the same up to
//! 1.53 (Docker 29). Requests name no version, so each engine answers in its own newest one, and an engine need not
//! support a version that we chose. Podman answers at the same paths ([pkg/api/handlers/compat][compat], 4.3); it leaves
//! fields out, or has `null` in them, where Docker has empty ones.
//!
//! An answer is no more trustworthy than the socket that it comes from. So parsing keeps only what is read: an answer of
//! the maximum length must not take many times that in memory.
//!
//! [1.41]: https://github.com/moby/moby/blob/v20.10.24/api/swagger.yaml
//! [compat]: https://github.com/containers/podman/tree/v4.3.1/pkg/api/handlers/compat

use std::fmt;

use capaudit_core::ledger::Pod;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use super::{Description, Told};
use crate::proc::ContainerId;

/// All characters that may have a meaning of their own in a path or a query (RFC 3986 calls the others unreserved).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Asks whether an engine answers. An engine has its API version in the head of the answer ([`API_VERSION`]).
///
/// `/version` would tell the same, but Podman runs conmon, the container runtime and the package manager to answer it,
/// which may take longer than we wait (`queryPackageVersion`, libpod/util.go, 4.3).
pub(super) const PING: &str = "/_ping";

/// The header in which an engine names its version of the API.
pub(super) const API_VERSION: &str = "api-version";

/// The engine's release in the header `Server` of its answers: `Docker/28.3.3 (linux)`, `Libpod/5.4.2 (linux)`. `None` of
/// what calls itself something else, or at inordinate length.
pub(super) fn release(server: &str) -> Option<&str> {
    const LONGEST: usize = 64;
    let rest = server.strip_prefix("Docker/");
    let rest = rest.or_else(|| server.strip_prefix("Libpod/"))?;
    let release = rest.split_whitespace().next()?;
    (release.len() <= LONGEST).then_some(release)
}

/// Asks for all containers, also those that do not run. The answer is [`Containers`].
pub(super) const ALL_CONTAINERS: &str = "/containers/json?all=true";

/// Asks for the running containers that have a label, given as `key=value`. The answer is [`Containers`].
pub(super) fn running_with_label(label: &str) -> String {
    let filters = serde_json::json!({ "label": [label] }).to_string();
    format!("/containers/json?filters={}", encode(&filters))
}

/// Asks for a container by its name, id, or beginning of an id. The answer is [`Inspected`].
pub(super) fn inspect(name: &str) -> String {
    format!("/containers/{}/json", encode(name))
}

/// Asks for volumes by name, or by a part of it. The answer is [`Volumes`].
pub(super) fn volumes(names: &[String]) -> String {
    let filters = serde_json::json!({ "name": names }).to_string();
    format!("/volumes?filters={}", encode(&filters))
}

/// Asks for the events of containers and volumes, past ones from `since` on (in seconds since 1970) and those to come. Each line of
/// the answer is an [`Event`].
pub(super) fn events(since: i64) -> String {
    let filters = serde_json::json!({ "type": ["container", "volume"] }).to_string();
    format!("/events?since={since}&filters={}", encode(&filters))
}

fn encode(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// The answer of `ContainerList`: each container that has a valid id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Containers(pub(super) Vec<(ContainerId, Description)>);

/// The answer of `ContainerInspect`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    id: Option<String>,
    name: Option<String>,
    config: Option<Config>,
    /// RFC 3339.
    created: Option<String>,
}

/// One line of the answer of `SystemEvents`.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    /// When it happened, in seconds since 1970 by the engine's clock.
    pub(super) time: Option<i64>,
    /// The same in nanoseconds.
    #[serde(rename = "timeNano")]
    nanoseconds: Option<i64>,
    /// What it happened to.
    #[serde(rename = "Type")]
    kind: Option<String>,
    /// What happened.
    #[serde(rename = "Action")]
    action: Option<String>,
    #[serde(rename = "Actor")]
    actor: Option<Actor>,
}

/// The answer of `VolumeList`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Volumes {
    volumes: Option<Vec<Volume>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: Option<String>,
    /// RFC 3339.
    created_at: Option<String>,
}

impl Volumes {
    /// The volumes' names, and when they were made, in seconds since 1970.
    pub(super) fn dated(self) -> impl Iterator<Item = (String, i64)> {
        let volumes = self.volumes.into_iter().flatten();
        volumes.filter_map(|volume| {
            let made: jiff::Timestamp = volume.created_at?.parse().ok()?;
            Some((volume.name?, made.as_second()))
        })
    }
}

/// An element of [`Containers`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: Option<String>,
    #[serde(rename = "Names", default, deserialize_with = "first")]
    name: Option<String>,
    image: Option<String>,
    labels: Option<Labels>,
    /// In seconds since 1970.
    created: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: Option<String>,
    labels: Option<Labels>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(rename = "ID")]
    id: Option<String>,
    attributes: Option<Labels>,
}

/// The labels that are read. The attributes of an event are the labels of its container, with its name and image added.
#[derive(Debug, Default, Deserialize)]
struct Labels {
    name: Option<String>,
    image: Option<String>,
    /// Of a volume that is mounted: for which container.
    container: Option<String>,
    #[serde(rename = "com.docker.compose.project")]
    compose_project: Option<String>,
    #[serde(rename = "com.docker.compose.service")]
    compose_service: Option<String>,
    // Set by kubelet (k8s.io/kubelet, pkg/types/labels.go).
    #[serde(rename = "io.kubernetes.pod.name")]
    pod: Option<String>,
    #[serde(rename = "io.kubernetes.pod.namespace")]
    pod_namespace: Option<String>,
    #[serde(rename = "io.kubernetes.container.name")]
    pod_container: Option<String>,
}

impl Inspected {
    /// The container with its description, if its id is valid.
    pub(super) fn described(self) -> Option<(ContainerId, Description)> {
        let config = self.config.unwrap_or_default();
        let labels = config.labels.unwrap_or_default();
        let created = self
            .created
            .and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let description = Description {
            created: created.map(jiff::Timestamp::as_second),
            ..labels.describe(self.name, config.image)
        };
        Some((ContainerId::new(&self.id?)?, description))
    }
}

impl Event {
    /// The container that a volume is mounted for, with the volume's name; `None` of every other event. Docker tells so of each
    /// volume before the container starts (`setupMounts`, daemon/volumes_unix.go, 20.10), Podman does not.
    pub(super) fn mounted(&self) -> Option<(ContainerId, String)> {
        let is_mount =
            self.kind.as_deref() == Some("volume") && self.action.as_deref() == Some("mount");
        let actor = self.actor.as_ref().filter(|_actor| is_mount)?;
        let container = actor.attributes.as_ref()?.container.as_deref()?;
        Some((ContainerId::new(container)?, actor.id.clone()?))
    }

    /// The container that the event is about, with its description; `None` if it is about something else.
    pub(super) fn described(self) -> Option<(ContainerId, Description)> {
        // A volume's name may look like the id of a container.
        if self.kind.is_some_and(|kind| kind != "container") {
            return None;
        }
        let actor = self.actor?;
        let id = ContainerId::new(&actor.id?)?;
        let mut attributes = actor.attributes?;
        let (name, image) = (attributes.name.take(), attributes.image.take());
        let is_made = self.action.as_deref() == Some("create");
        let told = match (self.action.as_deref(), self.nanoseconds) {
            (Some("start"), Some(time)) => Told::start(time),
            // What Docker calls die and destroy, Podman calls died and remove.
            (Some("die" | "died"), _) => Told::end(),
            (Some("destroy" | "remove"), _) => Told::removal(),
            _ => Told::default(),
        };
        let description = Description {
            created: self.time.filter(|_time| is_made),
            told,
            ..attributes.describe(name, image)
        };
        Some((id, description))
    }
}

impl Listed {
    fn described(self) -> Option<(ContainerId, Description)> {
        let labels = self.labels.unwrap_or_default();
        let description = Description {
            created: self.created,
            ..labels.describe(self.name, self.image)
        };
        Some((ContainerId::new(&self.id?)?, description))
    }
}

impl Labels {
    fn describe(self, name: Option<String>, image: Option<String>) -> Description {
        let pod = self.pod.map(|name| Pod {
            namespace: self.pod_namespace.unwrap_or_default(),
            name,
            container: self.pod_container.unwrap_or_default(),
        });
        Description {
            // Lists and inspections put a slash in front of it, events do not.
            name: name
                .map(|name| name.trim_start_matches('/').to_owned())
                .unwrap_or_default(),
            image: image.unwrap_or_default(),
            compose_project: self.compose_project,
            compose_service: self.compose_service,
            pod,
            engine_version: None,
            created: None,
            told: Told::default(),
        }
    }
}

impl<'de> Deserialize<'de> for Containers {
    /// Drops each element without a valid id at once: kept, an array of `{}` would take eighty times its length.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Described;

        impl<'de> Visitor<'de> for Described {
            type Value = Vec<(ContainerId, Description)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of containers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut described = Vec::new();
                while let Some(listed) = list.next_element::<Listed>()? {
                    described.extend(listed.described());
                }
                Ok(described)
            }
        }

        deserializer.deserialize_seq(Described).map(Self)
    }
}

/// The first of a list of strings; `None` if it is empty or `null`.
fn first<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct First;

    impl<'de> Visitor<'de> for First {
        type Value = Option<String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list of strings")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let first = list.next_element::<Option<String>>()?;
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first.flatten())
        }
    }

    // JSON tells which of the two it is.
    deserializer.deserialize_any(First)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_say_of_which_release_they_are() {
        assert_eq!(
            release("Docker/20.10.24+dfsg1 (linux)"),
            Some("20.10.24+dfsg1")
        );
        assert_eq!(release("Libpod/5.4.2 (linux)"), Some("5.4.2"));
        assert_eq!(release("nginx/1.22"), None);
        assert_eq!(release("Docker/"), None);
        assert_eq!(release(&format!("Docker/{}", "1".repeat(65))), None);
    }

    /// The two containers that both engines were asked about when their answers were recorded: of a compose service, and
    /// without labels.
    fn recorded(web: &str, plain: &str, image: &str) -> [Option<(ContainerId, Description)>; 2] {
        let of_service = Description {
            name: "shop-web-1".to_owned(),
            image: image.to_owned(),
            compose_project: Some("shop".to_owned()),
            compose_service: Some("web".to_owned()),
            ..Description::default()
        };
        let without_labels = Description {
            name: "plain".to_owned(),
            image: image.to_owned(),
            ..Description::default()
        };
        [
            ContainerId::new(web).map(|id| (id, of_service)),
            ContainerId::new(plain).map(|id| (id, without_labels)),
        ]
    }

    #[test]
    fn docker_s_answers_are_understood() -> serde_json::Result<()> {
        understood(
            recorded(
                "c5d9492af72f3b640743dba919ce2750a36355f8c0fab9af25f2517b900e61ef",
                "87dd1ba853ae52e9ba4eeac068d0b02e8441d19f140ec708bde57bccd2e5ce8e",
                "shop-web:1",
            ),
            include_str!("recorded/docker-20.10-list.json"),
            include_str!("recorded/docker-20.10-inspect.json"),
            include_str!("recorded/docker-20.10-events.jsonl"),
            1_795_743_176,
        )
    }

    #[test]
    fn podman_s_answers_are_understood() -> serde_json::Result<()> {
        understood(
            recorded(
                "4fa5339f7595c0557f21015bb14c0b9fc4250e199ed183d2aece387987634008",
                "4c52303d843b4bd468aecb0245924f48e856b2b6f0190a5affef5a1bcecc474e",
                "localhost/shop-web:1",
            ),
            include_str!("recorded/podman-4.3-list.json"),
            include_str!("recorded/podman-4.3-inspect.json"),
            include_str!("recorded/podman-4.3-events.jsonl"),
            1_795_743_188,
        )
    }

    fn understood(
        [web, plain]: [Option<(ContainerId, Description)>; 2],
        list: &str,
        inspection: &str,
        events: &str,
        last: i64,
    ) -> serde_json::Result<()> {
        let Containers(listed) = serde_json::from_str(list)?;
        assert_eq!(listed.len(), 2);
        assert!(listed.iter().all(|(_id, known)| known.created.is_some()));
        let dateless = |described: Option<(ContainerId, Description)>| {
            described.map(|(id, known)| {
                let (created, told) = (None, Told::default());
                let known = Description {
                    created,
                    told,
                    ..known
                };
                (id, known)
            })
        };
        let listed: Vec<_> = listed.into_iter().map(|it| dateless(Some(it))).collect();
        assert!(listed.contains(&web) && listed.contains(&plain));
        let inspected: Inspected = serde_json::from_str(inspection)?;
        let inspected = inspected.described();
        let made = inspected.as_ref().and_then(|(_id, known)| known.created);
        assert!(made.is_some_and(|made| (1_795_743_174..=last).contains(&made)));
        assert_eq!(dateless(inspected), web);
        let events: Vec<Event> = events
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        assert_eq!(events.last().and_then(|event| event.time), Some(last));
        let described: Vec<_> = events.into_iter().map(Event::described).collect();
        assert_eq!(described.len(), 4);
        let started = described.iter().flatten();
        let told = started.filter(|(_id, known)| known.told != Told::default());
        assert_eq!(told.count(), 1, "one was started");
        // Two were made; what else happened to them does not tell when.
        let made = described
            .iter()
            .flatten()
            .filter(|(_id, known)| known.created.is_some());
        assert_eq!(made.count(), 2);
        let described: Vec<_> = described.into_iter().map(dateless).collect();
        assert!(described.contains(&web) && described.contains(&plain));
        assert!(described.iter().all(|it| *it == web || *it == plain));
        Ok(())
    }

    #[test]
    fn a_volume_is_of_the_container_that_it_is_mounted_for() -> serde_json::Result<()> {
        let id = "a".repeat(64);
        let event = |kind: &str, action: &str| -> serde_json::Result<Event> {
            serde_json::from_str(&format!(
                r#"{{"Type": "{kind}", "Action": "{action}", "Actor": {{"ID": "{id}", "Attributes": {{"container": "{id}", "destination": "/data"}}}}, "time": 1}}"#
            ))
        };
        let mounted = event("volume", "mount")?.mounted();
        assert_eq!(mounted, ContainerId::new(&id).map(|it| (it, id.clone())));
        for (kind, action) in [("volume", "create"), ("container", "mount")] {
            assert_eq!(event(kind, action)?.mounted(), None, "{kind} {action}");
        }
        // An anonymous volume is called as a container may be.
        assert_eq!(event("volume", "create")?.described(), None);
        let answer = r#"{"Volumes": [{"Name": "a", "CreatedAt": "1970-01-01T00:01:00Z"}, {"Name": "b"}, {"CreatedAt": "x"}], "Warnings": null}"#;
        let volumes: Volumes = serde_json::from_str(answer)?;
        assert_eq!(volumes.dated().collect::<Vec<_>>(), [("a".to_owned(), 60)]);
        let none: Volumes = serde_json::from_str(r#"{"Volumes": null}"#)?;
        assert_eq!(none.dated().count(), 0);
        assert_eq!(
            volumes_of("data"),
            "/volumes?filters=%7B%22name%22%3A%5B%22data%22%5D%7D"
        );
        Ok(())
    }

    fn volumes_of(name: &str) -> String {
        volumes(&[name.to_owned()])
    }

    #[test]
    fn what_is_null_or_left_out_is_empty() -> serde_json::Result<()> {
        let id = "a".repeat(64);
        let nothing = ContainerId::new(&id).map(|id| (id, Description::default()));
        for fields in [
            "",
            r#", "Names": null, "Name": null, "Image": null, "Labels": null, "Config": null"#,
            r#", "Names": [], "Config": {}"#,
            r#", "Names": [null], "Config": {"Image": null, "Labels": null}"#,
        ] {
            let container = format!(r#"{{"Id": "{id}"{fields}}}"#);
            let inspected: Inspected = serde_json::from_str(&container)?;
            assert_eq!(inspected.described(), nothing, "{container}");
            let Containers(listed) = serde_json::from_str(&format!("[{container}]"))?;
            assert_eq!(listed.first(), nothing.as_ref(), "{container}");
        }
        let event: Event = serde_json::from_str(&format!(
            r#"{{"Actor": {{"ID": "{id}", "Attributes": {{}}}}}}"#
        ))?;
        assert_eq!((event.time, event.described()), (None, nothing));
        Ok(())
    }

    #[test]
    fn an_event_of_a_network_tells_nothing() -> serde_json::Result<()> {
        for event in [
            r#"{"Type": "network", "Actor": {"ID": "bridge", "Attributes": {"name": "bridge"}}}"#,
            r#"{"Type": "network", "Actor": {"ID": "bridge"}}"#,
            r#"{"Actor": null, "time": null}"#,
            "{}",
        ] {
            let event: Event = serde_json::from_str(event)?;
            assert_eq!(event.described(), None);
        }
        Ok(())
    }

    #[test]
    fn kubelets_labels_tell_the_pod() -> serde_json::Result<()> {
        let labels: Labels = serde_json::from_str(
            r#"{
                "io.kubernetes.pod.name": "web-0",
                "io.kubernetes.pod.namespace": "shop",
                "io.kubernetes.container.name": "nginx",
                "io.kubernetes.pod.uid": "7"
            }"#,
        )?;
        let pod = Pod {
            namespace: "shop".to_owned(),
            name: "web-0".to_owned(),
            container: "nginx".to_owned(),
        };
        assert_eq!(labels.describe(None, None).pod, Some(pod));
        Ok(())
    }

    #[test]
    fn a_label_that_is_called_name_is_not_the_name() -> serde_json::Result<()> {
        let id = "a".repeat(64);
        let list = format!(
            r#"[{{"Id": "{id}", "Names": ["/web", "/other/db"], "Labels": {{"name": "x", "image": "y"}}}}]"#
        );
        let Containers(listed) = serde_json::from_str(&list)?;
        let described = listed.first().map(|(_, it)| (&*it.name, &*it.image));
        assert_eq!(described, Some(("web", "")));
        Ok(())
    }

    #[test]
    fn containers_without_a_valid_id_are_left_out() -> serde_json::Result<()> {
        let id = "a".repeat(64);
        let list = format!(r#"[{{}}, {{"Id": "../x"}}, {{"Id": null}}, {{"Id": "{id}"}}]"#);
        let Containers(listed) = serde_json::from_str(&list)?;
        assert_eq!(listed.len(), 1);
        Ok(())
    }

    #[test]
    fn other_json_is_an_error() {
        let deep = "[".repeat(100_000);
        for list in [
            "",
            "{}",
            "null",
            "[1]",
            r#"[{"Names": "web"}]"#,
            "[{}",
            &deep,
        ] {
            assert!(
                serde_json::from_str::<Containers>(list).is_err(),
                "{list:.9}"
            );
        }
        let deep = format!(r#"{{"Actor": {{"Attributes": {{"a": {deep}"#);
        for event in ["", "1", r#"{"time": "now"}"#, r#"{"Actor": []}x"#, &deep] {
            assert!(serde_json::from_str::<Event>(event).is_err(), "{event:.9}");
        }
    }

    #[test]
    fn names_cannot_break_out_of_their_place() {
        assert_eq!(inspect("shop_web-1.a"), "/containers/shop_web-1.a/json");
        assert_eq!(
            inspect("a/../b?c#d e%é"),
            "/containers/a%2F..%2Fb%3Fc%23d%20e%25%C3%A9/json"
        );
        assert_eq!(
            running_with_label("a=\"&b"),
            "/containers/json?filters=%7B%22label%22%3A%5B%22a%3D%5C%22%26b%22%5D%7D"
        );
        assert_eq!(
            events(1_795_743_174),
            "/events?since=1795743174&filters=%7B%22type%22%3A%5B%22container%22%2C%22volume%22%5D%7D"
        );
    }
}
