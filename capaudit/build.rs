//! Compiles the BPF programs, which the library embeds.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bpf_toolchain::{OVERRIDE, Toolchain};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let programs = root.join("capaudit-ebpf");
    for source in [
        programs.join("src"),
        programs.join("Cargo.toml"),
        programs.join("Cargo.lock"),
        programs.join(".cargo/config.toml"),
        root.join("capaudit-common/src"),
        root.join("capaudit-common/Cargo.toml"),
    ] {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    println!("cargo::rerun-if-env-changed={OVERRIDE}");

    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    // One directory for all profiles, so that `core` is compiled once: OUT_DIR is TARGET/PROFILE/build/NAME/out.
    let target = out.ancestors().nth(4).unwrap_or(&out).join("bpf");
    let object = Toolchain::find()?.build(&programs, &target)?;
    std::fs::copy(&object, out.join("capaudit.bpf.o"))
        .with_context(|| format!("cannot copy {}", object.display()))?;
    Ok(())
}
