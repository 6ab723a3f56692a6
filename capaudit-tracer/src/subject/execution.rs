//! One run of one executable.

use std::sync::Arc;

use super::{identity::SubjectId, owner::Owner};

/// One run of one executable.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The subject that it belongs to, as far as that is known.
    pub owner: Owner,
    /// Sets the audited program up, but is not it.
    pub setup: bool,
    /// Path of the executable as it was given to execve; empty if that was before we looked.
    pub exe: Arc<str>,
    /// Command name at the start.
    pub comm: Arc<str>,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Inode number of its mount namespace.
    pub(super) mount_namespace: u32,
    /// Inode number of the mount namespace in which it was executed; `None` if that was before we looked. A process may have
    /// entered another one since: that is how a runtime gets into its container.
    pub(super) executed_in: Option<u32>,
    /// The execution it came from, 0 if unknown.
    pub(super) from: u64,
    /// It is over: the process has ended, or executes something else.
    pub(super) over: bool,
    /// The container that it became part of by its last execve. A runtime's checks in that are the container's.
    pub(super) became: Option<SubjectId>,
}

impl Execution {
    /// Whose a check is: what is asked in an execve may be another's than the rest.
    pub fn owner_of_check(&self, in_execve: bool) -> Owner {
        match self.became {
            Some(id) if in_execve => Owner::Subject(id),
            _ => self.owner,
        }
    }
}

/// A process that turned out to be none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unrelated {
    /// Number of the execution that it was in.
    pub execution: u64,
    /// Process id in the initial pid namespace.
    pub process: u32,
    /// Inode number of its mount namespace.
    pub mount_namespace: u32,
}
