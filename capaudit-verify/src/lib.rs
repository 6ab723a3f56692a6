//! Proof: a set is enforced, the command is run again, and its exit status is the judge.
//!
//! This crate never decides what a check means, nor which set is recommended (that is `capaudit-core`'s), and prints
//! nothing but its progress.
//!
//! Begin to read with [`run`]. [`minimize`] decides which sets are tried (pure); [`enforce`] says how a set is enforced on a command line
//! (pure, but for the last step); `proxy` enforces it between a command and an engine; `execute` makes a run; `state` keeps them; [`proof`] tells what they say.

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
use capaudit_tracer::{
    launch::Signals,
    probe::{Enforcer, EnforcerConfig},
};
use enforce::{
    Enforcement, NotUnderstood,
    compose::{ComposeRun, Resolved},
    docker::DockerRun,
    life::LifeRun,
    socket::SocketRun,
};
use minimize::{Candidate, Fate, Minimum, Problem};
use progress::Progress;
use proof::{Member, Proof};
use runner::Runner;
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
        signals,
        progress,
        told_of_missing: false,
        directory: directory.path(),
        asked_in: BTreeMap::new(),
        notes: BTreeSet::new(),
    };
    let verified = loop {
        match verified(plan, &mut runner, &second) {
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

/// The way to enforce sets that fits where they come from, if nobody asked for one.
fn fitting(plan: &Plan) -> Via {
    let via = plan.run.via();
    if !plan.may_change || via != Via::Bounding {
        return via;
    }
    let is_of_containers = match &plan.source {
        Source::Audit => false,
        Source::Sessions(ledger) => starts_containers(ledger),
        Source::Given(sets) => sets.iter().any(|(name, _set)| name.is_some()),
    };
    if is_of_containers { Via::Socket } else { via }
}

/// Whether containers were audited that the command started.
fn starts_containers(ledger: &Ledger) -> bool {
    ledger
        .subjects
        .iter()
        .any(|subject| subject.container().is_some() && !subject.other)
}

fn enforcement(plan: &Plan, via: Via, signals: &Signals) -> Result<Enforcement, VerifyError> {
    if let Run::Life(life) = &plan.run {
        return living(life, signals);
    }
    match via {
        Via::Life => Err(NotUnderstood::new("a life is led by `capaudit harden`").into()),
        Via::Bounding => Ok(Enforcement::Bounding(plan.command.clone())),
        Via::Socket => Ok(Enforcement::Socket(Box::new(SocketRun::new(
            &plan.command,
        )?))),
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
            let run = ComposeRun::parse(&plan.command, own_project())?;
            let resolved = resolved(&run, signals)?;
            Ok(Enforcement::Compose(Box::new(run), resolved))
        }
    }
}

/// Name of the compose project that runs make.
fn own_project() -> String {
    format!("capaudit-{}", std::process::id())
}

/// Name of the project that compose makes of these files (`project_name_from_path` of compose 1, `NormalizeProjectName` of
/// compose-go).
fn project_of(files: &[PathBuf]) -> String {
    if let Some(given) = std::env::var("COMPOSE_PROJECT_NAME")
        .ok()
        .filter(|name| !name.is_empty())
    {
        return given;
    }
    let directory = files
        .first()
        .and_then(|file| std::path::absolute(file).ok())
        .and_then(|file| Some(file.parent()?.file_name()?.to_string_lossy().to_lowercase()))
        .unwrap_or_default();
    directory
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(*c))
        .collect()
}

fn resolved(run: &ComposeRun, signals: &Signals) -> Result<Resolved, NotUnderstood> {
    let printed = execute::ask(&run.resolving(), signals).map_err(|error| {
        NotUnderstood::new(format!("compose does not understand its files: {error}"))
    })?;
    Resolved::new(printed)
}

fn living(life: &Life, signals: &Signals) -> Result<Enforcement, VerifyError> {
    let compose = ComposeRun::of_files(life.compose.clone(), &life.files, own_project());
    let resolved = resolved(&compose, signals)?;
    let there_is = |service: &String| resolved.services().contains(service);
    let named = life.services.iter().chain(&life.exit_code_from);
    if let Some(unknown) = named.clone().find(|service| !there_is(service)) {
        return Err(NotUnderstood::new(format!(
            "there is no service {unknown:?}; there are: {}",
            resolved.services().join(", ")
        ))
        .into());
    }
    let mut life = life.clone();
    if life.services.is_empty() {
        life.services = resolved.services().to_vec();
    }
    let run = LifeRun {
        called: project_of(&life.files),
        life,
        compose,
        expected: OnceCell::new(),
        no_new_privileges: OnceCell::new(),
    };
    Ok(Enforcement::Life(Box::new(run), resolved))
}

fn verified<'a>(
    plan: &Plan,
    runner: &mut Runner<'a>,
    second: &'a OnceCell<Enforcement>,
) -> Result<Verified, VerifyError> {
    let mut start = match &plan.source {
        Source::Audit => {
            let mut audited = runner.audit()?;
            let has_passed = audited.ledger.session.exit_status == Some(0);
            let is_bounded = runner.enforcement.via() == Via::Bounding;
            if plan.may_change && is_bounded && has_passed && starts_containers(&audited.ledger) {
                let other = Enforcement::Socket(Box::new(SocketRun::new(&plan.command)?));
                runner.change(second.get_or_init(|| other))?;
                audited = runner.audit()?;
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
