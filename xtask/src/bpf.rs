//! `cargo xtask bpf`: the BPF object that lies in the repository.

use std::fs;

use anyhow::{Context as _, Result, bail};
use bpf_toolchain::{Committed, Comparison, Toolchain};

use crate::{project, strip::without_dwarf};

/// Build the committed BPF object anew; to be run after every change of the BPF sources
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Change nothing: fail unless the committed object is what its sources make
    #[arg(long)]
    check: bool,
}

/// Builds, and replaces or compares.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check {
        return check();
    }
    let toolchain = Toolchain::find()?;
    let object = build(&toolchain)?;
    Committed::of(project::root()).replace(&object, &toolchain)?;
    println!("capaudit-tracer/bpf has the object of today's sources, by {toolchain}: commit it");
    Ok(())
}

/// Fails if the committed object is stale, or is not what this machine's toolchain, being the same that made it, makes
/// of the sources.
pub(crate) fn check() -> Result<()> {
    let committed = Committed::of(project::root());
    if let Err(stale) = committed.fresh() {
        bail!("{stale}: run `cargo xtask bpf` and commit capaudit-tracer/bpf");
    }
    let toolchain = Toolchain::find()?;
    match committed.compare(&build(&toolchain)?, &toolchain)? {
        Comparison::Same => {
            println!("the committed object is byte for byte what {toolchain} makes");
            Ok(())
        }
        Comparison::Different => bail!(
            "the committed object is not what the toolchain that it names makes of these sources: run `cargo xtask \
             bpf` and commit capaudit-tracer/bpf"
        ),
        Comparison::AnotherToolchain(theirs) => {
            println!(
                "NOT COMPARED: the committed object was made by {theirs}, and this machine has {}; its sources are \
                 these",
                toolchain.identity()?
            );
            Ok(())
        }
    }
}

/// The object as it is committed.
fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let linked = toolchain.build(
        &project::root().join("capaudit-ebpf"),
        &project::target().join("bpf"),
    )?;
    let object = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    without_dwarf(&object)
}
