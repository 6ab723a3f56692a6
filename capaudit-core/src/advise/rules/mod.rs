//! The rules, each resting on what a kernel function does with the answer, never on a program's name.

pub(super) mod capset;
pub(super) mod doubt;
pub(super) mod exec;
mod files;
mod identity;
mod network;
pub(super) mod own_set;
mod process;
pub(super) mod refusal;
mod scope;
pub(super) mod target;
pub(super) mod user_namespace;

use crate::{
    advise::{Fact, Meaning, Rule},
    capability::Capability,
    ledger::CheckIdentity,
};

/// A rule about checks.
pub(super) struct Definition {
    pub rule: Rule,
    /// What a fact means, if the rule is about such facts.
    pub apply: fn(&Fact<'_>) -> Option<Meaning>,
}

/// All rules about checks, in the order in which they are tried: first where the check counts at all, then
/// what it was for, then what became of it.
pub(super) const CHECK_RULES: &[Definition] = &[
    scope::SETUP,
    scope::OTHER_NAMESPACE,
    scope::BORROWED,
    scope::SEARCH,
    refusal::AFTER_REFUSED_MOUNT,
    process::MEMORY_RESERVE,
    process::PTRACE_STAT,
    process::EPOLL_WAKEUP,
    process::IO_URING_ACCOUNTING,
    process::THREAD_PROBE,
    files::RESERVED_BLOCKS,
    files::SYSCTL,
    files::TRUSTED_LIST,
    files::CHMOD_KEEPS_SETGID,
    identity::SETUID_TO_SELF,
    identity::CAPSET_INHERITABLE,
    network::DIAGNOSTICS,
    network::DEVICE_MODULE,
    scope::REFUSED,
    files::READ_BY_EITHER,
    files::PROBE,
    process::IO_PRIORITY,
    process::FORK_LIMIT,
    process::PTRACE_READ,
    process::SPLIT_FROM_SYS_ADMIN,
    identity::AUDIT_RECORD_OF_PAM,
    identity::AUDIT_RECORD,
    network::MARK_AND_TRANSPARENT,
    network::FORCED_BUFFER,
    network::CONGESTION,
];

impl CheckIdentity {
    /// Whether any of these functions is among those that led to the check. Static functions may have been
    /// inlined into their callers, so rules name the callers too.
    fn called_from(&self, functions: &[&str]) -> bool {
        self.callers
            .iter()
            .any(|caller| functions.contains(&caller.as_str()))
    }

    /// Whether it was made by one of these system calls.
    fn by_syscall(&self, names: &[&str]) -> bool {
        self.syscall
            .as_deref()
            .is_some_and(|name| names.contains(&name))
    }

    fn is(&self, capability: Capability) -> bool {
        self.capability == capability
    }
}

#[cfg(test)]
mod tests;
