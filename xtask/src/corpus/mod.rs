//! `cargo xtask corpus`: scores capaudit's recommendations by the corpus.
//!
//! Each scenario runs once, in a container that may use everything, under `capaudit run`. What is then recommended is
//! compared with the sets that the knock-out runs found. The yardstick is the naive recommendation: whatever was
//! checked and granted.

mod audit;
mod baseline;
mod page;
mod report;
mod score;
pub mod verified;

use std::{
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{command, docker, grantable, images, project, scenario::Scenario};
use audit::Auditor;
use baseline::Baseline;
use page::Setting;
use score::{Outcome, Row};

/// Score capaudit's recommendations by the corpus
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scenarios to run [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// How many run at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,

    /// Write the score to this file, as Markdown
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    write: Option<PathBuf>,

    /// Fail if something needed is missing from a recommendation, or fewer are exact than in this file, which `--write`
    /// wrote
    #[arg(long, value_name = "FILE")]
    fail_under: Option<PathBuf>,

    /// The capaudit to score, instead of building one
    #[arg(long, value_name = "FILE")]
    capaudit: Option<PathBuf>,
}

/// Runs the scenarios, prints the score, and judges it.
pub fn run(args: &Args) -> Result<()> {
    let baseline = args.fail_under.as_deref().map(Baseline::read).transpose()?;
    let scenarios = Scenario::chosen(&args.names)?;
    let docker = docker::connect()?;
    images::prepare(&docker, &scenarios)?;
    let capaudit = match &args.capaudit {
        Some(file) => file
            .canonicalize()
            .with_context(|| format!("no capaudit at {}", file.display()))?,
        None => build()?,
    };
    let grantable = grantable::find(&docker)?;
    println!(
        "granting {} capabilities to each of {} scenarios",
        grantable.len(),
        scenarios.len()
    );
    let setting = Setting::here(&docker, grantable)?;

    let auditor = Auditor {
        capaudit,
        docker,
        grantable,
        folder: project::target().join("corpus"),
    };
    fs::create_dir_all(&auditor.folder)
        .with_context(|| format!("cannot create {}", auditor.folder.display()))?;
    let rows = parallel(&scenarios, usize::from(args.jobs), |scenario| {
        let row = auditor.score(scenario)?;
        println!("{}: {}", row.scenario, row.outcome);
        Ok(row)
    })?;
    println!("\n{}", page::tables(&rows));
    if let Some(path) = &args.write {
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

/// The capaudit of this workspace.
fn build() -> Result<PathBuf> {
    println!("building capaudit");
    command::succeed(project::cargo().args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "capaudit",
    ]))?;
    Ok(project::target().join("release/capaudit"))
}

/// What `work` makes of each scenario, in the order given, `jobs` at a time.
fn parallel<T: Send>(
    scenarios: &[Scenario],
    jobs: usize,
    work: impl Fn(&Scenario) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((number, scenario)) =
                    nth(scenarios, next.fetch_add(1, Ordering::Relaxed))
                {
                    let result = work(scenario);
                    done.lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .push((number, result));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

fn nth(scenarios: &[Scenario], number: usize) -> Option<(usize, &Scenario)> {
    Some((number, scenarios.get(number)?))
}
