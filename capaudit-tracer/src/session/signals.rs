//! Signals to capaudit, waited for.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    launch::{Arrived, Signals},
    session::error::ObservationError,
};

/// Does what takes time, on this thread, with signals taken.
///
/// What is waited for is compiled where this is called: a crate that calls it from a function that is no future itself
/// spares every crate above it compiling the same again.
///
/// # Errors
///
/// The kernel refuses what that takes.
pub fn with_signals<F: Future>(
    work: impl FnOnce(Signals) -> F,
) -> Result<F::Output, ObservationError> {
    let signals = Signals::take().map_err(ObservationError::system("cannot take signals"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ObservationError::system("cannot wait for events"))?;
    Ok(runtime.block_on(work(signals)))
}

/// Signals, one after the other.
#[derive(Debug)]
pub struct SignalStream {
    signals: Signals,
    readable: AsyncFd<OwnedFd>,
}

impl SignalStream {
    /// Of signals that were taken before.
    ///
    /// # Errors
    ///
    /// The runtime cannot wait for them.
    pub fn new(signals: Signals) -> Result<Self, ObservationError> {
        let readable =
            readable(&signals).map_err(ObservationError::system("cannot wait for signals"))?;
        Ok(Self { signals, readable })
    }

    /// Waits for the next. May be cancelled at any time: none is lost.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub async fn next(&mut self) -> Result<Arrived, ObservationError> {
        loop {
            let ready = self.readable.readable().await;
            let mut ready = ready.map_err(ObservationError::system("cannot wait for signals"))?;
            match self
                .signals
                .next()
                .map_err(ObservationError::system("cannot read signals"))?
            {
                Some(arrived) => return Ok(arrived),
                None => ready.clear_ready(),
            }
        }
    }

    /// The signals themselves, as starting a command takes them.
    pub(super) fn signals(&self) -> &Signals {
        &self.signals
    }
}

/// Waits for a file descriptor, through one of its own.
pub(super) fn readable(source: &impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = source.as_fd().try_clone_to_owned()?;
    // SAFETY: an open descriptor that nobody else closes or replaces.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registered?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{Signal, raise};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn signals_come_one_after_the_other_and_again_later() -> Result<(), ObservationError> {
        let failed = ObservationError::system("cannot take signals");
        let mut stream = SignalStream::new(Signals::take().map_err(failed)?)?;
        for _ in 0..2 {
            for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
                assert_eq!(raise(signal), Ok(()));
            }
            assert_eq!(stream.next().await?, Arrived::Sent(Signal::SIGUSR1));
            assert_eq!(stream.next().await?, Arrived::Sent(Signal::SIGUSR2));
            let more = timeout(Duration::from_millis(20), stream.next()).await;
            assert!(more.is_err(), "{more:?}");
        }
        Ok(())
    }
}
