//! An audit: a command runs, and is observed from start to end; or what runs already is, for a while.

use std::{
    ffi::OsString,
    future::{Pending, pending},
    process::ExitStatus,
    time::Duration,
};

use capaudit_core::{capability::CapSet, ledger::Ledger};

use crate::{
    launch::{Signals, Streams},
    probe::TracerConfig,
    session::{
        driver::{self, Aim, Driver, Ending, OnSignal, Step},
        error::AuditError,
        signals::with_signals,
    },
    subject::attached::Target,
};

/// What is to be audited, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the kernel is watched.
    pub settings: TracerConfig,
    /// Program and arguments of the command.
    pub command: Vec<OsString>,
    /// Go on until the last of the command's descendants has ended.
    pub wait_children: bool,
    /// What is kept in reserve of capaudit's own capabilities for what follows the audit.
    pub reserve: CapSet,
}

/// What an audit leaves when the command has ended.
#[derive(Debug)]
pub struct Outcome {
    /// Every record of the audit, with its losses.
    pub ledger: Ledger,
    /// How the command ended.
    pub status: ExitStatus,
}

/// Runs the command and audits it.
///
/// # Errors
///
/// Tracing is not possible, or the command cannot be executed.
pub fn audit(plan: &Plan) -> Result<Outcome, AuditError> {
    with_signals(|signals| command(plan, signals))?
}

async fn command(plan: &Plan, signals: Signals) -> Result<Outcome, AuditError> {
    let plan = driver::Plan {
        settings: plan.settings.clone(),
        aim: Aim::Command {
            words: plan.command.clone(),
            streams: Streams::Shared,
            wait_children: plan.wait_children,
        },
        duration: None,
        reserve: plan.reserve,
        on_signal: OnSignal::PassOnWithJobControl,
        keep_check_events: false,
    };
    let mut driver = Driver::start(plan, signals).await?;
    let status = loop {
        if let Step::Ended(Ending::Command(status)) = driver.next(nothing()).await? {
            break status;
        }
    };
    let ledger = driver.finish().await?;
    Ok(Outcome { ledger, status })
}

/// Audits what runs already, until all of it has ended, a signal comes, or the time is over.
///
/// `began` is told how many processes are observed. `reserve` is what is kept in reserve of
/// capaudit's own capabilities for what follows.
///
/// # Errors
///
/// Tracing is not possible, or a target is not there.
pub fn attach(
    settings: &TracerConfig,
    targets: &[Target],
    duration: Option<Duration>,
    reserve: CapSet,
    began: &dyn Fn(usize),
) -> Result<Ledger, AuditError> {
    let plan = driver::Plan {
        settings: settings.clone(),
        aim: Aim::Targets(targets.to_vec()),
        duration,
        reserve,
        on_signal: OnSignal::PassOn,
        keep_check_events: false,
    };
    with_signals(|signals| running(plan, signals, began))?
}

async fn running(
    plan: driver::Plan,
    signals: Signals,
    began: &dyn Fn(usize),
) -> Result<Ledger, AuditError> {
    let mut driver = Driver::start(plan, signals).await?;
    began(driver.processes());
    while !matches!(driver.next(nothing()).await?, Step::Ended(_)) {}
    Ok(driver.finish().await?)
}

/// Nothing else to wait for.
fn nothing() -> Pending<()> {
    pending()
}
