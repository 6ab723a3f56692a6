//! Who did it: which program image belongs to which subject of the audit.
//!
//! A subject is the command that capaudit runs, with all its descendants, or a container that starts
//! meanwhile. [`Tracker`] learns it from the kernel's fork, exec and exit records alone; what people call a
//! container (name, image, service) comes from its [`engine`] later.

pub mod attached;
pub mod engine;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use capaudit_common::{
    event::{Exec, Exit, Fork, Namespaces},
    scope::image,
};
use capaudit_core::{capability::CapSet, ledger::Engine};

use crate::{
    proc::{ContainerId, Existing, until_nul},
    subject::attached::{Attached, Running},
};

/// Index of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId(usize);

/// What a subject is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The audited command and its descendants.
    Command,
    /// A container of a known engine.
    Container(ContainerId),
    /// A process tree in a pid namespace of its own, of no engine that we recognise.
    Namespace(u32),
    /// A process that ran already, by its pid, and its descendants.
    Process(u32),
    /// What ran already in a cgroup.
    Cgroup(PathBuf),
    /// A systemd service, where the whole machine is observed.
    Unit(Arc<str>),
    /// All runs of a program outside containers and services, by its path, where the whole machine is observed.
    Program(Arc<str>),
}

/// A user namespace: its inode number and its depth below the initial one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserNamespace {
    /// Inode number.
    pub inode: u32,
    /// 0 for the initial user namespace.
    pub level: u32,
}

/// What the kernel told of a subject.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is.
    pub identity: Identity,
    /// The user namespace it was started in: the one its capabilities count in.
    pub user_namespace: UserNamespace,
    /// Bounding set it was started with.
    pub granted: CapSet,
    /// Real user id it was started with, in the initial user namespace.
    pub uid: u32,
    /// Whether it was observed from its very start, or from that of a later run.
    pub seen_from_start: bool,
    /// Whether it ran already and was attached to.
    attached: bool,
    /// What runs it, if it is a container and that can be told.
    pub engine: Option<Engine>,
    /// Command name of the first of its processes, if it ran already.
    pub comm: String,
    /// Its processes that live.
    live: usize,
}

/// One run of one executable.
#[derive(Clone, Debug)]
pub struct Image {
    /// Whose it is.
    pub owner: Owner,
    /// Sets the audited program up, but is not it.
    pub setup: bool,
    /// Path of the executable as it was given to execve; empty if that was before we looked.
    pub exe: Arc<str>,
    /// Command name at the start.
    pub comm: Arc<str>,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Inode number of its mount namespace.
    mount_namespace: u32,
    /// The image it came from, 0 if unknown.
    from: u64,
    /// It is over: the process has ended, or executes something else.
    over: bool,
    /// The container that it became part of by its last execve. A runtime's checks in that are the container's.
    became: Option<SubjectId>,
}

/// Whose an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This subject's.
    Subject(SubjectId),
    /// Not known yet: met in a namespace of its own, and has not executed anything since.
    Undecided,
    /// None of ours: another service with private mounts, a container that was there before.
    Unrelated,
    /// Nobody can tell any more: the record of what it came from was lost.
    Lost,
}

/// Follows images and subjects through the kernel's records.
#[derive(Debug)]
pub struct Tracker {
    images: HashMap<u64, Image>,
    subjects: Vec<Subject>,
    by_identity: HashMap<Identity, SubjectId>,
    existing: Existing,
    wanted: Wanted,
    ended: Vec<u64>,
    unrelated: Vec<Unrelated>,
}

/// A process that turned out to be none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unrelated {
    /// What it runs.
    pub image: u64,
    /// Process id in the initial pid namespace.
    pub process: u32,
    /// Inode number of its mount namespace.
    pub mount_namespace: u32,
}

/// Subjects from which on further programs are not told apart.
const MAX_PLACES: usize = 4096;
/// What they are then.
pub const OTHER_PROGRAMS: &str = "other programs";

/// Which containers are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Those that start.
    New,
    /// All of them, and everything else on the machine.
    All,
    /// Those that were attached to, and if it says so, those that start, as they may turn out to be of a service
    /// that was attached to.
    Attached { and_new: bool },
}

impl Image {
    /// Whose a check is: what is asked in an execve may be another's than the rest.
    pub fn owner_of_check(&self, in_execve: bool) -> Owner {
        match self.became {
            Some(id) if in_execve => Owner::Subject(id),
            _ => self.owner,
        }
    }
}

impl Subject {
    /// Whether any of its processes lives.
    pub fn is_live(&self) -> bool {
        self.live > 0
    }
}

impl Tracker {
    /// A tracker that takes containers in `existing` for none of ours.
    pub fn new(existing: Existing) -> Self {
        Self {
            images: HashMap::new(),
            subjects: Vec::new(),
            by_identity: HashMap::new(),
            existing,
            wanted: Wanted::New,
            ended: Vec::new(),
            unrelated: Vec::new(),
        }
    }

    /// Makes whatever was met so far, and what is in `existing`, none of ours.
    pub fn disown(&mut self, existing: Existing) {
        for image in self.images.values_mut() {
            image.owner = Owner::Unrelated;
        }
        self.subjects.clear();
        self.by_identity.clear();
        self.existing = existing;
    }

    /// A process that runs already is followed as `image` from now on.
    pub fn attach(&mut self, image: u64, running: &Running) {
        let id = match self.by_identity.get(&running.identity) {
            Some(id) => *id,
            None => self.new_subject(Subject {
                identity: running.identity.clone(),
                user_namespace: running.user_namespace,
                granted: running.bounding,
                uid: running.uid,
                seen_from_start: false,
                attached: true,
                engine: running.engine,
                comm: running.comm.clone(),
                live: 0,
            }),
        };
        self.subjects[id.0].live += 1;
        self.images.insert(
            image,
            Image {
                owner: Owner::Subject(id),
                setup: false,
                exe: running.exe.as_str().into(),
                comm: running.comm.as_str().into(),
                tgid: running.pid,
                mount_namespace: running.mount_namespace,
                from: 0,
                over: false,
                became: None,
            },
        );
    }

    /// From now on only what was attached to is ours.
    pub fn expect(&mut self, attached: &Attached) {
        if *attached == Attached::Machine {
            self.wanted = Wanted::All;
            return;
        }
        if *attached == Attached::EveryContainer {
            return;
        }
        let service = matches!(attached, Attached::Service(..));
        self.wanted = match self.wanted {
            Wanted::Attached { and_new } => Wanted::Attached {
                and_new: and_new || service,
            },
            Wanted::New => Wanted::Attached { and_new: service },
            Wanted::All => Wanted::All,
        };
    }

    /// A process was forked; `parent` 0 means by capaudit itself: the command.
    pub fn fork(&mut self, fork: &Fork) {
        let (owner, exe) = if fork.parent == 0 {
            let owner = self.subject(
                Identity::Command,
                &fork.namespaces,
                fork.sets.bounding,
                fork.ids.uid,
            );
            (Owner::Subject(owner), "".into())
        } else {
            self.images
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
        self.wanted == Wanted::All
    }

    /// A process was met that is `place`'s, if everything is ours.
    pub fn adopt_into(&mut self, fork: &Fork, place: Identity) {
        let owner = self.place(place, &fork.namespaces, fork.sets.bounding, fork.ids.uid);
        self.enter(fork, Owner::Subject(owner), "".into(), 0);
    }

    /// A process of `place` runs another executable, if everything is ours.
    pub fn exec_in(&mut self, exec: &Exec, place: Identity, program: Arc<str>) {
        let is_container = matches!(place, Identity::Container(_));
        let id = self.place(place, &exec.namespaces, exec.sets.bounding, exec.ids.uid);
        if let Some(previous) = self.images.get_mut(&exec.previous)
            && is_container
            && previous.owner != Owner::Subject(id)
        {
            previous.became = Some(id);
        }
        self.executed(exec, Owner::Subject(id));
        if let Some(image) = self.images.get_mut(&exec.header.image) {
            image.exe = program;
        }
    }

    /// The subject of a place. Services and programs may have run before, unseen.
    fn place(
        &mut self,
        place: Identity,
        namespaces: &Namespaces,
        bounding: u64,
        uid: u32,
    ) -> SubjectId {
        let place = match place {
            Identity::Program(_)
                if self.subjects.len() >= MAX_PLACES && !self.by_identity.contains_key(&place) =>
            {
                Identity::Program(OTHER_PROGRAMS.into())
            }
            place => place,
        };
        let is_container = matches!(place, Identity::Container(_));
        let id = self.subject(place, namespaces, bounding, uid);
        self.subjects[id.0].seen_from_start &= is_container;
        id
    }

    /// A process runs another executable. Decides whose it is, and with it, whose those were that led to it.
    pub fn exec(&mut self, exec: &Exec) {
        let known = match self.images.get(&exec.previous) {
            Some(previous) => previous.owner,
            None if exec.previous == 0 => Owner::Undecided,
            None => Owner::Lost,
        };
        let owner = self.decide(exec, known);
        if owner == Owner::Unrelated {
            self.unrelated.push(Unrelated {
                image: exec.header.image,
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
            .images
            .get(&exec.previous)
            .is_some_and(|previous| previous.setup);
        if let Owner::Subject(id) = owner {
            let subject = &mut self.subjects[id.0];
            if setting_up && subject.identity == Identity::Command {
                // Our own child: what it was forked with is ours, what counts is what the command got.
                subject.granted = CapSet::from_bits(exec.sets.bounding);
                subject.uid = exec.ids.uid;
            }
            subject.live += 1;
        }
        self.end(exec.previous);
        self.images.insert(
            exec.header.image,
            Image {
                owner,
                setup: false,
                exe: text(&exec.path),
                comm: text(&exec.comm),
                tgid: exec.header.tgid,
                mount_namespace: exec.namespaces.mnt,
                from: exec.previous,
                over: false,
                became: None,
            },
        );
    }

    /// A process ended.
    pub fn exit(&mut self, exit: &Exit) {
        self.end(exit.header.image);
    }

    fn enter(&mut self, fork: &Fork, owner: Owner, exe: Arc<str>, from: u64) {
        if let Owner::Subject(id) = owner {
            self.subjects[id.0].live += 1;
        }
        self.images.insert(
            fork.header.image,
            Image {
                owner,
                setup: fork.header.flags & image::SETUP != 0,
                exe,
                comm: text(&fork.comm),
                tgid: fork.header.tgid,
                mount_namespace: fork.namespaces.mnt,
                from,
                over: false,
                became: None,
            },
        );
    }

    /// Whose an image is that was just executed, by its cgroup, by what it came from, or by its pid namespace.
    fn decide(&mut self, exec: &Exec, known: Owner) -> Owner {
        let names = exec.cgroups.each_ref().map(|name| until_nul(name));
        if let Some(container) = ContainerId::from_cgroups(&names) {
            let identity = Identity::Container(container);
            if !self.is_wanted(&identity, exec.namespaces.pid) {
                return Owner::Unrelated;
            }
            let id = self.subject(identity, &exec.namespaces, exec.sets.bounding, exec.ids.uid);
            self.subjects[id.0].engine = ContainerId::engine(&names);
            return Owner::Subject(id);
        }
        match known {
            Owner::Undecided
                if self.wanted != Wanted::New
                    || self.existing.is_pid_namespace(exec.namespaces.pid) =>
            {
                Owner::Unrelated
            }
            Owner::Undecided => Owner::Subject(self.subject(
                Identity::Namespace(exec.namespaces.pid),
                &exec.namespaces,
                exec.sets.bounding,
                exec.ids.uid,
            )),
            decided => decided,
        }
    }

    fn is_wanted(&self, identity: &Identity, pid_namespace: u32) -> bool {
        let attached = self
            .by_identity
            .get(identity)
            .is_some_and(|id| self.subjects[id.0].attached);
        let is_new = match identity {
            Identity::Container(container) => !self.existing.holds(container, pid_namespace),
            _ => true,
        };
        attached || (is_new && self.wanted != Wanted::Attached { and_new: false })
    }

    /// Gives `image`, and the undecided ones it came from, to `owner`.
    fn settle(&mut self, image: u64, owner: Owner) {
        let mut next = image;
        while let Some(image) = self.images.get_mut(&next) {
            if image.owner != Owner::Undecided {
                break;
            }
            image.owner = owner;
            if let (Owner::Subject(id), false) = (owner, image.over) {
                self.subjects[id.0].live += 1;
            }
            next = image.from;
        }
    }

    fn subject(
        &mut self,
        identity: Identity,
        namespaces: &Namespaces,
        bounding: u64,
        uid: u32,
    ) -> SubjectId {
        if let Some(id) = self.by_identity.get(&identity) {
            // Inode numbers of namespaces are reused, container ids are not.
            let ended = self.subjects[id.0].live == 0;
            self.subjects[id.0].seen_from_start |= ended;
            if !(ended && matches!(identity, Identity::Namespace(_))) {
                return *id;
            }
        }
        self.new_subject(Subject {
            identity,
            user_namespace: UserNamespace {
                inode: namespaces.user,
                level: namespaces.user_level,
            },
            granted: CapSet::from_bits(bounding),
            uid,
            seen_from_start: true,
            attached: false,
            engine: None,
            comm: String::new(),
            live: 0,
        })
    }

    fn new_subject(&mut self, subject: Subject) -> SubjectId {
        let id = SubjectId(self.subjects.len());
        self.by_identity.insert(subject.identity.clone(), id);
        self.subjects.push(subject);
        id
    }

    fn end(&mut self, image: u64) {
        if let Some(known) = self.images.get_mut(&image)
            && !known.over
        {
            known.over = true;
            if let Owner::Subject(id) = known.owner {
                let live = &mut self.subjects[id.0].live;
                *live = live.saturating_sub(1);
            }
            self.ended.push(image);
        }
    }

    /// An image, if its record was not lost.
    pub fn image(&self, image: u64) -> Option<&Image> {
        self.images.get(&image)
    }

    /// A subject.
    pub fn get(&self, id: SubjectId) -> &Subject {
        &self.subjects[id.0]
    }

    /// All subjects, in the order in which they appeared.
    pub fn subjects(&self) -> impl Iterator<Item = (SubjectId, &Subject)> {
        self.subjects
            .iter()
            .enumerate()
            .map(|(index, subject)| (SubjectId(index), subject))
    }

    /// Inode number of the mount namespace that an image was met in.
    pub fn mount_namespace_of(&self, image: u64) -> Option<u32> {
        self.images.get(&image).map(|image| image.mount_namespace)
    }

    /// Whether a followed process lives in this mount namespace.
    pub fn lives_in(&self, mount_namespace: u32) -> bool {
        self.images
            .values()
            .any(|image| !image.over && image.mount_namespace == mount_namespace)
    }

    /// Images that have not ended, as far as is known.
    pub fn live_images(&self) -> impl Iterator<Item = u64> {
        self.images
            .iter()
            .filter(|(_image, known)| !known.over)
            .map(|(image, _known)| *image)
    }

    /// An image has ended, though there is no record of that; or it was never known.
    pub fn missed_end(&mut self, image: u64) {
        if self.images.contains_key(&image) {
            self.end(image);
        } else {
            self.ended.push(image);
        }
    }

    /// Number of ended images whose totals can be taken over.
    pub fn ended(&self) -> usize {
        self.ended.len()
    }

    /// Takes the list of ended images. They stay known until [`Self::forget`].
    pub fn take_ended(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.ended)
    }

    /// Takes the processes that turned out to be none of ours: the kernel need not follow them any further.
    pub fn take_unrelated(&mut self) -> Vec<Unrelated> {
        std::mem::take(&mut self.unrelated)
    }

    /// Whether an image of this subject is not forgotten yet.
    pub fn has_images(&self, id: SubjectId) -> bool {
        self.images
            .values()
            .any(|image| image.owner == Owner::Subject(id))
    }

    /// Whether anything that is observed lives.
    pub fn is_any_live(&self) -> bool {
        self.subjects.iter().any(Subject::is_live)
    }

    /// Forgets an image whose totals were taken over.
    pub fn forget(&mut self, image: u64) {
        self.images.remove(&image);
    }

    /// Whether a subject has living processes.
    pub fn is_live(&self, identity: &Identity) -> bool {
        self.by_identity
            .get(identity)
            .is_some_and(|id| self.subjects[id.0].is_live())
    }
}

/// Text out of a NUL-terminated field. Not for terminals: it may hold anything.
fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(until_nul(bytes)).into()
}

#[cfg(test)]
mod tests;
