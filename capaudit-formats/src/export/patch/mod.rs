//! Compose files with the recommendation put into them, everything else left as it is, byte for byte.
//!
//! Edits are spans of the text (`edit`); nothing is read into values and written again, so that comments, order,
//! anchors and style survive. Whatever an edit did is then judged by what the files say before and after
//! (`proof`): if more differs than the services' privileges, nothing is written.

mod edit;
mod incomplete;
mod proof;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

use capaudit_core::capability::{CapSet, Capability};

pub use incomplete::{Widened, marked, unmarked, widened};

use crate::{
    manifest::compose::{Item, Project, no_new_privileges},
    yaml::Unusable,
};

/// What a service is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetGrant {
    /// Exactly these capabilities.
    pub capabilities: CapSet,
    /// `no-new-privileges` changes nothing for it, so it is set.
    pub no_new_privileges: bool,
}

/// Files after the patch, and what is to be said of it.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Each file that was given, in its order.
    pub files: Vec<Patched>,
    /// Services of the files that were not audited, and so are as they were.
    pub not_audited: Vec<String>,
    /// Services that were audited, and are in none of the files.
    pub not_here: Vec<String>,
    /// What the user has to look at or do, each a sentence.
    pub notes: Vec<String>,
    /// What the recommendation asks for and could not be done in these files, each a sentence.
    pub left: Vec<String>,
}

/// A file before and after.
#[derive(Clone, Debug)]
pub struct Patched {
    /// The file as the caller named it.
    pub path: PathBuf,
    /// Its text as it was handed in.
    pub before: String,
    /// Its text with the edits; the same if there were none.
    pub after: String,
}

/// Puts target grants, by service, into a project's files.
///
/// # Errors
///
/// A file is not of a form in which it could be done, or doing it would change something else.
pub fn patch(
    project: &Project,
    targets: &BTreeMap<String, TargetGrant>,
) -> Result<Patch, Unusable> {
    let services = project.services();
    let here: BTreeMap<&str, TargetGrant> = targets
        .iter()
        .filter(|(name, _)| services.contains(name))
        .map(|(name, target)| (name.as_str(), *target))
        .collect();
    let mut patched = project.clone();
    let mut notes = Vec::new();
    for service in services
        .iter()
        .filter(|name| here.contains_key(name.as_str()))
    {
        let target = here[service.as_str()];
        if let Some(item) = project.effective(service)?.privileged {
            notes.push(format!(
                "{service} was privileged ({}): that also gave it devices and freed it from seccomp and AppArmor; test it without",
                item.place
            ));
        }
        patched = with_target(&patched, service, target)?;
    }
    proof::only_privileges_differ(project, &patched, &here)?;
    let mut left = Vec::new();
    for (service, target) in &here {
        left.extend(what_is_left(&patched, service, *target)?);
    }
    Ok(Patch {
        files: project
            .given()
            .zip(patched.given())
            .map(|((_, path, before), (_, _, after))| Patched {
                path: path.to_owned(),
                before: before.text().to_owned(),
                after: after.text().to_owned(),
            })
            .collect(),
        not_audited: services
            .iter()
            .filter(|name| !here.contains_key(name.as_str()))
            .cloned()
            .collect(),
        not_here: targets
            .keys()
            .filter(|name| !services.contains(name))
            .cloned()
            .collect(),
        notes,
        left,
    })
}

/// The project with one service's target put in: in full where the service first comes, and taken back from the files
/// that are laid over it, because compose joins their lists.
fn with_target(project: &Project, service: &str, target: TargetGrant) -> Result<Project, Unusable> {
    let mut project = project.clone();
    let files: Vec<usize> = project
        .layers(service)?
        .iter()
        .filter(|layer| !layer.extended)
        .map(|layer| layer.file)
        .collect();
    for (position, file) in files.into_iter().enumerate() {
        let is_first = position == 0;
        let granted_elsewhere = is_first
            && project
                .effective(service)?
                .privileged
                .is_some_and(|item| item.extended.is_some());
        project = edit::privileged(&project, file, service, granted_elsewhere)?;
        if is_first {
            project = edit::list(&project, file, service, "cap_drop", |old| {
                let has_all = old.iter().any(|item| is_all(item));
                edit::Members {
                    keep: old.iter().map(|_| has_all).collect(),
                    add: if has_all {
                        vec![]
                    } else {
                        vec!["ALL".to_owned()]
                    },
                }
            })?;
        }
        project = edit::list(&project, file, service, "cap_add", |old| {
            let (keep, kept) = wanted(old, target.capabilities);
            let missing = if is_first {
                target.capabilities - kept
            } else {
                CapSet::EMPTY
            };
            edit::Members {
                keep,
                add: missing.names().map(str::to_owned).collect(),
            }
        })?;
        if target.no_new_privileges {
            project = edit::list(&project, file, service, "security_opt", |old| {
                let set = old.iter().any(|item| no_new_privileges(item) == Some(true));
                let add = is_first && !set;
                edit::Members {
                    keep: old
                        .iter()
                        .map(|item| no_new_privileges(item) != Some(false))
                        .collect(),
                    add: if add {
                        vec!["no-new-privileges:true".to_owned()]
                    } else {
                        vec![]
                    },
                }
            })?;
        }
    }
    Ok(project)
}

/// Which members of a list stay, each capability once, and what they are together.
fn wanted(old: &[String], target: CapSet) -> (Vec<bool>, CapSet) {
    let mut kept = CapSet::EMPTY;
    let keep = old
        .iter()
        .map(|item| {
            item.parse::<Capability>()
                .is_ok_and(|capability| target.contains(capability) && kept.insert(capability))
        })
        .collect();
    (keep, kept)
}

fn is_all(word: &str) -> bool {
    ["all", "cap_all"].contains(&word.trim().to_ascii_lowercase().as_str())
}

/// What a service still has beyond the target: from services that it extends, which others may rest on.
fn what_is_left(
    project: &Project,
    service: &str,
    target: TargetGrant,
) -> Result<Vec<String>, Unusable> {
    let effective = project.effective(service)?;
    let of = |item: &Item| item.extended.clone().unwrap_or_else(|| service.to_owned());
    let mut left = Vec::new();
    for item in &effective.cap_add {
        let wanted = item
            .text
            .parse::<Capability>()
            .is_ok_and(|capability| target.capabilities.contains(capability));
        if !wanted {
            left.push(format!(
                "{service} still gets {} from {}, which it extends ({}): compose joins the lists, so take it out there, or move what only {} needs out of what others extend",
                item.text,
                of(item),
                item.place,
                of(item)
            ));
        }
    }
    if target.no_new_privileges {
        let against = effective
            .security_opt
            .iter()
            .find(|item| no_new_privileges(&item.text) == Some(false));
        if let Some(item) = against {
            left.push(format!(
                "{service} still has {} from {}, which it extends ({}): take it out there",
                item.text,
                of(item),
                item.place
            ));
        }
    }
    Ok(left)
}
