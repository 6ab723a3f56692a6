//! The truth by knock-out, as the program prints it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use capaudit_core::capability::CapSet;
use serde::{Deserialize, Serialize};

use super::{
    mode::Mode,
    profile,
    program::{Operation, Program},
};
use crate::command;

/// What is known of an operation in a mode.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Truth {
    operation: String,
    mode: Mode,
    #[serde(flatten)]
    pub state: State,
    /// Nothing is known of these, because they could not be granted.
    pub lacking: CapSet,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub(super) enum State {
    Tested {
        /// What the act sees with everything.
        full: BTreeMap<String, String>,
        #[serde(flatten)]
        needs: Needs,
    },
    Refused {
        /// The minimal sets with which it fails in the same way as with everything.
        minimal: Vec<CapSet>,
    },
    Absent {
        why: String,
    },
    Untestable {
        why: String,
    },
    Nondeterministic {},
}

/// What an operation needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Needs {
    /// The minimal sets with which it sees the same as with everything.
    pub minimal: Vec<CapSet>,
    /// The minimal sets with which it succeeds, whatever it sees.
    pub minimal_to_succeed: Vec<CapSet>,
}

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Truths(BTreeMap<(String, Mode), Truth>);

impl Truths {
    pub(super) fn get(&self, operation: &str, mode: Mode) -> Result<&Truth> {
        self.0
            .get(&(operation.to_owned(), mode))
            .with_context(|| format!("no truth about {operation} as {mode}"))
    }

    pub(super) fn parse(lines: &str) -> Result<Self> {
        let mut truths = BTreeMap::new();
        for line in lines.lines() {
            let truth: Truth = serde_json::from_str(line)
                .with_context(|| format!("the truth is not as it should be: {line}"))?;
            truths.insert((truth.operation.clone(), truth.mode), truth);
        }
        Ok(Self(truths))
    }
}

/// Finds the truth about these operations, by so many processes at a time.
pub(super) fn of(
    program: &Program,
    operations: &[Operation],
    modes: &[Mode],
    profile: Option<&Path>,
    jobs: usize,
    folder: &Path,
) -> Result<Truths> {
    let modes: Vec<&str> = modes.iter().map(|mode| mode.name()).collect();
    let parts: Vec<_> = (0..jobs)
        .map(|job| {
            (
                operations
                    .iter()
                    .skip(job)
                    .step_by(jobs)
                    .collect::<Vec<_>>(),
                folder.join(format!("truth.{job}.jsonl")),
            )
        })
        .filter(|(part, _)| !part.is_empty())
        .collect();
    let searches = parts
        .iter()
        .map(|(part, file)| search(program, part, &modes.join(","), profile, file))
        .collect::<Result<Vec<_>>>()?;
    let statuses = searches
        .into_iter()
        .map(|mut search| {
            search
                .wait()
                .context("cannot wait for the search for the truth")
        })
        .collect::<Result<Vec<_>>>()?;
    if let Some(status) = statuses.iter().find(|status| !status.success()) {
        bail!("the search for the truth failed ({status})");
    }
    let lines = parts
        .iter()
        .map(|(_, file)| {
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        })
        .collect::<Result<String>>()?;
    Truths::parse(&lines)
}

fn search(
    program: &Program,
    part: &[&Operation],
    modes: &str,
    profile: Option<&Path>,
    file: &Path,
) -> Result<Child> {
    Command::new(program.path())
        .args(["truth", "--minimal-only", "--as", modes])
        .args(profile::arguments(profile))
        .args(part.iter().map(|operation| &operation.operation))
        .stdin(Stdio::null())
        .stdout(command::create(file)?)
        .spawn()
        .context("cannot start the search for the truth")
}
