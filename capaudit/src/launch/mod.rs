//! Running the audited command as if capaudit were not there: its terminal, its signals, its exit status.

mod signals;

use std::{
    ffi::OsString,
    io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

pub use signals::{Arrived, Signals};

/// The audited command, running.
#[derive(Debug)]
pub struct Launched {
    child: Child,
}

impl Launched {
    /// Starts a command. It shares capaudit's terminal, process group, standard streams and environment, and
    /// has the signal mask that capaudit was started with.
    ///
    /// # Errors
    ///
    /// It cannot be executed.
    pub fn start(command: &[OsString], signals: &Signals) -> io::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let mut command = Command::new(program);
        command.args(arguments);
        let mask = signals.mask_before();
        // A blocked signal stays blocked across execve (signal(7)), and a shell that waits for its children
        // with SIGCHLD blocked waits for ever.
        // SAFETY: between fork and execve only sigprocmask is called, which is async-signal-safe.
        unsafe { command.pre_exec(move || Ok(mask.thread_set_mask()?)) };
        Ok(Self {
            child: command.spawn()?,
        })
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Passes a signal on.
    pub fn forward(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended meanwhile; then there is nobody to tell.
            let _ = signal::kill(Pid::from_raw(pid), signal);
        }
    }
}

/// The status as shells put it: the exit code, or 128 + signal.
pub fn shell_status(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Ends this process as the command ended, so that whoever waits for it cannot tell the difference.
pub fn end_like(status: ExitStatus) -> ! {
    if let Some(signal) = status
        .signal()
        .and_then(|number| Signal::try_from(number).ok())
    {
        // The command has dumped its core already, if any; ours would only be in the way.
        let _ =
            rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
        signals::restore_default(signal);
        let _ = signal::raise(signal);
    }
    std::process::exit(shell_status(status));
}
