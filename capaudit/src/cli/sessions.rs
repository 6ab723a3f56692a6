//! Where facts come from: saved sessions and the daemon.

use std::path::PathBuf;

use capaudit_core::ledger::{self, Ledger};
use capaudit_live::{SOCKET, client};

use super::failure::{Failure, note};

/// Where facts come from.
#[derive(Debug, clap::Args)]
pub(super) struct Sessions {
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

/// Where facts come from, if from anywhere: what is checked against a lock needs no session.
#[derive(Debug, clap::Args)]
pub(super) struct OptionalSessions {
    /// Sessions that `--save` wrote
    #[arg(required_unless_present_any = ["live", "lock"], value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What the running daemon has found so far
    #[arg(long)]
    live: bool,

    /// Where the daemon listens
    #[arg(long, value_name = "PATH", default_value = SOCKET, requires = "live")]
    socket: PathBuf,
}

impl OptionalSessions {
    /// All of them as one; `None` if there is none.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or no daemon answers.
    pub(super) fn merged(&self) -> Result<Option<Ledger>, Failure> {
        if self.files.is_empty() && !self.live {
            return Ok(None);
        }
        all(&self.files, self.live.then_some(&self.socket)).map(Some)
    }
}

impl Sessions {
    /// All of them as one.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or no daemon answers.
    pub(super) fn merged(&self) -> Result<Ledger, Failure> {
        all(&self.files, self.live.then_some(&self.socket))
    }
}

fn all(files: &[PathBuf], socket: Option<&PathBuf>) -> Result<Ledger, Failure> {
    let Some(socket) = socket else {
        return merged(files);
    };
    let live = client::totals(socket).map_err(Failure::usage)?;
    if files.is_empty() {
        return Ok(live);
    }
    one([merged(files)?, live])
}

/// Saved sessions as one.
///
/// # Errors
///
/// A file cannot be used.
pub(super) fn merged(files: &[PathBuf]) -> Result<Ledger, Failure> {
    let mut ledgers: Vec<Ledger> = Vec::new();
    for file in files {
        let ledger = capaudit_storage::load(file).map_err(Failure::usage)?;
        // No two audits begin in the same second, last as many milliseconds and count the same.
        if ledgers.contains(&ledger) {
            note(&format!(
                "{file:?} is a session that is given already: it counts once"
            ));
        } else {
            ledgers.push(ledger);
        }
    }
    one(ledgers)
}

fn one(ledgers: impl IntoIterator<Item = Ledger>) -> Result<Ledger, Failure> {
    ledger::merge(ledgers).ok_or_else(|| Failure::usage("no session is given"))
}
