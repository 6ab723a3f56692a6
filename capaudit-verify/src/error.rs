//! Why nothing could be verified.

use std::{io, path::PathBuf, time::Duration};

use capaudit_core::{capability::CapSet, ledger::LoadError, text::sanitize};
use capaudit_tracer::probe::ProbeError;
use nix::sys::signal::Signal;
use thiserror::Error;

use super::{
    ExecuteError, StateError,
    enforce::{NotUnderstood, socket::NoSocket},
};

/// Why nothing could be verified.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The command, the set or a session cannot be used.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// Kept runs cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The audit's own record cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Tracing is not possible here.
    #[error("the command cannot be audited: {0}")]
    CannotTrace(String),
    /// No set can be enforced here.
    #[error(transparent)]
    CannotEnforce(ProbeError),
    /// No socket can stand in for an engine's.
    #[error(transparent)]
    NoSocket(#[from] NoSocket),
    /// An engine does not answer at its socket, or ours cannot be made.
    #[error("cannot stand in for the engine's socket: {0}")]
    NoEngine(io::Error),
    /// Sets were to be enforced on these, and were not.
    #[error("not verified: nothing was enforced on {}", not_enforced(.0))]
    NotEnforced(Vec<String>),
    /// A container may be any of several subjects.
    #[error(
        "not verified: nothing that stays the same in each run tells which of {} the container {} is",
        sanitize(&.subjects.join(", ")),
        sanitize(.container)
    )]
    Ambiguous {
        /// What it is called.
        container: String,
        /// Names of the subjects.
        subjects: Vec<String>,
    },
    /// A container ran with something else than its set.
    #[error(
        "not verified: {} was to run with {}, and ran with {}",
        sanitize(.container),
        set_text(Some(*.wanted)),
        set_text(*.found)
    )]
    NotInForce {
        /// What it is called.
        container: String,
        /// Set that was to be enforced on it.
        wanted: CapSet,
        /// What it had; `None` if that was no set of ours.
        found: Option<CapSet>,
    },
    /// The command cannot be executed.
    #[error("{told}")]
    NotExecuted {
        /// What is wrong, as a sentence that names the command.
        told: String,
        /// 126 if it cannot be executed, 127 if there is no such program, as of a shell.
        status: i32,
    },
    /// The command did not end in time, with all that it grants itself.
    #[error("with what it grants itself, the command did not end within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// A run could not be made.
    #[error(transparent)]
    Execute(ExecuteError),
    /// A signal asked to stop.
    #[error("interrupted; {}", interrupted(.kept, .file))]
    Interrupted {
        /// The signal that capaudit received.
        signal: Signal,
        /// Number of runs that the file keeps.
        kept: usize,
        /// The file that keeps them (`--state`); `None` if they are lost.
        file: Option<PathBuf>,
    },
}

impl VerifyError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Execute(ExecuteError::System { what, error })
    }
}

impl From<ExecuteError> for VerifyError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Interrupted(signal) => Self::Interrupted {
                signal,
                kept: 0,
                file: None,
            },
            other => Self::Execute(other),
        }
    }
}

fn interrupted(kept: &usize, file: &Option<PathBuf>) -> String {
    match file {
        Some(file) => format!(
            "what was found so far (runs: {kept}) is kept in {file:?}: the same command goes on from there"
        ),
        None => "with --state FILE, the runs made so far would have been kept".to_owned(),
    }
}

fn not_enforced(subjects: &[String]) -> String {
    let name = |name: &String| match name.is_empty() {
        true => "any container".to_owned(),
        false => sanitize(name),
    };
    subjects.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn set_text(set: Option<CapSet>) -> String {
    match set {
        Some(set) if set.is_empty() => "no capability".to_owned(),
        Some(set) => set.names().collect::<Vec<_>>().join(" "),
        None => "something else".to_owned(),
    }
}
