//! Which of an audit's subjects are those that sets are enforced on.

use std::collections::BTreeMap;

use capaudit_core::{
    advise::Evidence,
    capability::CapSet,
    ledger::{Ledger, Phases, Subject, SubjectRecord},
    report::Report,
    text::sanitize,
};

use crate::{
    Grant, Grants,
    enforce::{Enforcement, NotUnderstood, lsm, socket::Made},
    minimize::Candidate,
};

/// What a set is enforced on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The compose service; for a BPF LSM program, the command or all containers; empty for a command or a container,
    /// of which there is one.
    pub name: String,
    /// Places in the ledger of the subjects it was audited as.
    pub subjects: Vec<usize>,
}

/// Finds the targets in a ledger. `started` is what the audited run itself started (a container's id, a compose
/// project), `made` are the containers that were made through a socket of ours; without either, the ledger is of a run of
/// somebody else.
///
/// # Errors
///
/// There are none, or it cannot be told which they are.
pub(super) fn find(
    enforcement: &Enforcement,
    ledger: &Ledger,
    started: Option<&str>,
    made: &[Made],
) -> Result<Vec<Target>, NotUnderstood> {
    match enforcement {
        Enforcement::Lsm(_) => {
            let containers = places(ledger, is_container);
            let (name, subjects) = if containers.is_empty() {
                (lsm::COMMAND, places(ledger, is_command))
            } else {
                (lsm::CONTAINERS, containers)
            };
            if subjects.is_empty() {
                return Err(NotUnderstood::new(
                    "neither a command nor a container was audited in this session: give the set with --caps",
                ));
            }
            let remapped = subjects
                .iter()
                .filter_map(|place| ledger.subjects.get(*place));
            if let Some(remapped) = remapped.clone().find(|it| it.user_namespace_level > 0) {
                return Err(NotUnderstood::new(format!(
                    "{} runs in a user namespace of its own, where --via lsm refuses nothing: use another way",
                    sanitize(&remapped.name)
                )));
            }
            Ok(vec![Target {
                name: name.to_owned(),
                subjects,
            }])
        }
        Enforcement::Bounding(_) => {
            let commands = places(ledger, is_command);
            if commands.is_empty() {
                return Err(NotUnderstood::new(
                    "no command was audited in this session: give the set with --caps",
                ));
            }
            Ok(vec![one(commands)])
        }
        Enforcement::Socket(run) => {
            let found = run.subjects(ledger, made);
            if found.is_empty() {
                return Err(NotUnderstood::new(
                    "the audit saw no container that the command started: use another way (--via)",
                ));
            }
            let target = |(name, subjects)| Target { name, subjects };
            Ok(found.into_iter().map(target).collect())
        }
        Enforcement::Docker(run) => {
            let found = match started {
                Some(id) => places(ledger, |it| is_container(it) && it.id() == Some(id)),
                None => {
                    let name = run.name().and_then(|name| name.to_str());
                    let all = places(ledger, is_container);
                    let named = places(ledger, |it| {
                        is_container(it) && Some(it.name.as_str()) == name
                    });
                    let of_image = places(ledger, |it| {
                        it.image().is_some_and(|image| run.names_image(image))
                    });
                    // The surest that finds any.
                    [named, of_image, all]
                        .into_iter()
                        .find(|found| !found.is_empty())
                        .unwrap_or_default()
                }
            };
            if found.is_empty() {
                return Err(NotUnderstood::new(
                    "the audit saw nothing of the command's container: does the engine run on this machine?",
                ));
            }
            let images = distinct(ledger, &found, |it| it.image().unwrap_or_default());
            if images.len() > 1 {
                return Err(NotUnderstood::new(format!(
                    "several containers were audited, and it cannot be told which is the command's ({}): give the set with --caps",
                    listed(&distinct(ledger, &found, |it| &it.name))
                )));
            }
            Ok(vec![one(found)])
        }
        Enforcement::Compose(..) | Enforcement::Life(..) => {
            let services = match enforcement {
                Enforcement::Compose(_, resolved) => resolved.services(),
                Enforcement::Life(run, _) => &run.life.services,
                _ => &[],
            };
            let of_service = |service: &str| {
                places(ledger, |subject| {
                    subject.compose_service() == Some(service)
                        && started.is_none_or(|it| subject.compose_project() == Some(it))
                })
            };
            let targets: Vec<Target> = services
                .iter()
                .map(|service| Target {
                    name: service.clone(),
                    subjects: of_service(service),
                })
                .filter(|target| !target.subjects.is_empty())
                .collect();
            if targets.is_empty() {
                return Err(NotUnderstood::new(format!(
                    "the audit saw no container of the services {}: does the engine run on this machine?",
                    listed(services)
                )));
            }
            Ok(targets)
        }
    }
}

fn one(subjects: Vec<usize>) -> Target {
    Target {
        name: String::new(),
        subjects,
    }
}

fn is_command(subject: &SubjectRecord) -> bool {
    subject.identity == Subject::Command
}

fn is_container(subject: &SubjectRecord) -> bool {
    subject.container().is_some()
}

fn places(ledger: &Ledger, wanted: impl Fn(&SubjectRecord) -> bool) -> Vec<usize> {
    ledger
        .subjects
        .iter()
        .enumerate()
        .filter(|(_place, subject)| wanted(subject))
        .map(|(place, _subject)| place)
        .collect()
}

fn distinct(
    ledger: &Ledger,
    places: &[usize],
    text: impl Fn(&SubjectRecord) -> &str,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for place in places {
        if let Some(subject) = ledger.subjects.get(*place)
            && !found.iter().any(|known| known == text(subject))
        {
            found.push(text(subject).to_owned());
        }
    }
    found
}

fn listed(names: &[String]) -> String {
    sanitize(&names.join(", "))
}

/// What an audit says of the targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Findings {
    /// What it recommends, and how sure it is of each.
    pub candidates: Vec<Candidate>,
    /// What they were granted.
    pub granted: Grants,
    /// What else they asked for.
    pub suspects: Grants,
    /// Of the candidates, those that are needed where the kernel makes no check: for an execve, a capset, a seccomp
    /// profile.
    pub unchecked: Vec<Grant>,
    /// In which phases of a life a capability was asked for; nothing of one that was asked for elsewhere, too.
    pub asked_in: BTreeMap<Grant, Phases>,
}

/// What an audit says of the targets.
pub(super) fn findings(report: &Report, targets: &[Target]) -> Findings {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut granted = Vec::new();
    let mut suspects = Vec::new();
    let mut unchecked: Vec<Grant> = Vec::new();
    let mut asked_in = BTreeMap::new();
    for (place, target) in targets.iter().enumerate() {
        let (mut of_target, mut asked) = (CapSet::EMPTY, CapSet::EMPTY);
        for subject in target
            .subjects
            .iter()
            .filter_map(|it| report.subjects.get(*it))
        {
            of_target = of_target.union(subject.granted);
            let findings = &subject.capabilities;
            asked.extend(findings.iter().map(|finding| finding.capability));
            for finding in findings {
                let grant = Grant {
                    subject: place,
                    capability: finding.capability,
                };
                let phases: &mut Phases = asked_in.entry(grant).or_default();
                *phases = phases.union(finding.phases);
            }
            for capability in subject.cap_add {
                let grant = Grant {
                    subject: place,
                    capability,
                };
                let finding = findings
                    .iter()
                    .find(|finding| finding.capability == capability);
                if finding.is_some_and(|finding| finding.unchecked) && !unchecked.contains(&grant) {
                    unchecked.push(grant);
                }
                let evidence = finding.map_or(Evidence::Possible, |finding| finding.evidence);
                match candidates.iter_mut().find(|known| known.grant == grant) {
                    Some(known) => known.evidence = known.evidence.max(evidence),
                    None => candidates.push(Candidate { grant, evidence }),
                }
            }
        }
        granted.push(of_target);
        suspects.push(asked);
    }
    Findings {
        candidates,
        granted: Grants::new(granted),
        suspects: Grants::new(suspects),
        unchecked,
        asked_in,
    }
}

#[cfg(test)]
mod tests;
