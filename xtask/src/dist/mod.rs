//! `cargo xtask dist`: what is handed to others.
//!
//! One program, linked statically with musl: it runs on every kernel, distribution and empty image of its architecture, and
//! it is the one that `cargo xtask kernels` boots, that the Debian package and the container image hold.

mod binary;
mod deb;
mod licenses;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{command, project};

pub(crate) use binary::static_binary;

/// Build the statically linked program, its manual pages, its completions and the licences of what is in it into target/dist
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also a Debian package of them
    #[arg(long)]
    deb: bool,
}

/// A shell, and what it wants the file with its completions to be called.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "capaudit"),
    ("zsh", "_capaudit"),
    ("fish", "capaudit.fish"),
];

/// Builds, and says where everything is.
pub(crate) fn run(args: &Args) -> Result<()> {
    let built = static_binary()?;
    let dist = directory();
    let program = dist.join("capaudit");
    replace(&built, &program)?;
    manual(&program, &dist.join("man"))?;
    completions(&program, &dist.join("completions"))?;
    licenses::write(&dist.join("LICENSES.txt"))?;
    println!("{}", program.display());
    if args.deb {
        println!("{}", deb::build(&dist)?.display());
    }
    Ok(())
}

fn directory() -> PathBuf {
    // Where the package.metadata.deb looks for it, wherever cargo builds.
    project::root().join("target/dist")
}

/// Copies a program to a new file: the old one may be running.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::copy(from, &new)
        .and_then(|_size| fs::rename(&new, to))
        .with_context(|| format!("cannot write {}", to.display()))
}

/// A page for the program and one for every subcommand.
fn manual(program: &Path, directory: &Path) -> Result<()> {
    empty(directory)?;
    command::succeed(
        Command::new(program)
            .args(["man", "--output"])
            .arg(directory),
    )
}

fn completions(program: &Path, directory: &Path) -> Result<()> {
    empty(directory)?;
    for (shell, name) in COMPLETIONS {
        let script = command::text_of(Command::new(program).args(["completions", shell]))?;
        command::write(&directory.join(shell).join(name), &script)?;
    }
    Ok(())
}

/// Makes a directory with nothing in it, so that nothing of an earlier version is handed out.
fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}
