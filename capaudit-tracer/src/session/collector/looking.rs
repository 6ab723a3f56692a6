//! What is looked up for records, and what becomes of it: nothing here waits.

use capaudit_common::{
    event::{Check, Exec, Header},
    key::SiteKey,
};
use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::{Object, Sample},
};

use super::Collector;
use crate::{
    session::{
        deputy, describe,
        enrich::{Answer, Wanted},
        facts::Facts,
        lookup::Lookup,
    },
    subject::{Identity, SubjectId},
};

/// Delegations of a command that are told one by one.
const MOST_DELEGATIONS: usize = 16;

/// The file that a check was about, if advice wants to know whose it is, and the kernel did not tell.
pub(super) fn path_of_unknown_owner(check: &Check, sample: &Sample) -> Option<String> {
    match (&sample.owner, &sample.object) {
        (None, Some(Object::Path(path))) if is_about_owner(check.key.capability) => {
            Some(path.clone())
        }
        _ => None,
    }
}

/// Whether advice on a capability wants to know who owns the file.
fn is_about_owner(capability: u8) -> bool {
    Capability::from_number(capability)
        .is_some_and(|capability| CapSet::OF_FILE_OWNERS.contains(capability))
}

impl Collector {
    /// Whether others do work for a subject by what it executes.
    pub(super) fn look_for_deputies(&mut self, subject: SubjectId, exec: &Exec) {
        let path = describe::text(&exec.path);
        if !deputy::may_delegate(&path) {
            return;
        }
        self.contacts.expect(exec.header.execution);
        let wanted = Wanted::Words {
            pid: exec.header.tgid,
            mount_namespace: exec.namespaces.mnt,
        };
        let header = exec.header;
        self.ask(
            wanted,
            Lookup::Words {
                subject,
                header,
                path,
            },
        );
    }

    fn delegates(&mut self, subject: SubjectId, header: &Header, path: &str, words: &[String]) {
        self.contacts.executed(subject, header, path, words);
        let known = self.tracker.get(subject);
        let record = self.facts.subject(subject, known);
        // With so many, it is incomplete anyhow.
        if known.identity == Identity::Command
            && record.unseen.len() < MOST_DELEGATIONS
            && let Some(unseen) = deputy::delegated(path, words)
        {
            record.add_unseen(unseen);
        }
    }

    pub(super) fn ask(&mut self, wanted: Wanted<'_>, lookup: Lookup) {
        let number = self.lookups.open(lookup);
        if let Some(answer) = self.enrich.ask(number, wanted) {
            self.answered(number, answer);
        }
    }

    /// Takes what was looked up by now.
    pub(in crate::session) fn take_answers(&mut self) {
        for (number, answer) in self.enrich.answers() {
            self.answered(number, answer);
        }
    }

    /// Whether something is still being looked up.
    pub(in crate::session) fn is_looking(&self) -> bool {
        !self.lookups.is_empty()
    }

    /// Waits no more for what is still being looked up: it was not seen.
    pub(in crate::session) fn stop_looking(&mut self) {
        self.enrich.close();
        self.take_answers();
    }

    /// Processes of capaudit's own that have been started to look things up.
    pub(in crate::session) fn helpers(&mut self) -> Vec<u32> {
        self.enrich.started()
    }

    fn answered(&mut self, number: u64, answer: Answer) {
        match (self.lookups.close(number), answer) {
            (Some(Lookup::Executed { subject }), Answer::Executed(Some(record))) => {
                let known = self.tracker.get(subject);
                self.facts.subject(subject, known).add_exec(record);
            }
            (
                Some(Lookup::Words {
                    subject,
                    header,
                    path,
                }),
                Answer::Words(words),
            ) => self.delegates(subject, &header, &path, &words),
            (Some(Lookup::Owner { site, path }), Answer::Owner(Some(owner))) => {
                self.joined.owner(&site, &path, owner);
            }
            // Nothing was found, or nobody wants it any more.
            _ => {}
        }
    }

    /// Whose the file is that a check was about.
    pub(super) fn look_for_owner(&mut self, check: &Check, path: String) {
        let execution = check.header.execution;
        let wanted = Wanted::Owner {
            pid: check.header.tgid,
            mount_namespace: self.tracker.mount_namespace_of(execution).unwrap_or(0),
            path: &path.clone(),
        };
        let site = SiteKey {
            check: check.key,
            site: check.site,
            reserved: 0,
        };
        self.ask(wanted, Lookup::Owner { site, path });
    }

    /// Adds executions whose files are still being looked at: by now they were not seen.
    pub(super) fn add_unanswered(&self, facts: &mut Facts) {
        for (number, subject) in self.lookups.executions() {
            if let Some(record) = self.enrich.so_far(number) {
                let known = self.tracker.get(subject);
                facts.subject(subject, known).add_exec(record);
            }
        }
    }
}
