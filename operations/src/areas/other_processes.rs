//! What one process does to another: signals, tracing, memory, limits.
//!
//! The other process comes in four kinds: user 1001 without anything, user 1001 or 0 with everything that the set-up holds,
//! and user 0 with nothing. "With more" matters: the kernel asks only where the target's permitted set is no subset.

use std::io;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, done, op, saw},
    sys::{self, call, fork, prctl},
};

/// User 1001, no capability.
pub(super) fn foreign(p: &Place) -> io::Result<()> {
    note_memory(p)?;
    p.companion("c", || become_user(1001))
}

/// This user, no capability, and its own memory map, as after an execve.
pub(super) fn become_user(user: u32) -> io::Result<()> {
    call!(SYS_setgroups, 0, 0)?;
    call!(SYS_setresgid, user, user, user)?;
    call!(SYS_setresuid, user, user, user)?;
    prctl(libc::PR_SET_DUMPABLE, [1, 0, 0, 0])?;
    sys::capset(0, 0, 0).map(drop)
}

/// User 0 with all that the set-up holds.
pub(super) fn mighty(p: &Place) -> io::Result<()> {
    note_memory(p)?;
    p.companion("c", || Ok(()))
}

/// User 0 with nothing.
pub(super) fn meek(p: &Place) -> io::Result<()> {
    note_memory(p)?;
    p.companion("c", || sys::capset(0, 0, 0).map(drop))
}

/// Leaves the address of memory that companions have, as copies of this process.
fn note_memory(p: &Place) -> io::Result<()> {
    p.note(
        "address",
        i64::try_from(SHARED.as_ptr() as usize).unwrap_or(0),
    )
}

/// User 0 with nothing, and not dumpable.
fn closed(p: &Place) -> io::Result<()> {
    p.companion("c", || {
        prctl(libc::PR_SET_DUMPABLE, [0; 4])?;
        sys::capset(0, 0, 0).map(drop)
    })
}

fn signal(p: &Place, signal: i32) -> io::Result<Details> {
    call!(SYS_kill, p.noted("c")?, signal).and_then(|_| done())
}

fn pidfd(p: &Place) -> io::Result<i64> {
    call!(SYS_pidfd_open, p.noted("c")?, 0)
}

fn seize(p: &Place) -> io::Result<Details> {
    call!(SYS_ptrace, libc::PTRACE_SEIZE, p.noted("c")?, 0, 0).and_then(|_| done())
}

/// Reads eight bytes of the other's memory.
fn read_memory(p: &Place) -> io::Result<Details> {
    let (here, there) = ([0_u64; 1], p.noted_long("address")?);
    let (local, remote) = ([here.as_ptr() as u64, 8], [there, 8]);
    call!(
        SYS_process_vm_readv,
        p.noted("c")?,
        &local,
        1,
        &remote,
        1,
        0
    )
    .and_then(|_| done())
}

static SHARED: [u64; 1] = [7];

fn get_descriptor(p: &Place) -> io::Result<Details> {
    call!(SYS_pidfd_getfd, pidfd(p)?, 0, 0).and_then(|_| done())
}

fn compare(p: &Place) -> io::Result<Details> {
    call!(SYS_kcmp, call!(SYS_getpid)?, p.noted("c")?, 2, 0, 0).and_then(|_| done())
}

fn read_limit(p: &Place) -> io::Result<Details> {
    let mut now = [0_u64; 2];
    call!(
        SYS_prlimit64,
        p.noted("c")?,
        libc::RLIMIT_NOFILE,
        0,
        &mut now
    )
    .and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("kill-foreign", &[C::KILL], foreign, |p| {
        signal(p, libc::SIGTERM)
    }),
    op("kill-foreign-probe", &[C::KILL], foreign, |p| signal(p, 0)),
    op("kill-root-mighty", &[], mighty, |p| {
        signal(p, libc::SIGTERM)
    }),
    op("kill-root-meek", &[], meek, |p| signal(p, libc::SIGTERM)),
    op("tgkill-foreign", &[C::KILL], foreign, |p| {
        let process = p.noted("c")?;
        call!(SYS_tgkill, process, process, libc::SIGTERM).and_then(|_| done())
    }),
    op("sigqueue-foreign", &[C::KILL], foreign, |p| {
        let mut information = [0_i32; 32];
        information[2] = -1;
        call!(
            SYS_rt_sigqueueinfo,
            p.noted("c")?,
            libc::SIGTERM,
            &information
        )
        .and_then(|_| done())
    }),
    op("pidfd-signal-foreign", &[C::KILL], foreign, |p| {
        call!(SYS_pidfd_send_signal, pidfd(p)?, libc::SIGTERM, 0, 0).and_then(|_| done())
    }),
    op(
        "kill-group-with-foreign",
        &[C::KILL],
        |p| {
            p.companion("c", || {
                call!(SYS_setpgid, 0, 0)?;
                become_user(1001)
            })
        },
        |p| call!(SYS_kill, -p.noted("c")?, 0).and_then(|_| done()),
    ),
    op("signal-on-input-to-foreign", &[], foreign, |p| {
        // The signal is sent, or silently not: sigio_perm (fs/fcntl.c) compares users and asks for nothing.
        let mut pair = [0_i32; 2];
        call!(
            SYS_socketpair,
            libc::AF_UNIX,
            libc::SOCK_STREAM,
            0,
            &mut pair
        )?;
        call!(SYS_fcntl, pair[0], libc::F_SETOWN, p.noted("c")?)?;
        call!(SYS_fcntl, pair[0], libc::F_SETFL, libc::O_ASYNC).and_then(|_| done())
    }),
    op("ptrace-seize-foreign", &[C::SYS_PTRACE], foreign, seize),
    op("ptrace-seize-root-mighty", &[C::SYS_PTRACE], mighty, seize),
    op("ptrace-seize-root-meek", &[], meek, seize),
    op("ptrace-seize-not-dumpable", &[C::SYS_PTRACE], closed, seize),
    op("ptrace-attach-foreign", &[C::SYS_PTRACE], foreign, |p| {
        call!(SYS_ptrace, libc::PTRACE_ATTACH, p.noted("c")?, 0, 0).and_then(|_| done())
    }),
    op(
        "ptrace-own-child",
        &[],
        |_| Ok(()),
        |_| {
            let child = fork::companion(|| Ok(()))?;
            call!(SYS_ptrace, libc::PTRACE_SEIZE, child, 0, 0).and_then(|_| done())
        },
    ),
    op("ptrace-suspend-seccomp", &[C::SYS_ADMIN], meek, |p| {
        call!(SYS_ptrace, libc::PTRACE_SEIZE, p.noted("c")?, 0, 1 << 21).and_then(|_| done())
    }),
    op(
        "traceme-by-parent",
        &[],
        |_| Ok(()),
        |_| {
            fork::apart(|| call!(SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0).map(|_| 0))
                .and_then(|_| done())
        },
    ),
    op(
        "process-vm-read-foreign",
        &[C::SYS_PTRACE],
        foreign,
        read_memory,
    ),
    op(
        "process-vm-read-root-mighty",
        &[C::SYS_PTRACE],
        mighty,
        read_memory,
    ),
    op("process-vm-read-root-meek", &[], meek, read_memory),
    op(
        "pidfd-getfd-foreign",
        &[C::SYS_PTRACE],
        foreign,
        get_descriptor,
    ),
    op(
        "pidfd-getfd-root-mighty",
        &[C::SYS_PTRACE],
        mighty,
        get_descriptor,
    ),
    op("pidfd-getfd-root-meek", &[], meek, get_descriptor),
    op("kcmp-foreign", &[C::SYS_PTRACE], foreign, compare),
    op("kcmp-root-mighty", &[C::SYS_PTRACE], mighty, compare),
    op(
        "prlimit-read-foreign",
        &[C::SYS_RESOURCE],
        foreign,
        read_limit,
    ),
    op("prlimit-read-root-mighty", &[], mighty, read_limit),
    op("prlimit-lower-foreign", &[C::SYS_RESOURCE], foreign, |p| {
        call!(
            SYS_prlimit64,
            p.noted("c")?,
            libc::RLIMIT_NOFILE,
            &[64_u64, 64],
            0
        )
        .and_then(|_| done())
    }),
    op("robust-list-foreign", &[C::SYS_PTRACE], foreign, |p| {
        call!(
            SYS_get_robust_list,
            p.noted("c")?,
            &mut [0_u64],
            &mut [0_u64]
        )
        .and_then(|_| done())
    }),
    op("getpgid-foreign", &[], foreign, |p| {
        call!(SYS_getpgid, p.noted("c")?).and_then(|_| done())
    }),
    op(
        "process-madvise-foreign",
        &[C::SYS_PTRACE, C::SYS_NICE, C::PERFMON, C::SYS_ADMIN],
        foreign,
        advise,
    ),
    op(
        "process-madvise-root-mighty",
        &[C::SYS_PTRACE, C::SYS_NICE, C::PERFMON, C::SYS_ADMIN],
        mighty,
        advise,
    ),
    op("process-mrelease-foreign", &[], foreign, |p| {
        // Only of a process that is about to end; nothing is asked.
        let result = sys::syscall(448, &[pidfd(p)?.into(), 0.into()]);
        sys::granted_although(result, &[libc::EINVAL]).and_then(|_| done())
    }),
    op("migrate-pages-foreign", &[C::SYS_PTRACE], foreign, |p| {
        call!(SYS_migrate_pages, p.noted("c")?, 64, &[1_u64], &[1_u64]).and_then(|_| done())
    }),
    op("migrate-pages-root-mighty", &[C::SYS_PTRACE], mighty, |p| {
        call!(SYS_migrate_pages, p.noted("c")?, 64, &[1_u64], &[1_u64]).and_then(|_| done())
    }),
    op("move-pages-foreign", &[C::SYS_PTRACE], foreign, |p| {
        let page = [p.noted_long("address")? & !0xfff];
        call!(
            SYS_move_pages,
            p.noted("c")?,
            1,
            &page,
            0,
            &mut [0_i32; 1],
            2
        )
        .and_then(|_| done())
    }),
    op(
        "core-scheduling-of-foreign",
        &[C::SYS_PTRACE],
        foreign,
        |p| {
            let mut cookie = [0_u64];
            prctl(
                62,
                [
                    0,
                    p.noted("c")?.unsigned_abs().into(),
                    0,
                    cookie.as_mut_ptr() as u64,
                ],
            )
            .and_then(|_| done())
        },
    ),
    op(
        "perf-event-of-foreign",
        &[C::SYS_PTRACE, C::PERFMON, C::SYS_ADMIN],
        foreign,
        |p| crate::areas::observe::perf(1, 0, p.noted("c")?, -1, true),
    ),
    op(
        "perf-event-of-root-mighty",
        &[C::SYS_PTRACE, C::PERFMON, C::SYS_ADMIN],
        mighty,
        |p| crate::areas::observe::perf(1, 0, p.noted("c")?, -1, true),
    ),
    op("wait-for-pidfd-of-foreign", &[], foreign, |p| {
        pidfd(p).and_then(|_| saw("opened", true))
    }),
];

fn advise(p: &Place) -> io::Result<Details> {
    let range = [p.noted_long("address")? & !0xfff, 4096];
    call!(SYS_process_madvise, pidfd(p)?, &range, 1, 20, 0).and_then(|_| done())
}
