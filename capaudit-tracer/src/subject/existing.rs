//! What was there before the audit began.

use std::collections::HashMap;

use crate::{
    probe::{mount_namespace_of, namespace_inode},
    subject::container::ContainerId,
};

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
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let started = start_in(&stat)?;
        Some(Self { pid, started })
    }

    fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// When a process was started, out of /proc/PID/stat (proc(5)); `None` if it has ended and only waits to be reaped.
fn start_in(stat: &[u8]) -> Option<u64> {
    // The command name before it may hold anything, parentheses, too.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    // The 22nd field; the state is the third.
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

fn any_lives(witnesses: Option<&Vec<Witness>>) -> bool {
    witnesses.is_some_and(|witnesses| witnesses.iter().any(|witness| witness.lives()))
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
            let Some(witness) = Witness::of(pid) else {
                continue;
            };
            let of_namespace = found.pid_namespaces.entry(pid_namespace);
            of_namespace.or_default().push(witness);
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
    fn the_start_is_found_behind_any_name() {
        let rest = "1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9";
        for name in ["sh", "a) S 1", ") Z", ""] {
            let stat = format!("7 ({name}) S {rest}");
            assert_eq!(start_in(stat.as_bytes()), Some(4711), "{name:?}");
        }
        assert_eq!(start_in(format!("7 (sh) Z {rest}").as_bytes()), None);
        assert_eq!(start_in(b"7 (sh) S 1"), None);
        assert_eq!(start_in(b""), None);
    }

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
