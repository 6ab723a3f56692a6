//! As whom operations act.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// As whom an operation acts: the program's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// User 0, as a container engine starts it
    Root,
    /// User 1000 with ambient capabilities
    User,
    /// User 0 with no_new_privs
    Nnp,
    /// User 1000 with ambient capabilities and no_new_privs
    UserNnp,
    /// User 0 of a user namespace
    Userns,
    /// User 0 under Docker's default seccomp profile
    Docker,
}

impl Mode {
    pub(super) const ALL: [Self; 6] = [
        Self::Root,
        Self::User,
        Self::Nnp,
        Self::UserNnp,
        Self::Userns,
        Self::Docker,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
            Self::Nnp => "nnp",
            Self::UserNnp => "user-nnp",
            Self::Userns => "userns",
            Self::Docker => "docker",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
