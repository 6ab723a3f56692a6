//! Whether a check is about the subject at all, and what became of it.

use super::Definition;
use crate::{
    advise::{Meaning, Rule},
    ledger::{CheckIdentity, Credentials, Outcome, Place},
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

/// overlayfs works on its layers with the credentials of whoever mounted it (`ovl_override_creds`,
/// fs/overlayfs/util.c), after it has checked the caller's. access(2) borrows only to use the real ids
/// (`access_override_creds`, fs/open.c): those checks are the program's, unless overlayfs has borrowed again.
pub(super) const BORROWED: Definition = Definition {
    rule: Rule::Borrowed,
    apply: |fact| {
        let identity = &fact.check.identity;
        let borrowed = identity.credentials == Credentials::Borrowed
            && (!identity.by_syscall(&["access", "faccessat", "faccessat2"])
                || below_overlayfs(identity));
        borrowed.then(|| {
            Meaning::noise("asked of credentials that the kernel borrowed (as overlayfs does), not of the program's")
        })
    },
};

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
