//! System calls that an engine's default seccomp profile allows only with a capability.
//!
//! The profile looks at the container's capabilities when it starts, so such a call may succeed for no other
//! reason, though the kernel never asks for the capability.

use crate::{
    advise::Judgement,
    capability::{CapSet, Capability},
    ledger::{CallRecord, Kind, SubjectRecord},
};

/// Flags of clone, unshare and setns that make or enter namespaces (include/uapi/linux/sched.h).
const CLONE_NEW: u64 = 0x7e02_0000 | 0x80;

/// Capabilities of which any unlocks a call.
///
/// Source: moby profiles/seccomp/default_linux.go, v20.10.24 to v28; Podman's
/// containers/common pkg/seccomp/seccomp.json (v0.50 to v0.64) has the same conditions for these.
fn unlocked_by(syscall: &str, arguments: &[u64; 6]) -> Option<CapSet> {
    let capability = match syscall {
        "bpf" => return Some(CapSet::of(&[Capability::SYS_ADMIN, Capability::BPF])),
        "perf_event_open" => {
            return Some(CapSet::of(&[Capability::SYS_ADMIN, Capability::PERFMON]));
        }
        "syslog" => return Some(CapSet::of(&[Capability::SYSLOG, Capability::SYS_ADMIN])),
        "fanotify_init" | "fsconfig" | "fsmount" | "fsopen" | "fspick" | "lookup_dcookie"
        | "mount" | "mount_setattr" | "move_mount" | "open_tree" | "quotactl" | "quotactl_fd"
        | "setdomainname" | "sethostname" | "setns" | "umount2" | "unshare" => {
            Capability::SYS_ADMIN
        }
        // The first argument of clone; clone3's flags are in memory, and without SYS_ADMIN it fails with
        // ENOSYS, upon which the C library calls clone.
        "clone" if arguments[0] & CLONE_NEW & !0xff != 0 => Capability::SYS_ADMIN,
        "open_by_handle_at" => Capability::DAC_READ_SEARCH,
        "reboot" => Capability::SYS_BOOT,
        "delete_module" | "init_module" | "finit_module" => Capability::SYS_MODULE,
        "kcmp" | "pidfd_getfd" | "process_madvise" | "process_vm_readv" | "process_vm_writev" => {
            Capability::SYS_PTRACE
        }
        "iopl" | "ioperm" => Capability::SYS_RAWIO,
        "settimeofday" | "clock_settime" | "clock_settime64" => Capability::SYS_TIME,
        "vhangup" => Capability::SYS_TTY_CONFIG,
        // Asks nothing: only finds out whether the kernel has the call.
        "get_mempolicy" if *arguments == [0; 6] => return None,
        "get_mempolicy" | "mbind" | "set_mempolicy" | "set_mempolicy_home_node" => {
            Capability::SYS_NICE
        }
        _ => return None,
    };
    Some(CapSet::from(capability))
}

/// System calls that a capability unlocks (clone: with flags for new namespaces), by name.
pub fn unlocked(capability: Capability) -> Vec<&'static str> {
    let mut names: Vec<&str> = syscalls::Sysno::iter()
        .map(|number| number.name())
        .filter(|name| unlocked_by(name, &[CLONE_NEW; 6]).is_some_and(|by| by.contains(capability)))
        .collect();
    names.sort_unstable();
    names
}

/// Calls that programs try and do without when refused: reading another process's memory falls back to
/// ptrace.
const TRIED: [&str; 2] = ["process_vm_readv", "kcmp"];

/// The needs that a container's calls show.
pub fn needs(subject: &SubjectRecord, calls: &[CallRecord]) -> Vec<Judgement> {
    if subject.kind != Kind::Container {
        return Vec::new();
    }
    calls
        .iter()
        .filter(|call| !call.failed && !call.asker.setup)
        .filter(|call| !is_undone(call, calls))
        .filter_map(|call| {
            let by = unlocked_by(&call.syscall, &call.arguments)?;
            let reason = format!(
                "calls {}, which the default seccomp profile of container engines allows only with it",
                call.syscall
            );
            Some(if TRIED.contains(&call.syscall.as_str()) {
                Judgement::possible(by, reason)
            } else {
                Judgement::decisive(by, reason)
            })
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
            .filter(|other| other.asker.exe == call.asker.exe && !other.failed && wanted(other))
            .map(|other| other.count)
            .sum()
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
