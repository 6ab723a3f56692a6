//! For tests: made-up checks, and what they add up to.

pub(crate) use capaudit_live::samples::{check_events, ledger};

#[cfg(feature = "view")]
#[cfg(feature = "view")]
use capaudit_live::Missing;

use crate::state::State;

/// The state after `factor` seconds.
#[cfg(feature = "view")]
pub(crate) fn state(factor: u64) -> State {
    State::of(ledger(factor), Missing::default(), |_| false)
}
