//! Capabilities and setuid bits of executed files: needs that no check shows.
//!
//! execve of a file whose effective capabilities are not all within the bounding set fails with EPERM
//! (`cap_bprm_creds_from_file`, security/commoncap.c), before anything is asked.

use std::{
    cell::LazyCell,
    collections::HashMap,
    fs::File,
    io::Read as _,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use capaudit_common::event::Exec;
use capaudit_core::{
    capability::{CapSet, FileCapabilities},
    ledger::{ExecRecord, FileOwner},
};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, getxattr, open, openat2};

use crate::session::describe::text;

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
    /// still lead to the file by its path, or what the process got tells. If nothing does, the record says that
    /// it was not seen.
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
        let found = match (known, Self::gained(exec)) {
            // Had the file effective capabilities, the process would have them.
            (None, Some(None)) => Some(None),
            // Looked at again each time: it may have got capabilities since, or be another with the number of one that
            // was removed.
            (known, gained) => self.read(exec).or(known).or(gained),
        };
        let setid =
            (exec.mode & SETID != 0 && exec.mode & S_IFREG == S_IFREG).then_some(FileOwner {
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
            ignored: false,
            count: 1,
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
        let path = text(&exec.path);
        let below = |root: BorrowedFd<'_>, path: &str, flags: OFlags| {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).ok()
        };
        let is_it = |file: &OwnedFd| fstat(file).is_ok_and(|found| found.st_ino == exec.inode);
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
        let by_path = |path: &str| {
            let roots = held.into_iter().chain(&*machine);
            roots
                .filter(|_root| path.starts_with('/'))
                .find_map(|root| below(root.as_fd(), path, flags).filter(is_it))
        };
        // Of a script, what is executed is the interpreter that its first line names (`load_script`, fs/binfmt_script.c).
        let by_script = || {
            let places = if path.starts_with('/') {
                [held, (*machine).as_ref()]
            } else {
                [(*directory).as_ref(), None]
            };
            let script = places
                .into_iter()
                .flatten()
                .find_map(|place| below(place.as_fd(), &path, OFlags::RDONLY | OFlags::NONBLOCK))?;
            by_path(&interpreter(script)?)
        };
        let file = own()
            .filter(is_it)
            .or_else(|| by_path(&path))
            .or_else(by_script)?;
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
    /// (P'(permitted) = F(permitted) & P(bounding), capabilities(7)). `None` for root, and where ids of another
    /// user namespace hide who is root.
    fn gained(exec: &Exec) -> Option<Option<FileCapabilities>> {
        if exec.namespaces.user_level != 0 || exec.ids.euid == 0 || exec.ids.uid == 0 {
            return None;
        }
        let passed_on = exec.sets.ambient | exec.sets.inheritable;
        let held = CapSet::from_bits(exec.sets.permitted & !passed_on);
        Some((!held.is_empty()).then_some(FileCapabilities {
            permitted: held,
            inheritable: CapSet::EMPTY,
            effective: exec.sets.effective & !passed_on != 0,
            root_id: None,
        }))
    }
}

/// The interpreter that a script's first line names.
fn interpreter(script: OwnedFd) -> Option<String> {
    /// `BINPRM_BUF_SIZE`, include/uapi/linux/binfmts.h: the kernel looks no further.
    const LINE: u64 = 256;
    let mut start = Vec::new();
    File::from(script).take(LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    let word = line
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .find(|word| !word.is_empty())?;
    Some(String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_interpreter() -> std::io::Result<()> {
        for (text, expected) in [
            ("#!/bin/sh\nexit", Some("/bin/sh")),
            ("#! /usr/bin/env  -S bash\n", Some("/usr/bin/env")),
            ("#!/bin/sh", Some("/bin/sh")),
            ("#!\n", None),
            ("exit", None),
            ("", None),
        ] {
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), text)?;
            let found = interpreter(File::open(file.path())?.into());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
        Ok(())
    }
}
