//! What comments vouch for, together.

use capaudit_core::capability::CapSet;

use crate::manifest::Allowance;

/// The capabilities that are allowed. One without a reason counts too: that the reason is missing is a finding of
/// its own, and should be the only one.
pub(super) fn set(allowances: &[Allowance]) -> CapSet {
    allowances
        .iter()
        .filter_map(|allowance| allowance.capabilities.as_ref().ok())
        .fold(CapSet::EMPTY, |all, set| all | *set)
}
