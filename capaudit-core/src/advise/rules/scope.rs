//! Whether a check is about the subject at all, and what became of it.

use super::Definition;
use crate::{
    advise::{Meaning, Rule, object::object_text},
    ledger::{CheckIdentity, Credentials, Kind, Outcome, Place, Sample, SubjectRecord},
};

/// What a container runtime asks before it executes the program, inside the container's namespaces.
pub(super) const SETUP: Definition = Definition {
    rule: Rule::Setup,
    apply: |fact| {
        fact.check
            .identity
            .requester
            .setup
            .then(|| Meaning::noise("asked by what set the program up, before it was executed"))
    },
};

/// `cap_capable` (security/commoncap.c) looks for the capability in the credentials' own namespace only: in a
/// namespace below, its creator has all; in one above, or with credentials of one below, nothing counts.
pub(super) const OTHER_NAMESPACE: Definition = Definition {
    rule: Rule::OtherNamespace,
    apply: |fact| {
        let identity = &fact.check.identity;
        match identity.place {
            Place::Inner => Some(Meaning::noise(
                "asked in a user namespace that the program made itself, where it holds everything",
            )),
            Place::Outer => Some(Meaning::ungrantable(
                "asked in a user namespace above the program's own, where nothing it is given counts",
            )),
            Place::Own | Place::InnerOfOthers if identity.inner_credentials => {
                Some(Meaning::ungrantable(
                    "asked by a process that has moved to a user namespace of its own, and so holds nothing here",
                ))
            }
            Place::Own | Place::InnerOfOthers => None,
        }
    },
};

/// What capaudit asks itself between its fork and the command's execve, which tries the directories of PATH one by one:
/// until one succeeds, it looked for the program where that was not.
pub(super) const SEARCH: Definition = Definition {
    rule: Rule::Search,
    apply: |fact| {
        let check = fact.check;
        let identity = &check.identity;
        // Whatever is executed has a path from then on.
        let before_the_program =
            fact.subject.kind() == Kind::Command && identity.requester.exe.is_empty();
        (before_the_program && check.failed_each_time() && identity.by_syscall(&["execve"])).then(
            || {
                Meaning::noise(
                    "asked while capaudit looked for the command along PATH, where it was not",
                )
            },
        )
    },
};

/// overlayfs works on its layers with the credentials of whoever mounted it (`ovl_override_creds`,
/// fs/overlayfs/util.c), after it has checked the caller's. A container's root was mounted by its engine; an overlay
/// that the container mounted itself works with the container's own credentials.
///
/// Other borrowers use what the program has: access(2) the real ids (`access_override_creds`, fs/open.c), io_uring the
/// credentials that were registered with it (`io_assign_creds`, `io_sq_thread`), aio those of the submitter, a core dump
/// and binfmt_misc those of the process and of who registered the interpreter. A few are the kernel's own.
pub(super) const BORROWED: Definition = Definition {
    rule: Rule::Borrowed,
    apply: |fact| {
        let identity = &fact.check.identity;
        if identity.credentials != Credentials::Borrowed {
            return None;
        }
        if identity.called_from(KERNELS_OWN) {
            return Some(Meaning::noise(
                "asked of credentials that the kernel uses for a purpose of its own, not of the program's",
            ));
        }
        (below_overlayfs(identity) && !mounts_overlays(fact.subject)).then(|| {
            Meaning::noise("asked of credentials that the kernel borrowed (as overlayfs does), not of the program's")
        })
    },
};

/// Functions that work with credentials of the kernel's, of who switched accounting on, or of a server's file, in the
/// task that happens to run: callers of `prepare_kernel_cred` and `override_creds` in Linux 6.1 to 7.2.
const KERNELS_OWN: &[&str] = &[
    "acct_process",
    "slow_acct_process",
    "do_acct_process",
    "acct_write_process",
    "dns_query",
    "nfs_idmap_get_key",
    "nfs_idmap_request_key",
    "cifs_get_spnego_key",
    "id_to_sid",
    "sid_to_id",
    "_request_firmware",
    "cachefiles_begin_secure",
    "cachefiles_create_file",
    "cachefiles_look_up_object",
    "nfs_local_call_read",
    "nfs_local_call_write",
    "open_table_device",
];

/// Whether a check is overlayfs's of the one who mounted it.
pub(super) fn is_of_overlay(identity: &CheckIdentity) -> bool {
    identity.credentials == Credentials::Borrowed && below_overlayfs(identity)
}

/// Whether overlayfs asked on a layer. The caller's own rights it checks itself, by calling
/// `generic_permission` from `ovl_permission` (fs/overlayfs/inode.c); everything else it does with borrowed
/// credentials.
fn below_overlayfs(identity: &CheckIdentity) -> bool {
    let callers = &identity.callers;
    let own = callers
        .windows(2)
        .any(|pair| pair[0] == "generic_permission" && pair[1] == "ovl_permission");
    !own && callers.iter().any(|caller| caller.starts_with("ovl_"))
}

/// Whether a subject mounted an overlay, or may have: with mount(2) or fsopen(2) of that type, as their checks' samples
/// tell, of which some may be missing; or overlayfs asked for something when it did.
fn mounts_overlays(subject: &SubjectRecord) -> bool {
    subject.checks.iter().any(|check| {
        let identity = &check.identity;
        if identity.requester.setup || identity.outcome == Outcome::Denied {
            return false;
        }
        let is_overlay = |sample: &Sample| match identity.syscall.as_deref() {
            Some("mount") => sample.second.as_deref() == Some("overlay"),
            // Its name is not known where the program's memory could not be read.
            _ => sample
                .object
                .as_ref()
                .map(object_text)
                .is_none_or(|name| name == "overlay"),
        };
        let of_overlayfs = || identity.callers.iter().any(|it| it.starts_with("ovl_"));
        match identity.syscall.as_deref() {
            Some("mount" | "fsopen") => of_overlayfs() || check.samples().may_show(is_overlay),
            Some("fsconfig") => of_overlayfs(),
            _ => false,
        }
    })
}

/// A refused check: what the call did then, and whether the run went on, tells whether it mattered.
pub(super) const REFUSED: Definition = Definition {
    rule: Rule::Refused,
    apply: |fact| {
        let check = fact.check;
        if check.identity.outcome != Outcome::Denied {
            return None;
        }
        if check.failed == 0 && check.succeeded > 0 {
            return Some(Meaning::tolerated(
                "refused, and the call succeeded all the same",
            ));
        }
        match fact.session.exit_status {
            Some(0) => Some(Meaning::tolerated(
                "refused, and the run was a success all the same",
            )),
            None => Some(Meaning::tolerated(
                "refused; no exit status tells whether the program minded",
            )),
            Some(_) => Some(Meaning::possible(
                check.identity.capability,
                "refused in a run that failed: it may be why",
            )),
        }
    },
};
