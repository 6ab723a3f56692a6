//! Needs of execve and capset, which no check shows.

use crate::{
    advise::{Judgement, Meaning, Rule},
    capability::CapSet,
    ledger::{CheckRecord, ExecRecord, Object, SubjectRecord},
};

/// execve of a file whose effective capabilities are not all in the bounding set fails with EPERM
/// (`bprm_caps_from_vfs_caps`, security/commoncap.c): each of them is a need, whatever the program does with it.
pub(crate) fn needs(exec: &ExecRecord) -> Vec<Judgement> {
    let Some(capabilities) = exec.capabilities.filter(|found| found.effective) else {
        return Vec::new();
    };
    capabilities
        .permitted
        .iter()
        .map(|capability| {
            Meaning::decisive(
                capability,
                format!(
                    "{} has it as an effective file capability: execve fails without it in the bounding set",
                    exec.exe
                ),
            )
            .by(Rule::FileCapabilities)
        })
        .collect()
}

/// capset(2) fails if the permitted set asked for is not within the one held (`cap_capset`): a program that
/// keeps a fixed list needs all of it. One that keeps nearly everything has taken its own set and removed from
/// it, and needs nothing. Nor is there a need for what a program puts in reserve only (permitted, but not
/// effective) after it has looked what it has: should it ever use that, there is a check that tells.
pub(crate) fn needs_of_capset(check: &CheckRecord, subject: &SubjectRecord) -> Vec<Judgement> {
    let looked_first = subject.calls.iter().any(|call| {
        // Without a second argument capget(2) only tells the version.
        call.syscall == "capget"
            && call.arguments[1] != 0
            && !call.failed
            && call.requester.exe == check.identity.requester.exe
    });
    let kept: CapSet = capsets(check)
        .filter(|(held, permitted, _effective)| is_list(*permitted, *held))
        .flat_map(|(_held, permitted, effective)| {
            if looked_first {
                permitted.intersection(effective)
            } else {
                permitted
            }
        })
        .collect();
    kept.iter()
        .map(|capability| {
            Meaning::possible(
                capability,
                "kept with capset(2) in a list of the program's own making, which fails if it is not there to keep",
            )
            .by(Rule::KeptByCapset)
        })
        .collect()
}

/// Held, permitted and effective sets of the sampled capset(2) calls of a check.
fn capsets(check: &CheckRecord) -> impl Iterator<Item = (CapSet, CapSet, CapSet)> {
    check
        .samples
        .iter()
        .filter_map(|sample| match sample.object {
            Some(Object::Capset {
                held,
                permitted,
                effective,
                ..
            }) => Some((held, permitted, effective)),
            _ => None,
        })
}

/// Whether `permitted` looks like a list rather than like what is left of `held`.
fn is_list(permitted: CapSet, held: CapSet) -> bool {
    let dropped = held.difference(permitted);
    !permitted.is_empty() && !dropped.is_empty() && permitted.len() <= dropped.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capability::{Capability, FileCapabilities},
        ledger::{
            CallRecord, CheckIdentity, Container, Credentials, Outcome, Place, Requester, Sample,
            UserIds,
        },
    };

    #[test]
    fn only_effective_file_capabilities_are_insisted_on() {
        let mut exec = ExecRecord {
            exe: "/usr/bin/ping".to_owned(),
            capabilities: Some(FileCapabilities {
                permitted: CapSet::from(Capability::NET_RAW),
                inheritable: CapSet::EMPTY,
                effective: true,
                root_id: None,
            }),
            setid: None,
            unseen: false,
            ignored: false,
            count: 1,
        };
        assert_eq!(needs(&exec).len(), 1);
        if let Some(capabilities) = &mut exec.capabilities {
            capabilities.effective = false;
        }
        assert!(needs(&exec).is_empty());
    }

    fn capset(permitted: CapSet, effective: CapSet) -> CheckRecord {
        let mut check = CheckRecord::new(CheckIdentity {
            capability: Capability::SETPCAP,
            outcome: Outcome::Granted,
            requester: requester(),
            place: Place::Own,
            inner_credentials: false,
            credentials: Credentials::Own,
            options: None,
            syscall: Some("capset".to_owned()),
            operation: 0,
            callers: Vec::new(),
        });
        check.add_sample(Sample {
            arguments: [0; 6],
            object: Some(Object::Capset {
                held: CapSet::known(),
                held_inheritable: CapSet::EMPTY,
                effective,
                permitted,
                inheritable: CapSet::EMPTY,
            }),
            second: None,
            owner: None,
            ids: UserIds::default(),
            result: Some(0),
        });
        check
    }

    fn requester() -> Requester {
        Requester {
            exe: "/bin/x".to_owned(),
            comm: "x".to_owned(),
            setup: false,
        }
    }

    fn subject(looks_first: bool) -> SubjectRecord {
        let capget = CallRecord {
            syscall: "capget".to_owned(),
            requester: requester(),
            operation: 0,
            arguments: [1, u64::from(looks_first), 0, 0, 0, 0],
            failed: false,
            result: 0,
            count: 1,
            target: None,
            object: None,
            seccomp: None,
        };
        SubjectRecord {
            granted: CapSet::known(),
            calls: vec![capget],
            ..SubjectRecord::new(Container::default())
        }
    }

    #[test]
    fn what_is_only_kept_in_reserve_after_a_look_is_no_need() {
        let raw = CapSet::from(Capability::NET_RAW);
        let needs = |effective, looks_first| {
            needs_of_capset(&capset(raw, effective), &subject(looks_first)).len()
        };
        assert_eq!(needs(CapSet::EMPTY, true), 0);
        assert_eq!(needs(raw, true), 1, "kept for use");
        assert_eq!(
            needs(CapSet::EMPTY, false),
            1,
            "a list that was fixed before"
        );
    }

    #[test]
    fn a_list_is_told_from_a_remainder() {
        let all = CapSet::known();
        let two = CapSet::of(&[Capability::NET_BIND_SERVICE, Capability::SYS_TIME]);
        assert!(is_list(two, all));
        assert!(!is_list(all.difference(two), all));
        assert!(
            !is_list(CapSet::EMPTY, all),
            "dropping everything always works"
        );
        assert!(!is_list(two, two), "keeping what one has");
    }
}
