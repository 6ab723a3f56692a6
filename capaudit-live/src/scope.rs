//! Whose checks are watched, and how that is said to people.

use std::{ffi::OsString, path::PathBuf};

use capaudit_tracer::subject::attached::Target;

/// Whose checks are watched, and who observes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything on the machine.
    Machine,
    /// Processes and containers that run already.
    Targets(Vec<Target>),
    /// A command that is started, and the containers that start meanwhile.
    Command(Vec<OsString>),
    /// What a daemon observes, or some of that.
    Daemon(Daemon),
}

/// A daemon, and what of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Path of its socket.
    pub socket: PathBuf,
    /// Names or ids of containers; any if there are none here and no services.
    pub containers: Vec<String>,
    /// Names of compose services; any if there are none here and no containers.
    pub services: Vec<String>,
}

impl std::fmt::Display for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let containers = self.containers.iter().cloned().map(Target::Container);
        let services = self.services.iter().cloned().map(Target::Service);
        let mut targets: Vec<Target> = containers.chain(services).collect();
        if targets.is_empty() {
            targets.push(Target::EveryContainer);
        }
        write!(
            f,
            "{}, as the daemon at {} sees it",
            Scope::Targets(targets),
            self.socket.display()
        )
    }
}

impl Scope {
    /// The command in words; empty if there is none.
    pub fn command(&self) -> Vec<String> {
        match self {
            Self::Command(words) => words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            _ => Vec::new(),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Machine => f.write_str("the whole machine"),
            Self::Targets(targets) => {
                let each: Vec<String> = targets
                    .iter()
                    .map(|target| match target {
                        Target::Pid(pid) => format!("process {pid}"),
                        Target::Container(name) => format!("container {name}"),
                        Target::Service(name) => format!("service {name}"),
                        Target::Cgroup(path) => format!("cgroup {}", path.display()),
                        Target::EveryContainer => "every container".to_owned(),
                    })
                    .collect();
                f.write_str(&each.join(", "))
            }
            Self::Command(_) => f.write_str(&self.command().join(" ")),
            Self::Daemon(daemon) => daemon.fmt(f),
        }
    }
}
