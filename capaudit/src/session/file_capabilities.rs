//! Capabilities and setuid bits of executed files: needs that no check shows.
//!
//! execve of a file whose effective capabilities are not all within the bounding set fails with EPERM
//! (`cap_bprm_creds_from_file`, security/commoncap.c), before anything is asked.

use std::{collections::HashMap, os::unix::fs::MetadataExt as _, path::PathBuf};

use capaudit_common::event::Exec;
use rustix::fs::getxattr;

use crate::{
    capability::CapSet,
    ledger::{ExecRecord, FileCapabilities, FileOwner},
    session::describe::text,
};

const ATTRIBUTE: &str = "security.capability";
/// `VFS_CAP_FLAGS_EFFECTIVE`
const EFFECTIVE: u32 = 1;
const S_IFREG: u32 = 0o100_000;
const SETID: u32 = 0o6000;

/// Reads the attribute of executed files, once for each file.
#[derive(Debug, Default)]
pub struct Reader {
    known: HashMap<(u32, u64), Option<FileCapabilities>>,
}

impl Reader {
    /// What there is to say of this execution; `None` if the file carries no privilege.
    ///
    /// The process may be gone: then `others`, processes in the same mount namespace, may still lead to the
    /// file by its path. If none does, the record says that it was not seen.
    pub fn look(&mut self, exec: &Exec, others: impl Iterator<Item = u32>) -> Option<ExecRecord> {
        let file = (exec.device, exec.inode);
        let found = match self.known.get(&file) {
            Some(known) => Some(*known),
            None => self.read(exec, others),
        };
        let setid =
            (exec.mode & SETID != 0 && exec.mode & S_IFREG == S_IFREG).then_some(FileOwner {
                uid: exec.owner,
                gid: exec.group,
                mode: exec.mode,
            });
        let capabilities = found
            .flatten()
            .or_else(|| Self::gained(exec, found.is_none()));
        let unseen = found.is_none() && capabilities.is_none();
        if capabilities.is_none() && setid.is_none() && !unseen {
            return None;
        }
        Some(ExecRecord {
            exe: text(&exec.path),
            capabilities,
            setid,
            unseen,
            count: 1,
        })
    }

    fn read(
        &mut self,
        exec: &Exec,
        others: impl Iterator<Item = u32>,
    ) -> Option<Option<FileCapabilities>> {
        let path = text(&exec.path);
        let own = PathBuf::from(format!("/proc/{}/exe", exec.header.tgid));
        let by_others = others
            .filter(|_pid| path.starts_with('/'))
            .take(8)
            .map(|pid| PathBuf::from(format!("/proc/{pid}/root{path}")));
        for candidate in std::iter::once(own).chain(by_others) {
            let is_it = std::fs::metadata(&candidate).is_ok_and(|file| file.ino() == exec.inode);
            if !is_it {
                continue;
            }
            let mut buffer = [0u8; 64];
            let found = match getxattr(&candidate, ATTRIBUTE, &mut buffer) {
                Ok(length) => parse(&buffer[..length.min(buffer.len())]),
                Err(_none_or_gone) if candidate.exists() => None,
                Err(_gone) => continue,
            };
            self.known.insert((exec.device, exec.inode), found);
            return Some(found);
        }
        None
    }

    /// What a process that is not root holds after execve without ambient capabilities came from the file
    /// (P'(permitted) = F(permitted) & P(bounding) where nothing is inheritable, capabilities(7)).
    fn gained(exec: &Exec, unread: bool) -> Option<FileCapabilities> {
        let root = exec.ids.euid == 0 || exec.ids.uid == 0;
        let held = CapSet::from_bits(exec.sets.permitted & !exec.sets.ambient);
        (unread && !root && !held.is_empty()).then(|| FileCapabilities {
            permitted: held,
            inheritable: CapSet::EMPTY,
            effective: exec.sets.effective & !exec.sets.ambient != 0,
        })
    }
}

/// Reads the attribute's value, versions 1 to 3 (include/uapi/linux/capability.h). `None` if it is malformed.
pub fn parse(bytes: &[u8]) -> Option<FileCapabilities> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    let magic = word(0)?;
    let (low, high) = match magic >> 24 {
        1 => ((word(4)?, word(8)?), (0, 0)),
        2 | 3 => ((word(4)?, word(8)?), (word(12)?, word(16)?)),
        _ => return None,
    };
    let set = |low: u32, high: u32| CapSet::from_bits(u64::from(low) | u64::from(high) << 32);
    Some(FileCapabilities {
        permitted: set(low.0, high.0),
        inheritable: set(low.1, high.1),
        effective: magic & EFFECTIVE != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Capability;
    use proptest::prelude::*;

    fn version_2(permitted: u32) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 2];
        bytes.extend(permitted.to_le_bytes());
        bytes.extend([0; 12]);
        bytes
    }

    #[test]
    fn all_versions_are_read() {
        let raw = 1 << Capability::NET_RAW.number();
        let expected = FileCapabilities {
            permitted: CapSet::from(Capability::NET_RAW),
            inheritable: CapSet::EMPTY,
            effective: true,
        };
        let second = version_2(raw);
        assert_eq!(parse(&second), Some(expected));
        let mut third = second.clone();
        third[3] = 3;
        third.extend(1000u32.to_le_bytes());
        assert_eq!(parse(&third), Some(expected));
        let mut first = second[..12].to_vec();
        first[3] = 1;
        assert_eq!(parse(&first), Some(expected));
        assert_eq!(parse(&second[..10]), None);
        assert_eq!(parse(&[0; 20]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&bytes);
        }
    }
}
