//! What lessens a need that a rule has found, whatever the rule: the capability is recommended all the same, but one run
//! cannot tell that nothing goes without.

use super::scope;
use crate::{
    advise::{Evidence, Fact, Judgement, Meaning},
    ledger::{CheckRecord, Credentials, Outcome, Place},
};

/// The same judgement, with what casts doubt on it, and what else there is to know of where it was asked.
pub(crate) fn doubted(fact: &Fact<'_>, mut judgement: Judgement) -> Judgement {
    let Meaning::Need {
        evidence, reason, ..
    } = &mut judgement.meaning
    else {
        return judgement;
    };
    if fact.check.identity.place == Place::InnerOfOthers {
        reason.push_str(", in a user namespace that another user made");
    }
    if *evidence == Evidence::Decisive
        && let Some(doubt) = DOUBTS.iter().find_map(|doubt| doubt(fact))
    {
        *evidence = Evidence::Possible;
        reason.push_str("; ");
        reason.push_str(&doubt);
    }
    judgement
}

const DOUBTS: [fn(&Fact<'_>) -> Option<String>; 3] =
    [failed_all_the_same, of_others, of_an_overlay];

/// Granted, and no call succeeded: whatever it was for, the program did without. Only if the result of every single one
/// is known: those that are not may be successes.
fn failed_all_the_same(fact: &Fact<'_>) -> Option<String> {
    const EPERM: u32 = 1;
    const EACCES: u32 = 13;
    let check = fact.check;
    if check.identity.outcome != Outcome::Granted
        || !check.failed_each_time()
        || is_under_way(check)
    {
        return None;
    }
    Some(match check.errno {
        error @ (EPERM | EACCES) => format!(
            "granted, and the call was refused all the same ({}): another security module or another rule of the kernel's forbids it",
            name(error)
        ),
        error => format!(
            "granted, and the call failed all the same ({})",
            name(error)
        ),
    })
}

/// Whether a failure is none: the call goes on in the background, or is made again.
fn is_under_way(check: &CheckRecord) -> bool {
    /// EINTR, EAGAIN, EALREADY, EINPROGRESS, and what a signal interrupts (ERESTARTSYS and its kin, include/linux/errno.h).
    const AGAIN: [u32; 8] = [4, 11, 114, 115, 512, 513, 514, 516];
    let results = check
        .samples()
        .seen()
        .iter()
        .filter_map(|sample| sample.result);
    let errors = results.filter_map(|result| u32::try_from(result.checked_neg()?).ok());
    errors
        .chain([check.errno])
        .any(|error| AGAIN.contains(&error))
}

/// `file_ns_capable` (kernel/capability.c) asks of who opened the file or socket, and `has_ns_capability` of another
/// task: neither need be of the same subject.
fn of_others(fact: &Fact<'_>) -> Option<String> {
    (fact.check.identity.credentials == Credentials::Foreign).then(|| {
        "asked of other credentials than the caller's: those of who opened the file or socket, or of another process"
            .to_owned()
    })
}

/// The subject mounted an overlay itself, and this may be of that one or of the container's own.
fn of_an_overlay(fact: &Fact<'_>) -> Option<String> {
    scope::is_of_overlay(&fact.check.identity).then(|| {
        "asked by overlayfs of who mounted it: the program mounted an overlay itself, and this may be that one".to_owned()
    })
}

/// What people call an error.
fn name(errno: u32) -> String {
    let name = match errno {
        1 => "EPERM",
        2 => "ENOENT",
        5 => "EIO",
        12 => "ENOMEM",
        13 => "EACCES",
        16 => "EBUSY",
        17 => "EEXIST",
        19 => "ENODEV",
        22 => "EINVAL",
        28 => "ENOSPC",
        30 => "EROFS",
        38 => "ENOSYS",
        95 => "EOPNOTSUPP",
        other => return format!("error {other}"),
    };
    name.to_owned()
}
