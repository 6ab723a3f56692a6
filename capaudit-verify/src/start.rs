//! What the runs start from: candidates, and what is known of them.

use std::collections::{BTreeMap, BTreeSet};

use capaudit_core::{
    advise::Evidence,
    capability::CapSet,
    ledger::{Ledger, Phases, SubjectRecord},
    recommend::Recommendation,
    report::Report,
};

use super::{
    Grant, Grants, VerifyError,
    alternatives::alternatives,
    enforce::{Enforcement, NotUnderstood, life, lsm, socket::Made},
    minimize::Candidate,
    state::Audited,
    target::{self, Target},
};

/// What is to be tried.
pub(super) struct Start {
    /// What the audit found, if there was one.
    pub(super) ledger: Option<Ledger>,
    /// Where in it the targets are.
    pub(super) targets: Vec<Target>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) granted: Option<Grants>,
    /// What could stand in for a candidate.
    pub(super) alternatives: Grants,
    pub(super) suspects: Grants,
    /// Candidates that leaving out would say nothing of.
    pub(super) beyond: Vec<Grant>,
    /// In which phases of a life each was asked for, where that is known.
    pub(super) asked_in: BTreeMap<Grant, Phases>,
    pub(super) notes: Vec<String>,
}

/// From the audit of a command that succeeded.
pub(super) fn of_audit(enforcement: &Enforcement, audited: Audited) -> Result<Start, VerifyError> {
    let made = audited.made.as_slice();
    if matches!(enforcement, Enforcement::Docker(_)) && audited.started.is_none() {
        return Err(NotUnderstood::new(
            "the command succeeded without starting a container, as far as its client told",
        )
        .into());
    }
    let mut ledger = audited.ledger;
    let targets = target::find(enforcement, &ledger, audited.started.as_deref(), made)?;
    if let Enforcement::Socket(_) = enforcement {
        let was_made = |place: &usize| {
            let id = ledger.subjects.get(*place).and_then(SubjectRecord::id);
            made.iter().any(|made| Some(made.id.as_str()) == id)
        };
        // Better told now than after a run with nothing enforced.
        if !targets
            .iter()
            .any(|target| target.subjects.iter().any(was_made))
        {
            let names = targets.into_iter().map(|target| target.name);
            return Err(VerifyError::NotEnforced(names.collect()));
        }
    }
    if !matches!(enforcement, Enforcement::Bounding(_)) {
        // Containers that somebody else started meanwhile.
        let is_life = matches!(enforcement, Enforcement::Life(..));
        let ours = |place: usize, subject: &SubjectRecord| {
            // What leads a life is nobody's concern.
            (subject.container().is_none() && !is_life)
                || targets
                    .iter()
                    .any(|target| target.subjects.contains(&place))
        };
        let subjects = std::mem::take(&mut ledger.subjects);
        let subjects = subjects.into_iter().enumerate();
        ledger.subjects = subjects
            .filter(|(place, subject)| ours(*place, subject))
            .map(|(_place, subject)| subject)
            .collect();
    }
    of_ledger(enforcement, ledger, audited.started.as_deref(), made)
}

/// From sessions; `started` and `made` are what the audit started, if it was one of this run.
pub(super) fn of_ledger(
    enforcement: &Enforcement,
    mut ledger: Ledger,
    started: Option<&str>,
    made: &[Made],
) -> Result<Start, VerifyError> {
    if let Enforcement::Lsm(_) = enforcement {
        // Its program refuses to every container that starts meanwhile, whoever asked for it.
        for subject in &mut ledger.subjects {
            subject.other = false;
        }
    }
    let targets = target::find(enforcement, &ledger, started, made)?;
    let report = Report::of(&ledger);
    let findings = target::findings(&report, &targets);
    let mut notes = Vec::new();
    if ledger.has_lost() {
        notes.push("records of the audit were lost, so that a candidate may be missing".to_owned());
    }
    if let Enforcement::Life(run, _) = enforcement {
        let recommendation = Recommendation::of(&report);
        let safe = recommendation
            .containers()
            .filter(|workload| workload.no_new_privileges_is_safe)
            .map(|workload| workload.service.clone());
        // The audit is made once.
        let _ = run.no_new_privileges.set(safe.collect());
    }
    match enforcement {
        Enforcement::Bounding(_) => {
            let containers = ledger
                .subjects
                .iter()
                .filter(|subject| subject.container().is_some() && !subject.other)
                .map(|subject| subject.name.as_str());
            let names: Vec<&str> = containers.collect();
            if !names.is_empty() {
                notes.push(format!(
                    "NOTHING WAS ENFORCED ON THE CONTAINERS that started while the command ran: an engine starts them, whatever the command itself may do (--via socket limits them): {}",
                    names.join(", ")
                ));
            }
        }
        Enforcement::Docker(run) if run.is_privileged() => notes.push(
            "--privileged is left out of the runs; it also gives devices and takes away seccomp and other protection"
                .to_owned(),
        ),
        Enforcement::Lsm(_) => notes.push(
            "a BPF LSM program answered the kernel's checks; what execve, capget, capset and seccomp see of the sets stayed as it was, so needs of theirs are not settled"
                .to_owned(),
        ),
        Enforcement::Life(..) => {
            let beyond = life::ungrantable();
            if !beyond.is_empty() {
                notes.push(format!(
                    "an engine on this machine cannot grant {}: what the services would do with these was not seen, but that they asked was",
                    beyond.names().collect::<Vec<_>>().join(" ")
                ));
            }
        }
        Enforcement::Docker(_) | Enforcement::Compose(..) | Enforcement::Socket(_) => {}
    }
    let beyond = match enforcement {
        Enforcement::Lsm(_) => findings.unchecked,
        _ => Vec::new(),
    };
    let alternatives = alternatives(
        enforcement,
        &report,
        &targets,
        &findings.candidates,
        &findings.granted,
    );
    Ok(Start {
        ledger: Some(ledger),
        targets,
        alternatives,
        candidates: findings.candidates,
        granted: Some(findings.granted),
        suspects: findings.suspects,
        beyond,
        asked_in: findings.asked_in,
        notes,
    })
}

/// The sets that the user gave: names of the subjects, and all of it as candidates.
pub(super) fn given(
    enforcement: &Enforcement,
    sets: &[(Option<String>, CapSet)],
) -> Result<(Vec<String>, Vec<Candidate>), NotUnderstood> {
    let mut subjects: Vec<String> = match enforcement {
        Enforcement::Bounding(_) | Enforcement::Docker(_) => vec![String::new()],
        Enforcement::Compose(_, resolved) => resolved.services().to_vec(),
        Enforcement::Life(run, _) => run.life.services.clone(),
        Enforcement::Lsm(_) => vec![lsm::COMMAND.to_owned(), lsm::CONTAINERS.to_owned()],
        Enforcement::Socket(_) => {
            let names = sets.iter().map(|(name, _set)| name.clone());
            names
                .map(Option::unwrap_or_default)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        }
    };
    let for_all = sets.iter().any(|(service, _set)| service.is_none());
    if let Some(unknown) = sets
        .iter()
        .filter_map(|(service, _set)| service.as_ref())
        .find(|service| service.is_empty() || !subjects.contains(service))
    {
        return Err(NotUnderstood::new(match enforcement {
            Enforcement::Compose(..) | Enforcement::Life(..) => format!(
                "there is no service {unknown:?}; there are: {}",
                subjects.join(", ")
            ),
            Enforcement::Bounding(_) | Enforcement::Docker(_) => {
                "sets by service are for --via compose and socket".to_owned()
            }
            Enforcement::Socket(_) => "a set is of a service, a container or an image".to_owned(),
            Enforcement::Lsm(_) => format!(
                "{unknown:?} is neither {} nor {}",
                lsm::COMMAND,
                lsm::CONTAINERS
            ),
        }));
    }
    if !for_all {
        // Services that no set was given for stay as they are.
        subjects.retain(|name| sets.iter().any(|(of, _set)| of.as_ref() == Some(name)));
    }
    if let Enforcement::Socket(run) = enforcement {
        run.name(&subjects);
    }
    let mut candidates = Vec::new();
    for (subject, name) in subjects.iter().enumerate() {
        let set = sets
            .iter()
            .filter(|(service, _set)| service.as_ref().is_none_or(|service| service == name))
            .fold(CapSet::EMPTY, |all, (_service, set)| all.union(*set));
        candidates.extend(set.iter().map(|capability| Candidate {
            grant: Grant {
                subject,
                capability,
            },
            evidence: Evidence::Possible,
        }));
    }
    Ok((subjects, candidates))
}
