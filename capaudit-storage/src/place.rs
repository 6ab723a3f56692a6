//! Where a file is to be written, so that nobody else decides where that is, or whose the file becomes.
//!
//! A path is followed name by name, each from a descriptor of the directory before: what is renamed or swapped meanwhile
//! is not followed again. docs/reference/privileges.md has the rules.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

use capaudit_tracer::{launch::is_asked_to_end, regular, stream};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Stat, accessat, fstat, openat, readlinkat},
    io::Errno,
};

/// Links that are followed at most, as in the kernel (`MAXSYMLINKS`, include/linux/namei.h, Linux 6.18).
const MOST_LINKS: usize = 40;
/// How long nobody may read a pipe that is being written.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether capaudit is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whose files capaudit writes: its own user's, and those of whoever called sudo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    own: u32,
    pub(crate) caller: Option<(u32, u32)>,
}

impl Writer {
    /// This process.
    pub(crate) fn this() -> Self {
        let own = rustix::process::geteuid().as_raw();
        Self {
            own,
            // Nobody else can have called anybody's sudo.
            caller: crate::caller().filter(|_caller| own == 0),
        }
    }

    fn is_own(self, user: u32) -> bool {
        user == self.own || self.caller.is_some_and(|(caller, _group)| user == caller)
    }

    /// Whether links that lie in a directory can only have been made by the writer or root.
    fn may_follow(self, directory: &Stat, link: &Stat) -> bool {
        let trusted = |user| user == 0 || self.is_own(user);
        let is_safe = directory.st_mode & 0o002 == 0 || is_sticky(directory);
        trusted(directory.st_uid) && trusted(link.st_uid) && is_safe
    }

    /// Whose a file is to be, and its mode: as it was, if it was the writer's; else nobody else's to read, and the caller's
    /// where the caller could have made it, too.
    fn attributes(self, found: Option<&Stat>, directory: &Stat) -> Attributes {
        match found {
            // Of several names, one may be in a directory where others placed it.
            Some(found) if self.is_own(found.st_uid) && found.st_nlink == 1 => {
                Attributes::of(found)
            }
            _ => Attributes {
                owner: self.caller.filter(|(user, _group)| {
                    directory.st_uid == *user || directory.st_mode & 0o002 != 0
                }),
                mode: None,
            },
        }
    }
}

fn is_sticky(directory: &Stat) -> bool {
    directory.st_mode & 0o1000 != 0
}

/// Whose a file is to be, and its mode; `None`: as new files are, with mode 0600.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) mode: Option<u32>,
}

impl Attributes {
    /// Those of a file, but for the bits that lend its owner's or group's rights.
    fn of(found: &Stat) -> Self {
        Self {
            owner: Some((found.st_uid, found.st_gid)),
            mode: Some(found.st_mode & 0o777),
        }
    }
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) enum Place {
    /// To a descriptor that this process was given.
    Descriptor(RawFd),
    /// To a name in a directory.
    Name(Box<Name>),
}

/// A name in a directory, and what has it by now.
#[derive(Debug)]
pub(crate) struct Name {
    directory: OwnedFd,
    of_directory: Stat,
    name: OsString,
    found: Option<(OwnedFd, Stat)>,
    writer: Writer,
}

impl Place {
    /// Follows a path.
    ///
    /// # Errors
    ///
    /// A directory is missing, or the path leads through a link that somebody else may have placed.
    pub(crate) fn of(path: &Path, writer: Writer) -> io::Result<Self> {
        match own_descriptor(path) {
            Some(descriptor) => Ok(Self::Descriptor(descriptor)),
            None => Ok(Self::Name(Box::new(Name::follow(path, writer)?))),
        }
    }
}

impl Name {
    fn follow(path: &Path, writer: Writer) -> io::Result<Self> {
        let mut rest: VecDeque<OsString> = words(path).collect();
        let mut directory = start(path)?;
        // The last user but root who made a link of the way.
        let mut led_by = None;
        let mut links = 0;
        loop {
            let name = rest
                .pop_front()
                .ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match openat(&directory, &name, flags, Mode::empty()) {
                Ok(found) => Some((fstat(&found)?, found)),
                Err(Errno::NOENT) if rest.is_empty() => None,
                Err(error) => return Err(error.into()),
            };
            match found {
                Some((stat, link)) if kind(&stat) == FileType::Symlink => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if !writer.may_follow(&fstat(&directory)?, &stat) {
                        return Err(refused(format!(
                            "{name:?} is a link that others may have placed: name what it leads to"
                        )));
                    }
                    if stat.st_uid != 0 {
                        led_by = Some(stat.st_uid);
                    }
                    let target =
                        PathBuf::from(OsString::from_vec(readlinkat(&link, "", [])?.into_bytes()));
                    if target.is_absolute() {
                        directory = start(&target)?;
                    }
                    for word in words(&target).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(word);
                    }
                }
                Some((stat, found)) if !rest.is_empty() => {
                    if kind(&stat) != FileType::Directory {
                        return Err(io::ErrorKind::NotADirectory.into());
                    }
                    directory = found;
                }
                found => {
                    let name = Self {
                        of_directory: fstat(&directory)?,
                        directory,
                        name,
                        found: found.map(|(stat, found)| (found, stat)),
                        writer,
                    };
                    return match led_by {
                        Some(user) if user != writer.own && !name.is_of(user) => Err(refused(
                            format!("a link of user {user} leads to what is not that user's"),
                        )),
                        _ => Ok(name),
                    };
                }
            }
        }
    }

    fn is_of(&self, user: u32) -> bool {
        match &self.found {
            Some((_file, stat)) => stat.st_uid == user,
            None => self.of_directory.st_uid == user || self.of_directory.st_mode & 0o002 != 0,
        }
    }

    /// The directory, as long as this lives.
    pub(crate) fn directory(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.directory.as_raw_fd()).into()
    }

    /// The file itself, as long as this lives.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory().join(&self.name)
    }

    /// What has the name, if that is no regular file.
    pub(crate) fn special(&self) -> Option<Special<'_>> {
        let (file, stat) = self.found.as_ref()?;
        (kind(stat) != FileType::RegularFile).then_some(Special {
            file,
            stat,
            writer: self.writer,
        })
    }

    /// Whose the file is to be when it is written anew.
    pub(crate) fn attributes(&self) -> Attributes {
        let found = self.found.as_ref().map(|(_file, stat)| stat);
        self.writer.attributes(found, &self.of_directory)
    }

    /// Whose the file is, which is edited: that does not change.
    ///
    /// # Errors
    ///
    /// There is no such file, or it is no regular one.
    pub(crate) fn attributes_of_edited(&self) -> io::Result<Attributes> {
        match &self.found {
            Some((_file, stat)) if kind(stat) == FileType::RegularFile => Ok(Attributes::of(stat)),
            Some(_special) => Err(refused("it is no regular file".to_owned())),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Opens the file to read it: one that nobody but the writer or root can have written. `None` if there is none.
    ///
    /// # Errors
    ///
    /// It is another's, or no regular file, or cannot be opened.
    pub(crate) fn read(&self) -> io::Result<Option<File>> {
        let Some((file, stat)) = &self.found else {
            return Ok(None);
        };
        if stat.st_uid != 0 && !self.writer.is_own(stat.st_uid) {
            return Err(refused(format!("it belongs to user {}", stat.st_uid)));
        }
        regular::reopen(file).map(Some)
    }

    /// Whether the file could be written.
    ///
    /// # Errors
    ///
    /// It could not.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.special() {
            Some(special) => special.check(),
            None => Ok(accessat(
                &self.directory,
                ".",
                Access::WRITE_OK,
                AtFlags::EACCESS,
            )?),
        }
    }
}

/// Something that a path leads to and that is no regular file.
pub(crate) struct Special<'a> {
    file: &'a OwnedFd,
    stat: &'a Stat,
    writer: Writer,
}

impl Special<'_> {
    fn check(&self) -> io::Result<()> {
        let is_allowed = match kind(self.stat) {
            FileType::Directory => return Err(io::ErrorKind::IsADirectory.into()),
            FileType::CharacterDevice => is_harmless(self.stat.st_rdev),
            FileType::Fifo => self.stat.st_uid == 0 || self.writer.is_own(self.stat.st_uid),
            _ => false,
        };
        if is_allowed {
            Ok(())
        } else {
            Err(refused(
                "it is neither a file nor a pipe of yours, nor a terminal".to_owned(),
            ))
        }
    }

    /// Writes into it, and waits for no reader that does not come.
    ///
    /// # Errors
    ///
    /// Nothing is written into such a thing, or nobody reads it.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let opened = openat(CWD, link, flags, Mode::empty());
        let mut file = File::from(opened.map_err(|error| match error {
            Errno::NXIO => io::Error::new(io::ErrorKind::NotConnected, "nobody reads this pipe"),
            other => other.into(),
        })?);
        let mut rest = bytes;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(&file)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn wait(file: &File) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let look = Timespec::try_from(LOOK_EVERY).map_err(io::Error::other)?;
    loop {
        let mut waited = [PollFd::new(file, PollFlags::OUT)];
        match poll(&mut waited, Some(&look)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let refused = if Instant::now() >= deadline {
            format!("nobody has read this pipe for {} s", PATIENCE.as_secs())
        } else if is_asked_to_end() {
            "nobody reads this pipe, and a signal has come".to_owned()
        } else {
            continue;
        };
        return Err(io::Error::new(io::ErrorKind::TimedOut, refused));
    }
}

/// Writes into a descriptor that this process was given.
///
/// # Errors
///
/// There is none, or it takes no more.
pub(crate) fn write_descriptor(descriptor: RawFd, bytes: &[u8]) -> io::Result<()> {
    stream::write_all(duplicate(descriptor)?, bytes)
}

/// Whether a descriptor that this process was given could be written.
///
/// # Errors
///
/// It could not.
pub(crate) fn check_descriptor(descriptor: RawFd) -> io::Result<()> {
    let mode = rustix::fs::fcntl_getfl(duplicate(descriptor)?)? & OFlags::ACCMODE;
    if mode == OFlags::RDONLY {
        return Err(io::Error::from(Errno::BADF));
    }
    Ok(())
}

fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: it is borrowed for one system call, which fails if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    borrowed.try_clone_to_owned()
}

/// The descriptor that a path stands for. It is written itself: opening it anew would follow what it leads to.
fn own_descriptor(path: &Path) -> Option<RawFd> {
    let text = path.to_str()?;
    match text {
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        _ => {
            let number = text
                .strip_prefix("/dev/fd/")
                .or_else(|| text.strip_prefix("/proc/self/fd/"))?;
            number.parse().ok()
        }
    }
}

/// Terminals, and what keeps nothing (Documentation/admin-guide/devices.txt, Linux 6.18). Other devices do something on being
/// opened or written.
fn is_harmless(device: u64) -> bool {
    const MEMORY: u32 = 1;
    const NULL_ZERO_FULL: [u32; 3] = [3, 5, 7];
    const TERMINALS: [u32; 2] = [4, 5];
    const PSEUDO_TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    major == MEMORY && NULL_ZERO_FULL.contains(&minor)
        || TERMINALS.contains(&major)
        || PSEUDO_TERMINALS.contains(&major)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn start(path: &Path) -> io::Result<OwnedFd> {
    let top = if path.is_absolute() { "/" } else { "." };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, top, flags, Mode::empty())?)
}

fn words(path: &Path) -> impl Iterator<Item = OsString> {
    // A slash at the end wants a directory.
    let wants_directory = path.as_os_str().as_bytes().ends_with(b"/");
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .chain(wants_directory.then_some(OsStr::new(".")))
        .map(OsStr::to_owned)
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
