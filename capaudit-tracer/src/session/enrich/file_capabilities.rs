//! Capabilities and setuid bits of executed files: needs that no check shows.
//!
//! execve of a file whose effective capabilities are not all within the bounding set fails with EPERM
//! (`cap_bprm_creds_from_file`, security/commoncap.c), before anything is asked.

use std::{cell::LazyCell, os::fd::OwnedFd};

use capaudit_common::event::Exec;
use capaudit_core::{
    capability::{CapSet, FileCapabilities},
    ledger::{ExecRecord, FileOwner, Phases},
};
use rustix::fs::{AtFlags, FsWord, fstat, fstatfs};
use serde::{Deserialize, Serialize};

use super::ways::FileId;
use crate::{
    regular::{Below, attribute, is_regular, pin_below, pin_directory},
    session::describe::text,
};

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const SETID: u32 = 0o6000;

/// A file that was executed, as far as it takes to find it again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Executed {
    device: u32,
    inode: u64,
    mode: u32,
    path: String,
    interpreter: String,
}

impl Executed {
    pub(super) fn of(exec: &Exec) -> Self {
        Self {
            device: exec.device,
            inode: exec.inode,
            mode: exec.mode,
            path: text(&exec.path),
            interpreter: text(&exec.interpreter),
        }
    }

    /// Whether an open file is the one whose privileges counted.
    fn is(&self, file: &OwnedFd) -> bool {
        let Ok(found) = fstat(file) else {
            return false;
        };
        is_regular(&found)
            && found.st_mode == self.mode
            && found.st_ino == self.inode
            && (found.st_dev == device(self.device) || is_of_many_devices(file))
    }

    /// The file itself, or by its path: `None` if nothing leads to it.
    fn find(&self, ways: &ToFile) -> Option<OwnedFd> {
        let is_it = |file: &OwnedFd| self.is(file);
        if let Some(executable) = &ways.executable {
            return executable.try_clone().ok().filter(is_it);
        }
        // A mount namespace that was just unshared still has the files of the one it was made from: ours, maybe.
        let machine = LazyCell::new(|| pin_directory("/").ok());
        let by_path = |path: &str| {
            let places = if path.starts_with('/') {
                [ways.root.as_ref(), (*machine).as_ref()]
            } else {
                [ways.directory.as_ref(), None]
            };
            places
                .into_iter()
                .flatten()
                .find_map(|place| pin_below(place, path, Below::Root).ok().filter(is_it))
        };
        // Of a script, what is executed is the interpreter, whose path the kernel tells; where binfmt_misc has the flag C,
        // the privileges are those of what is interpreted.
        by_path(&self.path).or_else(|| by_path(&self.interpreter))
    }

    /// The capabilities of the file: `None` if nothing leads to it.
    pub(super) fn read(&self, ways: &ToFile) -> Option<Read> {
        let file = self.find(ways)?;
        let identity = || FileId::of(&file, AtFlags::empty()).map(|(identity, _mode)| identity);
        let before = identity();
        let mut buffer = [0u8; 64];
        let capabilities = match attribute(&file, FileCapabilities::ATTRIBUTE, &mut buffer) {
            Ok(length) => FileCapabilities::parse(buffer.get(..length)?).ok(),
            Err(_none) => None,
        };
        let settled = before.filter(FileId::is_settled);
        Some(Read {
            capabilities,
            settled: settled.filter(|before| identity() == Some(*before)),
        })
    }
}

/// What leads to a file: what is open of it, see [`ways`](super::ways).
#[derive(Debug, Default)]
pub(super) struct ToFile {
    /// The file itself, as long as its process executed nothing else.
    pub(super) executable: Option<OwnedFd>,
    /// Where absolute paths begin.
    pub(super) root: Option<OwnedFd>,
    /// Where others do.
    pub(super) directory: Option<OwnedFd>,
}

/// What was read of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Read {
    /// Its capabilities, if it has any.
    pub(super) capabilities: Option<FileCapabilities>,
    /// As what it has them for as long as it is that; `None` if that would not show a change.
    pub(super) settled: Option<FileId>,
}

/// What there is to say of an execution before its file is read.
#[derive(Debug)]
pub(super) struct Draft {
    record: ExecRecord,
    /// What the process got from the file, where that can be told from what it holds.
    gained: Option<FileCapabilities>,
}

impl Draft {
    pub(super) fn of(exec: &Exec) -> Self {
        let setid =
            (exec.mode & SETID != 0 && exec.mode & S_IFMT == S_IFREG).then_some(FileOwner {
                uid: exec.owner,
                gid: exec.group,
                mode: exec.mode,
            });
        Self {
            record: ExecRecord {
                exe: text(&exec.path),
                capabilities: None,
                setid,
                unseen: true,
                ignored: exec.ignored != 0,
                count: 1,
                phases: Phases::default(),
            },
            gained: Self::gained(exec),
        }
    }

    /// What there is to say when the file was read, or could not be: then what the process got from it tells. If that does not,
    /// the record says that it was not seen. `None` if the file carries no privilege that counts.
    ///
    /// What the process holds says only what it got: nothing is to be seen there of what `no_new_privs` keeps from it.
    pub(super) fn with(&self, read: Option<Option<FileCapabilities>>) -> Option<ExecRecord> {
        let found = read.or_else(|| self.gained.map(Some));
        let record = ExecRecord {
            capabilities: found.flatten(),
            unseen: found.is_none(),
            ..self.record.clone()
        };
        let says = record.capabilities.is_some() || record.setid.is_some() || record.unseen;
        says.then_some(record)
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
    use crate::regular::pin;

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

    fn found(exec: &Exec) -> Option<ExecRecord> {
        let read = Executed::of(exec).read(&ToFile::default());
        Draft::of(exec).with(read.map(|read| read.capabilities))
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
        let null = pin("/dev/null")?;
        let exec = exec(&File::open("/dev/null")?, "/dev/null")?;
        assert!(!Executed::of(&exec).is(&null));
        assert!(found(&exec).is_some_and(|record| record.unseen));
        Ok(())
    }
}
