//! Writes to sysctls, each of the value that is there.

use std::{ffi::CStr, io};

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, done, nothing, op},
    sys,
};

fn same(path: &CStr) -> io::Result<Details> {
    let value = sys::read_from(path)?;
    sys::write_to(path, &value).and_then(|_| done())
}

/// Writes a value, which is the namespace's own.
fn set(path: &CStr, value: &[u8]) -> io::Result<Details> {
    sys::write_to(path, value).and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("sysctl-log-level", &[], nothing, |_| {
        same(c"/proc/sys/kernel/printk")
    }),
    op("sysctl-log-restrict", &[C::SYS_ADMIN], nothing, |_| {
        same(c"/proc/sys/kernel/dmesg_restrict")
    }),
    op("sysctl-pointer-restrict", &[C::SYS_ADMIN], nothing, |_| {
        same(c"/proc/sys/kernel/kptr_restrict")
    }),
    op("sysctl-bpf-unprivileged", &[C::SYS_ADMIN], nothing, |_| {
        same(c"/proc/sys/kernel/unprivileged_bpf_disabled")
    }),
    op("sysctl-bpf-statistics", &[C::SYS_ADMIN], nothing, |_| {
        same(c"/proc/sys/kernel/bpf_stats_enabled")
    }),
    op("sysctl-perf-paranoid", &[], nothing, |_| {
        same(c"/proc/sys/kernel/perf_event_paranoid")
    }),
    op("sysctl-core-pattern", &[], nothing, |_| {
        same(c"/proc/sys/kernel/core_pattern")
    }),
    op("sysctl-tainted", &[C::SYS_ADMIN], nothing, |_| {
        same(c"/proc/sys/kernel/tainted")
    }),
    op("sysctl-numa-balancing", &[C::SYS_ADMIN], nothing, |_| {
        same(c"/proc/sys/kernel/numa_balancing")
    }),
    op("sysctl-lowest-address", &[C::SYS_RAWIO], nothing, |_| {
        same(c"/proc/sys/vm/mmap_min_addr")
    }),
    op("sysctl-swappiness", &[], nothing, |_| {
        same(c"/proc/sys/vm/swappiness")
    }),
    op("sysctl-seccomp-logged", &[C::SYS_ADMIN], nothing, |_| {
        same(c"/proc/sys/kernel/seccomp/actions_logged")
    }),
    op("sysctl-ptrace-scope", &[C::SYS_PTRACE], nothing, |_| {
        same(c"/proc/sys/kernel/yama/ptrace_scope")
    }),
    op("sysctl-hard-links", &[], nothing, |_| {
        same(c"/proc/sys/fs/protected_hardlinks")
    }),
    op(
        "sysctl-user-namespaces",
        &[C::SYS_RESOURCE],
        nothing,
        |_| same(c"/proc/sys/user/max_user_namespaces"),
    ),
    op("sysctl-user-namespaces-read", &[], nothing, |_| {
        sys::read_from(c"/proc/sys/user/max_user_namespaces").and_then(|_| done())
    }),
    op("sysctl-queues", &[], nothing, |_| {
        same(c"/proc/sys/fs/mqueue/msg_max")
    })
    .ipc(),
    op("sysctl-shared-memory", &[], nothing, |_| {
        same(c"/proc/sys/kernel/shmmax")
    })
    .ipc(),
    op("sysctl-forward", &[C::NET_ADMIN], nothing, |_| {
        set(c"/proc/sys/net/ipv4/ip_forward", b"1")
    })
    .net(),
    op(
        "sysctl-forward-on-loopback",
        &[C::NET_ADMIN],
        nothing,
        |_| set(c"/proc/sys/net/ipv4/conf/lo/forwarding", b"1"),
    )
    .net(),
    op("sysctl-forward-same", &[C::NET_ADMIN], nothing, |_| {
        same(c"/proc/sys/net/ipv4/ip_forward")
    })
    .net(),
    op("sysctl-reverse-path", &[], nothing, |_| {
        set(c"/proc/sys/net/ipv4/conf/lo/rp_filter", b"1")
    })
    .net(),
    op("sysctl-ip6-forward", &[], nothing, |_| {
        set(c"/proc/sys/net/ipv6/conf/lo/forwarding", b"1")
    })
    .net(),
    op("sysctl-ports", &[], nothing, |_| {
        set(c"/proc/sys/net/ipv4/ip_unprivileged_port_start", b"80")
    })
    .net(),
    op("sysctl-ping-range", &[], nothing, |_| {
        set(c"/proc/sys/net/ipv4/ping_group_range", b"0 0")
    })
    .net(),
    op("sysctl-congestion", &[], nothing, |_| {
        set(c"/proc/sys/net/ipv4/tcp_congestion_control", b"reno")
    })
    .net(),
    op("sysctl-tcp-read", &[], nothing, |_| {
        sys::read_from(c"/proc/sys/net/ipv4/tcp_syncookies").and_then(|_| done())
    })
    .net(),
    op("sysctl-backlog", &[], nothing, |_| {
        set(c"/proc/sys/net/core/somaxconn", b"128")
    })
    .net(),
    op("sysctl-jit-hardening", &[C::SYS_ADMIN], nothing, |_| {
        same(c"/proc/sys/net/core/bpf_jit_harden")
    }),
    op("sysctl-jit-enable", &[C::SYS_ADMIN], nothing, |_| {
        same(c"/proc/sys/net/core/bpf_jit_enable")
    }),
    op("sysctl-jit-symbols-read", &[C::SYS_ADMIN], nothing, |_| {
        sys::read_from(c"/proc/sys/net/core/bpf_jit_kallsyms").and_then(|_| done())
    }),
    op("sysctl-fast-open-key-read", &[], nothing, |_| {
        sys::read_from(c"/proc/sys/net/ipv4/tcp_fastopen_key").and_then(|_| done())
    })
    .net(),
];
