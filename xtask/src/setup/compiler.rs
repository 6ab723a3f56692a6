//! A Rust compiler that brings the library's sources.

use std::process::Command;

use anyhow::{Context, Result, bail};
use bpf_toolchain::{Choice, Compiler};

use super::apt::Apt;
use crate::{command, project};

/// Debian's backport of a current Rust, which it keeps for its browsers.
const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Installs Debian's compiler or, where that is impossible, rustup's nightly.
pub(super) fn install(apt: &mut Apt) -> Result<Compiler> {
    let choice = Choice::from_environment()?;
    let by_apt = if choice == Choice::Rustup {
        Ok(None)
    } else {
        from_debian(apt).map(Some)
    };
    let why_not_apt = match by_apt {
        Ok(Some(compiler)) => return Ok(compiler),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    if choice != Choice::System && command::find("rustup").is_some() {
        if let Some(error) = &why_not_apt {
            println!("not by apt: {error:#}");
        }
        return from_rustup();
    }
    let remedy = "install rustup (https://rustup.rs) and run `cargo xtask setup` again, or install a Rust with its \
                  library sources below `rustc --print sysroot`";
    match why_not_apt {
        Some(error) => Err(error.context(format!("no compiler for the BPF programs: {remedy}"))),
        None => bail!("no compiler for the BPF programs, rustup is not there: {remedy}"),
    }
}

fn from_debian(apt: &mut Apt) -> Result<Compiler> {
    apt.install(&DEBIAN)?;
    Compiler::best()
        .context("Debian's Rust does not do: is the security archive among apt's sources?")
}

fn from_rustup() -> Result<Compiler> {
    println!("installing nightly with rust-src (rustup)");
    let mut rustup = Command::new("rustup");
    // A failure is to end with rustup's message.
    rustup.env("RUST_BACKTRACE", "0");
    rustup.args([
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "--component",
        "rust-src",
    ]);
    command::logged(&mut rustup, &project::target().join("setup/rustup.log"))
        .context("cannot fetch nightly: is the network up?")?;
    Compiler::best().context("rustup's nightly does not do")
}
