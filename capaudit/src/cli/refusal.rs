//! Who may have refused it when the kernel does not load or attach a program.

use std::path::Path;

use capaudit_tracer::proc::status::{Seccomp, Status};

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;

/// What of this machine forbids something to those who hold every capability.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The level of lockdown: `none`, `integrity` or `confidentiality`; `None` if the kernel has no lockdown.
    pub(super) lockdown: Option<String>,
    /// `kernel.perf_event_paranoid`.
    pub(super) perf_paranoid: Option<i32>,
    /// A seccomp filter is in force for capaudit.
    pub(super) is_filtered: bool,
}

impl Refusal {
    /// That of the machine capaudit runs on.
    pub(super) fn of_machine() -> Self {
        let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok();
        let lockdown = read("/sys/kernel/security/lockdown");
        let paranoid = read("/proc/sys/kernel/perf_event_paranoid");
        Self {
            lockdown: lockdown.as_deref().and_then(level).map(str::to_owned),
            perf_paranoid: paranoid.and_then(|text| text.trim().parse().ok()),
            is_filtered: matches!(
                Status::read("self"),
                Ok(Status {
                    seccomp: Some(Seccomp::Filter),
                    ..
                })
            ),
        }
    }

    /// What probably refused with this error number, and what helps; `None` if nothing here does that.
    pub(super) fn reason(&self, errno: Option<i32>) -> Option<String> {
        // Under confidentiality the verifier has no helper that reads the kernel's memory and says EINVAL
        // (`bpf_tracing_func_proto`, kernel/trace/bpf_trace.c, Linux 6.18); a kprobe is refused with EPERM
        // (`LOCKDOWN_KPROBES`, kernel/trace/trace_kprobe.c).
        if self.lockdown.as_deref() == Some("confidentiality")
            && matches!(errno, Some(EPERM | EACCES | EINVAL))
        {
            return Some(
                "the kernel is locked down (lockdown=confidentiality), which forbids to read its memory whoever asks: boot with lockdown=integrity, or without"
                    .to_owned(),
            );
        }
        match errno {
            // `perf_event_open`, kernel/events/core.c: EACCES is the sysctl's, EPERM anybody else's.
            Some(EACCES) if self.perf_paranoid.is_some_and(|level| level > 2) => Some(format!(
                "not allowed (EACCES): sysctl kernel.perf_event_paranoid is {}, and 2 is enough for CAP_PERFMON; or run as root",
                self.perf_paranoid.unwrap_or_default()
            )),
            Some(EPERM) if self.is_filtered => Some(
                "not permitted (EPERM): a seccomp profile is in force here, which may forbid bpf(2): --security-opt=seccomp=unconfined"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// The level in brackets, of `none [integrity] confidentiality`.
fn level(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refuses_is_told_apart_by_the_error_number() {
        assert_eq!(
            level("none [integrity] confidentiality\n"),
            Some("integrity")
        );
        assert_eq!(level(""), None);
        let locked = |level: &str| Refusal {
            lockdown: Some(level.to_owned()),
            ..Refusal::default()
        };
        let paranoid = Refusal {
            perf_paranoid: Some(3),
            is_filtered: true,
            ..Refusal::default()
        };
        for (machine, errno, expected) in [
            (
                locked("confidentiality"),
                EINVAL,
                Some("lockdown=confidentiality"),
            ),
            (
                locked("confidentiality"),
                EPERM,
                Some("lockdown=confidentiality"),
            ),
            // No memory is another matter.
            (locked("confidentiality"), 12, None),
            (locked("integrity"), EINVAL, None),
            (locked("none"), EPERM, None),
            (paranoid.clone(), EACCES, Some("perf_event_paranoid is 3")),
            (paranoid.clone(), EPERM, Some("seccomp")),
            (paranoid, EINVAL, None),
            (Refusal::default(), EACCES, None),
        ] {
            let reason = machine.reason(Some(errno));
            let says = |words: &str| reason.as_deref().is_some_and(|it| it.contains(words));
            assert_eq!(reason.is_some(), expected.is_some(), "{machine:?} {errno}");
            assert!(expected.is_none_or(says), "{reason:?}");
        }
        assert_eq!(locked("confidentiality").reason(None), None);
    }
}
