//! Something rare behind a thousand repetitions of something harmless that makes the same system call and asks for the
//! same capability. The truth is that of the rare one alone.

use std::{fs, io};

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, done, nothing, op},
    sys::{self, call},
};

const REPETITIONS: usize = 1000;

/// The place of one of the two, below that of both.
fn part(p: &Place, name: &str) -> Place {
    Place {
        root: p.root.join(name),
        disk: p.disk.join(name),
    }
}

fn named(name: &str) -> io::Result<&'static Operation> {
    let found = super::all().find(|operation| operation.name == name);
    found.ok_or_else(|| sys::errno(libc::EPROTO))
}

fn set_up(p: &Place, harmless: &str, rare: &str) -> io::Result<()> {
    for name in [harmless, rare] {
        let part = part(p, name);
        fs::create_dir(&part.root)?;
        fs::create_dir(&part.disk)?;
        (named(name)?.setup)(&part)?;
    }
    // An act leaves its descriptors open.
    let mut limits = [0_u64; 2];
    call!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, 0, &mut limits)?;
    let [_, hard] = limits;
    call!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, &[hard, hard], 0)?;
    Ok(())
}

fn act(p: &Place, harmless: &str, rare: &str) -> io::Result<Details> {
    let (often, place) = (named(harmless)?.act, part(p, harmless));
    for _ in 0..REPETITIONS {
        often(&place)?;
    }
    (named(rare)?.act)(&part(p, rare))
}

/// The second, once, behind the first.
macro_rules! behind {
    ($name:literal, $aim:expr, $harmless:literal, $rare:literal) => {
        op(
            $name,
            $aim,
            |p| set_up(p, $harmless, $rare),
            |p| act(p, $harmless, $rare),
        )
    };
}

/// Under this many bytes of locked memory.
const SOME_LOCKS: u64 = 65536;

fn map_locked(length: usize) -> io::Result<Details> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_LOCKED;
    let address = sys::map(0, length, libc::PROT_READ, flags, -1)?;
    call!(SYS_munmap, address, length).and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op(
        "write-new-page",
        &[],
        |p| p.file("f", 0o666, 0, 0),
        |p| {
            // Accounting asks on every page (`cap_vm_enough_memory`, security/commoncap.c, Linux 6.18).
            sys::write(
                sys::open(&p.at("f"), libc::O_WRONLY | libc::O_APPEND)?,
                &[0; 4096],
            )
            .and_then(|_| done())
        },
    ),
    op("map-locked-little", &[], nothing, |_| map_locked(4096)),
    op(
        "map-locked-beyond-some",
        &[C::IPC_LOCK],
        |_| sys::limit(libc::RLIMIT_MEMLOCK, SOME_LOCKS).map(drop),
        |_| map_locked(4 << 16),
    ),
    op(
        "listxattr-user",
        &[],
        |p| {
            p.file("f", 0o644, 0, 0)?;
            call!(SYS_setxattr, &p.at("f"), c"user.a", c"b", 1, 0).map(drop)
        },
        |p| call!(SYS_listxattr, &p.at("f"), &mut [0_u8; 256], 256).and_then(|_| done()),
    ),
    behind!(
        "rare-read-of-io",
        &[C::SYS_PTRACE, C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        "proc-stat-addresses-foreign",
        "proc-io-foreign"
    ),
    behind!(
        "rare-write-of-sysctl",
        &[C::SYS_ADMIN],
        "write-new-page",
        "sysctl-log-restrict"
    ),
    behind!(
        "rare-map-beyond-limit",
        &[C::IPC_LOCK],
        "map-locked-little",
        "map-locked-beyond-some"
    ),
    behind!(
        "rare-listxattr-trusted",
        &[C::SYS_ADMIN],
        "listxattr-user",
        "listxattr-trusted"
    ),
    behind!(
        "rare-utimes-given",
        &[C::FOWNER],
        "utimes-foreign-now-writable",
        "utimes-foreign-given"
    ),
    behind!(
        "rare-congestion-restricted",
        &[C::NET_ADMIN],
        "option-tcp-congestion-allowed",
        "option-tcp-congestion-restricted"
    )
    .net(),
    // Both about the same connection.
    op(
        "rare-diag-kill",
        &[C::NET_ADMIN],
        |p| (named("diag-kill-connection")?.setup)(p),
        |p| {
            let often = named("diag-connection")?.act;
            for _ in 0..REPETITIONS {
                often(p)?;
            }
            (named("diag-kill-connection")?.act)(p)
        },
    )
    .net(),
    behind!(
        "rare-perf-with-kernel",
        &[C::PERFMON],
        "perf-own-user-only",
        "perf-own-with-kernel"
    ),
];
