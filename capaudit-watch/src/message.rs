//! What a watch says to whoever shows it, and what it can be asked.

use std::{path::PathBuf, process::ExitStatus, time::Duration};

use capaudit_core::ledger::{Hook, Ledger};
use capaudit_live::{Missing, Summary, client::ClientError, judged::JudgedCheck};
use capaudit_tracer::{launch::Streams, session::AuditError};
use nix::sys::signal::Signal;
use thiserror::Error;

use crate::state::State;

/// How often it is looked after what waits.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// How often the state of all totals is told.
pub(super) const STATE_EVERY: Duration = Duration::from_secs(1);
/// The part of our time that goes into that at most: where there is very much to tell, it is told less often.
pub(super) const STATE_SHARE: u32 = 10;

/// What there is to show.
#[derive(Debug)]
pub enum Message {
    /// From now on everything of interest is seen.
    Began {
        /// How checks are seen.
        hook: Hook,
        /// Processes that ran already and are watched.
        processes: usize,
    },
    /// Check events, in their order.
    Checks(Vec<JudgedCheck>),
    /// What all checks add up to, and what it means so far.
    State(Box<State>),
    /// What is missing among the check events so far, about once a second.
    Missing(Missing),
    /// The command wrote this.
    Output(Vec<u8>),
    /// A signal for whoever shows.
    Signal(Signal),
    /// What was watched has ended.
    Ended(Ending),
    /// What became of [`Request::Save`].
    Saved(Result<PathBuf, String>),
    /// Nothing: that time passes.
    Tick,
}

/// What has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The command, with this status.
    Command(ExitStatus),
    /// All that was attached to.
    Targets,
    /// The daemon that was watched.
    Daemon,
}

/// What whoever shows can ask for.
#[derive(Debug)]
pub enum Request {
    /// Save the session so far.
    Save(PathBuf),
    /// End the watch.
    Quit,
}

/// How a watch hands on what it sees.
#[derive(Debug)]
pub struct Delivery {
    /// Tell the state of all totals, too.
    pub states: bool,
    /// Go on when what was watched has ended, until asked to end.
    pub linger: bool,
    /// What the command reads from and writes to.
    pub streams: Streams,
}

/// What a watch comes to, once it has ended.
#[derive(Debug)]
pub struct Finished {
    /// Number of checks, what is missing, and the time it took.
    pub summary: Summary,
    /// What was found; `None` if it is the daemon's, and nobody wants it.
    pub ledger: Option<Ledger>,
    /// What has ended; `None` if whoever watches had enough.
    pub ending: Option<Ending>,
}

/// Why there is nothing to watch.
#[derive(Debug, Error)]
pub enum WatchError {
    /// This process cannot observe.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The daemon does not let us.
    #[error(transparent)]
    Daemon(#[from] ClientError),
}
