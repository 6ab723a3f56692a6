//! `cargo xtask setup`: finds or installs what building and testing need.

pub(crate) mod apt;
mod bpf;
pub(crate) mod cargo_deb;
mod compiler;
mod linker;
pub(crate) mod musl;
mod tools;

use anyhow::Result;

use apt::Apt;

/// Find or install what building the BPF programs and the static program needs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also what running the tests needs: Docker, debootstrap, cargo-deb and small tools
    #[arg(long)]
    pub tests: bool,
}

/// Installs what is missing; quick when nothing is.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut apt = Apt::default();
    bpf::ensure(&mut apt)?;
    musl::ensure()?;
    if args.tests {
        tools::ensure(&mut apt)?;
        cargo_deb::ensure()?;
    }
    Ok(())
}
