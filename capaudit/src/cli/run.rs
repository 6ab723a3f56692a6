//! `capaudit run -- CMD…`

use std::{ffi::OsString, io, path::PathBuf};

use super::{Exit, complain, report::Presentation};
use crate::{
    launch::{Signals, end_like},
    ledger,
    probe::{Hook, Settings},
    session::audit::{AuditError, Plan, audit},
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

    /// Use this hook, not the best that works: fexit, tp_btf or kprobe
    #[arg(long, value_name = "HOOK")]
    hook: Option<Hook>,

    /// Size of the buffer between kernel and capaudit, in KiB (a power of two)
    #[arg(long, value_name = "KIB", default_value_t = 8192, value_parser = ring_size)]
    ring_buffer: u32,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the subcommand. Does not return if the command ran: capaudit then ends as the command did.
pub fn run(arguments: Arguments) -> Exit {
    let plan = Plan {
        settings: Settings {
            hook: arguments.hook,
            ring_bytes: arguments.ring_buffer * 1024,
            ..Settings::default()
        },
        command: arguments.command,
        wait_children: arguments.wait_children,
    };
    for file in arguments.save.iter().chain(&arguments.presentation.output) {
        if let Err(error) = writable(file) {
            complain(&format!("cannot write {file:?}: {error}"));
            return Exit::Usage;
        }
    }
    let audited = Signals::take().and_then(|signals| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(audit(&plan, signals)))
    });
    let outcome = match audited {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => {
            complain(&error);
            return of_error(&error);
        }
        Err(error) => {
            complain(&error);
            return Exit::CannotTrace;
        }
    };
    let mut failed = false;
    if let Some(file) = &arguments.save
        && let Err(error) = ledger::save(&outcome.ledger, file)
    {
        complain(&format!("cannot save the record to {file:?}: {error}"));
        failed = true;
    }
    if let Err(error) = arguments.presentation.show(&outcome.ledger, io::stderr()) {
        complain(&error);
        failed = true;
    }
    let complete = outcome.ledger.session.is_complete();
    if outcome.status.success() {
        if failed {
            return Exit::Usage;
        }
        if arguments.strict && !complete {
            return Exit::Incomplete;
        }
    }
    end_like(outcome.status)
}

fn of_error(error: &AuditError) -> Exit {
    match error {
        AuditError::Probe(_) => {
            complain("`capaudit doctor` tells what is missing and how to mend it");
            Exit::CannotTrace
        }
        AuditError::System { .. } => Exit::CannotTrace,
        AuditError::Command { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            Exit::NotFound
        }
        AuditError::Command { .. } => Exit::NotExecutable,
    }
}

/// Whether a file could be written at the end: better known before a long test suite has run.
pub(super) fn writable(file: &std::path::Path) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => std::path::Path::new("."),
    };
    if !directory.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "its directory does not exist",
        ));
    }
    if file.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)?;
    Ok(())
}

/// The kernel wants a power of two and at least a page.
fn ring_size(text: &str) -> Result<u32, String> {
    let kibibytes: u32 = text
        .parse()
        .map_err(|_error| format!("{text:?} is not a number of KiB"))?;
    if !kibibytes.is_power_of_two() || !(4..=1 << 20).contains(&kibibytes) {
        return Err(format!(
            "{kibibytes} is not a power of two from 4 to {}",
            1 << 20
        ));
    }
    Ok(kibibytes)
}
