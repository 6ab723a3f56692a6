//! Totals of before, in a file that the next start goes on from.

use std::path::{Path, PathBuf};

use capaudit_core::ledger::{self, Ledger, LoadError, from_bytes, merge};

use super::DaemonError;

/// Workloads that are told apart by name. Beyond, those that have nothing but their image in common with what people
/// wrote become one an image: names that an engine makes up are never seen again.
const MOST_BY_NAME: usize = 500;

/// Workloads that there are at most: images, services and pods can be invented as well.
const MOST: usize = 2000;

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
            past.subjects = ledger::unite_beyond(past.subjects, MOST);
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

#[cfg(test)]
mod tests {
    use capaudit_core::{
        ledger::{Container, Hook, SCHEMA, Session, SubjectRecord},
        report::{Report, text},
        text::Style,
    };

    use super::*;

    fn ledger(subjects: Vec<SubjectRecord>) -> Ledger {
        Ledger {
            schema: SCHEMA.to_owned(),
            session: Session::new(Hook::TpBtf),
            subjects,
        }
    }

    fn container(number: usize, lost: u64) -> SubjectRecord {
        let mut subject = SubjectRecord::new(Container {
            id: Some(format!("{number:064x}")),
            image: Some(format!("image-{}", number % 10)),
            ..Container::default()
        });
        subject.name = format!("container-{number}");
        subject.lost.events = lost;
        subject
    }

    fn is_whole(ledger: &Ledger, name: &str) -> Option<bool> {
        let mut found = ledger.subjects.iter().filter(|it| it.name == name);
        found.next().map(SubjectRecord::is_complete)
    }

    #[test]
    fn a_loss_outlives_its_subject_and_the_daemon() -> Result<(), DaemonError> {
        let directory = tempfile::tempdir().map_err(DaemonError::system("no directory"))?;
        let mut state = State::load(directory.path())?;
        state.add(ledger(vec![container(1, 3), container(2, 0)]));
        // Meanwhile others run, with nothing lost.
        let all = state.with(ledger(vec![container(3, 0)]));
        state.save(&all)?;
        let state = State::load(directory.path())?;
        let all = state.with(ledger(vec![container(4, 0)]));
        for (name, expected) in [("1", false), ("2", true), ("3", true), ("4", true)] {
            assert_eq!(
                is_whole(&all, &format!("container-{name}")),
                Some(expected),
                "{name}"
            );
        }
        let report = text(&Report::of(&all), Style::PLAIN, true);
        assert_eq!(
            report.matches("no capability at all").count(),
            3,
            "{report}"
        );
        assert!(report.contains("(3 records lost)"), "{report}");
        Ok(())
    }

    #[test]
    fn ten_thousand_containers_are_few_and_none_loses_its_loss() -> Result<(), DaemonError> {
        let directory = tempfile::tempdir().map_err(DaemonError::system("no directory"))?;
        let mut state = State::load(directory.path())?;
        for round in 0..100 {
            let ended = (0..100).map(|index| {
                let number = 100 * round + index;
                // Of the tenth part by image, one has lost something.
                container(number, u64::from(number == 4321))
            });
            state.add(ledger(ended.collect()));
            let kept = state.past.as_ref().map_or(0, |past| past.subjects.len());
            assert!(kept <= MOST_BY_NAME, "{kept}");
        }
        // Of images that no engine tells, and of as many images.
        for round in 100..200 {
            let ended = (0..100).map(|index| {
                let mut subject = container(100 * round + index, 0);
                if let Some(container) = subject.container_mut() {
                    let image = format!("made-up-{round}-{index}");
                    container.image = (index % 2 == 0).then_some(image);
                }
                subject
            });
            state.add(ledger(ended.collect()));
            let kept = state.past.as_ref().map_or(0, |past| past.subjects.len());
            assert!(kept <= MOST, "{kept}");
        }
        let all = state.with(ledger(Vec::new()));
        let lost: u64 = all.subjects.iter().map(|it| it.lost.events).sum();
        assert_eq!(lost, 1);
        assert_eq!(is_whole(&all, "image-1"), Some(false));
        assert_eq!(is_whole(&all, "image-2"), Some(true));
        Ok(())
    }
}
