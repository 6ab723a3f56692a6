//! Which execution belongs to which subject.

use std::{collections::HashMap, sync::Arc};

use capaudit_common::{
    event::{Exec, Exit, Fork},
    scope::execution,
};
use capaudit_core::capability::CapSet;

use super::{
    attached::{Attached, Running},
    execution::{Execution, Unrelated},
    identity::{Identity, SubjectId},
    owner::{Interest, Owner},
    subjects::{Start, Subject, Subjects},
};
use crate::proc::{ContainerId, Existing, until_nul};

/// Follows executions and subjects through the kernel's records.
#[derive(Debug)]
pub struct Tracker {
    executions: HashMap<u64, Execution>,
    subjects: Subjects,
    existing: Existing,
    interest: Interest,
    ended: Vec<u64>,
    unrelated: Vec<Unrelated>,
}

impl Tracker {
    /// A tracker that takes containers in `existing` for none of ours.
    pub fn new(existing: Existing) -> Self {
        Self {
            executions: HashMap::new(),
            subjects: Subjects::default(),
            existing,
            interest: Interest::New,
            ended: Vec::new(),
            unrelated: Vec::new(),
        }
    }

    /// Makes whatever was met so far, and what is in `existing`, none of ours.
    pub fn disown(&mut self, existing: Existing) {
        for execution in self.executions.values_mut() {
            execution.owner = Owner::Unrelated;
        }
        self.subjects = Subjects::default();
        self.existing = existing;
    }

    /// A process that runs already is followed as `execution` from now on.
    pub fn attach(&mut self, execution: u64, running: &Running) {
        let id = self.subjects.attach(running);
        self.subjects.begin(id);
        self.executions.insert(
            execution,
            Execution {
                owner: Owner::Subject(id),
                setup: false,
                exe: running.exe.as_str().into(),
                comm: running.comm.as_str().into(),
                tgid: running.pid,
                mount_namespace: running.mount_namespace,
                executed_in: None,
                from: 0,
                over: false,
                became: None,
            },
        );
    }

    /// From now on only what was attached to is ours.
    pub fn expect(&mut self, attached: &Attached) {
        self.interest.attach(attached);
    }

    /// A process was forked; `parent` 0 means by capaudit itself: the command.
    pub fn fork(&mut self, fork: &Fork) {
        let (owner, exe) = if fork.parent == 0 {
            let owner = self
                .subjects
                .find_or_begin(Identity::Command, start_of_fork(fork));
            (Owner::Subject(owner), "".into())
        } else {
            self.executions
                .get(&fork.parent)
                // A parent's records come before its children's.
                .map_or((Owner::Lost, "".into()), |parent| {
                    (parent.owner, Arc::clone(&parent.exe))
                })
        };
        self.enter(fork, owner, exe, fork.parent);
    }

    /// A process was met in a namespace of its own.
    pub fn adopt(&mut self, fork: &Fork) {
        self.enter(fork, Owner::Undecided, "".into(), 0);
    }

    /// Whether everything on the machine is ours.
    pub fn wants_all(&self) -> bool {
        self.interest == Interest::All
    }

    /// A process was met that is `place`'s, if everything is ours.
    pub fn adopt_into(&mut self, fork: &Fork, place: Identity) {
        let owner = self
            .subjects
            .find_or_begin_on_machine(place, start_of_fork(fork));
        self.enter(fork, Owner::Subject(owner), "".into(), 0);
    }

    /// A process of `place` runs another executable, if everything is ours.
    pub fn exec_in(&mut self, exec: &Exec, place: Identity, program: Arc<str>) {
        let is_container = matches!(place, Identity::Container(_));
        let id = self
            .subjects
            .find_or_begin_on_machine(place, start_of_exec(exec));
        if let Some(previous) = self.executions.get_mut(&exec.previous)
            && is_container
            && previous.owner != Owner::Subject(id)
        {
            previous.became = Some(id);
        }
        self.executed(exec, Owner::Subject(id));
        if let Some(execution) = self.executions.get_mut(&exec.header.execution) {
            execution.exe = program;
        }
    }

    /// Whether what is executed is still a runtime's, although its cgroup is a container's by now: runtimes put what they
    /// executed into the cgroup, have it execute itself once more, and only then enter the mount namespace in which the
    /// container's own program is executed.
    pub fn is_setting_up(&self, exec: &Exec) -> bool {
        self.executions
            .get(&exec.previous)
            .filter(|previous| match previous.owner {
                Owner::Subject(id) => self.get(id).identity.container().is_none(),
                Owner::Undecided | Owner::Unrelated | Owner::Lost => true,
            })
            .is_some_and(|previous| previous.executed_in == Some(exec.namespaces.mnt))
    }

    /// A process runs another executable. Decides whose it is, and with it, whose those were that led to it. `entered` says
    /// of one in a container whether it came from outside.
    pub fn exec(&mut self, exec: &Exec, entered: impl Fn(&ContainerId) -> bool) {
        let known = match self.executions.get(&exec.previous) {
            Some(previous) => previous.owner,
            None if exec.previous == 0 => Owner::Undecided,
            None => Owner::Lost,
        };
        let owner = self.decide(exec, known, entered);
        if owner == Owner::Unrelated {
            self.unrelated.push(Unrelated {
                execution: exec.header.execution,
                process: exec.header.tgid,
                mount_namespace: exec.namespaces.mnt,
            });
        }
        if known == Owner::Undecided {
            self.settle(exec.previous, owner);
        }
        self.executed(exec, owner);
    }

    /// A process of `owner` runs another executable.
    fn executed(&mut self, exec: &Exec, owner: Owner) {
        let setting_up = self
            .executions
            .get(&exec.previous)
            .is_some_and(|previous| previous.setup);
        if let Owner::Subject(id) = owner {
            let subject = self.subjects.get_mut(id);
            if setting_up && subject.identity == Identity::Command {
                // Our own child: what it was forked with is ours, what counts is what the command got.
                subject.granted = CapSet::from_bits(exec.sets.bounding);
                subject.uid = exec.ids.uid;
            }
            self.subjects.begin(id);
        }
        self.end(exec.previous);
        self.executions.insert(
            exec.header.execution,
            Execution {
                owner,
                setup: false,
                exe: text(&exec.path),
                comm: text(&exec.comm),
                tgid: exec.header.tgid,
                mount_namespace: exec.namespaces.mnt,
                executed_in: Some(exec.namespaces.mnt),
                from: exec.previous,
                over: false,
                became: None,
            },
        );
    }

    /// Takes the record of a process that ended: its execution is over.
    pub fn exit(&mut self, exit: &Exit) {
        self.end(exit.header.execution);
    }

    fn enter(&mut self, fork: &Fork, owner: Owner, exe: Arc<str>, from: u64) {
        if let Owner::Subject(id) = owner {
            self.subjects.begin(id);
        }
        self.executions.insert(
            fork.header.execution,
            Execution {
                owner,
                setup: fork.header.flags & execution::SETUP != 0,
                exe,
                comm: text(&fork.comm),
                tgid: fork.header.tgid,
                mount_namespace: fork.namespaces.mnt,
                executed_in: self
                    .executions
                    .get(&from)
                    .and_then(|parent| parent.executed_in),
                from,
                over: false,
                became: None,
            },
        );
    }

    /// Whose an execution is that was just executed, by its cgroup, by what it came from, or by its pid namespace.
    fn decide(
        &mut self,
        exec: &Exec,
        known: Owner,
        entered: impl Fn(&ContainerId) -> bool,
    ) -> Owner {
        let names = exec.cgroups.each_ref().map(|name| until_nul(name));
        if let Some(container) = ContainerId::from_cgroups(&names)
            && !(known != Owner::Undecided && self.is_setting_up(exec))
        {
            let identity = match self.identity_in(container, exec, known, entered) {
                Some(identity) => identity,
                None => return Owner::Unrelated,
            };
            let id = self.subjects.find_or_begin(identity, start_of_exec(exec));
            self.subjects.get_mut(id).engine = ContainerId::engine(&names);
            self.subjects.enter(id, known, exec.header.time);
            return Owner::Subject(id);
        }
        match known {
            Owner::Undecided
                if self.interest != Interest::New
                    || self.existing.is_pid_namespace(exec.namespaces.pid) =>
            {
                Owner::Unrelated
            }
            Owner::Undecided => {
                let identity = Identity::Namespace(exec.namespaces.pid);
                let id = self.subjects.find_or_begin(identity, start_of_exec(exec));
                self.subjects.enter(id, known, exec.header.time);
                Owner::Subject(id)
            }
            decided => decided,
        }
    }

    /// What a process is that executes something in a container; `None` if that is none of ours.
    fn identity_in(
        &self,
        container: ContainerId,
        exec: &Exec,
        known: Owner,
        entered: impl Fn(&ContainerId) -> bool,
    ) -> Option<Identity> {
        let whole = Identity::Container(container.clone());
        if self.is_wanted(&whole, exec.namespaces.pid) {
            return Some(whole);
        }
        // What a container that was there before does by itself is none of ours; what is done in it from outside may be the
        // command's doing.
        let part = Identity::ExecutedIn(container.clone());
        let is_of_interest = match known {
            Owner::Subject(id) if self.get(id).identity == part => true,
            Owner::Unrelated => false,
            _ => self.interest == Interest::New && entered(&container),
        };
        is_of_interest.then_some(part)
    }

    fn is_wanted(&self, identity: &Identity, pid_namespace: u32) -> bool {
        let attached = self
            .subjects
            .of(identity)
            .is_some_and(|subject| subject.attached);
        let is_new = match identity {
            Identity::Container(container) => !self.existing.holds(container, pid_namespace),
            _ => true,
        };
        attached || (is_new && self.interest.is_new_of_interest())
    }

    /// Gives `execution`, and the undecided ones it came from, to `owner`.
    fn settle(&mut self, execution: u64, owner: Owner) {
        let mut next = execution;
        while let Some(execution) = self.executions.get_mut(&next) {
            if execution.owner != Owner::Undecided {
                break;
            }
            execution.owner = owner;
            if let (Owner::Subject(id), false) = (owner, execution.over) {
                self.subjects.begin(id);
            }
            next = execution.from;
        }
    }

    fn end(&mut self, execution: u64) {
        if let Some(known) = self.executions.get_mut(&execution)
            && !known.over
        {
            known.over = true;
            if let Owner::Subject(id) = known.owner {
                self.subjects.end(id);
            }
            self.ended.push(execution);
        }
    }

    /// An execution, if its record was not lost.
    pub fn execution(&self, execution: u64) -> Option<&Execution> {
        self.executions.get(&execution)
    }

    /// Whose a process is that lives; `None` if it is not known.
    pub fn owner_of_process(&self, tgid: u32) -> Option<Owner> {
        self.executions
            .values()
            .find(|execution| execution.tgid == tgid && !execution.over)
            .map(|execution| execution.owner)
    }

    /// The subject with this number, which this tracker gave out.
    pub fn get(&self, id: SubjectId) -> &Subject {
        self.subjects.get(id)
    }

    /// All subjects, in the order in which they appeared.
    pub fn subjects(&self) -> impl Iterator<Item = (SubjectId, &Subject)> {
        self.subjects.iter()
    }

    /// Inode number of the mount namespace that an execution was met in.
    pub fn mount_namespace_of(&self, execution: u64) -> Option<u32> {
        self.executions
            .get(&execution)
            .map(|execution| execution.mount_namespace)
    }

    /// Whether a followed process lives in this mount namespace.
    pub fn lives_in(&self, mount_namespace: u32) -> bool {
        self.executions
            .values()
            .any(|execution| !execution.over && execution.mount_namespace == mount_namespace)
    }

    /// The processes of a subject that have not ended, as far as is known: their pids and command names.
    pub fn live_processes(&self, identity: &Identity) -> Vec<(u32, Arc<str>)> {
        let mut processes: Vec<(u32, Arc<str>)> = self
            .executions
            .values()
            .filter(|known| !known.over)
            .filter(|known| {
                matches!(known.owner, Owner::Subject(id) if self.get(id).identity == *identity)
            })
            .map(|known| (known.tgid, Arc::clone(&known.comm)))
            .collect();
        processes.sort_unstable();
        processes
    }

    /// Executions that have not ended, as far as is known.
    pub fn live_executions(&self) -> impl Iterator<Item = u64> {
        self.executions
            .iter()
            .filter(|(_execution, known)| !known.over)
            .map(|(execution, _known)| *execution)
    }

    /// An execution has ended, though there is no record of that; or it was never known.
    pub fn missed_end(&mut self, execution: u64) {
        if self.executions.contains_key(&execution) {
            self.end(execution);
        } else {
            self.ended.push(execution);
        }
    }

    /// Number of ended executions whose totals can be taken over.
    pub fn ended(&self) -> usize {
        self.ended.len()
    }

    /// Takes the list of ended executions. They stay known until [`Self::forget`].
    pub fn take_ended(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.ended)
    }

    /// Takes the processes that turned out to be none of ours: the kernel need not follow them any further.
    pub fn take_unrelated(&mut self) -> Vec<Unrelated> {
        std::mem::take(&mut self.unrelated)
    }

    /// Whether an execution of this subject is not forgotten yet.
    pub fn has_executions(&self, id: SubjectId) -> bool {
        self.executions
            .values()
            .any(|execution| execution.owner == Owner::Subject(id))
    }

    /// Whether anything that is observed lives.
    pub fn is_any_live(&self) -> bool {
        self.subjects.iter().any(|(_id, subject)| subject.is_live())
    }

    /// Forgets an execution whose totals were taken over.
    pub fn forget(&mut self, execution: u64) {
        self.executions.remove(&execution);
    }

    /// Forgets what has ended and was handed out: what goes on for days must not grow for ever.
    pub fn forget_subject(&mut self, id: SubjectId) {
        if !self.has_executions(id) {
            self.subjects.forget(id);
        }
    }

    /// The subjects that lived since the last [`Self::next_window`], each with whether it began since then.
    pub fn lived(&self) -> impl Iterator<Item = (SubjectId, bool)> {
        self.subjects.of_window()
    }

    /// What lives from now on is asked about anew.
    pub fn next_window(&mut self) {
        self.subjects.next_window();
    }

    /// Whether a subject has living processes.
    pub fn is_live(&self, identity: &Identity) -> bool {
        self.subjects.of(identity).is_some_and(Subject::is_live)
    }
}

fn start_of_fork(fork: &Fork) -> Start<'_> {
    Start {
        namespaces: &fork.namespaces,
        bounding: fork.sets.bounding,
        uid: fork.ids.uid,
    }
}

fn start_of_exec(exec: &Exec) -> Start<'_> {
    Start {
        namespaces: &exec.namespaces,
        bounding: exec.sets.bounding,
        uid: exec.ids.uid,
    }
}

/// Text out of a NUL-terminated field. Not for terminals: it may hold anything.
fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(until_nul(bytes)).into()
}
