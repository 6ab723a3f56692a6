//! The BPF programs at work: what they recorded, and whom they follow.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, BorrowedFd},
};

use aya::{
    Btf, Ebpf,
    maps::{Array, HashMap as BpfHashMap, MapData},
};
use capaudit_common::key::{CallKey, CheckCount, CheckKey, SiteCount, SiteKey};
use capaudit_core::{
    capability::Capability,
    ledger::{Hook, Losses},
};
use tracing::{debug, warn};

use super::{
    config::TracerConfig,
    count::Counts,
    error::ProbeError,
    event::Event,
    hook,
    load::{ObjectConfig, attach_processes, attach_tracepoint, is_logged, load, missed_runs, take},
    loss::LossCounters,
    process::Processes,
    record::RecordReader,
};
use crate::{opaque::Opaque, privilege};

/// Carries what the programs say into the program's log.
type Log = aya_log::EbpfLogger<&'static dyn log::Log>;

/// The BPF programs at work. Dropping it detaches everything.
pub struct Tracer {
    hook: Hook,
    records: RecordReader,
    counts: Counts,
    calls: BpfHashMap<MapData, CallKey, u64>,
    processes: Processes,
    watched: Array<MapData, u32>,
    losses: LossCounters,
    max_checks: u32,
    max_processes: u32,
    /// Runs that the kernel had left out when recording stopped.
    missed_runs: u64,
    /// `None` where nobody reads it.
    log: Option<Log>,
    /// Owns the programs and their links.
    programs: Option<Opaque<Ebpf>>,
}

impl Tracer {
    /// Loads the programs and attaches them: from here on everything of interest is recorded.
    ///
    /// # Errors
    ///
    /// The kernel lacks something or forbids it; see [`ProbeError`].
    pub fn start(config: &TracerConfig) -> Result<Self, ProbeError> {
        let _lowered = privilege::while_loading().map_err(ProbeError::Privilege)?;
        let (mut bpf, btf) = load(&ObjectConfig::tracing(config))?;
        // Processes first, so that no check is seen of a process that is not followed yet.
        attach_processes(&mut bpf, &btf)?;
        if !config.checks_only {
            attach_tracepoint(&mut bpf, &btf, "call_exit", "sys_exit")?;
        }
        let log = is_logged().then(|| Log::init(&mut bpf)).transpose()?;
        let hook = attach_best(&mut bpf, &btf, config.hook)?;

        Ok(Self {
            hook,
            records: RecordReader::of(&mut bpf)?,
            counts: Counts::of(&mut bpf)?,
            calls: BpfHashMap::try_from(take(&mut bpf, "CALLS")?)?,
            processes: Processes::of(&mut bpf)?,
            watched: Array::try_from(take(&mut bpf, "WATCHED")?)?,
            losses: LossCounters::of(&mut bpf)?,
            max_checks: config.max_checks,
            max_processes: config.max_processes,
            missed_runs: 0,
            log,
            programs: Some(Opaque::new(bpf)),
        })
    }

    /// The hook that checks are seen at.
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
        self.processes.following_children(spawn)
    }

    /// From now on check events are sent, or are not any more, if [`TracerConfig::check_events`] provides for it.
    ///
    /// # Errors
    ///
    /// The map cannot be written.
    pub fn send_check_events(&mut self, wanted: bool) -> Result<(), ProbeError> {
        Ok(self.watched.set(0, u32::from(wanted), 0)?)
    }

    /// Stops recording. What is recorded already can still be taken.
    pub fn stop(&mut self) {
        self.missed_runs = self.programs.as_deref().map_or(0, missed_runs);
        if self.missed_runs > 0 {
            warn!(
                runs = self.missed_runs,
                "the kernel left out runs of the BPF programs"
            );
        }
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

    /// Follows a running process from now on; `execution` is its number, of this side's choice, from 1 below 1 << 40.
    ///
    /// # Errors
    ///
    /// The map of processes is full.
    pub fn follow_process(&mut self, pid: u32, execution: u64) -> Result<(), ProbeError> {
        self.processes.follow(pid, execution)
    }

    /// Takes back [`Self::follow_process`]; nothing happens if the process has ended meanwhile.
    pub fn forget_process(&mut self, pid: u32) {
        let _ = self.processes.remove(pid);
    }

    /// Takes at most `most` records; returns how many were there. Bounded, because a busy machine may fill
    /// the buffer as fast as it is emptied.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(Event)) -> usize {
        let batch = self.records.read(most);
        let taken = batch.len();
        for record in batch {
            match Event::decode(record) {
                Some(event) => take(event),
                None => {
                    debug!("a record of the BPF programs is not as this version knows them");
                    self.losses.add_malformed();
                }
            }
        }
        if let Some(log) = &mut self.log {
            log.flush();
        }
        taken
    }

    /// The executions of all followed processes that live. `None` if so many come and go meanwhile that they cannot be listed:
    /// the kernel begins anew when the entry that it is asked for the next of is gone (`htab_map_get_next_key`).
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn live_executions(&self) -> Result<Option<HashSet<u64>>, ProbeError> {
        self.processes
            .live_executions(4 * self.max_processes as usize)
    }

    /// Records that were lost so far.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn lost_records(&self) -> Result<u64, ProbeError> {
        self.losses.lost_records()
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
        self.counts.sites()
    }

    /// Totals of all reported system calls not yet removed.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn calls(&self) -> Result<HashMap<CallKey, u64>, ProbeError> {
        Ok(self.calls.iter().collect::<Result<_, _>>()?)
    }

    /// Makes room: forgets a check whose total was taken over. Only for executions that ended.
    pub fn remove_check(&mut self, key: &CheckKey) {
        self.counts.remove(key);
    }

    /// As [`Self::remove_check`], for a call site.
    pub fn remove_site(&mut self, key: &SiteKey) {
        self.counts.remove_site(key);
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
        self.losses.losses(match &self.programs {
            Some(programs) => missed_runs(programs),
            None => self.missed_runs,
        })
    }

    /// Checks that were to be sent one by one ([`TracerConfig::check_events`]) and were not, because there were too many.
    /// They are counted like all others: nothing is lost.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn unsent(&self) -> Result<u64, ProbeError> {
        self.losses.unsent()
    }

    /// Checks counted by capability only, because the map of keys was full: granted, then denied.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn overflow(&self) -> Result<Vec<(Capability, u64, u64)>, ProbeError> {
        self.losses.overflow()
    }
}

impl AsFd for Tracer {
    /// Readable when there are records to drain.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.ring().as_fd()
    }
}

fn attach_best(bpf: &mut Ebpf, btf: &Btf, wanted: Option<Hook>) -> Result<Hook, ProbeError> {
    let mut refused = Vec::new();
    for hook in Hook::BEST_FIRST {
        if wanted.is_some_and(|wanted| wanted != hook) {
            continue;
        }
        match hook::attach(hook, bpf, btf) {
            Ok(()) => return Ok(hook),
            Err(error) => {
                debug!(%hook, %error, "the hook cannot be used here");
                refused.push((hook, error));
            }
        }
    }
    Err(ProbeError::NoHook(refused))
}

#[cfg(test)]
mod tests {
    use std::{error::Error, num::NonZeroU32};

    use super::{
        super::config::{CheckEvents, TraceScope},
        *,
    };

    /// What the verifier may look at of one program: 0.1 s at about 2 µs each. The kernel's own limit is a million
    /// (`BPF_COMPLEXITY_LIMIT_INSNS`, include/linux/bpf_verifier.h).
    const MOST_VERIFIED: u32 = 40_000;

    /// Programs are loaded anew by each start, so this is time that users wait for.
    #[test]
    fn the_kernel_verifies_each_program_quickly_whatever_it_is_set_up_for()
    -> Result<(), Box<dyn Error>> {
        let default = TracerConfig::default;
        let configs = [
            default(),
            TracerConfig {
                checks_only: true,
                ..default()
            },
            TracerConfig {
                denied_only: true,
                scope: TraceScope::Machine,
                ..default()
            },
            TracerConfig {
                scope: TraceScope::Chosen,
                check_events: CheckEvents::PerSecond(NonZeroU32::MIN),
                ..default()
            },
        ];
        for config in configs {
            let tracer = Tracer::start(&config)?;
            let mut verified = 0;
            for (name, program) in tracer
                .programs
                .iter()
                .flat_map(|programs| programs.programs())
            {
                let Ok(info) = program.info() else {
                    continue; // of another hook
                };
                let count = info.verified_instruction_count().ok_or("Linux 5.16")?;
                assert!(count < MOST_VERIFIED, "{name}: {count}, {config:?}");
                verified += 1;
            }
            let expected = if config.checks_only { 4 } else { 5 };
            assert!(verified >= expected, "{verified} programs, {config:?}");
        }
        Ok(())
    }
}
