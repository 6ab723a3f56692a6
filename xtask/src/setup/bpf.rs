//! What building the BPF programs needs: a compiler with library sources, and a linker that fits it.

use std::process::Command;

use anyhow::{Context, Result};
use bpf_toolchain::{Compiler, Missing, Piece, Toolchain};

use super::{apt::Apt, compiler, linker};
use crate::command;

/// Finds the toolchain, or installs what is missing of it.
pub(super) fn ensure(apt: &mut Apt) -> Result<()> {
    let compiler = match Compiler::best() {
        Ok(compiler) => compiler,
        Err(missing) if is_mended_by_hand(&missing) => return Err(missing.into()),
        Err(_) => compiler::install(apt)?,
    };
    let toolchain = match Toolchain::find() {
        Ok(toolchain) if runs(&toolchain) => toolchain,
        _ => {
            linker::install(apt, &compiler)?;
            Toolchain::find().context("the installation did not help")?
        }
    };
    println!("found {}", toolchain.compiler());
    println!("found {}", toolchain.linker());
    Ok(())
}

fn is_mended_by_hand(missing: &Missing) -> bool {
    matches!(missing.pieces(), [Piece::Override { .. }])
}

/// Whether the linker starts: its LLVM may have been removed.
fn runs(toolchain: &Toolchain) -> bool {
    command::text_of(Command::new(toolchain.linker().path()).arg("--version")).is_ok()
}
