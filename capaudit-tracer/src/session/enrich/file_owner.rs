//! Owner and mode of a file that a check was about, looked up as the process saw it.

use capaudit_core::ledger::FileOwner;
use rustix::fs::{AtFlags, StatxFlags, statx};

use crate::regular::{Below, pin_below, pin_directory};

/// Looks a path up in the mount namespace and root directory of a process; a relative one in its working
/// directory. `None` if process or file are gone, which they may well be: this is for advice only.
///
/// The process has its way with what it can reach, so nothing is opened that could have an effect or block. Links are
/// followed as the process would, but never out of its root.
pub(super) fn of(pid: u32, path: &str) -> Option<FileOwner> {
    let (base, below) = if path.starts_with('/') {
        ("root", Below::Root)
    } else {
        ("cwd", Below::Directory)
    };
    let directory = pin_directory(format!("/proc/{pid}/{base}")).ok()?;
    let file = pin_below(&directory, path, below).ok()?;
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

    #[test]
    fn finds_absolute_and_relative_paths_and_survives_what_is_gone() {
        let own = std::process::id();
        let root = of(own, "/");
        assert!(root.is_some_and(|root| root.uid == 0 && root.mode & 0o170_000 == 0o040_000));
        assert!(
            of(own, "Cargo.toml").is_some(),
            "tests run in the crate's directory"
        );
        assert_eq!(of(own, "/no/such/file"), None);
        assert_eq!(
            of(own, "../Cargo.toml"),
            None,
            "never out of the working directory"
        );
        assert_eq!(of(u32::MAX, "/"), None);
    }
}
