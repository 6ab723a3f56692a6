//! Check events, under the names of their subjects.

use std::{collections::HashSet, sync::Arc};

use capaudit_core::ledger::SubjectRecord;

use super::Observation;
use crate::{
    probe::ProbeError,
    session::{check_event::CheckEvent, facts::Facts},
    subject::SubjectId,
};

/// Subjects of check events whose names are kept.
const MOST_NAMED: usize = 1 << 14;

impl Observation {
    /// From now on [`Self::check_events`] has checks one by one, or not any more: they cost the machine more than counting.
    ///
    /// # Errors
    ///
    /// The kernel's map cannot be written.
    pub fn keep_check_events(&mut self, wanted: bool) -> Result<(), ProbeError> {
        self.collector.keep_check_events(wanted);
        self.tracer.send_check_events(wanted)
    }

    /// Check events that have come meanwhile, in their order, at most `most`; with `last`, without waiting for what
    /// else might come to be known of them. `command` is what the audited command is called.
    pub fn check_events(&mut self, command: &[String], most: usize, last: bool) -> Vec<CheckEvent> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let (engine, named) = (self.engine.answering(), &self.named);
            let next = self.collector.next_check_event(last, |id, subject| {
                named.contains_key(&id)
                    || subject.asked().is_none_or(|container| {
                        engine.is_none_or(|engine| engine.known(&container).is_some())
                    })
            });
            let Some((pending, id, record)) = next else {
                break;
            };
            if let Some(subject) = self.named(id, command) {
                taken.push(CheckEvent::of(&pending, subject, record));
            }
        }
        taken
    }

    /// A subject's name without its facts; `None` if it turned out to be of no interest.
    fn named(&mut self, id: SubjectId, command: &[String]) -> Option<Arc<SubjectRecord>> {
        if let Some(known) = self.named.get(&id) {
            return Some(Arc::clone(known));
        }
        let container = self.collector.tracker().get(id).asked();
        let described = container.as_ref().and_then(|container| {
            let description = self.engine.known(container)?;
            Some((container.id.clone(), description))
        });
        let is_final = described.is_some() || container.is_none();
        let described = described.into_iter().collect();
        let records = self.collector.records(
            &Facts::default(),
            &[id],
            command,
            &described,
            &HashSet::new(),
        );
        let record = Arc::new(records.into_iter().next()?);
        if is_final {
            if self.named.len() >= MOST_NAMED {
                self.named.clear();
            }
            self.named.insert(id, Arc::clone(&record));
        }
        Some(record)
    }
}
