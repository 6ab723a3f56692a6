//! Making, entering and owning namespaces.

use std::{fs, io};

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, done, nothing, op},
    sys::{self, call, fork},
};

const SYS_CLONE3: i64 = 435;

fn unshare(flags: i32) -> io::Result<Details> {
    call!(SYS_unshare, flags).and_then(|_| done())
}

/// clone3 with these flags; the child ends at once.
fn clone3(flags: i32, chosen: &[i32]) -> io::Result<Details> {
    let flags = u64::from(flags.unsigned_abs());
    let (ids, count) = if chosen.is_empty() {
        (0, 0)
    } else {
        (chosen.as_ptr() as u64, chosen.len() as u64)
    };
    let arguments = [flags, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, ids, count, 0];
    let child = sys::syscall(SYS_CLONE3, &[(&arguments).into(), 88.into()])?;
    if child == 0 {
        fork::exit(0);
    }
    fork::wait(fork::id(child))?;
    done()
}

fn clone(flags: i32) -> io::Result<Details> {
    let child = call!(SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0)?;
    if child == 0 {
        fork::exit(0);
    }
    fork::wait(fork::id(child))?;
    done()
}

/// Enters a namespace of the companion's.
fn enter(p: &Place, kind: &str) -> io::Result<Details> {
    let path = sys::text(&format!("/proc/{}/ns/{kind}", p.noted("c")?));
    call!(SYS_setns, sys::open(&path, libc::O_RDONLY)?, 0).and_then(|_| done())
}

/// A companion in new namespaces, with everything that the set-up holds.
fn elsewhere(p: &Place, flags: i32) -> io::Result<()> {
    p.companion("c", || call!(SYS_unshare, flags).map(drop))
}

/// The same with nothing: who enters need not be able to trace it.
fn elsewhere_meek(p: &Place, flags: i32) -> io::Result<()> {
    p.companion("c", || {
        call!(SYS_unshare, flags)?;
        sys::capset(0, 0, 0).map(drop)
    })
}

/// A companion of another user in a user namespace of its own.
fn inner(p: &Place, user: u32, flags: i32) -> io::Result<()> {
    p.companion("c", || {
        call!(SYS_setresgid, user, user, user)?;
        call!(SYS_setresuid, user, user, user)?;
        sys::prctl(libc::PR_SET_DUMPABLE, [1, 0, 0, 0])?;
        call!(SYS_unshare, libc::CLONE_NEWUSER | flags).map(drop)
    })
}

/// Maps users of the companion's namespace.
fn map(p: &Place, file: &str, line: &[u8]) -> io::Result<Details> {
    let path = sys::text(&format!("/proc/{}/{file}", p.noted("c")?));
    sys::write_to(&path, line).and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("unshare-mounts", &[C::SYS_ADMIN], nothing, |_| {
        unshare(libc::CLONE_NEWNS)
    }),
    op("unshare-network", &[C::SYS_ADMIN], nothing, |_| {
        unshare(libc::CLONE_NEWNET)
    }),
    op("unshare-host-name", &[C::SYS_ADMIN], nothing, |_| {
        unshare(libc::CLONE_NEWUTS)
    }),
    op("unshare-ipc", &[C::SYS_ADMIN], nothing, |_| {
        unshare(libc::CLONE_NEWIPC)
    }),
    op("unshare-processes", &[C::SYS_ADMIN], nothing, |_| {
        unshare(libc::CLONE_NEWPID)
    }),
    op("unshare-cgroup", &[C::SYS_ADMIN], nothing, |_| {
        unshare(libc::CLONE_NEWCGROUP)
    }),
    op("unshare-time", &[C::SYS_ADMIN], nothing, |_| unshare(0x80)),
    op("unshare-user", &[], nothing, |_| {
        unshare(libc::CLONE_NEWUSER)
    }),
    op("unshare-user-and-mounts", &[], nothing, |_| {
        unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
    }),
    op("unshare-files", &[], nothing, |_| {
        unshare(libc::CLONE_FILES | libc::CLONE_FS)
    }),
    op("clone-mounts", &[C::SYS_ADMIN], nothing, |_| {
        clone(libc::CLONE_NEWNS)
    }),
    op("clone-user", &[], nothing, |_| clone(libc::CLONE_NEWUSER)),
    op("clone-plain", &[], nothing, |_| clone(0)),
    op("clone3-plain", &[], nothing, |_| clone3(0, &[])),
    op("clone3-processes", &[C::SYS_ADMIN], nothing, |_| {
        clone3(libc::CLONE_NEWPID, &[])
    }),
    op("clone3-user", &[], nothing, |_| {
        clone3(libc::CLONE_NEWUSER, &[])
    }),
    op(
        "clone3-chosen-id",
        &[C::SYS_ADMIN, C::CHECKPOINT_RESTORE],
        nothing,
        |_| {
            // Far above what runs, and another one for each trial: other trials may run beside this one.
            let text = fs::read_to_string("/proc/sys/kernel/pid_max")?;
            let limit: i32 = text.trim().parse().map_err(|_| sys::errno(libc::EPROTO))?;
            let own = fork::id(call!(SYS_getpid)?);
            let mut result = clone3(0, &[limit - 1 - own % (limit / 8)]);
            for other in 1..8 {
                match &result {
                    Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                        result = clone3(0, &[limit - 1 - (own + other * 997) % (limit / 8)]);
                    }
                    _ => break,
                }
            }
            result
        },
    ),
    op("clone3-chosen-id-in-user-namespace", &[], nothing, |_| {
        clone3(libc::CLONE_NEWUSER | libc::CLONE_NEWPID, &[1])
    }),
    op(
        "setns-mounts",
        &[C::SYS_ADMIN, C::SYS_CHROOT, C::SYS_PTRACE],
        |p| elsewhere(p, libc::CLONE_NEWNS),
        |p| enter(p, "mnt"),
    ),
    op(
        "setns-network",
        &[C::SYS_ADMIN, C::SYS_PTRACE],
        |p| elsewhere(p, libc::CLONE_NEWNET),
        |p| enter(p, "net"),
    ),
    op(
        "setns-network-of-meek",
        &[C::SYS_ADMIN],
        |p| elsewhere_meek(p, libc::CLONE_NEWNET),
        |p| enter(p, "net"),
    ),
    op(
        "setns-mounts-of-meek",
        &[C::SYS_ADMIN, C::SYS_CHROOT],
        |p| elsewhere_meek(p, libc::CLONE_NEWNS),
        |p| enter(p, "mnt"),
    ),
    op(
        "setns-host-name",
        &[C::SYS_ADMIN, C::SYS_PTRACE],
        |p| elsewhere(p, libc::CLONE_NEWUTS),
        |p| enter(p, "uts"),
    ),
    op(
        "setns-ipc",
        &[C::SYS_ADMIN, C::SYS_PTRACE],
        |p| elsewhere(p, libc::CLONE_NEWIPC),
        |p| enter(p, "ipc"),
    ),
    op(
        "setns-processes",
        &[C::SYS_ADMIN, C::SYS_PTRACE],
        |p| elsewhere(p, 0),
        |p| enter(p, "pid"),
    ),
    op(
        "setns-cgroup",
        &[C::SYS_ADMIN, C::SYS_PTRACE],
        |p| elsewhere(p, libc::CLONE_NEWCGROUP),
        |p| enter(p, "cgroup"),
    ),
    op(
        "setns-pidfd-network",
        &[C::SYS_ADMIN, C::SYS_PTRACE],
        |p| elsewhere(p, libc::CLONE_NEWNET),
        |p| {
            let process = call!(SYS_pidfd_open, p.noted("c")?, 0)?;
            call!(SYS_setns, process, libc::CLONE_NEWNET).and_then(|_| done())
        },
    ),
    op(
        "setns-user-of-other",
        &[C::SYS_ADMIN, C::SYS_PTRACE],
        |p| inner(p, 1001, 0),
        |p| enter(p, "user"),
    ),
    op(
        "setns-user-of-root",
        &[],
        |p| inner(p, 0, 0),
        |p| enter(p, "user"),
    ),
    op(
        "setns-network-of-inner-user",
        &[C::SYS_ADMIN, C::SYS_PTRACE],
        |p| inner(p, 1001, libc::CLONE_NEWNET),
        |p| enter(p, "net"),
    ),
    op(
        "uid-map-of-inner-other",
        &[C::SETUID, C::SYS_ADMIN, C::DAC_OVERRIDE],
        |p| inner(p, 1001, 0),
        |p| map(p, "uid_map", b"5 1001 1\n"),
    ),
    op(
        "uid-map-of-inner-two",
        &[C::SETUID, C::SYS_ADMIN, C::DAC_OVERRIDE],
        |p| inner(p, 1001, 0),
        |p| map(p, "uid_map", b"5 1001 1\n6 1002 1\n"),
    ),
    op(
        "uid-map-of-inner-with-root",
        &[C::SETUID, C::SETFCAP, C::SYS_ADMIN, C::DAC_OVERRIDE],
        |p| inner(p, 1001, 0),
        |p| map(p, "uid_map", b"0 0 1\n"),
    ),
    op(
        "uid-map-of-inner-root-s",
        &[C::SETUID],
        |p| inner(p, 0, 0),
        |p| map(p, "uid_map", b"5 1001 1\n"),
    ),
    op(
        "gid-map-of-inner-other",
        &[C::SETGID, C::SYS_ADMIN, C::DAC_OVERRIDE],
        |p| inner(p, 1001, 0),
        |p| map(p, "gid_map", b"5 1001 1\n"),
    ),
    op(
        "setgroups-deny-of-inner",
        &[C::SYS_ADMIN, C::DAC_OVERRIDE],
        |p| inner(p, 1001, 0),
        |p| map(p, "setgroups", b"deny"),
    ),
    op("uid-map-own-root", &[C::SETFCAP], nothing, |_| {
        let user = call!(SYS_getuid)?;
        call!(SYS_unshare, libc::CLONE_NEWUSER)?;
        sys::write_to(c"/proc/self/uid_map", format!("0 {user} 1\n").as_bytes())
            .and_then(|_| done())
    }),
    op("uid-map-own-other", &[C::SETFCAP], nothing, |_| {
        let user = call!(SYS_getuid)?;
        call!(SYS_unshare, libc::CLONE_NEWUSER)?;
        sys::write_to(c"/proc/self/uid_map", format!("5 {user} 1\n").as_bytes())
            .and_then(|_| done())
    }),
    op(
        "kill-in-inner-of-other",
        &[C::KILL],
        |p| inner(p, 1001, 0),
        |p| call!(SYS_kill, p.noted("c")?, 0).and_then(|_| done()),
    ),
    op(
        "time-offset-in-namespace",
        &[C::SYS_TIME, C::SYS_ADMIN],
        nothing,
        |_| {
            call!(SYS_unshare, 0x80)?;
            sys::write_to(c"/proc/self/timens_offsets", b"monotonic 1 0\n").and_then(|_| done())
        },
    ),
    op(
        "last-process-id",
        &[C::SYS_ADMIN, C::CHECKPOINT_RESTORE],
        nothing,
        |_| {
            // In a namespace of processes of its own, where it moves nobody else's.
            fork::apart(|| {
                call!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWPID).map(|_| 0)
            })?;
            let last = sys::read_from(c"/proc/sys/kernel/ns_last_pid")?;
            sys::write_to(c"/proc/sys/kernel/ns_last_pid", &last).and_then(|_| done())
        },
    ),
    op("host-name", &[C::SYS_ADMIN], nothing, |_| {
        call!(SYS_sethostname, c"a", 1).and_then(|_| done())
    })
    .uts(),
    op("domain-name", &[C::SYS_ADMIN], nothing, |_| {
        call!(SYS_setdomainname, c"a", 1).and_then(|_| done())
    })
    .uts(),
    op("host-name-by-sysctl", &[], nothing, |_| {
        sys::write_to(c"/proc/sys/kernel/hostname", b"a\n").and_then(|_| done())
    })
    .uts(),
    op("namespace-parent", &[], nothing, |_| {
        let own = sys::open(c"/proc/self/ns/net", libc::O_RDONLY)?;
        sys::ioctl(own, 0xb701, 0).and_then(|_| done())
    }),
];
