//! A set enforced on a plain command: everything else is dropped before it is executed.

use capaudit_core::capability::{CapSet, Capability};
use capaudit_tracer::privilege::own;

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

/// Checks whether [`own::drop_all_but`] can do its work here.
///
/// # Errors
///
/// It cannot.
pub fn check(set: CapSet) -> Result<(), Refusal> {
    let held = own::bounding();
    let beyond = set.difference(held);
    if !beyond.is_empty() {
        return Err(Refusal::Beyond(beyond));
    }
    if held != set && !own::effective().contains(Capability::SETPCAP) {
        return Err(Refusal::NotPermitted);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_cannot_be_given() {
        let beyond = Capability::from_number(63).map_or(CapSet::EMPTY, CapSet::from);
        assert_eq!(check(beyond), Err(Refusal::Beyond(beyond)));
    }
}
