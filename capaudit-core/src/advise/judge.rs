//! One fact, judged.

use crate::{
    advise::{Evidence, Verdict, rules, seccomp},
    capability::{CapSet, Capability},
    ledger::{CheckRecord, ExecRecord, Session, SubjectRecord},
};

/// A fact, in the company of those that it may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// The check.
    pub check: &'a CheckRecord,
    /// Whose it is.
    pub subject: &'a SubjectRecord,
    /// How it was recorded.
    pub session: &'a Session,
}

/// What a fact means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Never [`Verdict::Alternative`]: that is a matter of the whole set.
    pub verdict: Verdict,
    /// How sure that is.
    pub evidence: Evidence,
    /// Any one of these satisfies the need; empty unless the verdict is [`Verdict::Needed`].
    pub satisfied_by: CapSet,
    /// Why, in one sentence.
    pub reason: String,
}

impl Judgement {
    /// A need that `satisfied_by` meets: without, the system call fails.
    pub fn decisive(satisfied_by: impl Into<CapSet>, reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Needed,
            evidence: Evidence::Decisive,
            satisfied_by: satisfied_by.into(),
            reason: reason.into(),
        }
    }

    /// A need that the program may not really have.
    pub fn possible(satisfied_by: impl Into<CapSet>, reason: impl Into<String>) -> Self {
        Self {
            evidence: Evidence::Possible,
            ..Self::decisive(satisfied_by, reason)
        }
    }

    /// Makes no difference.
    pub fn noise(reason: impl Into<String>) -> Self {
        Self::without_need(Verdict::Noise, reason)
    }

    /// Was refused without consequence.
    pub fn tolerated(reason: impl Into<String>) -> Self {
        Self::without_need(Verdict::Tolerated, reason)
    }

    /// Cannot be granted.
    pub fn ungrantable(reason: impl Into<String>) -> Self {
        Self::without_need(Verdict::Ungrantable, reason)
    }

    fn without_need(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            verdict,
            evidence: Evidence::Decisive,
            satisfied_by: CapSet::EMPTY,
            reason: reason.into(),
        }
    }
}

/// Judges a check: the first rule that applies decides; where none does, the check is a need.
pub fn judge(fact: &Fact<'_>) -> Judgement {
    decide(fact)
        .map(|(_rule, judgement)| judgement)
        .unwrap_or_else(|| {
            let capability = fact.check.identity.capability;
            Judgement::decisive(capability, purpose(capability))
        })
}

/// What a call does that is refused without the capability.
fn purpose(capability: Capability) -> &'static str {
    match capability {
        Capability::CHOWN => "changes a file's owner or group",
        Capability::DAC_OVERRIDE => "uses a file in a way that its mode forbids",
        Capability::FOWNER => "changes a file that belongs to another user",
        Capability::FSETID => "keeps the setgid bit of a file of a foreign group",
        Capability::KILL => "sends a signal to another user's process",
        Capability::SETGID => "changes its groups",
        Capability::SETUID => "changes its user",
        Capability::SETPCAP => "changes capabilities beyond those it may pass on",
        Capability::NET_BIND_SERVICE => "listens on a privileged port",
        Capability::NET_ADMIN => "changes the network's configuration",
        Capability::NET_RAW => "opens a raw or packet socket",
        Capability::IPC_LOCK => "locks more memory than its limit allows",
        Capability::SYS_CHROOT => "changes its root directory",
        Capability::SYS_PTRACE => "looks into or controls another user's process",
        Capability::SYS_NICE => "raises a scheduling priority",
        Capability::SYS_RESOURCE => "goes beyond a resource limit",
        Capability::SYS_TIME => "sets the clock",
        Capability::MKNOD => "makes a device file",
        Capability::AUDIT_WRITE => "writes a record into the kernel's audit log",
        Capability::SETFCAP => "gives a file capabilities",
        _ => "does what the kernel allows only with it",
    }
}

/// Name of the rule that decides about a check; `None` if it is a need because no rule applies.
pub fn deciding_rule(fact: &Fact<'_>) -> Option<&'static str> {
    decide(fact).map(|(rule, _judgement)| rule)
}

/// The first rule that applies, by name, and what it says.
fn decide(fact: &Fact<'_>) -> Option<(&'static str, Judgement)> {
    rules::CHECK_RULES
        .iter()
        .find_map(|rule| Some((rule.name, (rule.apply)(fact)?)))
}

/// Judges the execution of a privileged file.
pub fn judge_exec(exec: &ExecRecord) -> Vec<Judgement> {
    rules::exec::needs(exec)
}

/// Judges system calls that matter without any check.
pub fn judge_calls(subject: &SubjectRecord) -> Vec<Judgement> {
    let mut needs = seccomp::needs(subject);
    needs.extend(rules::own_set::needs(subject));
    needs
}
