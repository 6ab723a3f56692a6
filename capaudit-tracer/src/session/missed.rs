//! What was missed because records were lost.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use crate::{probe::ProbeError, session::account::Totals, subject::Tracker};

/// How often, at most, capaudit looks for what it missed.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The part of capaudit's time that goes into that at most.
const LOOK_SHARE: u32 = 10;

/// What was missed because records were lost: without the record of its end, an execution would
/// live for ever, and what waits for that, or for the room it takes, would wait for ever.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Number of lost records already accounted for.
    lost: u64,
    /// Executions that the kernel side knows no more.
    gone: Vec<u64>,
    /// When to look again.
    next: Option<Instant>,
}

impl Missed {
    /// Ends what was found gone before, and looks for more if records were lost since. To be
    /// called with no record outstanding; `now` is when.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub(super) fn look(
        &mut self,
        tracker: &mut Tracker,
        totals: &impl Totals,
        now: Instant,
    ) -> Result<(), ProbeError> {
        // Gone since the last look at least; had there been a record of it, it would have come by now.
        for execution in self.gone.drain(..) {
            tracker.missed_end(execution);
        }
        let lost = totals.lost_records()?;
        if lost == self.lost || self.next.is_some_and(|next| now < next) {
            return Ok(());
        }
        // First what there is, then what lives of it: what begins meanwhile must not seem to be gone.
        let mut executions: HashSet<u64> = tracker.live_executions().collect();
        let counted = totals.checks()?.into_keys().map(|key| key.execution);
        executions.extend(counted.filter(|execution| tracker.execution(*execution).is_none()));
        if let Some(live) = totals.live_executions()? {
            self.gone = executions.difference(&live).copied().collect();
            self.lost = lost;
        }
        let took = now.elapsed();
        self.next = Some(now + took + LOOK_EVERY.max(took * LOOK_SHARE));
        Ok(())
    }
}
