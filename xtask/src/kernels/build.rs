//! Building the `capaudit` that goes into the virtual machine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{command, project};

/// The virtual machines' target; named to cargo so that build scripts and macros are built apart, and not statically.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds `capaudit` statically linked, in a target folder of its own, and returns the program's path.
pub(super) fn capaudit(cache: &Path) -> Result<PathBuf> {
    let target_dir = cache.join("build");
    println!("== building capaudit, statically linked");
    let mut cargo = project::cargo();
    cargo
        .args([
            "build",
            "--release",
            "--package",
            "capaudit",
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(&target_dir)
        // For this target alone: RUSTFLAGS would also override what the BPF object is built with.
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-C target-feature=+crt-static",
        )
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command::succeed(&mut cargo).context("cannot build capaudit for the virtual machine")?;
    Ok(target_dir.join(TARGET).join("release/capaudit"))
}
