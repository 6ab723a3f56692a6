//! What records do not carry, looked up while the process may still be there. All I/O of taking
//! records is here.
//!
//! The order counts: a program may live for less than a millisecond, so each look-up is made as
//! soon as the record that calls for it is taken. What another party can keep from being answered is asked at the [`desk`], and
//! nobody waits for it here.

mod desk;
mod file_capabilities;
mod file_owner;
mod helper;

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use capaudit_common::event::Exec;
use capaudit_core::{
    capability::FileCapabilities,
    ledger::{ExecRecord, FileOwner},
};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use self::{
    desk::{Desk, Place},
    file_capabilities::{Draft, Executed},
    helper::{Found, Question},
};
use crate::{
    proc::{Cgroups, ContainerId, mount_namespace_of, status::Status},
    subject::{
        Identity,
        attached::{self, Attached, Running},
    },
};

/// Files whose capabilities are remembered; their number is up to those who execute them.
const MOST_KNOWN: usize = 1 << 16;

/// What is asked of other parties' file systems and memory. `pid` is always that of the initial pid namespace, and may be gone,
/// or be another process's by now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// The privileges that an executed file carries, for a subject whose user namespace lies `level` below the initial one.
    Executed { exec: &'a Exec, level: u32 },
    /// Owner and mode of a file, by its path as a process in this mount namespace sees it.
    Owner {
        pid: u32,
        mount_namespace: u32,
        path: &'a str,
    },
    /// The words that a process in this mount namespace was executed with.
    Words { pid: u32, mount_namespace: u32 },
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// `None` if no privilege counts.
    Executed(Option<ExecRecord>),
    /// `None` if the process or the file is gone.
    Owner(Option<FileOwner>),
    /// Empty if the process is gone.
    Words(Vec<String>),
}

/// Looks up what records do not carry. `pid` is always that of the initial pid namespace, and
/// may be gone, or be another process's by now.
pub(super) trait Enrich: fmt::Debug + Send {
    /// Path of the file that a process executes; `None` if nothing leads to that file.
    fn executable(&self, pid: u32) -> Option<String>;

    /// Where on the machine a process that runs `program` belongs.
    fn place(&self, pid: u32, program: &str) -> Option<Identity>;

    /// A process that was met as the whole machine is observed; `None` for kernel threads, too.
    fn running(&self, pid: u32) -> Option<Running>;

    /// Whether a process that is in a container was put there by one outside of it, as by `docker exec`; also if that cannot
    /// be seen any more.
    fn came_from_outside(&self, pid: u32, container: &ContainerId) -> bool;

    /// Keeps the way to the files of a mount namespace, through a process in it.
    fn hold_root(&mut self, mount_namespace: u32, pid: u32);

    /// Gives up the way to the files of mount namespaces in which nothing `lives`.
    fn let_go(&mut self, lives: &dyn Fn(u32) -> bool);

    /// Asks, under a number that is given once. `None` if the answer is among the next [`Self::answers`].
    fn ask(&mut self, number: u64, wanted: Wanted<'_>) -> Option<Answer>;

    /// Answers that have come, by their numbers.
    fn answers(&mut self) -> Vec<(u64, Answer)>;

    /// What there is to say of an execution by now, whose file was not seen yet.
    fn so_far(&self, number: u64) -> Option<ExecRecord>;

    /// Answers what was asked so far without waiting any longer.
    fn close(&mut self);

    /// Processes of capaudit's own that have been started to look things up.
    fn started(&mut self) -> Vec<u32>;
}

/// The machine that capaudit runs on.
#[derive(Debug)]
pub(super) struct Machine {
    desk: Desk,
    /// What was found last of executed files, for those that are gone before they can be looked at.
    known: HashMap<(u32, u64), Option<FileCapabilities>>,
    /// Mount namespaces whose files there may be a way to.
    held: HashSet<u32>,
    asked: HashMap<u64, Asked>,
    /// The mount namespace of this process.
    own: u32,
}

#[derive(Debug)]
enum Asked {
    Executed { draft: Draft, file: (u32, u64) },
    Owner,
    Words,
}

/// The number of questions whose answer nobody wants.
const NOBODY: u64 = u64::MAX;

impl Default for Machine {
    fn default() -> Self {
        Self {
            desk: Desk::new(),
            known: HashMap::new(),
            held: HashSet::new(),
            asked: HashMap::new(),
            own: mount_namespace_of("self").unwrap_or_default(),
        }
    }
}

impl Machine {
    /// What others made: in the machine's own mount namespace, one file system that does not answer says nothing of others.
    fn place(&self, mount_namespace: u32) -> Option<Place> {
        (mount_namespace != self.own).then_some(Place::Namespace(mount_namespace))
    }

    fn answered(&mut self, asked: Asked, found: Option<Found>) -> Answer {
        match asked {
            Asked::Executed { draft, file } => {
                let read = match found {
                    // Looked at each time: the file may have got capabilities since, or be another with the number of one that
                    // was removed.
                    Some(Found::File(capabilities)) => {
                        if self.known.len() >= MOST_KNOWN {
                            self.known.clear();
                        }
                        self.known.insert(file, capabilities);
                        Some(capabilities)
                    }
                    _ => self.known.get(&file).copied(),
                };
                Answer::Executed(draft.with(read))
            }
            Asked::Owner => Answer::Owner(match found {
                Some(Found::Owner(owner)) => owner,
                _ => None,
            }),
            Asked::Words => Answer::Words(match found {
                Some(Found::Words(words)) => words,
                _ => Vec::new(),
            }),
        }
    }
}

impl Enrich for Machine {
    fn executable(&self, pid: u32) -> Option<String> {
        let target = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        target.file_name()?;
        // What is executed is known to the kernel by its path, so nothing has to be waited for to see that it is there.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat2(
            rustix::fs::CWD,
            &target,
            flags,
            Mode::empty(),
            ResolveFlags::CACHED,
        );
        found.is_ok().then(|| target.to_string_lossy().into_owned())
    }

    fn place(&self, pid: u32, program: &str) -> Option<Identity> {
        attached::place_of(pid, program)
    }

    fn running(&self, pid: u32) -> Option<Running> {
        Attached::Machine.look_at(pid)
    }

    fn came_from_outside(&self, pid: u32, container: &ContainerId) -> bool {
        let parent = Status::read(pid).ok().and_then(|status| status.parent);
        let of_parent = parent.and_then(|parent| Cgroups::read(parent).ok()?.container());
        of_parent.as_ref() != Some(container)
    }

    fn hold_root(&mut self, mount_namespace: u32, pid: u32) {
        self.held.insert(mount_namespace);
        let question = Question::HoldRoot {
            mount_namespace,
            pid,
        };
        let places = self.place(mount_namespace).into_iter().collect();
        self.desk.ask(NOBODY, &question, places);
    }

    fn let_go(&mut self, lives: &dyn Fn(u32) -> bool) {
        let (held, ended) = self.held.iter().partition(|namespace| lives(**namespace));
        self.held = held;
        let ended: HashSet<u32> = ended;
        for mount_namespace in ended {
            let question = Question::LetGo { mount_namespace };
            self.desk.ask(NOBODY, &question, Vec::new());
        }
    }

    fn ask(&mut self, number: u64, wanted: Wanted<'_>) -> Option<Answer> {
        let (asked, question, places) = match wanted {
            Wanted::Executed { exec, level } => {
                let namespace = exec.namespaces.mnt;
                if exec.namespaces.user_level != level {
                    // The creator of a user namespace has a full bounding set in it (`create_user_ns`,
                    // kernel/user_namespace.c): execve fails for nothing that the subject lacks.
                    if !self.held.contains(&namespace) {
                        self.hold_root(namespace, exec.header.tgid);
                    }
                    return Some(Answer::Executed(None));
                }
                self.held.insert(namespace);
                let mut places = vec![Place::Device(exec.device)];
                places.extend(self.place(namespace));
                let draft = Draft::of(exec);
                let file = (exec.device, exec.inode);
                (
                    Asked::Executed { draft, file },
                    Question::Executed(Executed::of(exec)),
                    places,
                )
            }
            Wanted::Owner {
                pid,
                mount_namespace,
                path,
            } => {
                let path = path.to_owned();
                let places = vec![Place::Namespace(mount_namespace)];
                (Asked::Owner, Question::Owner { pid, path }, places)
            }
            Wanted::Words {
                pid,
                mount_namespace,
            } => {
                let places = vec![Place::Namespace(mount_namespace)];
                (Asked::Words, Question::Words { pid }, places)
            }
        };
        self.asked.insert(number, asked);
        self.desk.ask(number, &question, places);
        None
    }

    fn answers(&mut self) -> Vec<(u64, Answer)> {
        let found = self.desk.answers();
        let mut answers = Vec::with_capacity(found.len());
        for (number, found) in found {
            if let Some(asked) = self.asked.remove(&number) {
                answers.push((number, self.answered(asked, found)));
            }
        }
        answers
    }

    fn so_far(&self, number: u64) -> Option<ExecRecord> {
        match self.asked.get(&number)? {
            Asked::Executed { draft, .. } => draft.with(None),
            Asked::Owner | Asked::Words => None,
        }
    }

    fn close(&mut self) {
        self.desk.close();
    }

    fn started(&mut self) -> Vec<u32> {
        self.desk.started()
    }
}
