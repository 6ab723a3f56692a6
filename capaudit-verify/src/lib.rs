//! Proof: a set is enforced, the command is run again, and its exit status is the judge.
//!
//! This crate never decides what a check means, nor which set is recommended (that is `capaudit-core`'s), and prints
//! nothing but its progress.
//!
//! Begin to read with [`run`]. [`minimize`] decides which sets are tried (pure); [`enforce`] says how a set is enforced on a command line
//! (pure, but for the last step); `proxy` enforces it between a command and an engine; `execute` makes a run; `state` keeps them; [`proof`] tells what they say.

mod alternatives;
pub mod channel;
mod choice;
pub mod enforce;
mod error;
mod execute;
mod grants;
pub mod minimize;
mod output;
pub mod progress;
pub mod proof;
mod proxy;
mod runner;
mod start;
mod state;
mod target;
mod text;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
    time::Duration,
};

use capaudit_core::{advise::Evidence, capability::CapSet, ledger::Ledger, report::Report};
use capaudit_life::Guard;
use capaudit_tracer::launch::Signals;
use choice::{enforcement, fitting, own_project, starts_containers};
use enforce::{Enforcement, socket::SocketRun};
use minimize::{Candidate, Fate, Minimum, Problem};
use progress::Progress;
use proof::{Member, Proof};
use proxy::role::{Traits, look_alike};
use runner::{Pace, Runner};
use start::{Start, given, of_audit, of_ledger};
use state::{Audited, Key, State};

pub use capaudit_life as life;
pub use enforce::Via;
pub use enforce::{bounding::Refusal, life::Life};
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

/// What the runs are to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Whether the set is enough.
    Enough,
    /// Which of what is doubtful can be left out, and whether the rest is enough.
    Doubt,
    /// As [`Self::Doubt`], but nothing is run if nothing is doubtful.
    OnlyDoubt,
    /// What can be left out of all of it, with a proof for each member that stays.
    Minimum,
}

/// What is to be verified, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Program and arguments of the command.
    pub command: Vec<OsString>,
    /// What is run, and how sets are enforced on it.
    pub run: Run,
    /// Nobody asked for that way: if it would enforce nothing on what the command does, another one is taken.
    pub may_change: bool,
    /// What the runs are to find out.
    pub aim: Aim,
    /// Where the set comes from.
    pub source: Source,
    /// Runs that a set must pass.
    pub repeat: usize,
    /// Limit to each run.
    pub timeout: Option<Duration>,
    /// File that keeps the runs.
    pub state: Option<PathBuf>,
}

/// What is run.
#[derive(Clone, Debug)]
pub enum Run {
    /// The command, with sets enforced this way.
    Command(Via),
    /// A compose project, through its whole life. The command is what people call that.
    Life(Box<Life>),
}

impl Run {
    fn via(&self) -> Via {
        match self {
            Self::Command(via) => *via,
            Self::Life(_) => Via::Life,
        }
    }
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
    let directory = runner::base()?;
    // While it is not yet ours to end what is left behind.
    let guard = match &plan.run {
        Run::Command(_) => None,
        Run::Life(life) => Some(
            Guard::set(&life.client, &own_project(), directory.path()).map_err(
                VerifyError::system("cannot start what cleans up in the end"),
            )?,
        ),
    };
    execute::become_subreaper().map_err(VerifyError::system("cannot take charge of orphans"))?;
    let via = fitting(plan);
    let mut first = enforcement(plan, via, signals)?;
    let key = Key {
        command: plan
            .command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        directory: std::env::current_dir()
            .map_err(VerifyError::system("there is no working directory"))?,
        via,
    };
    let or = (plan.may_change && via == Via::Bounding).then_some(Via::Socket);
    let state = State::open(plan.state.as_deref(), key, or)?;
    if state.via() != via {
        first = enforcement(plan, state.via(), signals)?;
    }
    let second = OnceCell::new();
    let mut runner = Runner {
        enforcement: &first,
        command: &plan.command,
        subjects: vec![String::new()],
        state,
        timeout: plan.timeout,
        usual: None,
        pace: Pace::default(),
        signals,
        progress,
        told_of_missing: false,
        directory: directory.path(),
        asked_in: BTreeMap::new(),
        notes: BTreeSet::new(),
        past: Vec::new(),
    };
    let verified = loop {
        match verified(plan, &mut runner, &first, &second) {
            Err(VerifyError::Ambiguous {
                container,
                subjects,
            }) if runner.merge(&container, &subjects) => {}
            other => break other,
        }
    };
    let is_clean = runner.finish();
    if let (Some(guard), true) = (guard, is_clean) {
        guard.dismiss();
    }
    match verified {
        Err(VerifyError::Interrupted { signal, .. }) => Err(VerifyError::Interrupted {
            signal,
            kept: runner.state.saved(),
            file: runner.state.file().map(PathBuf::from),
        }),
        other => other,
    }
}

fn verified<'a>(
    plan: &Plan,
    runner: &mut Runner<'a>,
    first: &'a Enforcement,
    second: &'a OnceCell<Enforcement>,
) -> Result<Verified, VerifyError> {
    let mut start = match &plan.source {
        Source::Audit => {
            let audited = audited(plan, runner, first, second)?;
            if let Enforcement::Socket(_) = runner.enforcement {
                runner.past = SocketRun::past(&audited.ledger, &audited.made);
            }
            match audited.ledger.session.exit_status {
                Some(0) | None => of_audit(runner.enforcement, audited)?,
                Some(status) => return Ok(failed_at_once(plan, runner, audited, status)),
            }
        }
        Source::Sessions(ledger) => of_ledger(runner.enforcement, (**ledger).clone(), None, &[])?,
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
                asked_in: BTreeMap::new(),
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
    let leaves_out = plan.aim != Aim::Enough;
    let mut set = Grants::new(vec![CapSet::EMPTY; runner.subjects.len()]).with(&grants);
    if let Some(granted) = &start.granted
        && (leaves_out || runner.enforcement.via() == Via::Bounding)
    {
        // The command did without the rest, and of a plain command's it cannot have more.
        let beyond = set.difference(granted);
        if !beyond.is_empty() && !leaves_out {
            start.notes.push(format!(
                "recommended, but not granted to the command when it was audited, and so left out: {}",
                beyond.all().names().collect::<Vec<_>>().join(" ")
            ));
        }
        set = set.intersection(granted);
    }
    runner::check(runner.enforcement, &set)?;
    runner.asked_in = std::mem::take(&mut start.asked_in);
    let doubtful = |it: &&Candidate| it.evidence == Evidence::Possible;
    let minimum = if plan.aim == Aim::OnlyDoubt && !start.candidates.iter().any(|it| doubtful(&it))
    {
        minimize::unrun(set)
    } else if leaves_out {
        let mut kept = start.beyond.clone();
        if plan.aim != Aim::Minimum {
            let sure = start.candidates.iter().filter(|it| !doubtful(it));
            kept.extend(sure.map(|it| it.grant));
        }
        let problem = Problem {
            candidates: start.candidates.clone(),
            kept,
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

/// The audit. If it shows that the command starts containers, and nobody asked for a way that enforces nothing on them,
/// it is made again through a socket.
fn audited<'a>(
    plan: &Plan,
    runner: &mut Runner<'a>,
    first: &'a Enforcement,
    second: &'a OnceCell<Enforcement>,
) -> Result<Audited, VerifyError> {
    let audited = runner.audit()?;
    let has_passed = audited.ledger.session.exit_status == Some(0);
    let is_bounded = runner.enforcement.via() == Via::Bounding;
    if !plan.may_change || !is_bounded || !has_passed || !starts_containers(&audited.ledger) {
        return Ok(audited);
    }
    let other = Enforcement::Socket(Box::new(SocketRun::new(&plan.command)?));
    runner.change(second.get_or_init(|| other))?;
    let again = runner.audit()?;
    let (before, now) = (
        SocketRun::past(&audited.ledger, &[]),
        SocketRun::past(&again.ledger, &[]),
    );
    let recurs = |it: &Traits| now.iter().any(|now| look_alike(it, now));
    if again.made.is_empty() && !before.iter().any(recurs) {
        // What others start is another thing each time.
        runner.change_back(first)?;
    }
    Ok(again)
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
        images: BTreeMap::new(),
    }
}

fn empty(plan: &Plan, runner: &Runner<'_>) -> Verification {
    Verification {
        via: runner.enforcement.via(),
        command: plan
            .command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        passed: false,
        enforced: true,
        set: CapSet::EMPTY,
        services: BTreeMap::new(),
        in_force: BTreeMap::new(),
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
    verification.notes.extend(runner.notes.iter().cloned());
    verification.passed = minimum.passed;
    verification.enforced = minimum.last_trial.is_some();
    verification.flaky = minimum.flaky;
    verification.set = minimum.set.all();
    verification.services = proof::services(&minimum.set, &runner.subjects);
    let last = minimum
        .last_trial
        .and_then(|number| runner.state.run(number));
    verification.in_force = last.map(|run| run.in_force.clone()).unwrap_or_default();
    if !minimum.passed {
        verification.exit_status = last.map_or(1, |run| run.exit_status);
        verification.output = last.map(|run| run.output.clone()).unwrap_or_default();
        if start.granted.is_some() {
            verification.notes.push(if plan.aim != Aim::Enough {
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
            images: BTreeMap::new(),
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
            // Nobody wanted it settled.
            Fate::Kept if plan.aim != Aim::Minimum => {}
            Fate::Unsettled | Fate::Kept => verification.unsettled.push(member),
        }
    }
    if let Some(ledger) = &mut ledger
        && plan.aim != Aim::Enough
    {
        proof::settle(ledger, &start.targets, minimum);
    }
    Verified {
        report: ledger.as_ref().map(Report::of),
        verification,
        ledger,
        images: runner.enforcement.images(),
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
