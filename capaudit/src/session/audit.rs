//! One audit from start to end: the command runs, records are taken as they come, totals at the end.

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd, OwnedFd},
    process::ExitStatus,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    launch::{Arrived, Launched, Signals, shell_status},
    ledger::{Ledger, SCHEMA, Session, unite},
    probe::{Losses, ProbeError, Settings, Tracer, symbols::Symbols},
    session::{Collector, milliseconds_since},
    subject::{Identity, engine::Engine, existing::Existing},
};

/// Records taken at a time, so that signals are never kept waiting.
const BATCH: usize = 1024;
/// How often maps are looked after.
const TICK: Duration = Duration::from_millis(100);
/// Batches taken at the very end. Should anything go on and on, the rest is counted as lost by the kernel.
const LAST_BATCHES: usize = 1 << 12;

/// Our nice value while the command runs.
const PRIORITY: i32 = -10;

/// Why an audit could not be made.
#[derive(Debug, Error)]
pub enum AuditError {
    /// Tracing is not possible here.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The command cannot be executed.
    #[error("cannot run {program:?}: {error}")]
    Command {
        /// What was to be run.
        program: OsString,
        /// Why not.
        error: io::Error,
    },
    /// Something the audit needs of the system failed.
    #[error("{what}: {error}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

/// What is to be audited, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the kernel is watched.
    pub settings: Settings,
    /// The command.
    pub command: Vec<OsString>,
    /// Go on until the last of the command's descendants has ended.
    pub wait_children: bool,
}

/// An audit's end.
#[derive(Debug)]
pub struct Outcome {
    /// What was found.
    pub ledger: Ledger,
    /// How the command ended.
    pub status: ExitStatus,
}

/// Runs the command and audits it.
///
/// # Errors
///
/// Tracing is not possible, or the command cannot be executed.
pub async fn audit(plan: &Plan, signals: Signals) -> Result<Outcome, AuditError> {
    let system = |what| move |error| AuditError::System { what, error };
    let symbols = std::thread::spawn(Symbols::of_running_kernel);
    let engine = Engine::connect().await;
    let mut tracer = Tracer::start(&plan.settings)?;
    let symbols = symbols.join().ok().and_then(Result::ok).unwrap_or_default();
    let mut notes = Vec::new();
    if symbols.is_empty() {
        notes.push(
            "the kernel hides its symbols (sysctl kernel.kptr_restrict): it cannot be told what a check was for, so every one counts as a need"
                .to_owned(),
        );
    }
    let mut collector = Collector::new(symbols);
    let records = readable(&tracer).map_err(system("cannot wait for records"))?;
    let arrivals = readable(&signals).map_err(system("cannot wait for signals"))?;

    // What has started by now is not ours, though it may have been seen already.
    let existing = Existing::look();
    for (process, mount_namespace) in existing.processes() {
        tracer.ignore_process(*process, *mount_namespace)?;
    }
    while tracer.drain(BATCH, |event| collector.record(event)) == BATCH {}
    collector.begin(existing);

    let started = jiff::Timestamp::now();
    let clock = Instant::now();
    let mut launched = tracer
        .following_children(|| Launched::start(&plan.command, &signals))
        .map_err(|error| AuditError::Command {
            program: plan.command.first().cloned().unwrap_or_default(),
            error,
        })?;

    // What became of a short-lived process can only be looked up in time if we are not kept waiting; the
    // command was started before, and keeps the priority it would have had.
    let _ = rustix::process::setpriority_process(None, PRIORITY);
    let mut tick = tokio::time::interval(TICK);
    let mut status: Option<ExitStatus> = None;
    loop {
        tokio::select! {
            biased;
            ready = arrivals.readable() => {
                let mut ready = ready.map_err(system("cannot wait for signals"))?;
                match signals.next().map_err(system("cannot read signals"))? {
                    Some(Arrived::Sent(signal)) if status.is_none() => launched.forward(signal),
                    // Nobody to pass it on to: whoever waits for the children has waited enough.
                    Some(Arrived::Sent(_) | Arrived::FromTerminal(_)) if status.is_some() => break,
                    Some(_) => {}
                    None => ready.clear_ready(),
                }
                if status.is_none() {
                    status = launched.ended().map_err(system("cannot wait for the command"))?;
                }
            }
            ready = records.readable() => {
                let mut ready = ready.map_err(system("cannot wait for records"))?;
                if tracer.drain(BATCH, |event| collector.record(event)) < BATCH {
                    ready.clear_ready();
                }
            }
            _ = tick.tick() => {
                if tracer.drain(BATCH, |event| collector.record(event)) < BATCH {
                    collector.rest();
                }
            }
        }
        collector.sweep(&mut tracer)?;
        if status.is_some()
            && !(plan.wait_children && collector.tracker().is_live(&Identity::Command))
        {
            break;
        }
    }
    // What still runs is not watched any more, so that totals and records are of the same moment.
    tracer.stop();
    for _ in 0..LAST_BATCHES {
        if tracer.drain(BATCH, |event| collector.record(event)) < BATCH {
            break;
        }
    }
    collector.finish(&mut tracer)?;
    let duration_ms = milliseconds_since(clock);
    let losses = Losses {
        files: collector.unseen_files(),
        ..tracer.losses()?
    };
    let hook = tracer.hook();
    drop(tracer);

    notes.extend(collector.notes());
    let containers = collector.containers();
    let described = match &engine {
        Some(engine) if !containers.is_empty() => engine.describe(&containers).await,
        _ => std::collections::HashMap::new(),
    };
    let command: Vec<String> = plan
        .command
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let (subjects, unattributed) = collector.into_records(&command, &described);
    let status = match status {
        Some(status) => status,
        // Only after a signal while waiting for children, by when the command has ended.
        None => launched
            .ended()
            .map_err(system("cannot wait for the command"))?
            .unwrap_or_default(),
    };
    let ledger = Ledger {
        schema: SCHEMA.to_owned(),
        session: Session {
            started: started.to_string(),
            duration_ms,
            kernel: kernel_release(),
            hook,
            command,
            exit_status: Some(shell_status(status)),
            losses,
            unattributed,
            notes,
        },
        subjects: unite(subjects),
    };
    Ok(Outcome { ledger, status })
}

/// Waits for a file descriptor, through one of its own.
fn readable(source: &impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = source.as_fd().try_clone_to_owned()?;
    // SAFETY: an open descriptor that nobody else closes or replaces.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registered?)
}

fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}
