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
mod site;
pub(super) mod target;
pub(super) mod unseen;
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
    process::THREAD_PROBE,
    process::DEFAULT_QUEUE,
    files::SYSCTL,
    files::CHMOD_KEEPS_SETGID,
    files::NO_BIT_TO_LOSE,
    files::TOUCH_WRITABLE,
    identity::SETUID_TO_SELF,
    identity::CAPSET_INHERITABLE,
    identity::AUDIT_RECORD_OF_RECENT_PAM,
    network::DEVICE_MODULE,
    site::HARMLESS,
    site::HIDDEN,
    scope::REFUSED,
    files::OWNER_OR_WRITER,
    files::READ_BY_EITHER,
    files::PROBE,
    files::PLAIN_FANOTIFY,
    process::PERF_OF_ONESELF,
    process::CONTINUES,
    process::LOCKS_AGAIN,
    process::PIPE_BUFFERS,
    process::PTRACE_READ,
    process::SPLIT_FROM_SYS_ADMIN,
    identity::SECURE_BITS_OF_EVERYBODY,
    identity::AUDIT_RECORD_OF_PAM,
    identity::AUDIT_RECORD,
    network::MARK_AND_TRANSPARENT,
    network::FORCED_BUFFER,
    network::CONGESTION,
    site::BY_TABLE,
    site::UNKNOWN,
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
