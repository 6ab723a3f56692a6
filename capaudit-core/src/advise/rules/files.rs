//! Checks about files.

use super::Definition;
use crate::{
    advise::{AnyOf, Fact, Meaning, Rule},
    capability::Capability,
    ledger::{Outcome, Sample},
};

const S_ISGID: u64 = 0o2000;
const O_ACCMODE: u64 = 3;

/// Functions that walk paths or open files; `capable_wrt_inode_uidgid` is called from them through
/// `generic_permission` (fs/namei.c), which may be inlined or reached through a file system's own.
const PATH_WALK: &[&str] = &[
    "generic_permission",
    "inode_permission",
    "link_path_walk",
    "may_open",
    "path_openat",
    "path_lookupat",
    "filename_lookup",
    "ovl_permission",
];

/// Opening by handle asks for DAC_READ_SEARCH alone (`may_decode_fh`, fs/fhandle.c).
const BY_HANDLE: &[&str] = &[
    "do_handle_open",
    "handle_to_path",
    "may_decode_fh",
    "vfs_open_by_handle",
];

/// File systems keep blocks and inodes for whoever has SYS_RESOURCE, and quotas spare them: asked on
/// allocations near the limit, not of what the call does (`ext4_has_free_clusters`, fs/ext4/balloc.c;
/// `ignore_hardlimit`, fs/quota/dquot.c).
pub(super) const RESERVED_BLOCKS: Definition = Definition {
    rule: Rule::ReservedBlocks,
    apply: |fact| {
        let identity = &fact.check.identity;
        (identity.is(Capability::SYS_RESOURCE)
            && identity.called_from(&[
                "ext4_has_free_clusters",
                "ext4_claim_free_clusters",
                "ext4_mb_new_blocks",
                "ext2_has_free_blocks",
                "ignore_hardlimit",
                "dquot_add_space",
                "dquot_add_inodes",
                "__dquot_alloc_space",
                "dquot_alloc_inode",
                "ubifs_budget_space",
            ]))
        .then(|| {
            Meaning::noise("only lets the program use blocks that a full disk keeps in reserve")
        })
    },
};

/// Listing attributes leaves `trusted.*` out without SYS_ADMIN (`simple_xattr_list` and
/// `xattr_handler_can_list`, fs/xattr.c, asked without audit).
pub(super) const TRUSTED_LIST: Definition = Definition {
    rule: Rule::TrustedList,
    apply: |fact| {
        let identity = &fact.check.identity;
        (identity.is(Capability::SYS_ADMIN)
            && identity.by_syscall(&["listxattr", "llistxattr", "flistxattr", "listxattrat"]))
        .then(|| Meaning::noise("only decides whether trusted.* attributes are listed"))
    },
};

/// chmod of a file of a foreign group asks for FSETID whatever the mode, and uses the answer to clear the
/// setgid bit (`setattr_prepare`, fs/attr.c). Without that bit in the mode there is nothing to clear.
pub(super) const CHMOD_KEEPS_SETGID: Definition = Definition {
    rule: Rule::ChmodKeepsSetgid,
    apply: |fact| {
        let identity = &fact.check.identity;
        let mode_argument = match identity.syscall.as_deref()? {
            "chmod" | "fchmod" => 1,
            "fchmodat" | "fchmodat2" => 2,
            _ => return None,
        };
        let samples = &fact.check.samples;
        (identity.is(Capability::FSETID)
            && !samples.is_empty()
            && samples
                .iter()
                .all(|sample| sample.arguments[mode_argument] & S_ISGID == 0))
        .then(|| {
            Meaning::noise(
                "asked by a chmod without the setgid bit, where the answer changes nothing",
            )
        })
    },
};

/// Sysctls of a namespace ask whether the caller is to be treated as their owner (`net_ctl_permissions`,
/// net/sysctl_net.c; `pid_table_root_permissions`, kernel/pid.c). Root of the namespace's user namespace is the
/// owner anyhow, and everybody may read.
pub(super) const SYSCTL: Definition = Definition {
    rule: Rule::Sysctl,
    apply: |fact| {
        let identity = &fact.check.identity;
        let as_owner = identity.called_from(&["net_ctl_permissions", "pid_table_root_permissions"]);
        // These give more than the owner's rights to their holders, so only reading is free.
        let by_capability = identity.called_from(&["set_permissions", "ipc_permissions"]);
        if !as_owner && !by_capability {
            return None;
        }
        let flags_argument = match identity.syscall.as_deref() {
            Some("open") => Some(1),
            Some("openat") => Some(2),
            Some("write" | "writev" | "pwrite64") => None,
            // Anything else only looks.
            _ => return Some(Meaning::noise(SYSCTL_REASON)),
        };
        let harmless = |sample: &Sample| {
            let reads =
                flags_argument.is_some_and(|flags| sample.arguments[flags] & O_ACCMODE == 0);
            reads || (as_owner && sample.ids.fsuid == 0)
        };
        let samples = &fact.check.samples;
        (!samples.is_empty() && samples.iter().all(harmless)).then(|| Meaning::noise(SYSCTL_REASON))
    },
};

const SYSCTL_REASON: &str =
    "asked on access to a namespace's sysctls, which root and readers are allowed anyhow";

/// Reading and searching takes DAC_READ_SEARCH or DAC_OVERRIDE, asked in this order (`generic_permission`,
/// fs/namei.c). Where the first is refused and the second granted, either would have done.
pub(super) const READ_BY_EITHER: Definition = Definition {
    rule: Rule::ReadByEither,
    apply: |fact| {
        let identity = &fact.check.identity;
        let either = AnyOf::either(Capability::DAC_READ_SEARCH, Capability::DAC_OVERRIDE);
        if !identity.called_from(PATH_WALK) || identity.called_from(BY_HANDLE) {
            return None;
        }
        if identity.is(Capability::DAC_READ_SEARCH) {
            return Some(Meaning::decisive(
                either,
                "reads or searches what the file's mode forbids",
            ));
        }
        if identity.is(Capability::DAC_OVERRIDE) {
            let only_after_refusal = refused_reads(fact) >= fact.check.count;
            return Some(if only_after_refusal {
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

/// How often DAC_READ_SEARCH was refused to the same program in the same kind of call.
fn refused_reads(fact: &Fact<'_>) -> u64 {
    let identity = &fact.check.identity;
    fact.subject
        .checks
        .iter()
        .filter(|other| {
            let other = &other.identity;
            other.is(Capability::DAC_READ_SEARCH)
                && other.outcome == Outcome::Denied
                && other.requester == identity.requester
                && other.syscall == identity.syscall
                && other.operation == identity.operation
                && other.credentials == identity.credentials
                && other.callers == identity.callers
        })
        .map(|other| other.count)
        .fold(0, u64::saturating_add)
}

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
        (identity.is(Capability::FOWNER) && identity.by_syscall(&["open", "openat", "openat2"])).then(|| {
            Meaning::possible(
                identity.capability,
                "asked for O_NOATIME on another user's file, which programs usually do without when refused",
            )
        })
    },
};
