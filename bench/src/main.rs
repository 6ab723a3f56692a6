//! `cargo xtask bench`: what capaudit costs.
//!
//! This crate never judges a figure, and changes nothing of what it measures: it runs the program that users run.
//! Begin to read with [`rounds`], then [`single`].
//!
//! All figures are measured side by side in one run, in rounds that take turns, so that whatever else the machine does
//! hits them alike; each is the median of its rounds.

mod compare;
mod footprint;
mod growth;
mod macros;
mod page;
mod rounds;
mod single;
mod startup;
mod tracing;
mod work;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use capaudit_core::ledger::Hook;
use capaudit_tracer::probe::{Tracer, TracerConfig};
use clap::{Parser, Subcommand};

use page::Page;
use tracing::Programs;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure everything and print it as Markdown
    Run(Run),
    /// Be the traced program
    #[command(subcommand)]
    Work(Work),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The capaudit to measure
    #[arg(long, value_name = "FILE")]
    capaudit: PathBuf,

    /// Measure only what a check costs, beside this other capaudit
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    against: Option<PathBuf>,

    /// Times that each figure is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,

    /// Measure only these: single, growth, macros, startup, footprint
    #[arg(long, value_name = "PART")]
    only: Vec<String>,

    /// Write the page to this file, too
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Checks by one process
    Checks { count: u32 },
    /// System calls without a check
    Calls { count: u32 },
    /// The same question from several call sites in turn
    Turns { count: u32 },
    /// Processes that make checks
    Processes { count: u32, each: u32 },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Run(run) => measure(&run),
        Command::Work(work) => {
            let nanoseconds = match work {
                Work::Checks { count } => work::checks(count)?,
                Work::Calls { count } => work::calls(count)?,
                Work::Turns { count } => work::turns(count)?,
                Work::Processes { count, each } => work::processes(count, each)?,
            };
            println!("{nanoseconds:.2}");
            Ok(())
        }
    }
}

/// Measures something and writes it to the page.
type Part = fn(&Programs, &mut Page) -> Result<()>;

fn measure(run: &Run) -> Result<()> {
    let programs = Programs {
        capaudit: run.capaudit.canonicalize().context("no capaudit there")?,
        ourselves: std::env::current_exe()?,
        hook: chosen_hook()?,
        rounds: usize::from(run.rounds),
    };
    let mut page = Page::begin(&programs)?;
    let parts: [(&str, Part); 5] = [
        ("single", single::measure),
        ("growth", growth::measure),
        ("macros", macros::measure),
        ("startup", startup::measure),
        ("footprint", footprint::measure),
    ];
    let parts = if let Some(against) = &run.against {
        let earlier = Programs {
            capaudit: against.canonicalize().context("no other capaudit there")?,
            ..programs.clone()
        };
        compare::measure(&programs, &earlier, &mut page)?;
        &[][..]
    } else {
        &parts[..]
    };
    for (name, part) in parts {
        if run.only.is_empty() || run.only.iter().any(|only| only == *name) {
            eprintln!("measuring: {name}");
            part(&programs, &mut page).with_context(|| (*name).to_owned())?;
        }
    }
    let text = page.text();
    print!("{text}");
    if let Some(file) = &run.write {
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The hook that capaudit chooses here.
fn chosen_hook() -> Result<Hook> {
    Ok(Tracer::start(&TracerConfig::default())?.hook())
}
