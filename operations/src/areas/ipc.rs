//! System V objects and POSIX message queues.

use std::io;

use capaudit_core::capability::Capability as C;

use super::other_processes::become_user;
use crate::{
    operation::{Details, Operation, Place, done, nothing, op},
    sys::{self, call},
};

const CREATE: i32 = 0o1000;
const SET: i32 = 1;
const STAT: i32 = 2;

/// An object of user 1001's, which a companion makes: key 7.
fn of_other(p: &Place, make: fn() -> io::Result<i64>) -> io::Result<()> {
    p.companion("c", || {
        become_user(1001)?;
        make().map(drop)
    })
}

fn memory(p: &Place) -> io::Result<()> {
    of_other(p, || call!(SYS_shmget, 7, 4096, CREATE | 0o600))
}

fn queue(p: &Place) -> io::Result<()> {
    of_other(p, || {
        let queue = call!(SYS_msgget, 7, CREATE | 0o600)?;
        call!(SYS_msgsnd, queue, &[1_u64, 2], 8, 0)
    })
}

fn semaphores(p: &Place) -> io::Result<()> {
    of_other(p, || call!(SYS_semget, 7, 1, CREATE | 0o600))
}

/// The other's memory. To ask for its id without a mode asks for no permission.
fn shm() -> io::Result<i64> {
    call!(SYS_shmget, 7, 0, 0)
}

fn own_queue_bytes(bytes: u64) -> io::Result<Details> {
    let queue = call!(SYS_msgget, 0, CREATE | 0o600)?;
    let mut status = [0_u64; 15];
    call!(SYS_msgctl, queue, STAT, &mut status)?;
    // struct msqid64_ds: ipc64_perm of 48 bytes, three times, bytes, messages, msg_qbytes.
    status[11] = bytes;
    call!(SYS_msgctl, queue, SET, &status).and_then(|_| done())
}

fn open_queue(name: &std::ffi::CStr, flags: i32, messages: u64) -> io::Result<Details> {
    let attributes = [0_u64, messages, 8, 0, 0, 0, 0, 0];
    call!(SYS_mq_open, name, flags, 0o600, &attributes).and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("shm-attach-foreign", &[C::IPC_OWNER], memory, |_| {
        call!(SYS_shmat, shm()?, 0, 0).and_then(|_| done())
    })
    .ipc(),
    op("shm-get-foreign", &[C::IPC_OWNER], memory, |_| {
        call!(SYS_shmget, 7, 4096, 0o600).and_then(|_| done())
    })
    .ipc(),
    op("shm-status-foreign", &[C::IPC_OWNER], memory, |_| {
        call!(SYS_shmctl, shm()?, STAT, &mut [0_u64; 32]).and_then(|_| done())
    })
    .ipc(),
    op("shm-remove-foreign", &[C::SYS_ADMIN], memory, |_| {
        call!(SYS_shmctl, shm()?, 0, 0).and_then(|_| done())
    })
    .ipc(),
    op("shm-lock-foreign", &[C::IPC_LOCK], memory, |_| {
        call!(SYS_shmctl, shm()?, 11, 0).and_then(|_| done())
    })
    .ipc(),
    op("shm-lock-own", &[], nothing, |_| {
        let own = call!(SYS_shmget, 0, 4096, CREATE | 0o600)?;
        call!(SYS_shmctl, own, 11, 0).and_then(|_| done())
    })
    .ipc(),
    op(
        "shm-lock-own-no-limit-left",
        &[C::IPC_LOCK],
        |_| sys::limit(libc::RLIMIT_MEMLOCK, 0).map(drop),
        |_| {
            let own = call!(SYS_shmget, 0, 4096, CREATE | 0o600)?;
            call!(SYS_shmctl, own, 11, 0).and_then(|_| done())
        },
    )
    .ipc(),
    op("queue-receive-foreign", &[C::IPC_OWNER], queue, |_| {
        let queue = call!(SYS_msgget, 7, 0)?;
        call!(SYS_msgrcv, queue, &mut [0_u64; 2], 8, 0, 0o4000).and_then(|_| done())
    })
    .ipc(),
    op("queue-get-foreign", &[C::IPC_OWNER], queue, |_| {
        call!(SYS_msgget, 7, 0o600).and_then(|_| done())
    })
    .ipc(),
    op("queue-remove-foreign", &[C::SYS_ADMIN], queue, |_| {
        call!(SYS_msgctl, call!(SYS_msgget, 7, 0)?, 0, 0).and_then(|_| done())
    })
    .ipc(),
    op(
        "queue-bytes-beyond-limit",
        &[C::SYS_RESOURCE],
        nothing,
        |_| own_queue_bytes(1 << 20),
    )
    .ipc(),
    op("queue-bytes-less", &[], nothing, |_| own_queue_bytes(4096)).ipc(),
    op(
        "semaphore-operate-foreign",
        &[C::IPC_OWNER],
        semaphores,
        |_| {
            // sembuf: number 0, operation 1, no flags.
            call!(SYS_semop, call!(SYS_semget, 7, 0, 0)?, &[0_u16, 1, 0], 1).and_then(|_| done())
        },
    )
    .ipc(),
    op(
        "semaphore-remove-foreign",
        &[C::SYS_ADMIN],
        semaphores,
        |_| call!(SYS_semctl, call!(SYS_semget, 7, 0, 0)?, 0, 0, 0).and_then(|_| done()),
    )
    .ipc(),
    op(
        "mq-open-foreign",
        &[C::DAC_OVERRIDE],
        |p| {
            of_other(p, || {
                // Small: a user's bytes in queues are counted, and given back late.
                open_queue(c"q", libc::O_CREAT | libc::O_RDWR, 1).map(|_| 0)
            })
        },
        |_| open_queue(c"q", libc::O_RDWR, 1),
    )
    .ipc(),
    op(
        "mq-unlink-foreign",
        &[C::FOWNER],
        |p| {
            of_other(p, || {
                // Small: a user's bytes in queues are counted, and given back late.
                open_queue(c"q", libc::O_CREAT | libc::O_RDWR, 1).map(|_| 0)
            })
        },
        |_| call!(SYS_mq_unlink, c"q").and_then(|_| done()),
    )
    .ipc(),
    op("mq-own", &[], nothing, |_| {
        open_queue(c"q", libc::O_CREAT | libc::O_RDWR, 1)
    })
    .ipc(),
    op(
        "mq-messages-beyond-limit",
        &[C::SYS_RESOURCE],
        nothing,
        |_| open_queue(c"q", libc::O_CREAT | libc::O_RDWR, 1000),
    )
    .ipc(),
    op(
        "ipc-next-id",
        &[C::SYS_ADMIN, C::CHECKPOINT_RESTORE],
        nothing,
        |_| sys::write_to(c"/proc/sys/kernel/shm_next_id", b"77").and_then(|_| done()),
    )
    .ipc(),
];
