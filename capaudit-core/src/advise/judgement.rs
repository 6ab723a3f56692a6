//! What a rule says of one fact.

use super::{Evidence, Verdict};
use crate::capability::{CapSet, Capability};

/// Every rule by which a fact is judged: those on checks, then those on what the kernel makes no check for. `rules` says what each rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A container runtime's checks before the program is executed.
    Setup,
    /// Checks in a user namespace other than the subject's own.
    OtherNamespace,
    /// Checks of credentials that the kernel borrowed.
    Borrowed,
    /// What is unmounted after a security module refused the mount.
    AfterRefusedMount,
    /// Where capaudit looked for the command.
    Search,
    /// The question that every memory mapping asks.
    MemoryReserve,
    /// Signal 0 to a thread: the subject's notes say so.
    ThreadProbe,
    /// A signal that continues a process.
    Continues,
    /// Memory that may be locked already.
    LocksAgain,
    /// A pipe beyond a user's share.
    PipeBuffers,
    /// A namespace's sysctls.
    Sysctl,
    /// chmod without a setgid bit that could be lost.
    ChmodKeepsSetgid,
    /// A change to the ids that the process has already.
    SetuidToSelf,
    /// capset(2) that adds nothing inheritable.
    CapsetInheritable,
    /// Secure bits that everybody may set.
    SecureBitsOfEverybody,
    /// Audit records of a libpam that goes on without.
    AuditRecordOfRecentPam,
    /// libpam's audit records.
    AuditRecordOfPam,
    /// A check with the outcome denied.
    Refused,
    /// Reading that either of two capabilities allows.
    ReadByEither,
    /// Calls that programs make to find out what they may do.
    Probe,
    /// Another user's process in /proc.
    PtraceRead,
    /// What was part of SYS_ADMIN once.
    SplitFromSysAdmin,
    /// Audit records that a program writes through netlink.
    AuditRecord,
    /// Socket options that NET_RAW or NET_ADMIN allows.
    MarkAndTransparent,
    /// Socket buffers beyond the system's limit.
    ForcedBuffer,
    /// TCP's congestion control.
    Congestion,
    /// A set-group-ID bit that the file does not have.
    NoBitToLose,
    /// Times of a file that everybody may write.
    TouchWritable,
    /// A hard link, or times, of a file of another user that may be written.
    OwnerOrWriter,
    /// The kernel module of an unknown network interface.
    DeviceModule,
    /// A message queue with default limits.
    DefaultQueue,
    /// A fanotify group that everybody may have.
    PlainFanotify,
    /// A performance counter of the program's own.
    PerfOfOneself,
    /// A place in the kernel where the answer makes no difference, by the table of call sites.
    Harmless,
    /// A place in the kernel where the answer decides about a detail, by the table: the subject's notes say so.
    Hidden,
    /// A place in the kernel where refusal is no failure, or another capability does as well, by the table.
    CallSite,
    /// A place in the kernel that the table of call sites does not know.
    UnknownSite,
    /// A check that no other rule is about.
    AnyCheck,
    /// The execution of a file with effective capabilities.
    FileCapabilities,
    /// A list of capabilities that a program keeps with capset(2).
    KeptByCapset,
    /// A call upon a process outside of the subject that holds more than the caller will.
    OutsideProcess,
    /// A capability made inheritable with capset(2).
    MadeInheritable,
    /// Root mapped into a user namespace that the program made itself.
    MapsRoot,
    /// A capability made ambient.
    MadeAmbient,
    /// A question about one capability of the bounding set.
    AskedOfBoundingSet,
    /// A system call that the engine's seccomp profile allows only with a capability.
    SeccompProfile,
    /// Runs of `capaudit verify` without the capability.
    Verified,
}

/// Capabilities of which any one will do: one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyOf(CapSet);

impl AnyOf {
    /// Any one of a set; `None` if the set is empty, because nothing satisfies that.
    pub fn new(set: CapSet) -> Option<Self> {
        (!set.is_empty()).then_some(Self(set))
    }

    /// Either of two capabilities.
    pub const fn either(one: Capability, other: Capability) -> Self {
        Self(CapSet::of(&[one, other]))
    }

    /// All of them; not empty.
    pub fn set(self) -> CapSet {
        self.0
    }

    /// Whether nothing but one capability will do.
    pub fn is_single(self) -> bool {
        self.0.len() == 1
    }
}

impl From<Capability> for AnyOf {
    fn from(capability: Capability) -> Self {
        Self(capability.into())
    }
}

/// What a fact means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The program needs a capability.
    Need {
        /// What satisfies the need.
        satisfied_by: AnyOf,
        /// How sure the need is.
        evidence: Evidence,
        /// Why, in one sentence.
        reason: String,
    },
    /// Refused, and the program went on.
    Tolerated {
        /// Why, in one sentence.
        reason: String,
    },
    /// Makes no difference to the program, or is not about it.
    Noise {
        /// Why, in one sentence.
        reason: String,
    },
    /// Nothing that is granted to the subject counts there.
    Ungrantable {
        /// Why, in one sentence.
        reason: String,
    },
}

impl Meaning {
    /// A need that `satisfied_by` meets: without, the system call fails.
    pub fn decisive(satisfied_by: impl Into<AnyOf>, reason: impl Into<String>) -> Self {
        Self::Need {
            satisfied_by: satisfied_by.into(),
            evidence: Evidence::Decisive,
            reason: reason.into(),
        }
    }

    /// A need that the program may not really have.
    pub fn possible(satisfied_by: impl Into<AnyOf>, reason: impl Into<String>) -> Self {
        Self::Need {
            satisfied_by: satisfied_by.into(),
            evidence: Evidence::Possible,
            reason: reason.into(),
        }
    }

    /// A fact that makes no difference to the program, or is not about it.
    pub fn noise(reason: impl Into<String>) -> Self {
        Self::Noise {
            reason: reason.into(),
        }
    }

    /// A capability that was refused, and the program went on.
    pub fn tolerated(reason: impl Into<String>) -> Self {
        Self::Tolerated {
            reason: reason.into(),
        }
    }

    /// A capability that no grant to the subject provides.
    pub fn ungrantable(reason: impl Into<String>) -> Self {
        Self::Ungrantable {
            reason: reason.into(),
        }
    }

    /// The judgement that it makes, said by a rule.
    pub fn by(self, rule: Rule) -> Judgement {
        Judgement {
            rule,
            meaning: self,
        }
    }
}

/// What a rule says of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The rule that made the judgement.
    pub rule: Rule,
    /// What the rule makes of the fact.
    pub meaning: Meaning,
}

impl Judgement {
    /// What the fact alone makes of the capability. Never [`Verdict::Alternative`], which is a matter of the whole set.
    pub fn verdict(&self) -> Verdict {
        match self.meaning {
            Meaning::Need { .. } => Verdict::Needed,
            Meaning::Tolerated { .. } => Verdict::Tolerated,
            Meaning::Noise { .. } => Verdict::Noise,
            Meaning::Ungrantable { .. } => Verdict::Ungrantable,
        }
    }

    /// How sure that is. Only a need can be in doubt.
    pub fn evidence(&self) -> Evidence {
        match self.meaning {
            Meaning::Need { evidence, .. } => evidence,
            _ => Evidence::Decisive,
        }
    }

    /// What satisfies the need; `None` if it is none.
    pub fn satisfied_by(&self) -> Option<AnyOf> {
        match self.meaning {
            Meaning::Need { satisfied_by, .. } => Some(satisfied_by),
            _ => None,
        }
    }

    /// Why, in one sentence.
    pub fn reason(&self) -> &str {
        match &self.meaning {
            Meaning::Need { reason, .. }
            | Meaning::Tolerated { reason }
            | Meaning::Noise { reason }
            | Meaning::Ungrantable { reason } => reason,
        }
    }
}

/// What is shown of a judgement. A line of `capaudit.watch/1` carries no more, so that a judgement cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// What the capability turned out to be.
    pub verdict: Verdict,
    /// How sure that is.
    pub evidence: Evidence,
    /// Why, in one sentence.
    pub reason: String,
}

impl From<Judgement> for Assessment {
    fn from(judgement: Judgement) -> Self {
        Self {
            verdict: judgement.verdict(),
            evidence: judgement.evidence(),
            reason: match judgement.meaning {
                Meaning::Need { reason, .. }
                | Meaning::Tolerated { reason }
                | Meaning::Noise { reason }
                | Meaning::Ungrantable { reason } => reason,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_need_has_what_satisfies_it_and_a_doubt() {
        let admin = Capability::SYS_ADMIN;
        for (meaning, verdict, evidence, satisfied_by) in [
            (
                Meaning::decisive(admin, "why"),
                Verdict::Needed,
                Evidence::Decisive,
                Some(AnyOf::from(admin)),
            ),
            (
                Meaning::possible(AnyOf::either(Capability::BPF, admin), "why"),
                Verdict::Needed,
                Evidence::Possible,
                Some(AnyOf::either(admin, Capability::BPF)),
            ),
            (
                Meaning::tolerated("why"),
                Verdict::Tolerated,
                Evidence::Decisive,
                None,
            ),
            (
                Meaning::noise("why"),
                Verdict::Noise,
                Evidence::Decisive,
                None,
            ),
            (
                Meaning::ungrantable("why"),
                Verdict::Ungrantable,
                Evidence::Decisive,
                None,
            ),
        ] {
            let judgement = meaning.by(Rule::AnyCheck);
            assert_eq!(judgement.rule, Rule::AnyCheck);
            assert_eq!(judgement.satisfied_by(), satisfied_by);
            let shown = Assessment {
                verdict,
                evidence,
                reason: judgement.reason().to_owned(),
            };
            assert_eq!(shown.reason, "why");
            assert_eq!(Assessment::from(judgement), shown);
        }
    }

    #[test]
    fn nothing_satisfies_an_empty_choice() {
        assert_eq!(AnyOf::new(CapSet::EMPTY), None);
        let one = AnyOf::new(Capability::KILL.into());
        assert_eq!(one, Some(Capability::KILL.into()));
        assert!(one.is_some_and(AnyOf::is_single));
        assert!(!AnyOf::either(Capability::KILL, Capability::BPF).is_single());
    }
}
