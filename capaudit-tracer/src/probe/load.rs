//! The BPF object: its constants and the sizes of its maps, and how its programs are loaded and attached.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, ProgramError},
};
use capaudit_core::{capability::CapSet, kernel};
use tracing::Level;

use super::{
    btf::KernelBtf,
    cast::{self, Cast},
    config::{CheckEvents, TraceScope, TracerConfig},
    error::ProbeError,
    hook, offset, syscall,
};
use crate::{
    privilege::{self, own},
    proc::{is_in_initial_pid_namespace, mount_namespace_of},
};

/// The compiled BPF programs.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/capaudit.bpf.o"));

/// The newest of the helpers that the programs call, whatever the hook (kernel/trace/bpf_trace.c since 5.15).
const NEWEST_HELPER: &str = "bpf_task_pt_regs";

/// The least that the kernel takes for a ring buffer, where aya rounds it up to a page.
const LEAST_RING_BYTES: u32 = 4096;
/// Room for processes, unless somebody asks for more.
const MAX_PROCESSES: u32 = 1 << 16;

/// Room for what the programs say, of which there is little.
const LOG_BYTES: u32 = 1 << 14;
/// `AYA_LOG_LEVEL` with which they warn.
const LOG_WARNINGS: u8 = aya_log::Level::Warn as u8;

/// What the programs take for granted once they are loaded.
pub(super) struct ObjectConfig {
    scope: TraceScope,
    capabilities: CapSet,
    denied_only: bool,
    checks_only: bool,
    check_events: CheckEvents,
    ring_bytes: u32,
    max_checks: u32,
    max_processes: u32,
    command_may: CapSet,
    containers_may: CapSet,
}

const ALL: CapSet = CapSet::from_bits(u64::MAX);

impl ObjectConfig {
    /// For programs that record, and refuse nothing.
    pub(super) fn tracing(config: &TracerConfig) -> Self {
        Self {
            scope: config.scope,
            capabilities: config.capabilities,
            denied_only: config.denied_only,
            checks_only: config.checks_only,
            check_events: config.check_events,
            ring_bytes: config.ring_bytes,
            max_checks: config.max_checks,
            max_processes: config.max_processes,
            command_may: ALL,
            containers_may: ALL,
        }
    }

    /// For programs that refuse to the command and to new containers what they may not have. What they record meanwhile is
    /// not read, so that there is hardly room for it.
    pub(super) fn enforcing(command_may: CapSet, containers_may: CapSet) -> Self {
        Self {
            scope: TraceScope::ChosenAndNewContainers,
            capabilities: ALL,
            denied_only: false,
            checks_only: false,
            check_events: CheckEvents::Sightings,
            ring_bytes: LEAST_RING_BYTES,
            max_checks: 1,
            max_processes: MAX_PROCESSES,
            command_may,
            containers_may,
        }
    }

    /// For the empty programs of the benchmarks, which record nothing.
    pub(super) fn idle() -> Self {
        Self {
            max_processes: 1,
            ..Self::enforcing(ALL, ALL)
        }
    }
}

/// Whether this process holds what loading any program takes.
///
/// # Errors
///
/// It does not: [`ProbeError::Privileges`].
pub fn may_trace() -> Result<(), ProbeError> {
    let missing = privilege::missing_to_trace(own::effective());
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ProbeError::Privileges(missing))
    }
}

/// Loads the object, with its constants set.
pub(super) fn load(config: &ObjectConfig) -> Result<(Ebpf, Btf), ProbeError> {
    if !is_in_initial_pid_namespace() {
        return Err(ProbeError::PidNamespace);
    }
    may_trace()?;
    let kernel = KernelBtf::of_running_kernel()?;
    if !kernel.knows(NEWEST_HELPER) {
        return Err(ProbeError::TooOld(NEWEST_HELPER));
    }
    let offsets = offset::resolve(&kernel)?;
    let subsystems = kernel.array_length("css_set", "subsys")?.unwrap_or(0);
    // A mask is made of it.
    let slots = kernel.array_length("xa_node", "slots")?;
    let slots = slots.filter(|slots| slots.is_power_of_two()).unwrap_or(0);
    let cast = Cast::of(&kernel)?;
    drop(kernel);
    let btf = Btf::from_sys_fs()?;
    let table = syscall::table();
    let own_namespace = mount_namespace_of("self").unwrap_or(0);
    let follows_new_containers = config.scope == TraceScope::ChosenAndNewContainers;
    let scalars: [(&str, u32); 10] = [
        ("SELF_TGID", std::process::id()),
        ("DENIED_ONLY", config.denied_only.into()),
        ("CHECKS_ONLY", config.checks_only.into()),
        ("FOLLOW_ALL", (config.scope == TraceScope::Machine).into()),
        ("FOLLOW_UNKNOWN", follows_new_containers.into()),
        ("SEND_ALL", config.check_events.per_period()),
        ("HOST_MNT_NS", own_namespace),
        ("SUBSYS_COUNT", subsystems),
        ("XA_SLOTS", slots),
        ("CAST_TYPE", cast.map_or(0, |cast| cast.structure)),
    ];
    // What the programs say goes nowhere else; a constant, so that those which say nothing are as if they could not.
    let level = u8::from(is_logged()) * LOG_WARNINGS;
    let log_bytes = if is_logged() {
        LOG_BYTES
    } else {
        LEAST_RING_BYTES
    };
    let sets = [
        ("CAPABILITIES", config.capabilities.bits()),
        ("TOLD_BY_SITE", !kernel::deciding().bits()),
        ("COMMAND_MAY", config.command_may.bits()),
        ("CONTAINERS_MAY", config.containers_may.bits()),
    ];
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(&btf))
        .map_max_entries("EVENTS", config.ring_bytes)
        .map_max_entries("CHECKS", config.max_checks)
        .map_max_entries("SITES", config.max_checks)
        .map_max_entries("PROCESSES", config.max_processes)
        .map_max_entries("CALLS", config.max_checks)
        .map_max_entries("AYA_LOGS", log_bytes)
        .override_global(aya_log::LEVEL, &level, true)
        .override_global("SYSCALL_SPECS", &table, true);
    for (name, value) in &sets {
        loader.override_global(name, value, true);
    }
    for (name, value) in scalars.iter().chain(&offsets) {
        loader.override_global(name, value, true);
    }
    Ok((loader.load(&cast::link(OBJECT, cast))?, btf))
}

/// Whether the program's log takes warnings, which is what the programs have to say.
pub(super) fn is_logged() -> bool {
    tracing::enabled!(target: "capaudit", Level::WARN)
}

/// The tracepoints that show which processes begin, end and execute something.
const PROCESS_TRACEPOINTS: [(&str, &str); 3] = [
    ("process_exit", "sched_process_exit"),
    ("process_exec", "sched_process_exec"),
    ("process_fork", "sched_process_fork"),
];

/// Attaches the programs that keep the list of processes.
pub(super) fn attach_processes(bpf: &mut Ebpf, btf: &Btf) -> Result<(), ProbeError> {
    for (program, tracepoint) in PROCESS_TRACEPOINTS {
        attach_tracepoint(bpf, btf, program, tracepoint)?;
    }
    Ok(())
}

/// Attaches a program to a tracepoint.
pub(super) fn attach_tracepoint(
    bpf: &mut Ebpf,
    btf: &Btf,
    program: &'static str,
    tracepoint: &str,
) -> Result<(), ProbeError> {
    let attached = (|| -> Result<(), ProgramError> {
        let program: &mut BtfTracePoint = hook::program(bpf, program)?;
        program.load(tracepoint, btf)?;
        program.attach()?;
        Ok(())
    })();
    attached.map_err(|error| ProbeError::Attach { program, error })
}

/// Takes a map out of the object, by its name there.
pub(super) fn take(bpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, ProbeError> {
    bpf.take_map(name).ok_or(ProbeError::Incomplete(name))
}

/// How often the kernel left out a run of one of these programs (`recursion_misses`, `bpf_prog_show_fdinfo`,
/// kernel/bpf/syscall.c since 5.12): on a preemptible kernel, two tasks may be in the same hook on one processor.
pub(super) fn missed_runs(programs: &Ebpf) -> u64 {
    programs
        .programs()
        .filter_map(|(_name, program)| {
            let descriptor = program.fd().ok()?.as_fd().as_raw_fd();
            let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
            let misses = text
                .lines()
                .find_map(|line| line.strip_prefix("recursion_misses:"))?;
            misses.trim().parse::<u64>().ok()
        })
        .sum()
}
