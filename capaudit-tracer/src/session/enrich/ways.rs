//! Ways into others' trees, opened at once: a process may be gone a moment later. What they lead to is looked at elsewhere.
//!
//! Opening a link of /proc with `O_PATH` jumps to what it stands for (`nd_jump_link`, fs/namei.c, Linux 6.12): no file system is
//! walked, and none is asked to open anything (`do_dentry_open`, fs/open.c). What that may wait for is left to
//! [`errands`](super::errands).

use std::{
    cell::RefCell,
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use capaudit_common::event::Exec;
use rustix::{
    fs::{AtFlags, CWD, FileType, StatxFlags, statx},
    process::{Resource, getrlimit},
};
use serde::{Deserialize, Serialize};

use super::errands::Errands;
use crate::{
    proc::mount_namespace_of,
    regular::{pin, pin_cached, pin_directory},
    session::describe::text,
};

/// How often nothing may come back from a mount namespace's processes before they are not looked at any more.
const MOST_LATE: u32 = 3;
/// Mount namespaces of which something was late; with more, only those that never were are looked at.
const MOST_LATE_PLACES: usize = 256;
/// Root directories held where nothing limits descriptors.
const MOST_ROOTS: u64 = 1 << 16;

/// Which file it is, and when it was changed last: while that is the same, so are its capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FileId {
    device: (u32, u32),
    inode: u64,
    changed: (i64, u32),
}

impl FileId {
    /// Of what was pinned, with its mode. With [`AtFlags::STATX_DONT_SYNC`], no server is asked: that is what this machine knows
    /// (`fuse_update_get_attr`, fs/fuse/dir.c, Linux 6.12; `nfs_getattr`, fs/nfs/inode.c).
    pub(super) fn of(pinned: &OwnedFd, flags: AtFlags) -> Option<(Self, u16)> {
        let flags = flags | AtFlags::EMPTY_PATH;
        let found = statx(pinned, "", flags, StatxFlags::BASIC_STATS).ok()?;
        let identity = Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        };
        Some((identity, found.stx_mode))
    }

    /// Whether that was so long ago that a change from now on has another time: file systems know no more than seconds, some
    /// only every other.
    pub(super) fn is_settled(&self) -> bool {
        const SETTLED: Duration = Duration::from_secs(3);
        let Ok(seconds) = u64::try_from(self.changed.0) else {
            return false;
        };
        let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(seconds));
        age.is_ok_and(|age| age > SETTLED)
    }
}

/// What leads to a file that was executed.
#[derive(Debug, Default)]
pub(super) struct ToExecuted {
    /// The file itself, if its process has not gone on.
    pub(super) executable: Option<OwnedFd>,
    pub(super) identity: Option<FileId>,
    pub(super) root: Option<Arc<OwnedFd>>,
    pub(super) directory: Option<OwnedFd>,
}

/// The ways that are open.
#[derive(Debug)]
pub(super) struct Ways {
    errands: RefCell<Errands>,
    /// Root directories by mount namespace: the way to a file whose process is gone. Held no longer than the
    /// subject lives, see [`Ways::let_go`]: an engine unmounts lazily, but not without end.
    roots: Arc<Mutex<Roots>>,
    /// How often something was late, by mount namespace.
    late: RefCell<HashMap<u32, u32>>,
    /// Mount namespace of this process, and its root directory.
    own: u32,
    machine: Option<FileId>,
}

impl Default for Ways {
    fn default() -> Self {
        // Half of them: the rest is for whatever else capaudit has to open.
        let most = getrlimit(Resource::Nofile).current.unwrap_or(MOST_ROOTS) / 2;
        Self {
            errands: RefCell::default(),
            roots: Arc::new(Mutex::new(Roots {
                held: HashMap::new(),
                most: usize::try_from(most.min(MOST_ROOTS)).unwrap_or_default(),
            })),
            late: RefCell::default(),
            own: mount_namespace_of("self").unwrap_or_default(),
            machine: pin_directory("/").ok().and_then(|root| place(&root)),
        }
    }
}

impl Ways {
    /// Whether a mount namespace is this process's own.
    pub(super) fn is_own(&self, mount_namespace: u32) -> bool {
        mount_namespace == self.own
    }

    /// Looks at something of a process below /proc. `None` if that takes too long, or did before in its mount namespace.
    pub(super) fn look<T: Send + 'static>(
        &self,
        mount_namespace: u32,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.is_late(mount_namespace) {
            return None;
        }
        let found = self.errands.borrow_mut().run(mount_namespace, look);
        if let Err(Some(late)) = found {
            let mut times = self.late.borrow_mut();
            if times.len() < MOST_LATE_PLACES || times.contains_key(&late) {
                *times.entry(late).or_default() += 1;
            }
        }
        found.ok()
    }

    /// Whether nothing has come back from a mount namespace again and again.
    fn is_late(&self, mount_namespace: u32) -> bool {
        let late = self.late.borrow();
        let times = late.get(&mount_namespace).copied().unwrap_or_default();
        let most = if late.len() < MOST_LATE_PLACES {
            MOST_LATE
        } else {
            1
        };
        times >= most && !self.is_own(mount_namespace)
    }

    /// Keeps the root directory of a process, if it is another than ours.
    ///
    /// For what executes something, and before that, whenever what sets a container up is heard of: the last time
    /// it is, the container's root is its own, and it still waits for its start. The program itself may live for
    /// less than a millisecond.
    pub(super) fn hold_root(&self, mount_namespace: u32, pid: u32) {
        if self.is_late(mount_namespace) {
            return;
        }
        let (machine, roots) = (self.machine, Arc::clone(&self.roots));
        self.errands.borrow_mut().send(mount_namespace, move || {
            if let Some(root) = root(pid, machine) {
                lock(&roots).hold(mount_namespace, root);
            }
        });
    }

    /// Whether the root directory of a mount namespace is held.
    pub(super) fn holds(&self, mount_namespace: u32) -> bool {
        lock(&self.roots).held.contains_key(&mount_namespace)
    }

    /// Lets go of the root directories of mount namespaces in which nothing lives any more.
    pub(super) fn let_go(&mut self, lives: &dyn Fn(u32) -> bool) {
        lock(&self.roots)
            .held
            .retain(|namespace, _root| lives(*namespace));
        self.late
            .borrow_mut()
            .retain(|namespace, _times| lives(*namespace));
    }

    /// Opens what leads to the file of an execution, as far as it still can be.
    pub(super) fn to_executed(&self, exec: &Exec) -> ToExecuted {
        let (pid, namespace) = (exec.header.tgid, exec.namespaces.mnt);
        let (machine, roots) = (self.machine, Arc::clone(&self.roots));
        let file = File {
            inode: exec.inode,
            mode: exec.mode,
            paths: [text(&exec.path), text(&exec.interpreter)],
        };
        let found = self.look(namespace, move || {
            // Not before: it may be held by what was sent for just now.
            let held = lock(&roots).held.get(&namespace).cloned();
            let root = held.or_else(|| {
                // Nothing is waited for with the lock held.
                let root = root(pid, machine)?;
                Some(lock(&roots).hold(namespace, root))
            });
            // The process may have gone on to execute something else, in the same directory.
            let is_relative = !file.paths[0].starts_with('/');
            let directory = if is_relative { directory(pid) } else { None };
            let executable = pin(format!("/proc/{pid}/exe"))
                .ok()
                .and_then(|executable| file.is(executable))
                .or_else(|| file.cached(root.as_deref()));
            (executable, root, directory)
        });
        let (executable, root, directory) = found.unwrap_or_default();
        let (executable, identity) = executable.unzip();
        ToExecuted {
            executable,
            identity,
            root,
            directory,
        }
    }

    /// Opens the directory that a process starts from with this path.
    pub(super) fn to_path(&self, mount_namespace: u32, pid: u32, path: &str) -> Option<OwnedFd> {
        let is_absolute = path.starts_with('/');
        self.look(mount_namespace, move || match is_absolute {
            true => pin_directory(format!("/proc/{pid}/root")).ok(),
            false => directory(pid),
        })
        .flatten()
    }
}

/// Root directories that are held.
#[derive(Debug)]
struct Roots {
    held: HashMap<u32, Arc<OwnedFd>>,
    most: usize,
}

impl Roots {
    /// Holds one more, if there is room; it is of use once in any case.
    fn hold(&mut self, mount_namespace: u32, root: OwnedFd) -> Arc<OwnedFd> {
        let root = Arc::new(root);
        if self.held.len() < self.most || self.held.contains_key(&mount_namespace) {
            self.held.insert(mount_namespace, Arc::clone(&root));
        }
        root
    }
}

fn lock(roots: &Mutex<Roots>) -> MutexGuard<'_, Roots> {
    roots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that was executed.
struct File {
    inode: u64,
    mode: u32,
    /// What was executed, and what interprets it.
    paths: [String; 2],
}

impl File {
    /// This, if it is that file.
    fn is(&self, pinned: OwnedFd) -> Option<(OwnedFd, FileId)> {
        let (identity, found) = FileId::of(&pinned, AtFlags::STATX_DONT_SYNC)?;
        let is_it = identity.inode == self.inode
            && u32::from(found) == self.mode
            && FileType::from_raw_mode(self.mode) == FileType::RegularFile;
        is_it.then_some((pinned, identity))
    }

    /// The file by its path, as far as this machine knows that without asking anybody: it was executed just now. An engine
    /// removes a container's files as soon as that has ended, and then their file system finds only what it has found before.
    fn cached(&self, root: Option<&OwnedFd>) -> Option<(OwnedFd, FileId)> {
        let absolute = self.paths.iter().filter(|path| path.starts_with('/'));
        absolute
            .filter_map(|path| match root {
                Some(root) => pin_cached(root, path).ok(),
                None => pin_cached(CWD, path).ok(),
            })
            .find_map(|pinned| self.is(pinned))
    }
}

fn root(pid: u32, machine: Option<FileId>) -> Option<OwnedFd> {
    // The pid may belong to somebody else by now; then the inode numbers of its files will not fit.
    let root = pin_directory(format!("/proc/{pid}/root")).ok()?;
    (place(&root) != machine).then_some(root)
}

fn directory(pid: u32) -> Option<OwnedFd> {
    pin_directory(format!("/proc/{pid}/cwd")).ok()
}

/// Which directory it is, whenever it was changed.
fn place(directory: &OwnedFd) -> Option<FileId> {
    let (identity, _mode) = FileId::of(directory, AtFlags::STATX_DONT_SYNC)?;
    Some(FileId {
        changed: (0, 0),
        ..identity
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_mount_namespace_that_is_late_again_and_again_is_not_looked_at_any_more() {
        let ways = Ways::default();
        let (_until, waits) = channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        for _ in 0..MOST_LATE {
            let waits = Arc::clone(&waits);
            let late = ways.look(7, move || drop(waits.lock().map(|waits| waits.recv())));
            assert!(late.is_none());
        }
        assert_eq!(ways.look(7, || 1), None);
        assert_eq!(ways.look(8, || 1), Some(1));
        assert_eq!(ways.look(ways.own, || 1), Some(1));
    }

    #[test]
    fn only_roots_that_are_not_the_machines_are_held_and_no_more_than_there_is_room_for() {
        let mut ways = Ways::default();
        lock(&ways.roots).most = 1;
        let own = std::process::id();
        let hold = |ways: &Ways, namespace| {
            ways.hold_root(namespace, own);
            // What was sent before it is done by then.
            assert_eq!(ways.look(namespace, || 1), Some(1));
        };
        hold(&ways, 7);
        assert!(!ways.holds(7));
        ways.machine = None;
        hold(&ways, 7);
        hold(&ways, 8);
        assert!(ways.holds(7) && !ways.holds(8));
        hold(&ways, 7);
        ways.let_go(&|namespace| namespace == 8);
        assert!(!ways.holds(7));
        hold(&ways, 8);
        assert!(ways.holds(8));
    }

    #[test]
    fn a_file_is_taken_for_what_was_executed_only_by_its_inode_and_mode() {
        let own = || pin("/proc/self/exe").ok();
        let opened = own().and_then(|file| FileId::of(&file, AtFlags::empty()));
        let path = std::env::current_exe().map(|path| path.to_string_lossy().into_owned());
        let (Some((identity, mode)), Ok(path)) = (opened, path) else {
            panic!("this process executes something");
        };
        let file = |inode, mode| File {
            inode,
            mode,
            paths: ["true".to_owned(), path.clone()],
        };
        let mode = u32::from(mode);
        let executed = file(identity.inode, mode);
        let is = |file: &File| Some(file.is(own()?)?.1);
        let cached = |file: &File| Some(file.cached(None)?.1);
        assert_eq!(is(&executed), Some(identity));
        assert_eq!(cached(&executed), Some(identity));
        for other in [
            file(identity.inode + 1, mode),
            file(identity.inode, mode ^ 1),
        ] {
            assert_eq!((is(&other), cached(&other)), (None, None));
        }
    }

    #[test]
    fn what_changed_just_now_may_change_again_unseen() -> std::io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let now = FileId::of(&pin(file.path())?, AtFlags::empty());
        assert!(now.is_some_and(|(identity, _mode)| !identity.is_settled()));
        let earlier = now.map(|(identity, _mode)| FileId {
            changed: (identity.changed.0 - 10, 0),
            ..identity
        });
        assert!(earlier.is_some_and(|identity| identity.is_settled()));
        Ok(())
    }
}
