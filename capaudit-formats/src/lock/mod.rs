//! `capaudit.lock`: what a life of a compose project showed, in a file to commit beside the project's own.
//!
//! Pure: text in, text out. What an engine has now, callers find out.

mod compare;
mod definition;
mod holds;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use capaudit_core::{
    advise::{Evidence, Verdict},
    capability::{CapSet, Capability},
    ledger::{Kind, Phases},
    recommend::name_of,
    report::Report,
};
use serde::{Deserialize, Serialize};

use crate::{manifest::compose::Project, yaml::Unusable};

pub use compare::{CannotCompare, compare};
pub use definition::{Definition, definition};
pub use holds::{Wanted, why_not};

/// The name of the file, unless another one is given.
pub const NAME: &str = "capaudit.lock";
/// The version of the format that is written and read.
pub const VERSION: u64 = 1;

/// What a life of a compose project showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Lock"))]
pub struct Lock {
    /// 1
    pub version: u64,
    /// The compose files, seen from the directory of the lock.
    pub files: Vec<String>,
    /// By the services' names.
    pub services: BTreeMap<String, Service>,
}

/// What is known of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Service {
    /// The set that it is to be granted, by the names of its members, in the kernel's order.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Member>"))]
    pub capabilities: BTreeMap<Capability, Member>,
    /// What it asked for besides, and does not need.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, NotNeeded>"))]
    pub not_needed: BTreeMap<Capability, NotNeeded>,
    /// Whether it goes with `no-new-privileges`.
    pub no_new_privileges: bool,
    /// What it was made of.
    pub image: Image,
    /// SHA-256 of what the compose files say of the service but for its image and its privileges, and of what they say outside
    /// of services: `sha256:` and 64 hexadecimal digits. Comments, and the order of keys, make no difference.
    pub definition: String,
    /// What was done to find that out.
    pub exercised: Exercised,
}

/// Why a capability is in the set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Member {
    /// How sure it is that it is needed.
    pub evidence: Evidence,
    /// The phases of the life that it was asked for in.
    pub phases: Phases,
    /// How the life went wrong without it; left out if it was not led without it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proof: String,
}

/// Why a capability is not in the set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NotNeeded {
    /// What it is instead of needed.
    pub verdict: Verdict,
    /// How sure that is; `proven` if the life went well without it.
    pub evidence: Evidence,
}

/// What the containers of a service were made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Image {
    /// As the compose file has it; empty if it is built.
    pub name: String,
    /// Its id in the engine, a digest in hexadecimal digits; empty if unknown.
    pub id: String,
    /// By which registries know it, as `NAME@sha256:…`; empty if it is in none.
    pub digests: Vec<String>,
}

/// What was done to find out what a service needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Exercised {
    /// The engine and its release; the name alone if no release was told.
    pub engine: String,
    /// The kernel's release.
    pub kernel: String,
    /// The phases that were led.
    pub phases: Phases,
    /// The command that tested each phase; empty if none did.
    pub test: Vec<String>,
    /// The service that tested the others; empty if none did.
    pub exit_code_from: String,
    /// Whether the whole life was led with exactly the sets of the lock. If not, it was only audited.
    pub enforced: bool,
}

/// Why a text is no lock that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no lock, or a broken one.
    #[error("it is no lock that `capaudit harden` wrote: {0}")]
    Format(#[from] serde_json::Error),
    /// It is one of another version.
    #[error("it has version {0}, this capaudit reads version {VERSION}: use the one that wrote it")]
    Version(u64),
}

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    ///
    /// The text is none, or of another version.
    pub fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        // The version first: a newer format need not have the same fields.
        let Version { version } = serde_json::from_slice(text)?;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// The lock as it is written: the same for the same facts.
    ///
    /// # Errors
    ///
    /// None that is known; serialisation might have one.
    pub fn text(&self) -> serde_json::Result<String> {
        capaudit_core::text::json(self)
    }

    /// Takes over services that another life was about.
    pub fn keep(&mut self, earlier: Self) {
        for (name, service) in earlier.services {
            self.services.entry(name).or_insert(service);
        }
    }
}

impl Service {
    /// The set that it is to be granted.
    pub fn set(&self) -> CapSet {
        self.capabilities.keys().copied().collect()
    }
}

impl Image {
    /// Whether two names stand for the same image; `None` if that cannot be told.
    pub fn is(&self, other: &Self) -> Option<bool> {
        let is_in_common = |digest| other.digests.contains(digest);
        if !self.digests.is_empty() && self.digests.iter().any(is_in_common) {
            return Some(true);
        }
        // Engines number images by different digests, so a registry's says more than an id.
        (!self.id.is_empty() && !other.id.is_empty()).then(|| self.id == other.id)
    }
}

/// What a life showed besides the report.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// The compose files, seen from the directory of the lock.
    pub files: Vec<String>,
    /// What containers were made of, by service; names are the engine's.
    pub images: BTreeMap<String, Image>,
    /// The engine and its release.
    pub engine: String,
    /// How the life went wrong without a capability, by service.
    pub proofs: BTreeMap<(String, Capability), String>,
    /// The phases that were led.
    pub phases: Phases,
    /// The command that tested each phase.
    pub test: Vec<String>,
    /// The service that tested the others.
    pub exit_code_from: String,
    /// Whether the whole life was led with exactly what the report recommends.
    pub enforced: bool,
}

/// The lock of what a life showed of the services of a project.
///
/// # Errors
///
/// The files say of a service what compose would not understand.
pub fn lock(report: &Report, project: &Project, life: &Life) -> Result<Lock, Unusable> {
    let mut services = BTreeMap::new();
    for workload in project.workloads()? {
        let name = &workload.name;
        let mut members: BTreeMap<Capability, Member> = BTreeMap::new();
        let mut not_needed = BTreeMap::new();
        let (mut was_seen, mut no_new_privileges) = (false, true);
        let subjects = report.subjects.iter();
        for subject in subjects.filter(|it| it.kind == Kind::Container && name_of(it) == name) {
            was_seen = true;
            no_new_privileges &= subject.no_new_privileges_is_safe;
            for capability in subject.cap_add {
                members.entry(capability).or_insert_with(|| Member {
                    evidence: Evidence::Possible,
                    phases: Phases::default(),
                    proof: String::new(),
                });
            }
            for finding in &subject.capabilities {
                let capability = finding.capability;
                match members.get_mut(&capability) {
                    Some(member) => {
                        member.evidence = member.evidence.max(finding.evidence);
                        member.phases = member.phases.union(finding.phases);
                    }
                    None => {
                        not_needed.entry(capability).or_insert(NotNeeded {
                            verdict: finding.verdict,
                            evidence: finding.evidence,
                        });
                    }
                }
            }
        }
        if !was_seen {
            continue;
        }
        not_needed.retain(|capability, _| !members.contains_key(capability));
        for (capability, member) in &mut members {
            if let Some(proof) = life.proofs.get(&(name.clone(), *capability)) {
                member.proof.clone_from(proof);
            }
        }
        let made_of = life.images.get(name).cloned().unwrap_or_default();
        let service = Service {
            capabilities: members,
            not_needed,
            no_new_privileges,
            image: Image {
                name: workload.image,
                ..made_of
            },
            definition: definition(project, name)?.digest,
            exercised: Exercised {
                engine: life.engine.clone(),
                kernel: report.session.kernel.clone(),
                phases: life.phases,
                test: life.test.clone(),
                exit_code_from: life.exit_code_from.clone(),
                enforced: life.enforced,
            },
        };
        services.insert(name.clone(), service);
    }
    Ok(Lock {
        version: VERSION,
        files: life.files.clone(),
        services,
    })
}
