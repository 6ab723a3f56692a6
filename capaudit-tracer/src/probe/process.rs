//! The kernel's list of processes, as user space changes it.

use std::{collections::HashSet, io};

use aya::{
    Ebpf,
    maps::{Array, HashMap as BpfHashMap, MapData, MapError},
};
use capaudit_common::scope::{Process, epoch, execution};

use super::{error::ProbeError, load::take};

/// Which processes are followed, by pid in the initial namespace.
pub(super) struct Processes {
    processes: BpfHashMap<MapData, u32, Process>,
    epoch: Array<MapData, u64>,
    spawning: Array<MapData, u32>,
    changes: u64,
}

impl Processes {
    /// The list of a loaded object.
    pub(super) fn of(bpf: &mut Ebpf) -> Result<Self, ProbeError> {
        Ok(Self {
            processes: BpfHashMap::try_from(take(bpf, "PROCESSES")?)?,
            epoch: Array::try_from(take(bpf, "EPOCH")?)?,
            spawning: Array::try_from(take(bpf, "SPAWNING")?)?,
            changes: 0,
        })
    }

    /// Runs `spawn`, and has the processes followed that it creates as children of this one, from their fork on.
    ///
    /// # Errors
    ///
    /// Those of `spawn`, or the map that announces the children cannot be written.
    pub(super) fn following_children<T>(
        &mut self,
        spawn: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.spawning.set(0, 1, 0).map_err(io::Error::other)?;
        let spawned = spawn();
        self.spawning.set(0, 0, 0).map_err(io::Error::other)?;
        spawned
    }

    /// Leaves a process out as long as it stays in a mount namespace.
    pub(super) fn ignore(&mut self, pid: u32, mount_namespace: u32) -> Result<(), ProbeError> {
        self.enter(pid, ignored(mount_namespace))
    }

    /// As [`Self::ignore`], but nothing if it is not in the list.
    pub(super) fn ignore_known(
        &mut self,
        pid: u32,
        mount_namespace: u32,
    ) -> Result<(), ProbeError> {
        // BPF_EXIST: it may have ended, and nobody would remove the entry.
        match self.processes.insert(pid, ignored(mount_namespace), 2) {
            Ok(()) => self.change(),
            Err(_gone) => Ok(()),
        }
    }

    /// Follows a process, as an execution of this number.
    pub(super) fn follow(&mut self, pid: u32, execution: u64) -> Result<(), ProbeError> {
        let process = Process {
            execution,
            flags: 0,
            mount_namespace: 0,
        };
        self.enter(pid, process)
    }

    fn enter(&mut self, pid: u32, process: Process) -> Result<(), ProbeError> {
        self.processes
            .insert(pid, process, 0)
            .map_err(|error| match &error {
                MapError::SyscallError(call)
                    if call.io_error.raw_os_error() == Some(nix::libc::E2BIG) =>
                {
                    ProbeError::TooManyProcesses
                }
                _ => error.into(),
            })?;
        self.change()
    }

    /// Takes a process out of the list.
    pub(super) fn remove(&mut self, pid: u32) -> Result<(), ProbeError> {
        match self.processes.remove(&pid) {
            Ok(()) => self.change(),
            Err(_gone) => Ok(()),
        }
    }

    /// The executions of all that live. `None` if so many come and go meanwhile that they cannot be listed: the kernel begins
    /// anew when the entry that it is asked for the next of is gone (`htab_map_get_next_key`).
    pub(super) fn live_executions(&self, most: usize) -> Result<Option<HashSet<u64>>, ProbeError> {
        let mut executions = HashSet::new();
        for (steps, entry) in self.processes.iter().enumerate() {
            if steps == most {
                return Ok(None);
            }
            executions.insert(entry?.1.execution);
        }
        Ok(Some(executions))
    }

    /// Has the BPF programs look processes up again.
    fn change(&mut self) -> Result<(), ProbeError> {
        self.changes += 1;
        Ok(self.epoch.set(epoch::USER, self.changes, 0)?)
    }
}

fn ignored(mount_namespace: u32) -> Process {
    Process {
        execution: 0,
        flags: execution::IGNORED,
        mount_namespace,
    }
}
