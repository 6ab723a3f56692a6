//! Whether what a lock says need not be found out again.

use std::collections::BTreeMap;

use capaudit_core::{advise::Evidence, ledger::Phases};

use super::{CannotCompare, Image, Lock, compare, definition};
use crate::{check::Rule, manifest::compose::Project};

/// What would be found out.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The compose files, seen from the directory of the lock.
    pub files: Vec<String>,
    /// The services; empty: all that are started without a profile.
    pub services: Vec<String>,
    /// The phases of the life.
    pub phases: Phases,
    /// The command that is to test each phase.
    pub test: Vec<String>,
    /// The service that is to test the others.
    pub exit_code_from: String,
    /// That the life fails without each capability.
    pub proofs: bool,
    /// The engine's release now, as in a lock.
    pub engine: String,
    /// The kernel's release now.
    pub kernel: String,
}

/// Why what is wanted has to be found out again, each in a sentence; empty if the lock says it all.
///
/// # Errors
///
/// The files cannot be understood.
pub fn why_not(
    lock: &Lock,
    project: &Project,
    images: &BTreeMap<String, Image>,
    wanted: &Wanted,
) -> Result<Vec<String>, CannotCompare> {
    let mut reasons = Vec::new();
    if lock.files != wanted.files {
        reasons.push("it is about other files".to_owned());
    }
    // A change of any service may be one for another.
    let outcome = compare(lock, project, images, None)?;
    let changes = outcome.findings.iter().filter(|finding| {
        !(finding.rule == Rule::NotLocked && finding.level != finding.rule.level())
    });
    reasons.extend(changes.map(|finding| finding.message.clone()));
    let is_unknown = |name: &&String| !lock.services.contains_key(*name);
    let unknown = wanted.services.iter().filter(is_unknown);
    reasons.extend(unknown.map(|name| format!("service {name} is not in the lock")));
    for (name, service) in &lock.services {
        if !wanted.services.is_empty() && !wanted.services.contains(name) {
            continue;
        }
        if definition(project, name)?.depends_on_environment {
            reasons.push(format!(
                "service {name} depends on variables, which the lock does not hold"
            ));
        }
        let exercised = &service.exercised;
        for (what, differs) in [
            ("another test", exercised.test != wanted.test),
            (
                "another test service",
                exercised.exit_code_from != wanted.exit_code_from,
            ),
            (
                "fewer phases",
                wanted
                    .phases
                    .iter()
                    .any(|it| !exercised.phases.contains(it)),
            ),
            (
                "another kernel",
                series(&exercised.kernel) != series(&wanted.kernel),
            ),
            (
                "another engine",
                // A name alone says nothing of the release.
                exercised.engine != wanted.engine || !wanted.engine.contains(' '),
            ),
            (
                "no failing run for each capability",
                wanted.proofs
                    && service
                        .capabilities
                        .values()
                        .any(|member| member.evidence != Evidence::Proven),
            ),
        ] {
            if differs {
                reasons.push(format!("service {name} was exercised with {what}"));
            }
        }
    }
    Ok(reasons)
}

/// The first two numbers of a kernel's release: what later numbers change asks for the same capabilities.
fn series(release: &str) -> Vec<&str> {
    release.split(['.', '-']).take(2).collect()
}
