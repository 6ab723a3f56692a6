//! How many may be connected at a time: descriptors are for what is observed.

use std::{io, sync::Arc};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that the daemon may have, if the hard limit allows: for the root directory of each container, and some.
const DESCRIPTORS: u64 = 1 << 16;

/// Room for so many.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn of(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Waits for a place, which is free again when what this returns is dropped.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// Raises the limit of descriptors. The daemon executes nothing that would inherit it.
///
/// # Errors
///
/// The kernel refuses.
pub(super) fn raise_limit() -> io::Result<()> {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = most.min(DESCRIPTORS);
    if now < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, most)?;
    }
    Ok(())
}
