//! Capabilities and setuid bits of executed files: needs that no check shows.
//!
//! execve of a file whose effective capabilities are not all within the bounding set fails with EPERM
//! (`cap_bprm_creds_from_file`, security/commoncap.c), before anything is asked.

use std::{
    cell::LazyCell,
    collections::HashMap,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use capaudit_common::event::Exec;
use capaudit_core::{
    capability::{CapSet, FileCapabilities},
    ledger::{ExecRecord, FileOwner, Phases},
};
use rustix::fs::{FsWord, Mode, OFlags, ResolveFlags, fstat, fstatfs, getxattr, open, openat2};

use crate::session::describe::text;

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const SETID: u32 = 0o6000;

/// Reads the attribute of executed files.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What was found last, for those that are gone before they can be looked at.
    known: HashMap<(u32, u64), Option<FileCapabilities>>,
    /// Root directories by mount namespace: the way to a file whose process is gone. Held no longer than the
    /// subject lives, see [`Reader::let_go`]: an engine unmounts lazily, but not without end.
    roots: HashMap<u32, OwnedFd>,
}

impl Reader {
    /// What there is to say of this execution, in a user namespace of depth `level`; `None` if the file carries
    /// no privilege that counts.
    ///
    /// The process may be gone: then the root directory of its mount namespace (see [`Self::hold_root`]) may
    /// still lead to the file by its path, or what the process got from it tells. If nothing does, the record says
    /// that it was not seen.
    pub(super) fn look(&mut self, exec: &Exec, level: u32) -> Option<ExecRecord> {
        if !self.roots.contains_key(&exec.namespaces.mnt) {
            self.hold_root(exec.namespaces.mnt, exec.header.tgid);
        }
        if exec.namespaces.user_level != level {
            // The creator of a user namespace has a full bounding set in it (`create_user_ns`,
            // kernel/user_namespace.c): execve fails for nothing that the subject lacks.
            return None;
        }
        let known = self.known.get(&(exec.device, exec.inode)).copied();
        // Looked at each time: the file may have got capabilities since, or be another with the number of one that was removed.
        // What the process holds says only what it got: nothing is to be seen there of what no_new_privs keeps from it.
        let found = self
            .read(exec)
            .or(known)
            .or_else(|| Self::gained(exec).map(Some));
        let setid =
            (exec.mode & SETID != 0 && exec.mode & S_IFMT == S_IFREG).then_some(FileOwner {
                uid: exec.owner,
                gid: exec.group,
                mode: exec.mode,
            });
        let unseen = found.is_none();
        let capabilities = found.flatten();
        if capabilities.is_none() && setid.is_none() && !unseen {
            return None;
        }
        Some(ExecRecord {
            exe: text(&exec.path),
            capabilities,
            setid,
            unseen,
            ignored: exec.ignored != 0,
            count: 1,
            phases: Phases::default(),
        })
    }

    /// Keeps the root directory of a process, if it is another than ours.
    ///
    /// For what executes something, and before that, whenever what sets a container up is heard of: the last time
    /// it is, the container's root is its own, and it still waits for its start. The program itself may live for
    /// less than a millisecond.
    pub(super) fn hold_root(&mut self, mount_namespace: u32, pid: u32) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The pid may belong to somebody else by now; then the inode numbers of its files will not fit.
        let Ok(root) = open(format!("/proc/{pid}/root"), flags, Mode::empty()) else {
            return;
        };
        let place = |found: rustix::fs::Stat| (found.st_dev, found.st_ino);
        let machine = rustix::fs::stat("/").map(place);
        if fstat(&root).map(place) != machine {
            self.roots.insert(mount_namespace, root);
        }
    }

    /// Lets go of the root directories of mount namespaces in which nothing lives any more.
    pub(super) fn let_go(&mut self, lives: impl Fn(u32) -> bool) {
        self.roots.retain(|namespace, _root| lives(*namespace));
    }

    fn read(&mut self, exec: &Exec) -> Option<Option<FileCapabilities>> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let own = || {
            open(
                format!("/proc/{}/exe", exec.header.tgid),
                flags,
                Mode::empty(),
            )
            .ok()
        };
        let below = |root: BorrowedFd<'_>, path: &str| {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            openat2(root, path, flags, Mode::empty(), resolve).ok()
        };
        let held = self.roots.get(&exec.namespaces.mnt);
        // A mount namespace that was just unshared still has the files of the one it was made from: ours, maybe.
        let machine = LazyCell::new(|| open("/", flags | OFlags::DIRECTORY, Mode::empty()).ok());
        // The process may have gone on to execute something else, in the same directory.
        let directory = LazyCell::new(|| {
            open(
                format!("/proc/{}/cwd", exec.header.tgid),
                flags | OFlags::DIRECTORY,
                Mode::empty(),
            )
            .ok()
        });
        let is_it = |file: &OwnedFd| is_executed(file, exec);
        let by_path = |path: &str| {
            let places = if path.starts_with('/') {
                [held, (*machine).as_ref()]
            } else {
                [(*directory).as_ref(), None]
            };
            places
                .into_iter()
                .flatten()
                .find_map(|place| below(place.as_fd(), path).filter(is_it))
        };
        // Of a script, what is executed is the interpreter, whose path the kernel tells; where binfmt_misc has the flag C,
        // the privileges are those of what is interpreted.
        let file = own()
            .filter(is_it)
            .or_else(|| by_path(&text(&exec.path)))
            .or_else(|| by_path(&text(&exec.interpreter)))?;
        // An attribute cannot be read through an O_PATH descriptor, but through its link.
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut buffer = [0u8; 64];
        let found = match getxattr(link, FileCapabilities::ATTRIBUTE, &mut buffer) {
            Ok(length) => FileCapabilities::parse(buffer.get(..length)?).ok(),
            Err(_none) => None,
        };
        self.known.insert((exec.device, exec.inode), found);
        Some(found)
    }

    /// What a process got from the file, where that can be told from what it holds: what one that is not root
    /// holds after execve, beyond ambient and inheritable capabilities, came from the file
    /// (P'(permitted) = F(permitted) & P(bounding), capabilities(7)). `None` if nothing can be told: for root, where
    /// ids of another user namespace hide who is root, and of what holds nothing.
    fn gained(exec: &Exec) -> Option<FileCapabilities> {
        if exec.namespaces.user_level != 0 || exec.ids.euid == 0 || exec.ids.uid == 0 {
            return None;
        }
        let passed_on = exec.sets.ambient | exec.sets.inheritable;
        let held = CapSet::from_bits(exec.sets.permitted & !passed_on);
        (!held.is_empty()).then_some(FileCapabilities {
            permitted: held,
            inheritable: CapSet::EMPTY,
            effective: exec.sets.effective & !passed_on != 0,
            root_id: None,
        })
    }
}

/// Whether an open file is the one whose privileges counted in an execve.
fn is_executed(file: &OwnedFd, exec: &Exec) -> bool {
    let Ok(found) = fstat(file) else {
        return false;
    };
    found.st_mode & S_IFMT == S_IFREG
        && found.st_mode == exec.mode
        && found.st_ino == exec.inode
        && (found.st_dev == device(exec.device) || is_of_many_devices(file))
}

/// A device number of the kernel's own, as stat(2) shows it (`new_encode_dev`, include/linux/kdev_t.h).
fn device(kernel: u32) -> u64 {
    const MINOR_BITS: u32 = 20;
    rustix::fs::makedev(kernel >> MINOR_BITS, kernel & ((1 << MINOR_BITS) - 1))
}

/// Whether stat(2) shows other devices for a file system's files than that of the file system itself: those of the layers
/// (`ovl_map_dev_ino`, fs/overlayfs/inode.c), those of subvolumes (`btrfs_getattr`, fs/btrfs/inode.c).
fn is_of_many_devices(file: &OwnedFd) -> bool {
    // include/uapi/linux/magic.h
    const OVERLAYFS: FsWord = 0x794c_7630;
    const BTRFS: FsWord = 0x9123_683e;
    fstatfs(file).is_ok_and(|found| matches!(found.f_type, OVERLAYFS | BTRFS))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::MetadataExt as _};

    use capaudit_common::event::{
        CGROUP_DEPTH, CGROUP_LEN, COMM_LEN, Header, Ids, Namespaces, OBJECT_LEN, Sets,
    };

    use super::*;

    /// The execution of `file`, by a process that is gone.
    fn exec(file: &File, path: &str) -> std::io::Result<Exec> {
        let found = file.metadata()?;
        let (major, minor) = (
            rustix::fs::major(found.dev()),
            rustix::fs::minor(found.dev()),
        );
        let mut exec = Exec {
            header: Header {
                time: 0,
                execution: 1,
                kind: 0,
                tgid: u32::MAX,
                tid: 0,
                flags: 0,
            },
            previous: 0,
            namespaces: Namespaces::default(),
            ids: Ids {
                uid: 1000,
                euid: 1000,
                ..Ids::default()
            },
            sets: Sets::default(),
            inode: found.ino(),
            device: major << 20 | minor,
            mode: found.mode(),
            owner: found.uid(),
            group: found.gid(),
            ignored: 0,
            reserved: 0,
            comm: [0; COMM_LEN],
            path: [0; OBJECT_LEN],
            interpreter: [0; OBJECT_LEN],
            cgroups: [[0; CGROUP_LEN]; CGROUP_DEPTH],
        };
        exec.path[..path.len()].copy_from_slice(path.as_bytes());
        Ok(exec)
    }

    #[test]
    fn the_file_is_read_whatever_its_process_holds() -> std::io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let path = file.path().to_string_lossy().into_owned();
        let carried = FileCapabilities {
            permitted: CapSet::from_bits(1 << 10),
            inheritable: CapSet::EMPTY,
            effective: true,
            root_id: None,
        };
        let flags = rustix::fs::XattrFlags::empty();
        let name = FileCapabilities::ATTRIBUTE;
        rustix::fs::setxattr(file.path(), name, &carried.to_bytes(), flags)?;

        let mut exec = exec(file.as_file(), &path)?;
        let found = |exec: &Exec| Reader::default().look(exec, 0);
        let record = found(&exec).map(|record| (record.capabilities, record.ignored));
        assert_eq!(record, Some((Some(carried), false)), "by its path");

        exec.ignored = capaudit_common::event::ignored::NOSUID;
        assert_eq!(found(&exec).map(|record| record.ignored), Some(true));

        exec.interpreter = exec.path;
        exec.path = [0; OBJECT_LEN];
        exec.path[..12].copy_from_slice(b"/no/such/one");
        assert!(found(&exec).is_some_and(|record| record.capabilities == Some(carried)));

        exec.device ^= 1;
        assert!(
            found(&exec).is_some_and(|record| record.unseen),
            "of another file system"
        );
        Ok(())
    }

    #[test]
    fn only_regular_files_are_taken_for_what_was_executed() -> std::io::Result<()> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let null = open("/dev/null", flags, Mode::empty())?;
        let exec = exec(&File::open("/dev/null")?, "/dev/null")?;
        assert!(!is_executed(&null, &exec));
        let record = Reader::default().look(&exec, 0);
        assert!(record.is_some_and(|record| record.unseen));
        Ok(())
    }
}
