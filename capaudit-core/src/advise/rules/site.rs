//! What the table of call sites says.

use super::Definition;
use crate::{
    advise::{AnyOf, Fact, Meaning, Rule},
    capability::{Capability, Release, cmp_power},
    kernel::{self, Effect, Site},
    ledger::Outcome,
};

/// Sites whose answer makes no difference to the program.
pub(super) const HARMLESS: Definition = Definition {
    rule: Rule::Harmless,
    apply: |fact| match effect(fact)? {
        Effect::Nothing(why) => Some(Meaning::noise(why)),
        _ => None,
    },
};

/// Sites whose answer decides about something that hardly any program asks for.
pub(super) const HIDDEN: Definition = Definition {
    rule: Rule::Hidden,
    apply: |fact| match effect(fact)? {
        Effect::Hides(what) => Some(Meaning::noise(what)),
        _ => None,
    },
};

/// Sites where a refusal is no failure, or where another capability does as well.
pub(super) const BY_TABLE: Definition = Definition {
    rule: Rule::CallSite,
    apply: |fact| {
        let capability = fact.check.identity.capability;
        match effect(fact)? {
            Effect::Degrades(what) => Some(Meaning::possible(
                capability,
                format!("asked, and the call goes on without: {what}"),
            )),
            Effect::First(what) => Some(Meaning::possible(
                capability,
                format!("asked before a finer rule, which may do without: {what}"),
            )),
            Effect::Either(other) if is_asked_too(fact, other) => Some(Meaning::decisive(
                AnyOf::either(capability, other),
                format!("takes {} or {}", capability.name(), other.name()),
            )),
            _ => None,
        }
    },
};

/// Sites that nobody has looked at.
pub(super) const UNKNOWN: Definition = Definition {
    rule: Rule::UnknownSite,
    apply: |fact| {
        let unknown = matches!(effect(fact), None | Some(Effect::Unknown));
        let asker = kernel::asker(&fact.check.identity.callers)?;
        unknown.then(|| {
            Meaning::decisive(
                fact.check.identity.capability,
                format!(
                    "asked by {asker}, a place in the kernel that is not known: taken for a need"
                ),
            )
        })
    },
};

/// What a refusal does where the check was made; where a stack does not tell which of several functions asked, the gravest.
/// `None` if the stack is not known, or the table does not have the function.
fn effect(fact: &Fact<'_>) -> Option<Effect> {
    sites(fact)
        .into_iter()
        .map(|site| site.effect)
        .max_by_key(|effect| effect.weight())
}

/// Whether the function that asks is one of these in the kernel's source.
pub(super) fn is_asked_by(fact: &Fact<'_>, functions: &[&str]) -> bool {
    sites(fact)
        .iter()
        .any(|site| functions.contains(&site.function))
}

/// Whether it can be no other than these.
pub(super) fn is_only_asked_by(fact: &Fact<'_>, functions: &[&str]) -> bool {
    let sites = sites(fact);
    !sites.is_empty() && sites.iter().all(|site| functions.contains(&site.function))
}

fn sites(fact: &Fact<'_>) -> Vec<&'static Site> {
    let identity = &fact.check.identity;
    if identity.callers.is_empty() {
        return Vec::new();
    }
    // Where only layers are on the stack, the system call's own function asked.
    let own;
    let asker = match kernel::asker(&identity.callers) {
        Some(asker) => asker,
        None => {
            own = format!("sys_{}", identity.syscall.as_deref().unwrap_or_default());
            &own
        }
    };
    kernel::known_sites(&kernel::Question {
        capability: identity.capability,
        asker,
        callers: &identity.callers,
        noaudit: identity.options.map(|options| options.noaudit),
        release: release(fact),
    })
}

pub(super) fn release(fact: &Fact<'_>) -> Option<Release> {
    Release::parse(&fact.session.kernel)
}

/// Whether the other capability is asked for at the same place when this one is refused. The table tells of releases
/// since the oldest that was read; in older ones, only what was seen counts: the other one, refused there before. That a
/// more powerful one would do as well can lead to nothing less.
fn is_asked_too(fact: &Fact<'_>, other: Capability) -> bool {
    let weaker = cmp_power(&other.into(), &fact.check.identity.capability.into()).is_lt();
    !weaker
        || release(fact).is_none_or(|release| release >= Release::OLD)
        || was_refused(fact, other)
}

/// Whether the same program was refused another capability by the same functions before.
pub(super) fn was_refused(fact: &Fact<'_>, other: Capability) -> bool {
    refusals(fact, other) > 0
}

/// How often the same program was refused another capability by the same functions.
pub(super) fn refusals(fact: &Fact<'_>, capability: Capability) -> u64 {
    let identity = &fact.check.identity;
    fact.subject
        .checks
        .iter()
        .filter(|other| {
            let other = &other.identity;
            other.is(capability)
                && other.outcome == Outcome::Denied
                && other.requester == identity.requester
                && other.syscall == identity.syscall
                && other.operation == identity.operation
                && other.credentials == identity.credentials
                && other.callers == identity.callers
        })
        .map(|other| other.count)
        .fold(0, u64::saturating_add)
}
