//! Checks about processes, memory and scheduling.

use super::Definition;
use crate::{
    advise::{AnyOf, Meaning, Rule},
    capability::{CapSet, Capability},
    ledger::Outcome,
};

/// Every mapping asks whether the caller may use the last of the memory (`cap_vm_enough_memory`,
/// security/commoncap.c, for `__vm_enough_memory`, mm/util.c).
pub(super) const MEMORY_RESERVE: Definition = Definition {
    rule: Rule::MemoryReserve,
    apply: |fact| {
        let identity = &fact.check.identity;
        (identity.is(Capability::SYS_ADMIN)
            && identity.called_from(&[
                "cap_vm_enough_memory",
                "security_vm_enough_memory_mm",
                "__vm_enough_memory",
            ]))
        .then(|| {
            Meaning::noise(
                "asked for every memory mapping; it only opens the last reserve of memory",
            )
        })
    },
};

/// Reading /proc/PID/stat and the like hides a few fields from strangers and succeeds (`do_task_stat`,
/// fs/proc/array.c; `proc_pid_wchan`, `proc_pid_syscall`, fs/proc/base.c).
pub(super) const PTRACE_STAT: Definition = Definition {
    rule: Rule::PtraceStat,
    apply: |fact| {
        let identity = &fact.check.identity;
        (identity.is(Capability::SYS_PTRACE)
            && identity.called_from(&[
                "do_task_stat",
                "proc_pid_wchan",
                "proc_pid_permission",
                "proc_tgid_stat",
                "proc_tid_stat",
            ]))
        .then(|| {
            Meaning::noise(
                "only decides whether a few fields of another process's status are shown",
            )
        })
    },
};

/// EPOLLWAKEUP is dropped silently without BLOCK_SUSPEND (`ep_take_care_of_epollwakeup`,
/// include/linux/eventpoll.h).
pub(super) const EPOLL_WAKEUP: Definition = Definition {
    rule: Rule::EpollWakeup,
    apply: |fact| {
        let identity = &fact.check.identity;
        (identity.is(Capability::BLOCK_SUSPEND) && identity.by_syscall(&["epoll_ctl"]))
            .then(|| Meaning::noise("without it the EPOLLWAKEUP flag is dropped silently"))
    },
};

/// io_uring counts its memory against the user's limit unless the caller has IPC_LOCK (`io_uring_create`,
/// io_uring/io_uring.c).
pub(super) const IO_URING_ACCOUNTING: Definition = Definition {
    rule: Rule::IoUringAccounting,
    apply: |fact| {
        let identity = &fact.check.identity;
        (identity.is(Capability::IPC_LOCK) && identity.by_syscall(&["io_uring_setup"])).then(|| {
            Meaning::noise(
                "only decides whether io_uring's memory counts against the locked-memory limit",
            )
        })
    },
};

/// Real-time I/O priority takes SYS_ADMIN or SYS_NICE, asked in this order (`ioprio_check_cap`,
/// block/ioprio.c).
pub(super) const IO_PRIORITY: Definition = Definition {
    rule: Rule::IoPriority,
    apply: |fact| {
        let identity = &fact.check.identity;
        let either = AnyOf::either(Capability::SYS_NICE, Capability::SYS_ADMIN);
        (either.set().contains(identity.capability)
            && (identity.by_syscall(&["ioprio_set"])
                || identity.called_from(&["ioprio_check_cap", "__do_sys_ioprio_set"])))
        .then(|| Meaning::decisive(either, "sets a real-time I/O priority"))
    },
};

/// fork beyond the process limit takes SYS_RESOURCE or SYS_ADMIN (`copy_process`, kernel/fork.c), as do
/// pipes beyond theirs (`pipe_is_unprivileged_user`, fs/pipe.c).
pub(super) const FORK_LIMIT: Definition = Definition {
    rule: Rule::ForkLimit,
    apply: |fact| {
        let identity = &fact.check.identity;
        let either = AnyOf::either(Capability::SYS_RESOURCE, Capability::SYS_ADMIN);
        let limited = identity.is(Capability::SYS_RESOURCE)
            && (identity.by_syscall(&["fork", "vfork", "clone", "clone3", "pipe", "pipe2"])
                || identity.called_from(&["pipe_is_unprivileged_user", "alloc_pipe_info"]));
        limited.then(|| {
            Meaning::decisive(either, "goes beyond the user's limit of processes or pipes")
        })
    },
};

/// Looking into another process's memory map, environment or links fails without; monitors mostly leave the
/// field empty then (`proc_mem_open`, `proc_fd_access_allowed`, fs/proc/base.c).
pub(super) const PTRACE_READ: Definition = Definition {
    rule: Rule::PtraceRead,
    apply: |fact| {
        let identity = &fact.check.identity;
        let reads = identity.by_syscall(&[
            "read",
            "pread64",
            "open",
            "openat",
            "openat2",
            "readlink",
            "readlinkat",
            "stat",
            "lstat",
            "newfstatat",
            "statx",
            "getdents64",
        ]);
        (identity.is(Capability::SYS_PTRACE) && reads).then(|| {
            Meaning::possible(
                identity.capability,
                "looks into another user's process in /proc, which monitors usually do without when refused",
            )
        })
    },
};

/// BPF, PERFMON, CHECKPOINT_RESTORE and SYSLOG were split from SYS_ADMIN, which still serves
/// (`bpf_capable`, `perfmon_capable`, `checkpoint_restore_ns_capable`, include/linux/capability.h).
pub(super) const SPLIT_FROM_SYS_ADMIN: Definition = Definition {
    rule: Rule::SplitFromSysAdmin,
    apply: |fact| {
        let identity = &fact.check.identity;
        let split = CapSet::of(&[
            Capability::BPF,
            Capability::PERFMON,
            Capability::CHECKPOINT_RESTORE,
        ]);
        if split.contains(identity.capability) {
            return Some(Meaning::decisive(
                AnyOf::either(identity.capability, Capability::SYS_ADMIN),
                "asked for what was part of SYS_ADMIN once",
            ));
        }
        if !identity.is(Capability::SYS_ADMIN) {
            return None;
        }
        // SYS_ADMIN asked in the second place, after the narrower one was refused.
        let narrower = fact.subject.checks.iter().find(|other| {
            split.contains(other.identity.capability)
                && other.identity.outcome == Outcome::Denied
                && other.identity.requester == identity.requester
                && other.identity.syscall == identity.syscall
                && other.identity.operation == identity.operation
                && other.count >= fact.check.count
        })?;
        Some(Meaning::decisive(
            AnyOf::either(narrower.identity.capability, Capability::SYS_ADMIN),
            "asked for what was part of SYS_ADMIN once",
        ))
    },
};

/// Signal 0 to a thread sends nothing: it asks whether the thread is there, and EPERM says so as well as
/// success (tkill(2)). With kill(2) it stays a need: `kill -0` in scripts takes a refusal for "not running".
pub(super) const THREAD_PROBE: Definition = Definition {
    rule: Rule::ThreadProbe,
    apply: |fact| {
        let identity = &fact.check.identity;
        let signal = match identity.syscall.as_deref()? {
            "tkill" => 1,
            "tgkill" => 2,
            _ => return None,
        };
        let samples = &fact.check.samples;
        (identity.is(Capability::KILL)
            && !samples.is_empty()
            && samples
                .iter()
                .all(|sample| sample.arguments[signal] & 0xffff_ffff == 0))
        .then(|| {
            Meaning::noise("only asks whether a thread is there, which a refusal tells as well")
        })
    },
};
