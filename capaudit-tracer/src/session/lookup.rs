//! Look-ups that are under way, and what is to become of their answers. Pure.

use std::collections::HashMap;

use capaudit_common::{event::Header, key::SiteKey};

use crate::subject::SubjectId;

/// What is being looked up.
#[derive(Debug)]
pub(super) enum Lookup {
    /// The file that a subject executed.
    Executed {
        /// Whose execution it is.
        subject: SubjectId,
    },
    /// The words of what may have others do the work.
    Words {
        /// Who executed it.
        subject: SubjectId,
        /// Of the record.
        header: Header,
        /// What was executed.
        path: String,
    },
    /// Whose the file is that a check was about.
    Owner {
        /// Where it was asked.
        site: SiteKey,
        /// The file, as the program called it.
        path: String,
    },
}

impl Lookup {
    fn is_about(&self, id: SubjectId) -> bool {
        match self {
            Self::Executed { subject } | Self::Words { subject, .. } => *subject == id,
            Self::Owner { .. } => false,
        }
    }
}

/// All that are under way, by number.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    next: u64,
    open: HashMap<u64, Lookup>,
}

impl Lookups {
    /// One more; its number is never given again.
    pub(super) fn open(&mut self, lookup: Lookup) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, lookup);
        number
    }

    /// One that was answered; `None` if nobody waits for that any more.
    pub(super) fn close(&mut self, number: u64) -> Option<Lookup> {
        self.open.remove(&number)
    }

    /// Nobody waits for any of them.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether something of a subject is not known yet.
    pub(super) fn are_about(&self, id: SubjectId) -> bool {
        self.open.values().any(|lookup| lookup.is_about(id))
    }

    /// The executions whose files were not looked at yet, in their order.
    pub(super) fn executions(&self) -> Vec<(u64, SubjectId)> {
        let executions = self.open.iter();
        let mut executions: Vec<_> = executions
            .filter_map(|(number, lookup)| match lookup {
                Lookup::Executed { subject } => Some((*number, *subject)),
                Lookup::Words { .. } | Lookup::Owner { .. } => None,
            })
            .collect();
        executions.sort_unstable();
        executions
    }
}
