//! Makes the runs: prepares each, executes it, judges how it ended, cleans up after it, keeps it.

mod audit;
mod evidence;
mod outcome;
mod pace;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
    time::{Duration, Instant},
};

use capaudit_core::{
    capability::CapSet,
    ledger::{Phase, Phases},
};
use capaudit_tracer::launch::{Signals, shell_status};
use evidence::Evidence;
use outcome::{not_executed, outcome};
pub(super) use pace::Pace;
use tempfile::TempDir;

use super::{
    Grant, Grants, VerifyError,
    enforce::{Enforcement, Scratch, bounding, life::LifeRun, lsm, socket::SocketRun},
    execute::{Ended, ExecuteError, ask, execute, stop_asked},
    minimize::{Outcome, Purpose, Step, Trial, Trials},
    progress::{self, Progress},
    proxy::{Proxy, Seen, Watch, role::Traits},
    state::{Run, State},
};

/// Without a limit of the user's, a run may take so many times as long as the first one.
const PATIENCE: u32 = 10;
/// And at least that long.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Runner<'a> {
    /// How sets are enforced.
    pub enforcement: &'a Enforcement,
    pub command: &'a [OsString],
    /// Names of what they are enforced on.
    pub subjects: Vec<String>,
    /// What was done already.
    pub state: State,
    /// Limit to each run, if the user gave one.
    pub timeout: Option<Duration>,
    /// How long the first run took.
    pub usual: Option<Duration>,
    /// How long runs take.
    pub pace: Pace,
    /// What asks to stop.
    pub signals: &'a Signals,
    pub progress: &'a mut dyn Progress,
    /// That something was missed has been told.
    pub told_of_missing: bool,
    /// Where each run has a directory of its own.
    pub directory: &'a Path,
    /// In which phases of a life a capability was asked for.
    pub asked_in: BTreeMap<Grant, Phases>,
    /// What the runs showed besides.
    pub notes: BTreeSet<String>,
    /// Containers that may be the command's and were not made through the socket that was there for that.
    pub past: Vec<Traits>,
}

/// The directory of one run, removed at its end.
struct Workplace {
    directory: TempDir,
    label: String,
}

/// A directory for all runs, removed at the end.
///
/// # Errors
///
/// It cannot be made.
pub(super) fn base() -> Result<TempDir, VerifyError> {
    tempfile::Builder::new()
        .prefix("capaudit-")
        .tempdir()
        .map_err(VerifyError::system("cannot make a directory"))
}

impl Workplace {
    fn new(base: &Path) -> Result<Self, VerifyError> {
        let directory = tempfile::Builder::new()
            .prefix("capaudit-")
            .tempdir_in(base)
            .map_err(VerifyError::system("cannot make a directory"))?;
        let label = directory
            .path()
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Self { directory, label })
    }

    fn scratch(&self) -> Scratch<'_> {
        Scratch {
            directory: self.directory.path(),
            label: &self.label,
        }
    }
}

impl<'a> Runner<'a> {
    /// Removes what a run left behind: at once if it did not end by itself, or if it leaves something always.
    fn clean(&mut self, place: &Workplace, ended: Option<&Ended>) -> Result<(), VerifyError> {
        let by_itself = ended.is_some_and(|ended| !ended.timed_out);
        if by_itself && !self.enforcement.leaves_something() {
            return Ok(());
        }
        let mut arguments: Vec<OsString> = Vec::new();
        for (step, words) in self
            .enforcement
            .removing(place.scratch(), false)
            .into_iter()
            .enumerate()
        {
            if step > 0 && arguments.is_empty() {
                break;
            }
            let words: Vec<OsString> = words.into_iter().chain(arguments).collect();
            match ask(&words, self.signals) {
                Ok(output) => arguments = output.split_whitespace().map(OsString::from).collect(),
                Err(error) => {
                    // The run itself is as good as it was; the next one would trip over the rest.
                    return match ended {
                        Some(_) => Err(
                            VerifyError::system("cannot remove what a run left behind")(error),
                        ),
                        None => Ok(()),
                    };
                }
            }
        }
        Ok(())
    }

    /// Removes what is kept from run to run. Says whether nothing is left.
    pub(super) fn finish(&mut self) -> bool {
        let place = match self.enforcement {
            Enforcement::Compose(..) | Enforcement::Life(..) => Workplace::new(self.directory),
            _ => return true,
        };
        let Ok(place) = place else { return false };
        let prepared = match self.enforcement {
            Enforcement::Life(run, resolved) => run.prepare_end(resolved, place.scratch()),
            other => other.audited(place.scratch()).map(drop),
        };
        // All that is left are images; that they stay is no reason to withhold the result.
        prepared.is_ok()
            && self
                .enforcement
                .removing(place.scratch(), true)
                .iter()
                .all(|words| ask(words, self.signals).is_ok())
    }

    /// The phases of a life that a run has to go through to show what it is to find out: where a capability was never asked
    /// for, its absence changes nothing, and the run of the final set goes through all.
    fn phases(&self, step: &Step) -> Phases {
        let Enforcement::Life(run, _) = self.enforcement else {
            return Phases::default();
        };
        let last = match &step.purpose {
            Purpose::Without(grants) => grants
                .iter()
                .map(|grant| self.asked_in.get(grant).and_then(|phases| phases.last()))
                .try_fold(Phase::Start, |last, phase| Some(last.max(phase?))),
            _ => None,
        };
        run.life
            .phases
            .iter()
            .copied()
            .filter(|phase| last.is_none_or(|last| *phase <= last))
            .collect()
    }

    /// What a run says to the search.
    fn trial(&self, number: usize, run: &Run) -> Trial {
        let at_fault = run.at_fault.as_ref();
        Trial {
            number,
            outcome: run.outcome,
            at_fault: at_fault.and_then(|name| self.subjects.iter().position(|it| it == name)),
        }
    }

    /// Sets by the subjects' names, which are the same in the next session.
    fn named(&self, set: &Grants) -> BTreeMap<String, CapSet> {
        self.subjects
            .iter()
            .enumerate()
            .map(|(subject, name)| (name.clone(), set.of(subject)))
            .collect()
    }

    /// From here on, sets are enforced in another way, and the command is audited again.
    ///
    /// # Errors
    ///
    /// The file of saved runs cannot be written.
    pub(super) fn change(&mut self, enforcement: &'a Enforcement) -> Result<(), VerifyError> {
        self.progress.note(
            "the command starts containers itself, which an engine starts for it: it is audited again, with a socket that stands in for the engine's (--via socket does so at once)",
        );
        self.enforcement = enforcement;
        self.state.change(enforcement.via())?;
        Ok(())
    }

    /// The command starts no containers after all: sets are enforced as before, and the audit stays.
    ///
    /// # Errors
    ///
    /// The file of saved runs cannot be written.
    pub(super) fn change_back(&mut self, enforcement: &'a Enforcement) -> Result<(), VerifyError> {
        self.progress.note(
            "the containers were somebody else's: they did not start again, and none was made through the socket",
        );
        self.enforcement = enforcement;
        self.state.rename(enforcement.via())?;
        Ok(())
    }

    /// Makes one of subjects that nothing tells apart in each run. Says whether there is anything to be made one.
    pub(super) fn merge(&mut self, container: &str, subjects: &[String]) -> bool {
        let merged = match self.enforcement {
            Enforcement::Socket(run) => run.merge(subjects),
            _ => false,
        };
        if merged {
            self.progress.note(&format!(
                "the container {container} may be any of {}, whose names differ from run to run: all containers of that image are taken for one",
                subjects.join(", ")
            ));
        }
        merged
    }

    /// The sockets that stand in for engines' in a run, if it has any.
    fn proxy(&self, place: &Workplace, set: Option<&Grants>) -> Result<Option<Proxy>, VerifyError> {
        let Enforcement::Socket(run) = self.enforcement else {
            return Ok(None);
        };
        Proxy::start(&run.sockets(place.scratch()), run.policy(set))
            .map(Some)
            .map_err(VerifyError::NoEngine)
    }

    /// Subjects that a set was to be enforced on in a run that passed, of which nothing shows that they were there. What a run
    /// without some grants is to find out concerns their subjects alone.
    fn without_a_trace(
        &self,
        place: &Workplace,
        step: &Step,
        watch: Option<&Watch>,
    ) -> Result<Vec<String>, VerifyError> {
        let asked = |error| VerifyError::system("cannot ask what a run started")(error);
        let concerned = evidence::concerned(step, &self.subjects);
        let scratch = place.scratch();
        let lacking = match self.enforcement {
            // The kernel limited the command before it was executed. Sockets have evidence of their own.
            Enforcement::Bounding(_) | Enforcement::Socket(_) => Vec::new(),
            Enforcement::Docker(_) => match scratch.container() {
                Some(_id) => Vec::new(),
                None => concerned,
            },
            Enforcement::Compose(run, _) => {
                let mut lacking = Vec::new();
                for service in concerned {
                    if run.runs(&service) {
                        continue;
                    }
                    let listed = ask(
                        &run.listing(&scratch.compose_file(), &service),
                        self.signals,
                    );
                    if listed.map_err(asked)?.trim().is_empty() {
                        lacking.push(service);
                    }
                }
                lacking
            }
            Enforcement::Life(run, _) => {
                let seen = run.learned(scratch).map_err(asked)?;
                let is_there = |service: &String| {
                    let mut phases = seen.services.values();
                    phases.any(|services| services.contains_key(service))
                };
                concerned.into_iter().filter(|it| !is_there(it)).collect()
            }
            Enforcement::Lsm(_) => match watch.map(Watch::started).transpose().map_err(asked)? {
                Some(0) => vec![lsm::CONTAINERS.to_owned()],
                _ => Vec::new(),
            },
        };
        Ok(lacking)
    }

    /// Watches what engines start, where only that shows that a set was enforced on anything.
    fn watch(&self) -> Option<Watch> {
        let is_of_containers = self.subjects.iter().any(|name| name == lsm::CONTAINERS);
        if !matches!(self.enforcement, Enforcement::Lsm(_)) || !is_of_containers {
            return None;
        }
        let engines = SocketRun::new(self.command).ok()?.engines();
        // What cannot be watched is not shown to have been there, nor not to have been.
        Watch::begin(&engines).ok()
    }

    fn make(&mut self, set: &Grants, step: &Step, phases: Phases) -> Result<Run, VerifyError> {
        let place = Workplace::new(self.directory)?;
        let invocation = self
            .enforcement
            .enforced(&self.subjects, set, phases, place.scratch())
            .map_err(VerifyError::system("cannot prepare a run"))?;
        let patience = self.timeout.or_else(|| {
            let usual = self.usual?.saturating_mul(PATIENCE);
            Some(usual.max(LEAST_PATIENCE))
        });
        let proxy = self.proxy(&place, Some(set))?;
        let watch = self.watch();
        let mut ended = execute(&invocation, patience, self.signals);
        let seen = proxy.map(passed);
        if let Err(ExecuteError::Command { error, .. }) = &ended
            && error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error())
            && let Some(set) = invocation.bounding
        {
            ended = Ok(not_executed(set));
        }
        let lacking = match &ended {
            Ok(ended) if outcome(self.enforcement, ended) == Outcome::Passed => {
                self.without_a_trace(&place, step, watch.as_ref())
            }
            _ => Ok(Vec::new()),
        };
        self.clean(&place, ended.as_ref().ok())?;
        let ended = ended?;
        let at_fault = match self.enforcement {
            Enforcement::Life(..) => LifeRun::at_fault(place.scratch()),
            _ => None,
        };
        if matches!(self.enforcement, Enforcement::Lsm(_)) && !place.scratch().in_force().exists() {
            return Err(not_audited(&ended));
        }
        let lacking = lacking?;
        if !lacking.is_empty() {
            return Err(VerifyError::NotEnforced(lacking));
        }
        if !ended.timed_out {
            self.usual.get_or_insert(ended.duration);
        }
        let mut evidence = Evidence {
            outcome: outcome(self.enforcement, &ended),
            ..Evidence::default()
        };
        if let Some(seen) = seen {
            evidence =
                evidence::of_sockets(&seen?, &self.subjects, &self.past, evidence.outcome, step)?;
        }
        self.notes.extend(evidence.notes);
        Ok(Run {
            set: self.named(set),
            phases,
            exit_status: shell_status(ended.status),
            timed_out: ended.timed_out,
            outcome: evidence.outcome,
            at_fault,
            in_force: evidence.in_force,
            output: ended.output.last_lines(),
            duration_ms: milliseconds(ended.duration),
        })
    }
}

impl Trials for Runner<'_> {
    type Error = VerifyError;

    fn run(&mut self, set: &Grants, step: &Step) -> Result<Trial, VerifyError> {
        if let Some(signal) =
            stop_asked(self.signals).map_err(VerifyError::system("cannot read signals"))?
        {
            return Err(ExecuteError::Interrupted(signal).into());
        }
        let looking = matches!(step.purpose, Purpose::Granted | Purpose::Added(_));
        if looking && !self.told_of_missing {
            self.told_of_missing = true;
            self.progress.note(
                "THE CANDIDATES ARE NOT ENOUGH: the audit missed something, which is now looked for in what the command was granted",
            );
        }
        let number = self.state.used() + 1;
        let what = format!(
            "run {number}/{}: {}",
            number + step.left,
            progress::purpose(step, set, &self.subjects)
        );
        let named = self.named(set);
        let phases = self.phases(step);
        if let Some((number, run)) = self.state.next_run(&named, phases) {
            let how = format!("{} (kept from before)", progress::result(step, &run));
            self.progress.ended(&what, &how);
            if !run.timed_out {
                let duration = Duration::from_millis(run.duration_ms);
                self.usual.get_or_insert(duration);
            }
            return Ok(self.trial(number, &run));
        }
        let begun = Instant::now();
        self.progress
            .begins(&what, self.pace.expected(step.left + 1));
        let run = self.make(set, step, phases)?;
        self.pace.add(begun.elapsed());
        let how = progress::result(step, &run);
        let mut trial = self.trial(0, &run);
        trial.number = self.state.save_run(run)?;
        self.progress.ended(&what, &how);
        Ok(trial)
    }
}

/// What passed through the sockets of a run that is over.
fn passed(proxy: Proxy) -> Result<Seen, VerifyError> {
    let (seen, removed) = proxy.stop();
    removed.map_err(VerifyError::system("cannot remove what a run left behind"))?;
    Ok(seen)
}

/// Why there is no session, or why a set did not come into force.
fn not_audited(ended: &Ended) -> VerifyError {
    let told = match &ended.failed {
        Some(failed) => failed.to_string(),
        // It was killed, say.
        None => ended.output.last_lines().join("; "),
    };
    match shell_status(ended.status) {
        status @ (126 | 127) => VerifyError::NotExecuted { told, status },
        _ => VerifyError::CannotTrace(told),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Sets that cannot be enforced at all are better told of before the first run.
///
/// # Errors
///
/// It cannot be enforced.
pub(super) fn check(enforcement: &Enforcement, set: &Grants) -> Result<(), ExecuteError> {
    match enforcement {
        Enforcement::Bounding(_) => Ok(bounding::check(set.of(0))?),
        Enforcement::Docker(_)
        | Enforcement::Compose(..)
        | Enforcement::Life(..)
        | Enforcement::Lsm(_)
        | Enforcement::Socket(_) => Ok(()),
    }
}
