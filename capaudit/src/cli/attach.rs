//! `capaudit attach`

use std::{io, path::PathBuf, time::Duration};

use capaudit_tracer::{probe::Settings, session::audit::attach, subject::attached::Target};

use super::{
    Exit, complain,
    report::Presentation,
    run::of_error,
    tracing::{Tracing, with_signals},
};
use crate::watch::Daemon;

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
pub struct Arguments {
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

/// What runs already.
#[derive(Debug, clap::Args)]
#[group(multiple = true)]
pub struct Targets {
    /// A running process, with its descendants
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Vec<u32>,

    /// A running container, by name or id
    #[arg(long, value_name = "NAME")]
    container: Vec<String>,

    /// The containers of a compose service
    #[arg(long, value_name = "SERVICE")]
    service: Vec<String>,

    /// The processes of a cgroup and of those below it
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<PathBuf>,
}

impl Targets {
    /// As a list.
    pub fn list(&self) -> Vec<Target> {
        let pids = self.pid.iter().copied().map(Target::Pid);
        let containers = self.container.iter().cloned().map(Target::Container);
        let services = self.service.iter().cloned().map(Target::Service);
        let cgroups = self.cgroup.iter().cloned().map(Target::Cgroup);
        pids.chain(containers)
            .chain(services)
            .chain(cgroups)
            .collect()
    }

    /// Those that a daemon can tell apart.
    pub fn of_daemon(self, socket: PathBuf) -> Daemon {
        Daemon {
            socket,
            containers: self.container,
            services: self.service,
        }
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Exit {
    if let Err(exit) = arguments.presentation.check(arguments.save.as_deref()) {
        return exit;
    }
    let targets = arguments.targets.list();
    let settings = Settings {
        // `docker exec` brings processes into a container that do not descend from it.
        follow_new_containers: targets
            .iter()
            .any(|target| matches!(target, Target::Container(_) | Target::Service(_))),
        ..arguments.tracing.settings()
    };
    let audited = with_signals(|signals| {
        attach(
            &settings,
            &targets,
            arguments.duration,
            arguments.presentation.takes(arguments.save.as_deref()),
            signals,
            |processes| {
                complain(&format!(
                    "observing {processes} running process{}; Ctrl-C ends it",
                    if processes == 1 { "" } else { "es" }
                ));
            },
        )
    });
    let ledger = match audited {
        Ok(Ok(ledger)) => ledger,
        Ok(Err(error)) => return of_error(&error),
        Err(error) => {
            complain(&error);
            return Exit::CannotTrace;
        }
    };
    let kept = arguments
        .presentation
        .keep(&ledger, arguments.save.as_deref(), io::stdout());
    match kept {
        Err(exit) => exit,
        Ok(()) if arguments.strict && !ledger.is_complete() => Exit::Incomplete,
        Ok(()) => Exit::Success,
    }
}

/// `90`, `90s`, `10m`, `2h`, `1d`, and what else jiff reads.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 10m or 2h");
    let duration = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .ok_or_else(wrong)?,
    };
    if duration.is_zero() {
        return Err(wrong());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_nonsense_is_refused() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "-3s", "ten", "1e9999h", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
