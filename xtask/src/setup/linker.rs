//! `bpf-linker`, built against the compiler's LLVM.

use std::{ops::RangeInclusive, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use bpf_toolchain::Compiler;

use super::apt::Apt;
use crate::{command, project};

const VERSION: &str = "0.13.0";

/// The versions of LLVM that this version can be built against.
const LLVM: RangeInclusive<u32> = 21..=23;

/// Builds and installs the linker by cargo, after LLVM's development files by apt where that is possible.
pub(super) fn install(apt: &mut Apt, compiler: &Compiler) -> Result<()> {
    let llvm = compiler
        .llvm()
        .with_context(|| format!("{compiler} does not tell its LLVM"))?;
    if !LLVM.contains(&llvm) {
        bail!(
            "bpf-linker {VERSION} can be built against LLVM {} to {}, but {compiler} has another: install a \
             bpf-linker that fits it",
            LLVM.start(),
            LLVM.end()
        );
    }
    let prefix = format!("/usr/lib/llvm-{llvm}");
    if Apt::usable().is_ok() {
        install_llvm(apt, llvm)?;
    }
    println!("installing bpf-linker {VERSION} for LLVM {llvm} (cargo, takes a minute)");
    let mut cargo = project::cargo();
    cargo
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--force",
            "--locked",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{llvm}"),
        ]);
    if Path::new(&prefix).is_dir() {
        cargo.env("LLVM_PREFIX", prefix);
    }
    command::logged(&mut cargo, &project::target().join("setup/bpf-linker.log")).with_context(
        || {
            format!(
                "cannot build bpf-linker: it needs a C compiler and LLVM {llvm}'s development files"
            )
        },
    )
}

fn install_llvm(apt: &mut Apt, llvm: u32) -> Result<()> {
    let mut packages = vec![format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
    packages.extend(["zlib1g-dev", "libzstd-dev"].map(str::to_owned));
    if !compiles_c() {
        packages.extend(["gcc", "libc6-dev"].map(str::to_owned));
    }
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    match Apt::missing(&packages)[..] {
        [] => Ok(()),
        ref missing => apt.install(missing),
    }
}

fn compiles_c() -> bool {
    command::text_of(Command::new("cc").arg("--version")).is_ok()
}
