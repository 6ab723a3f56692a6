//! What is said of one capability of a subject, as the report's contract has it.

use serde::{Deserialize, Serialize};

use super::{Evidence, Rule, Verdict, absent};
use crate::{
    capability::{CapSet, Capability},
    ledger::Phases,
};

/// What there is to say of one capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "CapabilityReport"))]
pub struct Finding {
    /// Its name without `CAP_`.
    #[serde(rename = "name")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub capability: Capability,
    /// What it turned out to be.
    pub verdict: Verdict,
    /// How sure that is.
    pub evidence: Evidence,
    /// The rule that decided. The contract does not have it: `None` in a report that was read from JSON.
    #[serde(skip)]
    pub rule: Option<Rule>,
    /// Why, in one sentence.
    pub reason: String,
    /// Sets that would serve instead.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<Vec<String>>"))]
    pub alternatives: Vec<CapSet>,
    /// How often it was asked for.
    pub checks: Checks,
    /// Whether it is needed for something that the kernel makes no check for: an execve, a capset, a call that a
    /// seccomp profile allows only with it. The contract does not have it.
    #[serde(skip)]
    pub unchecked: bool,
    /// In which phases of a container's life it was asked for, or needed without being asked for; left out where no life was
    /// audited.
    #[serde(default, skip_serializing_if = "Phases::is_empty")]
    pub phases: Phases,
    /// Where, the first of them.
    pub seen_in: Vec<Use>,
    /// How to get rid of the need; empty where no way is known.
    #[serde(with = "absent")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub need_less: Option<String>,
}

/// How often a capability was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Checks {
    /// In all.
    pub total: u64,
    /// With the answer yes.
    pub granted: u64,
    /// With the answer no.
    pub denied: u64,
}

impl Checks {
    /// So many of each answer.
    pub fn new(granted: u64, denied: u64) -> Self {
        Self {
            total: granted.saturating_add(denied),
            granted,
            denied,
        }
    }
}

/// Where a capability was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Place"))]
pub struct Use {
    /// Path of the executable as it was given to execve.
    pub exe: String,
    /// Command name of the thread.
    pub comm: String,
    /// System call; empty outside one.
    pub syscall: String,
    /// What the call acted upon; empty if unknown.
    pub object: String,
    /// The kernel function that asked; empty if unknown.
    pub caller: String,
}

impl Use {
    /// Who asked: the executable, or the command name where that is not known.
    pub fn program(&self) -> &str {
        if self.exe.is_empty() {
            &self.comm
        } else {
            &self.exe
        }
    }
}
