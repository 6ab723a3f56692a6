//! The command line: one file a subcommand.

mod attach;
mod check;
mod completions;
mod daemon;
mod decode;
mod doctor;
mod enforce;
mod explain;
mod export;
mod files;
mod man;
mod output;
mod patch;
mod ps;
mod report;
mod run;
mod terminal;
mod tracing;
mod verify;
mod watch;

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
    Attach(attach::Arguments),
    Watch(Box<watch::Arguments>),
    Verify(verify::Arguments),
    Report(report::Arguments),
    Export(export::Arguments),
    Check(check::Arguments),
    Daemon(daemon::Arguments),
    Doctor(doctor::Arguments),
    #[command(hide = true)]
    Enforce(enforce::Arguments),
    Ps(ps::Arguments),
    Files(files::Arguments),
    Decode(decode::Arguments),
    Explain(explain::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
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
        Command::Attach(arguments) => attach::run(&arguments),
        Command::Watch(arguments) => watch::run(*arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Daemon(arguments) => daemon::run(arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Enforce(arguments) => enforce::run(&arguments),
        Command::Ps(arguments) => ps::run(arguments),
        Command::Files(arguments) => files::run(&arguments),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
    .into()
}

/// Tells what went wrong, in one line.
fn complain(error: &(impl std::fmt::Display + ?Sized)) {
    use std::io::Write as _;
    let text = capaudit_core::text::sanitize(&error.to_string());
    // Nobody is left to tell if this cannot be printed.
    let _ = writeln!(std::io::stderr(), "capaudit: {text}");
}
