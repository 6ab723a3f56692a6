//! `capaudit run -- CMD…`

use std::{ffi::OsString, io, path::PathBuf};

use capaudit_tracer::{
    launch::end_like,
    session::audit::{AuditError, Plan, audit},
};

use super::{
    Exit, complain,
    report::Presentation,
    tracing::{Tracing, of_attach, of_observation, with_signals},
};

/// Run a command and audit it, all its descendants, and every container that starts meanwhile.
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
pub struct Arguments {
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
    tracing: Tracing,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the subcommand. Does not return if the command ran: capaudit then ends as the command did.
pub fn run(arguments: Arguments) -> Exit {
    let plan = Plan {
        settings: arguments.tracing.settings(),
        command: arguments.command,
        wait_children: arguments.wait_children,
        reserve: arguments.presentation.takes(arguments.save.as_deref()),
    };
    if let Err(exit) = arguments.presentation.check(arguments.save.as_deref()) {
        return exit;
    }
    let audited = with_signals(|signals| audit(&plan, signals));
    let outcome = match audited {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => return of_error(&error),
        Err(error) => {
            complain(&error);
            return Exit::CannotTrace;
        }
    };
    let kept =
        arguments
            .presentation
            .keep(&outcome.ledger, arguments.save.as_deref(), io::stderr());
    let complete = outcome.ledger.is_complete();
    if outcome.status.success() {
        if let Err(exit) = kept {
            return exit;
        }
        if arguments.strict && !complete {
            return Exit::Incomplete;
        }
    }
    end_like(outcome.status)
}

/// What an audit's error means to whoever started it; complains.
pub(super) fn of_error(error: &AuditError) -> Exit {
    complain(error);
    match error {
        AuditError::Observation(error) => of_observation(error),
        AuditError::Attach(error) => of_attach(error),
        AuditError::Command { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            Exit::NotFound
        }
        AuditError::Command { .. } => Exit::NotExecutable,
    }
}
