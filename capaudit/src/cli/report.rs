//! `capaudit report FILE…`, and how reports are shown.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use super::{Exit, complain};
use crate::{
    export::Format,
    ledger::{self, Ledger},
    report::{Report, Style},
};

/// Where a report goes, and how.
#[derive(Debug, clap::Args)]
pub struct Presentation {
    /// How the report is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Show also what was asked without making any difference
    #[arg(long)]
    pub all: bool,
}

impl Presentation {
    /// Shows the report of a ledger, on `otherwise` if no file is given.
    ///
    /// # Errors
    ///
    /// It cannot be written. A closed pipe is no error.
    pub fn show(
        &self,
        ledger: &Ledger,
        otherwise: impl Write + AsFd + IsTerminal,
    ) -> io::Result<()> {
        let style = match &self.output {
            Some(_) => Style::PLAIN,
            None => Style::of(&otherwise),
        };
        let rendered = self.format.render(&Report::of(ledger), style, self.all)?;
        deliver(&rendered, self.output.as_deref(), otherwise)
    }
}

/// Writes text to a file, or to `otherwise` if none is given.
///
/// # Errors
///
/// It cannot be written. A closed pipe is no error.
pub fn deliver(text: &str, file: Option<&Path>, mut otherwise: impl Write) -> io::Result<()> {
    match file {
        Some(file) => ledger::write_whole(file, text.as_bytes()).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write {file:?}: {error}"))
        }),
        None => match otherwise.write_all(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        },
    }
}

/// Report on saved sessions; several are merged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  capaudit report unit-tests.json integration-tests.json")]
pub struct Arguments {
    #[command(flatten)]
    presentation: Presentation,

    /// Sessions that `capaudit run --save` wrote
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Exit {
    let ledger = match merged(&arguments.files) {
        Ok(ledger) => ledger,
        Err(exit) => return exit,
    };
    match arguments.presentation.show(&ledger, io::stdout()) {
        Ok(()) => Exit::Success,
        Err(error) => {
            complain(&error);
            Exit::Usage
        }
    }
}

/// Loads and merges sessions; complains if one cannot be used.
pub fn merged(files: &[PathBuf]) -> Result<Ledger, Exit> {
    let mut ledgers = Vec::new();
    for file in files {
        match ledger::load(file) {
            Ok(ledger) => ledgers.push(ledger),
            Err(error) => {
                complain(&error);
                return Err(Exit::Usage);
            }
        }
    }
    ledger::merge(ledgers).ok_or(Exit::Usage)
}
