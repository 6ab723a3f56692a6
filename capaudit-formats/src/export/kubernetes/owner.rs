//! The object that a pod's containers are configured in.

use std::str::FromStr;

use thiserror::Error;

/// A kind of object that has a pod or a template of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    Job,
    CronJob,
}

/// Kinds with the names that `kubectl` takes for them.
const KINDS: [(Kind, &[&str]); 7] = [
    (Kind::Pod, &["pod", "pods", "po"]),
    (Kind::Deployment, &["deployment", "deployments", "deploy"]),
    (Kind::StatefulSet, &["statefulset", "statefulsets", "sts"]),
    (Kind::DaemonSet, &["daemonset", "daemonsets", "ds"]),
    (Kind::ReplicaSet, &["replicaset", "replicasets", "rs"]),
    (Kind::Job, &["job", "jobs"]),
    (Kind::CronJob, &["cronjob", "cronjobs", "cj"]),
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    /// Its API's group and version.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Pod => "v1",
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet => "apps/v1",
            Self::Job | Self::CronJob => "batch/v1",
        }
    }

    /// The fields around the list of containers, outermost first.
    pub fn path_to_pod_spec(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &["spec"],
            Self::CronJob => &["spec", "jobTemplate", "spec", "template", "spec"],
            _ => &["spec", "template", "spec"],
        }
    }
}

/// An object, as `deployment/web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    kind: Kind,
    name: String,
}

impl Owner {
    /// Which kind of object it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name, which is one that Kubernetes allows.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A text that names no object.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ParseOwnerError {
    /// The text has not two parts with a `/` between them.
    #[error("write KIND/NAME, as deployment/web")]
    Form,
    /// The first part is no kind that has containers.
    #[error(
        "{0:?} has no pods; known are pod, deployment, statefulset, daemonset, replicaset, job and cronjob"
    )]
    Kind(String),
    /// The second part is no name.
    #[error("{0:?} is no name of an object: small letters, digits, - and . only, at most 253")]
    Name(String),
}

impl FromStr for Owner {
    type Err = ParseOwnerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once('/').ok_or(ParseOwnerError::Form)?;
        let wanted = kind.to_ascii_lowercase();
        let (kind, _) = KINDS
            .into_iter()
            .find(|(_, names)| names.contains(&wanted.as_str()))
            .ok_or_else(|| ParseOwnerError::Kind(kind.to_owned()))?;
        if name.len() > 253 || !name.split('.').all(is_label_of_any_length) {
            return Err(ParseOwnerError::Name(name.to_owned()));
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

/// Whether a container can be called so: [RFC 1123's labels][names].
///
/// [names]: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
pub(super) fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_label_of_any_length(name)
}

fn is_label_of_any_length(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.is_empty()
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_called_as_for_kubectl() {
        for text in ["deployment/web", "Deployment/web", "deploy/web"] {
            let owner = Owner {
                kind: Kind::Deployment,
                name: "web".to_owned(),
            };
            assert_eq!(text.parse(), Ok(owner), "{text}");
        }
        for text in [
            "web",
            "/",
            "svc/web",
            "deploy/",
            "deploy/Web",
            "deploy/a b",
            "deploy/-a",
            "deploy/a..b",
            "deploy/a\n",
            "deploy/a/b",
        ] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
        assert!("po/a.b-c".parse::<Owner>().is_ok());
    }

    #[test]
    fn containers_are_called_by_labels() {
        assert!(is_label("web-1"));
        assert!(is_label("1"));
        for name in ["", "web_1", "Web", "-a", "a.b", &"a".repeat(64)] {
            assert!(!is_label(name), "{name}");
        }
    }
}
