//! The score as Markdown, aligned so that it also reads well in a terminal.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use super::score::{Outcome, Row, Tally, Verdict};
use capaudit_core::capability::CapSet;

use crate::{capability::names, command, docker::Client, table::table};

/// What stands for a run that does not count.
const NO_VERDICT: &str = "-";

/// When and where a score was measured.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    date: String,
    kernel: String,
    docker: String,
    granted: CapSet,
}

impl Setting {
    /// Today, on this machine.
    pub(super) fn here(docker: &Client, granted: CapSet) -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("cannot read the kernel's release")?;
        Ok(Self {
            date: command::text_of(Command::new("date").args(["--utc", "+%F"]))?
                .trim()
                .to_owned(),
            kernel: number(&release),
            docker: number(&docker.engine_version()?),
            granted,
        })
    }

    pub(super) fn measured(&self) -> String {
        let Self {
            date,
            kernel,
            docker,
            ..
        } = self;
        format!("Measured on {date} with Linux {kernel} and Docker {docker},")
    }

    /// For tests of pages.
    #[cfg(test)]
    pub(super) fn of_test() -> Self {
        Self {
            date: "2026-01-02".into(),
            kernel: number("6.1.0-37-amd64\n"),
            docker: number("20.10.24+dfsg1"),
            granted: CapSet::known(),
        }
    }
}

/// The version without what a distributor or builder added to it.
fn number(release: &str) -> String {
    release
        .trim()
        .chars()
        .take_while(|character| character.is_ascii_digit() || *character == '.')
        .collect()
}

/// The page for the documentation.
pub(super) fn whole(rows: &[Row], setting: &Setting) -> String {
    let (count, refused) = (rows.len(), names(CapSet::known() - setting.granted));
    format!(
        "# Score by the corpus

{} by `cargo xtask corpus --write`. Each of the {count} scenarios
of the [corpus](../../corpus/README.md) ran once under `capaudit run`, in a container that may use everything Docker grants
here (not granted: {refused}). \"Naive\" recommends every capability of which a check was granted.

- exact: the minimal set with the least power
- stronger: minimal, but another minimal set has less power
- extra: sufficient, but with members that are not needed
- missing: not sufficient
- failed run: the scenario did not do its work, which says nothing of the recommendation

{}",
        setting.measured(),
        tables(rows)
    )
}

/// The sums, and a line for each scenario.
pub(super) fn tables(rows: &[Row]) -> String {
    let sums = [
        ("capaudit", rows.iter().map(Row::capaudit).collect()),
        ("naive", rows.iter().map(Row::naive).collect()),
    ];
    let sums = sums.into_iter().map(|(name, tally): (&str, Tally)| {
        let Tally {
            exact,
            stronger,
            extra,
            missing,
            failed,
        } = tally;
        let counts = [exact, stronger, extra, missing, failed].map(|count| count.to_string());
        [name.to_owned()].into_iter().chain(counts).collect()
    });
    let scenarios = rows.iter().map(|row| {
        let naive = row
            .naive()
            .as_ref()
            .map_or_else(|| NO_VERDICT.to_owned(), Verdict::to_string);
        let outcome = match &row.outcome {
            scored @ Outcome::Scored { .. } => scored.to_string(),
            // The reason may quote anything.
            failed @ Outcome::Failed(_) => failed.to_string().replace('|', "/"),
        };
        vec![row.scenario.clone(), names(row.needed), outcome, naive]
    });
    format!(
        "{}\n{}",
        table(
            &["", "exact", "stronger", "extra", "missing", "failed run"],
            sums.collect()
        ),
        table(
            &["scenario", "needed", "capaudit", "naive"],
            scenarios.collect()
        )
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use capaudit_core::capability::Capability;

    use super::*;

    fn rows() -> Vec<Row> {
        let scored = |scenario: &str, needed: &str, capaudit, naive| Row {
            scenario: scenario.to_owned(),
            needed: needed.parse().unwrap(),
            outcome: Outcome::Scored {
                capaudit,
                naive,
                complete: true,
            },
        };
        vec![
            scored(
                "chown-tree",
                "CHOWN",
                Verdict::Exact,
                Verdict::Extra("DAC_OVERRIDE".parse().unwrap()),
            ),
            scored(
                "renice",
                "SYS_NICE",
                Verdict::Missing("SYS_NICE".parse().unwrap()),
                Verdict::Exact,
            ),
            Row {
                scenario: "squid".into(),
                needed: CapSet::EMPTY,
                outcome: Outcome::Failed("exit status: 1: a|b".into()),
            },
        ]
    }

    #[test]
    fn sums_come_first_and_every_scenario_has_a_line() {
        let expected = "\
|          | exact | stronger | extra | missing | failed run |
| -------- | ----- | -------- | ----- | ------- | ---------- |
| capaudit | 1     | 0        | 0     | 1       | 1          |
| naive    | 1     | 0        | 1     | 0       | 1          |

| scenario   | needed   | capaudit                        | naive              |
| ---------- | -------- | ------------------------------- | ------------------ |
| chown-tree | CHOWN    | exact                           | extra DAC_OVERRIDE |
| renice     | SYS_NICE | missing SYS_NICE                | exact              |
| squid      | (none)   | failed run: exit status: 1: a/b | -                  |
";
        assert_eq!(tables(&rows()), expected);
    }

    #[test]
    fn the_page_says_when_and_where() {
        let setting = Setting {
            granted: CapSet::known() - CapSet::from(Capability::BPF),
            ..Setting::of_test()
        };
        let page = whole(&rows(), &setting);
        assert!(
            page.contains("Measured on 2026-01-02 with Linux 6.1.0 and Docker 20.10.24, by"),
            "{page}"
        );
        assert!(page.contains("(not granted: BPF)"), "{page}");
    }
}
