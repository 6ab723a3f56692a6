//! Watching from start to end, whatever is watched: records are taken as they come, totals at the end.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::{Hook, Ledger, Losses, SCHEMA, Session, SubjectRecord, unite},
};
use tokio::{io::unix::AsyncFd, time::Interval};

use crate::{
    privilege::{self, own},
    probe::{ProbeError, TraceScope, Tracer, TracerConfig},
    proc::{Existing, kallsyms::Symbols, mount_namespace_of},
    session::{
        Collector,
        account::{Counted, Facts},
        check_event::CheckEvent,
        clock::milliseconds_since,
        error::{AttachError, ObservationError},
        naming,
        signals::readable,
    },
    subject::{
        Identity, SubjectId, Tracker,
        attached::{Attached, Target},
        engine::Engine,
    },
};

/// Records taken at a time, so that nothing else is kept waiting.
const BATCH: usize = 1024;
/// How often maps are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How often records are looked for while they come: the kernel side wakes for some only.
const POLL: Duration = Duration::from_millis(2);
/// How long none has to come until that is left to [`TICK`].
const LULL: Duration = Duration::from_millis(50);
/// Batches taken at the very end. Should anything go on and on, the rest is counted as lost by the kernel.
const LAST_BATCHES: usize = 1 << 12;
/// Batches taken for a snapshot: about what fits into the buffer.
const SNAPSHOT_BATCHES: usize = 16;
/// How long to wait, at the end, for names that are still under way.
const LAST_EVENTS: Duration = Duration::from_secs(3);
/// Times that a target's processes are listed again, for those forked meanwhile.
const LISTINGS: usize = 100;

/// Subjects of single checks whose names are kept.
const MOST_NAMED: usize = 1 << 14;

/// How what was observed came to be, for the record.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The audited command; empty if none was run.
    pub command: Vec<String>,
    /// Its exit status, 128 + signal if a signal ended it.
    pub exit_status: Option<i32>,
}

/// The kernel's checks, being watched.
pub struct Observation {
    tracer: Tracer,
    collector: Collector,
    engine: Engine,
    records: AsyncFd<OwnedFd>,
    tick: Interval,
    notes: Vec<String>,
    kernel: String,
    started: jiff::Timestamp,
    clock: Instant,
    /// When records were last there.
    last_record: Instant,
    /// Next number of an image that user space gives.
    next_image: u64,
    /// Subjects of single checks, named.
    named: HashMap<SubjectId, Arc<SubjectRecord>>,
    /// System calls are not seen.
    checks_only: bool,
}

impl Observation {
    /// Begins: what is there by now is not observed, unless it is attached to.
    ///
    /// # Errors
    ///
    /// Tracing is not possible here.
    pub async fn start(settings: &TracerConfig) -> Result<Self, ObservationError> {
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
        collector.begin(existing);
        return_memory();
        Ok(Self {
            tracer,
            collector,
            engine,
            records,
            tick: tokio::time::interval(TICK),
            notes,
            kernel: kernel_release(),
            started: jiff::Timestamp::now(),
            clock: Instant::now(),
            last_record: Instant::now(),
            next_image: 1,
            named: HashMap::new(),
            checks_only: settings.checks_only,
        })
    }

    /// Runs `spawn`, and observes the processes it creates as children of this one: the command.
    ///
    /// # Errors
    ///
    /// Those of `spawn`.
    pub fn launch<T>(&mut self, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.tracer.following_children(spawn)
    }

    /// Observes what runs already. Returns how many processes that is.
    ///
    /// # Errors
    ///
    /// There is no such target, it must not be looked at, or the map of processes is full.
    pub async fn attach(&mut self, target: &Target) -> Result<usize, AttachError> {
        if !own::effective().contains(Capability::SYS_PTRACE) {
            return Err(AttachError::Blind);
        }
        let attached = Attached::resolve(target, self.engine.answering()).await?;
        let mut followed = std::collections::HashSet::new();
        // What a process forks after it was listed and before it is followed is found by listing again.
        for _ in 0..LISTINGS {
            let mut news = false;
            for pid in attached.processes() {
                if followed.insert(pid) {
                    news |= self.follow(&attached, pid)?;
                }
            }
            if !news {
                break;
            }
        }
        self.collector.expect(&attached);
        Ok(followed.len())
    }

    /// Observes everything that runs on the machine, and everything that will. Returns how many processes run.
    ///
    /// # Errors
    ///
    /// The map of processes is full.
    pub async fn attach_machine(&mut self) -> Result<usize, ProbeError> {
        self.collector.expect(&Attached::Machine);
        let mut followed = 0;
        for pid in Attached::Machine.processes() {
            // What is missed here is met at its first check.
            if self.follow(&Attached::Machine, pid)? {
                followed += 1;
            }
        }
        let running = self.collector.containers(&self.collector.subjects());
        self.engine.ask(&running).await;
        Ok(followed)
    }

    /// Follows one running process; false if it is gone.
    fn follow(&mut self, attached: &Attached, pid: u32) -> Result<bool, ProbeError> {
        let Some(process) = attached.look_at(pid) else {
            return Ok(false);
        };
        let image = self.next_image;
        self.next_image += 1;
        // First user space, so that no record comes of an image that is not known.
        self.collector.attach(image, &process);
        self.tracer.follow_process(pid, image)?;
        // If the pid was another process's by then, nothing of that must be observed.
        if process.has_ended() {
            self.tracer.forget_process(pid);
        }
        Ok(true)
    }

    /// Waits for records and takes some. May be cancelled at any time.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub async fn advance(&mut self) -> Result<(), ObservationError> {
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
                }
                taken
            }
            () = tokio::time::sleep(POLL), if self.last_record.elapsed() < LULL => {
                take_batch(&mut self.tracer, &mut self.collector)
            }
        };
        if taken > 0 {
            self.last_record = Instant::now();
        }
        Ok(self.collector.sweep(&mut self.tracer)?)
    }

    /// From now on [`Self::check_events`] has checks one by one, or not any more: they cost the machine more than counting.
    ///
    /// # Errors
    ///
    /// The kernel's map cannot be written.
    pub fn keep_check_events(&mut self, wanted: bool) -> Result<(), ProbeError> {
        self.collector.keep_check_events(wanted);
        self.tracer.send_singles(wanted)
    }

    /// Single checks that have come meanwhile, in their order, at most `most`; with `last`, without waiting for what
    /// else might come to be known of them. `command` is what the audited command is called.
    pub fn check_events(&mut self, command: &[String], most: usize, last: bool) -> Vec<CheckEvent> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let (engine, named) = (self.engine.answering(), &self.named);
            let next = self.collector.next_check_event(last, |id, subject| {
                named.contains_key(&id)
                    || match &subject.identity {
                        Identity::Container(container) => {
                            engine.is_none_or(|engine| engine.known(container).is_some())
                        }
                        _ => true,
                    }
            });
            let Some((pending, id, record)) = next else {
                break;
            };
            if let Some(subject) = self.named(id, command) {
                taken.push(CheckEvent::of(&pending, subject, record));
            }
        }
        taken
    }

    /// A subject's name without its facts; `None` if it turned out to be of no interest.
    fn named(&mut self, id: SubjectId, command: &[String]) -> Option<Arc<SubjectRecord>> {
        if let Some(known) = self.named.get(&id) {
            return Some(Arc::clone(known));
        }
        let identity = &self.collector.tracker().get(id).identity;
        let described = match identity {
            Identity::Container(container) => self
                .engine
                .known(container)
                .map(|description| (container.clone(), description)),
            _ => None,
        };
        let is_final = described.is_some() || !matches!(identity, Identity::Container(_));
        let described = described.into_iter().collect();
        let records = self
            .collector
            .records(&Facts::default(), &[id], command, &described);
        let record = Arc::new(records.into_iter().next()?);
        if is_final {
            if self.named.len() >= MOST_NAMED {
                self.named.clear();
            }
            self.named.insert(id, Arc::clone(&record));
        }
        Some(record)
    }

    /// Single checks that were not sent, because there were too many, and what was lost.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub fn missing(&self) -> Result<(u64, Losses), ProbeError> {
        Ok((self.tracer.unsent()?, self.tracer.losses()?))
    }

    /// Gives up, for good, all capabilities but those that observing on takes, and those in `reserve`. Whatever is executed
    /// after that has no more of them either.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn give_up_all_but(&self, reserve: CapSet) -> Result<(), ObservationError> {
        let kept = privilege::TO_OBSERVE.union(self.engine.takes());
        privilege::keep(kept, reserve).map_err(ObservationError::system("cannot drop capabilities"))
    }

    /// The hook in use.
    pub fn hook(&self) -> Hook {
        self.tracer.hook()
    }

    /// Who is observed.
    pub fn tracker(&self) -> &Tracker {
        self.collector.tracker()
    }

    /// Ends, and returns what was found.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub async fn finish(mut self, origin: Origin) -> Result<Ledger, ObservationError> {
        self.stop();
        self.collector.finish(&mut self.tracer)?;
        let facts = self.collector.facts();
        self.ledger(facts, &self.collector.subjects(), origin, LAST_EVENTS)
            .await
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

    /// What was found so far; everything goes on.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub async fn snapshot(&mut self, origin: Origin) -> Result<Ledger, ObservationError> {
        let counted = Counted::of(&self.tracer, |_image| true)?;
        // What the kernel has sent of that by now: without its call site, a check counts as a need.
        self.drain(SNAPSHOT_BATCHES);
        let facts = self.collector.snapshot(&counted, &self.tracer)?;
        self.ledger(&facts, &self.collector.subjects(), origin, Duration::ZERO)
            .await
    }

    /// What was found of subjects that have ended; it is forgotten here. `None` if there are none.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub async fn retire(&mut self) -> Result<Option<Ledger>, ObservationError> {
        let facts = self.collector.retire(&mut self.tracer)?;
        let subjects = facts.subjects();
        if subjects.is_empty() {
            return Ok(None);
        }
        let mut ledger = self
            .ledger(&facts, &subjects, Origin::default(), Duration::ZERO)
            .await?;
        // What is not about a subject stays with what goes on.
        ledger.session.duration_ms = 0;
        ledger.session.losses = Losses::default();
        ledger.session.notes.clear();
        self.engine.forget(&self.collector.containers(&subjects));
        Ok(Some(ledger))
    }

    async fn ledger(
        &self,
        facts: &Facts,
        subjects: &[SubjectId],
        origin: Origin,
        patience: Duration,
    ) -> Result<Ledger, ObservationError> {
        let losses = Losses {
            files: self.collector.facts().unseen_files(),
            ..self.tracer.losses()?
        };
        let containers = self.collector.containers(subjects);
        let described = self.engine.describe(&containers, patience).await;
        let subjects = self
            .collector
            .records(facts, subjects, &origin.command, &described);
        let mut session = self.session(origin, losses);
        session.unattributed = facts.unattributed();
        session
            .notes
            .extend(naming::notes(self.collector.tracker()));
        Ok(Ledger {
            schema: SCHEMA.to_owned(),
            session,
            subjects: unite(subjects),
        })
    }

    /// How the ledger is made that everything belongs to, as far as that is known by now: rules
    /// need it to judge check events.
    pub fn session_so_far(&self) -> Session {
        self.session(Origin::default(), Losses::default())
    }

    fn session(&self, origin: Origin, losses: Losses) -> Session {
        Session {
            started: self.started.to_string(),
            duration_ms: milliseconds_since(self.clock),
            kernel: self.kernel.clone(),
            command: origin.command,
            exit_status: origin.exit_status,
            losses,
            checks_only: self.checks_only,
            notes: self.notes.clone(),
            ..Session::new(self.tracer.hook())
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
