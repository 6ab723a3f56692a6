//! `capaudit watch`

#[cfg(feature = "live-view")]
use std::io::{self, IsTerminal as _};
use std::{ffi::OsString, num::NonZeroU32, path::PathBuf, time::Duration};

use capaudit_core::capability::CapSet;
#[cfg(feature = "live-view")]
use capaudit_live::check_events_a_second;
use capaudit_live::{SOCKET, scope::Scope};
use capaudit_tracer::{
    privilege,
    probe::{CheckEvents, TraceScope, TracerConfig},
};
#[cfg(feature = "live-view")]
use capaudit_watch::screen;
use capaudit_watch::{
    Plan,
    lines::{self, Choice, Form},
    message::{Ending, WatchError},
};

use super::{
    deliver::{check_writable, save},
    exit::Exit,
    failure::Failure,
    targets::{Targets, scope_of},
    tracing::{Tracing, duration},
};

/// Watch capability checks live: of the whole machine, of what runs already, or of a command.
///
#[cfg_attr(
    feature = "live-view",
    doc = "On a terminal, a table of totals with the recommendation as it grows, and single checks as they come: F1 or ?",
    doc = "shows the keys. Elsewhere, or with --plain or --json, a line for each check."
)]
#[cfg_attr(
    not(feature = "live-view"),
    doc = "Each check is a line. This capaudit was built without the live view on terminals."
)]
/// What makes no difference to the program is left out of the lines unless --all is given; totals count everything.
///
/// Capabilities, --denied and what to watch are filtered in the kernel: what is left out costs the machine next to nothing.
///
/// With --live, what the running daemon observes, containers that is, is watched through its socket: root is not needed, only
/// that the daemon lets your group ask.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit watch                                     the whole machine
  capaudit watch --container web --capability NET_ADMIN,NET_RAW
  capaudit watch --plain --denied | grep nginx
  capaudit watch --json --duration 60s > checks.json
  capaudit watch -- docker run --rm my-image         a command, and the containers it starts
  capaudit watch --live --container web              through the daemon, without being root

Exit status: 0, or the command's own; 2 if a target is not there or no daemon answers; 3 if tracing is not possible
here (see `capaudit doctor`) or the daemon has ended; 126 or 127 if the command cannot be run.")]
pub(super) struct Arguments {
    #[command(flatten)]
    targets: Targets,

    /// What the running daemon observes
    #[arg(long, conflicts_with_all = ["pid", "cgroup", "hook", "ring_buffer"])]
    live: bool,

    /// Where the daemon listens
    #[arg(long, value_name = "PATH", default_value = SOCKET, requires = "live")]
    socket: PathBuf,

    /// Only these capabilities; may be given several times
    #[arg(long, value_name = "CAP[,CAP]")]
    capability: Vec<CapSet>,

    /// Only refused checks
    #[arg(long)]
    denied: bool,

    /// One aligned line a check, even on a terminal
    #[arg(long, conflicts_with = "json")]
    plain: bool,

    /// One JSON object a line (docs/watch.schema.json)
    #[arg(long)]
    json: bool,

    /// Show also checks that make no difference to the program
    #[arg(long)]
    all: bool,

    /// A line only for the first of checks that differ in nothing but what they act upon
    #[arg(long)]
    unique: bool,

    /// End after this time: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,

    /// End after this many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Save the session at the end, for `capaudit report` and `capaudit export`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    #[command(flatten)]
    tracing: Tracing,

    /// A command to run and to watch, and its arguments
    #[arg(last = true, value_name = "CMD", conflicts_with_all = ["Targets", "live"])]
    command: Vec<OsString>,
}

/// How checks are shown.
#[derive(Clone, Copy, Debug)]
enum View {
    /// As lines on standard output.
    Lines(Form),
    /// As tables on the terminal.
    #[cfg(feature = "live-view")]
    Screen,
}

impl View {
    /// The screen, if there is one.
    fn for_people() -> Self {
        #[cfg(feature = "live-view")]
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            return Self::Screen;
        }
        Self::Lines(Form::Plain)
    }
}

impl Arguments {
    fn view(&self) -> View {
        if self.json {
            View::Lines(Form::Json)
        } else if self.plain || self.unique || self.count.is_some() {
            View::Lines(Form::Plain)
        } else {
            View::for_people()
        }
    }

    fn plan(self, view: View) -> Plan {
        let targets = self.targets.list();
        let scope = if self.live {
            Scope::Daemon(self.targets.of_daemon(self.socket))
        } else if !self.command.is_empty() {
            Scope::Command(self.command)
        } else if targets.is_empty() {
            Scope::Machine
        } else {
            Scope::Targets(targets)
        };
        let (check_events, writes) = match view {
            View::Lines(_) if self.unique => (CheckEvents::Sightings, false),
            View::Lines(_) => (CheckEvents::PerSecond(NonZeroU32::MAX), false),
            // Keys save and write.
            #[cfg(feature = "live-view")]
            View::Screen => (CheckEvents::PerSecond(check_events_a_second()), true),
        };
        let everything = TracerConfig::default().capabilities;
        Plan {
            settings: TracerConfig {
                scope: match &scope {
                    Scope::Machine => TraceScope::Machine,
                    Scope::Daemon(_) => TraceScope::Chosen,
                    Scope::Command(_) => TraceScope::ChosenAndNewContainers,
                    Scope::Targets(targets) => scope_of(targets),
                },
                capabilities: self
                    .capability
                    .into_iter()
                    .reduce(CapSet::union)
                    .unwrap_or(everything),
                denied_only: self.denied,
                check_events,
                ..self.tracing.settings()
            },
            scope,
            duration: self.duration,
            reserve: if self.save.is_some() || writes {
                privilege::TO_WRITE
            } else {
                CapSet::EMPTY
            },
            save: self.save,
        }
    }
}

/// Runs the subcommand. If a command ran to its end, capaudit ends as it did.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    check_writable(arguments.save.as_deref())?;
    let view = arguments.view();
    let choice = Choice {
        all: arguments.all,
        unique: arguments.unique,
        count: arguments.count,
    };
    let plan = arguments.plan(view);
    let watched = match view {
        View::Lines(form) => lines::run(&plan, form, choice),
        #[cfg(feature = "live-view")]
        View::Screen => screen::run(&plan, choice.all),
    };
    let finished = watched.map_err(Failure::cannot_trace)??;
    let saved = match (&plan.save, &finished.ledger) {
        (Some(file), Some(ledger)) => save(ledger, file),
        _ => Ok(()),
    };
    match finished.ending {
        Some(Ending::Command(status)) => {
            if let Err(failure) = saved {
                // A failed command's status matters more.
                if status.success() {
                    return Err(failure);
                }
                failure.print();
            }
            Ok(Exit::Like(status))
        }
        Some(Ending::Daemon) => {
            saved?;
            let unsaved = plan
                .save
                .map(|file| format!("; nothing is saved to {file:?}"));
            Err(Failure::cannot_trace(format!(
                "the daemon has ended{}",
                unsaved.unwrap_or_default()
            )))
        }
        Some(Ending::Targets) | None => saved.map(|()| Exit::Success),
    }
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Audit(error) => error.into(),
            WatchError::Daemon(error) => Self::usage(error),
        }
    }
}
