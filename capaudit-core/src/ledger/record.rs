//! The facts a ledger is made of.

use serde::{Deserialize, Serialize};

use super::Phases;
use crate::capability::{CapSet, Capability, FileCapabilities};

/// The requester of a check or call: executable, command name, and phase (set-up or not).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requester {
    /// Path of the executable as it was given to execve; empty if unknown.
    pub exe: String,
    /// Command name of the thread.
    pub comm: String,
    /// It set the audited program up (a container runtime), and is not it.
    pub setup: bool,
}

/// The kernel's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Yes.
    Granted,
    /// No.
    Denied,
}

/// In which user namespace the capability was asked, seen from the subject's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the subject's own: where its capabilities count.
    Own,
    /// In one below it that the asking user made, and in which that user therefore has every capability.
    Inner,
    /// In one below it that somebody else made: there, the capability counts that is held in the subject's own
    /// (`cap_capable`, security/commoncap.c).
    InnerOfOthers,
    /// In one above or beside it: what is granted to the subject does not count there.
    Outer,
}

/// Whose credentials were examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Credentials {
    /// The task's own.
    Own,
    /// Such as it borrowed for the moment: overlayfs acts with its mounter's, access(2) with the real ids.
    Borrowed,
    /// Those of whoever opened the file or socket, or another task's.
    Foreign,
}

/// How the kernel asked; only hooks that see it tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Options {
    /// Only asked, a refusal is not reported.
    pub noaudit: bool,
    /// Inside a setuid-family call.
    pub insetid: bool,
}

/// What makes a check different from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckIdentity {
    /// The capability asked for.
    pub capability: Capability,
    /// What the kernel answered.
    pub outcome: Outcome,
    /// The requester: whose executable asked, and in which phase.
    #[serde(rename = "asker")]
    pub requester: Requester,
    /// The user namespace in which it was asked, seen from the subject's own.
    pub place: Place,
    /// The examined credentials were of a user namespace below the subject's own.
    pub inner_credentials: bool,
    /// Whose credentials the kernel examined.
    pub credentials: Credentials,
    /// How; `None` if the hook does not tell.
    pub options: Option<Options>,
    /// The system call, by name or number; `None` outside one.
    pub syscall: Option<String>,
    /// Hash of the arguments that decide what the call does.
    pub operation: u32,
    /// Kernel functions from the one that called `cap_capable` outwards; empty if unknown.
    pub callers: Vec<String>,
}

impl CheckIdentity {
    const COMPAT: &str = "32-bit ";

    /// What the system call of a 32-bit program is called: its number, which is of a table of its own.
    pub fn compat(number: u16) -> String {
        format!("{}{number}", Self::COMPAT)
    }

    /// Whether a 32-bit system call made the check.
    pub fn is_compat(&self) -> bool {
        let name = self.syscall.as_deref();
        name.is_some_and(|name| name.starts_with(Self::COMPAT))
    }
}

impl CallRecord {
    /// What any call of the 32-bit table is called: only that there was one is known.
    pub const COMPAT: &str = "32-bit";

    /// Whether it stands for calls of the 32-bit table.
    pub fn is_compat(&self) -> bool {
        self.syscall == Self::COMPAT
    }
}

#[cfg(test)]
impl CheckIdentity {
    /// A check as most are: granted, of the subject's own, by a plain program.
    pub(crate) fn usual(capability: Capability, syscall: Option<&str>) -> Self {
        Self {
            capability,
            outcome: Outcome::Granted,
            requester: Requester {
                exe: "/bin/x".to_owned(),
                comm: "x".to_owned(),
                setup: false,
            },
            place: Place::Own,
            inner_credentials: false,
            credentials: Credentials::Own,
            options: None,
            syscall: syscall.map(str::to_owned),
            operation: 0,
            callers: Vec::new(),
        }
    }
}

/// A check and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// What makes the check different from the others.
    #[serde(flatten)]
    pub identity: CheckIdentity,
    /// How many such checks there were: all are counted, and few are sampled.
    pub count: u64,
    /// When the first one was, in milliseconds from the session's start.
    pub first_ms: u64,
    /// When the last one was, in milliseconds from the session's start.
    pub last_ms: u64,
    /// System calls, among those sampled, that succeeded afterwards.
    pub succeeded: u64,
    /// System calls, among those sampled, that failed.
    pub failed: u64,
    /// errno of the last failure; 0 if there was none.
    pub errno: u32,
    /// Single checks, distinct ones, at most [`CheckRecord::MAX_SAMPLES`]. What they say of all: [`CheckRecord::samples()`].
    pub(super) samples: Vec<Sample>,
    /// How many checks the samples speak for; 0 in sessions that do not say so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sampled: u64,
    /// In which phases of a life it was seen; empty where no life was audited.
    #[serde(default, skip_serializing_if = "Phases::is_empty")]
    pub phases: Phases,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl CheckRecord {
    /// The greatest number of samples that is kept of one check.
    pub const MAX_SAMPLES: usize = 8;

    /// Whether every system call that made the check failed. The outcome of each has to be known: those that are not may be
    /// successes.
    pub(crate) fn failed_each_time(&self) -> bool {
        self.succeeded == 0 && self.failed > 0 && self.failed >= self.count
    }
}

/// A single check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Arguments of the system call.
    pub arguments: [u64; 6],
    /// What it acts upon.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub object: Option<Object>,
    /// A second such thing: a new name, an attribute's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub second: Option<String>,
    /// The owner of the file, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<FileOwner>,
    /// User and group ids of the task that asks.
    pub ids: UserIds,
    /// What the system call returned; negative is an errno; `None` if that was not seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result: Option<i64>,
}

/// What a system call acts upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    /// A path, as the program gave it or as the file is called within its mount.
    Path(String),
    /// An internet socket address.
    Internet {
        /// Address in the usual notation.
        address: String,
        /// Port number, in the byte order of the host.
        port: u16,
    },
    /// A socket path, or `@name` in the abstract namespace.
    Unix(String),
    /// A netlink message.
    Netlink {
        /// Type of the message: `nlmsg_type`, include/uapi/linux/netlink.h.
        kind: u16,
        /// Flags of the message: `nlmsg_flags`, include/uapi/linux/netlink.h.
        flags: u16,
        /// How its payload starts, as far as that is plain text.
        text: String,
    },
    /// The sets that capset(2) asks for, and what the task held before.
    Capset {
        /// Permitted set before the call.
        held: CapSet,
        /// Inheritable set before the call.
        held_inheritable: CapSet,
        /// Effective set that is asked for.
        effective: CapSet,
        /// Permitted set that is asked for.
        permitted: CapSet,
        /// Inheritable set that is asked for.
        inheritable: CapSet,
    },
}

/// A file's owner, group and permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOwner {
    /// User id of the file's owner, in the initial user namespace.
    pub uid: u32,
    /// Id of the file's group, in the initial user namespace.
    pub gid: u32,
    /// Mode with the file type.
    pub mode: u32,
}

/// User and group ids of a task, in the initial user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserIds {
    /// Real user.
    pub uid: u32,
    /// Effective user.
    pub euid: u32,
    /// Saved user.
    pub suid: u32,
    /// File-system user.
    pub fsuid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective group.
    pub egid: u32,
    /// Saved group.
    pub sgid: u32,
    /// File-system group.
    pub fsgid: u32,
}

/// The execution of a file that carries privilege.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRecord {
    /// Path as given to execve.
    pub exe: String,
    /// Its capabilities; `None` if it has none.
    pub capabilities: Option<FileCapabilities>,
    /// It is setuid or setgid, and by whom owned.
    pub setid: Option<FileOwner>,
    /// The process was gone before the file could be looked at.
    pub unseen: bool,
    /// The kernel paid no attention to what the file carries: its mount has `nosuid`, or is of a user namespace
    /// whose files count for nothing in the process's (`mnt_may_suid`, fs/namespace.c).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
    /// How many times the file was executed.
    pub count: u64,
    /// In which phases of a life it was seen; empty where no life was audited.
    #[serde(default, skip_serializing_if = "Phases::is_empty")]
    pub phases: Phases,
}

/// A system call that matters without any check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Name of the system call, its number if it has none.
    pub syscall: String,
    /// The requester: whose executable called, and in which phase.
    #[serde(rename = "asker")]
    pub requester: Requester,
    /// Hash of the arguments that decide what the call does.
    pub operation: u32,
    /// Arguments at the first call.
    pub arguments: [u64; 6],
    /// Whether the calls failed; calls that succeeded are a record of their own.
    pub failed: bool,
    /// What the first call returned.
    pub result: i64,
    /// How many such calls there were.
    pub count: u64,
    /// The process that a successful call acted upon, where that may decide whether a capability is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What the call acts upon: the path that is opened, the address that is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// Whether a seccomp filter was in force for the caller; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<bool>,
    /// It failed with EPERM or EACCES although no check was seen during it: something else forbids it, such as another
    /// security module, which are asked before the capability is, or a seccomp filter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unasked: bool,
    /// In which phases of a life it was seen; empty where no life was audited.
    #[serde(default, skip_serializing_if = "Phases::is_empty")]
    pub phases: Phases,
}

#[cfg(test)]
impl CallRecord {
    /// One call of `/bin/x` that returned 0: what tests are not about is as this has it.
    pub(crate) fn sample(syscall: &str) -> Self {
        Self {
            syscall: syscall.to_owned(),
            requester: Requester {
                exe: "/bin/x".to_owned(),
                comm: "x".to_owned(),
                setup: false,
            },
            operation: 0,
            arguments: [0; 6],
            failed: false,
            result: 0,
            count: 1,
            target: None,
            object: None,
            seccomp: None,
            unasked: false,
            phases: Phases::default(),
        }
    }
}

/// Another process that a call acts upon.
///
/// The kernel compares sets before it asks for a capability (`cap_ptrace_access_check`, `cap_ptrace_traceme`,
/// `cap_safe_nice`, security/commoncap.c): a caller that holds all that the other does is never asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What it holds: its permitted set; every capability if that is not known. The union of several processes'
    /// sets where a call acts upon more than one.
    pub permitted: CapSet,
    /// It is of the caller's user namespace. In others, a capability is asked for whatever the sets are.
    pub same_user_namespace: bool,
    /// It belongs to the same subject, and so would hold no more than what that is granted.
    pub same_subject: bool,
}
