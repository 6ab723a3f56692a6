//! `capaudit attach`

use std::{io, path::PathBuf, time::Duration};

use capaudit_core::report::Report;
use capaudit_tracer::{probe::TracerConfig, session::audit::attach};

use super::{
    exit::Exit,
    failure::{Failure, note},
    presentation::Presentation,
    targets::{Targets, scope_of},
    tracing::{Tracing, duration},
};

/// Audit what runs already: processes, containers, compose services or cgroups.
///
/// Ends when all of it has ended, with --duration, or with Ctrl-C; then the report comes. What a program asked
/// before, when it started say, cannot be seen any more: the record counts as incomplete until it is started
/// again meanwhile.
#[derive(Debug, clap::Args)]
#[command(mut_group("Targets", |targets| targets.required(true)), after_help = "Examples:
  capaudit attach --container web --duration 60s
  capaudit attach --service db --service cache --save session.json
  capaudit attach --pid $(pidof nginx | cut -d' ' -f1)

Exit status: 0; 2 if a target is not there; 3 if tracing is not possible here (see `capaudit doctor`);
4 under --strict if the record is incomplete.")]
pub(super) struct Arguments {
    #[command(flatten)]
    targets: Targets,

    /// End after this time: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,

    /// Save the record, for `capaudit report` and `capaudit export`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    #[command(flatten)]
    presentation: Presentation,

    /// Exit with status 4 if anything is missing from the record
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    tracing: Tracing,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    arguments.presentation.check(arguments.save.as_deref())?;
    let targets = arguments.targets.list();
    let settings = TracerConfig {
        scope: scope_of(&targets),
        ..arguments.tracing.settings()
    };
    let ledger = attach(
        &settings,
        &targets,
        arguments.duration,
        arguments.presentation.takes(arguments.save.as_deref()),
        &|processes| {
            note(&format!(
                "observing {processes} running process{}; Ctrl-C ends it",
                if processes == 1 { "" } else { "es" }
            ));
        },
    )?;
    arguments.presentation.keep(
        &ledger,
        &Report::of(&ledger),
        arguments.save.as_deref(),
        io::stdout(),
    )?;
    Ok(if arguments.strict && !ledger.is_complete() {
        Exit::Incomplete
    } else {
        Exit::Success
    })
}
