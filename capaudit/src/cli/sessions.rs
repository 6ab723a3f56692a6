//! Where facts come from: saved sessions and the daemon.

use std::path::PathBuf;

use capaudit_core::ledger::{self, Ledger};
use capaudit_live::{SOCKET, client};

use super::failure::Failure;

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

impl Sessions {
    /// All of them as one.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or no daemon answers.
    pub(super) fn merged(&self) -> Result<Ledger, Failure> {
        if !self.live {
            return merged(&self.files);
        }
        let live = client::totals(&self.socket).map_err(Failure::usage)?;
        if self.files.is_empty() {
            return Ok(live);
        }
        one([merged(&self.files)?, live])
    }
}

/// Saved sessions as one.
///
/// # Errors
///
/// A file cannot be used.
pub(super) fn merged(files: &[PathBuf]) -> Result<Ledger, Failure> {
    let ledgers: Vec<Ledger> = files
        .iter()
        .map(|file| capaudit_storage::load(file).map_err(Failure::usage))
        .collect::<Result<_, _>>()?;
    one(ledgers)
}

fn one(ledgers: impl IntoIterator<Item = Ledger>) -> Result<Ledger, Failure> {
    ledger::merge(ledgers).ok_or_else(|| Failure::usage("no session is given"))
}
