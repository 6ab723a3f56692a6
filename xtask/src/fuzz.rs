//! `cargo xtask fuzz`: the targets of capaudit/tests/hostile with many inputs (docs/results/fuzzing.md).

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use crate::project;

/// Feed hostile input to everything that reads or shows what comes from outside
///
/// The targets are built optimised, with every check of arithmetic; one after the other takes its seeds and then as many
/// inputs as are asked for, and tells how fast and what became of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The targets whose names have this in them [default: all]
    #[arg(value_name = "TARGET")]
    target: Option<String>,

    /// Inputs of each target
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    cases: u32,
}

/// Runs the targets; an error if one of them finds a fault, or there is none of that name.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut child = project::cargo()
        .args(["test", "--profile", "fuzz", "--package", "capaudit"])
        .args(["--test", "hostile", "--", "--test-threads", "1"])
        .args(&args.target)
        .env("PROPTEST_CASES", args.cases.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = child
        .stdout
        .take()
        .context("cargo's output is not to be had")?;
    let (mut targets, mut inputs) = (0u64, 0u64);
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what the targets print")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(count) = inputs_of(&line) {
            targets += 1;
            inputs += count;
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    println!("{targets} targets without a fault, {inputs} inputs");
    if !status.success() {
        bail!(
            "a target found a fault: mend it, and keep the input as a test or as a seed in capaudit/tests/hostile/corpus"
        );
    }
    if targets == 0 {
        bail!(
            "no target is called {}",
            args.target.as_deref().unwrap_or("anything")
        );
    }
    Ok(())
}

/// How many a target took, if that is what the line tells: `btf: 1000001 inputs in …`.
fn inputs_of(line: &str) -> Option<u64> {
    let (before, _after) = line.split_once(" inputs in ")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read_from_a_target_s_line() {
        let line =
            "test btf ... btf: 1000001 inputs in 2.3 s, 435248/s, slowest 5.3 ms; refused 59.0 %";
        assert_eq!(inputs_of(line), Some(1_000_001));
        assert_eq!(inputs_of("test btf ... ok"), None);
    }
}
