//! `cargo deb`, which makes Debian packages.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, project};

const VERSION: &str = "3.8.0";

/// Finds this version, or has cargo build it.
pub(crate) fn ensure() -> Result<()> {
    if installed().is_some_and(|version| version == VERSION) {
        println!("found cargo-deb {VERSION}");
        return Ok(());
    }
    println!("installing cargo-deb {VERSION} (cargo, takes a minute)");
    let mut cargo = project::cargo();
    cargo
        .args(["install", "cargo-deb", "--version", VERSION])
        .args(["--force", "--locked"])
        // It packs a dozen megabytes: to be there soon matters more than to be fast.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    command::logged(&mut cargo, &project::target().join("setup/cargo-deb.log"))
        .context("cannot build cargo-deb")
}

fn installed() -> Option<String> {
    let mut cargo = Command::new(project::cargo().get_program());
    let version = command::text_of(cargo.args(["deb", "--version"])).ok()?;
    Some(version.trim().trim_start_matches("cargo-deb ").to_owned())
}
