//! Provides the BPF programs, which the library embeds: the committed object, or one compiled on the spot.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use bpf_toolchain::{Committed, OVERRIDE, SOURCES, Toolchain};

fn main() -> Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = package.parent().unwrap_or(package);
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            repository.join(source).display()
        );
    }
    println!("cargo::rerun-if-changed={}", package.join("bpf").display());
    println!("cargo::rerun-if-env-changed={OVERRIDE}");

    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    let object = object(repository, &out)?;
    std::fs::copy(&object, out.join("capaudit.bpf.o"))
        .with_context(|| format!("cannot copy {}", object.display()))?;
    Ok(())
}

/// The committed object where it was built from these very sources, as `cargo xtask lint` has proven; else, or where a
/// toolchain is asked for by name, one that is compiled now.
fn object(repository: &Path, out: &Path) -> Result<PathBuf> {
    let stale = if std::env::var_os(OVERRIDE).is_some_and(|choice| !choice.is_empty()) {
        None
    } else {
        match Committed::of(repository).fresh() {
            Ok(object) => return Ok(object),
            Err(stale) => Some(stale),
        }
    };
    let toolchain = match (Toolchain::find(), stale) {
        (Ok(toolchain), _) => toolchain,
        (Err(missing), None) => return Err(missing.into()),
        // An object of other sources than these is never taken instead.
        (Err(missing), Some(stale)) => bail!("{stale}; {missing}"),
    };
    // One directory for all profiles, so that `core` is compiled once: OUT_DIR is TARGET/PROFILE/build/NAME/out.
    let target = out.ancestors().nth(4).unwrap_or(out).join("bpf");
    toolchain.build(&repository.join("capaudit-ebpf"), &target)
}
