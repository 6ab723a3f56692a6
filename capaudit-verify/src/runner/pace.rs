//! How long runs take.

use std::time::Duration;

/// How long the runs took that were made, with what each takes before and after.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    spent: Duration,
    runs: u32,
}

impl Pace {
    pub(super) fn add(&mut self, run: Duration) {
        self.spent += run;
        self.runs += 1;
    }

    /// How long so many runs may take; `None` before the first.
    pub(super) fn expected(&self, runs: usize) -> Option<Duration> {
        let each = self.spent.checked_div(self.runs)?;
        Some(each.saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX)))
    }
}
