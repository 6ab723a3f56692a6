//! A set enforced by the kernel: a BPF LSM program refuses what it does not hold.

use std::io;

use aya::{
    Ebpf,
    maps::{Array, HashMap as BpfHashMap, MapData},
    programs::Lsm,
};
use capaudit_common::scope::{Process, image};
use capaudit_core::capability::CapSet;

use super::{ProbeError, Settings, attach_all, hook::program, load, take};
use crate::{privilege, proc::Existing};

/// What is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// To the command and its descendants.
    pub command: CapSet,
    /// To containers that start meanwhile.
    pub containers: CapSet,
}

impl Allowed {
    /// Nothing is refused.
    pub const EVERYTHING: Self = Self {
        command: CapSet::from_bits(u64::MAX),
        containers: CapSet::from_bits(u64::MAX),
    };
}

/// Whether the kernel asks BPF programs at all: they attach even where it does not (`bpf_lsm_attach_type_get`,
/// kernel/bpf/trampoline.c, knows nothing of the list of active LSMs).
fn check_active() -> Result<(), ProbeError> {
    const LIST: &str = "/sys/kernel/security/lsm";
    let active = std::fs::read_to_string(LIST).map_err(|error| {
        ProbeError::NoLsm(format!(
            "cannot read {LIST} ({error}): is securityfs mounted (mount -t securityfs securityfs /sys/kernel/security)?"
        ))
    })?;
    if active.trim().split(',').any(|name| name == "bpf") {
        return Ok(());
    }
    Err(ProbeError::NoLsm(format!(
        "bpf is not among the active security modules ({}): boot with lsm={0},bpf",
        active.trim()
    )))
}

/// The programs that refuse. Dropping it ends that.
pub struct Enforcer {
    spawning: Array<MapData, u32>,
    _programs: Ebpf,
}

impl Enforcer {
    /// Loads the programs and attaches them: from here on, what is not allowed is refused to the children of this
    /// process that [`Self::limiting_children`] makes, and to containers that were not there before.
    ///
    /// Only answers to `capable` change. What execve(2), capget(2) and capset(2) see of a process's sets stays as it
    /// is.
    ///
    /// # Errors
    ///
    /// The kernel has no BPF LSM, or refuses its programs.
    pub fn start(allowed: Allowed) -> Result<Self, ProbeError> {
        check_active()?;
        let settings = Settings {
            // Nobody reads it.
            ring_bytes: 4096,
            max_checks: 1,
            ..Settings::default()
        };
        let _lowered = privilege::while_loading().map_err(ProbeError::Privilege)?;
        let (mut bpf, btf) = load(&settings, allowed)?;
        attach_all(
            &mut bpf,
            &btf,
            &[
                ("process_exit", "sched_process_exit"),
                ("process_exec", "sched_process_exec"),
                ("process_fork", "sched_process_fork"),
            ],
        )?;
        let mut processes: BpfHashMap<MapData, u32, Process> =
            BpfHashMap::try_from(take(&mut bpf, "PROCESSES")?)?;
        for (pid, mount_namespace) in Existing::look().processes() {
            let ignored = Process {
                image: 0,
                flags: image::IGNORED,
                mount_namespace: *mount_namespace,
            };
            processes.insert(pid, ignored, 0)?;
        }
        let spawning = Array::try_from(take(&mut bpf, "SPAWNING")?)?;
        // Last, so that nothing is refused to what was there before.
        let refused = |error| ProbeError::Attach {
            program: "enforce_capable",
            error,
        };
        let capable: &mut Lsm = program(&mut bpf, "enforce_capable").map_err(refused)?;
        capable.load("capable", &btf).map_err(refused)?;
        capable.attach().map_err(refused)?;
        Ok(Self {
            spawning,
            _programs: bpf,
        })
    }

    /// Runs `spawn`, and limits the processes it creates as children of this one.
    ///
    /// # Errors
    ///
    /// Those of `spawn`, or the map that announces the children cannot be written.
    pub fn limiting_children<T>(&mut self, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.spawning.set(0, 1, 0).map_err(io::Error::other)?;
        let spawned = spawn();
        self.spawning.set(0, 0, 0).map_err(io::Error::other)?;
        spawned
    }
}
