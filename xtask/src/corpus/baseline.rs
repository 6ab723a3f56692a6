//! The committed score, which a new one may not fall short of.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail};

use super::score::{Row, Verdict};

/// The scenarios that an earlier score calls exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Baseline {
    exact: BTreeSet<String>,
}

impl Baseline {
    /// Reads the page that `--write` wrote.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let page =
            fs::read_to_string(path).with_context(|| format!("no score in {}", path.display()))?;
        Self::parse(&page).with_context(|| {
            format!(
                "{} holds no score: write one by `cargo xtask corpus --write {0}`",
                path.display()
            )
        })
    }

    fn parse(page: &str) -> Result<Self> {
        let cells = |line: &str| -> Vec<String> {
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let rows = page.lines().map(cells);
        // A line starts and ends with a bar, so that the first cell is empty.
        let is_head =
            |row: &Vec<String>| matches!(&row[..], [_, scenario, ..] if scenario == "scenario");
        let mut rows = rows.skip_while(|row| !is_head(row));
        let head = rows.next().unwrap_or_default();
        let Some(column) = head.iter().position(|cell| cell == "capaudit") else {
            bail!("it has no table of scenarios");
        };
        let exact = rows.filter(|row| {
            row.get(column)
                .is_some_and(|cell| cell.starts_with("exact"))
        });
        Ok(Self {
            exact: exact.filter_map(|row| row.get(1).cloned()).collect(),
        })
    }

    /// What is worse in `rows`: anything missing, or fewer exact among the scenarios that were run.
    pub(super) fn faults(&self, rows: &[Row]) -> Vec<String> {
        let named = |wanted: &dyn Fn(&Row) -> bool| -> Vec<&str> {
            rows.iter()
                .filter(|row| wanted(row))
                .map(|row| row.scenario.as_str())
                .collect()
        };
        let is_exact = |row: &Row| row.capaudit() == Some(Verdict::Exact);
        let was_exact = |row: &Row| self.exact.contains(&row.scenario);
        let mut faults = Vec::new();
        let missing = named(&|row| matches!(row.capaudit(), Some(Verdict::Missing(_))));
        if !missing.is_empty() {
            faults.push(format!(
                "something needed is missing: {}",
                missing.join(", ")
            ));
        }
        let (now, before) = (named(&is_exact).len(), named(&was_exact).len());
        if now < before {
            let lost = named(&|row| was_exact(row) && !is_exact(row));
            faults.push(format!(
                "{now} exact, {before} before; no longer: {}",
                lost.join(", ")
            ));
        }
        faults
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{
        super::{page::tables, score::Outcome},
        *,
    };
    use capaudit_core::capability::CapSet;

    fn row(scenario: &str, capaudit: Option<Verdict>) -> Row {
        let scored = |capaudit| Outcome::Scored {
            capaudit,
            naive: Verdict::Exact,
            complete: true,
        };
        let outcome = capaudit.map_or_else(|| Outcome::Failed("exit status: 1".into()), scored);
        Row {
            scenario: scenario.into(),
            needed: CapSet::EMPTY,
            outcome,
        }
    }

    fn extra() -> Option<Verdict> {
        Some(Verdict::Extra("KILL".parse().unwrap()))
    }

    fn baseline(rows: &[Row]) -> Baseline {
        Baseline::parse(&format!("# Score\n\ntext\n\n{}", tables(rows))).unwrap()
    }

    #[test]
    fn the_page_can_be_read_back() {
        let before = baseline(&[
            row("a", Some(Verdict::Exact)),
            row("b", extra()),
            row("c", None),
        ]);
        assert_eq!(before.exact, BTreeSet::from(["a".to_owned()]));
        assert!(Baseline::parse("# no table\n").is_err());
    }

    #[test]
    fn as_good_as_before_is_no_fault() {
        let before = baseline(&[row("a", Some(Verdict::Exact)), row("b", extra())]);
        assert!(
            before
                .faults(&[row("a", Some(Verdict::Exact)), row("b", extra())])
                .is_empty()
        );
        // One lost, one won.
        assert!(
            before
                .faults(&[row("a", extra()), row("b", Some(Verdict::Exact))])
                .is_empty()
        );
        // Only those that were run count.
        assert!(before.faults(&[row("b", extra())]).is_empty());
    }

    #[test]
    fn fewer_exact_or_anything_missing_is_a_fault() {
        let before = baseline(&[row("a", Some(Verdict::Exact)), row("b", extra())]);
        assert_eq!(
            before.faults(&[row("a", None), row("b", extra())]),
            ["0 exact, 1 before; no longer: a"]
        );
        let missing = Some(Verdict::Missing("KILL".parse().unwrap()));
        let faults = before.faults(&[row("a", Some(Verdict::Exact)), row("b", missing)]);
        assert_eq!(faults, ["something needed is missing: b"]);
    }
}
