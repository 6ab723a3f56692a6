//! The emulator: the machine's own, or a copy that nothing but this uses.
//!
//! The copy is of the packages that apt would install, unpacked where the kernels are, as they are: nothing of the machine
//! changes, no root is needed, and that another version of one of qemu's packages is installed is no obstacle.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

use super::package::{extract_all, remove_folder_if_there};

/// The emulator, and the Debian package that brings it.
const QEMU: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// Where packages have libraries, and what qemu loads into the machine: under the root of the copy.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const FIRMWARE: [&str; 3] = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];

/// An emulator that can be run.
#[derive(Debug)]
pub(super) struct Emulator {
    program: PathBuf,
    /// The root of the copy, if it is not the machine's own.
    root: Option<PathBuf>,
}

impl Emulator {
    /// Finds it on the search path or in the cache, or else fetches it.
    pub(super) fn find_or_fetch(cache: &Path) -> Result<Self> {
        if let Some(program) = command::find(QEMU) {
            return Ok(Self {
                program,
                root: None,
            });
        }
        let root = cache.join("qemu");
        if !root.is_dir() {
            fetch(&root, cache)
                .with_context(|| format!("there is no {QEMU}: install Debian's {PACKAGE}"))?;
        }
        Ok(Self {
            program: root.join("usr/bin").join(QEMU),
            root: Some(root),
        })
    }

    /// A command that runs it, to be given its arguments.
    pub(super) fn command(&self) -> Result<Command> {
        let mut qemu = Command::new(&self.program);
        if let Some(root) = &self.root {
            let libraries = LIBRARIES.map(|folder| root.join(folder));
            let libraries = std::env::join_paths(libraries)
                .context("the checkout's path holds a colon: move it")?;
            qemu.env("LD_LIBRARY_PATH", libraries);
            for folder in FIRMWARE {
                qemu.arg("-L").arg(root.join(folder));
            }
        }
        Ok(qemu)
    }
}

/// Unpacks what apt would install for the emulator into a new folder.
fn fetch(root: &Path, cache: &Path) -> Result<()> {
    println!("== fetching {PACKAGE}");
    // Put in place at the end, all at once: a folder of that name is complete.
    let partial = cache.join(".qemu.partial");
    remove_folder_if_there(&partial)?;
    let archives = partial.join("archives");
    fs::create_dir_all(archives.join("partial"))
        .with_context(|| format!("cannot create {}", archives.display()))?;
    let mut place = std::ffi::OsString::from("Dir::Cache::archives=");
    place.push(&archives);
    let mut apt = Command::new("apt-get");
    apt.args([
        "install",
        "--download-only",
        "--yes",
        "--no-install-recommends",
    ])
    // Nothing is installed, so nothing has to be locked, which would take root.
    .args(["--option", "Debug::NoLocking=true", "--option"])
    .arg(place)
    .arg(PACKAGE);
    command::logged(&mut apt, &cache.join("qemu-fetch.log"))?;
    extract_all(&archives, &partial)?;
    remove_folder_if_there(&archives)?;
    fs::rename(&partial, root).with_context(|| format!("cannot create {}", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_uses_its_own_libraries_and_firmware() -> Result<()> {
        let copy = Emulator {
            program: PathBuf::from("/copy/usr/bin/qemu-system-x86_64"),
            root: Some(PathBuf::from("/copy")),
        };
        let command = copy.command()?;
        let text = format!("{command:?}");
        assert!(
            text.contains("\"-L\" \"/copy/usr/share/seabios\""),
            "{text}"
        );
        let libraries = command
            .get_envs()
            .find(|(name, _)| *name == "LD_LIBRARY_PATH");
        assert!(
            libraries.is_some_and(|(_, value)| value.is_some_and(|value| value
                .to_string_lossy()
                .starts_with("/copy/usr/lib/x86_64-linux-gnu:"))),
            "{text}"
        );
        Ok(())
    }
}
