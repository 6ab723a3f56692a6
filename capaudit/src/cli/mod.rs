//! The command line: one file a subcommand.

mod attach;
mod check;
mod completions;
mod daemon;
mod decode;
mod deliver;
mod doctor;
mod enforce;
mod exit;
mod explain;
mod export;
mod failure;
mod files;
mod man;
mod output;
mod patch;
mod presentation;
mod ps;
mod report;
mod run;
mod sessions;
mod targets;
mod terminal;
mod tracing;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Exit;
use failure::Failure;

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
    match arguments.command.run() {
        Ok(exit) => exit.end(),
        Err(failure) => {
            failure.print();
            failure.exit.end()
        }
    }
}

impl Command {
    fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Run(arguments) => run::run(arguments),
            Self::Attach(arguments) => attach::run(&arguments),
            Self::Watch(arguments) => watch::run(*arguments),
            Self::Verify(arguments) => verify::run(arguments),
            Self::Report(arguments) => report::run(&arguments),
            Self::Export(arguments) => export::run(&arguments),
            Self::Check(arguments) => check::run(&arguments),
            Self::Daemon(arguments) => daemon::run(arguments),
            Self::Doctor(arguments) => doctor::run(&arguments),
            Self::Enforce(arguments) => enforce::run(&arguments),
            Self::Ps(arguments) => ps::run(arguments),
            Self::Files(arguments) => files::run(&arguments),
            Self::Decode(arguments) => decode::run(&arguments),
            Self::Explain(arguments) => explain::run(&arguments),
            Self::Completions(arguments) => completions::run(&arguments),
            Self::Man(arguments) => man::run(&arguments),
        }
    }
}
