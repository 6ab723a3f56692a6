//! Runs that were made, saved in a file so that an interrupted verification goes on where it was.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use capaudit_core::{
    capability::CapSet,
    ledger::{self, Ledger, Phases},
    text::json,
};
use capaudit_life::Expected;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    enforce::{Via, socket::Made},
    minimize::Outcome,
};

/// Names the format of the file.
const SCHEMA: &str = "capaudit.verify/1";

/// What the runs are runs of. Runs of anything else are of no use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub command: Vec<String>,
    /// Where it is run.
    pub directory: PathBuf,
    /// How sets are enforced.
    pub via: Via,
}

/// The audit that was made first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Audited {
    #[serde(with = "ledger::embedded")]
    pub ledger: Ledger,
    /// Id of the container that the command started; of compose, name of the project.
    pub started: Option<String>,
    /// Containers that were made through a socket of ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<Made>,
    /// Last lines that the command printed.
    pub output: Vec<String>,
    /// How long the command took, in milliseconds.
    pub duration_ms: u64,
    /// What a life looked like; `None` if the command is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
}

/// A run with a set enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The set, by the subject's name.
    pub set: BTreeMap<String, CapSet>,
    /// The phases of a life that it was to go through; empty if the command is something else.
    #[serde(default, skip_serializing_if = "Phases::is_empty")]
    pub phases: Phases,
    /// Exit status, 128 + signal if a signal ended it.
    pub exit_status: i32,
    /// It was ended because it took too long.
    pub timed_out: bool,
    /// How it is to be understood.
    pub outcome: Outcome,
    /// The service of a life that went wrong, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_fault: Option<String>,
    /// How many containers of each subject were seen to run with its set, where that is seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub in_force: BTreeMap<String, usize>,
    /// The last lines of its output.
    pub output: Vec<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedRuns {
    schema: String,
    #[serde(flatten)]
    key: Key,
    audit: Option<Audited>,
    runs: Vec<Run>,
}

/// Why a file of saved runs cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// It cannot be read.
    #[error("cannot read {path:?}: {error}")]
    Read {
        /// Path given by `--state`.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// The file is not JSON, or not of this form.
    #[error("{path:?} does not hold the runs of a verification: {error}")]
    Format {
        /// Path given by `--state`.
        path: PathBuf,
        /// Line, column and reason.
        error: serde_json::Error,
    },
    /// The file holds the runs of something else.
    #[error(
        "{path:?} holds the runs of another {what}: name another file, or remove it to start anew"
    )]
    Other {
        /// Path given by `--state`.
        path: PathBuf,
        /// In what it differs.
        what: &'static str,
    },
    /// It cannot be written.
    #[error("cannot write {path:?}: {error}")]
    Write {
        /// Path given by `--state`.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
}

/// Runs that were made, in their order, in memory and perhaps in a file.
#[derive(Debug)]
pub(super) struct State {
    file: Option<PathBuf>,
    saved: SavedRuns,
    /// Runs that have been made use of, of those that were loaded.
    used: Vec<bool>,
    audit_used: bool,
    /// Runs that were made before it was begun anew.
    before: usize,
}

impl State {
    /// Starts from what the file holds, if there is one and it exists. It may also hold runs with sets enforced in the way `or`,
    /// which then counts ([`Self::via`]).
    ///
    /// # Errors
    ///
    /// It cannot be read or written, or holds runs of something else.
    pub(super) fn open(file: Option<&Path>, key: Key, or: Option<Via>) -> Result<Self, StateError> {
        let mut saved = SavedRuns {
            schema: SCHEMA.to_owned(),
            key,
            audit: None,
            runs: Vec::new(),
        };
        if let Some(path) = file {
            match capaudit_storage::read_own(path) {
                Ok(Some(text)) => saved = load(path, &text, &saved.key, or)?,
                // Better known before the first run than after it.
                Ok(None) => write(path, &saved)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => write(path, &saved)?,
                Err(error) => {
                    return Err(StateError::Read {
                        path: path.to_owned(),
                        error,
                    });
                }
            }
        }
        Ok(Self {
            file: file.map(Path::to_owned),
            used: vec![false; saved.runs.len()],
            audit_used: false,
            before: 0,
            saved,
        })
    }

    /// How sets are enforced in the runs.
    pub(super) fn via(&self) -> Via {
        self.saved.key.via
    }

    /// What is there is of runs with sets enforced in another way.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn rename(&mut self, via: Via) -> Result<(), StateError> {
        self.saved.key.via = via;
        self.write()
    }

    /// Begins anew, with sets enforced in another way.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn change(&mut self, via: Via) -> Result<(), StateError> {
        self.saved.audit = None;
        self.saved.runs.clear();
        self.used.clear();
        // That audit was a run all the same.
        self.before += usize::from(std::mem::take(&mut self.audit_used));
        self.rename(via)
    }

    /// The audit, if it was made.
    pub(super) fn audit(&mut self) -> Option<Audited> {
        let audit = self.saved.audit.clone()?;
        self.audit_used = true;
        Some(audit)
    }

    /// Keeps the audit. One of a command that failed is not written: another time it may succeed.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn save_audit(&mut self, audit: Audited) -> Result<(), StateError> {
        self.audit_used = true;
        let failed = audit.ledger.session.exit_status != Some(0);
        self.saved.audit = Some(audit);
        if failed { Ok(()) } else { self.write() }
    }

    /// A saved run with this set, through these phases of a life, that was not asked for yet.
    pub(super) fn next_run(
        &mut self,
        set: &BTreeMap<String, CapSet>,
        phases: Phases,
    ) -> Option<(usize, Run)> {
        let is_it = |run: &Run| run.set == *set && run.phases == phases;
        let place = (0..self.used.len())
            .find(|place| !self.used[*place] && is_it(&self.saved.runs[*place]))?;
        self.used[place] = true;
        Some((place, self.saved.runs[place].clone()))
    }

    /// Keeps a run. Gives its number.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn save_run(&mut self, run: Run) -> Result<usize, StateError> {
        self.saved.runs.push(run);
        self.used.push(true);
        self.write()?;
        Ok(self.saved.runs.len() - 1)
    }

    /// A run, by its number.
    pub(super) fn run(&self, number: usize) -> Option<&Run> {
        self.saved.runs.get(number)
    }

    /// Runs that were made use of, the audit included.
    pub(super) fn used(&self) -> usize {
        self.before + usize::from(self.audit_used) + self.used.iter().filter(|used| **used).count()
    }

    /// Runs that are saved, the audit included.
    pub(super) fn saved(&self) -> usize {
        usize::from(self.saved.audit.is_some()) + self.saved.runs.len()
    }

    /// The file, if there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn write(&self) -> Result<(), StateError> {
        match &self.file {
            Some(path) => write(path, &self.saved),
            None => Ok(()),
        }
    }
}

fn load(path: &Path, text: &[u8], key: &Key, or: Option<Via>) -> Result<SavedRuns, StateError> {
    let saved: SavedRuns = serde_json::from_slice(text).map_err(|error| StateError::Format {
        path: path.to_owned(),
        error,
    })?;
    let other = |what| {
        Err(StateError::Other {
            path: path.to_owned(),
            what,
        })
    };
    if saved.schema != SCHEMA {
        return other("version of capaudit");
    }
    if saved.key.command != key.command {
        return other("command");
    }
    if saved.key.via != key.via && Some(saved.key.via) != or {
        return other("kind of enforcement");
    }
    if saved.key.directory != key.directory {
        return other("working directory");
    }
    Ok(saved)
}

fn write(path: &Path, saved: &SavedRuns) -> Result<(), StateError> {
    let failed = |error| StateError::Write {
        path: path.to_owned(),
        error,
    };
    let text = json(saved).map_err(|error| failed(error.into()))?;
    capaudit_storage::write_whole(path, text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use capaudit_core::capability::Capability;

    use super::*;

    fn key(command: &str) -> Key {
        Key {
            command: vec![command.to_owned()],
            directory: "/".into(),
            via: Via::Bounding,
        }
    }

    fn run(capability: Capability, outcome: Outcome) -> Run {
        Run {
            set: BTreeMap::from([(String::new(), CapSet::from(capability))]),
            phases: Phases::default(),
            exit_status: 0,
            timed_out: false,
            outcome,
            at_fault: None,
            in_force: BTreeMap::new(),
            output: vec!["last".to_owned()],
            duration_ms: 3,
        }
    }

    #[test]
    fn runs_are_found_again_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state.json");
        let first = run(Capability::CHOWN, Outcome::Failed);
        let second = run(Capability::CHOWN, Outcome::Passed);
        let mut state = State::open(Some(&file), key("a"), None).unwrap();
        assert_eq!(state.next_run(&first.set, Phases::default()), None);
        state.save_run(first.clone()).unwrap();
        state.save_run(second.clone()).unwrap();
        assert_eq!((state.used(), state.saved()), (2, 2));
        drop(state);

        let mut state = State::open(Some(&file), key("a"), None).unwrap();
        assert_eq!((state.used(), state.saved()), (0, 2));
        assert_eq!(
            state.next_run(&first.set, Phases::default()),
            Some((0, first.clone()))
        );
        assert_eq!(
            state.next_run(&first.set, Phases::default()),
            Some((1, second))
        );
        assert_eq!(state.next_run(&first.set, Phases::default()), None);
        assert_eq!(state.save_run(first).unwrap(), 2);
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn runs_of_something_else_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state.json");
        State::open(Some(&file), key("a"), None).unwrap();
        let error = State::open(Some(&file), key("b"), None).unwrap_err();
        assert!(error.to_string().contains("another command"), "{error}");
        std::fs::write(&file, "{}").unwrap();
        let error = State::open(Some(&file), key("a"), None).unwrap_err();
        assert!(error.to_string().contains("does not hold"), "{error}");
        let error = State::open(Some(&directory.path().join("no/x")), key("a"), None).unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
    }

    #[test]
    fn without_a_file_all_is_in_memory() {
        let mut state = State::open(None, key("a"), None).unwrap();
        state
            .save_run(run(Capability::CHOWN, Outcome::Passed))
            .unwrap();
        assert_eq!(state.saved(), 1);
    }
}
