//! What records do not carry, looked up while the process may still be there. All I/O of taking
//! records is here.
//!
//! The order counts: a program may live for less than a millisecond, so each look-up is made as
//! soon as the record that calls for it is taken: what leads to a file is opened at once ([`ways`]). What another party can keep
//! from being answered is then asked at the [`desk`], and nobody waits for it here.

mod desk;
mod errands;
mod file_capabilities;
mod file_owner;
mod helper;
mod ways;

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use capaudit_common::event::Exec;
use capaudit_core::{
    capability::FileCapabilities,
    ledger::{ExecRecord, FileOwner},
};
use rustix::fs::CWD;

use self::{
    desk::{Desk, Place},
    file_capabilities::{Draft, Executed},
    helper::{Found, Question, Way},
    ways::{FileId, ToExecuted, Ways},
};
use crate::{
    proc::{Cgroups, ContainerId, status::Status},
    regular::pin_cached,
    subject::{
        Identity,
        attached::{self, Attached, Running},
    },
};

/// How long an answer about a file's owner is good for the next one who asks.
const FRESH: Duration = Duration::from_millis(5);
/// Files of which such an answer is kept.
const MOST_OWNERS: usize = 256;
/// Questions that wait for the answer to another; more are not answered.
const MOST_SAME: usize = 1 << 12;

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
/// may be gone, or be another process's by now; `mount_namespace` is its, by the record.
pub(super) trait Enrich: fmt::Debug + Send {
    /// Path of the file that a process executes; `None` if nothing leads to that file.
    fn executable(&self, pid: u32, mount_namespace: u32) -> Option<String>;

    /// Where on the machine a process that runs `program` belongs.
    fn place(&self, pid: u32, program: &str) -> Option<Identity>;

    /// A process that was met as the whole machine is observed; `None` for kernel threads, too.
    fn running(&self, pid: u32, mount_namespace: u32) -> Option<Running>;

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
#[derive(Debug, Default)]
pub(super) struct Machine {
    ways: Ways,
    desk: Desk,
    /// What was found last of executed files, for those that are gone before they can be looked at.
    known: HashMap<(u32, u64), Option<FileCapabilities>>,
    /// What is found of them as long as they are the same, by the device that the kernel has them on.
    settled: HashMap<(u32, FileId), Option<FileCapabilities>>,
    /// What was found last of files that checks are about, by mount namespace and path.
    owners: HashMap<(u32, String), Recent>,
    /// The questions that ask for what another one is under way for already.
    same: HashMap<(u32, String), Vec<u64>>,
    asked: HashMap<u64, Asked>,
}

/// An answer that is good for whoever asks the same at once: a file's owner is looked up after the check anyhow.
#[derive(Debug)]
struct Recent {
    at: Instant,
    owner: Option<FileOwner>,
}

#[derive(Debug)]
enum Asked {
    Executed { draft: Draft, file: (u32, u64) },
    Owner { file: (u32, String) },
    Words,
}

impl Machine {
    /// What others made: in the machine's own mount namespace, one file system that does not answer says nothing of others.
    fn place(&self, mount_namespace: u32) -> Option<Place> {
        (!self.ways.is_own(mount_namespace)).then_some(Place::Namespace(mount_namespace))
    }

    /// Asks for the file of an execution, unless it is known.
    fn ask_for_executed(&mut self, number: u64, exec: &Exec) -> Option<Answer> {
        let draft = Draft::of(exec);
        let ways = self.ways.to_executed(exec);
        let known = ways
            .identity
            .and_then(|identity| self.settled.get(&(exec.device, identity)));
        if let Some(known) = known {
            return Some(Answer::Executed(draft.with(Some(*known))));
        }
        let mut places = vec![Place::Device(exec.device)];
        if ways.executable.is_none() {
            places.extend(self.place(exec.namespaces.mnt));
        }
        let (ways, pins) = in_order(ways);
        let file = Executed::of(exec);
        let question = Question::Executed { file, ways };
        let file = (exec.device, exec.inode);
        self.asked.insert(number, Asked::Executed { draft, file });
        self.desk.ask(number, &question, pins, places);
        None
    }

    fn answered(&mut self, asked: Asked, found: Option<Found>) -> Answer {
        match asked {
            Asked::Executed { draft, file } => {
                let read = match found {
                    Some(Found::File(Some(read))) => {
                        remember(&mut self.known, MOST_KNOWN, file, read.capabilities);
                        if let Some(identity) = read.settled {
                            let file = (file.0, identity);
                            remember(&mut self.settled, MOST_KNOWN, file, read.capabilities);
                        }
                        Some(read.capabilities)
                    }
                    _ => self.known.get(&file).copied(),
                };
                Answer::Executed(draft.with(read))
            }
            Asked::Owner { file } => {
                let owner = match found {
                    Some(Found::Owner(owner)) => owner,
                    _ => None,
                };
                let at = Instant::now();
                let recent = Recent { at, owner };
                remember(&mut self.owners, MOST_OWNERS, file, recent);
                Answer::Owner(owner)
            }
            Asked::Words => Answer::Words(match found {
                Some(Found::Words(words)) => words,
                _ => Vec::new(),
            }),
        }
    }
}

/// What is open for a question, and what each of it is.
fn in_order(ways: ToExecuted) -> (Vec<Way>, Vec<Arc<OwnedFd>>) {
    [
        (Way::Executable, ways.executable.map(Arc::new)),
        (Way::Root, ways.root),
        (Way::Directory, ways.directory.map(Arc::new)),
    ]
    .into_iter()
    .filter_map(|(way, pin)| Some((way, pin?)))
    .unzip()
}

/// Keeps what was found, of at most so many: beyond that, it begins anew.
fn remember<K: Hash + Eq, V>(known: &mut HashMap<K, V>, most: usize, file: K, found: V) {
    if known.len() >= most {
        known.clear();
    }
    known.insert(file, found);
}

impl Enrich for Machine {
    fn executable(&self, pid: u32, mount_namespace: u32) -> Option<String> {
        let link = format!("/proc/{pid}/exe");
        let target = self
            .ways
            .look(mount_namespace, || std::fs::read_link(link).ok())??;
        target.file_name()?;
        // What is executed is known to the kernel by its path, so nothing has to be waited for to see that it is there.
        let found = pin_cached(CWD, &target);
        found.is_ok().then(|| target.to_string_lossy().into_owned())
    }

    fn place(&self, pid: u32, program: &str) -> Option<Identity> {
        attached::place_of(pid, program)
    }

    fn running(&self, pid: u32, mount_namespace: u32) -> Option<Running> {
        self.ways
            .look(mount_namespace, move || Attached::Machine.look_at(pid))?
    }

    fn came_from_outside(&self, pid: u32, container: &ContainerId) -> bool {
        let parent = Status::read(pid).ok().and_then(|status| status.parent);
        let of_parent = parent.and_then(|parent| Cgroups::read(parent).ok()?.container());
        of_parent.as_ref() != Some(container)
    }

    fn hold_root(&mut self, mount_namespace: u32, pid: u32) {
        self.ways.hold_root(mount_namespace, pid);
    }

    fn let_go(&mut self, lives: &dyn Fn(u32) -> bool) {
        self.ways.let_go(lives);
    }

    fn ask(&mut self, number: u64, wanted: Wanted<'_>) -> Option<Answer> {
        match wanted {
            Wanted::Executed { exec, level } => {
                if exec.namespaces.user_level == level {
                    return self.ask_for_executed(number, exec);
                }
                // The creator of a user namespace has a full bounding set in it (`create_user_ns`,
                // kernel/user_namespace.c): execve fails for nothing that the subject lacks.
                if !self.ways.holds(exec.namespaces.mnt) {
                    self.ways.hold_root(exec.namespaces.mnt, exec.header.tgid);
                }
                Some(Answer::Executed(None))
            }
            Wanted::Owner {
                pid,
                mount_namespace,
                path,
            } => {
                let file = (mount_namespace, path.to_owned());
                // Thousands of checks that differ in an argument alone are about one file.
                if let Some(known) = self.owners.get(&file)
                    && known.at.elapsed() < FRESH
                {
                    return Some(Answer::Owner(known.owner));
                }
                if let Some(same) = self.same.get_mut(&file) {
                    if same.len() >= MOST_SAME {
                        return Some(Answer::Owner(None));
                    }
                    same.push(number);
                    return None;
                }
                let Some(start) = self.ways.to_path(mount_namespace, pid, path) else {
                    return Some(Answer::Owner(None));
                };
                let path = path.to_owned();
                let places = vec![Place::Namespace(mount_namespace)];
                self.same.insert(file.clone(), Vec::new());
                self.asked.insert(number, Asked::Owner { file });
                let pins = vec![Arc::new(start)];
                self.desk
                    .ask(number, &Question::Owner { path }, pins, places);
                None
            }
            Wanted::Words {
                pid,
                mount_namespace,
            } => {
                let places = vec![Place::Namespace(mount_namespace)];
                self.asked.insert(number, Asked::Words);
                self.desk
                    .ask(number, &Question::Words { pid }, Vec::new(), places);
                None
            }
        }
    }

    fn answers(&mut self) -> Vec<(u64, Answer)> {
        let found = self.desk.answers();
        let mut answers = Vec::with_capacity(found.len());
        for (number, found) in found {
            let Some(asked) = self.asked.remove(&number) else {
                continue;
            };
            let same = match &asked {
                Asked::Owner { file } => self.same.remove(file).unwrap_or_default(),
                Asked::Executed { .. } | Asked::Words => Vec::new(),
            };
            let answer = self.answered(asked, found);
            answers.extend(same.into_iter().map(|number| (number, answer.clone())));
            answers.push((number, answer));
        }
        answers
    }

    fn so_far(&self, number: u64) -> Option<ExecRecord> {
        match self.asked.get(&number)? {
            Asked::Executed { draft, .. } => draft.with(None),
            Asked::Owner { .. } | Asked::Words => None,
        }
    }

    fn close(&mut self) {
        self.desk.close();
    }

    fn started(&mut self) -> Vec<u32> {
        self.desk.started()
    }
}
