//! Which of the candidates the command really needs: pure search, the runs are somebody else's.
//!
//! Enough is taken to be monotone: what passes with a set passes with a larger one. So every run says more than
//! its own outcome, and a run whose outcome follows from earlier ones is not made:
//!
//! - The candidates themselves need not be run before the first is left out: a run that passes without one says
//!   that all of them are enough. Only if nothing passes is the whole set run, after [`PATIENCE`] failures or at
//!   the end. With k candidates that makes k runs, and one of the final set: either it is the whole one, or the
//!   confirmation that the removals were no luck.
//! - Doubtful candidates are left out together first, from [`TOGETHER`] on: if the command passes, one run has
//!   done the work of many. If it fails by the fault of one subject, those of the others are left out together without that
//!   one's. Where many are doubtful and some of them needed, QuickXplain (Junker, AAAI 2004) finds these in about
//!   n·log(k/n) runs.
//!
//! - A candidate is left out with everything weaker put in its place that was left out before, or that is known to do
//!   instead of it ([`Problem::alternatives`]): if the command fails all the same, nothing weaker can do, and one run has shown
//!   that of all of it. If it passes, QuickXplain finds what of that is needed. At the end each member has failed to be
//!   replaced by weaker ones, from the most powerful down, which makes the set the least powerful one of all that pass.
//!
//! Nothing is removed on a run that another one contradicts.

mod known;
mod search;

use capaudit_core::advise::Evidence;
use search::Search;
use serde::{Deserialize, Serialize};

use crate::{Grant, Grants};

/// Failures in a row that are put down to the capability left out, before it is looked whether the candidates are
/// enough at all.
pub const PATIENCE: usize = 5;
/// Doubtful candidates from which on they are left out together first. Two would as often cost a run as save one.
pub const TOGETHER: usize = 3;
/// Doubtful candidates above which those that are needed are found by QuickXplain.
pub const MANY: usize = 8;

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The command succeeded.
    Passed,
    /// It failed, and its last words tell that it was refused something.
    Refused,
    /// The command failed, and its last words do not say why.
    #[default]
    Failed,
    /// It was not even started: something else is wrong.
    Disturbed,
}

/// A run that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Which, for whoever keeps the records.
    pub number: usize,
    /// How the command ended in it.
    pub outcome: Outcome,
    /// The subject that went wrong, where the run tells. What it lacks need not be the reason: it may wait for another.
    pub at_fault: Option<usize>,
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

/// The run that the search asks for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is to find out.
    pub purpose: Purpose,
    /// It is made again, because of its outcome or because each is made several times.
    pub again: bool,
    /// Number of runs expected after it: an estimate.
    pub left: usize,
}

/// Makes the runs that the search asks for; tests make them up.
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
    /// How sure the audit was that it is needed.
    pub evidence: Evidence,
}

/// What is to be minimised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What may be needed.
    pub candidates: Vec<Candidate>,
    /// Candidates that are not left out: no run could tell.
    pub kept: Vec<Grant>,
    /// What the command is known to pass with, if that is known: what is not in it is not needed, and what was
    /// missed is in it.
    pub granted: Option<Grants>,
    /// What could stand in for a more powerful candidate, although it is none itself.
    pub alternatives: Grants,
    /// What was asked for without being recommended: where to look first for what was missed.
    pub suspects: Grants,
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
    /// No run could tell, so it stays.
    Kept,
}

/// The smallest set found, and what the runs say of each member.
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
    /// The last run, if any was made.
    pub last_trial: Option<usize>,
}

/// Finds the least powerful set of candidates and alternatives with which the command passes; no member of it is idle.
///
/// # Errors
///
/// A run could not be made.
pub fn minimize<T: Trials>(problem: &Problem, trials: &mut T) -> Result<Minimum, T::Error> {
    let mut search = Search::new(problem, trials);
    search.run()?;
    Ok(search.result())
}

/// Finds out whether a set passes, `repeat` times.
///
/// # Errors
///
/// A run could not be made.
pub fn verify<T: Trials>(set: Grants, repeat: usize, trials: &mut T) -> Result<Minimum, T::Error> {
    let problem = Problem {
        candidates: Vec::new(),
        kept: Vec::new(),
        granted: None,
        alternatives: Grants::new(Vec::new()),
        suspects: Grants::new(Vec::new()),
        repeat,
    };
    let mut search = Search::new(&problem, trials);
    search.verify(set)?;
    Ok(search.result())
}

/// A set of which nothing is doubtful, and with which nothing was run.
pub fn unrun(set: Grants) -> Minimum {
    Minimum {
        fates: set.iter().map(|grant| (grant, Fate::Kept)).collect(),
        set,
        missed: Grants::new(Vec::new()),
        passed: true,
        flaky: false,
        last_trial: None,
    }
}

#[cfg(test)]
mod tests;
