//! Mechanism: loads the BPF programs, chooses a hook, and hands out what they record.

mod baseline;
pub mod btf;
mod count;
mod enforce;
pub mod event;
mod hook;
mod offset;
mod process;
mod syscall;

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, HashMap as BpfHashMap, MapData, PerCpuArray, RingBuf},
    programs::{BtfTracePoint, ProgramError},
};
use capaudit_common::{
    key::{CallKey, CheckCount, CheckKey, SiteCount, SiteKey},
    scope::loss,
};
use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::{Hook, Losses},
};
use thiserror::Error;

use self::{count::Counts, process::Processes};
use crate::{privilege, proc::mount_namespace_of};

pub use self::{
    baseline::Baseline,
    btf::KernelBtf,
    enforce::{Allowed, Enforcer},
    event::Event,
    syscall::name as syscall_name,
};

/// The compiled BPF programs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/capaudit.bpf.o"));

/// Why tracing is not possible here.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The kernel's type information cannot be used.
    #[error(transparent)]
    Btf(#[from] btf::BtfError),
    /// aya could not use it.
    #[error("cannot read the kernel's BTF: {0}")]
    AyaBtf(#[from] aya::BtfError),
    /// The kernel lacks a helper that the programs call.
    #[error("this kernel is too old: it has no {NEWEST_HELPER}; Linux 5.15 or later is needed")]
    TooOld,
    /// A structure is not as any known kernel has it.
    #[error("this kernel is not known: {0}")]
    UnknownKernel(String),
    /// The object or its maps were refused.
    #[error("cannot load the BPF object: {}", one_line(.0))]
    Load(#[from] aya::EbpfError),
    /// A map could not be used.
    #[error("cannot use a BPF map: {}", one_line(.0))]
    Map(#[from] aya::maps::MapError),
    /// A program that follows processes was refused.
    #[error("cannot attach {program}: {}", one_line(.error))]
    Attach {
        /// Its name in the object.
        program: &'static str,
        /// The kernel's answer.
        error: ProgramError,
    },
    /// The kernel does not let BPF programs refuse anything.
    #[error("BPF LSM cannot be used here: {0}")]
    NoLsm(String),
    /// More processes run than there is room for.
    #[error("more processes run than capaudit has room for: give it more with --map-entries")]
    TooManyProcesses,
    /// Our own capabilities cannot be changed.
    #[error("cannot change capaudit's own capabilities: {0}")]
    Privilege(io::Error),
    /// No hook on capability checks could be attached.
    #[error("no hook on capability checks works here: {}", refusals(.0))]
    NoHook(Vec<(Hook, ProgramError)>),
    /// The object lacks something: it was not built from this source.
    #[error("the embedded BPF object has no {0}")]
    Incomplete(&'static str),
}

fn refusals(refused: &[(Hook, ProgramError)]) -> String {
    let each: Vec<String> = refused
        .iter()
        .map(|(hook, error)| format!("{hook}: {}", one_line(error)))
        .collect();
    each.join("; ")
}

/// An error with its causes, without the verifier's log, in one line.
pub fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = match error.downcast_ref::<ProgramError>() {
            Some(ProgramError::LoadError { io_error, .. }) => {
                format!("the kernel refused the program ({io_error})")
            }
            _ => error.to_string(),
        };
        let part = part.lines().next().unwrap_or_default().to_owned();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        if matches!(
            error.downcast_ref::<ProgramError>(),
            Some(ProgramError::LoadError { .. })
        ) {
            break;
        }
        next = error.source();
    }
    text
}

/// What is to be seen.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The hook to use; the best that works if `None`.
    pub hook: Option<Hook>,
    /// Follow every process of the machine.
    pub follow_all: bool,
    /// Follow containers that start from now on.
    pub follow_new_containers: bool,
    /// Capabilities of interest.
    pub capabilities: CapSet,
    /// Leave out checks that were granted.
    pub denied_only: bool,
    /// See checks alone: not what system calls returned, nor those that need a capability without any check. Whatever makes
    /// none is not slowed down then.
    pub checks_only: bool,
    /// Checks can be asked for one by one ([`Tracer::send_singles`]): all of them, up to this many a second of each
    /// processor; with 0 only the first sightings, which are sent anyhow.
    pub singles: Option<u32>,
    /// Size of the ring buffer in bytes; a power of two, at least a page.
    pub ring_bytes: u32,
    /// Distinct checks that can be told apart at a time; as many call sites, and system calls that matter without any check.
    pub max_checks: u32,
    /// Processes that can be followed at a time, or known as not to be.
    pub max_processes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hook: None,
            follow_all: false,
            follow_new_containers: true,
            capabilities: CapSet::from_bits(u64::MAX),
            denied_only: false,
            checks_only: false,
            singles: None,
            ring_bytes: 8 << 20,
            max_checks: 1 << 16,
            max_processes: 1 << 16,
        }
    }
}

/// The BPF programs at work. Dropping it detaches everything.
pub struct Tracer {
    hook: Hook,
    events: RingBuf<MapData>,
    counts: Counts,
    sites: BpfHashMap<MapData, SiteKey, SiteCount>,
    calls: BpfHashMap<MapData, CallKey, u64>,
    processes: Processes,
    spawning: Array<MapData, u32>,
    watched: Array<MapData, u32>,
    losses: PerCpuArray<MapData, u64>,
    overflow: PerCpuArray<MapData, u64>,
    malformed: u64,
    max_checks: u32,
    max_processes: u32,
    /// Runs that the kernel had left out when recording stopped.
    left_out: u64,
    /// Owns the programs and their links.
    programs: Option<Ebpf>,
}

impl Tracer {
    /// Loads the programs and attaches them: from here on everything of interest is recorded.
    ///
    /// # Errors
    ///
    /// The kernel lacks something or forbids it; see [`ProbeError`].
    pub fn start(settings: &Settings) -> Result<Self, ProbeError> {
        let _lowered = privilege::while_loading().map_err(ProbeError::Privilege)?;
        let (mut bpf, btf) = load(settings, Allowed::EVERYTHING)?;
        // Processes first, so that no check is seen of a process that is not followed yet.
        let tracepoints = [
            ("process_exit", "sched_process_exit"),
            ("process_exec", "sched_process_exec"),
            ("process_fork", "sched_process_fork"),
        ];
        attach_all(&mut bpf, &btf, &tracepoints)?;
        if !settings.checks_only {
            attach_all(&mut bpf, &btf, &[("call_exit", "sys_exit")])?;
        }
        let hook = attach_best(&mut bpf, &btf, settings.hook)?;

        Ok(Self {
            hook,
            events: RingBuf::try_from(take(&mut bpf, "EVENTS")?)?,
            counts: Counts::of(&mut bpf)?,
            sites: BpfHashMap::try_from(take(&mut bpf, "SITES")?)?,
            calls: BpfHashMap::try_from(take(&mut bpf, "CALLS")?)?,
            processes: Processes::of(&mut bpf)?,
            spawning: Array::try_from(take(&mut bpf, "SPAWNING")?)?,
            watched: Array::try_from(take(&mut bpf, "WATCHED")?)?,
            losses: PerCpuArray::try_from(take(&mut bpf, "LOSSES")?)?,
            overflow: PerCpuArray::try_from(take(&mut bpf, "OVERFLOW")?)?,
            malformed: 0,
            max_checks: settings.max_checks,
            max_processes: settings.max_processes,
            left_out: 0,
            programs: Some(bpf),
        })
    }

    /// The hook in use.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// Runs `spawn`, and follows the processes it creates as children of this one, from their fork on.
    ///
    /// # Errors
    ///
    /// Those of `spawn`, or the map that announces the children cannot be written.
    pub fn following_children<T>(
        &mut self,
        spawn: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.spawning.set(0, 1, 0).map_err(io::Error::other)?;
        let spawned = spawn();
        self.spawning.set(0, 0, 0).map_err(io::Error::other)?;
        spawned
    }

    /// From now on single checks are sent, or are not any more, if [`Settings::singles`] provides for it.
    ///
    /// # Errors
    ///
    /// The map cannot be written.
    pub fn send_singles(&mut self, wanted: bool) -> Result<(), ProbeError> {
        Ok(self.watched.set(0, u32::from(wanted), 0)?)
    }

    /// Stops recording. What is recorded already can still be taken.
    pub fn stop(&mut self) {
        self.left_out = self.programs.as_ref().map_or(0, left_out);
        self.programs = None;
        // A program that runs while its link is closed runs to its end (RCU); it takes microseconds.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }

    /// Leaves a running process out, and what it forks from now on, as long as they stay in this mount namespace.
    ///
    /// # Errors
    ///
    /// The map of processes is full.
    pub fn ignore_process(&mut self, pid: u32, mount_namespace: u32) -> Result<(), ProbeError> {
        self.processes.ignore(pid, mount_namespace)
    }

    /// Stops following a process that is followed, as [`Self::ignore_process`] does; nothing if it is gone.
    pub fn stop_following(&mut self, pid: u32, mount_namespace: u32) {
        let _ = self.processes.ignore_known(pid, mount_namespace);
    }

    /// Follows a running process from now on; `image` is its number, of this side's choice, from 1 below 1 << 40.
    ///
    /// # Errors
    ///
    /// The map of processes is full.
    pub fn follow_process(&mut self, pid: u32, image: u64) -> Result<(), ProbeError> {
        self.processes.follow(pid, image)
    }

    /// Takes back [`Self::follow_process`].
    pub fn forget_process(&mut self, pid: u32) {
        let _ = self.processes.remove(pid);
    }

    /// Takes at most `most` records; returns how many were there. Bounded, because a busy machine may fill
    /// the buffer as fast as it is emptied.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(Event)) -> usize {
        for taken in 0..most {
            let Some(record) = self.events.next() else {
                return taken;
            };
            match event::decode(&record) {
                Some(event) => take(event),
                None => self.malformed += 1,
            }
        }
        most
    }

    /// The images of all followed processes that live. `None` if so many come and go meanwhile that they cannot be listed:
    /// the kernel begins anew when the entry that it is asked for the next of is gone (`htab_map_get_next_key`).
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn live_images(&self) -> Result<Option<HashSet<u64>>, ProbeError> {
        self.processes.live_images(4 * self.max_processes as usize)
    }

    /// Records that were lost so far.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn lost_records(&self) -> Result<u64, ProbeError> {
        Ok(self.losses.get(&loss::RING, 0)?.iter().sum())
    }

    /// Distinct checks that there is room for.
    pub fn max_checks(&self) -> u32 {
        self.max_checks
    }

    /// Totals of all checks not yet removed.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn checks(&self) -> Result<HashMap<CheckKey, CheckCount>, ProbeError> {
        self.counts.totals()
    }

    /// Totals of all call sites not yet removed.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn sites(&self) -> Result<HashMap<SiteKey, SiteCount>, ProbeError> {
        Ok(self.sites.iter().collect::<Result<_, _>>()?)
    }

    /// Totals of all reported system calls not yet removed.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn calls(&self) -> Result<HashMap<CallKey, u64>, ProbeError> {
        Ok(self.calls.iter().collect::<Result<_, _>>()?)
    }

    /// Makes room: forgets a check whose total was taken over. Only for images that ended.
    pub fn remove_check(&mut self, key: &CheckKey) {
        self.counts.remove(key);
    }

    /// As [`Self::remove_check`], for a call site.
    pub fn remove_site(&mut self, key: &SiteKey) {
        let _ = self.sites.remove(key);
    }

    /// As [`Self::remove_check`], for a system call.
    pub fn remove_call(&mut self, key: &CallKey) {
        let _ = self.calls.remove(key);
    }

    /// What could not be recorded so far.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn losses(&self) -> Result<Losses, ProbeError> {
        let of =
            |index| -> Result<u64, ProbeError> { Ok(self.losses.get(&index, 0)?.iter().sum()) };
        Ok(Losses {
            events: of(loss::RING)? + self.malformed,
            checks: of(loss::CHECKS)?,
            sites: of(loss::SITES)?,
            processes: of(loss::PROCESSES)?,
            calls: of(loss::CALLS)?,
            stacks: of(loss::STACKS)?,
            returns: of(loss::RETURNS)?,
            files: 0,
            runs: match &self.programs {
                Some(programs) => left_out(programs),
                None => self.left_out,
            },
        })
    }

    /// Single checks that were asked for ([`Settings::singles`]) but not sent, because there were too many. They
    /// are counted like all others: nothing is lost.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn unsent(&self) -> Result<u64, ProbeError> {
        Ok(self.losses.get(&loss::UNSENT, 0)?.iter().sum())
    }

    /// Checks counted by capability only, because the map of keys was full: granted, then denied.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn overflow(&self) -> Result<Vec<(Capability, u64, u64)>, ProbeError> {
        let mut all = Vec::new();
        for number in 0..64u8 {
            let of = |index: u32| -> Result<u64, ProbeError> {
                Ok(self.overflow.get(&index, 0)?.iter().sum())
            };
            let (granted, denied) = (of(number.into())?, of(u32::from(number) + 64)?);
            if let Some(capability) = Capability::from_number(number)
                && granted + denied > 0
            {
                all.push((capability, granted, denied));
            }
        }
        Ok(all)
    }
}

impl AsFd for Tracer {
    /// Readable when there are records to drain.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

/// The newest of the helpers that the programs call, whatever the hook (kernel/trace/bpf_trace.c since 5.15).
const NEWEST_HELPER: &str = "bpf_task_pt_regs";

/// What is allowed in a second, in a period of the kernel side's: 2^26 ns.
fn of_a_period(a_second: u32) -> u32 {
    /// 2^26 ns go into a second this many times.
    const PERIODS: u32 = 15;
    a_second.div_ceil(PERIODS)
}

/// Loads the object, with its constants set.
fn load(settings: &Settings, allowed: Allowed) -> Result<(Ebpf, Btf), ProbeError> {
    let kernel = KernelBtf::of_running_kernel()?;
    if !kernel.knows(NEWEST_HELPER) {
        return Err(ProbeError::TooOld);
    }
    let offsets = offset::resolve(&kernel)?;
    let subsystems = kernel.array_length("css_set", "subsys")?.unwrap_or(0);
    drop(kernel);
    let btf = Btf::from_sys_fs()?;
    let table = syscall::table();
    let own_namespace = mount_namespace_of("self").unwrap_or(0);
    let scalars: [(&str, u32); 8] = [
        ("SELF_TGID", std::process::id()),
        ("DENIED_ONLY", settings.denied_only.into()),
        ("CHECKS_ONLY", settings.checks_only.into()),
        ("FOLLOW_ALL", settings.follow_all.into()),
        ("FOLLOW_UNKNOWN", settings.follow_new_containers.into()),
        ("SEND_ALL", settings.singles.map_or(0, of_a_period)),
        ("HOST_MNT_NS", own_namespace),
        ("SUBSYS_COUNT", subsystems),
    ];
    let sets = [
        ("CAPABILITIES", settings.capabilities.bits()),
        ("COMMAND_MAY", allowed.command.bits()),
        ("CONTAINERS_MAY", allowed.containers.bits()),
    ];
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(&btf))
        .map_max_entries("EVENTS", settings.ring_bytes)
        .map_max_entries("CHECKS", settings.max_checks)
        .map_max_entries("SITES", settings.max_checks)
        .map_max_entries("PROCESSES", settings.max_processes)
        .map_max_entries("CALLS", settings.max_checks)
        .override_global("TREATMENTS", &table, true);
    for (name, value) in &sets {
        loader.override_global(name, value, true);
    }
    for (name, value) in scalars.iter().chain(&offsets) {
        loader.override_global(name, value, true);
    }
    Ok((loader.load(OBJECT)?, btf))
}

/// Attaches programs to tracepoints, in this order.
fn attach_all(
    bpf: &mut Ebpf,
    btf: &Btf,
    tracepoints: &[(&'static str, &str)],
) -> Result<(), ProbeError> {
    for (program, tracepoint) in tracepoints {
        attach_tracepoint(bpf, btf, program, tracepoint)
            .map_err(|error| ProbeError::Attach { program, error })?;
    }
    Ok(())
}

/// How often the kernel left out a run of one of these programs (`recursion_misses`, `bpf_prog_show_fdinfo`,
/// kernel/bpf/syscall.c since 5.12): on a preemptible kernel, two tasks may be in the same hook on one processor.
fn left_out(programs: &Ebpf) -> u64 {
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

fn take(bpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, ProbeError> {
    bpf.take_map(name).ok_or(ProbeError::Incomplete(name))
}

fn attach_tracepoint(
    bpf: &mut Ebpf,
    btf: &Btf,
    program: &str,
    tracepoint: &str,
) -> Result<(), ProgramError> {
    let program: &mut BtfTracePoint = hook::program(bpf, program)?;
    program.load(tracepoint, btf)?;
    program.attach()?;
    Ok(())
}

fn attach_best(bpf: &mut Ebpf, btf: &Btf, wanted: Option<Hook>) -> Result<Hook, ProbeError> {
    let mut refused = Vec::new();
    for hook in Hook::BEST_FIRST {
        if wanted.is_some_and(|wanted| wanted != hook) {
            continue;
        }
        match hook::attach(hook, bpf, btf) {
            Ok(()) => return Ok(hook),
            Err(error) => refused.push((hook, error)),
        }
    }
    Err(ProbeError::NoHook(refused))
}
