//! `cargo xtask test`: everything the tests need, then the tests, then one line that sums them up.

mod tally;

use std::{
    env,
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    command,
    docker::{self, Client},
    images, project,
    scenario::Scenario,
    setup,
};
use tally::Tally;

/// Set up what the tests need and run all of them, those that take root and Docker too
///
/// Nothing is skipped for want of something: what is missing and cannot be installed is an error. The tests find on their
/// search path the `docker` that reaches the engine, and the images of the whole corpus are built.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Arguments for the test programs
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

/// Prepares, tests, and sums up in the last line; successful if tests passed and none failed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !project::is_root() {
        bail!("the tests load BPF programs and start containers: run `cargo xtask test` as root");
    }
    setup::run(&setup::Args { tests: true })?;
    let docker = docker::connect()?;
    images::prepare(&docker, &Scenario::all()?)?;

    let (mut tally, status) = run_tests(
        &mut cargo_test(&docker, &args.arguments)?,
        &mut io::stdout(),
    )?;
    if !status.success() && tally.failed == 0 {
        // It did not compile, or a test program was killed before it could count.
        eprintln!("error: `cargo test` failed ({status}) although no test did");
        tally.failed = 1;
    }
    if tally.failed == 0 && tally.passed == 0 {
        eprintln!("error: no test ran");
    }
    println!("{tally}");
    Ok(if tally.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn cargo_test(docker: &Client, arguments: &[String]) -> Result<Command> {
    let mut cargo = project::cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    if !arguments.is_empty() {
        cargo.arg("--").args(arguments);
    }
    cargo.env("PATH", search_path(docker)?).stdin(Stdio::null());
    Ok(cargo)
}

/// The search path on which `docker` is the client that reaches the engine.
fn search_path(docker: &Client) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    if command::find("docker").as_deref() == Some(docker.program()) {
        return Ok(path);
    }
    let directory = docker.program().parent().map(Path::to_owned);
    env::join_paths(directory.into_iter().chain(env::split_paths(&path)))
        .context("the search path cannot be extended")
}

/// Runs the tests and counts while passing on to `copy` what they print.
fn run_tests(cargo: &mut Command, copy: &mut impl Write) -> Result<(Tally, ExitStatus)> {
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = child
        .stdout
        .take()
        .context("cargo's output is not to be had")?;
    let mut tally = Tally::default();
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .context("cannot read what cargo prints")?
        > 0
    {
        copy.write_all(&line)
            .context("cannot write to standard output")?;
        tally.count(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok((tally, status))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_result_line_counts_and_the_status_is_kept() {
        let script = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'; \
                      echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured'; exit 101";
        let mut copy = Vec::new();
        let (tally, status) =
            run_tests(Command::new("sh").args(["-c", script]), &mut copy).unwrap();
        assert_eq!(copy.iter().filter(|byte| **byte == b'\n').count(), 2);
        assert_eq!(
            tally,
            Tally {
                passed: 3,
                failed: 1,
                skipped: 1
            }
        );
        assert_eq!(status.code(), Some(101));
    }
}
