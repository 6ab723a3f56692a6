//! What io_uring does for a process.

use std::io;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, done, nothing, op},
    sys::{
        self, call,
        uring::{Ring, entry, register_buffer},
    },
};

const HERE: i32 = libc::AT_FDCWD;

fn submit(entry: [u64; 8]) -> io::Result<Details> {
    Ring::new(0)?.submit(entry).and_then(|_| done())
}

fn address(path: &std::ffi::CStr) -> u64 {
    path.as_ptr() as u64
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("uring-no-operation", &[], nothing, |_| {
        submit(entry(0, -1, 0, 0, 0, 0))
    }),
    op("uring-kernel-thread", &[], nothing, |_| {
        Ring::new(2).and_then(|_| done())
    }),
    op(
        "uring-setup-without-locked-memory",
        &[C::IPC_LOCK],
        |_| sys::limit(libc::RLIMIT_MEMLOCK, 0).map(drop),
        |_| Ring::new(0).and_then(|_| done()),
    ),
    op("uring-buffer-within-limit", &[], nothing, |_| {
        register_buffer(&Ring::new(0)?, 4096).and_then(|_| done())
    }),
    op(
        "uring-buffer-beyond-limit",
        &[C::IPC_LOCK],
        |_| sys::limit(libc::RLIMIT_MEMLOCK, 65536).map(drop),
        |_| register_buffer(&Ring::new(0)?, 1 << 20).and_then(|_| done()),
    ),
    op(
        "uring-open-foreign",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| p.file("f", 0o600, 1001, 1001),
        |p| {
            let path = p.at("f");
            submit(entry(18, HERE, 0, address(&path), 0, 0))
        },
    ),
    op(
        "uring-open-foreign-in-worker",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| p.file("f", 0o600, 1001, 1001),
        |p| {
            // IOSQE_ASYNC: a worker thread asks, with this process's credentials.
            let path = p.at("f");
            let mut entry = entry(18, HERE, 0, address(&path), 0, 0);
            entry[0] |= 1 << 12;
            submit(entry)
        },
    ),
    op(
        "uring-link-empty-path",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            let file = sys::open(&p.at("f"), libc::O_RDONLY)?;
            let to = p.at("g");
            // The new directory's descriptor is in the place of the length.
            submit(entry(
                39,
                file,
                address(&to),
                address(c""),
                HERE as u32,
                libc::AT_EMPTY_PATH as u32,
            ))
        },
    ),
    op(
        "uring-unlink-sticky",
        &[C::FOWNER],
        |p| {
            p.directory("d", 0o1777, 1001, 1001)?;
            p.file("d/f", 0o644, 1001, 1001)
        },
        |p| {
            let path = p.at("d/f");
            submit(entry(36, HERE, 0, address(&path), 0, 0))
        },
    ),
    op(
        "uring-make-directory-foreign",
        &[C::DAC_OVERRIDE],
        |p| p.directory("d", 0o755, 1001, 1001),
        |p| {
            let path = p.at("d/e");
            submit(entry(37, HERE, 0, address(&path), 0o755, 0))
        },
    ),
    op(
        "uring-set-attribute-trusted",
        &[C::SYS_ADMIN],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            let path = p.at("f");
            let value = *b"x";
            let mut entry = entry(42, 0, value.as_ptr() as u64, address(c"trusted.a"), 1, 0);
            entry[6] = address(&path);
            submit(entry)
        },
    ),
    op("uring-socket-raw", &[C::NET_RAW], nothing, |_| {
        submit(entry(45, libc::AF_INET, libc::SOCK_RAW as u64, 0, 1, 0))
    })
    .net(),
    op(
        "uring-bind-low-port",
        &[C::NET_BIND_SERVICE],
        nothing,
        |_| {
            let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
            let target = sys::loopback(80);
            submit(entry(56, socket, 16, target.as_ptr() as u64, 0, 0))
        },
    )
    .net(),
    op(
        "uring-write-keeps-setuid",
        &[C::FSETID],
        |p| p.file("f", 0o6755, 0, 0),
        |p| {
            let file = sys::open(&p.at("f"), libc::O_WRONLY)?;
            let byte = *b"x";
            submit(entry(23, file, 0, byte.as_ptr() as u64, 1, 0))?;
            p.status("f")
        },
    ),
    op(
        "uring-personality-kept",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| p.file("f", 0o600, 1001, 1001),
        |p| {
            // Registered credentials outlive the loss of the sets.
            let path = p.at("f");
            let ring = Ring::new(0)?;
            let personality = call!(SYS_io_uring_register, ring.descriptor, 9, 0, 0)?;
            sys::capset(0, 0, 0)?;
            let mut entry = entry(18, HERE, 0, address(&path), 0, 0);
            entry[5] = (personality as u64) << 16;
            ring.submit(entry).and_then(|_| done())
        },
    ),
];
