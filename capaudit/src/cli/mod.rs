//! The command line: one file a subcommand.

mod check;
mod doctor;
mod export;
mod patch;
mod report;
mod run;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// How capaudit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Success,
    /// There was a finding.
    Finding,
    /// The usage or an input was wrong.
    Usage,
    /// Tracing is not possible here.
    CannotTrace,
    /// The record is incomplete, under --strict.
    Incomplete,
    /// The command exists, but cannot be executed.
    NotExecutable,
    /// There is no such command.
    NotFound,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Finding => 1,
            Exit::Usage => 2,
            Exit::CannotTrace => 3,
            Exit::Incomplete => 4,
            Exit::NotExecutable => 126,
            Exit::NotFound => 127,
        })
    }
}

/// Finds the minimal set of Linux capabilities that a program or container needs, by watching every capability
/// check that the kernel makes while it runs.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Verify(verify::Arguments),
    Report(report::Arguments),
    Export(export::Arguments),
    Check(check::Arguments),
    Doctor(doctor::Arguments),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell if this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    }
    .into()
}

/// Tells what went wrong, in one line.
fn complain(error: &(impl std::fmt::Display + ?Sized)) {
    use std::io::Write as _;
    let text = crate::report::sanitize(&error.to_string());
    // Nobody is left to tell if this cannot be printed.
    let _ = writeln!(std::io::stderr(), "capaudit: {text}");
}
