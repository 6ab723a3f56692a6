//! The totals of an audit: what was asked, by whom, from where in the kernel, how often, with what outcome.
//!
//! A ledger holds facts only. What they mean is for [`crate::advise`], so that a saved ledger can be judged
//! again by better rules. Its size is bounded by the number of distinct facts, not by time or processes.

mod bound;
mod bytes;
mod hook;
mod life;
mod losses;
mod merge;
mod phase;
mod record;
mod samples;
mod selection;
mod settled;
mod subject;
mod unseen;

pub use bytes::{LoadError, embedded, from_bytes, to_bytes};
pub use hook::Hook;
pub use life::Life;
pub use losses::{Losses, not_seen};
pub use merge::{merge, unite, unite_beyond, unite_by_image};
pub use phase::{Phase, Phases};
pub use record::{
    CallRecord, CheckIdentity, CheckRecord, Credentials, ExecRecord, FileOwner, Object, Options,
    Outcome, Place, Requester, Sample, Target, UserIds,
};
pub use samples::{Samples, identifying_arguments};
pub use selection::{Selection, UnknownName};
pub use settled::{Settled, Settlement};
pub use subject::{Container, Engine, Kind, Pod, Subject, SubjectRecord};
pub use unseen::{Deputy, Remaining, Unseen};

use serde::{Deserialize, Serialize};

/// Names the format of a saved ledger; the number rises with every change that older readers cannot take.
pub const SCHEMA: &str = "capaudit.session/1";

/// Everything an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Name and version of the saved format, [`SCHEMA`]: no other is loaded.
    pub schema: String,
    /// How it was made.
    pub session: Session,
    /// The command first, then containers in the order in which they appeared.
    pub subjects: Vec<SubjectRecord>,
}

/// How a ledger was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// When, in UTC (RFC 3339).
    pub started: String,
    /// How long the audit lasted, in milliseconds.
    pub duration_ms: u64,
    /// Release of the kernel, as uname(2) gives it.
    pub kernel: String,
    /// How checks were seen.
    pub hook: Hook,
    /// The audited command; empty if none was run.
    pub command: Vec<String>,
    /// Its exit status, 128 + signal if a signal ended it; `None` if none was run.
    pub exit_status: Option<i32>,
    /// What could not be recorded.
    pub losses: Losses,
    /// Checks of processes whose record was lost, by capability name.
    pub unattributed: Vec<(crate::capability::Capability, u64)>,
    /// Whether only checks were seen: not how system calls ended, nor those that need a capability without any check.
    #[serde(default)]
    pub checks_only: bool,
    /// What else a reader should know about the record, each a sentence.
    pub notes: Vec<String>,
}

impl Ledger {
    /// Whether nothing is missing from the record: nothing was lost, and every subject was observed whole. What others had
    /// running meanwhile does not matter.
    pub fn is_complete(&self) -> bool {
        let mut own = self.subjects.iter().filter(|subject| !subject.other);
        self.session.is_complete() && own.all(SubjectRecord::is_complete)
    }

    /// Whether something was lost that a capability may be needed for: of nobody knows whom, or of a subject.
    pub fn has_lost(&self) -> bool {
        let mut own = self.subjects.iter().filter(|subject| !subject.other);
        !self.session.is_complete() || own.any(|subject| !subject.losses().is_none())
    }

    /// The ledger, as seen in a phase of a life.
    #[must_use]
    pub fn seen_in(mut self, phase: Phase) -> Self {
        for subject in &mut self.subjects {
            subject.set_phase(phase);
        }
        self
    }
}

impl Session {
    /// One that has recorded nothing yet.
    pub fn new(hook: Hook) -> Self {
        Self {
            started: String::new(),
            duration_ms: 0,
            kernel: String::new(),
            hook,
            command: Vec::new(),
            exit_status: None,
            losses: Losses::default(),
            unattributed: Vec::new(),
            checks_only: false,
            notes: Vec::new(),
        }
    }

    /// Whether nothing is missing from the record.
    pub fn is_complete(&self) -> bool {
        self.losses.is_none() && self.unattributed.is_empty() && !self.checks_only
    }
}
