//! Proof: a set is enforced, the command is run again, and its exit status is the judge.
//!
//! This crate never decides what a check means, nor which set is recommended (that is `capaudit-core`'s), and prints
//! nothing but its progress.
//!
//! Begin to read with [`run`]. [`minimize`] decides which sets are tried (pure); [`enforce`] says how a set is enforced on a command line
//! (pure, but for the last step); `execute` makes a run; `state` keeps them; [`proof`] tells what they say.

mod alternatives;
pub mod channel;
pub mod enforce;
mod error;
mod execute;
mod grants;
pub mod minimize;
mod output;
pub mod progress;
pub mod proof;
mod runner;
mod start;
mod state;
mod target;
mod text;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use capaudit_core::{capability::CapSet, ledger::Ledger, report::Report};
use capaudit_tracer::{
    launch::Signals,
    probe::{Enforcer, EnforcerConfig},
};
use enforce::{
    Enforcement, NotUnderstood,
    compose::{ComposeRun, Resolved},
    docker::DockerRun,
};
use minimize::{Fate, Minimum, Problem};
use progress::Progress;
use proof::{Member, Proof};
use runner::Runner;
use start::{Start, given, of_audit, of_ledger};
use state::{Audited, Key, State};

pub use enforce::Via;
pub use enforce::bounding::Refusal;
pub use error::VerifyError;
pub use execute::ExecuteError;
pub use grants::{Grant, Grants};
pub use proof::{Verification, Verified};
pub use state::StateError;
pub use text::text;

/// Where the set comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// What an audit of the command recommends, which is made first.
    Audit,
    /// What these sessions recommend.
    Sessions(Box<Ledger>),
    /// The user, for all services or for each by name.
    Given(Vec<(Option<String>, CapSet)>),
}

/// What is to be verified, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Program and arguments of the command.
    pub command: Vec<OsString>,
    /// How sets are enforced.
    pub via: Via,
    /// Find out what can be left out.
    pub minimize: bool,
    /// Where the set comes from.
    pub source: Source,
    /// Runs that a set must pass.
    pub repeat: usize,
    /// Limit to each run.
    pub timeout: Option<Duration>,
    /// File that keeps the runs.
    pub state: Option<PathBuf>,
}

/// Verifies.
///
/// # Errors
///
/// Nothing could be verified. A command that fails is no error.
pub fn run(
    plan: &Plan,
    signals: &Signals,
    progress: &mut dyn Progress,
) -> Result<Verified, VerifyError> {
    execute::become_subreaper().map_err(VerifyError::system("cannot take charge of orphans"))?;
    let enforcement = enforcement(plan, signals)?;
    let key = Key {
        command: plan
            .command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        directory: std::env::current_dir()
            .map_err(VerifyError::system("there is no working directory"))?,
        via: plan.via,
    };
    let mut runner = Runner {
        enforcement: &enforcement,
        command: &plan.command,
        subjects: vec![String::new()],
        state: State::open(plan.state.as_deref(), key)?,
        timeout: plan.timeout,
        usual: None,
        signals,
        progress,
        told_of_missing: false,
    };
    let verified = verified(plan, &mut runner);
    runner.finish();
    match verified {
        Err(VerifyError::Interrupted { signal, .. }) => Err(VerifyError::Interrupted {
            signal,
            kept: runner.state.saved(),
            file: runner.state.file().map(PathBuf::from),
        }),
        other => other,
    }
}

fn enforcement(plan: &Plan, signals: &Signals) -> Result<Enforcement, VerifyError> {
    match plan.via {
        Via::Bounding => Ok(Enforcement::Bounding(plan.command.clone())),
        Via::Lsm => {
            // Better told before the command is audited than after.
            drop(Enforcer::start(EnforcerConfig::PERMISSIVE).map_err(VerifyError::CannotEnforce)?);
            Ok(Enforcement::Lsm(plan.command.clone()))
        }
        Via::Docker => {
            let run = DockerRun::parse(&plan.command)?;
            if let Some(name) = run.name().and_then(|name| name.to_str()) {
                let known = run.client(&["container", "inspect", "--format", "{{.Id}}", name]);
                if execute::ask(&known, signals).is_ok() {
                    return Err(NotUnderstood::new(format!(
                        "there is a container {name:?} already, so that no run can give the name to its own: remove it, or leave --name out"
                    ))
                    .into());
                }
            }
            Ok(Enforcement::Docker(Box::new(run)))
        }
        Via::Compose => {
            let project = format!("capaudit-{}", std::process::id());
            let run = ComposeRun::parse(&plan.command, project)?;
            let printed = execute::ask(&run.resolving(), signals).map_err(|error| {
                NotUnderstood::new(format!("compose does not understand its files: {error}"))
            })?;
            Ok(Enforcement::Compose(Box::new(run), Resolved::new(printed)?))
        }
    }
}

fn verified(plan: &Plan, runner: &mut Runner<'_>) -> Result<Verified, VerifyError> {
    let mut start = match &plan.source {
        Source::Audit => {
            let audited = runner.audit()?;
            match audited.ledger.session.exit_status {
                Some(0) | None => of_audit(runner.enforcement, audited)?,
                Some(status) => return Ok(failed_at_once(plan, runner, audited, status)),
            }
        }
        Source::Sessions(ledger) => of_ledger(runner.enforcement, (**ledger).clone(), None)?,
        Source::Given(sets) => {
            let (subjects, candidates) = given(runner.enforcement, sets)?;
            runner.subjects = subjects;
            Start {
                ledger: None,
                targets: Vec::new(),
                candidates,
                granted: None,
                alternatives: Grants::new(Vec::new()),
                suspects: Grants::new(Vec::new()),
                beyond: Vec::new(),
                notes: Vec::new(),
            }
        }
    };
    if start.ledger.is_some() {
        runner.subjects = start
            .targets
            .iter()
            .map(|target| target.name.clone())
            .collect();
    }
    let grants: Vec<Grant> = start.candidates.iter().map(|it| it.grant).collect();
    let mut set = Grants::new(vec![CapSet::EMPTY; runner.subjects.len()]).with(&grants);
    if let Some(granted) = &start.granted
        && (plan.minimize || plan.via == Via::Bounding)
    {
        // The command did without the rest, and of a plain command's it cannot have more.
        let beyond = set.difference(granted);
        if !beyond.is_empty() && !plan.minimize {
            start.notes.push(format!(
                "recommended, but not granted to the command when it was audited, and so left out: {}",
                beyond.all().names().collect::<Vec<_>>().join(" ")
            ));
        }
        set = set.intersection(granted);
    }
    runner::check(runner.enforcement, &set)?;
    let minimum = if plan.minimize {
        let problem = Problem {
            candidates: start.candidates.clone(),
            kept: start.beyond.clone(),
            granted: start.granted.clone(),
            alternatives: start.alternatives.clone(),
            suspects: start.suspects.clone(),
            repeat: plan.repeat,
        };
        minimize::minimize(&problem, runner)?
    } else {
        minimize::verify(set, plan.repeat, runner)?
    };
    Ok(told(plan, runner, start, &minimum))
}

/// What there is to say of a command that fails with what it grants itself.
fn failed_at_once(
    plan: &Plan,
    runner: &Runner<'_>,
    audited: Audited,
    exit_status: i32,
) -> Verified {
    let mut verification = empty(plan, runner);
    verification.enforced = false;
    verification.exit_status = exit_status;
    verification.output = audited.output;
    Verified {
        report: Some(Report::of(&audited.ledger)),
        verification,
        ledger: Some(audited.ledger),
    }
}

fn empty(plan: &Plan, runner: &Runner<'_>) -> Verification {
    Verification {
        via: plan.via,
        command: plan
            .command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        passed: false,
        enforced: true,
        set: CapSet::EMPTY,
        services: std::collections::BTreeMap::new(),
        runs: runner.state.used(),
        exit_status: 0,
        output: Vec::new(),
        proofs: Vec::new(),
        removed: Vec::new(),
        unsettled: Vec::new(),
        missed: Vec::new(),
        flaky: false,
        notes: Vec::new(),
    }
}

fn told(plan: &Plan, runner: &Runner<'_>, start: Start, minimum: &Minimum) -> Verified {
    let mut ledger = start.ledger;
    let mut verification = empty(plan, runner);
    verification.notes = start.notes;
    verification.passed = minimum.passed;
    verification.flaky = minimum.flaky;
    verification.set = minimum.set.all();
    verification.services = proof::services(&minimum.set, &runner.subjects);
    let last = minimum
        .last_trial
        .and_then(|number| runner.state.run(number));
    if !minimum.passed {
        verification.exit_status = last.map_or(1, |run| run.exit_status);
        verification.output = last.map(|run| run.output.clone()).unwrap_or_default();
        if start.granted.is_some() {
            verification.notes.push(if plan.minimize {
                "the command fails even with all that it was granted, once that is enforced: what it lacks is no capability"
                    .to_owned()
            } else {
                "the audit may have missed a capability: --minimize finds out which".to_owned()
            });
        }
        return Verified {
            report: ledger.as_ref().map(Report::of),
            verification,
            ledger,
        };
    }
    for (grant, fate) in &minimum.fates {
        let member = Member::of(*grant, &runner.subjects);
        match fate {
            Fate::Proven { trial } => {
                if minimum.missed.contains(*grant) {
                    verification.missed.push(member.clone());
                }
                verification.proofs.extend(proof(runner, member, *trial));
            }
            Fate::Removed => verification.removed.push(member),
            Fate::Unsettled | Fate::Kept => verification.unsettled.push(member),
        }
    }
    if let Some(ledger) = &mut ledger
        && plan.minimize
    {
        proof::settle(ledger, &start.targets, minimum);
    }
    Verified {
        report: ledger.as_ref().map(Report::of),
        verification,
        ledger,
    }
}

fn proof(runner: &Runner<'_>, of: Member, trial: usize) -> Option<Proof> {
    let run = runner.state.run(trial)?;
    let set = runner
        .subjects
        .iter()
        .map(|name| run.set.get(name).copied().unwrap_or_default())
        .collect();
    Some(Proof {
        of,
        command: runner
            .enforcement
            .shown(runner.command, &runner.subjects, &Grants::new(set)),
        exit_status: run.exit_status,
        timed_out: run.timed_out,
        output: run.output.clone(),
    })
}
