//! Totals of before, in a file that the next start goes on from.

use std::path::{Path, PathBuf};

use capaudit_core::ledger::{self, Ledger, LoadError, from_bytes, merge};

use super::DaemonError;

/// Workloads that are told apart by name. Beyond, those that have nothing but their image in common with what people
/// wrote become one an image: names that an engine makes up are never seen again.
const MOST_BY_NAME: usize = 500;

/// What the daemon knows of containers that have ended, from this run and from earlier ones.
#[derive(Debug)]
pub(super) struct State {
    file: PathBuf,
    past: Option<Ledger>,
}

impl State {
    /// Takes up what was saved in this directory.
    ///
    /// # Errors
    ///
    /// The directory cannot be made, or the file is not one of ours.
    pub(super) fn load(directory: &Path) -> Result<Self, DaemonError> {
        std::fs::create_dir_all(directory).map_err(DaemonError::system(format!(
            "cannot make {}",
            directory.display()
        )))?;
        let file = directory.join("session.json");
        let saved = capaudit_storage::read_own(&file).map_err(|error| LoadError::Read {
            path: file.clone(),
            error,
        })?;
        let past = saved.map(|saved| from_bytes(&saved, &file)).transpose()?;
        Ok(Self { file, past })
    }

    /// The past and what has been found since.
    pub(super) fn with(&self, now: Ledger) -> Ledger {
        match &self.past {
            // Two ledgers always make one.
            Some(past) => merge([past.clone(), now.clone()]).unwrap_or(now),
            None => now,
        }
    }

    /// What was found is past.
    pub(super) fn add(&mut self, ended: Ledger) {
        let mut past = self.with(ended);
        if past.subjects.len() > MOST_BY_NAME {
            past.subjects = ledger::unite_by_image(past.subjects);
        }
        self.past = Some(past);
    }

    /// Saves all totals.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the one of before stays.
    pub(super) fn save(&self, all: &Ledger) -> Result<(), DaemonError> {
        capaudit_storage::save(all, &self.file).map_err(DaemonError::system(format!(
            "cannot save {}",
            self.file.display()
        )))
    }
}
