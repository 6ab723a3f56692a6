//! `capaudit enforce`: one run of `capaudit verify --via lsm`, in a process of its own. Not for people.

use std::{ffi::OsString, path::PathBuf};

use capaudit_core::capability::CapSet;
use capaudit_tracer::{
    launch::{Launched, Signals},
    privilege,
    probe::{Enforcer, EnforcerConfig},
};

use super::{exit::Exit, failure::Failure};

/// Run a command with capabilities refused by a BPF LSM program.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What the command may have
    #[arg(long, value_name = "SET")]
    command: Option<CapSet>,

    /// What containers that start meanwhile may have
    #[arg(long, value_name = "SET")]
    containers: Option<CapSet>,

    /// File to create when the sets are in force
    #[arg(long, value_name = "FILE")]
    in_force: PathBuf,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    words: Vec<OsString>,
}

/// Runs the subcommand. If the command ran, capaudit ends as it did.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let permissive = EnforcerConfig::PERMISSIVE;
    let config = EnforcerConfig {
        command_may: arguments.command.unwrap_or(permissive.command_may),
        containers_may: arguments.containers.unwrap_or(permissive.containers_may),
    };
    let mut enforcer = Enforcer::start(config).map_err(Failure::cannot_trace)?;
    let launched = std::fs::write(&arguments.in_force, "")
        .and_then(|()| Signals::take())
        .and_then(|signals| {
            enforcer.limiting_children(|| Launched::start(&arguments.words, &signals))
        });
    let waited = launched.and_then(|launched| {
        privilege::keep(CapSet::EMPTY, CapSet::EMPTY)?;
        launched.wait()
    });
    let status = waited.map_err(|error| {
        Failure::new(
            Exit::of_refused_command(&error),
            format!("cannot run {:?}: {error}", arguments.words[0]),
        )
    })?;
    // The programs stay to the end, for what the command leaves running.
    std::mem::forget(enforcer);
    Ok(Exit::Like(status))
}
