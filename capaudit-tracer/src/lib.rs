//! Everything that touches Linux: BPF programs report the kernel's capability checks, and processes, namespaces and
//! container engines tell whose they are; what comes out is a ledger of facts.
//!
//! This crate never knows a file format, a report or a command line, and judges nothing.
//!
//! Begin to read with [`session`] (an audit from start to end); [`probe`] is the kernel's side, [`subject`] says who
//! did it.

pub mod inspect;
pub mod launch;
pub mod opaque;
pub mod privilege;
pub mod probe;
pub mod proc;
pub mod regular;
pub mod session;
pub mod stream;
pub mod subject;
