//! A set enforced on a plain command: everything else is dropped before it is executed.

use std::io;

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, capabilities, capability_is_in_bounding_set,
        remove_capability_from_bounding_set, set_capabilities,
    },
};

use crate::capability::{CapSet, Capability};

/// Why a set cannot be enforced on a child of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The set asks for more than there is.
    #[error(
        "{0} is not in capaudit's own bounding set, so it cannot be given to the command: start capaudit with it (a container: --cap-add), or leave it out of the set"
    )]
    Beyond(CapSet),
    /// There is something to drop, and no permission to.
    #[error("dropping capabilities from the bounding set takes CAP_SETPCAP: run capaudit as root")]
    NotPermitted,
}

/// Checks whether [`drop_all_but`] can do its work here.
///
/// # Errors
///
/// It cannot.
pub fn check(set: CapSet) -> Result<(), Refusal> {
    let own = own_bounding();
    let beyond = set.difference(own);
    if !beyond.is_empty() {
        return Err(Refusal::Beyond(beyond));
    }
    let setpcap =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SETPCAP));
    if own != set && !setpcap {
        return Err(Refusal::NotPermitted);
    }
    Ok(())
}

/// The bounding set of this process.
pub fn own_bounding() -> CapSet {
    all()
        .filter(|capability| capability_is_in_bounding_set(mask(*capability)) == Ok(true))
        .collect()
}

/// Leaves the calling thread only `set`, of what it has: in its bounding, permitted, effective, inheritable and
/// ambient sets. The user id stays. For use between fork and execve: only system calls, no allocation.
///
/// For root, execve then permits what is in the bounding set (`cap_bprm_creds_from_file`: `handle_privileged_root`
/// makes up file capabilities of all, and `bprm_caps_from_vfs_caps` masks them with `cap_bset`); for anybody else,
/// what is ambient.
///
/// # Errors
///
/// The kernel refuses.
pub fn drop_all_but(set: CapSet) -> io::Result<()> {
    // The bounding set first: that takes CAP_SETPCAP, which may be among what is dropped next.
    for capability in all() {
        if set.contains(capability) {
            continue;
        }
        match capability_is_in_bounding_set(mask(capability)) {
            Ok(true) => remove_capability_from_bounding_set(mask(capability))?,
            Ok(false) => {}
            // `cap_prctl_drop`, PR_CAPBSET_READ: no such capability in this kernel, nor any above.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let kept = CapabilitySet::from_bits_retain(set.bits());
    let mut sets = capabilities(None)?;
    sets.effective &= kept;
    sets.permitted &= kept;
    sets.inheritable &= kept;
    // The ambient set follows: `cap_capset` intersects it with permitted and inheritable.
    set_capabilities(None, sets)?;
    Ok(())
}

fn all() -> impl Iterator<Item = Capability> {
    (0..64).filter_map(Capability::from_number)
}

fn mask(capability: Capability) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << capability.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_bounding_set_is_what_proc_says() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapBnd:"))
            .unwrap_or_default();
        assert_eq!(line.trim().parse(), Ok(own_bounding()));
    }

    #[test]
    fn more_than_there_is_cannot_be_given() {
        let beyond = Capability::from_number(63).map_or(CapSet::EMPTY, CapSet::from);
        assert_eq!(check(beyond), Err(Refusal::Beyond(beyond)));
    }
}
