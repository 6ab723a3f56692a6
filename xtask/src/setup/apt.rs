//! Debian's packages.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, project};

/// Installs packages, and asks the archive for its lists once before the first.
#[derive(Debug, Default)]
pub(crate) struct Apt {
    updated: bool,
}

impl Apt {
    /// An error that says why packages cannot be installed here, if they cannot.
    pub(crate) fn usable() -> Result<()> {
        if command::find("apt-get").is_none() {
            bail!("this is no Debian: apt-get is not there");
        }
        if !project::is_root() {
            bail!("installing packages takes root");
        }
        Ok(())
    }

    /// Those of `packages` that are not installed.
    pub(crate) fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
        packages
            .iter()
            .copied()
            .filter(|package| !is_installed(package))
            .collect()
    }

    /// Installs `packages`, none of which may displace one that is installed.
    pub(crate) fn install(&mut self, packages: &[&str]) -> Result<()> {
        let names = packages.join(" ");
        Self::usable().with_context(|| format!("cannot install {names}"))?;
        self.update();
        println!("installing {names} (apt)");
        let log = project::target().join("setup/apt-install.log");
        let mut install = apt_get("install");
        install
            .args(["--yes", "--no-remove", "--no-install-recommends"])
            .args(packages);
        command::logged(&mut install, &log).with_context(|| format!("cannot install {names}"))
    }

    /// An archive that cannot be reached is no reason to stop: the package may come from another, or from the lists
    /// that are already there.
    fn update(&mut self) {
        if self.updated {
            return;
        }
        self.updated = true;
        println!("asking the package archive for its lists (apt-get update)");
        let log = project::target().join("setup/apt-update.log");
        if let Err(error) = command::logged(&mut apt_get("update"), &log) {
            eprintln!("warning: {error:#}");
        }
    }
}

fn apt_get(action: &str) -> Command {
    let mut apt_get = Command::new("apt-get");
    apt_get.env("DEBIAN_FRONTEND", "noninteractive").args([
        "--quiet",
        "-o",
        "Dpkg::Use-Pty=0",
        action,
    ]);
    apt_get
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}", package]);
    command::text_of(&mut query).is_ok_and(|status| status == "installed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_does_not_exist_is_missing() {
        assert_eq!(Apt::missing(&["no-such-package"]), ["no-such-package"]);
    }
}
