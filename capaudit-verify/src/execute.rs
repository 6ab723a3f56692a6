//! One run: started in a session of its own, its output captured, ended with all that it started.

use std::{
    ffi::OsString,
    io::{self, PipeReader, Read as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use capaudit_tracer::{
    launch::{Arrived, Signals},
    privilege::own,
    proc::status::Status,
};
use nix::{
    sys::{
        prctl,
        signal::{self, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
};
use thiserror::Error;

use super::{
    channel::{self, Failed, Receiver},
    enforce::{Invocation, bounding},
    output::Tail,
};

/// How long what a run left behind may take to die.
const BURIAL: Duration = Duration::from_secs(2);
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// Why a run could not be made.
#[derive(Debug, Error)]
pub enum ExecuteError {
    /// The set cannot be enforced.
    #[error(transparent)]
    Refused(#[from] bounding::Refusal),
    /// The command cannot be executed.
    #[error("cannot run {program:?}: {error}")]
    Command {
        /// What was to be run.
        program: OsString,
        /// What execve or fork answered.
        error: io::Error,
    },
    /// Something a run needs of the system failed.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system answered.
        error: io::Error,
    },
    /// Somebody wants no more runs.
    #[error("interrupted")]
    Interrupted(Signal),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// How the command ended.
    pub status: ExitStatus,
    /// It was ended because it took too long.
    pub timed_out: bool,
    /// What it printed last, standard output and standard error as they came.
    pub output: Tail,
    /// Why it failed, if it is a capaudit that did.
    pub failed: Option<Failed>,
    /// How long it took.
    pub duration: Duration,
}

/// Makes what runs leave behind children of this process when their parents end, so that it can be ended too.
///
/// # Errors
///
/// The kernel refuses.
pub(super) fn become_subreaper() -> io::Result<()> {
    // Any pid means yes.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Runs a command to its end, or to the end of `patience`. Everything it started is ended with it.
///
/// # Errors
///
/// It could not be run, or a signal asks to stop; it is ended then, too.
pub(super) fn execute(
    invocation: &Invocation,
    patience: Option<Duration>,
    signals: &Signals,
) -> Result<Ended, ExecuteError> {
    let system = |what| move |error: io::Error| ExecuteError::System { what, error };
    let Started {
        mut reader,
        mut child,
        failure,
        at: started,
    } = start(invocation, signals)?;
    let deadline = patience.map(|patience| started + patience);
    let mut output = Tail::default();
    let mut open = true;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok((status, false)),
            Ok(None) => {}
            Err(error) => break Err(system("cannot wait for the command")(error)),
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break kill(&mut child)
                .map(|status| (status, true))
                .map_err(system("cannot end the command"));
        }
        if let Err(error) = wait(signals, open.then_some(&reader), left) {
            break Err(system("cannot wait for the command")(error));
        }
        if open {
            open = read(&mut reader, &mut output);
        }
        match stop_asked(signals) {
            Ok(None) => {}
            Ok(Some(signal)) => break Err(ExecuteError::Interrupted(signal)),
            Err(error) => break Err(system("cannot read signals")(error)),
        }
    };
    let duration = started.elapsed();
    if ended.is_err() {
        // What went wrong before is what there is to tell.
        let _ = kill(&mut child);
    }
    bury_orphans();
    while open && read(&mut reader, &mut output) && is_readable(&reader) {}
    let (status, timed_out) = ended?;
    Ok(Ended {
        status,
        timed_out,
        output,
        failed: failure.and_then(Receiver::received),
        duration,
    })
}

/// A run under way.
struct Started {
    reader: PipeReader,
    child: Child,
    failure: Option<Receiver>,
    at: Instant,
}

fn start(invocation: &Invocation, signals: &Signals) -> Result<Started, ExecuteError> {
    let system = |what| move |error: io::Error| ExecuteError::System { what, error };
    if let Some(set) = invocation.bounding {
        bounding::check(set)?;
    }
    let (reader, writer) = io::pipe().map_err(system("cannot make a pipe"))?;
    let flags = rustix::fs::fcntl_getfl(&reader)
        .and_then(|flags| rustix::fs::fcntl_setfl(&reader, flags | OFlags::NONBLOCK));
    flags.map_err(|error| system("cannot make a pipe")(error.into()))?;
    let also = writer.try_clone().map_err(system("cannot make a pipe"))?;
    let (failure, words) = if invocation.ourselves {
        let (writer, receiver) = channel::channel().map_err(system("cannot make a pipe"))?;
        let words = channel::with_option(&invocation.words, &writer);
        (Some((writer, receiver)), words)
    } else {
        (None, invocation.words.clone())
    };
    let (sender, failure) = failure.unzip();
    let mut command = command(&words)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(also);
    command.envs(
        invocation
            .environment
            .iter()
            .map(|(name, value)| (name, value)),
    );
    let (mask, set) = (signals.mask_before(), invocation.bounding);
    // SAFETY: between fork and execve only system calls are made, none of which allocates or locks.
    unsafe {
        command.pre_exec(move || {
            mask.thread_set_mask()?;
            // Without a terminal it cannot wait for an answer from one, nor be stopped for asking.
            rustix::process::setsid()?;
            // If we are killed, nobody would end it.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            sender.as_ref().map_or(Ok(()), channel::inherit)?;
            set.map_or(Ok(()), own::drop_all_but)
        });
    }
    let started = Instant::now();
    let child = command.spawn().map_err(|error| ExecuteError::Command {
        program: invocation.words.first().cloned().unwrap_or_default(),
        error,
    })?;
    // `command` goes, and with it our copies of the pipes' writing ends: a pipe is at its end when the last process
    // that has it is.
    Ok(Started {
        reader,
        child,
        failure,
        at: started,
    })
}

fn command(words: &[OsString]) -> Result<Command, ExecuteError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(ExecuteError::Command {
            program: OsString::new(),
            error: io::ErrorKind::InvalidInput.into(),
        });
    };
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// Runs a command that is no run of the audited program, such as an engine's to remove a container. Gives its
/// standard output.
///
/// # Errors
///
/// It cannot be executed, or fails: the error holds its standard error.
pub(super) fn ask(words: &[OsString], signals: &Signals) -> io::Result<String> {
    let mut command = command(words).map_err(io::Error::other)?;
    let mask = signals.mask_before();
    // SAFETY: between fork and execve only system calls are made.
    unsafe {
        command.pre_exec(move || {
            mask.thread_set_mask()?;
            // Ctrl-C is not for it: it is to do its work to the end.
            rustix::process::setsid()?;
            Ok(())
        });
    }
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(told.trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn wait(signals: &Signals, reader: Option<&PipeReader>, left: Option<Duration>) -> io::Result<()> {
    let signals = signals.as_fd();
    let mut sources = vec![PollFd::from_borrowed_fd(signals, PollFlags::IN)];
    if let Some(reader) = reader {
        sources.push(PollFd::new(reader, PollFlags::IN));
    }
    let timeout = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    match poll(&mut sources, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads what there is, once. Says whether there may be more one day.
fn read(reader: &mut PipeReader, output: &mut Tail) -> bool {
    let mut chunk = [0; CHUNK];
    match reader.read(&mut chunk) {
        Ok(0) => false,
        Ok(length) => {
            output.push(&chunk[..length]);
            true
        }
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        ),
    }
}

fn is_readable(reader: &PipeReader) -> bool {
    let mut sources = [PollFd::new(reader, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut sources, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// A signal that asks to stop, if one has arrived.
///
/// # Errors
///
/// Signals cannot be read.
pub(super) fn stop_asked(signals: &Signals) -> io::Result<Option<Signal>> {
    while let Some(arrived) = signals.next()? {
        match arrived {
            // What they mean is the audited command's business, and it cannot be asked about.
            Arrived::Sent(Signal::SIGUSR1 | Signal::SIGUSR2)
            | Arrived::FromTerminal(Signal::SIGUSR1 | Signal::SIGUSR2)
            | Arrived::Child => {}
            Arrived::Sent(signal) | Arrived::FromTerminal(signal) => return Ok(Some(signal)),
        }
    }
    Ok(None)
}

/// Ends the command and everything in its process group.
fn kill(child: &mut Child) -> io::Result<ExitStatus> {
    kill_group(child.id());
    child.kill()?;
    child.wait()
}

fn kill_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        // There may be nobody left in it.
        let _ = signal::killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

/// Ends what a run left behind: all of it falls to us as the parents end ([`become_subreaper`]), whatever process
/// group it is in.
fn bury_orphans() {
    let deadline = Instant::now() + BURIAL;
    loop {
        for orphan in children() {
            let _ = signal::kill(orphan, Signal::SIGKILL);
        }
        // The run's own process was waited for already, so that whatever is reaped here is an orphan.
        loop {
            match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                // No children: all is done.
                Err(_) => return,
            }
        }
        if Instant::now() > deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn children() -> Vec<Pid> {
    let own = std::process::id();
    let Ok(directory) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    directory
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| Status::read(pid).is_ok_and(|status| status.parent == Some(own)))
        .filter_map(|pid| i32::try_from(pid).ok().map(Pid::from_raw))
        .collect()
}
