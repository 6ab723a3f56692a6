//! What a tracer is set up to record.

use std::num::NonZeroU32;

use capaudit_core::{capability::CapSet, ledger::Hook};

/// What a tracer records, and how much room it has for that.
#[derive(Clone, Debug)]
pub struct TracerConfig {
    /// The hook to use; the best that works if `None`.
    pub hook: Option<Hook>,
    /// Whose checks are recorded.
    pub scope: TraceScope,
    /// Capabilities whose checks are recorded; the kernel side ignores all others.
    pub capabilities: CapSet,
    /// Leave out checks that were granted.
    pub denied_only: bool,
    /// See checks alone: not what system calls returned, nor those that need a capability without any check. Whatever makes
    /// none is not slowed down then.
    pub checks_only: bool,
    /// Which checks are sent one by one.
    pub check_events: CheckEvents,
    /// Size of the ring buffer in bytes; a power of two, at least a page.
    pub ring_bytes: u32,
    /// Distinct checks that can be told apart at a time; as many call sites, and system calls that matter without any check.
    pub max_checks: u32,
    /// Processes that can be followed at a time, or known as not to be.
    pub max_processes: u32,
}

impl Default for TracerConfig {
    fn default() -> Self {
        Self {
            hook: None,
            scope: TraceScope::default(),
            capabilities: CapSet::from_bits(u64::MAX),
            denied_only: false,
            checks_only: false,
            check_events: CheckEvents::default(),
            ring_bytes: 8 << 20,
            max_checks: 1 << 16,
            max_processes: 1 << 16,
        }
    }
}

/// Which processes the kernel side follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceScope {
    /// Those that capaudit starts or attaches to, and what they fork.
    Chosen,
    /// Those, and containers that start from now on.
    #[default]
    ChosenAndNewContainers,
    /// Every process of the machine.
    Machine,
}

/// Which checks the kernel side sends one by one. All checks are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckEvents {
    /// The sightings of each call site.
    #[default]
    Sightings,
    /// While [`Tracer::send_check_events`](super::Tracer::send_check_events) asks for it every check, but no more than so
    /// many a second of each processor.
    PerSecond(NonZeroU32),
}

impl CheckEvents {
    /// How many checks each processor sends beside sightings in a period of the kernel side's: 2^26 ns.
    pub(super) fn per_period(self) -> u32 {
        /// 2^26 ns go into a second this many times.
        const PERIODS: u32 = 15;
        match self {
            Self::Sightings => 0,
            Self::PerSecond(most) => most.get().div_ceil(PERIODS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_its_share_of_a_second_and_one_at_least() {
        let per_period =
            |most| NonZeroU32::new(most).map(|most| CheckEvents::PerSecond(most).per_period());
        assert_eq!(per_period(1), Some(1));
        assert_eq!(per_period(5000), Some(334));
        assert_eq!(per_period(u32::MAX), Some(286_331_153));
        assert_eq!(CheckEvents::Sightings.per_period(), 0);
    }
}
