//! What was there before the audit began.

use std::collections::HashMap;

use super::{Cgroups, ContainerId, Stat, mount_namespace_of, namespace_inode, pids};

/// Containers and pid namespaces that are not new.
///
/// The kernel gives a namespace the lowest inode number that is free (`ns_alloc_inum`), so a container that is restarted
/// gets the very number that it had before. What was there is there only as long as one of the processes seen in it is.
#[derive(Debug, Default)]
pub struct Existing {
    containers: HashMap<(ContainerId, u32), Vec<Witness>>,
    pid_namespaces: HashMap<u32, Vec<Witness>>,
    processes: Vec<(u32, u32)>,
}

/// A process that was seen. No other has both its pid and its time of start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Witness {
    pid: u32,
    /// In clock ticks since boot.
    started: u64,
}

impl Witness {
    /// The process that has this pid now; `None` if none lives.
    fn of(pid: u32) -> Option<Self> {
        let stat = Stat::read(pid).ok()?;
        let started = stat.started.filter(|_started| !stat.has_ended)?;
        Some(Self { pid, started })
    }

    fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

fn any_lives(witnesses: Option<&Vec<Witness>>) -> bool {
    witnesses.is_some_and(|witnesses| witnesses.iter().any(|witness| witness.lives()))
}

impl Existing {
    /// Looks at every process of the machine.
    pub fn look() -> Self {
        let mut found = Self::default();
        let own = mount_namespace_of("self");
        let Ok(processes) = pids() else {
            return found;
        };
        for pid in processes {
            // Gone meanwhile, or a kernel thread: nothing to remember.
            let Some(pid_namespace) = namespace_inode(pid, "pid") else {
                continue;
            };
            let Some(witness) = Witness::of(pid) else {
                continue;
            };
            let of_namespace = found.pid_namespaces.entry(pid_namespace);
            of_namespace.or_default().push(witness);
            match mount_namespace_of(pid) {
                Some(mount_namespace) if Some(mount_namespace) != own => {
                    found.processes.push((pid, mount_namespace));
                }
                _ => continue,
            }
            let cgroups = Cgroups::read(pid).unwrap_or_default();
            if let Some(container) = cgroups.container() {
                let of_container = found.containers.entry((container, pid_namespace));
                of_container.or_default().push(witness);
            }
        }
        found
    }

    /// Whether this run of the container was there before.
    pub fn holds(&self, container: &ContainerId, pid_namespace: u32) -> bool {
        any_lives(self.containers.get(&(container.clone(), pid_namespace)))
    }

    /// Whether this pid namespace was there before, the machine's own included.
    pub fn is_pid_namespace(&self, inode: u32) -> bool {
        any_lives(self.pid_namespaces.get(&inode))
    }

    /// Processes in mount namespaces other than capaudit's, each with its mount namespace.
    pub fn processes(&self) -> &[(u32, u32)] {
        &self.processes
    }

    /// For tests: as if these had been found, with a process that lives.
    #[cfg(test)]
    pub fn with(containers: &[(ContainerId, u32)], pid_namespaces: &[u32]) -> Self {
        let witnesses: Vec<Witness> = Witness::of(std::process::id()).into_iter().collect();
        Self {
            containers: containers
                .iter()
                .map(|key| (key.clone(), witnesses.clone()))
                .collect(),
            pid_namespaces: pid_namespaces
                .iter()
                .map(|inode| (*inode, witnesses.clone()))
                .collect(),
            processes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_there_as_long_as_its_processes_are() -> std::io::Result<()> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let witnesses: Vec<Witness> = Witness::of(child.id()).into_iter().collect();
        let existing = Existing {
            pid_namespaces: HashMap::from([(7, witnesses)]),
            ..Existing::default()
        };
        assert!(existing.is_pid_namespace(7) && !existing.is_pid_namespace(8));
        child.kill()?;
        // Not even reaped, it holds nothing any more.
        while Witness::of(child.id()).is_some() {
            std::thread::yield_now();
        }
        assert!(!existing.is_pid_namespace(7));
        child.wait()?;
        assert!(!existing.is_pid_namespace(7));
        Ok(())
    }
}
