//! What runs already and is to be observed: from what people name to processes.

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use capaudit_core::{capability::CapSet, ledger::Engine};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use thiserror::Error;

use crate::{
    proc::{
        self, Cgroups, ContainerId, mount_namespace_of, namespace_inode,
        status::{SetName, Status},
        user_namespace_level,
    },
    subject::{Identity, UserNamespace, engine},
};

/// What `--pid`, `--container` and the like name: not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process and its descendants.
    Pid(u32),
    /// A container, by name or by the beginning of its id.
    Container(String),
    /// The running containers of a compose service, and those started while it is observed.
    Service(String),
    /// The processes of a cgroup and of those below it: a directory of a cgroup file system, or a path as in
    /// `/proc/PID/cgroup`.
    Cgroup(PathBuf),
    /// Every container that runs, as well as those that start; there may be none.
    EveryContainer,
}

/// Why there is nothing to attach to.
#[derive(Debug, Error)]
pub enum TargetError {
    /// No process has this pid.
    #[error("there is no process {0}")]
    Process(u32),
    /// capaudit itself cannot be observed.
    #[error("process {0} is capaudit itself")]
    Ourselves(u32),
    /// No running container is called that.
    #[error("no running container is called {0:?} (`docker ps` lists them)")]
    Container(String),
    /// Several containers' ids begin so.
    #[error("several containers' ids begin with {0:?}: give more digits")]
    Ambiguous(String),
    /// No running container belongs to the service.
    #[error("no running container belongs to the compose service {0:?}")]
    Service(String),
    /// A name can only be looked up with the engine's help.
    #[error("no container engine answers that could tell which container {0:?} is: give its id")]
    NoEngine(String),
    /// No process is in such a cgroup.
    #[error("no process is in a cgroup {0:?}")]
    Cgroup(PathBuf),
}

/// A target that was looked up: there is something to observe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// A process and its descendants.
    Tree(u32),
    /// Containers, by their full ids.
    Containers(HashSet<ContainerId>),
    /// The containers of a service.
    Service(String, HashSet<ContainerId>),
    /// A cgroup and those below it.
    Cgroup(PathBuf),
    /// Every process of the machine: each by its container, its systemd service or its program.
    Machine,
    /// Every container that runs or starts; no other process.
    EveryContainer,
}

/// A running process, as it was when it was looked at.
#[derive(Debug)]
pub struct Running {
    /// The subject it belongs to.
    pub identity: Identity,
    /// Its pid in the initial pid namespace.
    pub pid: u32,
    /// Path of its executable, in its own mount namespace.
    pub exe: String,
    /// Its command name (`comm`): hostile.
    pub comm: String,
    /// Inode number of its mount namespace.
    pub mount_namespace: u32,
    /// The user namespace that its credentials count in.
    pub user_namespace: UserNamespace,
    /// The engine of its container, if that can be told.
    pub engine: Option<Engine>,
    /// Its bounding set: an `execve` cannot give more.
    pub bounding: CapSet,
    /// Its real user id, as capaudit's user namespace calls it.
    pub uid: u32,
    handle: OwnedFd,
}

impl Running {
    /// One that is made up: this process, as if it were `identity`'s.
    #[cfg(test)]
    pub fn of_test(identity: Identity, mount_namespace: u32) -> Self {
        let Ok(handle) = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()) else {
            panic!("this process runs");
        };
        Self {
            identity,
            pid: std::process::id(),
            exe: "/init".to_owned(),
            comm: "init".to_owned(),
            mount_namespace,
            user_namespace: UserNamespace { inode: 9, level: 0 },
            engine: None,
            bounding: CapSet::EMPTY,
            uid: 0,
            handle,
        }
    }

    /// Whether the process has ended since: its pid may be another's.
    pub fn has_ended(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(
            &self.handle,
            rustix::event::PollFlags::IN,
        )];
        !matches!(
            rustix::event::poll(&mut poll, Some(&rustix::time::Timespec::default())),
            Ok(0)
        )
    }
}

impl Attached {
    /// Finds a target.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub async fn resolve(
        target: &Target,
        engine: Option<&engine::Engine>,
    ) -> Result<Self, TargetError> {
        let attached = match target {
            Target::Pid(pid) if *pid == std::process::id() => {
                return Err(TargetError::Ourselves(*pid));
            }
            Target::Pid(pid) => Self::Tree(*pid),
            Target::Container(name) => {
                Self::Containers(HashSet::from([container(name, engine).await?]))
            }
            Target::Service(service) => {
                let engine = engine.ok_or_else(|| TargetError::NoEngine(service.clone()))?;
                Self::Service(
                    service.clone(),
                    engine
                        .running_of_service(service, &running_containers())
                        .await,
                )
            }
            Target::Cgroup(path) => Self::Cgroup(path.clone()),
            Target::EveryContainer => return Ok(Self::EveryContainer),
        };
        if attached.processes().is_empty() {
            return Err(match target {
                Target::Pid(pid) => TargetError::Process(*pid),
                Target::Container(name) => TargetError::Container(name.clone()),
                Target::Service(service) => TargetError::Service(service.clone()),
                Target::Cgroup(path) => TargetError::Cgroup(path.clone()),
                Target::EveryContainer => return Ok(attached),
            });
        }
        Ok(attached)
    }

    /// Its processes at this moment.
    pub fn processes(&self) -> Vec<u32> {
        match self {
            Self::Tree(root) => tree(*root),
            Self::Containers(containers) | Self::Service(_, containers) => pids()
                .filter(|pid| {
                    container_of(*pid).is_some_and(|container| containers.contains(&container))
                })
                .collect(),
            Self::EveryContainer => pids().filter(|pid| container_of(*pid).is_some()).collect(),
            Self::Cgroup(path) if path.join("cgroup.procs").is_file() => {
                let mut found = Vec::new();
                members(path, &mut found);
                found
            }
            Self::Cgroup(path) => pids()
                .filter(|pid| Cgroups::read(pid).is_ok_and(|cgroups| cgroups.is_below(path)))
                .collect(),
            Self::Machine => pids().collect(),
        }
    }

    /// Looks at one of its processes; `None` if that is gone, a kernel thread or capaudit.
    pub fn look_at(&self, pid: u32) -> Option<Running> {
        if pid == std::process::id() {
            return None;
        }
        let handle = pidfd_open(
            Pid::from_raw(i32::try_from(pid).ok()?)?,
            PidfdFlags::empty(),
        )
        .ok()?;
        let status = Status::read(pid).ok()?;
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let comm = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
        let identity = match self {
            Self::Tree(root) => Identity::Process(*root),
            Self::Cgroup(path) => Identity::Cgroup(path.clone()),
            Self::Containers(_) | Self::Service(..) | Self::EveryContainer => {
                Identity::Container(container_of(pid)?)
            }
            Self::Machine => place_of(pid, &exe.to_string_lossy())?,
        };
        Some(Running {
            identity,
            pid,
            exe: exe.to_string_lossy().into_owned(),
            comm: String::from_utf8_lossy(comm.trim_ascii_end()).into_owned(),
            mount_namespace: mount_namespace_of(pid)?,
            user_namespace: UserNamespace {
                inode: namespace_inode(pid, "user")?,
                level: user_namespace_level(pid)?,
            },
            engine: Cgroups::read(pid).unwrap_or_default().engine(),
            bounding: status.set(SetName::Bounding)?,
            uid: status.users?.real,
            handle,
        })
    }
}

async fn container(
    name: &str,
    engine: Option<&engine::Engine>,
) -> Result<ContainerId, TargetError> {
    if let Some(engine) = engine
        && let Some(found) = engine.find(name, &running_containers()).await
    {
        return Ok(found);
    }
    // Without an engine, or one that does not know it (several engines, containerd): by id.
    let running: HashSet<ContainerId> = pids().filter_map(container_of).collect();
    let mut matching = running
        .into_iter()
        .filter(|container| container.as_str().starts_with(name) && !name.is_empty());
    match (matching.next(), matching.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(TargetError::Ambiguous(name.to_owned())),
        (None, _) if engine.is_none() => Err(TargetError::NoEngine(name.to_owned())),
        (None, _) => Err(TargetError::Container(name.to_owned())),
    }
}

/// What runs in containers: each process, with whose it is.
pub fn running_containers() -> Vec<engine::Asked> {
    let of = |pid| {
        Some(engine::Asked {
            id: container_of(pid)?,
            user_namespace_level: user_namespace_level(pid)?,
            uid: Status::read(pid).ok()?.users?.real,
        })
    };
    pids().filter_map(of).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    proc::pids().into_iter().flatten()
}

fn container_of(pid: u32) -> Option<ContainerId> {
    Cgroups::read(pid).ok()?.container()
}

/// Where on the machine a process that runs `program` belongs: its container, its systemd service, else the program
/// itself. `None` if the process is gone.
pub(crate) fn place_of(pid: u32, program: &str) -> Option<Identity> {
    let cgroups = Cgroups::read(pid).ok()?;
    // A runtime is put into its container's cgroup before it enters the container's mount namespace.
    let is_apart = mount_namespace_of(pid) != mount_namespace_of("self");
    if let Some(container) = cgroups.container()
        && is_apart
    {
        return Some(Identity::Container(container));
    }
    Some(match cgroups.service() {
        Some(unit) => Identity::Unit(unit.into()),
        None => Identity::Program(program.into()),
    })
}

/// A process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in pids() {
        if let Some(parent) = Status::read(pid).ok().and_then(|status| status.parent) {
            children.entry(parent).or_default().push(pid);
        }
    }
    if !Path::new(&format!("/proc/{root}")).is_dir() {
        return Vec::new();
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// Processes of a cgroup's directory and of those below it.
fn members(directory: &Path, found: &mut Vec<u32>) {
    let listed = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            members(&entry.path(), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_but_never_observed() {
        let parent = std::os::unix::process::parent_id();
        let tree = Attached::Tree(parent);
        assert!(tree.processes().contains(&std::process::id()));
        assert!(tree.look_at(std::process::id()).is_none());
        let running = tree
            .look_at(parent)
            .map(|running| (running.pid, running.user_namespace.level, running.identity));
        assert_eq!(running, Some((parent, 0, Identity::Process(parent))));
    }

    #[test]
    fn a_process_that_ended_is_known_to_have_ended() -> std::io::Result<()> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let running = Attached::Tree(child.id())
            .look_at(child.id())
            .ok_or(std::io::ErrorKind::NotFound)?;
        assert!(!running.has_ended());
        child.kill()?;
        child.wait()?;
        assert!(running.has_ended());
        assert!(Attached::Tree(child.id()).processes().is_empty());
        Ok(())
    }
}
