//! What an operation is: a set-up under full rights, and an act that reports what it saw.

use std::{collections::BTreeMap, ffi::CString, fs, io, os::unix::fs::MetadataExt, path::PathBuf};

use capaudit_core::capability::{CapSet, Capability};
use serde::{Deserialize, Serialize};

use crate::sys::{self, call, fork};

/// What an act saw beside its success: whatever could differ without an error.
pub(crate) type Details = BTreeMap<String, String>;

type Setup = fn(&Place) -> io::Result<()>;
type Act = fn(&Place) -> io::Result<Details>;

/// The smallest thing that asks the kernel for a capability, reads a set, or is unlocked by one.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub name: &'static str,
    /// The capabilities that its author has in mind; the truth is measured, not taken from here.
    pub aim: CapSet,
    /// Namespaces of its own beside that of mounts, as `CLONE_NEW*`.
    pub namespaces: i32,
    /// It looks at what it holds itself: whatever it makes of that, the kernel is not asked.
    pub looks_at_sets: bool,
    pub setup: Setup,
    pub act: Act,
}

/// An operation with these names of capabilities in mind: `op("chown", &[CHOWN], setup, act)`.
pub(crate) const fn op(
    name: &'static str,
    aim: &[Capability],
    setup: Setup,
    act: Act,
) -> Operation {
    Operation {
        name,
        aim: CapSet::of(aim),
        namespaces: 0,
        looks_at_sets: false,
        setup,
        act,
    }
}

impl Operation {
    /// It looks at what it holds itself.
    pub(crate) const fn looks_at_sets(mut self) -> Self {
        self.looks_at_sets = true;
        self
    }

    /// In a network namespace of its own.
    pub(crate) const fn net(mut self) -> Self {
        self.namespaces |= libc::CLONE_NEWNET;
        self
    }

    /// With a host name of its own.
    pub(crate) const fn uts(mut self) -> Self {
        self.namespaces |= libc::CLONE_NEWUTS;
        self
    }

    /// With System V objects and message queues of its own.
    pub(crate) const fn ipc(mut self) -> Self {
        self.namespaces |= libc::CLONE_NEWIPC;
        self
    }
}

/// What an act came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub(crate) enum Seen {
    /// It did what it is for.
    Ok { details: Details },
    /// The kernel refused it, or it failed otherwise.
    Error { errno: i32, name: String },
    /// It did not end in time.
    Hung,
    /// A signal ended it.
    Died { signal: i32 },
}

impl Seen {
    /// What an act returned.
    pub(crate) fn of(result: io::Result<Details>) -> Self {
        match result {
            Ok(details) => Self::Ok { details },
            Err(error) => Self::error(error.raw_os_error().unwrap_or(libc::EPROTO)),
        }
    }

    pub(crate) fn error(errno: i32) -> Self {
        Self::Error {
            errno,
            name: errno_name(errno),
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        matches!(self, Self::Ok { .. })
    }
}

/// The name of an error, or its number.
pub(crate) fn errno_name(errno: i32) -> String {
    macro_rules! names {
        ($($name:ident)*) => { match errno { $(libc::$name => stringify!($name).to_owned(),)* _ => errno.to_string() } };
    }
    names!(EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV
        ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK
        ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENODATA EOVERFLOW EPROTO ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE
        ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN
        ENETUNREACH ECONNRESET ENOBUFS EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED EDQUOT ENOKEY EKEYREJECTED EUSERS ENETRESET ECONNABORTED)
}

/// No detail.
pub(crate) fn done() -> io::Result<Details> {
    Ok(Details::new())
}

/// One detail.
pub(crate) fn saw(name: &str, value: impl ToString) -> io::Result<Details> {
    Ok(Details::from([(name.to_owned(), value.to_string())]))
}

/// Nothing to set up.
pub(crate) fn nothing(_: &Place) -> io::Result<()> {
    Ok(())
}

/// Where an operation works: an empty tmpfs of its own, and an empty directory on the disk.
#[derive(Debug)]
pub(crate) struct Place {
    /// The tmpfs.
    pub root: PathBuf,
    /// The directory on whatever file system the caller chose.
    pub disk: PathBuf,
}

impl Place {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The path of a file in the tmpfs, for the kernel.
    pub(crate) fn at(&self, name: &str) -> CString {
        sys::text(&self.root.join(name).to_string_lossy())
    }

    /// The path of a file on the disk, for the kernel.
    pub(crate) fn on_disk(&self, name: &str) -> CString {
        sys::text(&self.disk.join(name).to_string_lossy())
    }

    /// A file with content, mode and owner.
    pub(crate) fn file(&self, name: &str, mode: u32, user: u32, group: u32) -> io::Result<()> {
        fs::write(self.path(name), b"content\n")?;
        own(&self.at(name), mode, user, group)
    }

    /// A directory with mode and owner.
    pub(crate) fn directory(&self, name: &str, mode: u32, user: u32, group: u32) -> io::Result<()> {
        fs::create_dir(self.path(name))?;
        own(&self.at(name), mode, user, group)
    }

    /// A copy of this program, which can be executed and then shows its own credentials (`operations show`).
    pub(crate) fn program(&self, name: &str, mode: u32, user: u32, group: u32) -> io::Result<()> {
        fs::copy("/proc/self/exe", self.path(name))?;
        own(&self.at(name), mode, user, group)
    }

    /// Leaves a number for the act.
    pub(crate) fn note(&self, name: &str, number: impl Into<i64>) -> io::Result<()> {
        fs::write(self.path(name), number.into().to_string())
    }

    /// Reads a number that the set-up left.
    pub(crate) fn noted(&self, name: &str) -> io::Result<i32> {
        fs::read_to_string(self.path(name))?
            .trim()
            .parse()
            .map_err(|_| sys::errno(libc::EPROTO))
    }

    /// Reads an address or another long number that the set-up left.
    pub(crate) fn noted_long(&self, name: &str) -> io::Result<u64> {
        let text = fs::read_to_string(self.path(name))?;
        text.trim().parse().map_err(|_| sys::errno(libc::EPROTO))
    }

    /// Starts a process that stays, notes its id under this name, and prepares itself first.
    pub(crate) fn companion(
        &self,
        name: &str,
        prepare: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.note(name, fork::companion(prepare)?)
    }

    /// Mode, owner and group of a file, as details.
    pub(crate) fn status(&self, name: &str) -> io::Result<Details> {
        let status = fs::symlink_metadata(self.path(name))?;
        Ok(Details::from([
            ("mode".to_owned(), format!("{:o}", status.mode())),
            ("uid".to_owned(), status.uid().to_string()),
            ("gid".to_owned(), status.gid().to_string()),
        ]))
    }
}

/// Gives a file an owner, then a mode: a change of the owner would take the setuid bit away.
pub(crate) fn own(path: &CString, mode: u32, user: u32, group: u32) -> io::Result<()> {
    call!(SYS_lchown, path, user, group)?;
    call!(SYS_fchmodat, libc::AT_FDCWD, path, mode)?;
    Ok(())
}
