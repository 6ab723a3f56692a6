//! `cargo xtask bench`: what capaudit costs.
//!
//! All figures are measured side by side in one run, in rounds that take turns, so that whatever else the machine does
//! hits them alike; each is the median of its rounds.

mod tracing;
mod work;

use std::path::PathBuf;

use anyhow::Result;
use capaudit::probe::Hook;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the traced program
    #[command(subcommand)]
    Work(Work),
    Quick {
        capaudit: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Checks by one process
    Checks { count: u32 },
    /// System calls without a check
    Calls { count: u32 },
    /// Processes that make checks
    Processes { count: u32, each: u32 },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Work(work) => {
            let nanoseconds = match work {
                Work::Checks { count } => work::checks(count)?,
                Work::Calls { count } => work::calls(count)?,
                Work::Processes { count, each } => work::processes(count, each)?,
            };
            println!("{nanoseconds:.2}");
            Ok(())
        }
        Command::Quick { capaudit } => {
            use tracing::{Programs, Tracing};
            let programs = Programs {
                capaudit,
                ourselves: std::env::current_exe()?,
                hook: Hook::TpBtf,
            };
            for words in [
                &["checks", "1000000"][..],
                &["calls", "1000000"],
                &["processes", "1000", "10"],
            ] {
                for tracing in [
                    Tracing::None,
                    Tracing::Floor,
                    Tracing::Run,
                    Tracing::RunElsewhere,
                    Tracing::BpftraceCount,
                    Tracing::BpftracePrint,
                ] {
                    let mut all: Vec<f64> = Vec::new();
                    for _ in 0..3 {
                        all.push(programs.measure(tracing, words)?);
                    }
                    all.sort_by(f64::total_cmp);
                    println!("{words:?} {}: {:?}", tracing.name(), all);
                }
            }
            Ok(())
        }
    }
}
