//! Calls that were refused before the kernel asked for a capability.
//!
//! Security modules that confine by path are asked first (`security_sb_mount` in `path_mount`, fs/namespace.c;
//! `security_path_chown`, fs/open.c; `security_path_mknod`, fs/namei.c), and a seccomp filter before the call begins. No
//! capability helps against the former.

use super::Definition;
use crate::{
    advise::{AnyOf, Judgement, Meaning, Rule, object::object_text, seccomp},
    ledger::{CallRecord, Session, SubjectRecord},
};

const EPERM: i64 = -1;
const EACCES: i64 = -13;

/// Calls that make a mount, without which there is nothing to unmount.
const MOUNTS: [&str; 4] = ["mount", "move_mount", "fsmount", "open_tree"];

/// Calls that are refused for reasons of their own, too, without a question.
const ANSWERS: [&str; 4] = ["prctl", "capget", "get_mempolicy", "setsockopt"];

/// A call to umount after the mount was refused like this fails, whatever is granted.
pub(super) const AFTER_REFUSED_MOUNT: Definition = Definition {
    rule: Rule::AfterRefusedMount,
    apply: |fact| {
        let check = fact.check;
        let refused = |call: &CallRecord| MOUNTS.contains(&call.syscall.as_str());
        (check.identity.by_syscall(&["umount", "umount2"])
            && check.failed_each_time()
            && refusals(fact.subject).any(refused))
        .then(|| {
            Meaning::noise(
                "unmounts what a security module did not let the program mount, so that there is nothing",
            )
        })
    },
};

/// Calls of the program's own that were refused without a question. In sessions that do not say so: where none of the same
/// kind was asked about.
fn refusals(subject: &SubjectRecord) -> impl Iterator<Item = &CallRecord> {
    subject.calls.iter().filter(|call| {
        let asked = || {
            subject.checks.iter().any(|check| {
                let identity = &check.identity;
                identity.syscall.as_deref() == Some(call.syscall.as_str())
                    && identity.operation == call.operation
                    && identity.requester.exe == call.requester.exe
            })
        };
        call.failed
            && !call.requester.setup
            && matches!(call.result, EPERM | EACCES)
            && !ANSWERS.contains(&call.syscall.as_str())
            && (call.unasked || !asked())
    })
}

/// The needs of a run that failed, and may have because a seccomp filter refused a call: as with a check that was refused.
pub(crate) fn needs(subject: &SubjectRecord, session: &Session) -> Vec<Judgement> {
    if session.exit_status.is_none_or(|status| status == 0) {
        return Vec::new();
    }
    refusals(subject)
        .filter(|call| call.result == EPERM && !seccomp::is_tried(call))
        .flat_map(|call| {
            let keys = seccomp::locked_out(call, subject);
            keys.into_iter().map(|key| {
                let reason = format!(
                    "{} was refused in a run that failed: the engine's default seccomp profile allows it only with this",
                    call.syscall
                );
                Meaning::possible(key, reason).by(Rule::SeccompProfile)
            })
        })
        .collect()
}

/// What is to be known of such calls, each a sentence.
pub(crate) fn notes(subject: &SubjectRecord) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for call in refusals(subject) {
        let object = call.object.as_ref().map(object_text).unwrap_or_default();
        let space = if object.is_empty() { "" } else { " " };
        let (error, who) = match call.result {
            EACCES => ("EACCES", MODULE.to_owned()),
            _ => ("EPERM", refused_by(call, subject)),
        };
        let note = format!(
            "{}{space}{object}: refused ({error}) before any capability was asked for: {who}",
            call.syscall
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

const MODULE: &str = "a security module forbids it whatever is granted";

/// Who answers EPERM to a call that nothing was asked about.
fn refused_by(call: &CallRecord, subject: &SubjectRecord) -> String {
    let keys = seccomp::locked_out(call, subject);
    let keys: Vec<String> = keys
        .into_iter()
        .map(|key: AnyOf| key.set().names().collect::<Vec<_>>().join(" or "))
        .collect();
    if !keys.is_empty() {
        let keys = keys.join(", and ");
        return format!(
            "the engine's default seccomp profile allows it only with {keys}, which was not granted"
        );
    }
    if call.seccomp == Some(false) {
        return MODULE.to_owned();
    }
    format!("{MODULE}, or a seccomp filter does")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advise::{Fact, Verdict, judge},
        capability::{CapSet, Capability},
        ledger::{CheckIdentity, CheckRecord, Container, Hook, Requester, Session},
    };

    fn requester() -> Requester {
        Requester {
            exe: "/bin/x".to_owned(),
            comm: "x".to_owned(),
            setup: false,
        }
    }

    fn call(syscall: &str, result: i64) -> CallRecord {
        CallRecord {
            operation: 7,
            failed: result < 0,
            result,
            ..CallRecord::sample(syscall)
        }
    }

    fn check(syscall: &str, operation: u32) -> CheckRecord {
        let mut check = CheckRecord::new(CheckIdentity {
            requester: requester(),
            operation,
            ..CheckIdentity::usual(Capability::SYS_ADMIN, Some(syscall))
        });
        (check.count, check.failed, check.errno) = (1, 1, 22);
        check
    }

    fn subject(calls: Vec<CallRecord>, checks: Vec<CheckRecord>) -> SubjectRecord {
        SubjectRecord {
            calls,
            checks,
            ..SubjectRecord::new(Container::default())
        }
    }

    #[test]
    fn who_refused_is_told_where_nothing_was_asked() {
        let of = |call: CallRecord, checks| notes(&subject(vec![call], checks));
        let told = of(call("mount", EACCES), vec![]);
        assert_eq!(
            told,
            [
                "mount: refused (EACCES) before any capability was asked for: a security module forbids it whatever is granted"
            ]
        );
        let by_filter = of(call("mount", EPERM), vec![]);
        assert!(
            by_filter[0].contains("only with SYS_ADMIN"),
            "{by_filter:?}"
        );
        assert!(of(call("chown", EPERM), vec![])[0].contains("a security module"));
        for (call, checks) in [
            (call("mount", EACCES), vec![check("mount", 7)]),
            (call("mount", -22), vec![]),
            (call("mount", 0), vec![]),
            (call("prctl", EPERM), vec![]),
        ] {
            assert_eq!(of(call.clone(), checks), Vec::<String>::new(), "{call:?}");
        }
        let mut unasked = call("mount", EACCES);
        unasked.unasked = true;
        assert_eq!(of(unasked, vec![check("mount", 7)]).len(), 1);
        // Another mount was asked about.
        assert_eq!(of(call("mount", EACCES), vec![check("mount", 8)]).len(), 1);
    }

    #[test]
    fn what_a_filter_refused_may_be_why_a_run_failed() {
        let found = |exit_status, seccomp, granted: CapSet| {
            let mut mount = call("mount", EPERM);
            mount.seccomp = seccomp;
            let mut subject = subject(vec![mount], vec![]);
            subject.granted = granted;
            let session = Session {
                exit_status,
                ..Session::new(Hook::TpBtf)
            };
            needs(&subject, &session).len()
        };
        assert_eq!(found(Some(1), None, CapSet::EMPTY), 1);
        assert_eq!(found(Some(0), None, CapSet::EMPTY), 0);
        assert_eq!(found(Some(1), Some(false), CapSet::EMPTY), 0);
        assert_eq!(found(Some(1), None, CapSet::known()), 0);
    }

    #[test]
    fn there_is_nothing_to_unmount_after_a_refused_mount() {
        let verdict = |calls| {
            let subject = subject(calls, vec![check("umount2", 0)]);
            let session = Session::new(Hook::TpBtf);
            let judgement = judge(&Fact {
                check: &subject.checks[0],
                subject: &subject,
                session: &session,
            });
            judgement.verdict()
        };
        assert_eq!(verdict(vec![call("mount", EACCES)]), Verdict::Noise);
        assert_eq!(verdict(vec![call("mount", 0)]), Verdict::Needed);
        assert_eq!(verdict(vec![]), Verdict::Needed);
    }
}
