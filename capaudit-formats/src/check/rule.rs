//! What is looked for.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Level {
    /// Good to know.
    Note,
    /// Should be looked at.
    Warning,
    /// Should be mended.
    Error,
}

impl fmt::Display for Level {
    /// As SARIF calls it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What `capaudit check` looks for when it compares what is granted with what was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Granted, and not used.
    OverGranted,
    /// Used, and not granted.
    Missing,
    /// Everything is granted, and more.
    Privileged,
    /// All capabilities are added.
    AddsAll,
    /// The engine's default set is left.
    NoDrop,
    /// `no_new_privs` would cost nothing.
    NewPrivileges,
    /// Granted to something that it does not reach.
    NoEffect,
    /// A program's file gives what is needed, and `no_new_privs` forbids that.
    PrivilegesRefused,
    /// No session saw it.
    NotAudited,
    /// A comment that vouches for something gives no reason.
    AllowWithoutReason,
    /// A comment vouches for what needs none.
    AllowNotNeeded,
    /// A word is no capability.
    NotUnderstood,
    /// The record does not hold everything.
    IncompleteRecord,
    /// Granted otherwise than the lock says.
    LockDrift,
    /// In the file or in the lock, and not in the other.
    NotLocked,
    /// The service is another than the lock is about.
    DefinitionChanged,
    /// The image is another than the lock is about.
    ImageChanged,
    /// Whether the image is another could not be told.
    ImageNotCompared,
    /// Asked for in a session, and not in the lock.
    AskedBeyondLock,
    /// Nothing was run with what the lock says.
    NotProven,
}

impl Rule {
    /// Every rule on what was used, in the order of declaration.
    pub const ALL: [Self; 13] = [
        Self::OverGranted,
        Self::Missing,
        Self::Privileged,
        Self::AddsAll,
        Self::NoDrop,
        Self::NewPrivileges,
        Self::NoEffect,
        Self::PrivilegesRefused,
        Self::NotAudited,
        Self::AllowWithoutReason,
        Self::AllowNotNeeded,
        Self::NotUnderstood,
        Self::IncompleteRecord,
    ];

    /// Every rule on a lock, in the order of declaration, with those on sessions beside it.
    pub const OF_LOCK: [Self; 9] = [
        Self::NotAudited,
        Self::IncompleteRecord,
        Self::LockDrift,
        Self::NotLocked,
        Self::DefinitionChanged,
        Self::ImageChanged,
        Self::ImageNotCompared,
        Self::AskedBeyondLock,
        Self::NotProven,
    ];

    /// What programs call it: the rule's id in SARIF, a stable name in lower case.
    pub fn id(self) -> &'static str {
        match self {
            Self::OverGranted => "over-granted",
            Self::Missing => "missing-capability",
            Self::Privileged => "privileged",
            Self::AddsAll => "all-added",
            Self::NoDrop => "defaults-kept",
            Self::NewPrivileges => "new-privileges",
            Self::NoEffect => "no-effect",
            Self::PrivilegesRefused => "privileges-refused",
            Self::NotAudited => "not-audited",
            Self::AllowWithoutReason => "allow-without-reason",
            Self::AllowNotNeeded => "allow-not-needed",
            Self::NotUnderstood => "not-understood",
            Self::IncompleteRecord => "incomplete-record",
            Self::LockDrift => "lock-drift",
            Self::NotLocked => "not-locked",
            Self::DefinitionChanged => "definition-changed",
            Self::ImageChanged => "image-changed",
            Self::ImageNotCompared => "image-not-compared",
            Self::AskedBeyondLock => "asked-beyond-lock",
            Self::NotProven => "not-proven",
        }
    }

    /// How bad a finding by this rule is, if the record proves it.
    pub fn level(self) -> Level {
        match self {
            Self::OverGranted
            | Self::Missing
            | Self::Privileged
            | Self::AddsAll
            | Self::NoDrop
            | Self::NoEffect
            | Self::PrivilegesRefused
            | Self::LockDrift
            | Self::AskedBeyondLock => Level::Error,
            Self::AllowWithoutReason
            | Self::NotUnderstood
            | Self::IncompleteRecord
            | Self::NotLocked
            | Self::DefinitionChanged
            | Self::ImageChanged => Level::Warning,
            Self::NewPrivileges
            | Self::NotAudited
            | Self::AllowNotNeeded
            | Self::ImageNotCompared
            | Self::NotProven => Level::Note,
        }
    }

    /// It says that something was not used, which an incomplete record cannot.
    pub fn rests_on_absence(self) -> bool {
        matches!(
            self,
            Self::OverGranted | Self::Privileged | Self::AddsAll | Self::NoDrop | Self::NoEffect
        )
    }

    /// What it is about, in one sentence.
    pub fn description(self) -> &'static str {
        match self {
            Self::OverGranted => "A capability is granted that the audited run did not use.",
            Self::Missing => "A capability is needed that is not granted.",
            Self::Privileged => "A container is privileged.",
            Self::AddsAll => "All capabilities are added to a container.",
            Self::NoDrop => {
                "The engine's default capabilities are not dropped, and some of them are not used."
            }
            Self::NewPrivileges => {
                "Gaining privileges by setuid programs is possible, and was not made use of."
            }
            Self::NoEffect => "A capability is granted to something that it does not reach.",
            Self::PrivilegesRefused => {
                "A program needs the privileges of its file, and gaining privileges is forbidden."
            }
            Self::NotAudited => "No session saw this workload.",
            Self::AllowWithoutReason => "A capability is allowed by a comment without a reason.",
            Self::AllowNotNeeded => "A capability is allowed by a comment that is not needed.",
            Self::NotUnderstood => "A word in a list of capabilities is no capability.",
            Self::IncompleteRecord => "The record of the audit is incomplete.",
            Self::LockDrift => "A service is granted something else than the lock says.",
            Self::NotLocked => "A service is in the file or in the lock, and not in the other.",
            Self::DefinitionChanged => {
                "A service is defined otherwise than when what it needs was found out."
            }
            Self::ImageChanged => {
                "A service has another image than that of which it was found out what it needs."
            }
            Self::ImageNotCompared => "Whether an image is that of the lock could not be told.",
            Self::AskedBeyondLock => "A capability was asked for that the lock does not have.",
            Self::NotProven => "Nothing was run with exactly what the lock says.",
        }
    }
}
