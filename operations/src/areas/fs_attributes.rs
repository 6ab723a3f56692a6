//! Extended attributes, inode flags, quotas, notification, ioctls of file systems.

use std::{fs, io};

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, done, op, saw},
    sys::{self, call, granted_although},
};

/// A POSIX ACL (version 2): the owner's three entries, one named user, the mask.
const ACL: [u8; 44] = {
    let mut acl = [0xff_u8; 44];
    let entries: [[u8; 4]; 5] = [
        [1, 0, 6, 0],
        [2, 0, 4, 0],
        [4, 0, 4, 0],
        [0x10, 0, 4, 0],
        [0x20, 0, 4, 0],
    ];
    (acl[0], acl[1], acl[2], acl[3]) = (2, 0, 0, 0);
    let mut index = 0;
    while index < 5 {
        let at = 4 + index * 8;
        (acl[at], acl[at + 1], acl[at + 2], acl[at + 3]) = (
            entries[index][0],
            entries[index][1],
            entries[index][2],
            entries[index][3],
        );
        index += 1;
    }
    (acl[16], acl[17], acl[18], acl[19]) = (0xe9, 3, 0, 0);
    acl
};

const GETFLAGS: u64 = 0x8008_6601;
const SETFLAGS: u64 = 0x4008_6602;
const GETX: u64 = 0x801c_581f;
const SETX: u64 = 0x401c_5820;
const IMMUTABLE: u32 = 0x10;
const APPEND: u32 = 0x20;
const NODUMP: u32 = 0x40;

fn set(p: &Place, file: &str, name: &std::ffi::CStr, value: &[u8]) -> io::Result<Details> {
    call!(SYS_setxattr, &p.at(file), name, value, value.len(), 0).and_then(|_| done())
}

/// Sets a flag of an inode and takes it back, so that the file can be removed.
fn flag(path: &std::ffi::CStr, flag: u32) -> io::Result<Details> {
    let file = sys::open(path, libc::O_RDONLY)?;
    let mut flags = [0_u32; 2];
    sys::ioctl(file, GETFLAGS, &mut flags)?;
    let before = flags;
    flags[0] |= flag;
    sys::ioctl(file, SETFLAGS, &flags)?;
    sys::ioctl(file, SETFLAGS, &before)?;
    done()
}

/// `quotactl_fd` on the disk. The kernel asks before it notices that there are no quotas.
fn quota(p: &Place, command: u32, id: u32) -> io::Result<Details> {
    let disk = sys::open(&p.on_disk("."), libc::O_RDONLY)?;
    let mut room = [0_u64; 32];
    let result = call!(SYS_quotactl_fd, disk, command << 8, id, &mut room);
    granted_although(
        result,
        &[libc::ESRCH, libc::EINVAL, libc::ENOENT, libc::EBUSY],
    )
    .and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op(
        "setxattr-user-own",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| set(p, "f", c"user.a", b"x"),
    ),
    op(
        "setxattr-user-foreign",
        &[C::DAC_OVERRIDE],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| set(p, "f", c"user.a", b"x"),
    ),
    op(
        "setxattr-user-sticky-directory",
        &[C::FOWNER],
        |p| p.directory("d", 0o1777, 1001, 1001),
        |p| set(p, "d", c"user.a", b"x"),
    ),
    op(
        "setxattr-trusted",
        &[C::SYS_ADMIN],
        |p| p.file("f", 0o644, 0, 0),
        |p| set(p, "f", c"trusted.a", b"x"),
    ),
    op(
        "getxattr-trusted",
        &[C::SYS_ADMIN],
        |p| {
            p.file("f", 0o644, 0, 0)?;
            set(p, "f", c"trusted.a", b"x").map(drop)
        },
        |p| {
            call!(SYS_getxattr, &p.at("f"), c"trusted.a", &mut [0_u8; 8], 8)
                .and_then(|length| saw("length", length))
        },
    ),
    op(
        "listxattr-trusted",
        &[C::SYS_ADMIN],
        |p| {
            p.file("f", 0o644, 0, 0)?;
            set(p, "f", c"trusted.a", b"x").map(drop)
        },
        |p| {
            let mut names = [0_u8; 256];
            let length = call!(SYS_listxattr, &p.at("f"), &mut names, 256)?;
            let names = names
                .get(..usize::try_from(length).unwrap_or(0))
                .unwrap_or_default();
            saw("names", String::from_utf8_lossy(names).replace('\0', " "))
        },
    ),
    op(
        "setxattr-security-other",
        &[C::SYS_ADMIN],
        |p| p.file("f", 0o644, 0, 0),
        |p| set(p, "f", c"security.a", b"x"),
    ),
    op(
        "setxattr-security-smack",
        &[C::MAC_ADMIN],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            // Only a kernel that runs Smack asks for MAC_ADMIN (smack_inode_setxattr, security/smack/smack_lsm.c).
            fs::metadata("/sys/fs/smackfs")?;
            set(p, "f", c"security.SMACK64", b"x")
        },
    ),
    op(
        "smack-bypass-rules",
        &[C::MAC_OVERRIDE],
        |_| fs::metadata("/sys/fs/smackfs").map(drop),
        |_| sys::read_from(c"/sys/fs/smackfs/onlycap").and_then(|_| done()),
    ),
    op(
        "apparmor-load-profile",
        &[C::MAC_ADMIN],
        |_| fs::metadata("/sys/kernel/security/apparmor/.load").map(drop),
        |_| {
            let result = sys::write_to(c"/sys/kernel/security/apparmor/.load", b"not a profile");
            granted_although(result, &[libc::EPROTO, libc::EINVAL, libc::EPROTONOSUPPORT])
                .and_then(|_| done())
        },
    ),
    op(
        "setxattr-file-capability",
        &[C::SETFCAP],
        |p| p.file("f", 0o755, 0, 0),
        |p| crate::areas::exec::give(p, "f", 1 << 13, true).and_then(|()| done()),
    ),
    op(
        "removexattr-file-capability",
        &[C::SETFCAP],
        |p| {
            p.file("f", 0o755, 0, 0)?;
            crate::areas::exec::give(p, "f", 1 << 13, true)
        },
        |p| call!(SYS_removexattr, &p.at("f"), c"security.capability").and_then(|_| done()),
    ),
    op(
        "getxattr-file-capability",
        &[],
        |p| {
            p.file("f", 0o755, 0, 0)?;
            crate::areas::exec::give(p, "f", 1 << 13, true)
        },
        |p| {
            call!(
                SYS_getxattr,
                &p.at("f"),
                c"security.capability",
                &mut [0_u8; 64],
                64
            )
            .and_then(|got| saw("length", got))
        },
    ),
    op(
        "acl-own",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| set(p, "f", c"system.posix_acl_access", &ACL),
    ),
    op(
        "acl-foreign",
        &[C::FOWNER],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| set(p, "f", c"system.posix_acl_access", &ACL),
    ),
    op(
        "acl-setgid-foreign-group",
        &[C::FSETID],
        |p| p.file("f", 0o2755, 0, 1001),
        |p| {
            set(p, "f", c"system.posix_acl_access", &ACL)?;
            p.status("f")
        },
    ),
    op(
        "acl-remove-foreign",
        &[C::FOWNER],
        |p| {
            p.file("f", 0o644, 1001, 1001)?;
            set(p, "f", c"system.posix_acl_access", &ACL).map(drop)
        },
        |p| call!(SYS_removexattr, &p.at("f"), c"system.posix_acl_access").and_then(|_| done()),
    ),
    op(
        "inode-immutable",
        &[C::LINUX_IMMUTABLE],
        |p| p.file("f", 0o644, 0, 0),
        |p| flag(&p.at("f"), IMMUTABLE),
    ),
    op(
        "inode-append-only",
        &[C::LINUX_IMMUTABLE],
        |p| p.file("f", 0o644, 0, 0),
        |p| flag(&p.at("f"), APPEND),
    ),
    op(
        "inode-no-dump-own",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| flag(&p.at("f"), NODUMP),
    ),
    op(
        "inode-no-dump-foreign",
        &[C::FOWNER],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| flag(&p.at("f"), NODUMP),
    ),
    op(
        "inode-immutable-on-disk",
        &[C::LINUX_IMMUTABLE],
        |p| fs::write(p.disk.join("f"), "x"),
        |p| flag(&p.on_disk("f"), IMMUTABLE),
    ),
    op(
        "inode-project-on-disk-foreign",
        &[C::FOWNER],
        |p| {
            fs::write(p.disk.join("f"), "x")?;
            crate::operation::own(&p.on_disk("f"), 0o644, 1001, 1001)
        },
        |p| {
            let file = sys::open(&p.on_disk("f"), libc::O_RDONLY)?;
            let mut attributes = [0_u32; 7];
            sys::ioctl(file, GETX, &mut attributes)?;
            sys::ioctl(file, SETX, &attributes).and_then(|_| done())
        },
    ),
    op(
        "block-map-of-file",
        &[C::SYS_RAWIO],
        |p| fs::write(p.disk.join("f"), "x"),
        |p| {
            let file = sys::open(&p.on_disk("f"), libc::O_RDONLY)?;
            sys::ioctl(file, 1, &mut [0_i32]).and_then(|_| done())
        },
    ),
    op(
        "trim-nothing-on-disk",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |p| {
            // A range without length: the kernel asks, then finds nothing to trim.
            let result = sys::ioctl(
                sys::open(&p.on_disk("."), libc::O_RDONLY)?,
                0xc018_5879,
                &mut [0_u64; 3],
            );
            granted_although(result, &[libc::EINVAL, libc::EOPNOTSUPP]).and_then(|_| done())
        },
    ),
    op(
        "freeze-tmpfs",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |p| {
            // tmpfs cannot be frozen; ioctl_fsfreeze (fs/ioctl.c) asks first.
            let result = sys::ioctl(sys::open(&p.at("."), libc::O_RDONLY)?, 0xc004_5877, 0);
            granted_although(result, &[libc::EOPNOTSUPP]).and_then(|_| done())
        },
    ),
    op(
        "quota-read-other",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |p| quota(p, 0x80_0007, 1001),
    ),
    op(
        "quota-set",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |p| quota(p, 0x80_0008, 1001),
    ),
    op(
        "quota-xfs-read-other",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |p| quota(p, 0x5803, 1001),
    ),
    op(
        "fanotify-content",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |_| call!(SYS_fanotify_init, 4, 0).and_then(|_| done()),
    ),
    op(
        "fanotify-notify",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |_| call!(SYS_fanotify_init, 0, 0).and_then(|_| done()),
    ),
    op(
        "fanotify-by-file-id",
        &[],
        |_| Ok(()),
        |_| call!(SYS_fanotify_init, 0x200, 0).and_then(|_| done()),
    ),
    op(
        "fanotify-unlimited-queue",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |_| call!(SYS_fanotify_init, 0x210, 0).and_then(|_| done()),
    ),
    op(
        "fanotify-mark-mount",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |p| {
            let group = call!(SYS_fanotify_init, 0x200, 0)?;
            call!(
                SYS_fanotify_mark,
                group,
                1 | 0x10,
                8,
                libc::AT_FDCWD,
                &p.at(".")
            )
            .and_then(|_| done())
        },
    ),
    op(
        "fanotify-mark-inode",
        &[],
        |_| Ok(()),
        |p| {
            let group = call!(SYS_fanotify_init, 0x200, 0)?;
            call!(SYS_fanotify_mark, group, 1, 8, libc::AT_FDCWD, &p.at(".")).and_then(|_| done())
        },
    ),
    op(
        "fanotify-mark-filesystem",
        &[C::SYS_ADMIN],
        |_| Ok(()),
        |p| {
            let group = call!(SYS_fanotify_init, 0x200, 0)?;
            call!(
                SYS_fanotify_mark,
                group,
                1 | 0x100,
                8,
                libc::AT_FDCWD,
                &p.at(".")
            )
            .and_then(|_| done())
        },
    ),
    op(
        "inotify-foreign-unreadable",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| p.file("f", 0o600, 1001, 1001),
        |p| {
            let watcher = call!(SYS_inotify_init1, 0)?;
            call!(SYS_inotify_add_watch, watcher, &p.at("f"), 2).and_then(|_| done())
        },
    ),
];
