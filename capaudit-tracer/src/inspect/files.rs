//! Files that carry privilege: capabilities, or set-user-ID and root's.
//!
//! Nothing is opened: attributes are read by path, of regular files only, so a pipe, a device or a file of /proc that
//! does something on being read is left alone. Symbolic links are not followed, except for a path that was given.

use std::{
    ffi::OsString,
    io,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use capaudit_core::capability::FileCapabilities;
use rustix::{
    fs::{getxattr, lgetxattr, statfs},
    io::Errno,
};
use walkdir::{DirEntry, WalkDir};

use crate::proc::is_gone;

/// What to look for, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Also files that are set-user-ID and root's.
    pub setuid: bool,
    /// Enter other file systems. (Those of the kernel's own files, proc, sysfs and the like, are never entered from outside.)
    pub cross: bool,
}

/// A file that carries privilege.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileged {
    /// Where, as reached from the given path: hostile.
    pub path: PathBuf,
    /// What its attribute `security.capability` holds; `None` if it has none.
    pub capabilities: Option<FileCapabilities>,
    /// It is set-user-ID and root's.
    pub setuid_root: bool,
}

/// What could not be looked at.
#[derive(Debug)]
pub struct Unseen {
    /// Path, as reached from the given one: hostile.
    pub path: PathBuf,
    /// What the kernel answered, or why a file system was left out.
    pub why: String,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of their names, directory by directory.
    pub files: Vec<Privileged>,
    /// Directories and files that could not be looked at.
    pub unseen: Vec<Unseen>,
    /// Other file systems that were not entered and may hold programs.
    pub not_entered: Vec<PathBuf>,
}

impl Search {
    /// Looks at `path` and everything below it, and adds to `found`.
    ///
    /// # Errors
    ///
    /// There is no such path.
    pub fn below(&self, path: &Path, found: &mut Found) -> io::Result<()> {
        let top = std::fs::metadata(path)?;
        let mut entries = WalkDir::new(path)
            .follow_root_links(true)
            .sort_by_file_name()
            .into_iter();
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {
                    if is_elsewhere(&entry, top.dev()) {
                        if is_without_programs(entry.path()) {
                            entries.skip_current_dir();
                        } else if !self.cross {
                            found.not_entered.push(entry.into_path());
                            entries.skip_current_dir();
                        }
                    }
                }
                Ok(entry)
                    if entry.file_type().is_file() || (entry.depth() == 0 && top.is_file()) =>
                {
                    self.look(&entry, found);
                }
                Ok(_special) => {}
                Err(error) => {
                    if !error.io_error().is_some_and(is_gone) {
                        found.unseen.push(Unseen {
                            path: error.path().unwrap_or(path).to_owned(),
                            why: why(&error),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn look(&self, entry: &DirEntry, found: &mut Found) {
        let path = entry.path();
        // A link that was given is followed, as by the walk itself.
        let given = entry.depth() == 0;
        let mut unseen = |why: String| {
            found.unseen.push(Unseen {
                path: path.to_owned(),
                why,
            });
        };
        let capabilities = match capabilities(path, given) {
            Ok(capabilities) => capabilities,
            Err(error) if is_gone(&error) => return,
            Err(error) => {
                unseen(error.to_string());
                None
            }
        };
        let setuid_root = self.setuid
            && match metadata(path, given) {
                Ok(metadata) => is_setuid_root(metadata.mode(), metadata.uid()),
                Err(error) if is_gone(&error) => return,
                Err(error) => {
                    unseen(error.to_string());
                    false
                }
            };
        if capabilities.is_some() || setuid_root {
            found.files.push(Privileged {
                path: path.to_owned(),
                capabilities,
                setuid_root,
            });
        }
    }
}

fn metadata(path: &Path, follow: bool) -> io::Result<std::fs::Metadata> {
    if follow {
        std::fs::metadata(path)
    } else {
        std::fs::symlink_metadata(path)
    }
}

/// What goes wrong, without the path, which is told anyway.
fn why(error: &walkdir::Error) -> String {
    error
        .io_error()
        .map_or_else(|| error.to_string(), io::Error::to_string)
}

fn is_elsewhere(directory: &DirEntry, device: u64) -> bool {
    // What is gone by now is not entered either.
    directory
        .metadata()
        .is_ok_and(|metadata| metadata.dev() != device)
}

/// Whether a mount holds the kernel's own files only, none of which can be executed: proc, sysfs and their like
/// (include/uapi/linux/magic.h).
fn is_without_programs(mount: &Path) -> bool {
    const MAGIC: [u32; 8] = [
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0x1cd1,      // devpts
    ];
    // The numbers have 32 bits, whatever the field has.
    statfs(mount).is_ok_and(|found| MAGIC.contains(&(found.f_type as u32)))
}

fn is_setuid_root(mode: u32, owner: u32) -> bool {
    const S_ISUID: u32 = 0o4000;
    const EXECUTABLE: u32 = 0o111;
    mode & S_ISUID != 0 && mode & EXECUTABLE != 0 && owner == 0
}

/// The capabilities of one file; `None` if it has none or its file system has no such thing.
///
/// # Errors
///
/// It cannot be read, or holds what no kernel would take.
fn capabilities(path: &Path, follow: bool) -> io::Result<Option<FileCapabilities>> {
    // The longest version has 24 bytes.
    let mut buffer = [0u8; 64];
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let length = if follow {
        getxattr(path, FileCapabilities::ATTRIBUTE, &mut buffer)
    } else {
        lgetxattr(path, FileCapabilities::ATTRIBUTE, &mut buffer)
    };
    match length {
        Ok(length) => FileCapabilities::parse(buffer.get(..length).unwrap_or(&buffer))
            .map(Some)
            .map_err(|error| invalid(error.to_string())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => Err(invalid(
            "security.capability is longer than any version has it".to_owned(),
        )),
        Err(error) => Err(error.into()),
    }
}

/// The bytes of a path that is no UTF-8, in hexadecimal: so that programs can still find the file.
pub fn exact(path: &Path) -> Option<String> {
    if path.to_str().is_some() {
        return None;
    }
    let bytes = OsString::from(path).into_vec();
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn setuid_needs_bit_owner_and_something_to_execute() {
        assert!(is_setuid_root(0o104_755, 0));
        assert!(!is_setuid_root(0o104_755, 1));
        assert!(!is_setuid_root(0o100_755, 0));
        assert!(!is_setuid_root(0o104_644, 0));
    }

    #[test]
    fn only_paths_that_are_no_text_need_their_bytes() {
        assert_eq!(exact(Path::new("/a b")), None);
        let odd = Path::new(OsStr::from_bytes(b"a\xff"));
        assert_eq!(exact(odd).as_deref(), Some("61ff"));
    }

    #[test]
    fn links_pipes_and_loops_are_survived() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("below");
        std::fs::create_dir(&below).unwrap();
        std::os::unix::fs::symlink("..", below.join("loop")).unwrap();
        std::os::unix::fs::symlink("/nowhere", below.join("dangling")).unwrap();
        std::fs::write(below.join("plain"), "").unwrap();
        let pipe = below.join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut found = Found::default();
        let search = Search {
            setuid: true,
            cross: true,
        };
        search.below(directory.path(), &mut found).unwrap();
        assert!(
            found.files.is_empty() && found.unseen.is_empty(),
            "{found:?}"
        );
        let missing = search
            .below(&below.join("missing"), &mut found)
            .unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
