//! What the subjects of an audit are.

use std::{path::PathBuf, sync::Arc};

use crate::proc::ContainerId;

/// Number of a subject, given out by one tracker and good there only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId(pub(super) usize);

/// What a subject is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The audited command and its descendants.
    Command,
    /// A container of a known engine.
    Container(ContainerId),
    /// What was executed from outside, during the audit, in a container that was there before and nobody attached to.
    ExecutedIn(ContainerId),
    /// A process tree in a pid namespace of its own, of no engine that we recognise.
    Namespace(u32),
    /// A process that ran already, by its pid, and its descendants.
    Process(u32),
    /// What ran already in a cgroup.
    Cgroup(PathBuf),
    /// A systemd service, where the whole machine is observed.
    Unit(Arc<str>),
    /// All runs of a program outside containers and services, by its path, where the whole machine is observed.
    Program(Arc<str>),
}

impl Identity {
    /// The container that it is, or is executed in.
    pub fn container(&self) -> Option<&ContainerId> {
        match self {
            Self::Container(container) | Self::ExecutedIn(container) => Some(container),
            _ => None,
        }
    }
}

/// A user namespace: its inode number and its depth below the initial one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserNamespace {
    /// Inode number of `/proc/PID/ns/user`.
    pub inode: u32,
    /// 0 for the initial user namespace.
    pub level: u32,
}

/// What all programs are beyond those that are told apart.
pub(super) const OTHER_PROGRAMS: &str = "other programs";
