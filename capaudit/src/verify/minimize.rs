//! Which of the candidates the command really needs: pure search, the runs are somebody else's.
//!
//! Enough is taken to be monotone: what passes with a set passes with a larger one. So every run says more than
//! its own outcome, and a run whose outcome follows from earlier ones is not made:
//!
//! - The candidates themselves need not be run before the first is left out: a run that passes without one says
//!   that all of them are enough. Only if nothing passes is the whole set run, after [`PATIENCE`] failures or at
//!   the end. With k candidates that makes k runs, and one of the final set: either it is the whole one, or the
//!   confirmation that the removals were no luck.
//! - Doubtful candidates are left out together first: if the command passes, one run has done the work of many.
//!   Where many are doubtful and some of them needed, QuickXplain (Junker, AAAI 2004) finds these in about
//!   n·log(k/n) runs.
//!
//! Nothing is removed on a run that another one contradicts.

use std::cmp::Reverse;

use crate::{advise::Evidence, verify::Grant, verify::Grants};

/// Failures in a row that are put down to the capability left out, before it is looked whether the candidates are
/// enough at all.
pub const PATIENCE: usize = 4;
/// Doubtful candidates above which those that are needed are found by QuickXplain.
pub const MANY: usize = 8;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command succeeded.
    Passed,
    /// It failed, and its last words tell that it was refused something.
    Refused,
    /// It failed.
    Failed,
    /// It was not even started: something else is wrong.
    Disturbed,
}

/// A run that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Which, for whoever keeps the records.
    pub number: usize,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a run is to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Whether the candidates are enough.
    Whole,
    /// Whether the command gets along without these.
    Without(Vec<Grant>),
    /// Whether it is enforcement itself that the command cannot bear.
    Granted,
    /// Whether these, which the audit did not tell of, are what was missed.
    Added(Vec<Grant>),
    /// Whether the final set passes again.
    Confirm,
}

/// The next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is to find out.
    pub purpose: Purpose,
    /// It is made again, because of its outcome or because each is made several times.
    pub again: bool,
    /// Runs expected after it.
    pub left: usize,
}

/// Makes runs.
pub trait Trials {
    /// Why a run cannot be made.
    type Error;

    /// Runs the command with exactly this set.
    ///
    /// # Errors
    ///
    /// The run could not be made. A run that fails is no error.
    fn run(&mut self, set: &Grants, step: &Step) -> Result<Trial, Self::Error>;
}

/// A capability that may be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which, of which subject.
    pub grant: Grant,
    /// How sure that is.
    pub evidence: Evidence,
}

/// What is to be minimised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What may be needed.
    pub candidates: Vec<Candidate>,
    /// What the command is known to pass with, if that is known: what is not in it is not needed, and what was
    /// missed is in it.
    pub granted: Option<Grants>,
    /// Runs that a set must pass, at least 1.
    pub repeat: usize,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The command failed without it, in this run.
    Proven {
        /// Number of the run.
        trial: usize,
    },
    /// The command passed without it.
    Removed,
    /// Runs without it disagreed, so it stays.
    Unsettled,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimum {
    /// The set that is left.
    pub set: Grants,
    /// Each candidate, and what had to be added.
    pub fates: Vec<(Grant, Fate)>,
    /// What the candidates lacked.
    pub missed: Grants,
    /// Whether the command passes with the set.
    pub passed: bool,
    /// Runs with the same set disagreed.
    pub flaky: bool,
    /// The last run of the set, or of the largest one that failed.
    pub decisive_trial: Option<usize>,
}

/// Finds an inclusion-minimal subset of the candidates with which the command passes.
///
/// # Errors
///
/// A run could not be made.
pub fn minimize<T: Trials>(problem: &Problem, trials: &mut T) -> Result<Minimum, T::Error> {
    let mut search = Search::new(problem, trials);
    search.run()?;
    Ok(search.result())
}

/// Finds out whether a set passes, as often as asked.
///
/// # Errors
///
/// A run could not be made.
pub fn verify<T: Trials>(set: Grants, repeat: usize, trials: &mut T) -> Result<Minimum, T::Error> {
    let candidates = set
        .iter()
        .map(|grant| Candidate {
            grant,
            evidence: Evidence::Decisive,
        })
        .collect();
    let problem = Problem {
        candidates,
        granted: None,
        repeat,
    };
    let mut search = Search::new(&problem, trials);
    search.current = set.clone();
    search.todo.clear();
    let verdict = search.conclude(&set, Trust::Once, Purpose::Whole)?;
    search.passed = matches!(verdict, Verdict::Passes);
    Ok(search.result())
}

/// What is known of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passes,
    Fails {
        trial: usize,
    },
    /// Runs disagreed, or the command could not be started.
    Unsure,
}

/// Whether a failure is believed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Yes.
    Once,
    /// Only if the command's last words tell that it was refused something; else it is asked again.
    Refusal,
    /// No: it is asked again.
    Twice,
}

/// What came of looking whether the candidates are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enough {
    Yes,
    /// No: something was added, all conclusions are void.
    Now,
    /// Nothing is.
    Never,
}

struct Search<'a, T> {
    problem: &'a Problem,
    trials: &'a mut T,
    /// Passes, as far as is known.
    current: Grants,
    fates: Vec<(Grant, Fate)>,
    missed: Grants,
    known: Vec<(Grants, Verdict)>,
    /// Candidates that are still to be tried.
    todo: Vec<Candidate>,
    passed: bool,
    flaky: bool,
    last: Option<usize>,
}

impl<'a, T: Trials> Search<'a, T> {
    fn new(problem: &'a Problem, trials: &'a mut T) -> Self {
        let mut current = Grants::new(Vec::new());
        for candidate in &problem.candidates {
            current.insert(candidate.grant);
        }
        Self {
            problem,
            trials,
            current,
            fates: Vec::new(),
            missed: Grants::new(Vec::new()),
            known: Vec::new(),
            todo: problem.candidates.clone(),
            passed: false,
            flaky: false,
            last: None,
        }
    }

    fn result(self) -> Minimum {
        Minimum {
            set: self.current,
            fates: self.fates,
            missed: self.missed,
            passed: self.passed,
            flaky: self.flaky,
            decisive_trial: self.last,
        }
    }

    fn run(&mut self) -> Result<(), T::Error> {
        self.drop_what_was_not_granted();
        // Doubtful before sure; among these the powerful first, so that of two that can stand in for each other
        // the weaker stays.
        self.todo
            .sort_by_key(|candidate| (candidate.evidence, Reverse(candidate.grant.capability.power())));
        let whole = self.current.clone();
        if !self.drop_doubtful_together()? {
            return Ok(());
        }
        let mut removed = self.current != whole;
        let mut failures = 0;
        while let Some(candidate) = self.todo.first().copied() {
            if failures >= PATIENCE && self.known_of(&self.current) != Some(Verdict::Passes) {
                match self.enough()? {
                    Enough::Yes => {}
                    Enough::Now => {
                        removed = false;
                        failures = 0;
                        continue;
                    }
                    Enough::Never => return Ok(()),
                }
            }
            self.todo.remove(0);
            match self.leave_out(candidate)? {
                Fate::Removed => removed = true,
                Fate::Proven { .. } | Fate::Unsettled => failures += 1,
            }
            if self.todo.is_empty() && self.known_of(&self.current) != Some(Verdict::Passes) {
                match self.enough()? {
                    Enough::Yes => {}
                    Enough::Now => {
                        removed = false;
                        failures = 0;
                    }
                    Enough::Never => return Ok(()),
                }
            }
        }
        if self.known_of(&self.current) != Some(Verdict::Passes) {
            // No candidates at all.
            match self.enough()? {
                Enough::Yes => {}
                Enough::Now => return self.run_rest(),
                Enough::Never => return Ok(()),
            }
        }
        self.passed = true;
        if removed {
            self.confirm(&whole)?;
        }
        Ok(())
    }
}
