//! System calls that an engine's default seccomp profile allows only with a capability.
//!
//! The profile looks at the container's capabilities when it starts, so such a call may succeed for no other
//! reason, though the kernel never asks for the capability.

mod profile;

pub use profile::{PROFILES, Profile, conditional_calls};

use crate::{
    advise::{AnyOf, Judgement, Meaning, Rule},
    capability::{CapSet, Capability},
    ledger::{CallRecord, Engine, SubjectRecord},
};

/// Capabilities of which any unlocks a call, and the profile that says so. Of an engine that is not known, any
/// profile that has a condition: rather one capability too many than one too few.
fn unlocked_by(call: &CallRecord, engine: Option<Engine>) -> Option<(AnyOf, &'static Profile)> {
    // Asks nothing: only finds out whether the kernel has the call.
    if call.syscall == "get_mempolicy" && call.arguments == [0; 6] {
        return None;
    }
    PROFILES
        .iter()
        .filter(|profile| engine.is_none_or(|engine| profile.engines.contains(&engine)))
        .find_map(|profile| {
            let condition = profile.conditions.iter().find(|it| it.is_about(call))?;
            Some((AnyOf::new(CapSet::of(condition.any_of))?, profile))
        })
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

/// The needs that a container's calls show.
pub fn needs(subject: &SubjectRecord) -> Vec<Judgement> {
    let calls = &subject.calls;
    let Some(container) = subject.container() else {
        return Vec::new();
    };
    calls
        .iter()
        .filter(|call| !call.failed && !call.requester.setup)
        .filter(|call| !is_undone(call, calls))
        .filter_map(|call| {
            let (by, profile) = unlocked_by(call, container.engine)?;
            let reason = format!(
                "calls {}, which {} default seccomp profile allows only with it",
                call.syscall, profile.name
            );
            let meaning = if TRIED.contains(&call.syscall.as_str()) {
                Meaning::possible(by, reason)
            } else {
                Meaning::decisive(by, reason)
            };
            Some(meaning.by(Rule::SeccompProfile))
        })
        .collect()
}

/// Whether a call is part of a probe that leaves nothing behind: a program that reads its memory policy, sets
/// another and puts the default back only finds out what the kernel can do (libnuma does so when it is loaded,
/// and goes on if it is refused).
fn is_undone(call: &CallRecord, calls: &[CallRecord]) -> bool {
    const MPOL_DEFAULT: u64 = 0;
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
    let taken_back = count(&|other| sets(other) && other.arguments[0] == MPOL_DEFAULT);
    let set = count(&|other| sets(other) && other.arguments[0] != MPOL_DEFAULT);
    match call.syscall.as_str() {
        "set_mempolicy" => set <= taken_back,
        "get_mempolicy" => {
            let read = count(&|other| other.syscall == "get_mempolicy");
            set <= taken_back && read <= taken_back
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Container, Requester};

    fn needed(engine: Option<Engine>, syscall: &str, arguments: [u64; 6]) -> CapSet {
        let mut subject = SubjectRecord::new(Container {
            engine,
            ..Container::default()
        });
        subject.calls.push(CallRecord {
            syscall: syscall.to_owned(),
            requester: Requester {
                exe: "/bin/x".to_owned(),
                comm: "x".to_owned(),
                setup: false,
            },
            operation: 0,
            arguments,
            failed: false,
            result: 0,
            count: 1,
            target: None,
            object: None,
            seccomp: None,
        });
        needs(&subject)
            .into_iter()
            .filter_map(|judgement| judgement.satisfied_by())
            .flat_map(AnyOf::set)
            .collect()
    }

    #[test]
    fn each_engine_has_its_own_conditions() {
        let admin = CapSet::from(Capability::SYS_ADMIN);
        let unshare = |engine| needed(engine, "unshare", [0x1000_0000, 0, 0, 0, 0, 0]);
        assert_eq!(unshare(Some(Engine::Docker)), admin);
        assert_eq!(unshare(Some(Engine::Containerd)), admin);
        assert_eq!(unshare(Some(Engine::Podman)), CapSet::EMPTY);
        assert_eq!(unshare(None), admin, "rather too many");
        assert_eq!(needed(Some(Engine::Podman), "sethostname", [0; 6]), admin);
    }

    #[test]
    fn arguments_decide_where_the_profile_says_so() {
        let clone = |flags| needed(Some(Engine::Docker), "clone", [flags, 0, 0, 0, 0, 0]);
        // A thread, and a fork that only wants a signal.
        assert_eq!(clone(0x003d_0f00), CapSet::EMPTY);
        assert_eq!(clone(0x11), CapSet::EMPTY);
        assert_eq!(clone(0x1000_0011), CapSet::from(Capability::SYS_ADMIN));
        assert_eq!(
            needed(Some(Engine::Docker), "get_mempolicy", [0; 6]),
            CapSet::EMPTY
        );
    }
}
