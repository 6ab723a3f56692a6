//! System calls that an engine's default seccomp profile allows only with a capability.
//!
//! The profile looks at the container's capabilities when it starts, so such a call may succeed for no other
//! reason, though the kernel never asks for the capability.

mod clone3;
mod profile;
mod version;

pub use profile::{PROFILES, Profile, conditional_calls};
pub use version::Version;

use std::collections::BTreeMap;

use self::{clone3::Without, profile::Condition};
use crate::{
    advise::{AnyOf, Evidence, Judgement, Meaning, Rule},
    capability::{CapSet, Capability},
    ledger::{CallRecord, Engine, Subject, SubjectRecord},
};

/// A profile's condition on a call.
struct Lock {
    key: AnyOf,
    profile: &'static Profile,
    /// The engine that is used has it for sure: its release is known, or all releases have it.
    sure: bool,
}

/// The engine whose profile may have been in force; `None` for what runs in no container.
struct Confinement {
    engine: Option<Engine>,
    version: Option<Version>,
}

impl Confinement {
    fn of(subject: &SubjectRecord) -> Option<Self> {
        match &subject.identity {
            Subject::Container(container) => Some(Self {
                engine: container.engine,
                version: container.engine_version.as_deref().and_then(Version::parse),
            }),
            Subject::Process {
                engine: Some(engine),
                ..
            } => Some(Self {
                engine: Some(*engine),
                version: None,
            }),
            Subject::Process { engine: None, .. } | Subject::Command => None,
        }
    }

    /// What may be between the container and a call. Of an engine that is not known, any profile's conditions, and of a
    /// release that is not known, any release's: rather one capability too many than one too few.
    fn locks(&self, call: &CallRecord) -> Vec<Lock> {
        let mut locks: Vec<Lock> = Vec::new();
        let profiles = PROFILES.iter().filter(|profile| {
            let engine = self.engine;
            engine.is_none_or(|engine| profile.engines.contains(&engine))
        });
        for profile in profiles {
            let about = |it: &&Condition| it.is_about(call);
            for condition in profile.conditions.iter().filter(about) {
                let has = profile.has(condition, self.engine, self.version);
                let Some(key) = AnyOf::new(CapSet::of(condition.any_of)) else {
                    continue;
                };
                if has != Some(false) && locks.iter().all(|lock| lock.key != key) {
                    locks.push(Lock {
                        key,
                        profile,
                        sure: has == Some(true),
                    });
                }
            }
        }
        locks
    }
}

/// System calls that profiles allow only with a capability, or with another that they name: by profile, those that have
/// any, in the order of [`PROFILES`].
pub fn unlocked(capability: Capability) -> Vec<(&'static Profile, Vec<&'static str>)> {
    PROFILES
        .iter()
        .map(|profile| {
            let conditions = profile.conditions.iter();
            let mut calls: Vec<&str> = conditions
                .filter(|condition| condition.any_of.contains(&capability))
                .flat_map(|condition| condition.calls)
                .copied()
                .collect();
            calls.sort_unstable();
            calls.dedup();
            (profile, calls)
        })
        .filter(|(_profile, calls)| !calls.is_empty())
        .collect()
}

/// Calls that programs try and do without when refused: reading another process's memory falls back to
/// ptrace, asking for a security attribute to /proc.
const TRIED: [&str; 4] = [
    "process_vm_readv",
    "kcmp",
    "lsm_get_self_attr",
    "lsm_list_modules",
];

/// Whether a program does without the call when it is refused.
pub fn is_tried(call: &CallRecord) -> bool {
    TRIED.contains(&call.syscall.as_str())
}

/// Calls of the program's own that succeeded, and did something.
fn of_the_program(subject: &SubjectRecord) -> impl Iterator<Item = &CallRecord> {
    let calls = &subject.calls;
    calls
        .iter()
        .filter(|call| !call.failed && !call.requester.setup)
        .filter(|call| !is_probe(call, calls))
}

/// The needs that a container's calls show. Where no filter was in force, none did.
pub fn needs(subject: &SubjectRecord) -> Vec<Judgement> {
    let Some(confinement) = Confinement::of(subject) else {
        return Vec::new();
    };
    of_the_program(subject)
        .filter(|call| call.seccomp != Some(false))
        .flat_map(|call| {
            let locks = confinement.locks(call);
            locks
                .into_iter()
                .filter_map(|lock| need(call, &lock, subject))
        })
        .collect()
}

/// What one condition makes of a call; `None` if the program would hardly notice.
fn need(call: &CallRecord, lock: &Lock, subject: &SubjectRecord) -> Option<Judgement> {
    let name = lock.profile.name;
    let without = (call.syscall == "clone3").then(|| clone3::without(call, &subject.calls));
    let reason = match without {
        Some(None | Some(Without::FallsBack)) => return None,
        Some(Some(Without::MayFallBack)) => format!(
            "calls clone3, to which {name} default seccomp profile answers ENOSYS without it: a program that knows older kernels calls clone then"
        ),
        None | Some(Some(Without::Fails)) => format!(
            "calls {}, which {name} default seccomp profile allows only with it{}",
            call.syscall,
            if lock.sure { "" } else { " in some releases" }
        ),
    };
    let tried = is_tried(call) || without == Some(Some(Without::MayFallBack));
    let evidence = if lock.sure && !tried {
        Evidence::Decisive
    } else {
        Evidence::Possible
    };
    Some(
        Meaning::Need {
            satisfied_by: lock.key,
            evidence,
            reason,
        }
        .by(Rule::SeccompProfile),
    )
}

/// What would have let a call pass that a filter may have refused: each of these sets has a member that it takes and that
/// was not granted. Empty if no profile that may have been in force refuses the call.
pub fn locked_out(call: &CallRecord, subject: &SubjectRecord) -> Vec<AnyOf> {
    let confinement = Confinement::of(subject).filter(|_| call.seccomp != Some(false));
    let locks = confinement.map(|it| it.locks(call)).unwrap_or_default();
    let keys = locks.into_iter().map(|lock| lock.key);
    keys.filter(|key| (key.set() & subject.granted).is_empty())
        .collect()
}

/// What one run cannot tell of a container's calls, each a sentence.
pub fn notes(subject: &SubjectRecord) -> Vec<String> {
    let Some(confinement) = Confinement::of(subject) else {
        return Vec::new();
    };
    let mut notes = unconfined(subject, &confinement);
    let calls = &subject.calls;
    let own = calls.iter().filter(|it| !it.failed && !it.requester.setup);
    let mut probing: Vec<&str> = own
        .filter(|call| is_probe(call, calls))
        .map(|call| call.requester.exe.as_str())
        .collect();
    probing.sort_unstable();
    probing.dedup();
    if !probing.is_empty() {
        notes.push(format!(
            "{} tried whether the kernel has memory policies, as libnuma does when it is loaded: if it does more than try, it needs SYS_NICE where the engine's default seccomp profile asks for that",
            probing.join(", ")
        ));
    }
    notes
}

/// What it would take if a filter was in force that was not: where the audited container was started without one, another
/// may be started with the default.
fn unconfined(subject: &SubjectRecord, confinement: &Confinement) -> Vec<String> {
    let mut calls: BTreeMap<(&str, u64), Vec<&str>> = BTreeMap::new();
    for call in of_the_program(subject).filter(|call| call.seccomp == Some(false)) {
        for lock in confinement.locks(call) {
            if need(call, &lock, subject).is_some() {
                let names = calls
                    .entry((lock.profile.name, lock.key.set().bits()))
                    .or_default();
                if !names.contains(&call.syscall.as_str()) {
                    names.push(&call.syscall);
                }
            }
        }
    }
    calls
        .into_iter()
        .map(|((profile, key), mut names)| {
            names.sort_unstable();
            let key: Vec<&str> = CapSet::from_bits(key).names().collect();
            format!(
                "no seccomp filter was in force: with {profile} default profile it would take {} to call {}",
                key.join(" or "),
                names.join(", ")
            )
        })
        .collect()
}

/// Whether a call only finds out what the kernel can do, and leaves nothing behind. libnuma tries `MPOL_PREFERRED_MANY`
/// when it is loaded and puts the default back, and goes on if that is refused; get_mempolicy(2) without anything to
/// fill in asks whether there are policies at all. A program that uses another policy works with it, also where it puts
/// the default back.
fn is_probe(call: &CallRecord, calls: &[CallRecord]) -> bool {
    // Include/uapi/linux/mempolicy.h.
    const MPOL_DEFAULT: u64 = 0;
    const MPOL_PREFERRED_MANY: u64 = 5;
    let count = |wanted: &dyn Fn(&CallRecord) -> bool| -> u64 {
        calls
            .iter()
            .filter(|other| {
                other.requester.exe == call.requester.exe && !other.failed && wanted(other)
            })
            .map(|other| other.count)
            .fold(0, u64::saturating_add)
    };
    let sets = |other: &CallRecord| other.syscall == "set_mempolicy";
    let of_mode = |mode: u64| count(&|other| sets(other) && other.arguments[0] == mode);
    let tried = of_mode(MPOL_PREFERRED_MANY);
    let taken_back = of_mode(MPOL_DEFAULT);
    let only_tries = 0 < tried && tried <= taken_back && count(&sets) == tried + taken_back;
    match call.syscall.as_str() {
        "set_mempolicy" => only_tries,
        "get_mempolicy" => {
            let read = count(&|other| {
                other.syscall == "get_mempolicy" && !asks_whether_there_are_policies(other)
            });
            asks_whether_there_are_policies(call) || (only_tries && read <= taken_back)
        }
        _ => false,
    }
}

fn asks_whether_there_are_policies(call: &CallRecord) -> bool {
    call.syscall == "get_mempolicy" && call.arguments[..5] == [0; 5]
}

#[cfg(test)]
mod tests;
