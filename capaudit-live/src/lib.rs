//! What a daemon and those who watch through it have in common: questions, and the lines of `capaudit.watch/1`.
//!
//! This crate never knows how the daemon observes, nor how anybody shows it; both are built upon this.
//!
//! Begin to read with [`mod@line`], then [`client`].

pub mod client;
pub mod judged;
pub mod line;
#[cfg(feature = "samples")]
pub mod samples;
pub mod scope;

use std::{num::NonZeroU32, thread};

use capaudit_core::ledger::{Ledger, Losses};
use capaudit_tracer::{probe::ProbeError, session::observation::Observation};

/// Where a daemon's socket is, unless somebody says otherwise.
pub const SOCKET: &str = "/run/capaudit/capaudit.sock";

/// The question for all totals.
pub const LEDGER: &str = "ledger";
/// The question for check events.
pub const WATCH: &str = "watch";

/// Check events a second that are worth sending for people: nobody reads more.
const MOST_A_SECOND: u32 = 10_000;
/// Check events in one message.
pub const BATCH: usize = 512;

/// Check events a second that each processor may send for people.
pub fn check_events_a_second() -> NonZeroU32 {
    let processors = thread::available_parallelism().map_or(1, |count| count.get());
    let each = MOST_A_SECOND / u32::try_from(processors).unwrap_or(1).min(MOST_A_SECOND);
    NonZeroU32::new(each).unwrap_or(NonZeroU32::MIN)
}

/// What is not among the check events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Checks that were counted, but not sent one by one because there were too many.
    pub unsent: u64,
    /// What could not be recorded at all.
    pub losses: Losses,
}

impl Missing {
    /// What is missing by now, since `observation` began.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub fn of(observation: &Observation) -> Result<Self, ProbeError> {
        let (unsent, losses) = observation.missing()?;
        Ok(Self { unsent, losses })
    }

    /// What of it came after `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            unsent: self.unsent.saturating_sub(before.unsent),
            losses: self.losses.since(&before.losses),
        }
    }
}

/// What a watch comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All checks that were made.
    pub checks: u64,
    /// What is not among the check events.
    pub missing: Missing,
    /// How long the watch took, in milliseconds.
    pub duration_ms: u64,
}

impl Summary {
    /// That of a watch in which so many checks were not sent one by one.
    pub fn of(ledger: &Ledger, unsent: u64) -> Self {
        let known = ledger.subjects.iter().flat_map(|subject| &subject.checks);
        let unattributed = ledger.session.unattributed.iter();
        Self {
            checks: known.map(|check| check.count).sum::<u64>()
                + unattributed.map(|(_, count)| count).sum::<u64>(),
            missing: Missing {
                unsent,
                losses: ledger.session.losses.clone(),
            },
            duration_ms: ledger.session.duration_ms,
        }
    }
}
