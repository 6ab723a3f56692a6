//! Names in directories, links, leases, device nodes.

use std::fs;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Operation, done, op},
    sys::{self, call},
};

const HERE: i32 = libc::AT_FDCWD;

pub(super) const OPERATIONS: &[Operation] = &[
    op(
        "unlink-in-sticky-directory",
        &[C::FOWNER],
        |p| {
            p.directory("d", 0o1777, 1001, 1001)?;
            p.file("d/f", 0o644, 1001, 1001)
        },
        |p| call!(SYS_unlinkat, HERE, &p.at("d/f"), 0).and_then(|_| done()),
    ),
    op(
        "unlink-own-in-sticky-directory",
        &[],
        |p| {
            p.directory("d", 0o1777, 1001, 1001)?;
            p.file("d/f", 0o644, 0, 0)
        },
        |p| call!(SYS_unlinkat, HERE, &p.at("d/f"), 0).and_then(|_| done()),
    ),
    op(
        "rmdir-in-sticky-directory",
        &[C::FOWNER],
        |p| {
            p.directory("d", 0o1777, 1001, 1001)?;
            p.directory("d/e", 0o755, 1001, 1001)
        },
        |p| call!(SYS_unlinkat, HERE, &p.at("d/e"), libc::AT_REMOVEDIR).and_then(|_| done()),
    ),
    op(
        "rename-in-sticky-directory",
        &[C::FOWNER],
        |p| {
            p.directory("d", 0o1777, 1001, 1001)?;
            p.file("d/f", 0o644, 1001, 1001)
        },
        |p| call!(SYS_renameat, HERE, &p.at("d/f"), HERE, &p.at("d/g")).and_then(|_| done()),
    ),
    op(
        "rename-over-in-sticky-directory",
        &[C::FOWNER],
        |p| {
            p.directory("d", 0o1777, 1001, 1001)?;
            p.file("d/own", 0o644, 0, 0)?;
            p.file("d/f", 0o644, 1001, 1001)
        },
        |p| call!(SYS_renameat, HERE, &p.at("d/own"), HERE, &p.at("d/f")).and_then(|_| done()),
    ),
    op(
        "rename-whiteout",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            call!(SYS_renameat2, HERE, &p.at("f"), HERE, &p.at("g"), 4)?;
            p.status("f")
        },
    ),
    op(
        "link-foreign-protected",
        &[C::FOWNER, C::DAC_OVERRIDE],
        |p| {
            fs::read("/proc/sys/fs/protected_hardlinks")?;
            p.directory("d", 0o777, 0, 0)?;
            p.file("f", 0o600, 1001, 1001)
        },
        |p| call!(SYS_linkat, HERE, &p.at("f"), HERE, &p.at("d/g"), 0).and_then(|_| done()),
    ),
    op(
        "link-foreign-setuid-protected",
        &[C::FOWNER],
        |p| p.file("f", 0o4777, 1001, 1001),
        |p| call!(SYS_linkat, HERE, &p.at("f"), HERE, &p.at("g"), 0).and_then(|_| done()),
    ),
    // Since Linux 6.10 the opener itself may (path_init, fs/namei.c): whose credentials are still the same object.
    op(
        "linkat-empty-path-after-capset",
        &[C::DAC_READ_SEARCH],
        |p| {
            p.file("f", 0o644, 0, 0)?;
            p.directory("d", 0o777, 0, 0)
        },
        |p| {
            let file = sys::open(&p.at("f"), libc::O_RDONLY)?;
            let [effective, permitted, inheritable] = sys::capget(0)?;
            sys::capset(effective, permitted, inheritable)?;
            call!(
                SYS_linkat,
                file,
                c"",
                HERE,
                &p.at("d/g"),
                libc::AT_EMPTY_PATH
            )
            .and_then(|_| done())
        },
    ),
    op(
        "linkat-empty-path",
        &[],
        |p| {
            p.file("f", 0o644, 0, 0)?;
            p.directory("d", 0o777, 0, 0)
        },
        |p| {
            let file = sys::open(&p.at("f"), libc::O_RDONLY)?;
            call!(
                SYS_linkat,
                file,
                c"",
                HERE,
                &p.at("d/g"),
                libc::AT_EMPTY_PATH
            )
            .and_then(|_| done())
        },
    ),
    op(
        "linkat-by-proc",
        &[],
        |p| {
            p.file("f", 0o644, 0, 0)?;
            p.directory("d", 0o777, 0, 0)
        },
        |p| {
            let file = sys::open(&p.at("f"), libc::O_RDONLY)?;
            let path = sys::text(&format!("/proc/self/fd/{file}"));
            call!(
                SYS_linkat,
                HERE,
                &path,
                HERE,
                &p.at("d/g"),
                libc::AT_SYMLINK_FOLLOW
            )
            .and_then(|_| done())
        },
    ),
    op(
        "linkat-tmpfile-empty-path",
        &[],
        |p| p.directory("d", 0o777, 0, 0),
        |p| {
            let file = call!(
                SYS_openat,
                HERE,
                &p.at("d"),
                libc::O_TMPFILE | libc::O_WRONLY,
                0o644
            )?;
            call!(
                SYS_linkat,
                file,
                c"",
                HERE,
                &p.at("d/g"),
                libc::AT_EMPTY_PATH
            )
            .and_then(|_| done())
        },
    ),
    op(
        "lease-foreign",
        &[C::LEASE],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| {
            call!(
                SYS_fcntl,
                sys::open(&p.at("f"), libc::O_RDONLY)?,
                libc::F_SETLEASE,
                libc::F_RDLCK
            )
            .and_then(|_| done())
        },
    ),
    op(
        "lease-own",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            call!(
                SYS_fcntl,
                sys::open(&p.at("f"), libc::O_RDONLY)?,
                libc::F_SETLEASE,
                libc::F_RDLCK
            )
            .and_then(|_| done())
        },
    ),
    op(
        "open-noatime-foreign",
        &[C::FOWNER],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| sys::open(&p.at("f"), libc::O_RDONLY | libc::O_NOATIME).and_then(|_| done()),
    ),
    op(
        "fcntl-noatime-foreign",
        &[C::FOWNER],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| {
            let file = sys::open(&p.at("f"), libc::O_RDONLY)?;
            call!(SYS_fcntl, file, libc::F_SETFL, libc::O_NOATIME).and_then(|_| done())
        },
    ),
    op(
        "mknod-character",
        &[C::MKNOD],
        |p| p.directory("d", 0o777, 0, 0),
        |p| {
            call!(
                SYS_mknodat,
                HERE,
                &p.at("d/n"),
                libc::S_IFCHR | 0o600,
                0x103
            )
            .and_then(|_| done())
        },
    ),
    op(
        "mknod-block",
        &[C::MKNOD],
        |p| p.directory("d", 0o777, 0, 0),
        |p| {
            call!(
                SYS_mknodat,
                HERE,
                &p.at("d/n"),
                libc::S_IFBLK | 0o600,
                0x700
            )
            .and_then(|_| done())
        },
    ),
    op(
        "mknod-whiteout",
        &[],
        |p| p.directory("d", 0o777, 0, 0),
        |p| call!(SYS_mknodat, HERE, &p.at("d/n"), libc::S_IFCHR | 0o600, 0).and_then(|_| done()),
    ),
    op(
        "mknod-fifo",
        &[],
        |p| p.directory("d", 0o777, 0, 0),
        |p| call!(SYS_mknodat, HERE, &p.at("d/n"), libc::S_IFIFO | 0o600, 0).and_then(|_| done()),
    ),
];
