//! The virtual machine's root file system: an initramfs built in memory, in the "newc" cpio format.
//!
//! It is laid out as on a merged-/usr system: `/bin`, `/sbin`, `/lib` and `/lib64` are links into `/usr`, so libraries
//! of the build machine are found wherever it keeps them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command;

use super::package::Unpacked;

/// The first process, run by busybox.
const INIT: &str = include_str!("init.sh");

/// Top-level folders that are links into `/usr`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Folders that are there from the start.
const FOLDERS: [&str; 6] = ["dev", "proc", "root", "sys", "etc", "steps"];

/// A command for the virtual machine, as a shell script.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// What reports call it.
    pub(super) label: String,
    pub(super) script: String,
}

impl Step {
    /// A step that runs one command, given as its words.
    pub(super) fn command(words: &[OsString]) -> Result<Self> {
        let words: Option<Vec<_>> = words.iter().map(|word| word.to_str().map(quote)).collect();
        let command = words
            .context("the command is not valid UTF-8: put it into a script and --add that")?
            .join(" ");
        Ok(Self {
            label: command.clone(),
            script: format!("exec {command}\n"),
        })
    }
}

/// A root file system, to which files can be added.
#[derive(Clone, Debug)]
pub(super) struct Root {
    entries: BTreeMap<PathBuf, Entry>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Folder { mode: u32 },
    File { mode: u32, data: Vec<u8> },
    Link { target: PathBuf },
}

impl Root {
    /// A root with nothing but busybox, under all its names, this machine's shell, and the init script.
    pub(super) fn new(busybox: &Path) -> Result<Self> {
        let mut root = Self {
            entries: BTreeMap::new(),
        };
        for merged in MERGED {
            let target = Path::new("usr").join(merged);
            root.add(&target, Entry::Folder { mode: 0o755 });
            root.entries
                .insert(PathBuf::from(merged), Entry::Link { target });
        }
        for folder in FOLDERS {
            root.add(Path::new(folder), Entry::Folder { mode: 0o755 });
        }
        root.add(Path::new("tmp"), Entry::Folder { mode: 0o1777 });
        for (path, text) in [
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
            ),
            ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        ] {
            root.add(
                Path::new(path),
                Entry::File {
                    mode: 0o644,
                    data: text.into(),
                },
            );
        }

        root.add(
            Path::new("init"),
            Entry::File {
                mode: 0o755,
                data: INIT.into(),
            },
        );
        root.add_file(Path::new("bin/busybox"), busybox)?;
        let applets = command::text_of(Command::new(busybox).arg("--list"))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            root.add(
                &Path::new("bin").join(applet),
                Entry::Link {
                    target: "busybox".into(),
                },
            );
        }
        // busybox's own shell would run its applets in place of programs of the same name.
        root.add_with_libraries(Path::new("/bin/sh"))?;
        Ok(root)
    }

    /// Adds a program that needs no libraries, to be found by its name.
    pub(super) fn add_program(&mut self, name: &str, file: &Path) -> Result<()> {
        let libraries = libraries(file)?;
        ensure!(
            libraries.is_empty(),
            "{} is not statically linked: build it with crt-static",
            file.display()
        );
        self.add_file(&Path::new("usr/local/bin").join(name), file)
    }

    /// Adds a file or a folder of this machine, under the same path, with the libraries it needs. A program is also
    /// found by its name, before busybox's of that name.
    pub(super) fn add_from_host(&mut self, path: &Path) -> Result<()> {
        let path =
            std::path::absolute(path).with_context(|| format!("cannot add {}", path.display()))?;
        let metadata =
            fs::metadata(&path).with_context(|| format!("cannot add {}", path.display()))?;
        if metadata.is_dir() {
            let entries =
                fs::read_dir(&path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
            for entry in entries.with_context(|| format!("cannot add {}", path.display()))? {
                self.add_from_host(&entry.path())?;
            }
            return Ok(());
        }

        let program = metadata.permissions().mode() & 0o111 != 0;
        if let (true, Some(name)) = (program, path.file_name()) {
            let link = Path::new("usr/local/bin").join(name);
            self.add(
                &link,
                Entry::Link {
                    target: path.clone(),
                },
            );
        }
        self.add_with_libraries(&path)
    }

    /// The initramfs for a kernel and the steps to run under it.
    pub(super) fn archive(&self, kernel: &Unpacked, steps: &[Step]) -> Result<Vec<u8>> {
        let mut root = self.clone();
        for (index, module) in kernel.modules()?.iter().enumerate() {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            root.add_file(&PathBuf::from(format!("modules/{index}-{name}")), module)?;
        }
        for (index, step) in steps.iter().enumerate() {
            let script = format!(
                "echo {}\n{}",
                quote(&format!("-- {}", step.label)),
                step.script
            );
            root.add(
                &step_path(index),
                Entry::File {
                    mode: 0o755,
                    data: script.into_bytes(),
                },
            );
        }
        newc(&root.entries)
    }

    /// Adds a file of this machine under the same path, with the libraries it needs.
    fn add_with_libraries(&mut self, path: &Path) -> Result<()> {
        for library in libraries(path)? {
            self.add_file(&library, &library)?;
        }
        self.add_file(path, path)
    }

    /// Adds a file's contents and mode.
    fn add_file(&mut self, path: &Path, file: &Path) -> Result<()> {
        let read =
            || Ok::<_, std::io::Error>((fs::read(file)?, fs::metadata(file)?.permissions().mode()));
        let (data, mode) = read().with_context(|| format!("cannot add {}", file.display()))?;
        self.add(
            path,
            Entry::File {
                mode: mode & 0o7777,
                data,
            },
        );
        Ok(())
    }

    /// Puts an entry at a path, and folders above it where there are none.
    fn add(&mut self, path: &Path, entry: Entry) {
        let path = merged(path);
        for folder in path
            .ancestors()
            .skip(1)
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            self.entries
                .entry(folder.to_path_buf())
                .or_insert(Entry::Folder { mode: 0o755 });
        }
        self.entries.insert(path, entry);
    }
}

/// The path of a step's script.
fn step_path(index: usize) -> PathBuf {
    PathBuf::from(format!("steps/{index:03}"))
}

/// A path without its leading slash and dots, led into `/usr` where the top-level folder is a link there.
fn merged(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                if plain.as_os_str().is_empty()
                    && MERGED.iter().any(|merged| name == OsStr::new(merged))
                {
                    plain.push("usr");
                }
                plain.push(name);
            }
            Component::ParentDir => {
                plain.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

/// The shared libraries that a file needs, its loader included; none for a static program or a script.
fn libraries(file: &Path) -> Result<Vec<PathBuf>> {
    let output = command::output_of(Command::new("ldd").arg(file))?;
    if !output.status.success() {
        // "not a dynamic executable"
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = text
        .lines()
        .find(|line| line.trim_end().ends_with("not found"))
    {
        bail!(
            "{} does not run on this machine: {}",
            file.display(),
            missing.trim()
        );
    }
    Ok(text.lines().filter_map(library).collect())
}

/// The path in a line that `ldd` prints, `libc.so.6 => /lib/libc.so.6 (0x…)` or `/lib64/ld-linux.so.2 (0x…)`.
fn library(line: &str) -> Option<PathBuf> {
    let file = line
        .rsplit_once(" => ")
        .map_or(line, |(_, file)| file)
        .trim();
    let (path, _address) = file.split_once(" (")?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// A word as the shell takes it literally.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The entries as a cpio archive of the "newc" kind.
/// <https://github.com/torvalds/linux/blob/v6.1/Documentation/driver-api/early-userspace/buffer-format.rst>
fn newc(entries: &BTreeMap<PathBuf, Entry>) -> Result<Vec<u8>> {
    const FOLDER: u32 = 0o040_000;
    const FILE: u32 = 0o100_000;
    const LINK: u32 = 0o120_000;

    let mut archive = Vec::new();
    // Sorted by path, so that a folder comes before what is in it.
    for (number, (path, entry)) in (1..).zip(entries) {
        let (mode, data) = match entry {
            Entry::Folder { mode } => (FOLDER | mode, &[][..]),
            Entry::File { mode, data } => (FILE | mode, data.as_slice()),
            Entry::Link { target } => (LINK | 0o777, target.as_os_str().as_bytes()),
        };
        member(
            &mut archive,
            number,
            mode,
            path.as_os_str().as_bytes(),
            data,
        )?;
    }
    member(&mut archive, 0, 0, b"TRAILER!!!", &[])?;
    Ok(archive)
}

/// Appends one member, owned by root and without a time.
fn member(archive: &mut Vec<u8>, number: u32, mode: u32, name: &[u8], data: &[u8]) -> Result<()> {
    let size = u32::try_from(data.len())
        .context("files of 4 GiB and more do not fit into an initramfs")?;
    let name_size = u32::try_from(name.len() + 1).context("a path is too long for an initramfs")?;
    let links = 1;
    archive.extend_from_slice(b"070701");
    for field in [number, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name);
    archive.push(0);
    align(archive);
    archive.extend_from_slice(data);
    align(archive);
    Ok(())
}

/// Fills up to a multiple of four bytes.
fn align(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Root {
        Root {
            entries: BTreeMap::new(),
        }
    }

    #[test]
    fn an_archive_is_what_the_kernel_expects() -> Result<()> {
        let mut root = empty();
        root.add(
            Path::new("/bin/sh"),
            Entry::File {
                mode: 0o755,
                data: b"hello".into(),
            },
        );
        let archive = newc(&root.entries)?;

        let mut rest = archive.as_slice();
        let mut members = Vec::new();
        while !rest.is_empty() {
            ensure!(rest.starts_with(b"070701"), "no member begins here");
            let field = |index: usize| -> Result<usize> {
                let text = std::str::from_utf8(&rest[6 + 8 * index..14 + 8 * index])?;
                Ok(usize::from_str_radix(text, 16)?)
            };
            let (mode, size, name_size) = (field(1)?, field(6)?, field(11)?);
            let name = std::str::from_utf8(&rest[110..110 + name_size - 1])?;
            let start = (110 + name_size).next_multiple_of(4);
            members.push((name, mode, &rest[start..start + size]));
            rest = &rest[(start + size).next_multiple_of(4)..];
        }

        let expected: [(&str, usize, &[u8]); 4] = [
            ("usr", 0o040_755, b""),
            ("usr/bin", 0o040_755, b""),
            ("usr/bin/sh", 0o100_755, b"hello"),
            ("TRAILER!!!", 0, b""),
        ];
        assert_eq!(members, expected);
        Ok(())
    }

    #[test]
    fn paths_lead_into_usr() {
        for (path, place) in [
            (
                "/lib/x86_64-linux-gnu/libc.so.6",
                "usr/lib/x86_64-linux-gnu/libc.so.6",
            ),
            (
                "/lib64/ld-linux-x86-64.so.2",
                "usr/lib64/ld-linux-x86-64.so.2",
            ),
            ("/opt/bin/tool", "opt/bin/tool"),
            ("/opt/../sbin/tool", "usr/sbin/tool"),
        ] {
            assert_eq!(merged(Path::new(path)), Path::new(place));
        }
    }

    #[test]
    fn libraries_are_read_from_ldd() {
        let path = |line| library(line).map(|path| path.display().to_string());
        assert_eq!(path("\tlinux-vdso.so.1 (0x00007ffc)"), None);
        assert_eq!(
            path("\tlibc.so.6 => /lib/libc.so.6 (0x00007f3c)").as_deref(),
            Some("/lib/libc.so.6")
        );
        assert_eq!(
            path("\t/lib64/ld-linux.so.2 (0x00007f3c)").as_deref(),
            Some("/lib64/ld-linux.so.2")
        );
        assert_eq!(path("\tstatically linked"), None);
    }

    #[test]
    fn words_reach_the_command_unchanged() -> Result<()> {
        let step = Step::command(&["sh".into(), "-c".into(), "echo it's $HOME".into()])?;
        assert_eq!(step.script, "exec sh -c 'echo it'\\''s $HOME'\n");
        Ok(())
    }
}
