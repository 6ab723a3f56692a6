//! The statically linked program.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    command, project,
    setup::musl::{self, TARGET},
};

/// Builds `capaudit` and returns the program's path.
///
/// The target folder is its own: other flags would have cargo compile the usual builds anew.
pub(crate) fn static_binary() -> Result<PathBuf> {
    musl::ensure()?;
    let target_dir = project::target().join("static");
    println!("== building capaudit, statically linked");
    let mut cargo = project::cargo();
    cargo
        .args(["build", "--release", "--locked", "--package", "capaudit"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        // It may say otherwise for the machine's own sake.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // For this target alone, and although it is the default: a distribution's Rust has another.
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS",
            "-C target-feature=+crt-static",
        );
    // Names of functions are two megabytes, and panics are not expected to be read.
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    command::succeed(&mut cargo).context("cannot build capaudit statically linked")?;
    Ok(target_dir.join(TARGET).join("release/capaudit"))
}
