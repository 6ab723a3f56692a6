//! What comments vouch for, together.

use crate::{capability::CapSet, manifest::Allowance};

/// The capabilities that are allowed. One without a reason counts too: that the reason is missing is a finding of
/// its own, and should be the only one.
pub fn set(allowances: &[Allowance]) -> CapSet {
    allowances
        .iter()
        .filter_map(|allowance| allowance.capabilities.as_ref().ok())
        .fold(CapSet::EMPTY, |all, set| all | *set)
}
