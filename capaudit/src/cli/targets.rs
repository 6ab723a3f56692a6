//! Options for what runs already.

use std::path::PathBuf;

use capaudit_live::scope::Daemon;
use capaudit_tracer::{probe::TraceScope, subject::attached::Target};

/// What runs already.
#[derive(Debug, clap::Args)]
#[group(multiple = true)]
pub(super) struct Targets {
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
    pub(super) fn list(&self) -> Vec<Target> {
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
    pub(super) fn of_daemon(self, socket: PathBuf) -> Daemon {
        Daemon {
            socket,
            containers: self.container,
            services: self.service,
        }
    }
}

/// Whose checks are recorded where targets are observed.
pub(super) fn scope_of(targets: &[Target]) -> TraceScope {
    let is_any_container = targets
        .iter()
        .any(|target| matches!(target, Target::Container(_) | Target::Service(_)));
    if is_any_container {
        // `docker exec` brings processes into a container that do not descend from it.
        TraceScope::ChosenAndNewContainers
    } else {
        TraceScope::Chosen
    }
}
