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
}

impl Rule {
    /// Every rule, in the order of declaration.
    pub const ALL: [Self; 11] = [
        Self::OverGranted,
        Self::Missing,
        Self::Privileged,
        Self::AddsAll,
        Self::NoDrop,
        Self::NewPrivileges,
        Self::NotAudited,
        Self::AllowWithoutReason,
        Self::AllowNotNeeded,
        Self::NotUnderstood,
        Self::IncompleteRecord,
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
            Self::NotAudited => "not-audited",
            Self::AllowWithoutReason => "allow-without-reason",
            Self::AllowNotNeeded => "allow-not-needed",
            Self::NotUnderstood => "not-understood",
            Self::IncompleteRecord => "incomplete-record",
        }
    }

    /// How bad a finding by this rule is, if the record proves it.
    pub fn level(self) -> Level {
        match self {
            Self::OverGranted | Self::Missing | Self::Privileged | Self::AddsAll | Self::NoDrop => {
                Level::Error
            }
            Self::AllowWithoutReason | Self::NotUnderstood | Self::IncompleteRecord => {
                Level::Warning
            }
            Self::NewPrivileges | Self::NotAudited | Self::AllowNotNeeded => Level::Note,
        }
    }

    /// It says that something was not used, which an incomplete record cannot.
    pub fn rests_on_absence(self) -> bool {
        matches!(
            self,
            Self::OverGranted | Self::Privileged | Self::AddsAll | Self::NoDrop
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
            Self::NotAudited => "No session saw this workload.",
            Self::AllowWithoutReason => "A capability is allowed by a comment without a reason.",
            Self::AllowNotNeeded => "A capability is allowed by a comment that is not needed.",
            Self::NotUnderstood => "A word in a list of capabilities is no capability.",
            Self::IncompleteRecord => "The record of the audit is incomplete.",
        }
    }
}
