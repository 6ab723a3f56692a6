//! The Debian package; what is in it says `package.metadata.deb` in capaudit/Cargo.toml.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{command, project, setup};

/// Packs what lies in `dist`, and returns the package's path.
pub(super) fn build(dist: &Path) -> Result<PathBuf> {
    setup::cargo_deb::ensure()?;
    let package = dist.join("capaudit.deb");
    let mut cargo = project::cargo();
    cargo
        // What is packed was built, and run, before; that it was not built by this is what it would warn of.
        .args([
            "deb",
            "--package",
            "capaudit",
            "--no-build",
            "--no-strip",
            "--quiet",
        ])
        .args(["--locked", "--output"])
        .arg(&package);
    command::succeed(&mut cargo).context("cannot make the Debian package")?;
    Ok(package)
}
