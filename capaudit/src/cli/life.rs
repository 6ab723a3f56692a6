//! `capaudit life`: what `capaudit harden` runs again and again, in a process of its own. Not for people.

use std::path::PathBuf;

use capaudit_verify::life::{self, LifeError, Plan};

use super::{exit::Exit, failure::Failure};

/// As of an engine's client that could not start a container: what failed is not what is in the container.
const ENGINE_FAILED: i32 = 125;

/// Lead the life of a compose project.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What it consists of, as `capaudit harden` wrote it
    plan: PathBuf,
}

/// Runs the subcommand. It is a finding if something went wrong in the life.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let text = std::fs::read(&arguments.plan)
        .map_err(|error| Failure::usage(format!("cannot read {:?}: {error}", arguments.plan)))?;
    let plan: Plan = serde_json::from_slice(&text)
        .map_err(|error| Failure::usage(format!("{:?}: {error}", arguments.plan)))?;
    match life::live(&plan) {
        Ok(()) => Ok(Exit::Success),
        Err(LifeError::Failed(failure)) => {
            for line in failure.output.lines() {
                super::failure::note(line);
            }
            Err(Failure::new(Exit::Finding, failure))
        }
        Err(error) => Err(Failure::new(Exit::of_status(ENGINE_FAILED), error)),
    }
}
