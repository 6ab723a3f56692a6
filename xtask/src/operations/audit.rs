//! One audit of many operations, each a subject of its own.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use capaudit_core::report::{Report, SubjectReport};
use serde::Deserialize;

use super::{
    mode::Mode,
    profile,
    program::{Operation, Program},
};
use crate::{command, project};

/// What an audit of a series shows.
#[derive(Debug)]
pub(super) struct Audit {
    pub mode: Mode,
    acts: HashMap<String, Act>,
    subjects: HashMap<String, SubjectReport>,
}

/// What one act came to.
#[derive(Debug, Deserialize)]
pub(super) struct Act {
    operation: String,
    id: String,
    pub trial: Trial,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trial {
    Acted(Seen),
    NotSetUp(Seen),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub(super) enum Seen {
    Ok { details: BTreeMap<String, String> },
    Error { name: String },
    Hung,
    Died { signal: i32 },
}

impl Audit {
    /// What an operation came to, and what its report says; nothing if it never acted.
    pub(super) fn get(&self, operation: &str) -> Result<(&Act, Option<&SubjectReport>)> {
        let act = self
            .acts
            .get(operation)
            .with_context(|| format!("{operation} is missing from the series as {}", self.mode))?;
        Ok((act, self.subjects.get(&act.id)))
    }

    pub(super) fn parse(mode: Mode, acts: &str, report: &str) -> Result<Self> {
        let acts = acts
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("odd act: {line}")))
            .collect::<Result<Vec<Act>>>()?;
        let report: Report = serde_json::from_str(report).context("odd report")?;
        if !report.session.complete {
            // An act is over so soon that what it executed may be gone before capaudit reads it. It says so.
            eprintln!(
                "as {mode}: the record is incomplete: {:?}",
                report.session.losses
            );
        }
        let subjects = report.subjects.into_iter();
        Ok(Self {
            mode,
            acts: acts
                .into_iter()
                .map(|act| (act.operation.clone(), act))
                .collect(),
            subjects: subjects
                .filter_map(|subject| Some((subject.id.clone()?, subject)))
                .collect(),
        })
    }
}

/// Lets the operations act under an audit.
pub(super) fn of(
    capaudit: &Path,
    program: &Program,
    operations: &[Operation],
    mode: Mode,
    profile: Option<&Path>,
    folder: &Path,
) -> Result<Audit> {
    let report = folder.join(format!("report.{mode}.json"));
    let acts = command::text_of(
        Command::new(capaudit)
            .args(["run", "--format", "json", "--output"])
            .arg(&report)
            .arg("--")
            .arg(program.path())
            .args(["series", "--as", mode.name()])
            .args(profile::arguments(profile))
            .args(operations.iter().map(|operation| &operation.operation)),
    )?;
    let text =
        fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    Audit::parse(mode, &acts, &text)
}

/// The capaudit of this workspace.
pub(super) fn build() -> Result<PathBuf> {
    command::succeed(project::cargo().args(["build", "--quiet", "--package", "capaudit"]))?;
    Ok(project::target().join("debug/capaudit"))
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok { details } if details.is_empty() => f.write_str("succeeds"),
            Self::Ok { details } => write!(f, "succeeds: {details:?}"),
            Self::Error { name } => f.write_str(name),
            Self::Hung => f.write_str("hangs"),
            Self::Died { signal } => write!(f, "signal {signal}"),
        }
    }
}
