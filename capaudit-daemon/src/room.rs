//! How many may be connected at a time: descriptors are for what is observed. However few there are, connections get no more
//! than a fourth part of them, so that the look at an executed file never fails because somebody has connected.

use std::{io, sync::Arc};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that the daemon may have, if the hard limit allows: for the root directory of each container, and some.
const DESCRIPTORS: u64 = 1 << 16;

/// Room for so many.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    /// As many as `places`, and no more than an eighth of the `descriptors` that the process may have.
    pub(super) fn of(places: usize, descriptors: u64) -> Self {
        let most = usize::try_from(descriptors / 8).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(places.min(most).max(1))))
    }

    /// Waits for a place, which is free again when what this returns is dropped.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// Raises the limit of descriptors, and returns it. The daemon executes nothing that would inherit it.
///
/// # Errors
///
/// The kernel refuses.
pub(super) fn raise_limit() -> io::Result<u64> {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = most.min(DESCRIPTORS);
    if now < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, most)?;
    }
    Ok(now.max(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_most_descriptors_to_what_is_observed() {
        for (places, descriptors, expected) in [(64, 65_536, 64), (64, 64, 8), (64, 4, 1)] {
            let room = Room::of(places, descriptors);
            assert_eq!(room.0.available_permits(), expected, "{descriptors}");
        }
    }
}
