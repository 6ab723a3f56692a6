//! What runs with a set enforced showed of a subject.

use serde::{Deserialize, Serialize};

use crate::capability::{CapSet, Capability};

/// What runs showed of a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Settlement {
    /// The command failed without it.
    Proven,
    /// The command failed without it, and the audit had not recommended it.
    Missed,
    /// The command succeeded without it.
    Removed,
    /// Runs without it disagreed.
    Unsettled,
    /// No run could tell: what the audit said stands.
    Kept,
}

/// The set that a subject ran with and succeeded, and what runs showed of each capability.
///
/// It holds for the facts that it is recorded with: where others are added, it is dropped, and they are judged again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// What it ran with, and that was enough.
    pub cap_add: CapSet,
    /// Capabilities, each with what became of it.
    pub capabilities: Vec<(Capability, Settlement)>,
}
