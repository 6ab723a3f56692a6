//! From the kernel's records and totals to a ledger.
//!
//! [`Collector`] takes records as they come and totals when images end; at the end it has every fact under the
//! subject and executable it belongs to, and nothing that depends on pids or image numbers any more.

pub mod audit;
mod describe;
mod file_capabilities;
mod file_owner;
pub mod observation;
pub mod single;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use capaudit_common::{
    event::{Call, Check, Exec, Fork, Result as CallResult},
    key::{CallKey, CheckCount, CheckKey, NO_SYSCALL, SiteCount, SiteKey, flag},
    scope,
};
use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::{
        Asker, CallRecord, CheckIdentity, CheckRecord, Credentials, Kind, Object, Options, Outcome,
        Place, Sample, SubjectRecord,
    },
};

use crate::{
    probe::{Event, ProbeError, Tracer, syscall_name},
    proc::{ContainerId, Existing, kallsyms::Symbols, until_nul},
    session::{
        file_capabilities::Reader,
        single::{Singles, Waiting},
    },
    subject::{
        Identity, Image, Owner, Subject, SubjectId, Tracker,
        attached::{self, Attached, Running},
        engine::Description,
    },
};

/// Images that may have ended before their totals are taken over: a sweep reads the whole map.
const SWEEP_AT: usize = 512;
/// Entries of a map that an image may fill, roughly: with less room, sweeps come earlier.
const ROOM_OF_IMAGE: usize = 64;
/// How often, at most, it is looked for what was missed because records were lost.
const LOOK_FOR_MISSED: Duration = Duration::from_secs(1);
/// The part of our time that goes into that at most.
const LOOK_SHARE: u32 = 10;
/// System calls under way whose outcome is awaited.
const MAX_AWAITED: usize = 1 << 14;

/// Records of one call site of one image.
#[derive(Debug, Default)]
struct Sightings {
    stack: Vec<u64>,
    levels: (u32, u32),
    comm: Arc<str>,
    samples: Vec<Sample>,
}

impl Sightings {
    /// Of a site that `check` was made from; no sample yet.
    fn of(check: &Check) -> Self {
        Self {
            stack: check.stack[..(check.depth as usize).min(check.stack.len())].to_vec(),
            levels: (check.target_level, check.cred_level),
            comm: describe::text(&check.comm).into(),
            samples: Vec::new(),
        }
    }
}

/// What is known of every subject.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    subjects: HashMap<SubjectId, SubjectRecord>,
    /// Checks of processes whose records were lost.
    unattributed: HashMap<Capability, u64>,
}

impl Facts {
    /// The subjects that there are facts about, in the order in which they appeared.
    pub fn subjects(&self) -> Vec<SubjectId> {
        let mut ids: Vec<SubjectId> = self.subjects.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    fn subject(&mut self, id: SubjectId, known: &Subject) -> &mut SubjectRecord {
        self.subjects.entry(id).or_insert_with(|| nameless(known))
    }
}

/// What the kernel has counted, and nobody has taken over yet.
#[derive(Debug, Default)]
struct Counted {
    checks: Vec<(CheckKey, CheckCount)>,
    sites: HashMap<CheckKey, Vec<(SiteKey, SiteCount)>>,
    calls: Vec<(CallKey, u64)>,
}

impl Counted {
    fn of(tracer: &Tracer, wanted: impl Fn(u64) -> bool) -> Result<Self, ProbeError> {
        let mut counted = Self::default();
        // Checks first: of what is counted meanwhile, the site must not be missing.
        let checks = tracer.checks()?.into_iter();
        counted.checks = checks.filter(|(key, _)| wanted(key.image)).collect();
        for (key, count) in tracer.sites()? {
            if wanted(key.check.image) {
                counted
                    .sites
                    .entry(key.check)
                    .or_default()
                    .push((key, count));
            }
        }
        let calls = tracer.calls()?.into_iter();
        counted.calls = calls.filter(|(key, _)| wanted(key.image)).collect();
        Ok(counted)
    }
}

/// What was missed because records were lost.
#[derive(Debug, Default)]
struct Missed {
    /// Lost records that it was looked for what they told of.
    lost: u64,
    /// Images that are gone, as the kernel knows them no more.
    gone: Vec<u64>,
    /// When to look again.
    next: Option<Instant>,
}

/// Gathers an audit's facts.
#[derive(Debug)]
pub struct Collector {
    tracker: Tracker,
    files: Reader,
    sightings: HashMap<SiteKey, Sightings>,
    awaited: HashMap<(u32, u64), Vec<(SiteKey, usize)>>,
    awaited_order: VecDeque<(u32, u64)>,
    calls: HashMap<CallKey, Call>,
    facts: Facts,
    /// Checks one by one, if anybody wants them.
    singles: Option<Singles>,
    symbols: Symbols,
    missed: Missed,
    /// Images of processes that the kernel side does not follow any more, and so sends no end of.
    let_go: Vec<u64>,
    /// Compose services that new containers must belong to, if any were attached to.
    services: Vec<String>,
    /// Subjects whose facts were handed out for good.
    retired: HashSet<SubjectId>,
    /// `CLOCK_MONOTONIC` at the start, in nanoseconds.
    started: u64,
}

impl Collector {
    /// A collector for an audit that begins soon; `symbols` name the kernel's functions.
    pub fn new(symbols: Symbols) -> Self {
        Self {
            tracker: Tracker::new(Existing::default()),
            files: Reader::default(),
            sightings: HashMap::new(),
            awaited: HashMap::new(),
            awaited_order: VecDeque::new(),
            calls: HashMap::new(),
            facts: Facts::default(),
            singles: None,
            symbols,
            missed: Missed::default(),
            let_go: Vec::new(),
            services: Vec::new(),
            retired: HashSet::new(),
            started: monotonic_now(),
        }
    }

    /// The audit begins: whatever was recorded so far, and `existing`, is none of it.
    pub fn begin(&mut self, existing: Existing) {
        self.tracker.disown(existing);
        self.sightings.clear();
        self.awaited.clear();
        self.awaited_order.clear();
        self.calls.clear();
        self.facts = Facts::default();
        self.started = monotonic_now();
    }

    /// A process that runs already is observed as `image` from now on.
    pub fn attach(&mut self, image: u64, running: &Running) {
        self.tracker.attach(image, running);
    }

    /// Only what was attached to is of interest.
    pub fn expect(&mut self, attached: &Attached) {
        self.tracker.expect(attached);
        if let Attached::Service(service, _) = attached {
            self.services.push(service.clone());
        }
    }

    /// Takes a record.
    pub fn record(&mut self, event: Event) {
        match event {
            Event::Check(check) => self.check(&check),
            Event::Result(result) => self.result(&result),
            Event::Fork(fork) => self.tracker.fork(&fork),
            Event::Adopt(fork) => self.adopt(&fork),
            Event::Exec(exec) => {
                if self.tracker.wants_all() {
                    let program = self.program_of(&exec);
                    let place = self.place_of_exec(&exec, &program);
                    self.tracker.exec_in(&exec, place, program.into());
                } else {
                    self.tracker.exec(&exec);
                }
                self.exec(&exec);
            }
            Event::Exit(exit) => self.tracker.exit(&exit),
            Event::Call(call) => {
                self.calls.insert(call.key, call);
            }
        }
    }

    fn adopt(&mut self, fork: &Fork) {
        if !self.tracker.wants_all() {
            return self.tracker.adopt(fork);
        }
        match Attached::Machine.look_at(fork.header.tgid) {
            Some(running) => self.tracker.attach(fork.header.image, &running),
            // Gone by now, or a kernel thread.
            None => {
                let comm = describe::text(&fork.comm);
                self.tracker
                    .adopt_into(fork, Identity::Program(format!("[{comm}]").into()));
            }
        }
    }

    /// What was executed. Runtimes execute themselves through names that say nothing to anybody else; what such a name
    /// stands for is a file, or one that was never linked: then it is what was executed before.
    fn program_of(&self, exec: &Exec) -> String {
        let path = describe::text(&exec.path);
        if !(path.starts_with("/proc/") || path.starts_with("/dev/fd/")) {
            return path;
        }
        std::fs::read_link(format!("/proc/{}/exe", exec.header.tgid))
            .ok()
            .filter(|target| target.exists())
            .filter(|target| target.file_name().is_some())
            .map(|target| target.to_string_lossy().into_owned())
            .or_else(|| Some(self.tracker.image(exec.previous)?.exe.to_string()))
            .filter(|program| !program.is_empty())
            .unwrap_or(path)
    }

    /// Where the process belongs that runs another executable: by its record, and only where that does not tell,
    /// by what can still be seen of it.
    fn place_of_exec(&self, exec: &Exec, program: &str) -> Identity {
        let names = exec.cgroups.each_ref().map(|name| until_nul(name));
        if let Some(container) = ContainerId::from_cgroups(&names) {
            return Identity::Container(container);
        }
        attached::place_of(exec.header.tgid, program).unwrap_or_else(|| {
            let before = self.tracker.image(exec.previous).map(|image| image.owner);
            match before {
                Some(Owner::Subject(id))
                    if !matches!(self.tracker.get(id).identity, Identity::Program(_)) =>
                {
                    self.tracker.get(id).identity.clone()
                }
                _ => Identity::Program(program.into()),
            }
        })
    }

    fn check(&mut self, check: &Check) {
        if check.header.flags & scope::image::SETUP != 0
            && let Some(namespace) = self.tracker.mount_namespace_of(check.header.image)
        {
            self.files.hold_root(namespace, check.header.tgid);
        }
        let key = SiteKey {
            check: check.key,
            site: check.site,
            reserved: 0,
        };
        let sightings = self
            .sightings
            .entry(key)
            .or_insert_with(|| Sightings::of(check));
        let mut sample = describe::sample(check);
        if let (None, Some(Object::Path(path))) = (&sample.owner, &sample.object)
            && is_about_owner(check.key.capability)
        {
            sample.owner = file_owner::of(check.header.tgid, path);
        }
        if let Some(singles) = &mut self.singles {
            let image = self.tracker.image(check.header.image).cloned();
            singles.check(check, sample.clone(), image);
        }
        let place = match sightings.samples.iter().position(|known| *known == sample) {
            Some(place) => place,
            None if sightings.samples.len() < CheckRecord::MAX_SAMPLES => {
                sightings.samples.push(sample);
                sightings.samples.len() - 1
            }
            None => return,
        };
        let thread = (check.header.tid, check.call);
        self.awaited
            .entry(thread)
            .or_insert_with(|| {
                self.awaited_order.push_back(thread);
                Vec::new()
            })
            .push((key, place));
        if self.awaited_order.len() > MAX_AWAITED
            && let Some(oldest) = self.awaited_order.pop_front()
        {
            // Its outcome was never sent: the thread was killed, or the call has not returned.
            self.awaited.remove(&oldest);
        }
    }

    fn result(&mut self, result: &CallResult) {
        if let Some(singles) = &mut self.singles {
            singles.result(result);
        }
        let thread = (result.header.tid, result.call);
        for (key, place) in self.awaited.remove(&thread).unwrap_or_default() {
            if let Some(sample) = self
                .sightings
                .get_mut(&key)
                .and_then(|sightings| sightings.samples.get_mut(place))
            {
                sample.result = Some(result.value);
            }
        }
    }

    fn exec(&mut self, exec: &Exec) {
        let Some(Owner::Subject(subject)) = self
            .tracker
            .image(exec.header.image)
            .map(|image| image.owner)
        else {
            return;
        };
        let level = self.tracker.get(subject).user_namespace.level;
        if let Some(record) = self.files.look(exec, level) {
            let known = self.tracker.get(subject);
            self.facts.subject(subject, known).add_exec(record);
        }
    }

    /// From now on checks are kept one by one, for [`Self::next_single`]; or not any more, and those that wait are
    /// dropped.
    pub fn keep_singles(&mut self, wanted: bool) {
        if wanted {
            self.singles.get_or_insert_default();
        } else {
            self.singles = None;
        }
    }

    /// The next single check, the subject it belongs to, and its record. With `last`, without waiting any longer for
    /// what else might come to be known of it.
    pub fn next_single(
        &mut self,
        last: bool,
        is_named: impl Fn(SubjectId, &Subject) -> bool,
    ) -> Option<(Waiting, SubjectId, CheckRecord)> {
        loop {
            let tracker = &self.tracker;
            let waiting =
                self.singles
                    .as_mut()?
                    .next(last, |waiting| match owner_of(tracker, waiting) {
                        Some(Owner::Subject(id)) => is_named(id, tracker.get(id)),
                        Some(Owner::Undecided) | None => false,
                        Some(Owner::Unrelated | Owner::Lost) => true,
                    })?;
            // Those of nobody are not of interest, as for totals.
            if let Some((id, record)) = self.single(&waiting) {
                return Some((waiting, id, record));
            }
        }
    }

    fn single(&self, waiting: &Waiting) -> Option<(SubjectId, CheckRecord)> {
        let check = &waiting.check;
        let capability = Capability::from_number(check.key.capability)?;
        let image = image_of(&self.tracker, waiting)?;
        let Owner::Subject(id) = image.owner_of_check(is_execve(&check.key)) else {
            return None;
        };
        let seen = Sightings::of(check);
        let identity = self.identity(
            &check.key,
            capability,
            image,
            self.tracker.get(id),
            Some(&seen),
        );
        let mut record = CheckRecord::new(identity);
        record.count = 1;
        record.first_ms = check.header.time.saturating_sub(self.started) / 1_000_000;
        record.last_ms = record.first_ms;
        record.returned(waiting.sample.result);
        record.add_sample(waiting.sample.clone());
        Some((id, record))
    }

    /// Lets go of what was kept for subjects that have ended by now, and of processes that are not followed any more. To be
    /// called with no record outstanding.
    pub fn rest(&mut self) {
        // What they had forked before they were let go has told so by now, and is known as none of ours, too.
        for image in self.let_go.drain(..) {
            self.tracker.missed_end(image);
        }
        let tracker = &self.tracker;
        self.files.let_go(|namespace| tracker.lives_in(namespace));
    }

    /// Takes over the totals of images that ended, if they are many: keeps the kernel's maps from filling up.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub fn sweep(&mut self, tracer: &mut Tracer) -> Result<(), ProbeError> {
        for unrelated in self.tracker.take_unrelated() {
            tracer.stop_following(unrelated.process, unrelated.mount_namespace);
            self.let_go.push(unrelated.image);
        }
        if self.tracker.ended() < SWEEP_AT.min(tracer.max_checks() as usize / ROOM_OF_IMAGE) {
            return Ok(());
        }
        self.sweep_all(tracer)
    }

    /// Finds out what was missed because records were lost: without the record of its end, an image would live for ever,
    /// and what waits for that, or for the room it takes, would wait for ever. To be called with no record outstanding.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub fn look_for_missed(&mut self, tracer: &Tracer) -> Result<(), ProbeError> {
        // Gone since the last look at least; had there been a record of it, it would have come by now.
        for image in self.missed.gone.drain(..) {
            self.tracker.missed_end(image);
        }
        let began = Instant::now();
        let lost = tracer.lost_records()?;
        if lost == self.missed.lost || self.missed.next.is_some_and(|next| began < next) {
            return Ok(());
        }
        // First what there is, then what lives of it: what begins meanwhile must not seem to be gone.
        let mut images: HashSet<u64> = self.tracker.live_images().collect();
        let counted = tracer.checks()?.into_keys().map(|key| key.image);
        images.extend(counted.filter(|image| self.tracker.image(*image).is_none()));
        if let Some(live) = tracer.live_images()? {
            self.missed.gone = images.difference(&live).copied().collect();
            self.missed.lost = lost;
        }
        self.missed.next = Some(Instant::now() + LOOK_FOR_MISSED.max(began.elapsed() * LOOK_SHARE));
        Ok(())
    }

    fn sweep_all(&mut self, tracer: &mut Tracer) -> Result<(), ProbeError> {
        let ended: HashSet<u64> = self.tracker.take_ended().into_iter().collect();
        self.take_over(tracer, |image| ended.contains(&image))?;
        for image in ended {
            self.tracker.forget(image);
        }
        Ok(())
    }

    /// Hands out the facts of subjects that have ended, and forgets them: what goes on for days must not grow for ever.
    /// A container that is started again begins anew.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub fn retire(&mut self, tracer: &mut Tracer) -> Result<Facts, ProbeError> {
        self.sweep_all(tracer)?;
        let ended: Vec<SubjectId> = self
            .tracker
            .subjects()
            .filter(|(id, subject)| !subject.is_live() && !self.tracker.has_images(*id))
            .map(|(id, _subject)| id)
            .filter(|id| self.facts.subjects.contains_key(id) || !self.retired.contains(id))
            .collect();
        let mut facts = Facts::default();
        for id in ended {
            let record = self
                .facts
                .subjects
                .remove(&id)
                .unwrap_or_else(|| nameless(self.tracker.get(id)));
            facts.subjects.insert(id, record);
            self.retired.insert(id);
        }
        Ok(facts)
    }

    /// Takes over everything that is left.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub fn finish(&mut self, tracer: &mut Tracer) -> Result<(), ProbeError> {
        self.take_over(tracer, |_image| true)?;
        add_overflow(tracer, &mut self.facts)
    }

    fn take_over(
        &mut self,
        tracer: &mut Tracer,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<(), ProbeError> {
        let counted = Counted::of(tracer, wanted)?;
        let mut facts = std::mem::take(&mut self.facts);
        self.account(&counted, &mut facts);
        self.facts = facts;
        for (key, _count) in counted.sites.values().flatten() {
            tracer.remove_site(key);
            self.sightings.remove(key);
        }
        for (key, _count) in &counted.checks {
            tracer.remove_check(key);
        }
        for (key, _count) in &counted.calls {
            tracer.remove_call(key);
            self.calls.remove(key);
        }
        Ok(())
    }

    /// The facts so far, without ending anything: what was taken over, and what the kernel has counted since.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    fn snapshot(&self, counted: &Counted, tracer: &Tracer) -> Result<Facts, ProbeError> {
        let mut facts = self.facts.clone();
        self.account(counted, &mut facts);
        add_overflow(tracer, &mut facts)?;
        Ok(facts)
    }

    fn account(&self, counted: &Counted, facts: &mut Facts) {
        for (key, count) in &counted.checks {
            let sites = counted.sites.get(key).map_or(&[][..], Vec::as_slice);
            self.total(key, count, sites, facts);
        }
        for (key, count) in &counted.calls {
            self.call_total(key, *count, facts);
        }
    }

    /// Puts the total of one key under the subject it belongs to, divided among its call sites.
    fn total(
        &self,
        key: &CheckKey,
        count: &CheckCount,
        sites: &[(SiteKey, SiteCount)],
        facts: &mut Facts,
    ) {
        let Some(capability) = Capability::from_number(key.capability) else {
            return;
        };
        let image = match self.tracker.image(key.image) {
            Some(image) => image.clone(),
            None => {
                *facts.unattributed.entry(capability).or_default() += count.count;
                return;
            }
        };
        let subject = match image.owner_of_check(is_execve(key)) {
            Owner::Subject(subject) => subject,
            Owner::Lost => {
                *facts.unattributed.entry(capability).or_default() += count.count;
                return;
            }
            Owner::Undecided | Owner::Unrelated => return,
        };
        let milliseconds = |time: u64| time.saturating_sub(self.started) / 1_000_000;
        let (first_ms, last_ms) = (milliseconds(count.first), milliseconds(count.last));
        let shares = divide(count.count, sites);
        let of_subject = self.tracker.get(subject);
        for (site, (site_count, share)) in shares {
            let sightings = site.and_then(|site| self.sightings.get(&site));
            let identity = self.identity(key, capability, &image, of_subject, sightings);
            let mut record = CheckRecord::new(identity);
            record.count = share;
            record.first_ms = first_ms;
            record.last_ms = last_ms;
            record.succeeded = site_count.succeeded.into();
            record.failed = site_count.failed.into();
            record.errno = site_count.errno;
            for sample in sightings.iter().flat_map(|sightings| &sightings.samples) {
                record.add_sample(sample.clone());
            }
            facts.subject(subject, of_subject).add_check(record);
        }
    }

    fn identity(
        &self,
        key: &CheckKey,
        capability: Capability,
        image: &Image,
        subject: &Subject,
        sightings: Option<&Sightings>,
    ) -> CheckIdentity {
        let has = |bit: u8| key.flags & bit != 0;
        let base = subject.user_namespace;
        let (target_level, cred_level) =
            sightings.map_or((base.level, base.level), |sightings| sightings.levels);
        let place = if key.target_ns == base.inode {
            Place::Own
        } else if target_level > base.level {
            Place::Inner
        } else {
            Place::Outer
        };
        CheckIdentity {
            capability,
            outcome: if has(flag::DENIED) {
                Outcome::Denied
            } else {
                Outcome::Granted
            },
            asker: Asker {
                // What a runtime does in its last execve is for the program that it executes.
                setup: image.setup && !is_execve(key),
                exe: image.exe.to_string(),
                comm: sightings.map_or_else(
                    || image.comm.to_string(),
                    |sightings| sightings.comm.to_string(),
                ),
            },
            place,
            inner_credentials: cred_level > base.level,
            credentials: if has(flag::FOREIGN) {
                Credentials::Foreign
            } else if has(flag::OVERRIDDEN) {
                Credentials::Borrowed
            } else {
                Credentials::Own
            },
            options: has(flag::OPTIONS_KNOWN).then(|| Options {
                noaudit: has(flag::NOAUDIT),
                insetid: has(flag::INSETID),
            }),
            syscall: syscall_text(key),
            operation: key.operation,
            callers: sightings
                .map(|sightings| describe::callers(&sightings.stack, &self.symbols))
                .unwrap_or_default(),
        }
    }

    fn call_total(&self, key: &CallKey, count: u64, facts: &mut Facts) {
        let first = self.calls.get(key);
        let Some(image) = self.tracker.image(key.image) else {
            return;
        };
        let Owner::Subject(subject) = image.owner else {
            return;
        };
        let record = CallRecord {
            syscall: number_text(key.syscall),
            asker: Asker {
                exe: image.exe.to_string(),
                comm: image.comm.to_string(),
                setup: image.setup,
            },
            operation: key.operation,
            arguments: first.map_or([0; 6], |call| call.arguments),
            failed: key.failed != 0,
            result: first.map_or(0, |call| call.value),
            count,
        };
        facts
            .subject(subject, self.tracker.get(subject))
            .add_call(record);
    }

    /// The subjects, but for those that were retired.
    pub fn subjects(&self) -> Vec<SubjectId> {
        self.tracker
            .subjects()
            .filter(|(id, subject)| {
                subject.is_live()
                    || self.facts.subjects.contains_key(id)
                    || !self.retired.contains(id)
            })
            .map(|(id, _subject)| id)
            .collect()
    }

    /// Ids of the containers among these, to ask their engine about.
    pub fn containers(&self, subjects: &[SubjectId]) -> Vec<ContainerId> {
        subjects
            .iter()
            .filter_map(|id| match &self.tracker.get(*id).identity {
                Identity::Container(container) => Some(container.clone()),
                _ => None,
            })
            .collect()
    }

    /// The facts that were taken over.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Facts about these subjects, under the names that people know, and the checks that no subject could be found for.
    pub fn records(
        &self,
        facts: &Facts,
        subjects: &[SubjectId],
        command: &[String],
        described: &HashMap<ContainerId, Description>,
    ) -> (Vec<SubjectRecord>, Vec<(Capability, u64)>) {
        let mut records: Vec<SubjectRecord> = Vec::new();
        for id in subjects {
            let subject = self.tracker.get(*id);
            // Of a subject without any check, too: it needs nothing, which is a finding.
            let mut record = facts
                .subjects
                .get(id)
                .cloned()
                .unwrap_or_else(|| nameless(subject));
            // It may have been started again since.
            record.seen_from_start |= subject.seen_from_start;
            match &subject.identity {
                Identity::Command => record.name = command.join(" "),
                Identity::Container(container) => {
                    let known = described.get(container).cloned().unwrap_or_default();
                    record.name = if known.name.is_empty() {
                        container.short().to_owned()
                    } else {
                        known.name
                    };
                    record.image = known.image;
                    record.compose_project = known.compose_project;
                    record.compose_service = known.compose_service;
                    record.pod = known.pod;
                }
                Identity::Namespace(inode) => record.name = format!("pid namespace {inode}"),
                Identity::Process(pid) => record.name = format!("{}[{pid}]", subject.comm),
                Identity::Cgroup(path) => record.name = path.to_string_lossy().into_owned(),
                Identity::Unit(name) | Identity::Program(name) => record.name = name.to_string(),
            }
            if record.seen_from_start
                && !self.services.is_empty()
                && record
                    .compose_service
                    .as_ref()
                    .is_none_or(|service| !self.services.contains(service))
            {
                continue;
            }
            records.push(record);
        }
        records.sort_by_key(|record| record.kind);
        let mut unattributed: Vec<(Capability, u64)> = facts
            .unattributed
            .iter()
            .map(|(capability, count)| (*capability, *count))
            .collect();
        unattributed.sort();
        (records, unattributed)
    }

    /// What a reader should know of what was followed.
    pub fn notes(&self) -> Vec<String> {
        let running: Vec<String> = self
            .tracker
            .subjects()
            .filter(|(_id, subject)| subject.is_live())
            .filter_map(|(_id, subject)| match &subject.identity {
                Identity::Container(container) => Some(container.short().to_owned()),
                _ => None,
            })
            .collect();
        let mut notes = Vec::new();
        if !running.is_empty() {
            notes.push(format!(
                "still running when the audit ended, so that what is asked later (at shutdown, say) was not seen: {}",
                running.join(", ")
            ));
        }
        notes
    }

    /// Programs that had ended before their file could be looked at: its capabilities are not known.
    pub fn unseen_files(&self) -> u64 {
        self.facts
            .subjects
            .values()
            .flat_map(|subject| &subject.execs)
            .filter(|exec| exec.unseen)
            .map(|exec| exec.count)
            .sum()
    }

    /// The processes followed.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }
}

fn add_overflow(tracer: &Tracer, facts: &mut Facts) -> Result<(), ProbeError> {
    for (capability, granted, denied) in tracer.overflow()? {
        *facts.unattributed.entry(capability).or_default() += granted + denied;
    }
    Ok(())
}

fn nameless(subject: &Subject) -> SubjectRecord {
    let (kind, id) = match &subject.identity {
        Identity::Command => (Kind::Command, String::new()),
        Identity::Container(container) => (Kind::Container, container.to_string()),
        Identity::Namespace(inode) => (Kind::Container, format!("pid:[{inode}]")),
        Identity::Process(pid) => (Kind::Process, pid.to_string()),
        Identity::Cgroup(path) => (Kind::Process, path.to_string_lossy().into_owned()),
        Identity::Unit(name) | Identity::Program(name) => (Kind::Process, name.to_string()),
    };
    SubjectRecord {
        id,
        engine: subject.engine,
        uid: subject.uid,
        granted: subject.granted,
        user_namespace_level: subject.user_namespace.level,
        seen_from_start: subject.seen_from_start,
        ..SubjectRecord::new(kind)
    }
}

/// Whether advice on a capability wants to know who owns the file.
fn is_about_owner(capability: u8) -> bool {
    Capability::from_number(capability)
        .is_some_and(|capability| CapSet::OF_FILE_OWNERS.contains(capability))
}

fn image_of<'a>(tracker: &'a Tracker, waiting: &'a Waiting) -> Option<&'a Image> {
    tracker
        .image(waiting.check.key.image)
        .or(waiting.image.as_ref())
}

fn owner_of(tracker: &Tracker, waiting: &Waiting) -> Option<Owner> {
    let image = image_of(tracker, waiting)?;
    Some(image.owner_of_check(is_execve(&waiting.check.key)))
}

fn is_execve(key: &CheckKey) -> bool {
    key.flags & flag::COMPAT == 0
        && matches!(syscall_name(key.syscall), Some("execve" | "execveat"))
}

fn syscall_text(key: &CheckKey) -> Option<String> {
    if key.syscall == NO_SYSCALL {
        return None;
    }
    Some(match syscall_name(key.syscall) {
        Some(_) if key.flags & flag::COMPAT != 0 => format!("32-bit {}", key.syscall),
        _ => number_text(key.syscall),
    })
}

/// The name of a system call, or its number if it has none.
fn number_text(number: u16) -> String {
    syscall_name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// Divides a total among the call sites by what was sampled of each; what is left over goes to the first.
/// Without any site, everything goes to an unknown one.
fn divide(total: u64, sites: &[(SiteKey, SiteCount)]) -> Vec<(Option<SiteKey>, (SiteCount, u64))> {
    let walked: u64 = sites
        .iter()
        .map(|(_key, count)| u64::from(count.walked))
        .sum();
    if sites.is_empty() || walked == 0 {
        return vec![(None, (SiteCount::default(), total))];
    }
    let mut rest = total;
    let mut shares: Vec<(Option<SiteKey>, (SiteCount, u64))> = sites
        .iter()
        .map(|(key, count)| {
            let exact = u128::from(total) * u128::from(count.walked) / u128::from(walked);
            // At most `total`, so it fits.
            let share = (exact as u64).max(1).min(rest);
            rest -= share;
            (Some(*key), (*count, share))
        })
        .collect();
    if let Some((_key, (_count, share))) = shares.first_mut() {
        *share += rest;
    }
    shares
}

/// `CLOCK_MONOTONIC` in nanoseconds, as the BPF programs read it: the machine's own, in whatever time namespace we are.
fn monotonic_now() -> u64 {
    static OFFSET: OnceLock<i128> = OnceLock::new();
    let offset = OFFSET.get_or_init(|| {
        // None before Linux 5.6, and without CONFIG_TIME_NS.
        let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        monotonic_offset(&offsets).unwrap_or(0)
    });
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let ours = i128::from(time.tv_sec) * NANOSECONDS + i128::from(time.tv_nsec);
    u64::try_from(ours - offset).unwrap_or(0)
}

const NANOSECONDS: i128 = 1_000_000_000;

/// How far our monotonic clock is ahead of the machine's, in nanoseconds, out of /proc/PID/timens_offsets
/// (time_namespaces(7)).
fn monotonic_offset(offsets: &str) -> Option<i128> {
    let line = offsets
        .lines()
        .find_map(|line| line.strip_prefix("monotonic"))?;
    let mut numbers = line.split_ascii_whitespace();
    let seconds: i128 = numbers.next()?.parse().ok()?;
    let nanoseconds: i128 = numbers.next()?.parse().ok()?;
    Some(seconds * NANOSECONDS + nanoseconds)
}

/// How long ago `since` was, in milliseconds.
pub fn milliseconds_since(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(walked: u32, site: u32) -> (SiteKey, SiteCount) {
        let check = CheckKey {
            image: 1,
            target_ns: 0,
            cred_ns: 0,
            operation: 0,
            syscall: 0,
            capability: 0,
            flags: 0,
        };
        (
            SiteKey {
                check,
                site,
                reserved: 0,
            },
            SiteCount {
                walked,
                ..SiteCount::default()
            },
        )
    }

    proptest! {
        #[test]
        fn dividing_loses_nothing(total in 0u64..1_000_000, walked in proptest::collection::vec(0u32..100, 0..6)) {
            let sites: Vec<_> = walked.iter().enumerate().map(|(n, w)| site(*w, n as u32)).collect();
            let sum: u64 = divide(total, &sites).iter().map(|(_, (_, share))| share).sum();
            prop_assert_eq!(sum, total);
        }
    }

    #[test]
    fn a_process_that_is_let_go_of_does_not_stay_for_ever() {
        let mut collector = Collector::new(Symbols::default());
        collector.let_go.push(7);
        assert_eq!(
            collector.tracker.ended(),
            0,
            "what it forked may still tell so"
        );
        collector.rest();
        assert_eq!(collector.tracker.take_ended(), [7]);
        collector.rest();
        assert_eq!(collector.tracker.ended(), 0);
    }

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let offsets = "monotonic        100000         7\nboottime              0         0\n";
        assert_eq!(monotonic_offset(offsets), Some(100_000_000_000_007));
        assert_eq!(
            monotonic_offset("monotonic -5 250000000\n"),
            Some(-4_750_000_000)
        );
        for garbage in [
            "",
            "monotonic",
            "monotonic 1",
            "boottime 1 1",
            "monotonic x 1",
        ] {
            assert_eq!(monotonic_offset(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn every_site_seen_gets_a_share() {
        let shares = divide(1000, &[site(63, 1), site(1, 2)]);
        assert!(shares.iter().all(|(_, (_, share))| *share > 0));
    }
}
