//! `capaudit run -- CMD…`

use std::{ffi::OsString, io, path::PathBuf};

use capaudit_tracer::session::audit::{Plan, audit};

use super::{
    deliver::save, exit::Exit, failure::Failure, presentation::Presentation, selection::Selection,
    tracing::Tracing,
};

/// Run a command and audit it, all its descendants, and the containers that it starts.
///
/// Containers that others start meanwhile are counted, and shown with --others. Where it cannot be told whose a container is,
/// it is the command's.
///
/// The exit status is the command's own. The report goes to --output or to standard error, so that the
/// command's output stays clean.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit run -- make test
  capaudit run --save session.json -- docker-compose up --abort-on-container-exit
  capaudit run --format json --output report.json -- docker run --rm --cap-add ALL my-image

Exit status: the command's own; 3 if tracing is not possible here (see `capaudit doctor`);
4 under --strict if the record is incomplete; 126 or 127 if the command cannot be run.")]
pub(super) struct Arguments {
    /// Save the record, for `capaudit report` and `capaudit export`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    #[command(flatten)]
    presentation: Presentation,

    /// Exit with status 4 if anything is missing from the record
    #[arg(long)]
    strict: bool,

    /// Go on until the last of the command's descendants has ended
    #[arg(long)]
    wait_children: bool,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    tracing: Tracing,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the subcommand. If the command ran, capaudit ends as it did.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let plan = Plan {
        settings: arguments.tracing.settings(),
        command: arguments.command,
        wait_children: arguments.wait_children,
        reserve: arguments.presentation.takes(arguments.save.as_deref()),
    };
    arguments.presentation.check(arguments.save.as_deref())?;
    let outcome = audit(&plan)?;
    let (all, selection) = (&outcome.ledger, &arguments.selection);
    let file = arguments.save.as_deref();
    let (kept, is_complete) = match selection.of(all.clone()) {
        Ok(own) => {
            let report = selection.report(&own);
            let kept = arguments
                .presentation
                .keep(all, &report, file, io::stderr());
            (kept, own.is_complete())
        }
        // A report on anything else is no answer. What is saved can be asked again.
        Err(unknown) => {
            let saved = file.map_or(Ok(()), |file| save(all, file));
            if let Err(failure) = saved {
                failure.print();
            }
            (Err(unknown), false)
        }
    };
    if !outcome.status.success() {
        // The command's status matters more.
        if let Err(failure) = kept {
            failure.print();
        }
        return Ok(Exit::Like(outcome.status));
    }
    kept?;
    Ok(if arguments.strict && !is_complete {
        Exit::Incomplete
    } else {
        Exit::Like(outcome.status)
    })
}
