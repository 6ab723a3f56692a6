//! `cargo xtask docker`: makes sure that a Docker engine answers.

mod client;
mod engine;

use anyhow::Result;

pub(crate) use client::Client;

/// Start a Docker engine, unless one answers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Starts the engine if need be and says which one it is.
pub(crate) fn run(_: &Args) -> Result<()> {
    let client = connect()?;
    println!(
        "Docker {} answers ({})",
        client.engine_version()?,
        client.program().display()
    );
    Ok(())
}

/// A client whose engine answers, which is started if need be.
pub(crate) fn connect() -> Result<Client> {
    match Client::that_answers() {
        Some(client) => Ok(client),
        None => engine::start(),
    }
}
