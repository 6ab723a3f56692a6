//! An audit: a command runs, and is observed from start to end; or what runs already is, for a while.

use std::{ffi::OsString, pin::pin, process::ExitStatus, time::Duration};

use capaudit_core::{capability::CapSet, ledger::Ledger};

use crate::{
    launch::{Arrived, Launched, Signals, shell_status},
    privilege,
    probe::TracerConfig,
    session::{
        error::{AuditError, ObservationError},
        observation::{Observation, Origin, readable},
    },
    subject::{Identity, attached::Target},
};

/// Our nice value while something is observed.
const PRIORITY: i32 = -10;

/// How long processes that are let go on together take to do so.
const CONTINUE_TOGETHER: Duration = Duration::from_millis(20);

/// What is to be audited, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the kernel is watched.
    pub settings: TracerConfig,
    /// The command.
    pub command: Vec<OsString>,
    /// Go on until the last of the command's descendants has ended.
    pub wait_children: bool,
    /// What is kept in reserve of capaudit's own capabilities for what follows the audit.
    pub reserve: CapSet,
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
    let mut observation = Observation::start(&plan.settings).await?;
    let arrivals =
        readable(&signals).map_err(ObservationError::system("cannot wait for signals"))?;
    let mut launched = observation
        .launch(|| Launched::start(&plan.command, &signals))
        .map_err(|error| AuditError::Command {
            program: plan.command.first().cloned().unwrap_or_default(),
            error,
        })?;
    hurry();
    observation.give_up_all_but(privilege::TO_SIGNAL.union(plan.reserve))?;
    let mut status: Option<ExitStatus> = None;
    loop {
        tokio::select! {
            biased;
            ready = arrivals.readable() => {
                let mut ready = ready.map_err(ObservationError::system("cannot wait for signals"))?;
                match signals.next().map_err(ObservationError::system("cannot read signals"))? {
                    Some(Arrived::Sent(signal)) if status.is_none() => launched.forward(signal),
                    // Nobody to pass it on to: whoever waits for the children has waited enough.
                    Some(Arrived::Sent(_) | Arrived::FromTerminal(_)) if status.is_some() => break,
                    Some(_) => {}
                    None => ready.clear_ready(),
                }
                if status.is_none() {
                    status = launched.ended().map_err(ObservationError::system("cannot wait for the command"))?;
                    if launched.is_suspended() {
                        // Ctrl-Z stops us as well as the command, and what goes on again goes on one after the other.
                        tokio::time::sleep(CONTINUE_TOGETHER).await;
                        if launched.is_suspended() {
                            launched.suspend();
                        }
                    }
                }
            }
            advanced = observation.advance() => advanced?,
        }
        if status.is_some()
            && !(plan.wait_children && observation.tracker().is_live(&Identity::Command))
        {
            break;
        }
    }
    let status = match status {
        Some(status) => status,
        // Only after a signal while waiting for children, by when the command has ended.
        None => launched
            .ended()
            .map_err(ObservationError::system("cannot wait for the command"))?
            .unwrap_or_default(),
    };
    let ledger = observation
        .finish(Origin {
            command: plan
                .command
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            exit_status: Some(shell_status(status)),
        })
        .await?;
    Ok(Outcome { ledger, status })
}

/// Audits what runs already, until all of it has ended, a signal comes, or the time is over.
///
/// `began` is told how many processes are observed. `reserve` is what is kept in reserve of capaudit's own capabilities for what follows.
///
/// # Errors
///
/// Tracing is not possible, or a target is not there.
pub async fn attach(
    settings: &TracerConfig,
    targets: &[Target],
    duration: Option<Duration>,
    reserve: CapSet,
    signals: Signals,
    began: impl FnOnce(usize),
) -> Result<Ledger, AuditError> {
    let mut observation = Observation::start(settings).await?;
    let arrivals =
        readable(&signals).map_err(ObservationError::system("cannot wait for signals"))?;
    let mut processes = 0;
    for target in targets {
        processes += observation.attach(target).await?;
    }
    began(processes);
    hurry();
    observation.give_up_all_but(reserve)?;
    let mut over = pin!(after(duration));
    loop {
        tokio::select! {
            biased;
            ready = arrivals.readable() => {
                let mut ready = ready.map_err(ObservationError::system("cannot wait for signals"))?;
                match signals.next().map_err(ObservationError::system("cannot read signals"))? {
                    Some(Arrived::Sent(_) | Arrived::FromTerminal(_)) => break,
                    Some(Arrived::Child) => {}
                    None => ready.clear_ready(),
                }
            }
            () = &mut over => break,
            advanced = observation.advance() => advanced?,
        }
        // With a time given, a container may still be started again.
        if duration.is_none() && !observation.tracker().is_any_live() {
            break;
        }
    }
    Ok(observation.finish(Origin::default()).await?)
}

/// Waits for that long; without a time, for ever.
pub async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// What became of a short-lived process can only be looked up in time if we are not kept waiting. Called when
/// the command has started, so that it keeps the priority it would have had.
pub fn hurry() {
    let _ = rustix::process::setpriority_process(None, PRIORITY);
}
