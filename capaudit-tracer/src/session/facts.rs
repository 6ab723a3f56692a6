//! What is known of every subject, and of nobody. Pure.

use std::collections::{HashMap, HashSet};

use capaudit_core::{
    capability::Capability,
    ledger::{self, Container, SubjectRecord, Unseen},
};

use crate::subject::{Identity, Subject, SubjectId};

/// What is known of every subject.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    subjects: HashMap<SubjectId, SubjectRecord>,
    /// Checks of processes whose records were lost.
    unattributed: HashMap<Capability, u64>,
}

impl Facts {
    /// The subjects that there are facts about, in the order in which they appeared.
    pub(super) fn subjects(&self) -> Vec<SubjectId> {
        let mut ids: Vec<SubjectId> = self.subjects.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Facts about one subject, without its name.
    pub(super) fn of_subject(&self, id: SubjectId) -> Option<&SubjectRecord> {
        self.subjects.get(&id)
    }

    /// The same, to add some.
    pub(super) fn subject(&mut self, id: SubjectId, known: &Subject) -> &mut SubjectRecord {
        self.subjects.entry(id).or_insert_with(|| nameless(known))
    }

    /// Moves the facts about a subject to `other`, those that there are.
    pub(super) fn hand_over(&mut self, id: SubjectId, known: &Subject, other: &mut Self) {
        let record = self.subjects.remove(&id);
        other
            .subjects
            .insert(id, record.unwrap_or_else(|| nameless(known)));
    }

    /// Adds checks that no subject can be found for.
    pub(super) fn add_unattributed(&mut self, capability: Capability, count: u64) {
        *self.unattributed.entry(capability).or_default() += count;
    }

    /// Checks that no subject could be found for.
    pub(super) fn unattributed(&self) -> Vec<(Capability, u64)> {
        let mut all: Vec<(Capability, u64)> = self
            .unattributed
            .iter()
            .map(|(capability, count)| (*capability, *count))
            .collect();
        all.sort();
        all
    }

    /// Programs that had ended before capaudit could inspect their file: whether that grants
    /// capabilities is not known. Those of `others` do not count.
    pub(super) fn unseen_files(&self, others: &HashSet<SubjectId>) -> u64 {
        self.subjects
            .iter()
            .filter(|(id, _record)| !others.contains(id))
            .flat_map(|(_id, subject)| &subject.execs)
            .filter(|exec| exec.unseen)
            .map(|exec| exec.count)
            .sum()
    }
}

/// What the kernel told of a subject, without a name and without any facts yet.
pub(super) fn nameless(subject: &Subject) -> SubjectRecord {
    let engine = subject.engine;
    let unseen = match &subject.identity {
        Identity::ExecutedIn(_) => vec![Unseen::AllButExecuted],
        _ => Vec::new(),
    };
    let container = |id| {
        ledger::Subject::Container(Container {
            id: Some(id),
            engine,
            ..Container::default()
        })
    };
    let is_program = matches!(subject.identity, Identity::Program(_));
    let process = |id| ledger::Subject::Process {
        id,
        engine,
        program: is_program,
    };
    let identity = match &subject.identity {
        Identity::Command => ledger::Subject::Command,
        Identity::Container(id) | Identity::ExecutedIn(id) => container(id.to_string()),
        Identity::Namespace(inode) => container(format!("pid:[{inode}]")),
        Identity::Process(pid) => process(pid.to_string()),
        Identity::Cgroup(path) => process(path.to_string_lossy().into_owned()),
        Identity::Unit(name) | Identity::Program(name) => process(name.to_string()),
    };
    SubjectRecord {
        uid: subject.uid,
        granted: subject.granted,
        user_namespace_level: subject.user_namespace.level,
        seen_from_start: subject.seen_from_start,
        unseen,
        ..SubjectRecord::new(identity)
    }
}
