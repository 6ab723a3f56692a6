//! Default seccomp profiles of container engines, as data: which system calls each allows only with a capability.
//!
//! Taken from the profiles' own files, release by release. Only calls that the kernel, too, has no other question about
//! are of interest to the rules; what the kernel asks for itself (chroot, acct) is listed all the same, as the profiles
//! list it.

use std::ops::Range;

use super::Version;
use crate::{
    capability::Capability as C,
    ledger::{CallRecord, Engine},
};

/// Flags of clone, unshare and setns that make or enter namespaces: `CLONE_NEW*`, include/uapi/linux/sched.h.
pub(super) const CLONE_NEW: u64 = 0x7e02_0000;

/// An engine's default seccomp profile, reduced to what it allows only with a capability.
#[derive(Debug)]
pub struct Profile {
    /// Engines that use it by default. The releases of conditions are those of the first.
    pub engines: &'static [Engine],
    /// What reasons call it.
    pub name: &'static str,
    /// Where it is published.
    pub source: &'static str,
    /// Versions of it that were read.
    pub versions: &'static str,
    /// What it allows only with a capability. Of several about one call, each has to be met.
    pub conditions: &'static [Condition],
}

/// System calls that are allowed to whoever has one of these capabilities.
#[derive(Debug)]
pub struct Condition {
    /// Any of them will do.
    pub any_of: &'static [C],
    pub calls: &'static [&'static str],
    pub when: When,
    /// The engine's releases that have it; all of them if there is none here.
    pub within: &'static [Range<Version>],
}

/// Which calls a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    /// Those with one of these bits in this argument.
    AnyBit {
        /// Index of the argument.
        argument: usize,
        bits: u64,
    },
}

impl Profile {
    /// Whether an engine's release has a condition of this profile; `None` if that cannot be told.
    pub(super) fn has(
        &self,
        condition: &Condition,
        engine: Option<Engine>,
        version: Option<Version>,
    ) -> Option<bool> {
        if condition.within.is_empty() {
            return Some(true);
        }
        let version =
            version.filter(|_| engine.is_some() && self.engines.first() == engine.as_ref())?;
        Some(
            condition
                .within
                .iter()
                .any(|range| range.contains(&version)),
        )
    }
}

impl Condition {
    /// Whether the condition is about this call.
    pub fn is_about(&self, call: &CallRecord) -> bool {
        self.calls.contains(&call.syscall.as_str())
            && match self.when {
                When::Always => true,
                When::AnyBit { argument, bits } => call.arguments[argument] & bits != 0,
            }
    }

    const fn within(mut self, releases: &'static [Range<Version>]) -> Self {
        self.within = releases;
        self
    }
}

const fn always(any_of: &'static [C], calls: &'static [&'static str]) -> Condition {
    Condition {
        any_of,
        calls,
        when: When::Always,
        within: &[],
    }
}

const fn v(major: u16, minor: u16, patch: u16) -> Version {
    Version::new(major, minor, patch)
}

const FIRST: Version = v(0, 0, 0);
const EVER: Version = v(u16::MAX, 0, 0);

/// The profiles, the most common first.
pub const PROFILES: [Profile; 2] = [
    Profile {
        engines: &[Engine::Docker, Engine::Containerd],
        name: "Docker's",
        source: "https://github.com/moby/profiles seccomp/default.json (to v28: github.com/moby/moby profiles/seccomp/default.json)",
        versions: "moby, every release from v20.10.0 to v28.3.3, moby/profiles seccomp/v0.1.0 to v0.2.3 (2026-06)",
        conditions: &[
            always(&[C::DAC_READ_SEARCH], &["open_by_handle_at"]),
            always(&[C::SYS_ADMIN], &["bpf", "perf_event_open"]).within(&[FIRST..v(23, 0, 0)]),
            always(&[C::SYS_ADMIN, C::BPF], &["bpf"]).within(&[v(23, 0, 0)..EVER]),
            always(&[C::SYS_ADMIN, C::PERFMON], &["perf_event_open"]).within(&[v(23, 0, 0)..EVER]),
            always(&[C::SYS_ADMIN, C::SYSLOG], &["syslog"]),
            always(
                &[C::SYS_ADMIN],
                &[
                    "fanotify_init",
                    "lookup_dcookie",
                    "mount",
                    "quotactl",
                    "setdomainname",
                    "sethostname",
                    "setns",
                    "umount2",
                    "unshare",
                ],
            ),
            // Before these releases the calls are in no list, which no capability helps against.
            always(
                &[C::SYS_ADMIN],
                &[
                    "fsconfig",
                    "fsmount",
                    "fsopen",
                    "fspick",
                    "move_mount",
                    "open_tree",
                ],
            )
            .within(&[v(20, 10, 4)..EVER]),
            always(&[C::SYS_ADMIN], &["clone3"]).within(&[v(20, 10, 10)..EVER]),
            always(&[C::SYS_ADMIN], &["mount_setattr", "quotactl_fd"])
                .within(&[v(20, 10, 18)..EVER]),
            // Each branch was changed in a release of its own.
            always(&[C::SYS_ADMIN], &["name_to_handle_at"]).within(&[
                FIRST..v(20, 10, 26),
                v(23, 0, 0)..v(23, 0, 7),
                v(24, 0, 0)..v(24, 0, 3),
            ]),
            always(
                &[C::SYS_ADMIN],
                &["lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr"],
            )
            .within(&[v(28, 2, 0)..EVER]),
            Condition {
                any_of: &[C::SYS_ADMIN],
                calls: &["clone"],
                when: When::AnyBit {
                    argument: 0,
                    bits: CLONE_NEW,
                },
                within: &[],
            },
            always(&[C::SYS_BOOT], &["reboot"]),
            always(&[C::SYS_CHROOT], &["chroot"]),
            always(
                &[C::SYS_MODULE],
                &["delete_module", "init_module", "finit_module"],
            ),
            always(&[C::SYS_PACCT], &["acct"]),
            // And ptrace, which is allowed to everybody on kernels from 4.8 on.
            always(&[C::SYS_PTRACE], &["kcmp", "pidfd_getfd"]),
            always(&[C::SYS_PTRACE], &["process_madvise"]).within(&[v(20, 10, 4)..EVER]),
            always(&[C::SYS_PTRACE], &["process_vm_readv", "process_vm_writev"])
                .within(&[FIRST..v(23, 0, 0)]),
            always(&[C::SYS_RAWIO], &["iopl", "ioperm"]),
            always(&[C::SYS_TIME], &["settimeofday", "clock_settime"]),
            always(&[C::SYS_TIME], &["clock_settime64"]).within(&[v(23, 0, 0)..EVER]),
            always(&[C::SYS_TTY_CONFIG], &["vhangup"]),
            always(&[C::SYS_NICE], &["get_mempolicy", "mbind", "set_mempolicy"]),
            always(&[C::SYS_NICE], &["set_mempolicy_home_node"])
                .within(&[v(23, 0, 10)..v(24, 0, 0), v(25, 0, 3)..EVER]),
        ],
    },
    Profile {
        engines: &[Engine::Podman, Engine::Crio],
        name: "Podman's",
        source: "https://github.com/containers/common pkg/seccomp/seccomp.json, installed as /usr/share/containers/seccomp.json",
        // A release of Podman brings the profile of the containers/common in its go.mod; an installed file may be of
        // another. Before 3.1.0, setns took SYS_ADMIN as well.
        versions: "v0.35 (Podman 3.1) to v0.64 (Podman 5.6)",
        // Without AUDIT_WRITE, socket(AF_NETLINK, …, NETLINK_AUDIT) fails with EINVAL. That is not listed: EINVAL is
        // what audit_open(3) callers take for a kernel without audit, and go on.
        conditions: &[
            always(&[C::DAC_READ_SEARCH], &["open_by_handle_at"]),
            always(&[C::SYS_ADMIN], &["bpf"]).within(&[FIRST..v(5, 2, 0)]),
            always(&[C::SYS_ADMIN, C::BPF], &["bpf"]).within(&[v(5, 2, 0)..EVER]),
            // From 5.2 on it has a rule that refuses whoever lacks SYS_ADMIN and one that allows whoever has PERFMON: who
            // has one of the two only gets an error from either the first or from the default action.
            always(&[C::SYS_ADMIN], &["perf_event_open"]),
            always(&[C::PERFMON], &["perf_event_open"]).within(&[v(5, 2, 0)..EVER]),
            always(
                &[C::SYS_ADMIN],
                &["lookup_dcookie", "quotactl", "setdomainname", "sethostname"],
            ),
            always(&[C::SYS_ADMIN], &["fanotify_init"]).within(&[FIRST..v(5, 5, 0)]),
            always(&[C::SYS_ADMIN], &["quotactl_fd"]).within(&[v(5, 2, 0)..EVER]),
            always(&[C::SYS_CHROOT], &["chroot"]),
            always(
                &[C::SYS_MODULE],
                &["delete_module", "init_module", "finit_module"],
            ),
            always(&[C::SYS_PACCT], &["acct"]),
            always(&[C::SYS_PTRACE], &["kcmp", "process_madvise"]),
            always(&[C::SYS_PTRACE], &["process_vm_readv", "process_vm_writev"])
                .within(&[FIRST..v(4, 1, 0)]),
            always(&[C::SYS_NICE], &["get_mempolicy", "mbind", "set_mempolicy"])
                .within(&[FIRST..v(3, 3, 0)]),
            always(&[C::SYS_RAWIO], &["iopl", "ioperm"]),
            always(
                &[C::SYS_TIME],
                &["settimeofday", "clock_settime", "clock_settime64"],
            ),
            always(&[C::SYS_TTY_CONFIG], &["vhangup"]),
        ],
    },
];

/// Every system call that a profile allows by capability, by name.
pub fn conditional_calls() -> impl Iterator<Item = &'static str> {
    let conditions = PROFILES.iter().flat_map(|profile| profile.conditions);
    conditions.flat_map(|condition| condition.calls).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_has_one_profile() {
        for engine in [
            Engine::Docker,
            Engine::Podman,
            Engine::Containerd,
            Engine::Crio,
        ] {
            let used = PROFILES.iter().filter(|it| it.engines.contains(&engine));
            assert_eq!(used.count(), 1, "{engine:?}");
        }
    }

    #[test]
    fn a_release_has_a_condition_or_has_not_and_of_an_unknown_one_nothing_is_said() {
        let [docker, _] = &PROFILES;
        let handle = docker
            .conditions
            .iter()
            .filter(|it| it.calls.contains(&"name_to_handle_at"));
        for condition in handle {
            let has = |engine, version: Option<&str>| {
                docker.has(condition, engine, version.and_then(Version::parse))
            };
            let of_docker = |version| has(Some(Engine::Docker), Some(version));
            assert_eq!(of_docker("20.10.24+dfsg1"), Some(true));
            assert_eq!(of_docker("20.10.27"), Some(false));
            assert_eq!(of_docker("24.0.2"), Some(true));
            assert_eq!(of_docker("28.3.3"), Some(false));
            assert_eq!(has(Some(Engine::Docker), None), None);
            // containerd's releases are other ones.
            assert_eq!(has(Some(Engine::Containerd), Some("24.0.2")), None);
            assert_eq!(has(None, Some("24.0.2")), None);
        }
    }
}
