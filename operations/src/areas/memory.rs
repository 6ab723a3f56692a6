//! Locked memory, mappings, huge pages, policies, page tables.

use std::io;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, done, nothing, op},
    sys::{self, call, map, prctl},
};

const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

/// No memory may be locked from here on.
fn no_locks(_: &Place) -> io::Result<()> {
    sys::limit(libc::RLIMIT_MEMLOCK, 0).map(drop)
}

fn page() -> io::Result<usize> {
    map(0, 4096, 3, ANONYMOUS, -1)
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("mlock-beyond-limit", &[C::IPC_LOCK], no_locks, |_| {
        call!(SYS_mlock, page()?, 4096).and_then(|_| done())
    }),
    op("mlock-within-limit", &[], nothing, |_| {
        call!(SYS_mlock, page()?, 4096).and_then(|_| done())
    }),
    op("mlock2-beyond-limit", &[C::IPC_LOCK], no_locks, |_| {
        call!(SYS_mlock2, page()?, 4096, 1).and_then(|_| done())
    }),
    op("mlockall-beyond-limit", &[C::IPC_LOCK], no_locks, |_| {
        call!(SYS_mlockall, 1).and_then(|_| done())
    }),
    op(
        "mlockall-future-beyond-limit",
        &[C::IPC_LOCK],
        no_locks,
        |_| call!(SYS_mlockall, 2).and_then(|_| done()),
    ),
    op("map-locked-beyond-limit", &[C::IPC_LOCK], no_locks, |_| {
        map(0, 4096, 3, ANONYMOUS | libc::MAP_LOCKED, -1).and_then(|_| done())
    }),
    op("map-locked-within-limit", &[], nothing, |_| {
        map(0, 4096, 3, ANONYMOUS | libc::MAP_LOCKED, -1).and_then(|_| done())
    }),
    op(
        "map-grow-locked-beyond-limit",
        &[C::IPC_LOCK],
        |_| sys::limit(libc::RLIMIT_MEMLOCK, 4096).map(drop),
        |_| {
            let address = map(0, 8192, 3, ANONYMOUS, -1)?;
            call!(SYS_munmap, address + 4096, 4096)?;
            call!(SYS_mlock, address, 4096)?;
            call!(SYS_mremap, address, 4096, 8192, 1).and_then(|_| done())
        },
    ),
    op("map-page-zero", &[C::SYS_RAWIO], nothing, |_| {
        map(0, 4096, 3, ANONYMOUS | libc::MAP_FIXED, -1).and_then(|_| done())
    }),
    op("map-huge", &[], nothing, |_| {
        let result = map(0, 2 << 20, 3, ANONYMOUS | libc::MAP_HUGETLB, -1);
        result.map(drop).or_else(|error| {
            // No huge page is there; the kernel had no objection.
            if error.raw_os_error() == Some(libc::ENOMEM) {
                Ok(())
            } else {
                Err(error)
            }
        })?;
        done()
    }),
    op("shared-memory-huge", &[C::IPC_LOCK], nothing, |_| {
        sys::granted_although(
            call!(SYS_shmget, 0, 2 << 20, 0o4600 | 0o1000),
            &[libc::ENOMEM],
        )
        .and_then(|_| done())
    })
    .ipc(),
    op(
        "memfd-secret-beyond-limit",
        &[C::IPC_LOCK],
        no_locks,
        |_| {
            let secret = sys::syscall(447, &[0.into()])?;
            call!(SYS_ftruncate, secret, 4096)?;
            call!(SYS_mmap, 0, 4096, 3, libc::MAP_SHARED, secret, 0).and_then(|_| done())
        },
    ),
    op("bind-memory-move-all", &[C::SYS_NICE], nothing, |_| {
        call!(SYS_mbind, page()?, 4096, 0, 0, 0, 4).and_then(|_| done())
    }),
    op("bind-memory", &[], nothing, |_| {
        call!(SYS_mbind, page()?, 4096, 0, 0, 0, 0).and_then(|_| done())
    }),
    op("memory-policy", &[], nothing, |_| {
        call!(SYS_set_mempolicy, 0, 0, 0).and_then(|_| done())
    }),
    op("migrate-own-pages", &[], nothing, |_| {
        call!(SYS_migrate_pages, 0, 64, &[1_u64], &[1_u64]).and_then(|_| done())
    }),
    op("move-own-pages-shared", &[C::SYS_NICE], nothing, |_| {
        let pages = [page()?];
        call!(SYS_move_pages, 0, 1, &pages, &[0_i32], &mut [0_i32], 4).and_then(|_| done())
    }),
    op("soft-offline-nothing", &[C::SYS_ADMIN], nothing, |_| {
        // A range without length: madvise_behavior_valid, then nothing to do (mm/madvise.c).
        call!(SYS_madvise, page()?, 0, 101).and_then(|_| done())
    }),
    op("poison-unmapped", &[C::SYS_ADMIN], nothing, |_| {
        let address = page()?;
        call!(SYS_munmap, address, 4096)?;
        let result = call!(SYS_madvise, address, 4096, 101);
        sys::granted_although(result, &[libc::EFAULT, libc::ENOMEM]).and_then(|_| done())
    }),
    op("merge-own-pages", &[], nothing, |_| {
        prctl(67, [1, 0, 0, 0]).and_then(|_| done())
    }),
    op(
        "set-memory-layout-field",
        &[C::SYS_RESOURCE],
        nothing,
        |_| {
            // PR_SET_MM_BRK to where it is.
            let end = call!(SYS_brk, 0)?;
            prctl(libc::PR_SET_MM, [7, end as u64, 0, 0]).and_then(|_| done())
        },
    ),
    op("set-memory-map-size", &[], nothing, |_| {
        let mut size = [0_u32];
        prctl(libc::PR_SET_MM, [15, size.as_mut_ptr() as u64, 0, 0]).and_then(|_| done())
    }),
    op(
        "set-executable-file",
        &[C::SYS_RESOURCE, C::CHECKPOINT_RESTORE],
        nothing,
        |_| {
            let own = sys::open(c"/proc/self/exe", libc::O_RDONLY)?;
            let result = prctl(libc::PR_SET_MM, [13, own as u64, 0, 0]);
            sys::granted_although(result, &[libc::EBUSY]).and_then(|_| done())
        },
    ),
    op("userfault-kernel-faults", &[C::SYS_PTRACE], nothing, |_| {
        call!(SYS_userfaultfd, 0).and_then(|_| done())
    }),
    op("userfault-user-only", &[], nothing, |_| {
        call!(SYS_userfaultfd, 1).and_then(|_| done())
    }),
    op("userfault-device", &[C::DAC_OVERRIDE], nothing, |_| {
        sys::open(c"/dev/userfaultfd", libc::O_RDWR).and_then(|_| done())
    }),
    op("ldt", &[], nothing, |_| {
        call!(SYS_modify_ldt, 0, &mut [0_u8; 16], 16).and_then(|_| done())
    }),
    op(
        "drop-caches-syscall-fadvise",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        fadvise,
    ),
];

fn fadvise(p: &Place) -> io::Result<Details> {
    call!(
        SYS_fadvise64,
        sys::open(&p.at("f"), libc::O_RDONLY)?,
        0,
        0,
        4
    )
    .and_then(|_| done())
}
