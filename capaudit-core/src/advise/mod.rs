//! Policy: what the facts of a ledger mean. Pure functions of facts; no kernel, no clock, no files.
//!
//! [`judge`] says of each single fact whether it is a need, and which capabilities would satisfy it;
//! `cover` finds the least powerful set that satisfies all of them; `subject` tells it per capability.

pub(crate) mod absent;
mod cover;
mod elsewhere;
mod fact;
mod finding;
mod judge;
mod judgement;
mod need_less;
mod object;
mod reach;
mod rules;
pub mod seccomp;
mod subject;

pub use elsewhere::Elsewhere;
pub use fact::Fact;
pub use finding::{Checks, Finding, Use};
pub use judge::judge;
pub use judgement::{AnyOf, Assessment, Judgement, Meaning, Rule};
pub use object::described as acted_upon;
pub use reach::{ONLY_INITIAL, PrivilegedFile};
pub use subject::{Advice, advise};

use serde::{Deserialize, Serialize};

/// What a capability turned out to be for a subject.
///
/// Ordered: of several facts about one capability, the greatest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Asked for, but the answer makes no difference to the program, or is not about it.
    Noise,
    /// Refused, and the program went on.
    Tolerated,
    /// Asked in a user namespace where nothing that is granted to the subject counts.
    Ungrantable,
    /// Would serve as well, but a less powerful one, or one needed anyhow, is recommended instead.
    Alternative,
    /// To be granted.
    Needed,
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The program may well get along without: one run cannot tell.
    Possible,
    /// Without it the system call would have failed.
    Decisive,
    /// The program was run without it, and failed.
    Proven,
}
