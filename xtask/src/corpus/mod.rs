//! `cargo xtask corpus`: scores capaudit's recommendations by the corpus.
//!
//! Each scenario runs once, in a container that may use everything, under `capaudit run`. What is then recommended is
//! compared with the sets that the knock-out runs found. The yardstick is the naive recommendation: whatever was
//! checked and granted.

mod audit;
mod baseline;
mod page;
mod report;
mod runs;
mod score;
pub(crate) mod verified;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::command;
use baseline::Baseline;
use page::Setting;
use runs::{Choice, Runs};
use score::{Outcome, Row};

/// Score capaudit's recommendations by the corpus
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    runs: Choice,

    /// Fail if something needed is missing from a recommendation, or fewer are exact than in this file, which `--write`
    /// wrote
    #[arg(long, value_name = "FILE")]
    fail_under: Option<PathBuf>,
}

/// Runs the scenarios, prints the score, and judges it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let baseline = args.fail_under.as_deref().map(Baseline::read).transpose()?;
    let runs = Runs::prepare(&args.runs, "corpus")?;
    println!(
        "granting {} capabilities to each of {} scenarios",
        runs.grantable.len(),
        runs.scenarios.len()
    );
    let setting = Setting::here(&runs.docker, runs.grantable)?;

    let rows = runs.each(|scenario| {
        let row = audit::score(&runs, scenario)?;
        println!("{}: {}", row.scenario, row.outcome);
        Ok(row)
    })?;
    println!("\n{}", page::tables(&rows));
    if let Some(path) = &args.runs.write {
        command::write(path, &page::whole(&rows, &setting))?;
        println!("wrote {}", path.display());
    }
    judge(&rows, baseline.as_ref())
}

/// An error if a run failed or the score is worse than it was.
fn judge(rows: &[Row], baseline: Option<&Baseline>) -> Result<()> {
    let mut faults = baseline
        .map(|baseline| baseline.faults(rows))
        .unwrap_or_default();
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| matches!(row.outcome, Outcome::Failed(_)))
        .map(|row| row.scenario.as_str())
        .collect();
    if !failed.is_empty() {
        faults.push(format!("failed runs: {}", failed.join(", ")));
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(())
}
