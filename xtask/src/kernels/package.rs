//! Debian's packages, unpacked: the files of a kernel that are needed to boot it, and busybox.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::command;

use super::release::Release;

/// Modules that the virtual machine loads, by name, in order.
const MODULES: [&str; 1] = ["overlay"];

/// A kernel on disk, ready to boot.
#[derive(Clone, Debug)]
pub(super) struct Unpacked {
    pub(super) release: Release,
    folder: PathBuf,
}

impl Unpacked {
    /// The kernel's files, if they have been unpacked.
    pub(super) fn find(cache: &Path, release: &Release) -> Option<Self> {
        let folder = cache.join(release.as_str());
        folder.is_dir().then(|| Self {
            release: release.clone(),
            folder,
        })
    }

    /// Unpacks the packages that `download` leaves in the folder it is given.
    pub(super) fn create(
        cache: &Path,
        release: &Release,
        download: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        // Put in place at the end, all at once: a folder with the release's name is complete.
        let partial = cache.join(format!(".{release}.partial"));
        remove_folder_if_there(&partial)?;
        if let Err(error) = fill(&partial, release, download) {
            remove_folder_if_there(&partial)?;
            return Err(error);
        }
        let folder = cache.join(release.as_str());
        fs::rename(&partial, &folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self {
            release: release.clone(),
            folder,
        })
    }

    pub(super) fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The options it was built with, as text. (Debian's System.map is an empty stand-in: ask a running kernel's
    /// /proc/kallsyms for symbols.)
    pub(super) fn config(&self) -> Result<String> {
        let path = self.folder.join("config");
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The module files to load, in order.
    pub(super) fn modules(&self) -> Result<Vec<PathBuf>> {
        let files = list_folder(&self.folder.join("modules"))?;
        let file_of = |module: &&str| {
            files
                .iter()
                .find(|file| module_name(file) == Some(module))
                .cloned()
        };
        Ok(MODULES.iter().filter_map(file_of).collect())
    }
}

/// Downloads a kernel's packages into a new folder, and leaves there what we want of them.
fn fill(
    folder: &Path,
    release: &Release,
    download: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let modules = folder.join("modules");
    fs::create_dir_all(&modules).with_context(|| format!("cannot create {}", modules.display()))?;
    download(folder)?;
    for package in packages_in(folder)? {
        unpack(&package, folder)?;
        remove_if_there(&package)?;
    }
    for needed in ["vmlinuz", "config"] {
        ensure!(
            folder.join(needed).is_file(),
            "the archive no longer has all of Linux {release} ({needed} is missing): choose another release"
        );
    }
    Ok(())
}

/// Unpacks Debian's static busybox into the cache, unless that has been done, and returns its path.
pub(super) fn busybox(cache: &Path) -> Result<PathBuf> {
    let program = cache.join("busybox");
    if program.is_file() {
        return Ok(program);
    }
    let partial = cache.join(".busybox.partial");
    remove_folder_if_there(&partial)?;
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    command::text_of(
        Command::new("apt-get")
            .current_dir(&partial)
            .args(["download", "busybox-static"]),
    )
    .context("cannot fetch busybox: run `apt-get update` and try again")?;
    extract_all(&partial, &partial)?;
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| partial.join(place));
    let unpacked = places
        .iter()
        .find(|place| place.is_file())
        .context("busybox-static contains no bin/busybox")?;
    fs::rename(unpacked, &program)
        .with_context(|| format!("cannot create {}", program.display()))?;
    remove_folder_if_there(&partial)?;
    Ok(program)
}

/// Unpacks all files of the packages in a folder into another, or the same.
pub(super) fn extract_all(packages: &Path, into: &Path) -> Result<()> {
    packages_in(packages)?.iter().try_for_each(|package| {
        let mut dpkg_deb = Command::new("dpkg-deb");
        command::text_of(dpkg_deb.arg("--extract").arg(package).arg(into)).map(drop)
    })
}

/// The packages in a folder, sorted.
fn packages_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut packages = list_folder(folder)?;
    packages.retain(|file| file.extension() == Some(OsStr::new("deb")));
    Ok(packages)
}

/// Unpacks the files we want from a kernel package, under the names we want.
fn unpack(package: &Path, folder: &Path) -> Result<()> {
    let members = command::text_of(Command::new("dpkg-deb").arg("--contents").arg(package))?;
    let wanted: Vec<_> = members
        .lines()
        .filter_map(|line| line.split_whitespace().next_back())
        .filter_map(|member| Some((member, destination(member)?)))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }

    let mut dpkg_deb = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let archive = dpkg_deb.stdout.take().context("dpkg-deb has no output")?;
    let extracted = Command::new("tar")
        .args(["--extract", "--no-same-owner", "--directory"])
        .arg(folder)
        .args(wanted.iter().map(|(member, _)| member))
        .stdin(archive)
        .status();
    let dpkg_deb = dpkg_deb.wait().context("cannot wait for dpkg-deb")?;
    let extracted = extracted.context("cannot start tar")?;
    ensure!(
        extracted.success() && dpkg_deb.success(),
        "cannot unpack {}: is the disk full?",
        package.display()
    );

    for (member, destination) in wanted {
        let (from, to) = (folder.join(member), folder.join(destination));
        fs::rename(&from, &to).with_context(|| format!("cannot create {}", to.display()))?;
    }
    ["boot", "lib", "usr"]
        .iter()
        .try_for_each(|rest| remove_folder_if_there(&folder.join(rest)))
}

/// Where a member of a kernel package goes: the image, the configuration and our modules have a place, others none.
fn destination(member: &str) -> Option<String> {
    let name = member.rsplit('/').next()?;
    if name == "vmlinuz" || name.starts_with("vmlinuz-") {
        Some("vmlinuz".to_owned())
    } else if name == "config" || (name.starts_with("config-") && member.contains("/boot/")) {
        Some("config".to_owned())
    } else if module_name(Path::new(member)).is_some_and(|module| MODULES.contains(&module)) {
        Some(format!("modules/{name}"))
    } else {
        None
    }
}

/// The name of the module in a file, which may be compressed.
fn module_name(file: &Path) -> Option<&str> {
    file.file_name()?
        .to_str()?
        .split_once(".ko")
        .map(|(name, _)| name)
}

/// The paths in a folder, sorted.
fn list_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    };
    let mut paths = read().with_context(|| format!("cannot read {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

/// Removes a file that need not be there.
pub(super) fn remove_if_there(file: &Path) -> Result<()> {
    accept_absence(fs::remove_file(file))
        .with_context(|| format!("cannot remove {}", file.display()))
}

pub(super) fn remove_folder_if_there(folder: &Path) -> Result<()> {
    accept_absence(fs::remove_dir_all(folder))
        .with_context(|| format!("cannot remove {}", folder.display()))
}

fn accept_absence(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| {
        if error.kind() == ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_old_and_new_packages_find_their_place() {
        for (member, place) in [
            ("./boot/vmlinuz-6.1.0-56-amd64", Some("vmlinuz")),
            (
                "./usr/lib/modules/7.3.4+deb13-amd64/vmlinuz",
                Some("vmlinuz"),
            ),
            ("./boot/config-6.1.0-56-amd64", Some("config")),
            ("./usr/lib/modules/7.3.4+deb13-amd64/config", Some("config")),
            (
                "./lib/modules/6.1.0-56-amd64/kernel/fs/overlayfs/overlay.ko",
                Some("modules/overlay.ko"),
            ),
            (
                "./usr/lib/modules/7.3.4/kernel/fs/overlayfs/overlay.ko.xz",
                Some("modules/overlay.ko.xz"),
            ),
            (
                "./usr/lib/modules/7.3.4/kernel/drivers/firmware/google/memconsole.ko.xz",
                None,
            ),
            ("./boot/System.map-6.1.0-56-amd64", None),
            ("./usr/lib/modules/7.3.4/kernel/fs/overlayfs/", None),
        ] {
            assert_eq!(destination(member).as_deref(), place, "{member}");
        }
    }
}
