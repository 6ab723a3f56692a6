//! Checks, live: of the machine, of what runs already, of a command, or of what a daemon observes.
//!
//! This crate never decides what a check means (that is `capaudit-core`'s), and knows nothing of a daemon but what
//! `capaudit-live` says.
//!
//! Begin to read with [`message`]. [`source`] turns what is observed into messages: check events as they come, and about once a second
//! the state of all totals with what they mean so far; or, with `live.rs`, what a daemon observes. They are shown as
//! lines ([`lines`]: text or JSON) or on a terminal ([`screen`]), where a [`model`] takes messages and keys, and a
//! [`view`] draws it; both are pure.

pub mod columns;
#[cfg(feature = "view")]
pub mod filter;
pub mod lines;
mod live;
pub mod message;
#[cfg(feature = "view")]
pub mod model;
#[cfg(test)]
mod samples;
#[cfg(feature = "view")]
pub mod screen;
pub mod source;
pub mod state;
#[cfg(feature = "view")]
pub mod view;
pub mod words;

use std::{path::PathBuf, time::Duration};

use capaudit_core::capability::CapSet;
use capaudit_live::scope::Scope;
use capaudit_tracer::probe::TracerConfig;

/// What is watched, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the kernel is watched.
    pub settings: TracerConfig,
    /// Whose checks are watched.
    pub scope: Scope,
    /// End after this time; `None`: when what is watched has ended.
    pub duration: Option<Duration>,
    /// Save the session here at the end.
    pub save: Option<PathBuf>,
    /// What is kept in reserve of capaudit's own capabilities to write files.
    pub reserve: CapSet,
}
