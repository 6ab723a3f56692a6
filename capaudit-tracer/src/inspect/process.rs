//! What every process, and every thread, holds.
//!
//! Capabilities belong to threads; the kernel keeps no set for a process. What the first thread holds is what people call
//! the process's, but another thread may hold more, so all are looked at.

use std::{collections::BTreeMap, io};

use capaudit_core::capability::CapSet;
use serde::Serialize;

use crate::proc::{
    Cgroups, ContainerId, Stat, is_gone, namespace_inode, pids,
    status::{Seccomp, SetName, Status, Users},
    threads,
};

/// A thread with its capability sets, as `/proc` showed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Process id: its thread group's.
    pub pid: u32,
    /// Thread id; the process id for the first thread.
    pub tid: u32,
    /// Command name (`Name:` in `/proc/PID/status`): hostile.
    pub command: String,
    /// Real and effective user, as capaudit's user namespace calls them.
    pub users: Users,
    /// Its five capability sets.
    pub holds: Holds,
    /// Whether execve can give no privileges any more; `None` before Linux 4.10, which does not tell.
    pub no_new_privileges: Option<bool>,
    /// Seccomp mode; `None` if the kernel has no seccomp.
    pub seccomp: Option<Seccomp>,
    /// Inode number of its user namespace; `None` if capaudit may not see it.
    pub user_namespace: Option<u32>,
    /// The container it belongs to.
    pub container: Option<ContainerId>,
    /// It is the kernel's own.
    pub kernel_thread: bool,
    /// It has ended and waits for its parent.
    pub defunct: bool,
}

impl Task {
    /// Whether it stands for its process.
    pub fn is_first(&self) -> bool {
        self.pid == self.tid
    }

    /// What `status` and `stat` tell; `None` if a line of the status is missing. User namespace and container are not known yet.
    pub fn new(pid: u32, tid: u32, status: Status, stat: &Stat) -> Option<Self> {
        Some(Self {
            pid,
            tid,
            holds: Holds::of(&status)?,
            users: status.users?,
            no_new_privileges: status.no_new_privileges,
            seccomp: status.seccomp,
            command: status.name?,
            user_namespace: None,
            container: None,
            kernel_thread: stat.is_kernel_thread,
            defunct: stat.has_ended,
        })
    }
}

/// The five sets of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Holds {
    /// What counts when the kernel asks.
    pub effective: CapSet,
    /// What it may make effective.
    pub permitted: CapSet,
    /// What an executed file with inheritable capabilities may get.
    pub inheritable: CapSet,
    /// What programs without file capabilities keep; empty before Linux 4.3.
    pub ambient: CapSet,
    /// The limit of what execve can give.
    pub bounding: CapSet,
}

impl Holds {
    fn of(status: &Status) -> Option<Self> {
        Some(Self {
            effective: status.set(SetName::Effective)?,
            permitted: status.set(SetName::Permitted)?,
            inheritable: status.set(SetName::Inheritable)?,
            ambient: status.set(SetName::Ambient).unwrap_or_default(),
            bounding: status.set(SetName::Bounding)?,
        })
    }

    /// The set of this name.
    pub fn set(&self, name: SetName) -> CapSet {
        match name {
            SetName::Effective => self.effective,
            SetName::Permitted => self.permitted,
            SetName::Inheritable => self.inheritable,
            SetName::Ambient => self.ambient,
            SetName::Bounding => self.bounding,
        }
    }
}

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// By process and thread id.
    pub tasks: Vec<Task>,
    /// Processes that are there and could not be read.
    pub unreadable: usize,
}

/// Looks at every thread of every process of /proc. What vanishes meanwhile is left out.
///
/// # Errors
///
/// /proc cannot be read.
pub fn look() -> io::Result<Found> {
    let mut found = Found::default();
    for pid in pids()? {
        match of_process(pid) {
            Ok(tasks) => found.tasks.extend(tasks),
            Err(error) if is_gone(&error) => {}
            Err(_) => found.unreadable += 1,
        }
    }
    found.tasks.sort_by_key(|task| (task.pid, task.tid));
    Ok(found)
}

/// Looks at every thread of one process.
///
/// # Errors
///
/// It is gone ([`is_gone`] tells), or cannot be read.
pub fn of_process(pid: u32) -> io::Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for tid in threads(pid)? {
        match of_task(pid, tid) {
            Ok(task) => tasks.push(task),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(tasks)
}

fn of_task(pid: u32, tid: u32) -> io::Result<Task> {
    let place = format!("{pid}/task/{tid}");
    let (status, stat) = (Status::read(&place)?, Stat::read(&place)?);
    let mut task = Task::new(pid, tid, status, &stat)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not as Linux writes it"))?;
    task.user_namespace = namespace_inode(&place, "user");
    task.container = Cgroups::read(&place).unwrap_or_default().container();
    Ok(task)
}

/// Which threads are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Also those that hold nothing, have ended, or are the kernel's.
    pub all: bool,
    /// Every thread; else the first of each process, and those that hold something else than it.
    pub threads: bool,
    /// Those that hold one of these; whichever if empty.
    pub capabilities: CapSet,
    /// The sets that count as holding.
    pub sets: Vec<SetName>,
    /// Of these processes only, and whatever they hold; of all if empty.
    pub pids: Vec<u32>,
    /// Of these real or effective users only; of all if empty.
    pub users: Vec<u32>,
}

impl Wanted {
    /// The sets that count if nobody says which: what a program can use at once, can make usable, or passes on to any
    /// program it executes.
    pub const HOLDING: [SetName; 3] = [SetName::Effective, SetName::Permitted, SetName::Ambient];

    /// Chooses, in the order of the ids.
    pub fn choose<'a>(&self, tasks: &'a [Task]) -> Vec<&'a Task> {
        let first: BTreeMap<u32, &Task> = tasks
            .iter()
            .filter(|task| task.is_first())
            .map(|task| (task.pid, task))
            .collect();
        tasks
            .iter()
            .filter(|task| {
                self.threads
                    || first
                        .get(&task.pid)
                        .is_none_or(|first| task.is_first() || first.holds != task.holds)
            })
            .filter(|task| self.is_wanted(task))
            .collect()
    }

    fn is_wanted(&self, task: &Task) -> bool {
        let named = self.pids.contains(&task.pid);
        let held = self
            .sets
            .iter()
            .fold(CapSet::EMPTY, |held, name| held | task.holds.set(*name));
        let of_interest = if self.capabilities.is_empty() {
            self.all || named || !held.is_empty()
        } else {
            !(held & self.capabilities).is_empty()
        };
        of_interest
            && (self.all || named || !(task.kernel_thread || task.defunct))
            && (self.pids.is_empty() || named)
            && (self.users.is_empty()
                || self.users.contains(&task.users.real)
                || self.users.contains(&task.users.effective))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use capaudit_core::capability::Capability;
    use proptest::prelude::*;

    use super::*;

    fn status(effective: u64) -> String {
        format!(
            "Name:\ta)b (c\nUid:\t1000\t0\t0\t0\nCapInh:\t0\nCapPrm:\t{effective:x}\nCapEff:\t{effective:x}\n\
             CapBnd:\t1ffffffffff\nCapAmb:\t0\nNoNewPrivs:\t0\nSeccomp:\t0\n"
        )
    }

    fn task(pid: u32, tid: u32, status: &str, stat: &str) -> Option<Task> {
        let stat = Stat::parse(stat.as_bytes())?;
        Task::new(pid, tid, Status::parse(status).ok()?, &stat)
    }

    fn of(pid: u32, tid: u32, effective: u64) -> Task {
        let stat = "1 (a)b (c) S 1 1 1 0 -1 4194560 9";
        task(pid, tid, &status(effective), stat).unwrap()
    }

    #[test]
    fn a_name_with_parentheses_confuses_nothing() {
        let first = of(5, 5, 0x21);
        assert_eq!(first.command, "a)b (c");
        assert_eq!(first.holds.effective.bits(), 0x21);
        assert!(!first.kernel_thread && !first.defunct);
        let kernels = task(2, 2, &status(1), "2 (kthreadd) S 0 0 0 0 -1 2129984 0").unwrap();
        assert!(kernels.kernel_thread);
        let ended = task(2, 2, &status(1), "2 (x) Z 0 0 0 0 -1 4194560 0").unwrap();
        assert!(ended.defunct);
    }

    fn chosen(wanted: &Wanted, tasks: &[Task]) -> Vec<u32> {
        wanted.choose(tasks).iter().map(|task| task.tid).collect()
    }

    fn by_default() -> Wanted {
        Wanted {
            sets: Wanted::HOLDING.to_vec(),
            ..Wanted::default()
        }
    }

    #[test]
    fn a_thread_that_holds_more_than_the_first_is_not_overlooked() {
        let tasks = [
            of(5, 5, 0),
            of(5, 6, 0x20),
            of(5, 7, 0),
            of(8, 8, 1),
            of(8, 9, 1),
        ];
        assert_eq!(chosen(&by_default(), &tasks), [6, 8]);
        let all = Wanted {
            all: true,
            ..by_default()
        };
        assert_eq!(chosen(&all, &tasks), [5, 6, 8]);
        let threads = Wanted {
            threads: true,
            ..by_default()
        };
        assert_eq!(chosen(&threads, &tasks), [6, 8, 9]);
    }

    #[test]
    fn filters_are_all_heeded() {
        let mut kernels = of(2, 2, u64::MAX);
        kernels.kernel_thread = true;
        let tasks = [of(1, 1, 0x21), kernels, of(3, 3, 1), of(4, 4, 0)];
        assert_eq!(chosen(&by_default(), &tasks), [1, 3]);
        let killers = Wanted {
            capabilities: Capability::KILL.into(),
            ..by_default()
        };
        assert_eq!(chosen(&killers, &tasks), [1]);
        let bounded = Wanted {
            sets: vec![SetName::Bounding],
            ..by_default()
        };
        assert_eq!(chosen(&bounded, &tasks), [1, 3, 4]);
        let named = Wanted {
            pids: vec![4, 2],
            ..by_default()
        };
        assert_eq!(chosen(&named, &tasks), [2, 4]);
        let strangers = Wanted {
            users: vec![33],
            all: true,
            ..by_default()
        };
        assert_eq!(chosen(&strangers, &tasks), [0; 0]);
        let own = Wanted {
            users: vec![1000],
            ..by_default()
        };
        assert_eq!(chosen(&own, &tasks), [1, 3]);
    }

    #[test]
    fn this_very_process_is_found() {
        let own = std::process::id();
        let found = look().unwrap();
        let task = found.tasks.iter().find(|task| task.tid == own).unwrap();
        assert_eq!(task.user_namespace, namespace_inode("self", "user"));
        assert!(!task.kernel_thread);
        let gone = of_process(u32::MAX).unwrap_err();
        assert!(is_gone(&gone));
    }

    proptest! {
        #[test]
        fn any_stat_is_survived(stat in any::<String>(), status in any::<String>()) {
            let _ = task(1, 1, &status, &stat);
            let _ = task(1, 1, &self::status(1), &stat);
        }
    }
}
