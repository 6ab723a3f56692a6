//! Where a capability was used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a capability was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Place")]
pub struct Use {
    /// Path of the executable as it was given to execve.
    pub exe: String,
    /// Command name of the thread.
    pub comm: String,
    /// System call; empty outside one.
    pub syscall: String,
    /// What the call acted upon; empty if unknown.
    pub object: String,
    /// The kernel function that asked; empty if unknown.
    pub caller: String,
}

impl Use {
    /// Who asked: the executable, or the command name where that is not known.
    pub fn program(&self) -> &str {
        if self.exe.is_empty() {
            &self.comm
        } else {
            &self.exe
        }
    }
}
