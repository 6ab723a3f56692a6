//! `capaudit report FILE…`, and how reports are shown.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    path::PathBuf,
};

use super::{Exit, complain};
use crate::{
    check, export,
    ledger::{self, Ledger},
    report::{Report, Style, text},
};

/// How a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: the contract capaudit.report/1.
    Json,
    /// A snippet for a compose file.
    Compose,
    /// What was granted and not needed, as SARIF 2.1.0.
    Sarif,
    /// The same as JUnit's XML.
    Junit,
}

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
        mut otherwise: impl Write + AsFd + IsTerminal,
    ) -> io::Result<()> {
        let report = Report::of(ledger);
        match &self.output {
            Some(file) => {
                let rendered = self.render(&report, Style::PLAIN)?;
                ledger::write_whole(file, rendered.as_bytes()).map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot write {file:?}: {error}"))
                })
            }
            None => {
                let rendered = self.render(&report, Style::of(&otherwise))?;
                match otherwise.write_all(rendered.as_bytes()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    result => result,
                }
            }
        }
    }

    fn render(&self, report: &Report, style: Style) -> io::Result<String> {
        Ok(match self.format {
            Format::Text => text(report, style, self.all),
            Format::Json => {
                let mut json = serde_json::to_string_pretty(report)?;
                json.push('\n');
                json
            }
            Format::Compose => export::compose::snippet(report),
            Format::Sarif => {
                let log = check::sarif(&check::own_grants(report));
                format!("{}\n", serde_json::to_string_pretty(&log)?)
            }
            Format::Junit => check::junit(&check::own_grants(report), check::Level::Warning)
                .map_err(io::Error::other)?,
        })
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
