//! A set enforced by the kernel: a BPF LSM program refuses what it does not hold.

use std::io;

use aya::{Ebpf, programs::Lsm};
use capaudit_core::capability::CapSet;

use super::{
    error::ProbeError,
    hook::program,
    load::{ObjectConfig, attach_processes, load},
    process::Processes,
};
use crate::{opaque::Opaque, privilege, proc::Existing};

/// What is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnforcerConfig {
    /// To the command and its descendants.
    pub command_may: CapSet,
    /// To containers that start meanwhile.
    pub containers_may: CapSet,
}

impl EnforcerConfig {
    /// Every check is answered as the kernel would answer it.
    pub const PERMISSIVE: Self = Self {
        command_may: CapSet::from_bits(u64::MAX),
        containers_may: CapSet::from_bits(u64::MAX),
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
    processes: Processes,
    _programs: Opaque<Ebpf>,
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
    pub fn start(config: EnforcerConfig) -> Result<Self, ProbeError> {
        check_active()?;
        let _lowered = privilege::while_loading().map_err(ProbeError::Privilege)?;
        let (mut bpf, btf) = load(&ObjectConfig::enforcing(
            config.command_may,
            config.containers_may,
        ))?;
        attach_processes(&mut bpf, &btf)?;
        let mut processes = Processes::of(&mut bpf)?;
        for (pid, mount_namespace) in Existing::look().processes() {
            processes.ignore(*pid, *mount_namespace)?;
        }
        // Last, so that nothing is refused to what was there before.
        let refused = |error| ProbeError::Attach {
            program: "enforce_capable",
            error,
        };
        let capable: &mut Lsm = program(&mut bpf, "enforce_capable").map_err(refused)?;
        capable.load("capable", &btf).map_err(refused)?;
        capable.attach().map_err(refused)?;
        Ok(Self {
            processes,
            _programs: Opaque::new(bpf),
        })
    }

    /// Runs `spawn`, and limits the processes it creates as children of this one.
    ///
    /// # Errors
    ///
    /// Those of `spawn`, or the map that announces the children cannot be written.
    pub fn limiting_children<T>(&mut self, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.processes.following_children(spawn)
    }
}
