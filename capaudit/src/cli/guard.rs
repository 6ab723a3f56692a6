//! `capaudit guard`: removes what `capaudit harden` made if that is killed. Not for people.

use std::path::PathBuf;

use capaudit_verify::life;

use super::{exit::Exit, failure::Failure};

/// Wait for the end of standard input, then remove a compose project and a directory.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The engine's client
    #[arg(long)]
    client: String,

    /// The project
    #[arg(long)]
    project: String,

    /// The directory
    #[arg(long)]
    directory: PathBuf,

    /// Wait in a process of its own, and end at once
    #[arg(long)]
    detach: bool,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    life::keep(
        &arguments.client,
        &arguments.project,
        &arguments.directory,
        arguments.detach,
    )
    .map(|()| Exit::Success)
    .map_err(|error| {
        Failure::new(
            Exit::CannotTrace,
            format!("cannot remove all of {}: {error}", arguments.project),
        )
    })
}
