//! What runs already and is to be observed: from what people name to processes.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use capaudit_core::{capability::CapSet, ledger::Engine};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use thiserror::Error;

use crate::{
    inspect::{process::status_of, status::SetName},
    probe::{mount_namespace_of, namespace_inode},
    subject::{Identity, UserNamespace, container::ContainerId, engine},
};

/// What people name.
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
    /// No such process.
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

/// A target, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// A process and its descendants.
    Tree(u32),
    /// These containers.
    Containers(HashSet<ContainerId>),
    /// The containers of a service.
    Service(String, HashSet<ContainerId>),
    /// A cgroup and those below it.
    Cgroup(PathBuf),
    /// Every process of the machine: each by its container, its systemd service or its program.
    Machine,
    /// Every container.
    EveryContainer,
}

/// A running process, as it was when it was looked at.
#[derive(Debug)]
pub struct Running {
    /// Whose it is.
    pub identity: Identity,
    /// Its pid in the initial pid namespace.
    pub pid: u32,
    /// Path of its executable, in its own mount namespace.
    pub exe: String,
    /// Its command name.
    pub comm: String,
    /// Inode number of its mount namespace.
    pub mount_namespace: u32,
    /// Its user namespace.
    pub user_namespace: UserNamespace,
    /// The engine of its container, if that can be told.
    pub engine: Option<Engine>,
    /// Its bounding set.
    pub bounding: CapSet,
    /// Its real user id.
    pub uid: u32,
    handle: OwnedFd,
}

impl Running {
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
                Self::Service(service.clone(), engine.running_of_service(service).await)
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
            Self::Cgroup(path) => pids().filter(|pid| is_in_cgroup(*pid, path)).collect(),
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
        let text = pid.to_string();
        let read = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).ok();
        let status = status_of(pid)?;
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let comm = read("comm")?;
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
            mount_namespace: mount_namespace_of(&text)?,
            user_namespace: UserNamespace {
                inode: namespace_inode(&text, "user")?,
                level: user_namespace_level(pid)?,
            },
            engine: engine_of(pid),
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
        && let Some(found) = engine.find(name).await
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

fn pids() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn container_of(pid: u32) -> Option<ContainerId> {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .ok()?
        .lines()
        .find_map(ContainerId::from_path)
}

/// Where on the machine a process that runs `program` belongs: its container, its systemd service, else the program
/// itself. `None` if the process is gone.
pub fn place_of(pid: u32, program: &str) -> Option<Identity> {
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    if let Some(container) = cgroups.lines().find_map(ContainerId::from_path) {
        return Some(Identity::Container(container));
    }
    Some(match cgroups.lines().find_map(unit_in) {
        Some(unit) => Identity::Unit(unit.into()),
        None => Identity::Program(program.into()),
    })
}

/// The innermost systemd service in a line of /proc/PID/cgroup. Scopes are none: a login session holds whatever its
/// user starts.
pub fn unit_in(line: &str) -> Option<&str> {
    line.trim_end()
        .rsplit('/')
        .find(|name| name.len() > ".service".len() && name.ends_with(".service"))
}

fn engine_of(pid: u32) -> Option<Engine> {
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    cgroups.lines().find_map(|line| {
        let names: Vec<&[u8]> = line.rsplit('/').map(str::as_bytes).collect();
        ContainerId::engine(&names)
    })
}

/// A process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in pids() {
        if let Some(parent) = status_of(pid).and_then(|status| status.parent) {
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

fn is_in_cgroup(pid: u32, path: &Path) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .unwrap_or_default()
        .lines()
        // hierarchy:controllers:path
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .any(|of_process| Path::new(of_process).starts_with(path) && path != Path::new("/"))
}

/// `NS_GET_PARENT`, include/uapi/linux/nsfs.h since 4.9
const NS_GET_PARENT: nix::libc::c_ulong = 0xb702;

/// How deep a process's user namespace lies below the initial one; `None` if it is gone.
fn user_namespace_level(pid: u32) -> Option<u32> {
    let mut namespace: OwnedFd = File::open(format!("/proc/{pid}/ns/user")).ok()?.into();
    let mut level = 0;
    // 32 is the most that the kernel allows (create_user_ns, kernel/user_namespace.c).
    while level < 33 {
        // SAFETY: the request takes no argument, and returns a new descriptor or -1.
        let parent = unsafe { nix::libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_PARENT as _) };
        if parent < 0 {
            break; // EPERM: it has no parent
        }
        // SAFETY: just opened, and owned by nobody else.
        namespace = unsafe { OwnedFd::from_raw_fd(parent) };
        level += 1;
    }
    Some(level)
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

    #[test]
    fn the_innermost_service_is_a_processs_unit() {
        for (line, unit) in [
            ("0::/system.slice/nginx.service", Some("nginx.service")),
            (
                "0::/user.slice/user-0.slice/user@0.service/app.slice/a.service",
                Some("a.service"),
            ),
            ("0::/user.slice/user-0.slice/session-3.scope", None),
            ("0::/.service", None),
            ("0::/", None),
        ] {
            assert_eq!(unit_in(line), unit, "{line}");
        }
    }
}
