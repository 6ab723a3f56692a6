//! Files that somebody else names or controls: a container, an audited program, the author of a compose file.
//!
//! Opening a device can rewind a tape or reset a watchdog, outside of the container's device cgroup; opening a FIFO waits for
//! another party; opening a file that others hold a lease on waits for them (`break_lease`, fs/locks.c, Linux 6.18). So such a
//! file is pinned first, which opens nothing (`O_PATH`: `do_o_path`, fs/namei.c, Linux 6.18), then looked at, and only what was
//! pinned is opened, if it is a regular file. Whoever swaps the name meanwhile swaps another file.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, getxattr, open as open_path, openat2,
};

/// Pins what a path leads to, which opens nothing.
///
/// # Errors
///
/// It leads to nothing, or the kernel does not let this process look there.
pub(crate) fn pin(path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    Ok(open_path(
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// The same of a directory, and of nothing else.
///
/// # Errors
///
/// As for [`pin`], or it is no directory.
pub(crate) fn pin_directory(path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(open_path(path, flags, Mode::empty())?)
}

/// How a path is followed that starts in a directory of somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    /// The directory is the root of all paths, as for a process that lives in it.
    Root,
    /// No path leads out of the directory.
    Directory,
}

/// Pins what a path leads to from a directory, by links of somebody else's, but never through /proc's magic ones.
///
/// # Errors
///
/// As for [`pin`].
pub(crate) fn pin_below(
    directory: impl AsFd,
    path: impl rustix::path::Arg,
    below: Below,
) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_MAGICLINKS
        | match below {
            Below::Root => ResolveFlags::IN_ROOT,
            Below::Directory => ResolveFlags::BENEATH,
        };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(openat2(directory, path, flags, Mode::empty(), resolve)?)
}

/// Pins what a path leads to from a root directory, or from this process's own ([`CWD`](rustix::fs::CWD)), as far as the kernel
/// knows all of it already: no file system is asked, so nothing is waited for (`LOOKUP_CACHED`, fs/namei.c, Linux 6.12).
///
/// # Errors
///
/// As for [`pin`]; or the kernel would have to ask, or is older than 5.12.
pub(crate) fn pin_cached(
    directory: impl AsFd,
    path: impl rustix::path::Arg,
) -> io::Result<OwnedFd> {
    let directory = directory.as_fd();
    let mut resolve = ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
    if directory.as_raw_fd() != CWD.as_raw_fd() {
        resolve |= ResolveFlags::IN_ROOT;
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(openat2(directory, path, flags, Mode::empty(), resolve)?)
}

/// Opens what was pinned, to read it.
///
/// # Errors
///
/// It is no regular file ([`io::ErrorKind::InvalidInput`]), or it cannot be opened.
pub fn reopen(pinned: &OwnedFd) -> io::Result<File> {
    if !is_regular(&fstat(pinned)?) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    // Nothing is waited for: a lease that others hold makes this fail.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(open_path(link(pinned), flags, Mode::empty())?.into())
}

/// Opens a regular file that somebody else named; links are followed.
///
/// # Errors
///
/// As for [`reopen`], or there is none.
pub fn open(path: &Path) -> io::Result<File> {
    reopen(&pin(path)?)
}

/// The same without following a link in the last place.
///
/// # Errors
///
/// As for [`open`]; a link is no regular file.
pub fn open_unlinked(path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    reopen(&open_path(path, flags, Mode::empty())?)
}

/// Reads an extended attribute of what was pinned: an `O_PATH` descriptor has none, what its link leads to does.
pub(crate) fn attribute(
    pinned: &OwnedFd,
    name: &str,
    buffer: &mut [u8],
) -> rustix::io::Result<usize> {
    getxattr(link(pinned), name, buffer)
}

/// Whether this is a regular file.
pub(crate) fn is_regular(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}

fn link(pinned: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", pinned.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
        time::{Duration, Instant},
    };

    use rustix::fs::mknodat;

    use super::*;

    #[test]
    fn nothing_but_a_regular_file_is_opened_and_nothing_is_waited_for() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let place = |name: &str| directory.path().join(name);
        mknodat(CWD, place("fifo"), FileType::Fifo, Mode::RUSR, 0)?;
        let _listening = std::os::unix::net::UnixListener::bind(place("socket"))?;
        symlink("/dev/null", place("device"))?;
        symlink("fifo", place("link"))?;
        std::fs::write(place("file"), "text")?;
        symlink("file", place("linked"))?;
        let started = Instant::now();
        for other in ["fifo", "socket", "device", "link", "."] {
            let kind = open(&place(other)).map_err(|error| error.kind());
            assert_eq!(kind.err(), Some(io::ErrorKind::InvalidInput), "{other}");
        }
        assert!(started.elapsed() < Duration::from_secs(1));
        let mut text = String::new();
        open(&place("linked"))?.read_to_string(&mut text)?;
        assert_eq!(text, "text");
        assert!(open_unlinked(&place("file")).is_ok());
        assert!(open_unlinked(&place("linked")).is_err());
        Ok(())
    }

    #[test]
    fn what_is_swapped_for_a_device_is_never_opened() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let (name, file, other) = (
            directory.path().join("name"),
            directory.path().join("file"),
            directory.path().join("other"),
        );
        std::fs::write(&file, "text")?;
        std::fs::hard_link(&file, &name)?;
        // A FIFO stands for the device: opening it would never return.
        mknodat(CWD, &other, FileType::Fifo, Mode::RUSR, 0)?;
        let ended = AtomicBool::new(false);
        let (mut opened, mut refused) = (0, 0);
        std::thread::scope(|scope| -> io::Result<()> {
            let swapping = scope.spawn(|| -> io::Result<()> {
                let fresh = directory.path().join("fresh");
                while !ended.load(Ordering::Relaxed) {
                    for next in [&other, &file] {
                        std::fs::hard_link(next, &fresh)?;
                        std::fs::rename(&fresh, &name)?;
                        // Two names of one file: rename(2) leaves both.
                        let _ = std::fs::remove_file(&fresh);
                    }
                }
                Ok(())
            });
            let deadline = Instant::now() + Duration::from_secs(5);
            while (opened < 200 || refused < 200) && Instant::now() < deadline {
                match open(&name) {
                    Ok(file) => {
                        assert!(file.metadata()?.is_file());
                        opened += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            ended.store(true, Ordering::Relaxed);
            swapping.join().unwrap_or(Ok(()))
        })?;
        assert!(opened >= 200 && refused >= 200, "{opened} {refused}");
        Ok(())
    }
}
