//! The static program with the operations.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use capaudit_core::capability::CapSet;
use serde::Deserialize;

use crate::{
    command, project,
    setup::musl::{self, TARGET},
};

/// The built program.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
}

/// One line of its list.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Operation {
    pub operation: String,
    pub area: String,
    /// What its author had in mind.
    pub aim: CapSet,
    /// It looks at what it holds itself: no check shows what it makes of that.
    pub looks_at_sets: bool,
}

impl Program {
    /// Builds it, static, so that it runs everywhere.
    pub(crate) fn build() -> Result<Self> {
        // It reports on standard output, which may be for JSON.
        if !musl::is_there()? {
            musl::ensure()?;
        }
        command::succeed(project::cargo().args([
            "build",
            "--quiet",
            "--package",
            "capaudit-operations",
            "--target",
            TARGET,
        ]))?;
        Ok(Self {
            path: project::target().join(TARGET).join("debug/operations"),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The operations whose name contains one of `names` and that are in one of `areas`; an empty list chooses all.
    pub(super) fn choose(&self, names: &[String], areas: &[String]) -> Result<Vec<Operation>> {
        let list = command::text_of(Command::new(&self.path).args(["list", "--json"]))?;
        let all = list
            .lines()
            .map(|line| serde_json::from_str(line).context("odd list of operations"))
            .collect::<Result<Vec<Operation>>>()?;
        let is_chosen = |operation: &Operation| {
            (names.is_empty() || names.iter().any(|name| operation.operation.contains(name)))
                && (areas.is_empty() || areas.contains(&operation.area))
        };
        let chosen: Vec<Operation> = all.into_iter().filter(is_chosen).collect();
        if chosen.is_empty() {
            bail!("no operation is chosen: `operations list` shows names and areas");
        }
        Ok(chosen)
    }
}
