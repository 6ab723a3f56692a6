//! The capability sets of this process.

use std::{io, marker::PhantomData};

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        remove_capability_from_bounding_set, set_capabilities,
    },
};

use super::{CapSet, Capability};

/// The effective set of this thread; empty if it cannot be read.
pub fn effective() -> CapSet {
    capabilities(None).map_or(CapSet::EMPTY, |sets| {
        CapSet::from_bits(sets.effective.bits())
    })
}

/// The bounding set of this process.
pub fn bounding() -> CapSet {
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
    give_up_all_but(set)
}

/// Leaves the calling thread only `set`, of what it has, in its permitted, effective, inheritable and ambient sets. Takes
/// no capability; what it executes as root may have the rest again.
///
/// # Errors
///
/// The kernel refuses.
pub fn give_up_all_but(set: CapSet) -> io::Result<()> {
    give_up_all_but_reserve(set, CapSet::EMPTY)
}

/// The same, but of `reserve` what it has stays permitted: out of effect, until [`Effective::also`] has use for it.
///
/// # Errors
///
/// The kernel refuses.
pub fn give_up_all_but_reserve(set: CapSet, reserve: CapSet) -> io::Result<()> {
    let kept = CapabilitySet::from_bits_retain(set.bits());
    let mut sets = capabilities(None)?;
    sets.effective &= kept;
    sets.permitted &= kept | CapabilitySet::from_bits_retain(reserve.bits());
    sets.inheritable &= kept;
    // The ambient set follows: `cap_capset` intersects it with permitted and inheritable.
    set_capabilities(None, sets)?;
    Ok(())
}

/// Another effective set for a while. To be dropped in the thread that made it.
#[derive(Debug)]
pub struct Effective {
    before: CapabilitySet,
    /// Effective sets are one a thread, so this must not move to another: `*const ()` is not `Send`.
    _thread: PhantomData<*const ()>,
}

impl Effective {
    /// Only `set`, of what is in effect.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn only(set: CapSet) -> io::Result<Self> {
        Self::change(|sets| sets.effective & CapabilitySet::from_bits_retain(set.bits()))
    }

    /// Also `set`, of what is permitted.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn also(set: CapSet) -> io::Result<Self> {
        let set = CapabilitySet::from_bits_retain(set.bits());
        Self::change(|sets| sets.effective | (sets.permitted & set))
    }

    fn change(effective: impl FnOnce(&CapabilitySets) -> CapabilitySet) -> io::Result<Self> {
        let mut sets = capabilities(None)?;
        let before = sets.effective;
        sets.effective = effective(&sets);
        if sets.effective != before {
            set_capabilities(None, sets)?;
        }
        Ok(Self {
            before,
            _thread: PhantomData,
        })
    }
}

impl Drop for Effective {
    fn drop(&mut self) {
        // What is permitted may be put into effect (`cap_capset`), and what was in effect still is permitted.
        if let Ok(mut sets) = capabilities(None)
            && sets.effective != self.before
        {
            sets.effective = self.before & sets.permitted;
            let _ = set_capabilities(None, sets);
        }
    }
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
    use crate::proc::status::{SetName, Status};

    fn of_proc(name: SetName) -> Option<CapSet> {
        Status::read("self").ok()?.set(name)
    }

    #[test]
    fn our_own_sets_are_what_proc_says() {
        assert_eq!(Some(bounding()), of_proc(SetName::Bounding));
        assert_eq!(Some(effective()), of_proc(SetName::Effective));
    }
}
