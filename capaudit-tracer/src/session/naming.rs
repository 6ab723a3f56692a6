//! Subjects under the names that people know. Pure.

use std::collections::{HashMap, HashSet};

use capaudit_core::ledger::{Engine, Kind, SubjectRecord, Unseen};

use crate::{
    proc::ContainerId,
    session::{
        deputy,
        facts::{Facts, nameless},
    },
    subject::{
        Identity, Subject, SubjectId, Tracker,
        attached::Attached,
        engine::{Asked, Description},
    },
};

/// Names subjects, and leaves out those that turn out to be of no interest.
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// When the audit began, in seconds since 1970; 0 if no container can be older.
    began: i64,
    /// Compose services that new containers must belong to, if any were attached to.
    services: Vec<String>,
}

impl Naming {
    /// The audit begins, at this time in seconds since 1970.
    pub(super) fn begin(&mut self, now: i64) {
        self.began = now;
    }

    /// Only what was attached to is of interest.
    pub(super) fn expect(&mut self, attached: &Attached) {
        if let Attached::Service(service, _) = attached {
            self.services.push(service.clone());
        }
    }

    /// Facts about these subjects, with names: `command` is what the audited command is called,
    /// `described` is what engines say of containers, `others` are somebody else's.
    pub(super) fn records(
        &self,
        tracker: &Tracker,
        facts: &Facts,
        subjects: &[SubjectId],
        command: &[String],
        described: &HashMap<ContainerId, Description>,
        others: &HashSet<SubjectId>,
    ) -> Vec<SubjectRecord> {
        let mut records: Vec<SubjectRecord> = subjects
            .iter()
            .map(|id| {
                let subject = tracker.get(*id);
                // Of a subject without any check, too: it needs nothing, which is a finding.
                let mut record = facts
                    .of_subject(*id)
                    .cloned()
                    .unwrap_or_else(|| nameless(subject));
                name(&mut record, subject, command, described);
                self.date(&mut record, subject, described);
                record.other = others.contains(id);
                (record, subject)
            })
            .filter(|(record, subject)| self.is_wanted(record, subject))
            .map(|(record, _subject)| record)
            .collect();
        records.sort_by_key(SubjectRecord::kind);
        leave_out_what_was_seen(&mut records);
        records
    }

    /// What was seen of a container's life. Of one that was made before the audit, a start was seen that was not its first, as far
    /// as anybody can tell.
    fn date(
        &self,
        record: &mut SubjectRecord,
        subject: &Subject,
        described: &HashMap<ContainerId, Description>,
    ) {
        let described = subject
            .identity
            .container()
            .and_then(|container| described.get(container));
        let created = described.and_then(|described| described.created);
        let tells_volumes = subject.engine == Some(Engine::Docker);
        record.life =
            described.and_then(|known| known.told.life(self.began, created, tells_volumes));
        if record.seen_from_start && created.is_some_and(|created| created < self.began) {
            record.seen_from_start = false;
            record.add_unseen(Unseen::EarlierStart);
        }
    }

    fn is_wanted(&self, record: &SubjectRecord, subject: &Subject) -> bool {
        // What ran already was attached to, by name.
        !subject.seen_from_start
            || self.services.is_empty()
            || record
                .compose_service()
                .is_some_and(|service| self.services.iter().any(|wanted| wanted == service))
    }
}

/// Of what the command had engines do, only what no container shows is missing.
fn leave_out_what_was_seen(records: &mut [SubjectRecord]) {
    let (commands, others): (Vec<_>, Vec<_>) = records
        .iter_mut()
        .filter(|record| !record.other)
        .partition(|record| record.kind() == Kind::Command);
    let followed: Vec<&str> = others
        .iter()
        .filter_map(|record| {
            let container = record.container()?;
            let pod = container.pod.as_ref().map(|pod| pod.name.as_str());
            Some(
                [
                    Some(record.name.as_str()),
                    container.id.as_deref(),
                    container.compose_service.as_deref(),
                    pod,
                ]
                .into_iter()
                .flatten(),
            )
        })
        .flatten()
        .collect();
    for command in commands {
        command
            .unseen
            .retain(|unseen| !deputy::is_seen(unseen, &followed));
    }
}

fn name(
    record: &mut SubjectRecord,
    subject: &Subject,
    command: &[String],
    described: &HashMap<ContainerId, Description>,
) {
    match &subject.identity {
        Identity::Command => record.name = command.join(" "),
        Identity::Container(container) | Identity::ExecutedIn(container) => {
            let known = described.get(container).cloned().unwrap_or_default();
            record.name = if known.name.is_empty() {
                container.short().to_owned()
            } else {
                known.name
            };
            if let Some(container) = record.container_mut() {
                container.image = (!known.image.is_empty()).then_some(known.image);
                container.compose_project = known.compose_project;
                container.compose_service = known.compose_service;
                container.pod = known.pod;
                container.engine_version = known.engine_version;
            }
        }
        Identity::Namespace(inode) => record.name = format!("pid namespace {inode}"),
        Identity::Process(pid) => record.name = format!("{}[{pid}]", subject.comm),
        Identity::Cgroup(path) => record.name = path.to_string_lossy().into_owned(),
        Identity::Unit(name) | Identity::Program(name) => record.name = name.to_string(),
    }
}

/// The containers among these, to ask their engine about.
pub(super) fn containers(tracker: &Tracker, subjects: &[SubjectId]) -> Vec<Asked> {
    subjects
        .iter()
        .filter_map(|id| tracker.get(*id).asked())
        .collect()
}

/// What a reader should know of what was followed.
pub(super) fn notes(tracker: &Tracker, others: &HashSet<SubjectId>) -> Vec<String> {
    let running: Vec<String> = tracker
        .subjects()
        .filter(|(id, subject)| subject.is_live() && !others.contains(id))
        .filter_map(|(_id, subject)| match &subject.identity {
            Identity::Container(container) => Some(container.short().to_owned()),
            _ => None,
        })
        .collect();
    let mut notes = Vec::new();
    if !running.is_empty() {
        notes.push(format!(
            "still running when the audit ended, so that what is asked later (at shutdown, say) was not seen: {}",
            running.join(", ")
        ));
    }
    notes
}
