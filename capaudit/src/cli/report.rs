//! `capaudit report FILE…`

use std::io;

use super::{
    exit::Exit, failure::Failure, presentation::Presentation, selection::Selection,
    sessions::Sessions,
};

/// Report on saved sessions, or on what the daemon has found so far; several are merged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit report unit-tests.json integration-tests.json
  capaudit report --service db session.json
  capaudit report --live")]
pub(super) struct Arguments {
    #[command(flatten)]
    presentation: Presentation,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    sessions: Sessions,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let selection = &arguments.selection;
    let ledger = selection.of(arguments.sessions.merged()?)?;
    arguments
        .presentation
        .show(&selection.report(&ledger), io::stdout())
        .map_err(Failure::usage)?;
    Ok(Exit::Success)
}
