//! `cargo xtask setup`: finds or installs what building and testing need.

pub mod apt;
mod bpf;
pub mod cargo_deb;
mod compiler;
mod linker;
pub mod musl;
mod tools;

use anyhow::Result;

use apt::Apt;

/// Find or install what building the BPF programs and the static program needs
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also what running the tests needs: Docker, debootstrap, cargo-deb and small tools
    #[arg(long)]
    pub tests: bool,
}

/// Installs what is missing; quick when nothing is.
pub fn run(args: &Args) -> Result<()> {
    let mut apt = Apt::default();
    bpf::ensure(&mut apt)?;
    musl::ensure()?;
    if args.tests {
        tools::ensure(&mut apt)?;
        cargo_deb::ensure()?;
    }
    Ok(())
}
