//! Owners and modes of files, and what only an owner may do.

use std::fs;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Operation, done, op, own, saw},
    sys::{self, call},
};

const HERE: i32 = libc::AT_FDCWD;
const SYS_FCHMODAT2: i64 = 452;

pub(super) const OPERATIONS: &[Operation] = &[
    op(
        "chown-own-to-other",
        &[C::CHOWN],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            call!(SYS_chown, &p.at("f"), 1001, 1001)?;
            p.status("f")
        },
    ),
    op(
        "chown-of-other",
        &[C::CHOWN],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| {
            call!(SYS_chown, &p.at("f"), 0, 0)?;
            p.status("f")
        },
    ),
    op(
        "chown-same-owner",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            call!(SYS_chown, &p.at("f"), 0, 0)?;
            p.status("f")
        },
    ),
    op(
        "chgrp-to-foreign-group",
        &[C::CHOWN],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            call!(SYS_chown, &p.at("f"), u32::MAX, 1001)?;
            p.status("f")
        },
    ),
    op(
        "chown-executable-setuid",
        &[C::CHOWN],
        |p| p.file("f", 0o6755, 0, 0),
        |p| {
            call!(SYS_chown, &p.at("f"), 1001, 1001)?;
            p.status("f")
        },
    ),
    op(
        "chown-no-change-setuid",
        &[],
        |p| p.file("f", 0o6755, 0, 0),
        |p| {
            call!(SYS_chown, &p.at("f"), u32::MAX, u32::MAX)?;
            p.status("f")
        },
    ),
    op(
        "lchown-symlink",
        &[C::CHOWN],
        |p| std::os::unix::fs::symlink("f", p.path("l")),
        |p| {
            call!(SYS_lchown, &p.at("l"), 1001, 1001)?;
            p.status("l")
        },
    ),
    op(
        "fchownat-empty-path",
        &[C::CHOWN],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            let file = sys::open(&p.at("f"), libc::O_PATH)?;
            call!(SYS_fchownat, file, c"", 1001, 1001, libc::AT_EMPTY_PATH)?;
            p.status("f")
        },
    ),
    op(
        "chmod-own",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            call!(SYS_fchmodat, HERE, &p.at("f"), 0o600)?;
            p.status("f")
        },
    ),
    op(
        "chmod-foreign",
        &[C::FOWNER],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| {
            call!(SYS_fchmodat, HERE, &p.at("f"), 0o600)?;
            p.status("f")
        },
    ),
    op(
        "fchmod-foreign",
        &[C::FOWNER],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| {
            call!(SYS_fchmod, sys::open(&p.at("f"), libc::O_RDONLY)?, 0o600)?;
            p.status("f")
        },
    ),
    op(
        "fchmodat2-foreign",
        &[C::FOWNER],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| {
            sys::syscall(
                SYS_FCHMODAT2,
                &[HERE.into(), (&p.at("f")).into(), 0o600.into(), 0.into()],
            )?;
            p.status("f")
        },
    ),
    op(
        "chmod-setuid-own",
        &[],
        |p| p.file("f", 0o755, 0, 0),
        |p| {
            call!(SYS_fchmodat, HERE, &p.at("f"), 0o4755)?;
            p.status("f")
        },
    ),
    op(
        "chmod-setgid-own-foreign-group",
        &[C::FSETID],
        |p| p.file("f", 0o755, 0, 1001),
        |p| {
            call!(SYS_fchmodat, HERE, &p.at("f"), 0o2755)?;
            p.status("f")
        },
    ),
    op(
        "chmod-setgid-directory-foreign-group",
        &[C::FSETID],
        |p| p.directory("d", 0o755, 0, 1001),
        |p| {
            call!(SYS_fchmodat, HERE, &p.at("d"), 0o2755)?;
            p.status("d")
        },
    ),
    op(
        "chmod-setgid-foreign",
        &[C::FOWNER, C::FSETID],
        |p| p.file("f", 0o755, 1001, 1001),
        |p| {
            call!(SYS_fchmodat, HERE, &p.at("f"), 0o2755)?;
            p.status("f")
        },
    ),
    op(
        "chmod-sticky-file-own",
        &[],
        |p| p.file("f", 0o755, 0, 0),
        |p| {
            call!(SYS_fchmodat, HERE, &p.at("f"), 0o1755)?;
            p.status("f")
        },
    ),
    op(
        "utimes-foreign-given",
        &[C::FOWNER],
        |p| p.file("f", 0o666, 1001, 1001),
        |p| {
            call!(SYS_utimensat, HERE, &p.at("f"), &[1_u64, 0, 1, 0], 0)?;
            done()
        },
    ),
    op(
        "utimes-foreign-now-writable",
        &[],
        |p| p.file("f", 0o666, 1001, 1001),
        |p| {
            call!(SYS_utimensat, HERE, &p.at("f"), 0, 0)?;
            done()
        },
    ),
    op(
        "utimes-foreign-now",
        &[C::FOWNER, C::DAC_OVERRIDE],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| {
            call!(SYS_utimensat, HERE, &p.at("f"), 0, 0)?;
            done()
        },
    ),
    op(
        "utimes-foreign-one-given",
        &[C::FOWNER],
        |p| p.file("f", 0o666, 1001, 1001),
        |p| {
            call!(
                SYS_utimensat,
                HERE,
                &p.at("f"),
                &[0_u64, 0x3fff_fffe, 1, 0],
                0
            )?;
            done()
        },
    ),
    op(
        "futimens-descriptor-foreign",
        &[C::FOWNER, C::DAC_OVERRIDE],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| {
            call!(
                SYS_utimensat,
                sys::open(&p.at("f"), libc::O_RDONLY)?,
                0,
                0,
                0
            )?;
            done()
        },
    ),
    op(
        "write-keeps-setuid",
        &[C::FSETID],
        |p| p.file("f", 0o6755, 0, 0),
        |p| {
            sys::write_to(&p.at("f"), b"x")?;
            p.status("f")
        },
    ),
    op(
        "write-keeps-setgid",
        &[C::FSETID],
        |p| p.file("f", 0o2755, 0, 0),
        |p| {
            sys::write_to(&p.at("f"), b"x")?;
            p.status("f")
        },
    ),
    op(
        "write-mandatory-lock-bit",
        &[],
        |p| p.file("f", 0o2744, 0, 0),
        |p| {
            sys::write_to(&p.at("f"), b"x")?;
            p.status("f")
        },
    ),
    op(
        "truncate-keeps-setuid",
        &[C::FSETID],
        |p| p.file("f", 0o6755, 0, 0),
        |p| {
            call!(SYS_truncate, &p.at("f"), 1)?;
            p.status("f")
        },
    ),
    op(
        "open-truncate-keeps-setuid",
        &[C::FSETID],
        |p| p.file("f", 0o6755, 0, 0),
        |p| {
            sys::open(&p.at("f"), libc::O_WRONLY | libc::O_TRUNC)?;
            p.status("f")
        },
    ),
    op(
        "fallocate-keeps-setuid",
        &[C::FSETID],
        |p| p.file("f", 0o6755, 0, 0),
        |p| {
            call!(
                SYS_fallocate,
                sys::open(&p.at("f"), libc::O_RDWR)?,
                0,
                0,
                8192
            )?;
            p.status("f")
        },
    ),
    op(
        "write-on-disk-keeps-setuid",
        &[C::FSETID],
        |p| {
            fs::write(p.disk.join("f"), "x")?;
            own(&p.on_disk("f"), 0o6755, 0, 0)
        },
        |p| {
            use std::os::unix::fs::MetadataExt;
            sys::write_to(&p.on_disk("f"), b"x")?;
            saw(
                "mode",
                format!("{:o}", fs::metadata(p.disk.join("f"))?.mode()),
            )
        },
    ),
    op(
        "write-drops-file-capability",
        &[],
        |p| {
            p.file("f", 0o755, 0, 0)?;
            crate::areas::exec::give(p, "f", 1 << 13, true)
        },
        |p| {
            sys::write_to(&p.at("f"), b"x")?;
            let mut value = [0_u8; 64];
            let got = call!(
                SYS_getxattr,
                &p.at("f"),
                c"security.capability",
                &mut value,
                64
            );
            saw("kept", got.is_ok())
        },
    ),
    op(
        "chown-drops-file-capability",
        &[C::CHOWN],
        |p| {
            p.file("f", 0o755, 0, 0)?;
            crate::areas::exec::give(p, "f", 1 << 13, true)
        },
        |p| {
            call!(SYS_chown, &p.at("f"), 1001, u32::MAX)?;
            let mut value = [0_u8; 64];
            let got = call!(
                SYS_getxattr,
                &p.at("f"),
                c"security.capability",
                &mut value,
                64
            );
            saw("kept", got.is_ok())
        },
    ),
    op(
        "create-setgid-in-setgid-directory",
        &[C::FSETID],
        |p| p.directory("d", 0o2777, 0, 1001),
        |p| {
            call!(
                SYS_openat,
                HERE,
                &p.at("d/f"),
                libc::O_CREAT | libc::O_WRONLY,
                0o2755
            )?;
            p.status("d/f")
        },
    ),
    op(
        "create-in-setgid-directory",
        &[],
        |p| p.directory("d", 0o2777, 0, 1001),
        |p| {
            call!(
                SYS_openat,
                HERE,
                &p.at("d/f"),
                libc::O_CREAT | libc::O_WRONLY,
                0o755
            )?;
            p.status("d/f")
        },
    ),
    op(
        "mkdir-in-setgid-directory",
        &[],
        |p| p.directory("d", 0o2777, 0, 1001),
        |p| {
            call!(SYS_mkdirat, HERE, &p.at("d/e"), 0o755)?;
            p.status("d/e")
        },
    ),
    op(
        "mknod-setgid-file-in-setgid-directory",
        &[C::FSETID],
        |p| p.directory("d", 0o2777, 0, 1001),
        |p| {
            call!(SYS_mknodat, HERE, &p.at("d/f"), libc::S_IFREG | 0o2755, 0)?;
            p.status("d/f")
        },
    ),
    op(
        "tmpfile-setgid-in-setgid-directory",
        &[C::FSETID],
        |p| p.directory("d", 0o2777, 0, 1001),
        |p| {
            let file = call!(
                SYS_openat,
                HERE,
                &p.at("d"),
                libc::O_TMPFILE | libc::O_WRONLY,
                0o2755
            )?;
            use std::os::unix::fs::MetadataExt;
            saw(
                "mode",
                format!(
                    "{:o}",
                    fs::metadata(format!("/proc/self/fd/{file}"))?.mode()
                ),
            )
        },
    ),
];
