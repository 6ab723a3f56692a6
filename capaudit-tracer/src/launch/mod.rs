//! Running the audited command as if capaudit were not there: its terminal, its signals, its exit status.

mod signals;

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::{
        signal::{self, Signal},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};

use crate::privilege;

pub use signals::{Arrived, Signals, is_asked_to_end, is_ending};

/// What a command reads from and writes to.
#[derive(Debug)]
pub enum Streams {
    /// What capaudit reads from and writes to.
    Shared,
    /// The same, but standard output goes where standard error goes: capaudit's own output is for something else.
    OutputAside,
    /// No input; all output goes into this. The command gets a session of its own, so that it cannot reach capaudit's
    /// terminal behind our back either.
    Detached(OwnedFd),
}

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
        Self::start_with(command, signals, Streams::Shared)
    }

    /// The same with other streams.
    ///
    /// # Errors
    ///
    /// It cannot be executed.
    pub fn start_with(
        command: &[OsString],
        signals: &Signals,
        streams: Streams,
    ) -> io::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let mut command = Command::new(program);
        command.args(arguments);
        let detached = matches!(streams, Streams::Detached(_));
        match streams {
            Streams::Shared => {}
            Streams::OutputAside => {
                command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
            }
            Streams::Detached(output) => {
                command.stdin(Stdio::null());
                command.stdout(output.try_clone()?).stderr(output);
            }
        }
        let mask = signals.mask_before();
        // A blocked signal stays blocked across execve (signal(7)), and a shell that waits for its children
        // with SIGCHLD blocked waits for ever.
        // SAFETY: between fork and execve only sigprocmask and setsid are called, which are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                mask.thread_set_mask()?;
                if detached {
                    nix::unistd::setsid()?;
                }
                Ok(())
            });
        }
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

    /// Whether job control has stopped it: Ctrl-Z, or the terminal was not its to use.
    pub fn is_suspended(&self) -> bool {
        let Ok(pid) = i32::try_from(self.child.id()) else {
            return false;
        };
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        matches!(
            waitid(Id::Pid(Pid::from_raw(pid)), flags),
            // Not SIGSTOP: whoever stops the command alone means the command alone.
            Ok(WaitStatus::Stopped(
                _,
                Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU
            ))
        )
    }

    /// Stops this process as the command is stopped, so that the shell takes the terminal; returns when somebody lets
    /// us go on, and the command with us.
    pub fn suspend(&self) {
        // Where no shell is there to let us go on, the kernel ignores it (an orphaned process group, setpgid(2)).
        let _ = signal::raise(Signal::SIGTSTP);
        self.forward(Signal::SIGCONT);
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Sends the command a signal; nothing happens if it has ended.
    pub fn forward(&self, signal: Signal) {
        if let (Ok(pid), Ok(_signalling)) = (
            i32::try_from(self.child.id()),
            privilege::while_signalling(),
        ) {
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
