//! The standard library for static programs.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{command, project};

/// musl, not glibc: a static glibc loads shared objects all the same to look up names (nss), of whatever version the
/// machine has.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-musl";

/// Finds it, or has rustup fetch it for the toolchain in use.
pub(crate) fn ensure() -> Result<()> {
    if is_there()? {
        println!("found the standard library for {TARGET}");
        return Ok(());
    }
    if command::find("rustup").is_none() {
        bail!(
            "no standard library for {TARGET}, which a static program takes, and no rustup to fetch it: install one \
             below `rustc --print sysroot`"
        );
    }
    println!("installing the standard library for {TARGET} (rustup target add)");
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    command::logged(&mut rustup, &project::target().join("setup/musl.log"))
        .context("cannot fetch it: is the network up?")?;
    if !is_there()? {
        bail!("rustup added {TARGET}, but not to the toolchain that `rustc` is of");
    }
    Ok(())
}

/// Whether the toolchain in use has it.
pub(crate) fn is_there() -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc
        .current_dir(project::root())
        .args(["--print", "target-libdir", "--target", TARGET]);
    let libraries = command::text_of(&mut rustc)?;
    Ok(Path::new(libraries.trim()).is_dir())
}
