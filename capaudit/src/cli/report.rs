//! `capaudit report FILE…`, and how reports are shown.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use capaudit_core::{
    capability::CapSet,
    ledger::{self, Ledger},
    report::{Report, hint},
    text::Style,
};
use capaudit_formats::export::Format;
use capaudit_tracer::privilege;

use super::{Exit, complain};
use crate::{
    cli::terminal,
    live::{SOCKET, client},
    storage,
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
        let text = self.rendered(ledger, &otherwise)?;
        deliver(&text, self.output.as_deref(), otherwise)
    }

    fn rendered(
        &self,
        ledger: &Ledger,
        otherwise: &(impl Write + AsFd + IsTerminal),
    ) -> io::Result<String> {
        let style = match &self.output {
            Some(_) => Style::PLAIN,
            None => terminal::style_of(otherwise),
        };
        let report = Report::of(ledger);
        let mut rendered = self.format.render(&report, style, self.all)?;
        if self.format == Format::Text && self.output.is_none() && otherwise.is_terminal() {
            rendered.push_str(&hint(&report, style));
        }
        Ok(rendered)
    }

    /// Whether what is to be written at the end could be: better known before a long test suite has run. Complains.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn check(&self, save: Option<&Path>) -> Result<(), Exit> {
        for file in save.into_iter().chain(self.output.as_deref()) {
            if let Err(error) = writable(file) {
                complain(&format!("cannot write {file:?}: {error}"));
                return Err(Exit::Usage);
            }
        }
        Ok(())
    }

    /// What of capaudit's own capabilities it takes to write what is to be written at the end.
    pub fn takes(&self, save: Option<&Path>) -> CapSet {
        if save.is_some() || self.output.is_some() {
            privilege::TO_WRITE
        } else {
            CapSet::EMPTY
        }
    }

    /// Saves a ledger and shows its report: both are tried, whatever becomes of the other, and a report that cannot be
    /// written to its file is shown on `otherwise`. Complains.
    ///
    /// # Errors
    ///
    /// One of them cannot be written where it was to be.
    pub fn keep(
        &self,
        ledger: &Ledger,
        file: Option<&Path>,
        mut otherwise: impl Write + AsFd + IsTerminal,
    ) -> Result<(), Exit> {
        let saved = file.map_or(Ok(()), |file| save(ledger, file));
        let shown = self.rendered(ledger, &otherwise).and_then(|text| {
            deliver(&text, self.output.as_deref(), &mut otherwise).or_else(|error| {
                if self.output.is_some() {
                    deliver(&text, None, &mut otherwise)?;
                }
                Err(error)
            })
        });
        shown.map_err(|error| {
            complain(&error);
            Exit::Usage
        })?;
        saved
    }
}

/// Saves a session where it is to be; if that cannot be, elsewhere, as it cannot be made again so easily. Complains.
///
/// # Errors
///
/// It is not where it was to be.
pub(super) fn save(ledger: &Ledger, file: &Path) -> Result<(), Exit> {
    storage::save(ledger, file).map_err(|error| {
        let rescued = match storage::save_elsewhere(ledger) {
            Ok(other) => format!("it was saved to {other:?} instead"),
            Err(error) => format!("nor is there room elsewhere: {error}"),
        };
        complain(&format!(
            "cannot save the record to {file:?}: {error}; {rescued}"
        ));
        Exit::Usage
    })
}

/// Writes text to a file, or to `otherwise` if none is given.
///
/// # Errors
///
/// It cannot be written. A closed pipe is no error.
pub fn deliver(text: &str, file: Option<&Path>, mut otherwise: impl Write) -> io::Result<()> {
    match file {
        Some(file) => storage::write_whole(file, text.as_bytes()).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write {file:?}: {error}"))
        }),
        None => match otherwise.write_all(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        },
    }
}

/// Whether a file could be written.
pub(super) fn writable(file: &Path) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "its directory does not exist",
        ));
    }
    if file.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)?;
    Ok(())
}

/// Report on saved sessions, or on what the daemon has found so far; several are merged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit report unit-tests.json integration-tests.json
  capaudit report --live")]
pub struct Arguments {
    #[command(flatten)]
    presentation: Presentation,

    #[command(flatten)]
    sessions: Sessions,
}

/// Where facts come from.
#[derive(Debug, clap::Args)]
pub struct Sessions {
    /// Sessions that `--save` wrote
    #[arg(required_unless_present = "live", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What the running daemon has found so far
    #[arg(long)]
    live: bool,

    /// Where the daemon listens
    #[arg(long, value_name = "PATH", default_value = SOCKET, requires = "live")]
    socket: PathBuf,
}

impl Sessions {
    /// All of them as one; complains if one cannot be used.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or no daemon answers.
    pub fn merged(&self) -> Result<Ledger, Exit> {
        if !self.live {
            return merged(&self.files);
        }
        let live = client::totals(&self.socket).map_err(|error| {
            complain(&error);
            Exit::Usage
        })?;
        if self.files.is_empty() {
            return Ok(live);
        }
        ledger::merge([merged(&self.files)?, live]).ok_or(Exit::Usage)
    }
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Exit {
    let ledger = match arguments.sessions.merged() {
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
        match storage::load(file) {
            Ok(ledger) => ledgers.push(ledger),
            Err(error) => {
                complain(&error);
                return Err(Exit::Usage);
            }
        }
    }
    ledger::merge(ledgers).ok_or(Exit::Usage)
}
