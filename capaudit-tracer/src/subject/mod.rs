//! Who did it: which execution belongs to which subject of the audit.
//!
//! A subject is the command that capaudit runs, with all its descendants, or a container that starts
//! meanwhile. [`Tracker`] learns it from the kernel's fork, exec and exit records alone; what people call a
//! container (name, image, service) comes from its [`engine`] later.

pub mod attached;
pub mod engine;
mod execution;
mod identity;
mod owner;
mod subjects;
mod tracker;

pub use self::{
    execution::{Execution, Unrelated},
    identity::{Identity, SubjectId, UserNamespace},
    owner::Owner,
    subjects::Subject,
    tracker::Tracker,
};

#[cfg(test)]
mod tests;
