//! Ledgers: of what was found by now, of what has ended, and of everything at the end.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use capaudit_core::ledger::{Ledger, Losses, SCHEMA, Session, unite};

use super::Observation;
use crate::{
    launch::is_asked_to_end,
    opaque::Boxed,
    proc::ContainerId,
    session::{
        account::Counted, clock::milliseconds_since, error::ObservationError, facts::Facts, naming,
    },
    subject::{
        SubjectId,
        engine::{Asked, Description},
    },
};

/// Batches taken for a snapshot: about what fits into the buffer.
const SNAPSHOT_BATCHES: usize = 16;
/// How long to wait, at the end, for what is still being looked up.
const LAST_LOOKS: Duration = Duration::from_millis(700);
/// How long to wait, at the end, for names that are still under way.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// How often it is looked whether capaudit is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long what is waited for may take once it is.
const LAST_PATIENCE: Duration = Duration::from_millis(250);

/// How what was observed came to be, for the record.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct Origin {
    /// The audited command; empty if none was run.
    pub(in crate::session) command: Vec<String>,
    /// Its exit status, 128 + signal if a signal ended it.
    pub(in crate::session) exit_status: Option<i32>,
}

impl Observation {
    /// Ends, and returns what was found.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub(in crate::session) async fn finish(
        &mut self,
        origin: Origin,
    ) -> Result<Ledger, ObservationError> {
        self.stop();
        self.look_at_last(LAST_LOOKS).await?;
        self.attribute_losses()?;
        self.collector.finish(&mut self.tracer)?;
        self.collector.end();
        let facts = self.collector.facts();
        self.ledger(facts, &self.collector.subjects(), origin, LAST_EVENTS)
            .await
    }

    /// What was found so far; everything goes on.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub(in crate::session) async fn snapshot(
        &mut self,
        origin: Origin,
    ) -> Result<Ledger, ObservationError> {
        let counted = Counted::of(&self.tracer, |_image| true)?;
        // What the kernel has sent of that by now: without its call site, a check counts as a need.
        self.drain(SNAPSHOT_BATCHES);
        self.look()?;
        self.attribute_losses()?;
        let facts = self.collector.snapshot(&counted, &self.tracer)?;
        self.ledger(&facts, &self.collector.subjects(), origin, Duration::ZERO)
            .await
    }

    /// What was found of subjects that have ended; it is forgotten here. `None` if there are none.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub fn retire(&mut self) -> Boxed<'_, Result<Option<Ledger>, ObservationError>> {
        Box::pin(self.take_ended())
    }

    async fn take_ended(&mut self) -> Result<Option<Ledger>, ObservationError> {
        // What was lost stays with whom it may have been of, which is handed out now.
        self.attribute_losses()?;
        let facts = self.collector.retire(&mut self.tracer)?;
        let subjects = facts.subjects();
        if subjects.is_empty() {
            return Ok(None);
        }
        let mut ledger = self
            .ledger(&facts, &subjects, Origin::default(), Duration::ZERO)
            .await?;
        // What is not about a subject stays with what goes on; files that were not seen are about these.
        ledger.session.duration_ms = 0;
        ledger.session.losses = Losses {
            files: facts.unseen_files(&HashSet::new()),
            ..Losses::default()
        };
        ledger.session.notes.clear();
        self.engine.forget(&self.collector.containers(&subjects));
        let (tracker, _facts) = self.collector.parts();
        for subject in subjects {
            tracker.forget_subject(subject);
        }
        Ok(Some(ledger))
    }

    async fn ledger(
        &self,
        facts: &Facts,
        subjects: &[SubjectId],
        origin: Origin,
        patience: Duration,
    ) -> Result<Ledger, ObservationError> {
        let containers = self.collector.containers(subjects);
        let described = tokio::select! {
            described = self.engine.describe(&containers, patience) => described,
            () = impatience() => self.known(&containers),
        };
        let lost = self.tracer.losses()?;
        let others = if self.checks_only || !lost.is_none() {
            // What the command had to do with engines may not have been seen.
            HashSet::new()
        } else {
            self.collector.others(&described)
        };
        let losses = Losses {
            files: self.collector.facts().unseen_files(&others),
            ..lost
        };
        let subjects =
            self.collector
                .records(facts, subjects, &origin.command, &described, &others);
        let mut session = self.session(origin, losses);
        session.unattributed = facts.unattributed();
        session
            .notes
            .extend(naming::notes(self.collector.tracker(), &others));
        Ok(Ledger {
            schema: SCHEMA.to_owned(),
            session,
            subjects: unite(subjects),
        })
    }

    /// What engines have told by now.
    fn known(&self, containers: &[Asked]) -> HashMap<ContainerId, Description> {
        let known = containers
            .iter()
            .map(|asked| (&asked.id, self.engine.known(asked)));
        known
            .filter_map(|(id, description)| Some((id.clone(), description?)))
            .collect()
    }

    /// How the ledger is made that everything belongs to, as far as that is known by now: rules
    /// need it to judge check events.
    pub fn session_so_far(&self) -> Session {
        self.session(Origin::default(), Losses::default())
    }

    fn session(&self, origin: Origin, losses: Losses) -> Session {
        Session {
            started: self.started.to_string(),
            duration_ms: milliseconds_since(self.clock),
            kernel: self.kernel.clone(),
            command: origin.command,
            exit_status: origin.exit_status,
            losses,
            checks_only: self.checks_only,
            notes: self.notes.clone(),
            ..Session::new(self.tracer.hook())
        }
    }
}

/// Waits until capaudit is to end, and nobody is to be waited for any longer.
async fn impatience() {
    while !is_asked_to_end() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tokio::time::sleep(LAST_PATIENCE).await;
}
