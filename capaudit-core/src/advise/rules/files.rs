//! Checks about files.

use super::{Definition, site};
use crate::{
    advise::{AnyOf, Meaning, Rule},
    capability::{Capability, Release},
    kernel::{asker, function_name},
    ledger::Sample,
};

const S_ISGID: u64 = 0o2000;
const S_ISGID_BIT: u32 = 0o2000;
const S_ISUID_BIT: u32 = 0o4000;
const O_ACCMODE: u64 = 3;

/// Functions that ask for both capabilities of access, one after the other: `generic_permission` (fs/namei.c), and those
/// that it may be put into.
const ACCESS: &[&str] = &[
    "generic_permission",
    "inode_permission",
    "do_inode_permission",
    "link_path_walk",
    "may_lookup",
    "lookup_inode_permission_may_exec",
];

/// chmod of a file of a foreign group asks for FSETID whatever the mode, and uses the answer to clear the
/// setgid bit (`setattr_prepare`, fs/attr.c). Without that bit in the mode there is nothing to clear; a change of owner
/// has cleared it before (`chown_common`, fs/open.c), or asked for that (`setattr_should_drop_sgid`).
pub(super) const CHMOD_KEEPS_SETGID: Definition = Definition {
    rule: Rule::ChmodKeepsSetgid,
    apply: |fact| {
        let identity = &fact.check.identity;
        if identity.is(Capability::FSETID)
            && identity.by_syscall(&["chown", "lchown", "fchown", "fchownat"])
            && site::is_only_asked_by(fact, &["setattr_prepare", "setattr_copy"])
        {
            return Some(Meaning::noise(
                "asked by a change of owner, which clears the setgid bit whatever the answer",
            ));
        }
        let mode_argument = match identity.syscall.as_deref()? {
            "chmod" | "fchmod" => 1,
            "fchmodat" | "fchmodat2" => 2,
            _ => return None,
        };
        let samples = fact.check.samples();
        (identity.is(Capability::FSETID)
            && samples.every_argument(mode_argument, |mode| mode & S_ISGID == 0))
        .then(|| {
            Meaning::noise(
                "asked by a chmod without the setgid bit, where the answer changes nothing",
            )
        })
    },
};

/// Without a set-group-ID or set-user-ID bit there is none to lose (`posix_acl_update_mode`, fs/posix_acl.c; the server of
/// a FUSE file system, fs/fuse/file.c).
pub(super) const NO_BIT_TO_LOSE: Definition = Definition {
    rule: Rule::NoBitToLose,
    apply: |fact| {
        let plain = |sample: &Sample| {
            sample
                .owner
                .is_some_and(|owner| owner.mode & (S_ISGID_BIT | S_ISUID_BIT) == 0)
        };
        (fact.check.identity.is(Capability::FSETID)
            && site::is_only_asked_by(
                fact,
                &[
                    "posix_acl_update_mode",
                    "f2fs_acl_update_mode",
                    "fuse_set_acl",
                    "fuse_create_open",
                    "fuse_do_setattr",
                    "fuse_direct_io",
                    "fuse_send_open",
                    "fuse_send_write_pages",
                ],
            )
            && fact.check.samples().every(plain))
        .then(|| Meaning::noise("the file has no set-group-ID bit that could be lost"))
    },
};

/// Setting a file's times to now takes its owner, FOWNER, or the right to write it, asked in this order (`may_setattr`,
/// fs/attr.c).
pub(super) const TOUCH_WRITABLE: Definition = Definition {
    rule: Rule::TouchWritable,
    apply: |fact| {
        (fact.check.identity.is(Capability::FOWNER)
            && site::is_only_asked_by(fact, &["may_setattr"])
            && fact.check.samples().every(may_write))
        .then(|| Meaning::noise("sets the times of a file that the program may write to now"))
    },
};

/// Whether a file's mode lets the one who asks, who does not own it, write it. Further groups are not known: where they
/// could forbid it, no.
fn may_write(sample: &Sample) -> bool {
    const GROUP: u32 = 0o020;
    const OTHERS: u32 = 0o002;
    sample.owner.is_some_and(|owner| {
        let group = owner.mode & GROUP != 0;
        group && (sample.ids.fsgid == owner.gid || owner.mode & OTHERS != 0)
    })
}

/// A hard link of another's file, and setting its times to now, take FOWNER or the right to read and write it
/// (`safe_hardlink_source`, fs/namei.c, asks for the latter first; `may_setattr`, fs/attr.c, for the former).
pub(super) const OWNER_OR_WRITER: Definition = Definition {
    rule: Rule::OwnerOrWriter,
    apply: |fact| {
        let identity = &fact.check.identity;
        let either = AnyOf::either(Capability::FOWNER, Capability::DAC_OVERRIDE);
        if identity.is(Capability::FOWNER) && site::is_only_asked_by(fact, &["may_setattr"]) {
            return Some(Meaning::decisive(
                either,
                "sets the times of another user's file to now",
            ));
        }
        let behind = identity
            .callers
            .iter()
            .map(|caller| function_name(caller))
            .skip_while(|caller| !ACCESS.contains(caller))
            .find(|caller| !ACCESS.contains(caller))?;
        let what = match behind {
            "may_linkat" | "do_linkat" | "filename_linkat" => {
                "makes a hard link of a file that another user owns"
            }
            "may_setattr" => "sets the times of another user's file to now",
            _ => return None,
        };
        identity
            .is(Capability::DAC_OVERRIDE)
            .then(|| Meaning::decisive(either, what))
    },
};

/// fanotify_init(2) asks for SYS_ADMIN, and goes on without where the group reports files by id and wants nothing
/// special; its events do not tell the process then (`fanotify_init`, fs/notify/fanotify/fanotify_user.c, since 5.13).
pub(super) const PLAIN_FANOTIFY: Definition = Definition {
    rule: Rule::PlainFanotify,
    apply: |fact| {
        /// FAN_REPORT_FID, _DIR_FID.
        const BY_ID: u64 = 0x200 | 0x400;
        /// Other classes, FAN_UNLIMITED_QUEUE and _MARKS, FAN_ENABLE_AUDIT, FAN_REPORT_PIDFD and _TID, _FD_ERROR.
        const SPECIAL: u64 = 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x100 | 0x2000;
        let plain = |sample: &Sample| {
            let flags = sample.arguments[0];
            flags & BY_ID != 0 && flags & SPECIAL == 0
        };
        (fact.check.identity.is(Capability::SYS_ADMIN)
            && fact.check.identity.by_syscall(&["fanotify_init"])
            && fact.check.samples().every(plain)
            && site::release(fact).is_none_or(|release| release >= Release(5, 13)))
        .then(|| {
            Meaning::possible(
                Capability::SYS_ADMIN,
                "asked for a group of fanotify that everybody may have: without, its events do not tell which process",
            )
        })
    },
};

/// Sysctls of a namespace ask whether the caller is to be treated as their owner (`net_ctl_permissions`,
/// net/sysctl_net.c; `pid_table_root_permissions`, kernel/pid.c). Root of the namespace's user namespace is the
/// owner anyhow, and everybody may read most of them; whether this one, the check of reading tells, after that of opening. A 32-bit program's calls have numbers, and so names, of others: open(2) is
/// called fstat(2) then. Only what such a program cannot be taken for counts.
pub(super) const SYSCTL: Definition = Definition {
    rule: Rule::Sysctl,
    apply: |fact| {
        let identity = &fact.check.identity;
        let as_owner =
            site::is_only_asked_by(fact, &["net_ctl_permissions", "pid_table_root_permissions"]);
        // These give more than the owner's rights to their holders, so only reading is free.
        let by_capability = site::is_only_asked_by(fact, &["set_permissions", "ipc_permissions"]);
        if !as_owner && !by_capability {
            return None;
        }
        const READ_BY_OTHERS: u32 = 0o004;
        let accesses = identity.called_from(&["proc_sys_call_handler"]);
        let samples = fact.check.samples();
        let flags_argument = match identity.syscall.as_deref()? {
            "open" => Some(1),
            "openat" => Some(2),
            "write" | "writev" | "pwrite64" => None,
            "read" | "readv" | "pread64" => {
                // A few are for their owner only.
                let free = |sample: &Sample| {
                    (as_owner && sample.ids.fsuid == 0)
                        || sample
                            .owner
                            .is_some_and(|owner| owner.mode & READ_BY_OTHERS != 0)
                };
                return samples.every(free).then(|| Meaning::noise(SYSCTL_REASON));
            }
            "stat" | "lstat" | "newfstatat" | "statx" | "access" | "faccessat" | "faccessat2"
                if !accesses =>
            {
                return Some(Meaning::noise(SYSCTL_REASON));
            }
            _ => return None,
        };
        let reads = flags_argument
            .is_some_and(|flags| samples.every_argument(flags, |flags| flags & O_ACCMODE == 0));
        let by_owner = || as_owner && samples.every(|sample| sample.ids.fsuid == 0);
        (reads || by_owner()).then(|| Meaning::noise(SYSCTL_REASON))
    },
};

const SYSCTL_REASON: &str =
    "asked on access to a namespace's sysctls, which root and readers are allowed anyhow";

/// Reading and searching takes DAC_READ_SEARCH or DAC_OVERRIDE, asked in this order (`generic_permission`,
/// fs/namei.c). Where the first is refused and the second granted, either would have done. Others that ask for
/// DAC_READ_SEARCH know no second: linkat(2) with an empty path (`path_init`), open_by_handle_at(2) (`may_decode_fh`).
pub(super) const READ_BY_EITHER: Definition = Definition {
    rule: Rule::ReadByEither,
    apply: |fact| {
        let identity = &fact.check.identity;
        let either = AnyOf::either(Capability::DAC_READ_SEARCH, Capability::DAC_OVERRIDE);
        if !asker(&identity.callers).is_some_and(|asker| ACCESS.contains(&function_name(asker))) {
            return None;
        }
        if identity.is(Capability::DAC_READ_SEARCH) {
            return Some(Meaning::decisive(
                either,
                "reads or searches what the file's mode forbids",
            ));
        }
        if identity.is(Capability::DAC_OVERRIDE) {
            let refused_reads = site::refusals(fact, Capability::DAC_READ_SEARCH);
            return Some(if refused_reads >= fact.check.count {
                Meaning::decisive(either, "reads or searches what the file's mode forbids")
            } else {
                Meaning::decisive(
                    identity.capability,
                    "writes or executes what the file's mode forbids",
                )
            });
        }
        None
    },
};

/// O_NOATIME is asked for as a courtesy: programs that set it open again without (open(2)); and access(2)
/// only tells.
pub(super) const PROBE: Definition = Definition {
    rule: Rule::Probe,
    apply: |fact| {
        let identity = &fact.check.identity;
        if identity.by_syscall(&["access", "faccessat", "faccessat2"]) {
            return Some(Meaning::possible(
                identity.capability,
                "asked by access(2), which changes nothing: it depends on what the program makes of the answer",
            ));
        }
        (identity.is(Capability::FOWNER)
            && identity.by_syscall(&["open", "openat", "openat2"])
            && (identity.callers.is_empty() || site::is_only_asked_by(fact, &["may_open"])))
        .then(|| {
            Meaning::possible(
                identity.capability,
                "asked for O_NOATIME on another user's file, which programs usually do without when refused",
            )
        })
    },
};
