//! `capaudit verify -- CMD…`

use std::{
    ffi::OsString, io, os::unix::process::ExitStatusExt as _, path::PathBuf, process::ExitStatus,
    time::Duration,
};

use capaudit_core::{
    capability::CapSet,
    text::{self, Style},
};
use capaudit_tracer::launch::Signals;
use capaudit_verify::{
    Aim, ExecuteError, Plan, Refusal, Run, Source, Verified, VerifyError, Via, progress::Terminal,
};

use super::{
    deliver::{check_writable, deliver, save},
    exit::Exit,
    failure::Failure,
    sessions::merged,
    terminal,
    tracing::SEE_DOCTOR,
};

/// What to do if nothing was enforced.
const OTHER_WAYS: &str = "let what starts the containers find the engine by DOCKER_HOST or CONTAINER_HOST (no -H, no --context, no path of a socket), or enforce the sets in another way: --via lsm, or `capaudit harden` for a compose file";
/// What to do if containers cannot be told apart.
const STABLE_NAMES: &str =
    "give each container a name that is the same in each run, or give the sets by image";

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
  capaudit verify --minimize --via socket -- ./start-containers-and-test.sh

A command that starts containers itself finds, in DOCKER_HOST and CONTAINER_HOST, a socket that stands in for the engine's and
grants each container its set. Containers are recognised by their compose service, else by the name that they were given, else by
their image. What was made through it is removed after each run.

Exit status: the command's own in the run that decided (0: the set is enough); 2 if the command, the set or a
file cannot be used; 3 if tracing or enforcement is not possible here, or nothing was enforced on a container; 126 or 127 if the command cannot be run.")]
pub(super) struct Arguments {
    /// Leave out of the set what the command gets along without
    #[arg(long)]
    minimize: bool,

    /// How the set is enforced [default: docker or compose if CMD is their command; socket if it starts containers itself; else bounding]
    #[arg(long, value_enum)]
    via: Option<Via>,

    /// The set: names, ALL, !NAME; for compose and socket also SERVICE=SET, several times
    #[arg(long, value_name = "SET", conflicts_with = "from", value_parser = set)]
    caps: Vec<(Option<String>, CapSet)>,

    /// Take the set from what this session recommends; several are merged
    #[arg(long, value_name = "SESSION")]
    from: Vec<PathBuf>,

    /// Keep the runs in this file; the same command then goes on where it was interrupted
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Save the audit's record with what the runs showed, for `capaudit report`, `export` and `check`
    #[arg(long, value_name = "FILE", conflicts_with = "caps")]
    save: Option<PathBuf>,

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
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let may_change = arguments.via.is_none();
    let via = match arguments.via {
        Some(via) => via,
        None => Via::of(&arguments.command).map_err(|error| {
            Failure::usage(format!("{error} (--via tells how to enforce a set)"))
        })?,
    };
    let source = if !arguments.caps.is_empty() {
        Source::Given(arguments.caps.clone())
    } else if arguments.from.is_empty() {
        Source::Audit
    } else {
        Source::Sessions(Box::new(merged(&arguments.from)?))
    };
    check_writable(
        [&arguments.output, &arguments.save]
            .into_iter()
            .filter_map(Option::as_deref),
    )?;
    let plan = Plan {
        command: arguments.command.clone(),
        run: Run::Command(via),
        may_change,
        aim: if arguments.minimize {
            Aim::Minimum
        } else {
            Aim::Enough
        },
        source,
        repeat: arguments.repeat.into(),
        timeout: arguments
            .timeout
            .map(|seconds| Duration::from_secs(seconds.into())),
        state: arguments.state.clone(),
    };
    let verified = {
        let signals = Signals::take().map_err(Failure::cannot_trace)?;
        capaudit_verify::run(&plan, &signals, &mut Terminal::default())?
    };
    let saved = match (&arguments.save, &verified.ledger) {
        (Some(file), Some(ledger)) => save(ledger, file),
        _ => Ok(()),
    };
    let shown = show(&arguments, &verified).map_err(Failure::usage);
    if let Err(failure) = saved.and(shown) {
        if verified.verification.passed {
            return Err(failure);
        }
        // The command's status matters more.
        failure.print();
    }
    Ok(Exit::of_status(verified.verification.exit_status))
}

fn show(arguments: &Arguments, verified: &Verified) -> io::Result<()> {
    let stdout = io::stdout();
    let style = match &arguments.output {
        Some(_) => Style::PLAIN,
        None => terminal::style_of(&stdout),
    };
    let rendered = match arguments.format {
        Format::Text => capaudit_verify::text(verified, style, arguments.all),
        Format::Json => text::json(verified)?,
    };
    deliver(&rendered, arguments.output.as_deref(), stdout)
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        let exit = match &error {
            VerifyError::NotUnderstood(_)
            | VerifyError::State(_)
            | VerifyError::Execute(ExecuteError::Refused(Refusal::Beyond(_))) => Exit::Usage,
            VerifyError::NotEnforced(_) | VerifyError::NotInForce { .. } => {
                return Self::cannot_trace(error).hint(OTHER_WAYS);
            }
            VerifyError::Ambiguous { .. } => return Self::cannot_trace(error).hint(STABLE_NAMES),
            VerifyError::CannotTrace(_) => return Self::cannot_trace(error).hint(SEE_DOCTOR),
            VerifyError::NotExecuted { status: 127, .. } => Exit::NotFound,
            VerifyError::NotExecuted { .. } => Exit::NotExecutable,
            VerifyError::Execute(ExecuteError::Command { error, .. }) => {
                Exit::of_refused_command(error)
            }
            // As whoever sent it expects.
            VerifyError::Interrupted { signal, .. } => {
                Exit::Like(ExitStatus::from_raw(*signal as i32))
            }
            // It was killed.
            VerifyError::TooSlow(_) => Exit::of_status(128 + 9),
            VerifyError::CannotEnforce(_)
            | VerifyError::NoSocket(_)
            | VerifyError::NoEngine(_)
            | VerifyError::Load(_)
            | VerifyError::Execute(_) => Exit::CannotTrace,
        };
        Self::new(exit, error)
    }
}

/// A set, or one of a service.
pub(super) fn set(text: &str) -> Result<(Option<String>, CapSet), String> {
    let (service, set) = match text.split_once('=') {
        Some((service, set)) => (Some(service.to_owned()), set),
        None => (None, text),
    };
    let set: CapSet = set.parse().map_err(|error| format!("{error}"))?;
    Ok((service, set))
}
