//! `capaudit verify -- CMD…`

use std::{ffi::OsString, io, path::PathBuf, process::ExitStatus, time::Duration};

use capaudit_core::{
    capability::CapSet,
    text::{self, Style},
};
use capaudit_tracer::launch::{Signals, end_like};

use super::{Exit, complain, report::merged};
use crate::{
    cli::terminal,
    storage,
    verify::{self, ExecuteError, Plan, Source, Verified, VerifyError, Via, progress::Terminal},
};

/// How the result is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: the contract capaudit.report/1, with the object `verification`.
    Json,
}

/// Run a command with a capability set enforced, and let its exit status tell whether the set is enough.
///
/// With --minimize, find out what can be left out of the set: each member that stays has its proof, a run that
/// failed without it.
///
/// Without --caps and --from, the command is audited first, and what is recommended is the set. The runs have no
/// terminal and no input; what they print is kept out of the way. Whatever a run leaves running is ended before the
/// next one begins.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit verify --minimize -- docker run --rm --cap-add ALL my-image make test
  capaudit verify --minimize --state verify.json -- docker-compose up --exit-code-from test
  capaudit verify --caps NET_BIND_SERVICE,SETUID,SETGID -- ./integration-test.sh
  capaudit verify --from session.json -- docker run --rm my-image

Exit status: the command's own in the run that decided (0: the set is enough); 2 if the command, the set or a
file cannot be used; 3 if tracing or enforcement is not possible here; 126 or 127 if the command cannot be run.")]
pub struct Arguments {
    /// Leave out of the set what the command gets along without
    #[arg(long)]
    minimize: bool,

    /// How the set is enforced [default: docker or compose if CMD is their command, else bounding]
    #[arg(long, value_enum)]
    via: Option<Via>,

    /// The set: names, ALL, !NAME; for compose also SERVICE=SET, several times
    #[arg(long, value_name = "SET", conflicts_with = "from", value_parser = set)]
    caps: Vec<(Option<String>, CapSet)>,

    /// Take the set from what this session recommends; several are merged
    #[arg(long, value_name = "SESSION")]
    from: Vec<PathBuf>,

    /// Keep the runs in this file; the same command then goes on where it was interrupted
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Runs that a set must pass
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    repeat: u16,

    /// Longest time that a run may take [default: 10 times the first one's, at least 10 s]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,

    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write the result to this file, not to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Show also what was asked without making any difference
    #[arg(long)]
    all: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the subcommand. Ends as the command did if it could be run.
pub fn run(arguments: Arguments) -> Exit {
    let via = match arguments
        .via
        .map_or_else(|| Via::of(&arguments.command), Ok)
    {
        Ok(via) => via,
        Err(error) => {
            complain(&format!("{error} (--via tells how to enforce a set)"));
            return Exit::Usage;
        }
    };
    let source = if !arguments.caps.is_empty() {
        Source::Given(arguments.caps.clone())
    } else if arguments.from.is_empty() {
        Source::Audit
    } else {
        match merged(&arguments.from) {
            Ok(ledger) => Source::Sessions(Box::new(ledger)),
            Err(exit) => return exit,
        }
    };
    if let Some(file) = &arguments.output
        && let Err(error) = super::report::writable(file)
    {
        complain(&format!("cannot write {file:?}: {error}"));
        return Exit::Usage;
    }
    let plan = Plan {
        command: arguments.command.clone(),
        via,
        minimize: arguments.minimize,
        source,
        repeat: arguments.repeat.into(),
        timeout: arguments
            .timeout
            .map(|seconds| Duration::from_secs(seconds.into())),
        state: arguments.state.clone(),
    };
    let verified = match Signals::take() {
        Ok(signals) => verify::run(&plan, &signals, &mut Terminal::default()),
        Err(error) => {
            complain(&error);
            return Exit::CannotTrace;
        }
    };
    let verified = match verified {
        Ok(verified) => verified,
        Err(error) => return of_error(&error),
    };
    if let Err(error) = show(&arguments, &verified) {
        complain(&error);
        if verified.verification.passed {
            return Exit::Usage;
        }
    }
    end_with(verified.verification.exit_status)
}

fn show(arguments: &Arguments, verified: &Verified) -> io::Result<()> {
    let rendered = |style| -> io::Result<String> {
        Ok(match arguments.format {
            Format::Text => verify::text(verified, style, arguments.all),
            Format::Json => text::json(verified)?,
        })
    };
    match &arguments.output {
        Some(file) => {
            storage::write_whole(file, rendered(Style::PLAIN)?.as_bytes()).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot write {file:?}: {error}"))
            })
        }
        None => {
            let mut stream = io::stdout();
            let rendered = rendered(terminal::style_of(&stream))?;
            match io::Write::write_all(&mut stream, rendered.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                result => result,
            }
        }
    }
}

fn of_error(error: &VerifyError) -> Exit {
    complain(error);
    match error {
        VerifyError::NotUnderstood(_)
        | VerifyError::State(_)
        | VerifyError::Execute(ExecuteError::Refused(verify::Refusal::Beyond(_))) => Exit::Usage,
        VerifyError::CannotEnforce(_) => Exit::CannotTrace,
        VerifyError::CannotTrace(_) => {
            complain("`capaudit doctor` tells what is missing and how to mend it");
            Exit::CannotTrace
        }
        VerifyError::NotExecuted { status: 127, .. } => Exit::NotFound,
        VerifyError::NotExecuted { .. } => Exit::NotExecutable,
        VerifyError::Execute(ExecuteError::Command { error, .. }) => {
            if error.kind() == io::ErrorKind::NotFound {
                Exit::NotFound
            } else {
                Exit::NotExecutable
            }
        }
        VerifyError::Interrupted { signal, .. } => end_by(*signal as i32),
        // It was killed.
        VerifyError::TooSlow(_) => end_with(128 + 9),
        VerifyError::Load(_) | VerifyError::Execute(_) => Exit::CannotTrace,
    }
}

/// Ends this process with an exit status.
fn end_with(status: i32) -> ! {
    end_like(std::os::unix::process::ExitStatusExt::from_raw(
        (status & 0xff) << 8,
    ))
}

/// Ends this process by a signal, as whoever sent it expects.
fn end_by(signal: i32) -> ! {
    let status: ExitStatus = std::os::unix::process::ExitStatusExt::from_raw(signal);
    end_like(status)
}

/// A set, or one of a service.
fn set(text: &str) -> Result<(Option<String>, CapSet), String> {
    let (service, set) = match text.split_once('=') {
        Some((service, set)) => (Some(service.to_owned()), set),
        None => (None, text),
    };
    let set: CapSet = set.parse().map_err(|error| format!("{error}"))?;
    Ok((service, set))
}
