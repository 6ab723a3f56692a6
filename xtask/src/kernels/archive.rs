//! Debian's archive, asked for kernels through apt.
//!
//! apt is given a configuration, lists and a cache of our own, so that suites the machine does not use can be searched,
//! nothing under `/etc` or `/var` changes, and no root is needed. Only the archive's address is taken over from the
//! machine's own sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command;

use super::package::{self, Unpacked};
use super::release::Release;

/// The suites searched, with the label of the archive that holds each. By default the newest kernel of each series they
/// install is booted: the oldest that Debian maintains, the one of Debian 12, the one of Debian 13, the newest of all.
const SUITES: [(&str, &str); 4] = [
    ("Debian-Security", "bullseye-security"),
    ("Debian-Security", "bookworm-security"),
    ("Debian", "bookworm-backports"),
    ("Debian", "trixie-backports"),
];

/// The package whose dependency is a suite's newest kernel.
const META_PACKAGE: &str = "linux-image-amd64";

/// The keys that sign the archive, on Debian and its derivatives; elsewhere, apt's own trusted keys have to do.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How long the archive's lists are taken to be current.
const LISTS_CURRENT: Duration = Duration::from_secs(24 * 60 * 60);

/// An apt of its own under the cache folder, which reads Debian's lists and fetches kernel packages.
#[derive(Debug)]
pub(super) struct Archive {
    cache: PathBuf,
    apt: PathBuf,
}

impl Archive {
    /// Sets apt up under the cache folder, and updates its lists if they are older than a day or `refresh` is set.
    pub(super) fn open(cache: &Path, refresh: bool) -> Result<Self> {
        let archive = Self {
            cache: cache.to_path_buf(),
            apt: cache.join("apt"),
        };
        for folder in ["lists/partial", "cache/archives/partial"] {
            let folder = archive.apt.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        command::write(&archive.configuration_file(), &archive.configuration()?)?;

        let sources = sources()?;
        if fs::read_to_string(archive.sources_file()).ok().as_deref() != Some(&sources) {
            // Lists of other sources are worth nothing.
            package::remove_if_there(&archive.stamp())?;
            command::write(&archive.sources_file(), &sources)?;
        }

        if (refresh || !archive.is_current())
            && let Err(error) = archive.update()
        {
            // Without the network old lists still serve, and so do the others where a suite has gone.
            ensure!(
                !archive.releases()?.is_empty(),
                "cannot read Debian's list of kernels: {error:#}"
            );
            eprintln!("warning: the list of kernels may be old or lack some: {error:#}");
        }
        Ok(archive)
    }

    /// Every release on offer, oldest first.
    pub(super) fn releases(&self) -> Result<Vec<Release>> {
        let mut search = self.command("apt-cache");
        let found =
            command::text_of(search.args(["search", "--names-only", "^linux-image-[0-9]"]))?;
        let packages = found
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        let releases: BTreeSet<_> = packages.filter_map(Release::of_package).collect();
        Ok(releases.into_iter().collect())
    }

    /// The newest release of each series (6.1, 6.12, …) that a suite installs by default, oldest first.
    pub(super) fn newest_of_each_series(&self) -> Result<Vec<Release>> {
        let records = self
            .record(META_PACKAGE)?
            .context("apt offers no kernel: try again with --refresh")?;
        let defaults: Vec<_> = dependencies(&records)
            .filter_map(Release::of_package)
            .collect();
        let offered = self.releases()?;
        let newest = |default: &Release| {
            offered
                .iter()
                .rfind(|release| release.is(default.series()))
                .cloned()
        };
        let releases: BTreeSet<_> = defaults.iter().filter_map(newest).collect();
        Ok(releases.into_iter().collect())
    }

    /// Downloads and unpacks a release, unless that has been done.
    pub(super) fn unpack(&self, release: &Release) -> Result<Unpacked> {
        if let Some(unpacked) = Unpacked::find(&self.cache, release) {
            return Ok(unpacked);
        }
        println!("== fetching Linux {release}");
        Unpacked::create(&self.cache, release, |folder| {
            self.download(release, folder)
        })
    }

    /// Downloads the packages of a release into a folder: the signed kernel, or else the unsigned one.
    fn download(&self, release: &Release, folder: &Path) -> Result<()> {
        let signed = format!("linux-image-{release}");
        let packages = match self.packages(&signed, release)? {
            packages if packages.is_empty() => {
                self.packages(&format!("{signed}-unsigned"), release)?
            }
            packages => packages,
        };
        command::text_of(
            self.command("apt-get")
                .current_dir(folder)
                .arg("download")
                .args(packages),
        )
        .map(drop)
    }

    /// The packages that make up a kernel; none if the archive has no package of that name. An image package has all
    /// its files itself, or (from Linux 7.0 on) depends on those that have them.
    fn packages(&self, image: &str, release: &Release) -> Result<Vec<String>> {
        let Some(record) = self.record(image)? else {
            return Ok(Vec::new());
        };
        let mut packages = vec![image.to_owned()];
        for part in ["binary", "base", "modules"].map(|part| format!("linux-{part}-{release}")) {
            // The archive may have lost a part that an image with all its files can do without.
            if dependencies(&record).any(|name| name == part) && self.record(&part)?.is_some() {
                packages.push(part);
            }
        }
        Ok(packages)
    }

    /// What the archive says on a package, if it has that.
    fn record(&self, package: &str) -> Result<Option<String>> {
        let output = command::output_of(self.command("apt-cache").args(["show", package]))?;
        let record = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.success() && !record.is_empty()).then_some(record))
    }

    /// Whether the lists were updated lately.
    fn is_current(&self) -> bool {
        let age = fs::metadata(self.stamp())
            .and_then(|stamp| stamp.modified())
            .map(|time| time.elapsed());
        matches!(age, Ok(Ok(age)) if age < LISTS_CURRENT)
    }

    fn update(&self) -> Result<()> {
        command::text_of(self.command("apt-get").arg("update"))?;
        command::write(&self.stamp(), "")
    }

    /// An apt command that uses our configuration.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.configuration_file());
        command
    }

    /// What differs from the machine's own configuration.
    fn configuration(&self) -> Result<String> {
        let folder = self
            .apt
            .to_str()
            .context("the checkout's path is not valid UTF-8: move it")?;
        ensure!(
            !folder.contains('"'),
            "the checkout's path contains a quotation mark: move it"
        );
        let settings = [
            ("Dir::Etc::sourcelist", format!("{folder}/sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferences", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            ("Dir::State::lists", format!("{folder}/lists")),
            ("Dir::Cache", format!("{folder}/cache")),
            // apt's own user may have no way into our folders.
            ("APT::Sandbox::User", "root".to_owned()),
            ("APT::Update::Error-Mode", "any".to_owned()),
            // Neither translations nor what software centres show.
            ("Acquire::Languages", "none".to_owned()),
            (
                "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled",
                "false".to_owned(),
            ),
        ];
        Ok(settings
            .iter()
            .map(|(option, value)| format!("{option} \"{value}\";\n"))
            .collect())
    }

    fn configuration_file(&self) -> PathBuf {
        self.apt.join("apt.conf")
    }

    fn sources_file(&self) -> PathBuf {
        self.apt.join("sources.list")
    }

    /// A file touched when the lists were updated.
    fn stamp(&self) -> PathBuf {
        self.apt.join("updated")
    }
}

/// apt's source list: our suites, at the addresses where the machine's own sources find Debian.
fn sources() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
        "Created-By: Packages",
    ]);
    let targets = command::text_of(&mut targets)?;
    let signed_by = if Path::new(KEYRING).is_file() {
        format!(" signed-by={KEYRING}")
    } else {
        String::new()
    };
    let list: String = SUITES
        .iter()
        .filter_map(|(label, suite)| {
            let address = targets
                .lines()
                .find_map(|line| line.strip_prefix(label)?.strip_prefix(' '))?;
            Some(format!(
                "deb [arch=amd64{signed_by}] {address} {suite} main\n"
            ))
        })
        .collect();
    if list.is_empty() {
        bail!(
            "apt knows no Debian archive: run `apt-get update`, with one among its sources, and try again"
        );
    }
    Ok(list)
}

/// The names of the packages that records printed by `apt-cache show` depend on.
fn dependencies(records: &str) -> impl Iterator<Item = &str> {
    records
        .lines()
        .filter_map(|line| line.strip_prefix("Depends: "))
        .flat_map(|line| line.split([',', '|']))
        .filter_map(|dependency| dependency.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_lose_their_versions() {
        let records = "Package: a\nDepends: linux-image-6.1.0-56-amd64 (= 6.1.192-2), kmod | b (>= 1)\n\nDepends: c\n";
        assert_eq!(
            dependencies(records).collect::<Vec<_>>(),
            ["linux-image-6.1.0-56-amd64", "kmod", "b", "c"]
        );
    }
}
