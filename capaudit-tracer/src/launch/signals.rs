//! Signals to capaudit, as file descriptor.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    libc,
    sys::{
        signal::{SigHandler, SigSet, SigmaskHow, Signal, signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

/// Signals that are for the command: passed on, not obeyed.
const PASSED_ON: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Those after which capaudit is to end soon, unless the command has them.
const ENDING: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
];

/// Whether somebody sent one of these to capaudit, and not to the command with it.
static IS_ASKED_TO_END: AtomicBool = AtomicBool::new(false);

/// Whether a signal has asked capaudit to end, or waits to be taken: then nothing is waited for any more that may never come.
pub fn is_asked_to_end() -> bool {
    if IS_ASKED_TO_END.load(Ordering::Relaxed) {
        return true;
    }
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is filled in if the call succeeds, and only then looked at.
    unsafe {
        libc::sigpending(pending.as_mut_ptr()) == 0
            && ENDING
                .iter()
                .any(|signal| libc::sigismember(pending.as_ptr(), *signal as i32) == 1)
    }
}

/// Whether capaudit is to end soon after this signal, unless the command has it.
pub fn is_ending(signal: Signal) -> bool {
    ENDING.contains(&signal)
}

/// A signal that capaudit received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// A child changed its state.
    Child,
    /// A signal that somebody sent to capaudit alone: it is to be passed on.
    Sent(Signal),
    /// A signal from the terminal: the command has got it, too.
    FromTerminal(Signal),
}

/// A source of signals. While it exists they are blocked.
#[derive(Debug)]
pub struct Signals {
    source: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Blocks the signals in this thread, and in those it starts from now on.
    ///
    /// # Errors
    ///
    /// The kernel refuses a file descriptor.
    pub fn take() -> io::Result<Self> {
        Self::take_with(&[])
    }

    /// The same, and these, too.
    ///
    /// # Errors
    ///
    /// The kernel refuses a file descriptor.
    pub fn take_with(more: &[Signal]) -> io::Result<Self> {
        IS_ASKED_TO_END.store(false, Ordering::Relaxed);
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        for signal in PASSED_ON.iter().chain(more) {
            set.add(*signal);
        }
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let source = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { source, before })
    }

    /// The mask that capaudit was started with, which is the command's.
    pub fn mask_before(&self) -> SigSet {
        self.before
    }

    /// The next signal, if one has arrived.
    ///
    /// # Errors
    ///
    /// The file descriptor cannot be read.
    pub fn next(&self) -> io::Result<Option<Arrived>> {
        loop {
            let Some(info) = self.source.read_signal()? else {
                return Ok(None);
            };
            let Some(signal) = i32::try_from(info.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok())
            else {
                continue;
            };
            if signal == Signal::SIGCHLD {
                return Ok(Some(Arrived::Child));
            }
            // si_code is positive if the kernel sent it, which for these means the terminal (sigaction(2)).
            return Ok(Some(if info.ssi_code > 0 {
                Arrived::FromTerminal(signal)
            } else {
                if is_ending(signal) {
                    IS_ASKED_TO_END.store(true, Ordering::Relaxed);
                }
                Arrived::Sent(signal)
            }));
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// Lets a signal do again what it does by default.
pub(super) fn restore_default(wanted: Signal) {
    // SAFETY: no handler of ours is replaced; the default has no code.
    let _ = unsafe { signal(wanted, SigHandler::SigDfl) };
    let mut set = SigSet::empty();
    set.add(wanted);
    let _ = set.thread_unblock();
}
