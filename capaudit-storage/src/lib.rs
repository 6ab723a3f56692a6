//! Files that capaudit reads and writes for its caller: sessions, and files that people wrote.
//!
//! This crate never knows what is in a file: sessions are `capaudit-core`'s to read, other texts `capaudit-formats`'.
//!
//! Begin to read with [`write_whole`]: a reader sees the earlier file or the new one.

mod place;
mod replace;
mod source;

use std::{
    fs::{File, Permissions},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use capaudit_core::ledger::{Ledger, LoadError, from_bytes, to_bytes};
use capaudit_tracer::{privilege, regular};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, linkat, open};
use tempfile::NamedTempFile;

use place::{Attributes, Name, Place, Writer};
pub use replace::replace;
pub use source::Disk;

/// Reads a saved session.
///
/// # Errors
///
/// The file cannot be read, is no session, or one of another version.
pub fn load(path: &Path) -> Result<Ledger, LoadError> {
    let text = std::fs::read(path).map_err(|error| LoadError::Read {
        path: path.to_owned(),
        error,
    })?;
    from_bytes(&text, path)
}

/// Saves a session: whole, or not at all.
///
/// # Errors
///
/// The file cannot be written.
pub fn save(ledger: &Ledger, path: &Path) -> io::Result<()> {
    write_whole(path, &to_bytes(ledger)?)
}

/// Saves a session that could not be saved where it was to be, where there may be room: it may have taken an hour to make.
/// Returns the new file; nobody but its owner can read it.
///
/// # Errors
///
/// There is no room either; of the first place.
pub fn save_elsewhere(ledger: &Ledger) -> io::Result<PathBuf> {
    let text = to_bytes(ledger)?;
    let places = [std::env::temp_dir(), "/var/tmp".into(), "/dev/shm".into()];
    let mut first = None;
    for place in places {
        match new_file(&place, &text) {
            Ok(file) => return Ok(file),
            Err(error) => first.get_or_insert(error),
        };
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

fn new_file(directory: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new()
        .prefix("capaudit-session-")
        .suffix(".json")
        .tempfile_in(directory)?;
    let attributes = Attributes {
        owner: Writer::this().caller,
        mode: None,
    };
    fill(file.as_file_mut(), bytes, attributes)?;
    let (_file, path) = file.keep()?;
    Ok(path)
}

/// Temporary files begin so.
const UNFINISHED: &str = ".capaudit-unfinished-";
/// And end in so many letters and digits.
const RANDOM: usize = 6;

/// Writes a file through a temporary one beside it, so that nobody ever sees half of it. One of the writer's, or of whoever
/// called sudo, keeps owner and mode; any other has mode 0600. Pipes, terminals and descriptors of this process
/// (`/dev/stdout`) are written directly.
///
/// The temporary file has no name before it is complete, where the file system can do that (`O_TMPFILE`): then there is
/// nothing to be left behind by whoever is killed. What was left all the same is removed.
///
/// # Errors
///
/// The file cannot be written, or others decide what the path leads to; the old file, if any, is left as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_as(path, bytes, Writer::this())
}

fn write_as(path: &Path, bytes: &[u8], writer: Writer) -> io::Result<()> {
    let _writing = privilege::while_writing()?;
    match Place::of(path, writer)? {
        Place::Descriptor(descriptor) => place::write_descriptor(descriptor, bytes),
        Place::Name(name) => match name.special() {
            Some(special) => special.write(bytes),
            None => {
                let written = Written::beside(&name, bytes, name.attributes())?;
                written.take_place()
            }
        },
    }
}

/// Whether a file could be written: better known before a long test suite has run than after it.
///
/// # Errors
///
/// As for [`write_whole`].
pub fn check_writable(path: &Path) -> io::Result<()> {
    let _writing = privilege::while_writing()?;
    match Place::of(path, Writer::this())? {
        Place::Descriptor(descriptor) => place::check_descriptor(descriptor),
        Place::Name(name) => name.check(),
    }
}

/// Reads a file that was written by [`write_whole`], to go on from it: nobody else can have written it. `None` if there is none.
///
/// # Errors
///
/// It cannot be read, is no regular file or somebody else's, or others decide what the path leads to.
pub fn read_own(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Place::Name(name) = Place::of(path, Writer::this())? else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let Some(mut file) = name.read()? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A file that is complete, and not where it is to be yet.
struct Written<'a> {
    temporary: NamedTempFile<File>,
    name: &'a Name,
}

impl<'a> Written<'a> {
    fn beside(name: &'a Name, bytes: &[u8], attributes: Attributes) -> io::Result<Self> {
        let directory = name.directory();
        remove_unfinished(&directory);
        let mut named = tempfile::Builder::new();
        named.prefix(UNFINISHED).rand_bytes(RANDOM);
        let unnamed = || -> io::Result<NamedTempFile<File>> {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let mut file = File::from(open(&directory, flags, Mode::RUSR | Mode::WUSR)?);
            fill(&mut file, bytes, attributes)?;
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            named.make_in(&directory, |name| {
                linkat(CWD, &link, CWD, name, AtFlags::SYMLINK_FOLLOW)?;
                file.try_clone()
            })
        };
        let temporary = match unnamed() {
            Ok(temporary) => temporary,
            // There are file systems that cannot do it; where it is something else, this fails as well.
            Err(_error) => {
                let mut temporary = named.tempfile_in(&directory)?;
                fill(temporary.as_file_mut(), bytes, attributes)?;
                temporary
            }
        };
        Ok(Self { temporary, name })
    }

    /// Whatever has the name by now is replaced, a link included: nothing is followed.
    fn take_place(self) -> io::Result<()> {
        let kept = self.temporary.persist(self.name.path());
        kept.map(drop).map_err(|error| error.error)
    }
}

fn fill(file: &mut File, bytes: &[u8], attributes: Attributes) -> io::Result<()> {
    // Says that it is being written; a file system without locks has nobody to tell.
    let _ = flock(&*file, FlockOperation::NonBlockingLockExclusive);
    file.write_all(bytes)?;
    if let Some((user, group)) = attributes.owner {
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (user, group) {
            std::os::unix::fs::fchown(&*file, Some(user), Some(group))?;
        }
    }
    if let Some(mode) = attributes.mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

/// Removes temporary files of ours that nobody is writing: whoever did was killed. As far as that is possible.
fn remove_unfinished(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_one = name
            .to_str()
            .and_then(|name| name.strip_prefix(UNFINISHED))
            .is_some_and(|rest| {
                rest.len() == RANDOM && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
        if !is_one {
            continue;
        }
        let Ok(file) = regular::open_unlinked(&entry.path()) else {
            continue;
        };
        let is_ours = file
            .metadata()
            .is_ok_and(|metadata| metadata.uid() == rustix::process::geteuid().as_raw());
        if is_ours && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// User and group id of whoever called sudo, by its environment; `None` without sudo.
pub fn caller() -> Option<(u32, u32)> {
    let id = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    id("SUDO_UID").zip(id("SUDO_GID"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let left = place(".capaudit-unfinished-aB3dE9");
        let others = [
            ".capaudit-unfinished-",
            ".capaudit-unfinished-aB3dE",
            ".capaudit-unfinished-a.3dE9",
            "capaudit-unfinished-aB3dE9",
        ]
        .map(place);
        let busy = place(".capaudit-unfinished-000000");
        for file in others.iter().chain([&left, &busy]) {
            std::fs::write(file, "{").unwrap();
        }
        let link = place(".capaudit-unfinished-111111");
        std::os::unix::fs::symlink(&others[0], &link).unwrap();
        let writer = File::open(&busy).unwrap();
        flock(&writer, FlockOperation::NonBlockingLockExclusive).unwrap();
        write_whole(&place("f"), b"one").unwrap();
        assert!(!left.exists());
        for file in others.iter().chain([&link, &busy]) {
            assert!(file.exists(), "{file:?}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_or_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        write_whole(&file, b"one").unwrap();
        write_whole(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(
            std::fs::read_dir(&directory).unwrap().count(),
            1,
            "nothing temporary is left"
        );
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        write_whole(&file, b"three").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        let missing = directory.path().join("no/such/f");
        assert!(write_whole(&missing, b"x").is_err());
        write_whole(Path::new("/dev/null"), b"x").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}
