//! Checks about processes, memory and scheduling.

use super::{Definition, site};
use crate::{
    advise::{AnyOf, Meaning, Rule},
    capability::Capability,
    kernel::{asker, function_name},
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

/// A queue's limits are looked at after SYS_RESOURCE was asked for (`mqueue_get_inode`, ipc/mqueue.c), and the default
/// ones, which a queue without attributes gets, are within those of all users.
pub(super) const DEFAULT_QUEUE: Definition = Definition {
    rule: Rule::DefaultQueue,
    apply: |fact| {
        if !fact.check.identity.by_syscall(&["mq_open"])
            || !site::is_only_asked_by(fact, &["mqueue_get_inode"])
        {
            return None;
        }
        let samples = fact.check.samples();
        if samples.every_argument(3, |attributes| attributes == 0) {
            return Some(Meaning::noise(
                "asked for every new message queue; this one has default limits, which are free to everybody",
            ));
        }
        (fact.check.identity.outcome == Outcome::Granted).then(|| {
            Meaning::possible(
                Capability::SYS_RESOURCE,
                "asked for every new message queue, before its limits are looked at",
            )
        })
    },
};

/// perf_event_open(2) of a thread asks first, and then whether the caller may trace it, as it always may itself
/// (`perf_check_permission`, kernel/events/core.c). Other questions of the same call are asked by functions of their own.
pub(super) const PERF_OF_ONESELF: Definition = Definition {
    rule: Rule::PerfOfOneself,
    apply: |fact| {
        let identity = &fact.check.identity;
        let otherwise = [
            "perf_allow_kernel",
            "perf_allow_cpu",
            "perf_allow_tracepoint",
        ];
        (identity.is(Capability::PERFMON)
            && identity.by_syscall(&["perf_event_open"])
            && site::is_asked_by(fact, &["perf_check_permission"])
            && !identity.called_from(&otherwise)
            && fact
                .check
                .samples()
                .every_argument(1, |process| process & 0xffff_ffff == 0))
        .then(|| {
            Meaning::possible(
                AnyOf::either(Capability::PERFMON, Capability::SYS_ADMIN),
                "asked before anything else about counters of the program's own, which takes none unless they count the kernel",
            )
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
        // hidepid= refuses the whole directory.
        let hidden = site::is_asked_by(fact, &["has_pid_permissions", "proc_pid_lookup"])
            && !site::is_asked_by(fact, &["proc_pid_readdir"]);
        (identity.is(Capability::SYS_PTRACE) && reads && !hidden).then(|| {
            Meaning::possible(
                identity.capability,
                "looks into another user's process in /proc, which monitors usually do without when refused",
            )
        })
    },
};

/// BPF, PERFMON and CHECKPOINT_RESTORE were split from SYS_ADMIN, which still serves where the kernel asks through a
/// function that knows of both (`bpf_capable`, `perfmon_capable`, `checkpoint_restore_ns_capable`,
/// include/linux/capability.h; `bpf_token_capable`, kernel/bpf/token.c). The table says where, for the narrower one. This
/// is about SYS_ADMIN in the second place, asked by the same functions, after the narrower one was refused.
pub(super) const SPLIT_FROM_SYS_ADMIN: Definition = Definition {
    rule: Rule::SplitFromSysAdmin,
    apply: |fact| {
        let identity = &fact.check.identity;
        if !identity.is(Capability::SYS_ADMIN) || identity.callers.is_empty() {
            return None;
        }
        let narrower = [
            Capability::BPF,
            Capability::PERFMON,
            Capability::CHECKPOINT_RESTORE,
            Capability::NET_ADMIN,
        ]
        .into_iter()
        .filter(|narrower| {
            *narrower != Capability::NET_ADMIN || identity.called_from(&["bpf_token_capable"])
        })
        .find(|narrower| site::refusals(fact, *narrower) >= fact.check.count)?;
        Some(Meaning::decisive(
            AnyOf::either(narrower, Capability::SYS_ADMIN),
            "asked for what was part of SYS_ADMIN once",
        ))
    },
};

/// Signal 0 to a thread sends nothing: it asks whether the thread is there, and EPERM says so as well as success (tkill(2)). What
/// else a program makes of a refusal is not known: the subject's notes say so. With kill(2) it stays a need: `kill -0` in scripts
/// takes a refusal for "not running".
pub(super) const THREAD_PROBE: Definition = Definition {
    rule: Rule::ThreadProbe,
    apply: |fact| {
        let identity = &fact.check.identity;
        let signal = match identity.syscall.as_deref()? {
            "tkill" => 1,
            "tgkill" => 2,
            _ => return None,
        };
        let probes = |signal: u64| signal & 0xffff_ffff == 0;
        (identity.is(Capability::KILL) && fact.check.samples().every_argument(signal, probes)).then(
            || {
                Meaning::noise(
                    "signal 0 to another user's thread, which only asks whether it is there: a refusal says so as well",
                )
            },
        )
    },
};

/// SIGCONT is free to everybody within a session, which the kernel compares after it has asked (`check_kill_permission`,
/// kernel/signal.c).
pub(super) const CONTINUES: Definition = Definition {
    rule: Rule::Continues,
    apply: |fact| {
        const SIGCONT: u64 = 18;
        let identity = &fact.check.identity;
        let signal = match identity.syscall.as_deref()? {
            "kill" | "tkill" | "rt_sigqueueinfo" | "pidfd_send_signal" => 1,
            "tgkill" | "rt_tgsigqueueinfo" => 2,
            _ => return None,
        };
        let continues = |signal: u64| signal & 0xffff_ffff == SIGCONT;
        (identity.is(Capability::KILL) && fact.check.samples().every_argument(signal, continues))
            .then(|| {
                Meaning::possible(
                    identity.capability,
                    "asked before sessions are compared: without, SIGCONT reaches another user's process of the same session only",
                )
            })
    },
};

/// mlock(2) asks where the new pages and those that are locked exceed the limit, and subtracts afterwards what is among both
/// (`do_mlock`, mm/mlock.c, since 4.9).
pub(super) const LOCKS_AGAIN: Definition = Definition {
    rule: Rule::LocksAgain,
    apply: |fact| {
        let identity = &fact.check.identity;
        (identity.is(Capability::IPC_LOCK)
            && asker(&identity.callers).is_some_and(|asker| function_name(asker) == "do_mlock"))
        .then(|| {
            Meaning::possible(
                identity.capability,
                "asked before what is locked already is subtracted: it locks more memory than its limit allows, unless that is the same",
            )
        })
    },
};

/// A user's pipes beyond fs.pipe-user-pages-soft get a smaller buffer, and there are none beyond fs.pipe-user-pages-hard; both ask
/// the same function (`alloc_pipe_info`, fs/pipe.c).
pub(super) const PIPE_BUFFERS: Definition = Definition {
    rule: Rule::PipeBuffers,
    apply: |fact| {
        let identity = &fact.check.identity;
        let either = AnyOf::either(Capability::SYS_RESOURCE, Capability::SYS_ADMIN);
        (either.set().contains(identity.capability)
            && identity.called_from(&["alloc_pipe_info"])
            && site::is_asked_by(fact, &["pipe_is_unprivileged_user"]))
        .then(|| {
            Meaning::possible(
                either,
                "makes more pipes than a user's share of memory: without, new ones get a smaller buffer, or none beyond the hard limit",
            )
        })
    },
};
