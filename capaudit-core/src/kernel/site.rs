//! Functions that ask for a capability.

use std::{collections::HashMap, sync::LazyLock};

use super::{Effect, function_name, layer};
use crate::capability::{CapSet, Capability, Release};

/// A function that asks for a capability: one row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name in the source; `sys_chroot` is the system call's own.
    pub function: &'static str,
    /// Its source file, relative to the root of the kernel's sources.
    pub file: &'static str,
    /// What it asks for; `None` where it asks for what it is told, or compares whole sets.
    pub capability: Option<Capability>,
    /// Whether a refusal is reported to the audit log.
    pub reported: Reported,
    /// The oldest source that was read and has it; `None` if the oldest of all has it.
    pub since: Option<Release>,
    /// The newest source that was read and has it; `None` if the newest of all has it.
    pub until: Option<Release>,
    /// What a refusal does.
    pub effect: Effect,
    /// What exercises it.
    pub exercise: Exercise,
    /// Functions that a stack may show in its place.
    pub seen_as: &'static str,
}

/// Whether the audit log gets to know of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Every refusal is reported.
    Yes,
    /// No refusal is reported: the kernel only wants to know.
    No,
    /// The function asks both ways.
    Both,
}

/// What exercises a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exercise {
    /// Operations of the static program, separated by commas.
    Operations(&'static str),
    /// No operation, and why not.
    None(&'static str),
}

static SITES: LazyLock<Vec<Site>> = LazyLock::new(|| rows().filter_map(parse).collect());

fn rows() -> impl Iterator<Item = &'static str> {
    [
        include_str!("sites/drivers.txt"),
        include_str!("sites/fs.txt"),
        include_str!("sites/kernel.txt"),
        include_str!("sites/net.txt"),
        include_str!("sites/security.txt"),
    ]
    .into_iter()
    .flat_map(str::lines)
    .filter(|line| !line.starts_with('#'))
}

/// All that are known.
pub fn sites() -> &'static [Site] {
    &SITES
}

fn parse(row: &'static str) -> Option<Site> {
    let mut fields = row.split('|').map(str::trim);
    let mut next = || fields.next();
    let (function, file) = (next()?, next()?);
    let capability = match next()? {
        "?" => None,
        name => Some(name.parse().ok()?),
    };
    let reported = match next()? {
        "audit" => Reported::Yes,
        "noaudit" => Reported::No,
        "both" => Reported::Both,
        _ => return None,
    };
    let (since, until) = next()?.split_once("..")?;
    let release = |text: &str| -> Option<Option<Release>> {
        if text.is_empty() {
            Some(None)
        } else {
            Release::parse(text).map(Some)
        }
    };
    Some(Site {
        function,
        file,
        capability,
        reported,
        since: release(since)?,
        until: release(until)?,
        effect: Effect::parse(next()?)?,
        exercise: {
            let text = next()?;
            text.strip_prefix("none: ")
                .map_or(Exercise::Operations(text), Exercise::None)
        },
        seen_as: next()?,
    })
}

impl Site {
    /// Whether a kernel of this release may have it: between two sources that were read, both may be right.
    pub fn may_be_in(&self, release: Release) -> bool {
        // What came with a source came after the one before.
        let came_after = |since: Release| Release::READ.iter().rev().find(|read| **read < since);
        let went_before = |until: Release| Release::READ.iter().find(|read| **read > until);
        let since = self.since.and_then(came_after);
        let until = self.until.and_then(went_before);
        since.is_none_or(|since| release > *since) && until.is_none_or(|until| release < *until)
    }
}

/// Capabilities that every known function asks for because the answer decides about the system call: which of them asks makes
/// no difference to whether the capability is needed.
pub fn deciding() -> CapSet {
    let (mut asked_for, mut otherwise) = (CapSet::EMPTY, CapSet::EMPTY);
    for site in sites() {
        let Some(capability) = site.capability else {
            continue;
        };
        asked_for.insert(capability);
        if !matches!(site.effect, Effect::Fails | Effect::Unknown) {
            otherwise.insert(capability);
        }
    }
    asked_for - otherwise
}

/// A question, as a stack and a kernel's release tell of it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What is asked for.
    pub capability: Capability,
    /// The function that asks, as the stack shows it.
    pub asker: &'a str,
    /// The stack, from the innermost function outwards.
    pub callers: &'a [String],
    /// A refusal is not reported, if the hook tells.
    pub noaudit: Option<bool>,
    /// Release of the kernel, if it is known.
    pub release: Option<Release>,
}

/// Sites that the question may be from; none if the table does not know it.
pub fn known_sites(question: &Question<'_>) -> Vec<&'static Site> {
    static BY_NAME: LazyLock<HashMap<&str, Vec<&'static Site>>> = LazyLock::new(|| {
        let mut by_name: HashMap<&str, Vec<&'static Site>> = HashMap::new();
        for site in sites() {
            for name in site.seen_as.split(' ').chain([site.function]) {
                by_name.entry(name).or_default().push(site);
            }
        }
        by_name
    });
    let noaudit = question
        .noaudit
        .or_else(|| layer::noaudit(question.callers));
    let name = function_name(question.asker);
    let named = BY_NAME.get(name).map_or(&[][..], Vec::as_slice);
    let asking: Vec<&Site> = named
        .iter()
        .copied()
        .filter(|site| {
            site.capability.is_none_or(|one| one == question.capability)
                && question
                    .release
                    .is_none_or(|release| site.may_be_in(release))
        })
        .collect();
    let reported = |site: &Site| match (site.reported, noaudit) {
        (Reported::Both, _) | (_, None) => true,
        (Reported::Yes, Some(noaudit)) => !noaudit,
        (Reported::No, Some(noaudit)) => noaudit,
    };
    // A release that was not read may report what others do not.
    if asking.iter().any(|site| reported(site)) {
        asking.into_iter().filter(|site| reported(site)).collect()
    } else {
        asking
    }
}

#[cfg(test)]
mod tests;
