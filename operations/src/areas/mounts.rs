//! Mounts, roots, swap and accounting.

use std::{ffi::CStr, fs, io};

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, done, nothing, op, saw},
    sys::{self, call, granted_although},
};

const HERE: i32 = libc::AT_FDCWD;

fn mount(p: &Place, kind: &CStr, data: &CStr) -> io::Result<Details> {
    fs::metadata(p.path("m"))?;
    call!(SYS_mount, c"none", &p.at("m"), kind, 0, data).and_then(|_| done())
}

fn point(p: &Place) -> io::Result<()> {
    p.directory("m", 0o755, 0, 0)
}

/// A second tmpfs on `m`.
fn mounted(p: &Place) -> io::Result<()> {
    point(p)?;
    mount(p, c"tmpfs", c"").map(drop)
}

fn bound(p: &Place, flags: u64) -> io::Result<Details> {
    call!(SYS_mount, &p.at("."), &p.at("m"), 0, flags, 0).and_then(|_| done())
}

fn overlay(p: &Place) -> io::Result<()> {
    for name in ["l", "u", "w", "m"] {
        p.directory(name, 0o755, 0, 0)?;
    }
    p.file("l/f", 0o666, 1001, 1001)?;
    p.file("l/g", 0o644, 0, 0)
}

fn overlay_mount(p: &Place) -> io::Result<Details> {
    let of = |name: &str| p.path(name).display().to_string();
    let data = sys::text(&format!(
        "lowerdir={},upperdir={},workdir={}",
        of("l"),
        of("u"),
        of("w")
    ));
    mount(p, c"overlay", &data)
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("mount-tmpfs", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"tmpfs", c"")
    }),
    op("mount-proc", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"proc", c"")
    }),
    op("mount-sysfs", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"sysfs", c"")
    }),
    op("mount-devpts", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"devpts", c"newinstance")
    }),
    op("mount-mqueue", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"mqueue", c"")
    })
    .ipc(),
    op("mount-ramfs", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"ramfs", c"")
    }),
    op("mount-cgroup2", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"cgroup2", c"")
    }),
    op("mount-securityfs", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"securityfs", c"")
    }),
    op("mount-bpf", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"bpf", c"")
    }),
    op("mount-debugfs", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"debugfs", c"")
    }),
    op("mount-hugetlbfs", &[C::SYS_ADMIN], point, |p| {
        mount(p, c"hugetlbfs", c"")
    }),
    op("mount-fuse", &[C::SYS_ADMIN], point, |p| {
        let device = sys::open(c"/dev/fuse", libc::O_RDWR)?;
        let data = sys::text(&format!("fd={device},rootmode=40000,user_id=0,group_id=0"));
        mount(p, c"fuse", &data)
    }),
    op("mount-bind", &[C::SYS_ADMIN], point, |p| {
        bound(p, libc::MS_BIND)
    }),
    op("mount-bind-recursive", &[C::SYS_ADMIN], point, |p| {
        bound(p, libc::MS_BIND | libc::MS_REC)
    }),
    op(
        "mount-move",
        &[C::SYS_ADMIN],
        |p| {
            mounted(p)?;
            p.directory("to", 0o755, 0, 0)
        },
        |p| call!(SYS_mount, &p.at("m"), &p.at("to"), 0, libc::MS_MOVE, 0).and_then(|_| done()),
    ),
    op("remount-read-only", &[C::SYS_ADMIN], mounted, |p| {
        call!(
            SYS_mount,
            0,
            &p.at("m"),
            0,
            libc::MS_REMOUNT | libc::MS_RDONLY,
            0
        )
        .and_then(|_| done())
    }),
    op("remount-bind-read-only", &[C::SYS_ADMIN], mounted, |p| {
        call!(
            SYS_mount,
            0,
            &p.at("m"),
            0,
            libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY,
            0
        )
        .and_then(|_| done())
    }),
    op("mount-propagation", &[C::SYS_ADMIN], mounted, |p| {
        call!(SYS_mount, 0, &p.at("m"), 0, libc::MS_SHARED, 0).and_then(|_| done())
    }),
    op("umount", &[C::SYS_ADMIN], mounted, |p| {
        call!(SYS_umount2, &p.at("m"), 0).and_then(|_| done())
    }),
    op("umount-detach", &[C::SYS_ADMIN], mounted, |p| {
        call!(SYS_umount2, &p.at("m"), 2).and_then(|_| done())
    }),
    op("umount-force", &[C::SYS_ADMIN], mounted, |p| {
        call!(SYS_umount2, &p.at("m"), 1).and_then(|_| done())
    }),
    // The mounter makes and opens a work directory of mode 0 (ovl_workdir_create, fs/overlayfs/super.c).
    op(
        "mount-overlay",
        &[C::SYS_ADMIN, C::DAC_OVERRIDE],
        overlay,
        overlay_mount,
    ),
    op(
        "overlay-own-copy-up",
        &[C::SYS_ADMIN, C::CHOWN, C::DAC_OVERRIDE],
        overlay,
        |p| {
            overlay_mount(p)?;
            sys::write_to(&p.at("m/f"), b"x")?;
            p.status("u/f")
        },
    ),
    op(
        "overlay-of-engine-copy-up",
        &[],
        |p| {
            overlay(p)?;
            overlay_mount(p).map(drop)
        },
        |p| {
            sys::write_to(&p.at("m/f"), b"x")?;
            p.status("u/f")
        },
    ),
    op(
        "overlay-of-engine-remove",
        &[],
        |p| {
            overlay(p)?;
            overlay_mount(p).map(drop)
        },
        |p| call!(SYS_unlinkat, HERE, &p.at("m/g"), 0).and_then(|_| done()),
    ),
    op(
        "overlay-own-remove",
        &[C::SYS_ADMIN, C::DAC_OVERRIDE],
        overlay,
        |p| {
            overlay_mount(p)?;
            call!(SYS_unlinkat, HERE, &p.at("m/g"), 0)?;
            done()
        },
    ),
    op("fsopen", &[C::SYS_ADMIN], nothing, |_| {
        call!(SYS_fsopen, c"tmpfs", 0).and_then(|_| done())
    }),
    op("fsmount", &[C::SYS_ADMIN], nothing, |_| {
        let context = call!(SYS_fsopen, c"tmpfs", 0)?;
        call!(SYS_fsconfig, context, 6, 0, 0, 0)?;
        call!(SYS_fsmount, context, 0, 0).and_then(|_| done())
    }),
    op("fspick", &[C::SYS_ADMIN], mounted, |p| {
        call!(SYS_fspick, HERE, &p.at("m"), 0).and_then(|_| done())
    }),
    op("open-tree", &[], nothing, |p| {
        call!(SYS_open_tree, HERE, &p.at("."), 0).and_then(|_| done())
    }),
    op("open-tree-clone", &[C::SYS_ADMIN], nothing, |p| {
        call!(SYS_open_tree, HERE, &p.at("."), 1).and_then(|_| done())
    }),
    op(
        "move-mount",
        &[C::SYS_ADMIN],
        |p| {
            mounted(p)?;
            p.directory("to", 0o755, 0, 0)
        },
        |p| call!(SYS_move_mount, HERE, &p.at("m"), HERE, &p.at("to"), 0).and_then(|_| done()),
    ),
    op("mount-setattr", &[C::SYS_ADMIN], mounted, |p| {
        call!(
            SYS_mount_setattr,
            HERE,
            &p.at("m"),
            0,
            &[1_u64, 0, 0, 0],
            32
        )
        .and_then(|_| done())
    }),
    op("pivot-root", &[C::SYS_ADMIN], mounted, |p| {
        fs::create_dir(p.path("m/old")).or_else(|_| fs::metadata(p.path("m/old")).map(drop))?;
        call!(SYS_pivot_root, &p.at("m"), &p.at("m/old")).and_then(|_| done())
    }),
    op("chroot", &[C::SYS_CHROOT], nothing, |p| {
        call!(SYS_chroot, &p.at(".")).and_then(|_| done())
    }),
    op("statmount", &[], nothing, |p| {
        let mut status = [0_u64; 32];
        call!(SYS_statx, HERE, &p.at("."), 0, 0x4000, &mut status)?;
        // stx_mnt_id at byte 0x90.
        let request = [24_u64, status[18], 1];
        sys::syscall(
            457,
            &[
                (&request).into(),
                (&mut [0_u64; 64]).into(),
                512.into(),
                0.into(),
            ],
        )
        .and_then(|_| done())
    }),
    op("listmount", &[], nothing, |_| {
        let request = [24_u64, u64::MAX, 0];
        sys::syscall(
            458,
            &[
                (&request).into(),
                (&mut [0_u64; 64]).into(),
                64.into(),
                0.into(),
            ],
        )
        .and_then(|_| done())
    }),
    op(
        "statmount-outside-of-root",
        &[C::SYS_ADMIN, C::SYS_CHROOT],
        |p| {
            // The mount that "/" is on; 0x4000 asks for its unique number.
            let mut status = [0_u64; 32];
            call!(SYS_statx, HERE, c"/", 0, 0x4000, &mut status)?;
            p.note("mount", i64::try_from(status[18]).unwrap_or(0))
        },
        |p| {
            let mount = p.noted_long("mount")?;
            call!(SYS_chroot, &p.at("."))?;
            let request = [24_u64, mount, 1];
            sys::syscall(
                457,
                &[
                    (&request).into(),
                    (&mut [0_u64; 64]).into(),
                    512.into(),
                    0.into(),
                ],
            )
            .and_then(|_| done())
        },
    ),
    op("mounts-seen-in-proc", &[], nothing, |_| {
        sys::read_from(c"/proc/self/mountinfo").and_then(|text| saw("any", !text.is_empty()))
    }),
    op(
        "swapon-unsuitable-file",
        &[C::SYS_ADMIN],
        |p| p.file("f", 0o600, 0, 0),
        |p| {
            let result = call!(SYS_swapon, &p.at("f"), 0);
            granted_although(result, &[libc::EINVAL]).and_then(|_| done())
        },
    ),
    op(
        "swapoff-nothing",
        &[C::SYS_ADMIN],
        |p| p.file("f", 0o644, 0, 0),
        |p| granted_although(call!(SYS_swapoff, &p.at("f")), &[libc::EINVAL]).and_then(|_| done()),
    ),
    op(
        "accounting-into-missing-file",
        &[C::SYS_PACCT],
        nothing,
        |p| {
            granted_although(call!(SYS_acct, &p.at("missing")), &[libc::ENOENT])
                .and_then(|_| done())
        },
    ),
    op("process-accounting-off", &[C::SYS_PACCT], nothing, |_| {
        call!(SYS_acct, 0).and_then(|_| done())
    }),
    op("quotactl-by-device-missing", &[], nothing, |_| {
        granted_although(
            call!(SYS_quotactl, 0x80_0001 << 8, 0, 0, 0),
            &[libc::ESRCH, libc::ENODEV],
        )
        .and_then(|_| done())
    }),
];
