//! What is known to have happened outside of a record.

use serde::{Deserialize, Serialize};

/// Something of a subject that is known not to be in its record, although nothing was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Unseen {
    /// It is a container that ran already, and all that was seen is what was executed in it meanwhile, from outside: by
    /// `docker exec`, say.
    AllButExecuted,
    /// It is a container that was made before the audit began, and was started again while it was audited. What it did to
    /// its files when it was started before, it need not do again.
    EarlierStart,
    /// These descendants of the command were running when the audit ended.
    Rest {
        /// Those with the lowest pids, at most [`Unseen::MOST_NAMED`].
        processes: Vec<Remaining>,
        /// How many there were in all.
        count: u64,
    },
    /// The command had somebody else do the work, who was not followed.
    Delegated {
        /// Who that is.
        to: Deputy,
        /// The words by which it did.
        command: String,
        /// What it is that was to be acted upon: a service or a container; empty if the words do not tell.
        object: String,
    },
}

impl Unseen {
    /// The greatest number of processes that are named one by one.
    pub const MOST_NAMED: usize = 8;

    /// Whether a record of the same subject from its very start makes up for it.
    pub(super) fn is_about_start(&self) -> bool {
        matches!(self, Self::AllButExecuted | Self::EarlierStart)
    }
}

/// A process that was running when the audit ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// Its command name: hostile.
    pub comm: String,
    /// Process id in the initial pid namespace.
    pub pid: u32,
}

/// Who does work for others: its checks are made by processes that are no descendants of whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deputy {
    /// A container engine, or a cluster of them.
    Engine,
    /// The service manager.
    ServiceManager,
    /// A service that is called through the message bus.
    Bus,
    /// What runs commands at given times.
    Scheduler,
}
