//! Why nothing can be observed.

use std::{ffi::OsString, io};

use nix::sys::signal::Signal;
use thiserror::Error;

use crate::{probe::ProbeError, subject::attached::TargetError};

/// Why nothing can be observed.
#[derive(Debug, Error)]
pub enum ObservationError {
    /// Tracing is not possible here.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Something that observing needs of the system failed.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system answered.
        error: io::Error,
    },
}

impl ObservationError {
    /// Names what failed of the system: `what` could not be done.
    pub fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}

/// Why a target cannot be attached to.
#[derive(Debug, Error)]
pub enum AttachError {
    /// What was named cannot be found.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The kernel's map cannot be written.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// What others' processes are cannot be seen, so that nothing of them would be in the record.
    #[error("looking at what runs already takes CAP_SYS_PTRACE")]
    Blind,
}

/// Why an audit could not be made.
#[derive(Debug, Error)]
pub enum AuditError {
    /// Nothing can be observed here.
    #[error(transparent)]
    Observation(#[from] ObservationError),
    /// The command cannot be executed.
    #[error("cannot run {program:?}: {error}")]
    Command {
        /// What was to be run.
        program: OsString,
        /// What execve or fork answered.
        error: io::Error,
    },
    /// There is nothing to attach to.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A signal came before anything was observed.
    #[error("ended by {0} before anything was observed")]
    Signal(Signal),
}
