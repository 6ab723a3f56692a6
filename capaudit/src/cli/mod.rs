//! The command line: one file a subcommand.

mod attach;
mod check;
mod completions;
#[cfg(feature = "daemon")]
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
mod guard;
mod harden;
mod life;
mod lock;
mod locking;
mod log;
mod made;
mod man;
mod output;
mod patch;
mod presentation;
mod ps;
mod refusal;
mod report;
mod run;
mod selection;
mod sessions;
mod targets;
mod terminal;
mod tracing;
mod verify;
mod watch;

use std::process::ExitCode;

use capaudit_verify::channel::Sender;
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
    /// Write a log to standard error: what is lost, what does not answer, and from `info` on how the kernel is watched
    /// [default: warn for the daemon, else off]
    #[arg(long, global = true, value_name = "LEVEL", hide_possible_values = true)]
    log: Option<log::LogLevel>,

    #[command(subcommand)]
    command: Command,
}

// The command line with what is not for people: completions, made of `Arguments`, know nothing of it. A documentation
// comment would become the first line of --help.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Invocation {
    /// Where to say why it failed: a descriptor that whoever started this process handed down
    #[arg(long, hide = true, value_name = "FD", value_parser = clap::value_parser!(i32).range(3..))]
    failure_descriptor: Option<i32>,

    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Attach(attach::Arguments),
    Watch(Box<watch::Arguments>),
    Harden(Box<harden::Arguments>),
    Verify(verify::Arguments),
    Report(report::Arguments),
    Export(export::Arguments),
    Check(check::Arguments),
    #[cfg(feature = "daemon")]
    Daemon(daemon::Arguments),
    Doctor(doctor::Arguments),
    #[command(hide = true)]
    Enforce(enforce::Arguments),
    #[command(hide = true)]
    Life(life::Arguments),
    #[command(hide = true)]
    Guard(guard::Arguments),
    Ps(ps::Arguments),
    Files(files::Arguments),
    Decode(decode::Arguments),
    Explain(explain::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let (line, command) = made::told_apart(std::env::args_os().collect());
    let Invocation {
        failure_descriptor,
        mut arguments,
    } = match Invocation::try_parse_from(line) {
        Ok(invocation) => invocation,
        Err(error) => {
            // Nobody is left to tell if this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if let Command::Harden(arguments) = &mut arguments.command {
        arguments.command = command;
    }
    log::begin(
        arguments
            .log
            .unwrap_or_else(|| arguments.command.usual_log()),
    );
    // Before anything is started that could inherit it.
    let sender = failure_descriptor
        .map(Sender::inherited)
        .transpose()
        .map_err(|error| Failure::usage(format!("--failure-descriptor: {error}")));
    let result = match &sender {
        Ok(_) => arguments.command.run(),
        Err(failure) => Err(failure.clone()),
    };
    match result {
        Ok(exit) => exit.end(),
        Err(failure) => {
            failure.print();
            let exit = failure.exit;
            if let Ok(Some(sender)) = sender {
                sender.send(failure.into());
            }
            exit.end()
        }
    }
}

impl Command {
    /// What is logged unless somebody says otherwise: a report says itself what was lost, a daemon's is read later, by others.
    fn usual_log(&self) -> log::LogLevel {
        match self {
            #[cfg(feature = "daemon")]
            Self::Daemon(_) => log::LogLevel::Warn,
            _ => log::LogLevel::Off,
        }
    }

    fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Run(arguments) => run::run(arguments),
            Self::Attach(arguments) => attach::run(&arguments),
            Self::Watch(arguments) => watch::run(*arguments),
            Self::Harden(arguments) => harden::run(&arguments),
            Self::Verify(arguments) => verify::run(arguments),
            Self::Report(arguments) => report::run(&arguments),
            Self::Export(arguments) => export::run(&arguments),
            Self::Check(arguments) => check::run(&arguments),
            #[cfg(feature = "daemon")]
            Self::Daemon(arguments) => daemon::run(arguments),
            Self::Doctor(arguments) => doctor::run(&arguments),
            Self::Enforce(arguments) => enforce::run(&arguments),
            Self::Life(arguments) => life::run(&arguments),
            Self::Guard(arguments) => guard::run(&arguments),
            Self::Ps(arguments) => ps::run(arguments),
            Self::Files(arguments) => files::run(&arguments),
            Self::Decode(arguments) => decode::run(&arguments),
            Self::Explain(arguments) => explain::run(&arguments),
            Self::Completions(arguments) => completions::run(&arguments),
            Self::Man(arguments) => man::run(&arguments),
        }
    }
}
