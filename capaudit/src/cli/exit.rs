//! How capaudit ends.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus},
};

use capaudit_tracer::launch::{end_like, shell_status};
use nix::sys::signal::Signal;

/// How capaudit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Success,
    /// There was a finding.
    Finding,
    /// The usage or an input was wrong.
    Usage,
    /// Tracing is not possible here.
    CannotTrace,
    /// The record is incomplete, under --strict.
    Incomplete,
    /// The command exists, but cannot be executed.
    NotExecutable,
    /// There is no such command.
    NotFound,
    /// As a command did: by the same signal, if it was one.
    Like(ExitStatus),
}

impl Exit {
    /// Of a command that cannot be executed for this reason.
    pub fn of_refused_command(why: &io::Error) -> Self {
        if why.kind() == io::ErrorKind::NotFound {
            Self::NotFound
        } else {
            Self::NotExecutable
        }
    }

    /// As a command that ended with this status.
    pub fn of_status(status: i32) -> Self {
        Self::Like(ExitStatus::from_raw((status & 0xff) << 8))
    }

    /// By this signal.
    pub fn of_signal(signal: Signal) -> Self {
        Self::Like(ExitStatus::from_raw(signal as i32))
    }

    /// The exit status, as a shell shows it.
    pub fn status(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::Finding => 1,
            Self::Usage => 2,
            Self::CannotTrace => 3,
            Self::Incomplete => 4,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Like(status) => shell_status(status),
        }
    }

    /// What `main` returns. Does not return itself if a signal ended the command: then it ends this process, too.
    pub fn end(self) -> ExitCode {
        match self {
            Self::Like(status) => end_like(status),
            // All of the others are below 128.
            other => ExitCode::from(u8::try_from(other.status()).unwrap_or(u8::MAX)),
        }
    }
}
