//! `cargo xtask bench`: installs what the comparison needs, builds, and measures.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{command, project, setup::apt::Apt};

/// Where the kernel lists its tracepoints; bpftrace needs it.
const TRACEFS: &str = "/sys/kernel/tracing";

/// What the comparison starts, and the packages that bring it.
const TOOLS: [(&str, &str); 6] = [
    ("bpftrace", "bpftrace"),
    ("wrk", "wrk"),
    ("nginx", "nginx-light"),
    ("redis-server", "redis-server"),
    ("redis-benchmark", "redis-tools"),
    ("tar", "tar"),
];

/// Measure what capaudit costs, side by side with nothing, an empty program and bpftrace
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Times that each figure is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u8,

    /// Measure only these parts: single, growth, macros, startup, footprint
    #[arg(value_name = "PART")]
    only: Vec<String>,

    /// Measure only what a check costs, beside this other capaudit, which was built before
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    against: Option<PathBuf>,

    /// Write the page to this file, too
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _package)| command::find(program).is_none())
        .map(|(_program, package)| *package)
        .collect();
    if !missing.is_empty() {
        Apt::default().install(&missing)?;
    }
    if !std::path::Path::new(TRACEFS).join("events").is_dir() {
        println!("mounting {TRACEFS}");
        command::succeed(Command::new("mount").args(["-t", "tracefs", "tracefs", TRACEFS]))?;
    }
    command::succeed(project::cargo().args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "capaudit",
        "--package",
        "capaudit-bench",
    ]))?;
    let built = project::target().join("release");
    let mut bench = Command::new(built.join("capaudit-bench"));
    bench
        .arg("run")
        .arg("--capaudit")
        .arg(built.join("capaudit"));
    bench.args(["--rounds", &args.rounds.to_string()]);
    for part in &args.only {
        bench.args(["--only", part]);
    }
    if let Some(file) = &args.against {
        bench.arg("--against").arg(file);
    }
    if let Some(file) = &args.write {
        bench.arg("--write").arg(file);
    }
    if !bench.status()?.success() {
        bail!("the benchmark failed");
    }
    Ok(())
}
