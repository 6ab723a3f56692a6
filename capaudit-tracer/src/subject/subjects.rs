//! The subjects that were met, and who of theirs lives.

use std::{collections::HashMap, sync::LazyLock};

use capaudit_common::event::Namespaces;
use capaudit_core::{capability::CapSet, ledger::Engine};

use super::{
    attached::Running,
    engine::Asked,
    identity::{Identity, OTHER_PROGRAMS, SubjectId, UserNamespace},
    owner::Owner,
};

/// Subjects from which on further programs are not told apart.
const MAX_PROGRAMS: usize = 4096;

/// What the kernel told of a subject.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is called by: command, container, service or program.
    pub identity: Identity,
    /// The user namespace it was started in: the one its capabilities count in.
    pub user_namespace: UserNamespace,
    /// Bounding set it was started with.
    pub granted: CapSet,
    /// Real user id it was started with, in the initial user namespace.
    pub uid: u32,
    /// Whether it was observed from its very start. Another start does not make up for that: a container keeps its files.
    pub seen_from_start: bool,
    /// Whether it ran already and was attached to.
    pub(super) attached: bool,
    /// What runs it, if it is a container and that can be told.
    pub engine: Option<Engine>,
    /// Command name of the first of its processes, if it ran already.
    pub comm: String,
    /// How processes got into it.
    pub entries: Entries,
    /// Its processes that live.
    live: usize,
    /// The window that it began to live in, and the one that its last process ended in, by [`Subjects::next_window`].
    met: u64,
    ended: u64,
}

/// What a subject is known as that was forgotten: for what still comes of it.
static FORGOTTEN: LazyLock<Subject> = LazyLock::new(|| Subject {
    identity: Identity::Program("".into()),
    user_namespace: UserNamespace { inode: 0, level: 0 },
    granted: CapSet::EMPTY,
    uid: 0,
    seen_from_start: true,
    attached: false,
    engine: None,
    comm: String::new(),
    entries: Entries::default(),
    live: 0,
    met: 0,
    ended: 0,
});

/// How processes got into a subject that were none of its own before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// The subjects that they were of; none for those that an engine's daemon started.
    pub from: Vec<SubjectId>,
    /// Records were lost: they may have been anybody's.
    pub lost: bool,
    /// When the last of them did, in nanoseconds of `CLOCK_MONOTONIC`.
    pub last: u64,
}

impl Subject {
    /// What an engine is asked for if it is a container.
    pub fn asked(&self) -> Option<Asked> {
        Some(Asked {
            id: self.identity.container()?.clone(),
            user_namespace_level: self.user_namespace.level,
            uid: self.uid,
        })
    }

    /// Whether any of its processes lives.
    pub fn is_live(&self) -> bool {
        self.live > 0
    }
}

/// What a process that begins a subject was started with.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) namespaces: &'a Namespaces,
    pub(super) bounding: u64,
    pub(super) uid: u32,
}

/// All subjects, in the order in which they appeared. Of one that was forgotten only its number stays.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    all: Vec<Option<Box<Subject>>>,
    by_identity: HashMap<Identity, SubjectId>,
    /// Number of the window that goes on.
    window: u64,
}

impl Subjects {
    pub(super) fn get(&self, id: SubjectId) -> &Subject {
        self.all[id.0].as_deref().unwrap_or(&FORGOTTEN)
    }

    /// The same, to change it; one that was forgotten is there again.
    pub(super) fn get_mut(&mut self, id: SubjectId) -> &mut Subject {
        self.all[id.0].get_or_insert_with(|| Box::new(FORGOTTEN.clone()))
    }

    /// Forgets a subject that has ended and was observed from its start. If the same begins again, it is another one. What
    /// ran before stays: nothing makes up for its unseen start.
    pub(super) fn forget(&mut self, id: SubjectId) {
        let slot = &mut self.all[id.0];
        if let Some(subject) = slot.as_deref()
            && !subject.is_live()
            && subject.seen_from_start
        {
            if self.by_identity.get(&subject.identity) == Some(&id) {
                self.by_identity.remove(&subject.identity);
            }
            *slot = None;
        }
    }

    /// The subject that is this, or was last.
    pub(super) fn of(&self, identity: &Identity) -> Option<&Subject> {
        self.by_identity.get(identity).map(|id| self.get(*id))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SubjectId, &Subject)> {
        self.all
            .iter()
            .enumerate()
            .filter_map(|(index, subject)| Some((SubjectId(index), subject.as_deref()?)))
    }

    /// Another process of a subject lives.
    pub(super) fn begin(&mut self, id: SubjectId) {
        let window = self.window;
        let subject = self.get_mut(id);
        if !subject.is_live() {
            subject.met = window;
        }
        subject.live += 1;
    }

    /// A process that was `before`'s becomes one of a subject.
    pub(super) fn enter(&mut self, id: SubjectId, before: Owner, time: u64) {
        let entries = &mut self.get_mut(id).entries;
        match before {
            Owner::Subject(before) if before == id => return,
            Owner::Subject(before) if !entries.from.contains(&before) => entries.from.push(before),
            Owner::Lost => entries.lost = true,
            Owner::Subject(_) | Owner::Undecided | Owner::Unrelated => {}
        }
        entries.last = entries.last.max(time);
    }

    /// A process of a subject has ended.
    pub(super) fn end(&mut self, id: SubjectId) {
        let window = self.window;
        let subject = self.get_mut(id);
        subject.live = subject.live.saturating_sub(1);
        subject.ended = window;
    }

    /// The subjects that lived in the window that goes on, each with whether it began in it.
    pub(super) fn of_window(&self) -> impl Iterator<Item = (SubjectId, bool)> {
        self.iter()
            .filter(|(_id, subject)| subject.is_live() || subject.ended == self.window)
            .map(|(id, subject)| (id, subject.met == self.window))
    }

    /// Another window begins.
    pub(super) fn next_window(&mut self) {
        self.window += 1;
    }

    /// The subject that a process belongs to which runs already.
    pub(super) fn attach(&mut self, running: &Running) -> SubjectId {
        match self.by_identity.get(&running.identity) {
            Some(id) => *id,
            None => self.add(Subject {
                identity: running.identity.clone(),
                user_namespace: running.user_namespace,
                granted: running.bounding,
                uid: running.uid,
                seen_from_start: false,
                attached: true,
                engine: running.engine,
                comm: running.comm.clone(),
                entries: Entries::default(),
                live: 0,
                met: self.window,
                ended: self.window,
            }),
        }
    }

    /// The subject that is this; if it is new, it begins with such a process.
    pub(super) fn find_or_begin(&mut self, identity: Identity, start: Start<'_>) -> SubjectId {
        if let Some(id) = self.by_identity.get(&identity).copied() {
            // Inode numbers of namespaces are reused, container ids are not.
            if self.get(id).is_live() || !matches!(identity, Identity::Namespace(_)) {
                return id;
            }
        }
        let seen_from_start = !matches!(identity, Identity::ExecutedIn(_));
        self.add(Subject {
            identity,
            user_namespace: UserNamespace {
                inode: start.namespaces.user,
                level: start.namespaces.user_level,
            },
            granted: CapSet::from_bits(start.bounding),
            uid: start.uid,
            seen_from_start,
            attached: false,
            engine: None,
            comm: String::new(),
            entries: Entries::default(),
            live: 0,
            met: self.window,
            ended: self.window,
        })
    }

    /// As [`Self::find_or_begin`], where the whole machine is observed. Services and programs may have run before, unseen.
    pub(super) fn find_or_begin_on_machine(
        &mut self,
        identity: Identity,
        start: Start<'_>,
    ) -> SubjectId {
        let is_one_too_many =
            self.all.len() >= MAX_PROGRAMS && !self.by_identity.contains_key(&identity);
        let identity = match identity {
            Identity::Program(_) if is_one_too_many => Identity::Program(OTHER_PROGRAMS.into()),
            identity => identity,
        };
        let is_container = matches!(identity, Identity::Container(_));
        let id = self.find_or_begin(identity, start);
        self.get_mut(id).seen_from_start &= is_container;
        id
    }

    fn add(&mut self, subject: Subject) -> SubjectId {
        let id = SubjectId(self.all.len());
        self.by_identity.insert(subject.identity.clone(), id);
        self.all.push(Some(Box::new(subject)));
        id
    }
}
