//! What was there before the audit began.

use std::collections::HashSet;

use crate::{
    probe::{mount_namespace_of, namespace_inode},
    subject::container::ContainerId,
};

/// Containers and pid namespaces that are not new.
#[derive(Debug, Default)]
pub struct Existing {
    /// A container that is stopped and started again has another pid namespace.
    containers: HashSet<(ContainerId, u32)>,
    pid_namespaces: HashSet<u32>,
    processes: Vec<(u32, u32)>,
}

impl Existing {
    /// Looks at every process of the machine.
    pub fn look() -> Self {
        let mut found = Self::default();
        let own = mount_namespace_of("self");
        let Ok(processes) = std::fs::read_dir("/proc") else {
            return found;
        };
        for entry in processes.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let text = pid.to_string();
            // Gone meanwhile, or a kernel thread: nothing to remember.
            let Some(pid_namespace) = namespace_inode(&text, "pid") else {
                continue;
            };
            found.pid_namespaces.insert(pid_namespace);
            match mount_namespace_of(&text) {
                Some(mount_namespace) if Some(mount_namespace) != own => {
                    found.processes.push((pid, mount_namespace));
                }
                _ => continue,
            }
            let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
            if let Some(container) = cgroups
                .unwrap_or_default()
                .lines()
                .find_map(ContainerId::from_path)
            {
                found.containers.insert((container, pid_namespace));
            }
        }
        found
    }

    /// Whether this run of the container was there before.
    pub fn holds(&self, container: &ContainerId, pid_namespace: u32) -> bool {
        self.containers
            .contains(&(container.clone(), pid_namespace))
    }

    /// Whether this pid namespace was there before, the machine's own included.
    pub fn is_pid_namespace(&self, inode: u32) -> bool {
        self.pid_namespaces.contains(&inode)
    }

    /// Processes in mount namespaces other than capaudit's, each with its mount namespace.
    pub fn processes(&self) -> &[(u32, u32)] {
        &self.processes
    }

    /// For tests: as if these had been found.
    #[cfg(test)]
    pub fn with(containers: &[(ContainerId, u32)], pid_namespaces: &[u32]) -> Self {
        Self {
            containers: containers.iter().cloned().collect(),
            pid_namespaces: pid_namespaces.iter().copied().collect(),
            processes: Vec::new(),
        }
    }
}
