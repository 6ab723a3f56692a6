//! Watching from start to end, whatever is watched: records are taken as they come, totals at the end.

mod attach;
mod check_events;
mod ledgers;

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use capaudit_core::{
    capability::CapSet,
    ledger::{Hook, Losses, SubjectRecord},
};
use tokio::{io::unix::AsyncFd, time::Interval};
use tracing::info;

pub(super) use self::ledgers::Origin;
use crate::{
    launch::is_asked_to_end,
    privilege::{self, own},
    probe::{ProbeError, TraceScope, Tracer, TracerConfig},
    proc::{Existing, kallsyms::Symbols, mount_namespace_of},
    session::{Collector, error::ObservationError, lost::Lost, signals::readable},
    subject::{SubjectId, Tracker, engine::Engine},
};

/// Records taken at a time, so that nothing else is kept waiting.
const BATCH: usize = 1024;
/// How often maps are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How often it is looked whether anything was lost: the rarer, the more subjects a loss may be of.
const LOOK_FOR_LOSSES: Duration = Duration::from_secs(1);
/// How often records are looked for while they come: the kernel side wakes for some only.
const POLL: Duration = Duration::from_millis(2);
/// How long none has to come until that is left to [`TICK`].
const LULL: Duration = Duration::from_millis(50);
/// Batches taken at the very end. Should anything go on and on, the rest is counted as lost by the kernel.
const LAST_BATCHES: usize = 1 << 12;

/// The kernel's checks, being watched.
pub struct Observation {
    tracer: Tracer,
    collector: Collector,
    lost: Lost,
    /// When losses were last looked for.
    looked: Instant,
    engine: Engine,
    records: AsyncFd<OwnedFd>,
    tick: Interval,
    notes: Vec<String>,
    kernel: String,
    started: jiff::Timestamp,
    clock: Instant,
    /// When records were last there.
    last_record: Instant,
    /// Next number of an execution that user space gives.
    next_execution: u64,
    /// Subjects of check events, named.
    named: HashMap<SubjectId, Arc<SubjectRecord>>,
    /// System calls are not seen.
    checks_only: bool,
    /// Mount namespace of this process.
    mount_namespace: u32,
}

impl Observation {
    /// Begins: what is there by now is not observed, unless it is attached to.
    ///
    /// # Errors
    ///
    /// Tracing is not possible here.
    pub(in crate::session) async fn start(
        settings: &TracerConfig,
    ) -> Result<Self, ObservationError> {
        let symbols = std::thread::spawn(Symbols::of_running_kernel);
        let engine = Engine::connect().await;
        let mut tracer = Tracer::start(settings)?;
        let symbols = symbols.join().ok().and_then(Result::ok).unwrap_or_default();
        let mut notes = Vec::new();
        if symbols.is_empty() {
            notes.push(
                "the kernel hides its symbols (sysctl kernel.kptr_restrict): it cannot be told what a check was for, so every one counts as a need"
                    .to_owned(),
            );
        }
        notes.extend(privilege::blindness(own::effective()));
        if settings.checks_only {
            notes.push(
                "INCOMPLETE, as --checks-only asks for: needs that no check shows are missing (what reads its own capabilities, and system calls that a seccomp profile allows by capability), and how calls ended was not seen, so that more may count as a need than is one"
                    .to_owned(),
            );
        }
        let mut collector = Collector::new(symbols);
        let records =
            readable(&tracer).map_err(ObservationError::system("cannot wait for records"))?;

        // What has started by now is not ours, though it may have been seen already.
        let existing = if settings.scope == TraceScope::Machine {
            Existing::default()
        } else {
            Existing::look()
        };
        for (process, mount_namespace) in existing.processes() {
            tracer.ignore_process(*process, *mount_namespace)?;
            // Gone meanwhile, nobody would remove the entry, and the pid may become another's.
            if mount_namespace_of(process) != Some(*mount_namespace) {
                tracer.forget_process(*process);
            }
        }
        while take_batch(&mut tracer, &mut collector) == BATCH {}
        let kernel = kernel_release();
        info!(
            hook = %tracer.hook(),
            kernel,
            version = env!("CARGO_PKG_VERSION"),
            "the kernel is watched"
        );
        let started = jiff::Timestamp::now();
        collector.begin(existing, started.as_second());
        return_memory();
        Ok(Self {
            tracer,
            collector,
            lost: Lost::default(),
            looked: Instant::now(),
            engine,
            records,
            tick: tokio::time::interval(TICK),
            notes,
            kernel,
            started,
            clock: Instant::now(),
            last_record: Instant::now(),
            next_execution: 1,
            named: HashMap::new(),
            checks_only: settings.checks_only,
            mount_namespace: mount_namespace_of("self").unwrap_or_default(),
        })
    }

    /// Runs `spawn`, and observes the processes it creates as children of this one: the command.
    ///
    /// # Errors
    ///
    /// Those of `spawn`.
    pub(in crate::session) fn launch<T>(
        &mut self,
        spawn: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.tracer.following_children(spawn)
    }

    /// Takes the records that are there already.
    pub(in crate::session) fn catch_up(&mut self) {
        while take_batch(&mut self.tracer, &mut self.collector) == BATCH {}
    }

    /// Waits for records and takes some. May be cancelled at any time.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub(in crate::session) async fn advance(&mut self) -> Result<(), ObservationError> {
        let taken = tokio::select! {
            biased;
            ready = self.records.readable() => {
                let mut ready = ready.map_err(ObservationError::system("cannot wait for records"))?;
                let taken = take_batch(&mut self.tracer, &mut self.collector);
                if taken < BATCH {
                    ready.clear_ready();
                }
                taken
            }
            _ = self.tick.tick() => {
                let taken = take_batch(&mut self.tracer, &mut self.collector);
                if taken < BATCH {
                    self.collector.rest();
                    self.collector.look_for_missed(&self.tracer)?;
                    if self.looked.elapsed() >= LOOK_FOR_LOSSES {
                        self.attribute_losses()?;
                    }
                }
                taken
            }
            () = tokio::time::sleep(POLL), if self.last_record.elapsed() < LULL => {
                take_batch(&mut self.tracer, &mut self.collector)
            }
        };
        self.look()?;
        if taken > 0 {
            self.last_record = Instant::now();
        }
        Ok(self.collector.sweep(&mut self.tracer)?)
    }

    /// Check events that were not sent, because there were too many, and what was lost.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub fn missing(&self) -> Result<(u64, Losses), ProbeError> {
        Ok((self.tracer.unsent()?, self.tracer.losses()?))
    }

    /// Takes what was lost since the last time for a loss of every subject that lived meanwhile.
    fn attribute_losses(&mut self) -> Result<(), ProbeError> {
        self.looked = Instant::now();
        let losses = self.tracer.losses()?;
        self.lost.attribute(losses, self.collector.parts());
        Ok(())
    }

    /// Gives up, for good, all capabilities but those that observing on takes, and those in `reserve`. Whatever is executed
    /// after that has no more of them either.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(in crate::session) fn give_up_all_but(
        &self,
        reserve: CapSet,
    ) -> Result<(), ObservationError> {
        let kept = privilege::TO_OBSERVE.union(self.engine.takes());
        privilege::keep(kept, reserve).map_err(ObservationError::system("cannot drop capabilities"))
    }

    /// Takes what was looked up, and has looked up what is to be.
    fn look(&mut self) -> Result<(), ProbeError> {
        self.collector.take_answers();
        for helper in self.collector.helpers() {
            // It asks for capabilities as capaudit itself does.
            self.tracer.ignore_process(helper, self.mount_namespace)?;
        }
        Ok(())
    }

    /// Waits for what is being looked up, for what `patience` there is; what is not known then was not seen.
    async fn look_at_last(&mut self, patience: Duration) -> Result<(), ProbeError> {
        let patience = if is_asked_to_end() {
            patience / 3
        } else {
            patience
        };
        let deadline = Instant::now() + patience;
        self.look()?;
        while self.collector.is_looking() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
            self.look()?;
        }
        self.collector.stop_looking();
        Ok(())
    }

    /// The hook that checks are seen at.
    pub fn hook(&self) -> Hook {
        self.tracer.hook()
    }

    /// The executions that are tracked, and their subjects.
    pub fn tracker(&self) -> &Tracker {
        self.collector.tracker()
    }

    /// Takes what there is, and nothing that happens from now on.
    pub fn stop(&mut self) {
        // What still runs is not watched any more, so that totals and records are of the same moment.
        self.tracer.stop();
        self.drain(LAST_BATCHES);
    }

    /// Takes the records that have come by now, but no more than so many batches.
    fn drain(&mut self, batches: usize) {
        for _ in 0..batches {
            if take_batch(&mut self.tracer, &mut self.collector) < BATCH {
                break;
            }
        }
    }
}

/// Takes some of the records that have come by now; returns how many, [`BATCH`] if there may be more.
fn take_batch(tracer: &mut Tracer, collector: &mut Collector) -> usize {
    tracer.drain(BATCH, |event| collector.record(event))
}

/// Gives back what reading the kernel's types took, many times what is kept: glibc's allocator would hold on to it.
fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}
