//! Default seccomp profiles of container engines, as data: which system calls each allows only with a capability.
//!
//! Taken from the profiles' own files. Only calls that the kernel, too, has no other question about are of interest
//! to the rules; what the kernel asks for itself (chroot, acct) is listed all the same, as the profiles list it.

use crate::{
    capability::Capability as C,
    ledger::{CallRecord, Engine},
};

/// Flags of clone, unshare and setns that make or enter namespaces: `CLONE_NEW*`, include/uapi/linux/sched.h.
const CLONE_NEW: u64 = 0x7e02_0000;

/// An engine's default seccomp profile, reduced to what it allows only with a capability.
#[derive(Debug)]
pub struct Profile {
    /// Engines that use it by default.
    pub engines: &'static [Engine],
    /// What reasons call it.
    pub name: &'static str,
    /// Where it is published.
    pub source: &'static str,
    /// Versions of it that were read, and have these conditions or a part of them.
    pub versions: &'static str,
    /// What it allows only with a capability.
    pub conditions: &'static [Condition],
}

/// System calls that are allowed to whoever has one of these capabilities.
#[derive(Debug)]
pub struct Condition {
    /// Any of them will do.
    pub any_of: &'static [C],
    pub calls: &'static [&'static str],
    pub when: When,
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

impl Condition {
    /// Whether the condition is about this call.
    pub fn is_about(&self, call: &CallRecord) -> bool {
        self.calls.contains(&call.syscall.as_str())
            && match self.when {
                When::Always => true,
                When::AnyBit { argument, bits } => call.arguments[argument] & bits != 0,
            }
    }
}

const fn always(any_of: &'static [C], calls: &'static [&'static str]) -> Condition {
    Condition {
        any_of,
        calls,
        when: When::Always,
    }
}

/// The profiles, the most common first.
pub const PROFILES: [Profile; 2] = [
    Profile {
        engines: &[Engine::Docker, Engine::Containerd],
        name: "Docker's",
        source: "https://github.com/moby/profiles seccomp/default.json (to v28: github.com/moby/moby profiles/seccomp/default.json)",
        versions: "moby v20.10.24 to v28, moby/profiles 3c28324 (2026-05)",
        conditions: &[
            always(&[C::DAC_READ_SEARCH], &["open_by_handle_at"]),
            always(&[C::SYS_ADMIN, C::BPF], &["bpf"]),
            always(&[C::SYS_ADMIN, C::PERFMON], &["perf_event_open"]),
            always(&[C::SYS_ADMIN, C::SYSLOG], &["syslog"]),
            always(
                &[C::SYS_ADMIN],
                &[
                    "fanotify_init",
                    "fsconfig",
                    "fsmount",
                    "fsopen",
                    "fspick",
                    "lookup_dcookie",
                    "lsm_get_self_attr",
                    "lsm_list_modules",
                    "lsm_set_self_attr",
                    "mount",
                    "mount_setattr",
                    "move_mount",
                    "open_tree",
                    "quotactl",
                    "quotactl_fd",
                    "setdomainname",
                    "sethostname",
                    "setns",
                    "umount2",
                    "unshare",
                ],
            ),
            // clone3's flags are in memory: without SYS_ADMIN it fails with ENOSYS, upon which the C library calls
            // clone, and that tells.
            Condition {
                any_of: &[C::SYS_ADMIN],
                calls: &["clone"],
                when: When::AnyBit {
                    argument: 0,
                    bits: CLONE_NEW,
                },
            },
            always(&[C::SYS_BOOT], &["reboot"]),
            always(&[C::SYS_CHROOT], &["chroot"]),
            always(
                &[C::SYS_MODULE],
                &["delete_module", "init_module", "finit_module"],
            ),
            always(&[C::SYS_PACCT], &["acct"]),
            // And ptrace, which is allowed to everybody on kernels from 4.8 on.
            always(
                &[C::SYS_PTRACE],
                &[
                    "kcmp",
                    "pidfd_getfd",
                    "process_madvise",
                    "process_vm_readv",
                    "process_vm_writev",
                ],
            ),
            always(&[C::SYS_RAWIO], &["iopl", "ioperm"]),
            always(
                &[C::SYS_TIME],
                &["settimeofday", "clock_settime", "clock_settime64"],
            ),
            always(&[C::SYS_TTY_CONFIG], &["vhangup"]),
            always(
                &[C::SYS_NICE],
                &[
                    "get_mempolicy",
                    "mbind",
                    "set_mempolicy",
                    "set_mempolicy_home_node",
                ],
            ),
        ],
    },
    Profile {
        engines: &[Engine::Podman, Engine::Crio],
        name: "Podman's",
        source: "https://github.com/containers/common pkg/seccomp/seccomp.json, installed as /usr/share/containers/seccomp.json",
        versions: "v0.50.1 to v0.64.0",
        // Without AUDIT_WRITE, socket(AF_NETLINK, …, NETLINK_AUDIT) fails with EINVAL. That is not listed: EINVAL is
        // what audit_open(3) callers take for a kernel without audit, and go on.
        conditions: &[
            always(&[C::DAC_READ_SEARCH], &["open_by_handle_at"]),
            always(&[C::SYS_ADMIN, C::BPF], &["bpf"]),
            always(&[C::SYS_ADMIN, C::PERFMON], &["perf_event_open"]),
            always(
                &[C::SYS_ADMIN],
                &[
                    "fanotify_init",
                    "lookup_dcookie",
                    "quotactl",
                    "quotactl_fd",
                    "setdomainname",
                    "sethostname",
                    "setns",
                ],
            ),
            always(&[C::SYS_CHROOT], &["chroot"]),
            always(
                &[C::SYS_MODULE],
                &["delete_module", "init_module", "finit_module"],
            ),
            always(&[C::SYS_PACCT], &["acct"]),
            always(&[C::SYS_PTRACE], &["kcmp", "process_madvise"]),
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
}
