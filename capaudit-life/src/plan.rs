//! Which life is led.

use std::{path::PathBuf, time::Duration};

use capaudit_core::ledger::Phase;
use serde::{Deserialize, Serialize};

use crate::expect::Expected;

/// What is started, in which phases, and what tests it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The command of compose, with project and file: what is asked of it follows.
    pub compose: Vec<String>,
    /// The engine's client.
    pub client: Vec<String>,
    /// Name of the project.
    pub project: String,
    /// The file that it is made of, which tests are told.
    pub file: PathBuf,
    /// In the order of a life. Those before the first have been led.
    pub phases: Vec<Phase>,
    /// What each phase is tested by.
    pub test: Option<Test>,
    /// A service whose end is waited for in each phase: it tests the others.
    pub exit_code_from: Option<String>,
    /// What a life looked like when nothing was wrong; `None` for one that is to find that out.
    pub expected: Option<Expected>,
    /// Where what it looks like is written to.
    pub learned: PathBuf,
    /// Where it is written in which phase, and by whose fault, it went wrong.
    pub failure: PathBuf,
    /// The longest that a phase may take to begin, in milliseconds.
    pub patience_ms: u64,
}

/// A command that tests what has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it is run.
    pub directory: PathBuf,
    /// User and group that it is run as; `None`: those of capaudit.
    pub user: Option<(u32, u32)>,
}

impl Plan {
    /// The longest that a phase may take to begin.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }
}
