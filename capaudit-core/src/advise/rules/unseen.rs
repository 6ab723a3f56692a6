//! Ways of calling the kernel on which what needs no check is not seen.

use super::own_set;
use crate::ledger::{CallRecord, CheckIdentity, SubjectRecord};

/// System calls of io_uring(7).
const IO_URING: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// What such calls may hide, each a sentence.
pub(crate) fn notes(subject: &SubjectRecord) -> Vec<String> {
    let programs = |of_check: fn(&CheckIdentity) -> bool, of_call: fn(&CallRecord) -> bool| {
        let identities = subject.checks.iter().map(|check| &check.identity);
        let by_check = identities
            .filter(|identity| of_check(identity))
            .map(|identity| &identity.requester);
        let by_call = subject
            .calls
            .iter()
            .filter(|call| of_call(call))
            .map(|call| &call.requester);
        let mut programs: Vec<&str> = by_check
            .chain(by_call)
            .filter(|requester| !requester.setup)
            .map(own_set::program)
            .collect();
        programs.sort_unstable();
        programs.dedup();
        programs.join(", ")
    };
    let told = |programs: String, how: &str| {
        (!programs.is_empty()).then(|| {
            format!(
                "{programs} {how}, of which only capability checks are seen: not what acts upon other processes, reads or sets capabilities, binds a low port or opens a socket for ping; `capaudit verify` tells"
            )
        })
    };
    [
        told(
            programs(CheckIdentity::is_compat, CallRecord::is_compat),
            "makes 32-bit system calls",
        ),
        told(
            // Each ring is made with a check, so that no call needs to tell.
            programs(|identity| identity.by_syscall(&IO_URING), |_call| false),
            "uses io_uring",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capability::Capability,
        ledger::{CheckRecord, Container},
    };

    #[test]
    fn what_is_not_seen_is_told_of_who_calls_like_that() {
        let noted = |syscall: &str, setup| {
            let mut check =
                CheckRecord::new(CheckIdentity::usual(Capability::IPC_LOCK, Some(syscall)));
            check.identity.requester.setup = setup;
            let mut subject = SubjectRecord::new(Container::default());
            subject.checks.push(check);
            notes(&subject)
        };
        let of_compat = noted(&CheckIdentity::compat(185), false);
        assert!(of_compat[0].starts_with("/bin/x makes 32-bit system calls"));
        assert!(noted("io_uring_setup", false)[0].starts_with("/bin/x uses io_uring"));
        assert_eq!(noted("io_uring_setup", true).len(), 0);
        assert_eq!(noted("openat", false).len(), 0);
    }
}
