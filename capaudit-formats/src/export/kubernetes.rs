//! The securityContext of Kubernetes containers: by itself, or as a patch of the object that has the containers.

mod owner;
mod pod_security;

use std::fmt::Write as _;

use capaudit_core::{
    capability::Capability,
    recommend::{POSSIBLY, Recommendation, Workload},
};
use thiserror::Error;

use super::{
    comment::{self, ELSEWHERE, NO_CONTAINER, PRIVILEGED_EXECS, Possible},
    yaml::scalar,
};

pub use owner::{Owner, ParseOwnerError};

/// Why there is no patch.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PatchError {
    /// There is nothing to patch with.
    #[error("no container was audited")]
    NoContainer,
    /// The engine's name for a container is none that a pod can have.
    #[error(
        "{0:?} is no name of a container in a pod: choose it by --service, and say by --container what the pod calls it"
    )]
    Name(String),
    /// One name for several containers.
    #[error("--container names one container, and there are several: choose one by --service")]
    Several,
}

/// A document with a `securityContext` for each container.
pub fn snippets(recommendation: &Recommendation) -> String {
    let documents: Vec<String> = recommendation
        .containers()
        .map(|workload| {
            comment::heading(workload, Possible::AtEach)
                + &security_context(workload, Lists::Fresh, 0)
        })
        .collect();
    let mut text = comment::warnings(recommendation);
    if documents.is_empty() {
        text.push_str(NO_CONTAINER);
    }
    text.push_str(&documents.join("---\n"));
    text
}

/// A strategic merge patch that gives each container of the object's pods its `securityContext`. `container`
/// is what the pod calls the only audited container, if not what the engine calls it.
///
/// # Errors
///
/// There are no containers, or they are called what no container of a pod can be called.
pub fn strategic_merge(
    recommendation: &Recommendation,
    owner: &Owner,
    container: Option<&str>,
) -> Result<String, PatchError> {
    Ok(comment::warnings(recommendation) + &patch(recommendation, owner, container)?)
}

/// A kustomization that applies [`strategic_merge`]'s patch.
///
/// # Errors
///
/// As [`strategic_merge`].
pub fn kustomization(
    recommendation: &Recommendation,
    owner: &Owner,
    container: Option<&str>,
) -> Result<String, PatchError> {
    let mut text = comment::warnings(recommendation);
    text.push_str(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n# resources: the files that have the object\npatches:\n  - patch: |-\n",
    );
    for line in patch(recommendation, owner, container)?.lines() {
        let _ = writeln!(text, "      {line}");
    }
    Ok(text)
}

fn patch(
    recommendation: &Recommendation,
    owner: &Owner,
    container: Option<&str>,
) -> Result<String, PatchError> {
    let workloads: Vec<&Workload> = recommendation.containers().collect();
    match (workloads.len(), container) {
        (0, _) => return Err(PatchError::NoContainer),
        (1, _) | (_, None) => {}
        (_, Some(_)) => return Err(PatchError::Several),
    }
    let kind = owner.kind();
    let mut text = format!(
        "# A container that the object does not have yet would be added: the names must be right.\napiVersion: {}\nkind: {}\nmetadata:\n  name: {}\n",
        kind.api_version(),
        kind.name(),
        scalar(owner.name())
    );
    let mut indent = 0;
    for field in kind.path_to_pod_spec() {
        let _ = writeln!(text, "{:indent$}{field}:", "");
        indent += 2;
    }
    let _ = writeln!(text, "{:indent$}containers:", "");
    indent += 2;
    for workload in &workloads {
        let name = container.unwrap_or(&workload.name);
        if !owner::is_label(name) {
            return Err(PatchError::Name(name.to_owned()));
        }
        for comment in comment::heading(workload, Possible::AtEach).lines() {
            let _ = writeln!(text, "{:indent$}{comment}", "");
        }
        let _ = writeln!(text, "{:indent$}- name: {}", "", scalar(name));
        text.push_str(&security_context(workload, Lists::Replaced, indent + 2));
    }
    Ok(text)
}

/// What becomes of a list that the object has already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// It has none.
    Fresh,
    /// It is replaced whole, which takes a list, an empty one too: `add` has no patch strategy.
    Replaced,
}

fn security_context(workload: &Workload, lists: Lists, indent: usize) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |depth: usize, line: &str| {
        let _ = writeln!(text, "{:width$}{line}", "", width = indent + depth);
    };
    line(
        0,
        &format!(
            "# Pod Security Standards: {}",
            pod_security::level(workload)
        ),
    );
    if let Some(text) = comment::without_effect(workload) {
        line(0, &format!("# {text}"));
    }
    line(0, "securityContext:");
    match escalation(workload) {
        Escalation::Forbidden => line(2, "allowPrivilegeEscalation: false"),
        Escalation::Used => line(
            2,
            &format!("# allowPrivilegeEscalation: false would take effect: {PRIVILEGED_EXECS}"),
        ),
        Escalation::Implied => line(
            2,
            "# allowPrivilegeEscalation is always true with SYS_ADMIN",
        ),
    }
    line(2, "capabilities:");
    line(4, "drop:");
    line(6, "- ALL");
    let (cap_add, possible) = (workload.cap_add_elsewhere(), workload.possible());
    let elsewhere = workload.only_elsewhere();
    if cap_add.is_empty() && lists == Lists::Replaced {
        line(4, "add: []");
    }
    if !cap_add.is_empty() {
        line(4, "add:");
    }
    for capability in cap_add {
        let name = scalar(capability.name());
        if elsewhere.contains(capability) {
            line(6, &format!("- {name} # {ELSEWHERE}"));
        } else if possible.contains(capability) {
            line(6, &format!("- {name} # {POSSIBLY}"));
        } else {
            line(6, &format!("- {name}"));
        }
    }
    text
}

/// What there is to say of `allowPrivilegeEscalation`, which is `no_new_privs`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escalation {
    /// It can be forbidden.
    Forbidden,
    /// It was made use of.
    Used,
    /// [`SYS_ADMIN` implies it][doc], and the API server refuses the contradiction where it notices it (it compares
    /// with `CAP_SYS_ADMIN`).
    ///
    /// [doc]: https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
    Implied,
}

fn escalation(workload: &Workload) -> Escalation {
    if workload.needs.contains_key(&Capability::SYS_ADMIN) {
        Escalation::Implied
    } else if workload.no_new_privileges_is_safe {
        Escalation::Forbidden
    } else {
        Escalation::Used
    }
}

#[cfg(test)]
mod tests;
