//! Owner and mode of a file that a check was about, looked up as the process saw it.

use std::os::fd::OwnedFd;

use capaudit_core::ledger::FileOwner;
use rustix::fs::{AtFlags, StatxFlags, statx};

use crate::regular::{Below, pin_below};

/// Looks a path up in `directory`: the root directory of a process, for a relative one its working directory. `None` if the file
/// is gone, which it may well be: this is for advice only.
///
/// The process has its way with what it can reach, so nothing is opened that could have an effect or block. Links are
/// followed as the process would, but never out of its root.
pub(super) fn of(directory: &OwnedFd, path: &str) -> Option<FileOwner> {
    let below = if path.starts_with('/') {
        Below::Root
    } else {
        Below::Directory
    };
    let file = pin_below(directory, path, below).ok()?;
    let found = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).ok()?;
    Some(FileOwner {
        uid: found.stx_uid,
        gid: found.stx_gid,
        mode: found.stx_mode.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regular::pin_directory;

    #[test]
    fn finds_absolute_and_relative_paths_and_survives_what_is_gone() -> std::io::Result<()> {
        let (root, working) = (pin_directory("/")?, pin_directory(".")?);
        let found = of(&root, "/");
        assert!(found.is_some_and(|root| root.uid == 0 && root.mode & 0o170_000 == 0o040_000));
        assert!(
            of(&working, "Cargo.toml").is_some(),
            "tests run in the crate's directory"
        );
        assert_eq!(of(&root, "/no/such/file"), None);
        assert_eq!(
            of(&working, "../Cargo.toml"),
            None,
            "never out of the working directory"
        );
        Ok(())
    }
}
