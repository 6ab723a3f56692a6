//! Kubernetes manifests: the containers of pods, and of what makes pods.

use std::rc::Rc;

use capaudit_core::capability::CapSet;

use super::{Platform, User, Words, Workload, allow::Lines, containerd};
use crate::yaml::{Kind, Node, Source, Stream, Unusable};

/// Whether a document is an object of Kubernetes'.
pub(super) fn is_object(root: &Node) -> bool {
    root.get("apiVersion").is_some() && root.get("kind").is_some()
}

/// Where an object of a kind has its pod's spec
/// (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/>).
fn path_to_pod(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "Pod" => Some(&["spec"]),
        "PodTemplate" => Some(&["template", "spec"]),
        "Deployment"
        | "StatefulSet"
        | "DaemonSet"
        | "ReplicaSet"
        | "ReplicationController"
        | "Job" => Some(&["spec", "template", "spec"]),
        "CronJob" => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        _ => None,
    }
}

/// What the containers of all objects are granted.
///
/// # Errors
///
/// There is no container in them, or one is not as it has to be.
pub(super) fn workloads(source: &Source, stream: &Stream) -> Result<Vec<Workload>, Unusable> {
    let mut workloads = Vec::new();
    for document in &stream.documents {
        object(&document.root, source, stream, &mut workloads)?;
    }
    if workloads.is_empty() {
        return Err(Unusable {
            place: source.place(0),
            message: "there is no container in this manifest".to_owned(),
        });
    }
    Ok(workloads)
}

fn object(
    root: &Node,
    source: &Source,
    stream: &Stream,
    workloads: &mut Vec<Workload>,
) -> Result<(), Unusable> {
    let kind = root.at(&["kind"]);
    let kind = kind.as_ref().and_then(|kind| kind.text()).unwrap_or("");
    if kind == "List" {
        for item in root.at(&["items"]).iter().flat_map(|items| items.items()) {
            object(item.target(), source, stream, workloads)?;
        }
        return Ok(());
    }
    let Some(pod) = path_to_pod(kind).and_then(|path| root.at(path)) else {
        return Ok(());
    };
    let name = root.at(&["metadata", "name"]);
    let name = name
        .as_ref()
        .and_then(|name| name.text())
        .unwrap_or("without a name");
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in pod.at(&[list]).iter().flat_map(|list| list.items()) {
            workloads.push(self::container(
                container,
                &pod,
                (kind, name),
                source,
                stream,
            )?);
        }
    }
    Ok(())
}

fn container(
    node: &Rc<Node>,
    pod: &Node,
    (kind, owner): (&str, &str),
    source: &Source,
    stream: &Stream,
) -> Result<Workload, Unusable> {
    let text = |key: &str| {
        node.at(&[key])
            .and_then(|value| value.text().map(str::to_owned))
    };
    let name = text("name").ok_or_else(|| Unusable {
        place: source.place(node.start),
        message: format!("a container of {kind} {owner} has no name"),
    })?;
    let list = |key: &str| {
        let list = node.at(&["securityContext", "capabilities", key]);
        if let Some(list) = &list
            && !list.is_null()
            && !matches!(list.target().kind, Kind::Sequence { .. })
        {
            return Err(Unusable {
                place: source.place(list.start),
                message: format!("capabilities.{key} of container {name:?} is no list"),
            });
        }
        let items = list.iter().flat_map(|list| list.items().to_vec());
        Ok(items.collect::<Vec<_>>())
    };
    let (add, drop) = (list("add")?, list("drop")?);
    let words = |items: &[Rc<Node>]| {
        Words::of(items.iter().map(|item| {
            (
                item.text().unwrap_or_default(),
                source.place(item.target().span.start),
            )
        }))
    };
    let (add_words, drop_words) = (words(&add), words(&drop));
    let truth = |key: &str| node.at(&["securityContext", key]);
    let privileged = truth("privileged")
        .filter(|value| value.is_true())
        .map(|value| source.place(value.start));
    let granted = if privileged.is_some() {
        CapSet::known()
    } else {
        containerd(&add_words, &drop_words)
    };
    let mut lines = Lines::default();
    lines.add(source, stream, node.start, node.span.end);
    for item in &add {
        lines.add_line(source, item.target().span.start);
    }
    Ok(Workload {
        platform: Platform::Kubernetes,
        title: format!("container {name} of {kind} {owner}"),
        name,
        owner: Some(owner.to_owned()),
        image: text("image").unwrap_or_default(),
        place: Some(source.place(node.start)),
        granted,
        held: granted,
        // Only an explicit false sets no_new_privs; SYS_ADMIN and privileged rule it out.
        no_new_privileges: Some(
            truth("allowPrivilegeEscalation")
                .is_some_and(|value| !value.is_null() && !value.is_true()),
        ),
        drops_all: drop_words.all.is_some(),
        user: user(node, pod),
        user_namespace: Some(
            pod.at(&["hostUsers"])
                .is_some_and(|value| !value.is_null() && !value.is_true()),
        ),
        named: add_words.capabilities,
        privileged,
        adds_all: add_words.all,
        allowed: lines.allowances(source, stream),
        unclear: [add_words.unclear, drop_words.unclear].concat(),
    })
}

/// Whom a container of a pod is started as: what the container says, else what the pod does, else its image.
fn user(container: &Node, pod: &Node) -> User {
    let said = |key: &str| {
        [container, pod]
            .into_iter()
            .filter_map(|node| node.at(&["securityContext", key]))
            .find(|value| !value.is_null())
    };
    match said("runAsUser") {
        Some(value) => User::parse(value.text().unwrap_or_default()),
        // The kubelet starts it as no other.
        None if said("runAsNonRoot").is_some_and(|value| value.is_true()) => {
            User::Other("that is not root (runAsNonRoot)".to_owned())
        }
        None => User::Unsaid,
    }
}
