//! Composes what becomes of records and totals; what each part does is its own module's.

mod looking;

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use capaudit_common::{
    event::{Call, Check, Exec, Fork, target},
    scope,
};
use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::{CheckRecord, Remaining, SubjectRecord, Target, Unseen},
};

use crate::{
    probe::{Event, ProbeError},
    proc::{ContainerId, Existing, kallsyms::Symbols},
    session::{
        account::{Accountant, Counted, Totals, add_overflow, is_execve},
        check_event::{PendingCheck, PendingChecks},
        clock::monotonic_now,
        contact::{self, Contacts},
        describe,
        enrich::{Enrich, Machine, Wanted},
        facts::Facts,
        join::{Joined, Sightings},
        lookup::{Lookup, Lookups},
        missed::Missed,
        naming::{self, Naming},
        placement,
    },
    subject::{
        Execution, Identity, Owner, Subject, SubjectId, Tracker,
        attached::{Attached, Running},
        engine::{Asked, Description},
    },
};

/// Executions that may have ended before their totals are taken over: a sweep reads the whole map.
const SWEEP_AT: usize = 512;
/// Entries of a map that an execution may fill, roughly: with less room, sweeps come earlier.
const ROOM_OF_EXECUTION: usize = 64;

/// Gathers an audit's facts.
#[derive(Debug)]
pub struct Collector {
    tracker: Tracker,
    enrich: Box<dyn Enrich>,
    joined: Joined,
    facts: Facts,
    /// Checks one by one, if anybody wants them.
    pending_checks: Option<PendingChecks>,
    symbols: Symbols,
    missed: Missed,
    /// Executions of processes that the kernel side does not follow any more, and so sends no end of.
    let_go: Vec<u64>,
    naming: Naming,
    /// Subjects whose facts were handed out for good.
    retired: HashSet<SubjectId>,
    contacts: Contacts,
    lookups: Lookups,
    /// `CLOCK_MONOTONIC` at the start, in nanoseconds.
    pub(super) started: u64,
}

impl Collector {
    /// A collector for an audit that begins soon; `symbols` name the kernel's functions.
    pub fn new(symbols: Symbols) -> Self {
        Self::with(symbols, Box::new(Machine::default()))
    }

    /// The same, where `enrich` looks up what records do not carry.
    pub(super) fn with(symbols: Symbols, enrich: Box<dyn Enrich>) -> Self {
        Self {
            tracker: Tracker::new(Existing::default()),
            enrich,
            joined: Joined::default(),
            facts: Facts::default(),
            pending_checks: None,
            symbols,
            missed: Missed::default(),
            let_go: Vec::new(),
            naming: Naming::default(),
            retired: HashSet::new(),
            contacts: Contacts::default(),
            lookups: Lookups::default(),
            started: monotonic_now(),
        }
    }

    /// The audit begins: whatever was recorded so far, and `existing`, is none of it.
    pub(super) fn begin(&mut self, existing: Existing, now: i64) {
        self.tracker.disown(existing);
        self.naming.begin(now);
        self.joined = Joined::default();
        self.facts = Facts::default();
        self.contacts = Contacts::default();
        self.lookups.forget();
        self.started = monotonic_now();
    }

    /// A process that runs already is observed as `execution` from now on.
    pub(super) fn attach(&mut self, execution: u64, running: &Running) {
        self.tracker.attach(execution, running);
    }

    /// Only what was attached to is of interest.
    pub fn expect(&mut self, attached: &Attached) {
        self.tracker.expect(attached);
        self.naming.expect(attached);
    }

    /// Takes a decoded record, in the order of the ring buffer.
    pub fn record(&mut self, event: Event) {
        match event {
            Event::Check(check) => self.check(&check),
            Event::Result(result) => {
                if let Some(pending_checks) = &mut self.pending_checks {
                    pending_checks.result(&result);
                }
                self.joined.result(&result);
            }
            Event::Fork(fork) => self.tracker.fork(&fork),
            Event::Adopt(fork) => self.adopt(&fork),
            Event::Exec(exec) => self.exec(&exec),
            Event::Exit(exit) => self.tracker.exit(&exit),
            Event::Call(call) => {
                let target = self.target(&call);
                let is_contact = contact::is_contact(&call.key);
                if is_contact {
                    self.contacts.connected(&self.tracker, &call);
                }
                if !is_contact || target.is_some() {
                    self.joined.call(*call, target);
                }
            }
        }
    }

    /// Whom a call acted upon. Whose that process is has to be found out now: its number may be given again.
    fn target(&self, call: &Call) -> Option<Target> {
        let flags = call.target.flags;
        (flags & target::PRESENT != 0).then(|| {
            let caller = self.tracker.execution(call.header.execution);
            let caller = caller.map(|execution| execution.owner);
            let other = (flags & target::FOLLOWED != 0)
                .then(|| self.tracker.owner_of_process(call.target.tgid))
                .flatten();
            Target {
                permitted: CapSet::from_bits(call.target.permitted),
                same_user_namespace: flags & target::SAME_USER_NS != 0,
                same_subject: matches!(caller, Some(Owner::Subject(_))) && caller == other,
            }
        })
    }

    fn adopt(&mut self, fork: &Fork) {
        if !self.tracker.wants_all() {
            return self.tracker.adopt(fork);
        }
        match self.enrich.running(fork.header.tgid, fork.namespaces.mnt) {
            Some(running) => self.tracker.attach(fork.header.execution, &running),
            // Gone by now, or a kernel thread.
            None => {
                let comm = describe::text(&fork.comm);
                self.tracker
                    .adopt_into(fork, Identity::Program(format!("[{comm}]").into()));
            }
        }
    }

    fn exec(&mut self, exec: &Exec) {
        if self.tracker.wants_all() {
            let (program, place) = placement::of_exec(&self.tracker, self.enrich.as_ref(), exec);
            self.tracker.exec_in(exec, place, program.into());
        } else {
            let (tracker, enrich) = (&mut self.tracker, &self.enrich);
            tracker.exec(exec, |container| {
                enrich.came_from_outside(exec.header.tgid, container)
            });
        }
        let owner = self.tracker.execution(exec.header.execution);
        let Some(Owner::Subject(subject)) = owner.map(|execution| execution.owner) else {
            return;
        };
        self.look_for_deputies(subject, exec);
        let level = self.tracker.get(subject).user_namespace.level;
        self.ask(
            Wanted::Executed { exec, level },
            Lookup::Executed { subject },
        );
    }

    fn check(&mut self, check: &Check) {
        if check.header.flags & scope::execution::SETUP != 0
            && let Some(namespace) = self.tracker.mount_namespace_of(check.header.execution)
        {
            self.enrich.hold_root(namespace, check.header.tgid);
        }
        let sample = describe::sample(check);
        let path = looking::path_of_unknown_owner(check, &sample);
        if let Some(pending_checks) = &mut self.pending_checks {
            let execution = self.tracker.execution(check.header.execution).cloned();
            pending_checks.check(check, sample.clone(), execution);
        }
        self.joined.check(check, sample);
        if let Some(path) = path {
            self.look_for_owner(check, path);
        }
    }

    /// From now on checks are kept one by one, for [`Self::next_check_event`]; or not any more, and
    /// those that wait are dropped.
    pub fn keep_check_events(&mut self, wanted: bool) {
        if wanted {
            self.pending_checks.get_or_insert_default();
        } else {
            self.pending_checks = None;
        }
    }

    /// The next check event, the subject it belongs to, and its record. With `last`, without
    /// waiting any longer for what else might come to be known of it.
    pub fn next_check_event(
        &mut self,
        last: bool,
        is_named: impl Fn(SubjectId, &Subject) -> bool,
    ) -> Option<(PendingCheck, SubjectId, CheckRecord)> {
        loop {
            let tracker = &self.tracker;
            let waiting = self.pending_checks.as_mut()?.next(last, |waiting| {
                match owner_of(tracker, waiting) {
                    Some(Owner::Subject(id)) => is_named(id, tracker.get(id)),
                    Some(Owner::Undecided) | None => false,
                    Some(Owner::Unrelated | Owner::Lost) => true,
                }
            })?;
            // Those of nobody are not of interest, as for totals.
            if let Some((id, record)) = self.check_record(&waiting) {
                return Some((waiting, id, record));
            }
        }
    }

    fn check_record(&self, waiting: &PendingCheck) -> Option<(SubjectId, CheckRecord)> {
        let check = &waiting.check;
        let capability = Capability::from_number(check.key.capability)?;
        let execution = execution_of(&self.tracker, waiting)?;
        let Owner::Subject(id) = execution.owner_of_check(is_execve(&check.key)) else {
            return None;
        };
        let seen = Sightings::of(check);
        let accountant = self.accountant();
        let identity = accountant.identity(
            &check.key,
            capability,
            execution,
            self.tracker.get(id),
            Some(&seen),
        );
        let mut record = CheckRecord::new(identity);
        record.count = 1;
        record.first_ms = accountant.milliseconds(check.header.time);
        record.last_ms = record.first_ms;
        record.returned(waiting.sample.result);
        record.add_sample(waiting.sample.clone());
        Some((id, record))
    }

    /// Lets go of what was kept for subjects that have ended by now, and of processes that are not
    /// followed any more. To be called with no record outstanding.
    pub(super) fn rest(&mut self) {
        // What they had forked before they were let go has told so by now, and is known as none of ours, too.
        for execution in self.let_go.drain(..) {
            self.tracker.missed_end(execution);
        }
        let tracker = &self.tracker;
        self.enrich.let_go(&|namespace| tracker.lives_in(namespace));
    }

    /// Finds out what was missed because records were lost. To be called with no record
    /// outstanding.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub(super) fn look_for_missed(&mut self, totals: &impl Totals) -> Result<(), ProbeError> {
        self.missed.look(&mut self.tracker, totals, Instant::now())
    }

    /// What was met, and what is known of it.
    pub(super) fn parts(&mut self) -> (&mut Tracker, &mut Facts) {
        (&mut self.tracker, &mut self.facts)
    }

    /// Takes over the totals of executions that ended, if they are many: keeps the kernel's maps from
    /// filling up.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub(super) fn sweep(&mut self, totals: &mut impl Totals) -> Result<(), ProbeError> {
        for unrelated in self.tracker.take_unrelated() {
            totals.stop_following(unrelated.process, unrelated.mount_namespace);
            self.let_go.push(unrelated.execution);
        }
        if self.tracker.ended() < SWEEP_AT.min(totals.max_checks() as usize / ROOM_OF_EXECUTION) {
            return Ok(());
        }
        self.sweep_all(totals)
    }

    fn sweep_all(&mut self, totals: &mut impl Totals) -> Result<(), ProbeError> {
        let ended: HashSet<u64> = self.tracker.take_ended().into_iter().collect();
        self.take_over(totals, |execution| ended.contains(&execution))?;
        for execution in ended {
            self.tracker.forget(execution);
        }
        Ok(())
    }

    /// Hands out the facts of subjects that have ended, and forgets them: what goes on for days
    /// must not grow for ever. A container that is started again begins anew.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub(super) fn retire(&mut self, totals: &mut impl Totals) -> Result<Facts, ProbeError> {
        self.sweep_all(totals)?;
        let mut facts = Facts::default();
        let ended = self.tracker.subjects().filter(|(id, subject)| {
            !subject.is_live() && !self.tracker.has_executions(*id) && !self.lookups.are_about(*id)
        });
        for (id, subject) in ended {
            if self.facts.of_subject(id).is_some() || !self.retired.contains(&id) {
                self.facts.hand_over(id, subject, &mut facts);
                self.retired.insert(id);
            }
        }
        Ok(facts)
    }

    /// Takes over everything that is left.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub(super) fn finish(&mut self, totals: &mut impl Totals) -> Result<(), ProbeError> {
        self.take_over(totals, |_image| true)?;
        add_overflow(totals, &mut self.facts)
    }

    /// The audit has ended, and with it what can be known of the command: which of its descendants still run.
    pub(super) fn end(&mut self) {
        let processes = self.tracker.live_processes(&Identity::Command);
        let Some((command, known)) = self
            .tracker
            .subjects()
            .find(|(_id, subject)| subject.identity == Identity::Command)
            .filter(|_command| !processes.is_empty())
        else {
            return;
        };
        let rest = Unseen::Rest {
            count: processes.len() as u64,
            processes: processes
                .into_iter()
                .take(Unseen::MOST_NAMED)
                .map(|(pid, comm)| Remaining {
                    comm: comm.to_string(),
                    pid,
                })
                .collect(),
        };
        self.facts.subject(command, known).add_unseen(rest);
    }

    fn take_over(
        &mut self,
        totals: &mut impl Totals,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<(), ProbeError> {
        let counted = Counted::of(totals, wanted)?;
        let mut facts = std::mem::take(&mut self.facts);
        self.accountant().account(&counted, &mut facts);
        self.facts = facts;
        counted.remove(totals, &mut self.joined);
        Ok(())
    }

    /// The facts so far, without ending anything: what was taken over, and what the kernel has
    /// `counted` since.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub(super) fn snapshot(
        &self,
        counted: &Counted,
        totals: &impl Totals,
    ) -> Result<Facts, ProbeError> {
        let mut facts = self.facts.clone();
        self.add_unanswered(&mut facts);
        self.accountant().account(counted, &mut facts);
        add_overflow(totals, &mut facts)?;
        Ok(facts)
    }

    fn accountant(&self) -> Accountant<'_> {
        Accountant {
            tracker: &self.tracker,
            joined: &self.joined,
            symbols: &self.symbols,
            started: self.started,
        }
    }

    /// The subjects, but for those that were retired.
    pub(super) fn subjects(&self) -> Vec<SubjectId> {
        self.tracker
            .subjects()
            .filter(|(id, subject)| {
                subject.is_live()
                    || self.facts.of_subject(*id).is_some()
                    || !self.retired.contains(id)
            })
            .map(|(id, _subject)| id)
            .collect()
    }

    /// The facts that were taken over.
    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Facts about these subjects, under the names that people know.
    pub(super) fn records(
        &self,
        facts: &Facts,
        subjects: &[SubjectId],
        command: &[String],
        described: &HashMap<ContainerId, Description>,
        others: &HashSet<SubjectId>,
    ) -> Vec<SubjectRecord> {
        self.naming
            .records(&self.tracker, facts, subjects, command, described, others)
    }

    /// The subjects that somebody else than the command started, see [`Contacts::others`].
    pub(super) fn others(
        &self,
        described: &HashMap<ContainerId, Description>,
    ) -> HashSet<SubjectId> {
        self.contacts.others(&self.tracker, described)
    }

    /// The containers among these, to ask their engine about.
    pub(super) fn containers(&self, subjects: &[SubjectId]) -> Vec<Asked> {
        naming::containers(&self.tracker, subjects)
    }

    pub(super) fn tracker(&self) -> &Tracker {
        &self.tracker
    }
}

fn execution_of<'a>(tracker: &'a Tracker, waiting: &'a PendingCheck) -> Option<&'a Execution> {
    tracker
        .execution(waiting.check.key.execution)
        .or(waiting.execution.as_ref())
}

fn owner_of(tracker: &Tracker, waiting: &PendingCheck) -> Option<Owner> {
    let execution = execution_of(tracker, waiting)?;
    Some(execution.owner_of_check(is_execve(&waiting.check.key)))
}
