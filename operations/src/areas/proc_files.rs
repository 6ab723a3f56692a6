//! Files below /proc/PID, of this process and of others.

use std::{fs, io};

use capaudit_core::capability::Capability as C;

use super::other_processes::{foreign, meek, mighty};
use crate::{
    operation::{Details, Operation, Place, done, nothing, op, own, saw},
    sys::{self, call, fork},
};

fn of(p: &Place, file: &str) -> io::Result<std::ffi::CString> {
    Ok(sys::text(&format!("/proc/{}/{file}", p.noted("c")?)))
}

/// Reads a file of the other's and tells how many bytes came, if that number says something.
fn read(p: &Place, file: &str) -> io::Result<Details> {
    sys::read_from(&of(p, file)?).and_then(|text| saw("any", !text.is_empty()))
}

fn write(p: &Place, file: &str, text: &[u8]) -> io::Result<Details> {
    sys::write_to(&of(p, file)?, text).and_then(|_| done())
}

fn link(p: &Place, file: &str) -> io::Result<Details> {
    call!(
        SYS_readlinkat,
        libc::AT_FDCWD,
        &of(p, file)?,
        &mut [0_u8; 256],
        256
    )
    .and_then(|_| done())
}

/// Lists a directory of the other's.
fn list(p: &Place, directory: &str) -> io::Result<Details> {
    let directory = sys::open(&of(p, directory)?, libc::O_RDONLY)?;
    let bytes = call!(SYS_getdents64, directory, &mut [0_u8; 4096], 4096)?;
    saw("more than itself and its parent", bytes > 48)
}

/// The fields of stat that are shown only to those who may trace: code and stack addresses, not zero.
fn addresses(p: &Place) -> io::Result<Details> {
    let text = String::from_utf8_lossy(&sys::read_from(&of(p, "stat")?)?).into_owned();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    // start_code and start_stack: fields 26 and 28 of proc(5), 3 being the first after the name.
    let shown = |index: usize| fields.get(index).is_some_and(|field| field.len() > 1);
    saw("addresses", format!("{} {}", shown(23), shown(25)))
}

/// An operation that reads a file of the other's, for two kinds of others.
macro_rules! reads {
    ($($name:literal $file:literal: $foreign:expr, $mighty:expr;)*) => {
        &[$(
            op(concat!("proc-", $name, "-foreign"), $foreign, foreign, |p| read(p, $file)),
            op(concat!("proc-", $name, "-root-mighty"), $mighty, mighty, |p| read(p, $file)),
        )*]
    };
}

const TRACE: &[C] = &[C::SYS_PTRACE];
/// To read what is in another's memory, PERFMON does, too, on newer kernels (mm_access, kernel/fork.c, Linux 6.18).
const LOOK: &[C] = &[C::SYS_PTRACE, C::PERFMON, C::SYS_ADMIN];
/// The same behind a file of mode 0400.
const LOOK_AT_CLOSED: &[C] = &[
    C::SYS_PTRACE,
    C::PERFMON,
    C::SYS_ADMIN,
    C::DAC_OVERRIDE,
    C::DAC_READ_SEARCH,
];

/// Files that are read.
pub(super) const READ: &[Operation] = reads! {
    "environ" "environ": LOOK_AT_CLOSED, LOOK;
    "maps" "maps": LOOK, LOOK;
    "smaps-rollup" "smaps_rollup": LOOK, LOOK;
    "io" "io": &[C::SYS_PTRACE, C::DAC_OVERRIDE, C::DAC_READ_SEARCH], TRACE;
    "auxv" "auxv": LOOK_AT_CLOSED, LOOK;
    "syscall" "syscall": &[C::SYS_PTRACE, C::DAC_OVERRIDE, C::DAC_READ_SEARCH], TRACE;
    "personality" "personality": &[C::SYS_PTRACE, C::DAC_OVERRIDE, C::DAC_READ_SEARCH], TRACE;
    "stack" "stack": &[C::SYS_ADMIN, C::SYS_PTRACE, C::DAC_OVERRIDE, C::DAC_READ_SEARCH], &[C::SYS_ADMIN, C::SYS_PTRACE];
    "mountinfo" "mountinfo": &[], &[];
    "timers" "timers": TRACE, TRACE;
    "status" "status": &[], &[];
    "cmdline" "cmdline": &[], &[];
    "limits" "limits": &[], &[];
    "cgroup" "cgroup": &[], &[];
    "uid-map" "uid_map": &[], &[];
    "oom-score" "oom_score": &[], &[];
    "timerslack" "timerslack_ns": &[C::SYS_NICE], &[C::SYS_NICE];
    "fdinfo" "fdinfo/0": TRACE, TRACE;
};

/// All others.
pub(super) const OPERATIONS: &[Operation] = &[
    op("proc-stat-addresses-foreign", TRACE, foreign, addresses),
    op("proc-stat-addresses-root-mighty", TRACE, mighty, addresses),
    op("proc-stat-addresses-root-meek", &[], meek, addresses),
    op("proc-environ-root-meek", &[], meek, |p| read(p, "environ")),
    op("proc-exe-foreign", TRACE, foreign, |p| link(p, "exe")),
    op("proc-exe-root-mighty", TRACE, mighty, |p| link(p, "exe")),
    op("proc-cwd-foreign", TRACE, foreign, |p| link(p, "cwd")),
    op("proc-root-foreign", TRACE, foreign, |p| link(p, "root")),
    op("proc-root-enter-root-mighty", TRACE, mighty, |p| {
        call!(SYS_chdir, &of(p, "root/")?).and_then(|_| done())
    }),
    op("proc-namespace-link-foreign", TRACE, foreign, |p| {
        link(p, "ns/net")
    }),
    op("proc-namespace-link-root-mighty", TRACE, mighty, |p| {
        link(p, "ns/net")
    }),
    op(
        "proc-descriptors-foreign",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        foreign,
        |p| sys::open(&of(p, "fd")?, libc::O_RDONLY).and_then(|_| done()),
    ),
    op("proc-descriptor-link-root-mighty", TRACE, mighty, |p| {
        link(p, "fd/0")
    }),
    op(
        "proc-mem-foreign",
        &[C::SYS_PTRACE, C::DAC_OVERRIDE],
        foreign,
        |p| sys::open(&of(p, "mem")?, libc::O_RDWR).and_then(|_| done()),
    ),
    op("proc-mem-root-mighty", TRACE, mighty, |p| {
        sys::open(&of(p, "mem")?, libc::O_RDWR).and_then(|_| done())
    }),
    op(
        "proc-map-files-foreign",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        foreign,
        |p| sys::open(&of(p, "map_files")?, libc::O_RDONLY).and_then(|_| done()),
    ),
    op(
        "proc-map-file-own",
        &[C::SYS_ADMIN, C::CHECKPOINT_RESTORE],
        nothing,
        |_| {
            let first = fs::read_dir("/proc/self/map_files")?
                .next()
                .ok_or_else(|| sys::errno(libc::ENOENT))??;
            sys::open(&sys::text(&first.path().to_string_lossy()), libc::O_RDONLY)
                .and_then(|_| done())
        },
    ),
    op("proc-map-file-own-link", &[], nothing, |_| {
        let first = fs::read_dir("/proc/self/map_files")?
            .next()
            .ok_or_else(|| sys::errno(libc::ENOENT))??;
        fs::read_link(first.path()).and_then(|_| done())
    }),
    op(
        "proc-clear-refs-foreign",
        &[C::DAC_OVERRIDE],
        foreign,
        |p| write(p, "clear_refs", b"1"),
    ),
    op("proc-oom-adjust-raise-own", &[], nothing, |_| {
        sys::write_to(c"/proc/self/oom_score_adj", b"500").and_then(|_| done())
    }),
    op(
        "proc-oom-adjust-lower-own",
        &[C::SYS_RESOURCE],
        nothing,
        |_| sys::write_to(c"/proc/self/oom_score_adj", b"-500").and_then(|_| done()),
    ),
    op("proc-oom-adjust-raise-and-return", &[], nothing, |_| {
        let before = sys::read_from(c"/proc/self/oom_score_adj")?;
        sys::write_to(c"/proc/self/oom_score_adj", b"500")?;
        sys::write_to(c"/proc/self/oom_score_adj", &before).and_then(|_| done())
    }),
    op(
        "proc-oom-adjust-foreign",
        &[C::DAC_OVERRIDE],
        foreign,
        |p| write(p, "oom_score_adj", b"500"),
    ),
    op(
        "proc-timerslack-set-foreign",
        &[C::SYS_NICE],
        foreign,
        |p| write(p, "timerslack_ns", b"60000"),
    ),
    op("proc-autogroup-nicer", &[C::SYS_NICE], nothing, |_| {
        // Ten changes a second, but for SYS_ADMIN (proc_sched_autogroup_set_nice, kernel/sched/autogroup.c).
        let refused = |error: &io::Error| error.raw_os_error() == Some(libc::EAGAIN);
        for _ in 0..25 {
            match sys::write_to(c"/proc/self/autogroup", b"-5") {
                Err(error) if refused(&error) => call!(SYS_nanosleep, &[0_u64, 30_000_000], 0)?,
                other => return other.and_then(|_| done()),
            };
        }
        Err(sys::errno(libc::EAGAIN))
    }),
    op(
        "proc-descriptors-list-foreign",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        foreign,
        |p| list(p, "fd"),
    ),
    op("proc-descriptors-list-root-mighty", &[], mighty, |p| {
        list(p, "fd")
    }),
    op("proc-map-files-list-root-mighty", LOOK, mighty, |p| {
        list(p, "map_files")
    }),
    op("proc-tasks-list-foreign", &[], foreign, |p| list(p, "task")),
    op(
        "proc-coredump-filter-foreign",
        &[C::DAC_OVERRIDE],
        foreign,
        |p| write(p, "coredump_filter", b"0x33"),
    ),
    op("proc-login-id-first", &[], nothing, |_| {
        sys::write_to(c"/proc/self/loginuid", b"1001").and_then(|_| done())
    }),
    op(
        "proc-login-id-change",
        &[C::AUDIT_CONTROL],
        |_| sys::write_to(c"/proc/self/loginuid", b"1001").map(drop),
        |_| sys::write_to(c"/proc/self/loginuid", b"1002").and_then(|_| done()),
    ),
    op("proc-pagemap-own", &[C::SYS_ADMIN], nothing, |_| {
        let page = Box::new([1_u8; 4096]);
        let index = page.as_ptr() as u64 / 4096;
        let file = sys::open(c"/proc/self/pagemap", libc::O_RDONLY)?;
        let mut entry = [0_u64];
        call!(SYS_pread64, file, &mut entry, 8, index * 8)?;
        saw("frame", entry[0] & 0x7f_ffff_ffff_ffff != 0)
    }),
    op(
        "proc-hidden-status-foreign",
        TRACE,
        |p| {
            foreign(p)?;
            hidden(p, c"hidepid=2,gid=1002")
        },
        |p| fs::read(p.path(&format!("m/{}/status", p.noted("c")?))).and_then(|_| done()),
    ),
    op(
        "proc-hidden-list-foreign",
        TRACE,
        |p| {
            foreign(p)?;
            hidden(p, c"hidepid=2,gid=1002")
        },
        |p| {
            let name = p.noted("c")?.to_string();
            let listed = fs::read_dir(p.path("m"))?
                .filter_map(Result::ok)
                .any(|entry| *entry.file_name() == *name);
            saw("listed", listed)
        },
    ),
    op(
        "proc-not-traceable-list",
        TRACE,
        |p| {
            foreign(p)?;
            hidden(p, c"hidepid=ptraceable")
        },
        |p| fs::metadata(p.path(&format!("m/{}", p.noted("c")?))).and_then(|_| done()),
    ),
    op(
        "proc-no-access-stat-foreign",
        TRACE,
        |p| {
            foreign(p)?;
            hidden(p, c"hidepid=1,gid=1002")
        },
        |p| fs::read(p.path(&format!("m/{}/stat", p.noted("c")?))).and_then(|_| done()),
    ),
    op("proc-own-after-not-dumpable", &[], nothing, |_| {
        sys::prctl(libc::PR_SET_DUMPABLE, [0; 4])?;
        sys::read_from(c"/proc/self/environ").and_then(|_| done())
    }),
    op("proc-child-of-own", &[], nothing, |_| {
        let child = fork::companion(|| Ok(()))?;
        sys::read_from(&sys::text(&format!("/proc/{child}/environ"))).and_then(|_| done())
    }),
];

/// A /proc mount on `m` that hides processes, also from group 0, which may see all by default.
fn hidden(p: &Place, options: &std::ffi::CStr) -> io::Result<()> {
    p.directory("m", 0o755, 0, 0)?;
    call!(SYS_mount, c"proc", &p.at("m"), c"proc", 0, options)?;
    // The mount's own mode is the kernel's.
    own(&p.at("."), 0o755, 0, 0)
}
