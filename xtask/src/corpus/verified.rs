//! `cargo xtask verify`: whether `capaudit verify --minimize` finds the minimal set of every scenario, with a proof for each
//! member, and how many runs that takes.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use capaudit_core::capability::{CapSet, Capability};
use serde::Deserialize;

use super::{
    page::Setting,
    runs::{Choice, Runs},
    score::{Verdict, judge},
};
use crate::{capability::names, command, scenario::Scenario, table::table};

/// Verify the minimal sets of the corpus with capaudit
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    runs: Choice,
}

/// The part of the report that is judged.
#[derive(Debug, Deserialize)]
struct Report {
    verification: Verification,
}

#[derive(Debug, Deserialize)]
struct Verification {
    passed: bool,
    set: CapSet,
    runs: usize,
    proofs: Vec<Proof>,
    removed: Vec<Member>,
    unsettled: Vec<Member>,
    missed: Vec<Member>,
    flaky: bool,
}

#[derive(Debug, Deserialize)]
struct Member {
    capability: Capability,
}

/// A run that failed without one member.
#[derive(Debug, Deserialize)]
struct Proof {
    #[serde(flatten)]
    of: Member,
    exit_status: i32,
    #[serde(default)]
    timed_out: bool,
    output: Vec<String>,
}

impl Verification {
    /// What the audit recommended, or the search had to add.
    fn candidates(&self) -> usize {
        self.proofs.len() + self.removed.len() + self.unsettled.len()
    }

    /// Members without a run that failed without them.
    fn unproven(&self) -> CapSet {
        let failed = |proof: &&Proof| proof.exit_status != 0 || proof.timed_out;
        let proven = self.proofs.iter().filter(failed);
        self.set - proven.map(|proof| proof.of.capability).collect()
    }
}

#[derive(Debug)]
struct Row {
    scenario: String,
    outcome: Result<(Verdict, Verification), String>,
}

impl Row {
    /// What is not as it should be.
    fn fault(&self) -> Option<String> {
        let (verdict, verification) = match &self.outcome {
            Ok(outcome) => outcome,
            Err(reason) => return Some(reason.clone()),
        };
        let unproven = verification.unproven();
        if !verification.passed {
            Some("the final set did not pass".to_owned())
        } else if !matches!(verdict, Verdict::Exact | Verdict::Stronger) {
            Some(verdict.to_string())
        } else if !unproven.is_empty() {
            Some(format!("no proof of {}", names(unproven)))
        } else {
            None
        }
    }
}

/// Verifies the scenarios, prints the result, and judges it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let runs = Runs::prepare(&args.runs, "verify")?;
    let rows = runs.each(|scenario| {
        let row = verify(&runs, scenario)?;
        println!("{}: {}", row.scenario, told(&row));
        Ok(row)
    })?;
    println!("\n{}", summary(&rows));
    if let Some(path) = &args.runs.write {
        let setting = Setting::here(&runs.docker, runs.grantable)?;
        command::write(path, &page(&rows, &setting))?;
        println!("wrote {}", path.display());
    }
    let faults: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(format!("{}: {}", row.scenario, row.fault()?)))
        .collect();
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    let (candidates, runs) = totals(&rows);
    // Candidates + 3 a scenario on average: the audit, the confirmation, and one for what is weaker and may do instead. What a
    // flaky run costs is for the next look at it.
    if runs > candidates + 3 * rows.len() {
        bail!(
            "{runs} runs for {candidates} candidates in {} scenarios: more than candidates + 3",
            rows.len()
        );
    }
    Ok(())
}

fn verify(runs: &Runs, scenario: &Scenario) -> Result<Row> {
    let truth = scenario.truth()?;
    let mut run = runs.run(scenario, &["verify", "--minimize"])?;
    let status = run.command.status().context("cannot start capaudit")?;
    let outcome = match run.report() {
        None => Err(format!("{status}: {}", run.last_line())),
        Some(text) => {
            serde_json::from_slice::<Report>(&text).map_err(|error| format!("odd report: {error}"))
        }
    };
    Ok(Row {
        scenario: scenario.name.clone(),
        outcome: outcome
            .map(|Report { verification }| (judge(verification.set, &truth), verification)),
    })
}

fn told(row: &Row) -> String {
    match (&row.outcome, row.fault()) {
        (Ok((verdict, verification)), None) => format!(
            "{verdict}, every member proven, {} runs for {} candidates",
            verification.runs,
            verification.candidates()
        ),
        (_, fault) => format!("FAULT: {}", fault.unwrap_or_default()),
    }
}

fn totals(rows: &[Row]) -> (usize, usize) {
    rows.iter()
        .filter_map(|row| row.outcome.as_ref().ok())
        .fold((0, 0), |(candidates, runs), (_verdict, verification)| {
            (
                candidates + verification.candidates(),
                runs + verification.runs,
            )
        })
}

fn summary(rows: &[Row]) -> String {
    let good = rows.iter().filter(|row| row.fault().is_none()).count();
    let exact = rows
        .iter()
        .filter(|row| matches!(&row.outcome, Ok((Verdict::Exact, _))))
        .count();
    let (candidates, runs) = totals(rows);
    format!(
        "{good} of {} minimal and proven ({exact} of them with the least power), {runs} runs for {candidates} candidates\n",
        rows.len()
    )
}

/// The page for the documentation.
fn page(rows: &[Row], setting: &Setting) -> String {
    let lines = rows.iter().map(|row| match &row.outcome {
        Ok((verdict, verification)) => vec![
            row.scenario.clone(),
            names(verification.set),
            row.fault().unwrap_or_else(|| verdict.to_string()),
            verification.candidates().to_string(),
            verification.runs.to_string(),
            notes(verification),
        ],
        Err(reason) => vec![row.scenario.clone(), String::new(), reason.clone()],
    });
    let mut text = format!(
        "# Verification of the corpus

{} by `cargo xtask verify --write`: each scenario under `capaudit verify --minimize`, from a container that may use
everything. {}
{}
## Proofs

For each member the last line of the run that failed without it.

",
        setting.measured(),
        summary(rows),
        table(
            &["scenario", "set", "verdict", "candidates", "runs", "notes"],
            lines.collect()
        )
    );
    for row in rows {
        let Ok((_verdict, verification)) = &row.outcome else {
            continue;
        };
        if verification.proofs.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", row.scenario);
        for proof in &verification.proofs {
            let how = if proof.timed_out {
                "no end in time".to_owned()
            } else {
                format!("status {}", proof.exit_status)
            };
            let last = proof.output.iter().rev().find(|line| !line.is_empty());
            let _ = writeln!(
                text,
                "- {}: {how}{}",
                proof.of.capability.name(),
                last.map_or_else(String::new, |line| format!(
                    ": `{}`",
                    line.replace('`', "'")
                ))
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn notes(verification: &Verification) -> String {
    let mut notes = Vec::new();
    if verification.flaky {
        notes.push("runs disagreed".to_owned());
    }
    let all = |members: &[Member]| names(members.iter().map(|member| member.capability).collect());
    for (what, members) in [
        ("removed", &verification.removed),
        ("missed by the audit", &verification.missed),
        ("not settled", &verification.unsettled),
    ] {
        if !members.is_empty() {
            notes.push(format!("{what} {}", all(members)));
        }
    }
    notes.join("; ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn row(set: &str, proven: &[&str], verdict: Verdict) -> Row {
        let proofs: Vec<_> = proven
            .iter()
            .map(|name| {
                serde_json::json!({ "capability": name, "service": "", "command": [], "exit_status": 1,
                                    "timed_out": false, "output": ["a", "`refused`", ""] })
            })
            .collect();
        let set: Vec<&str> = set.split_whitespace().collect();
        let report = serde_json::json!({ "verification": {
            "passed": true, "set": set, "runs": proven.len() + 2, "proofs": proofs,
            "removed": [], "unsettled": [], "missed": [], "flaky": false,
        } });
        let Report { verification } = serde_json::from_value(report).unwrap();
        Row {
            scenario: "s".to_owned(),
            outcome: Ok((verdict, verification)),
        }
    }

    #[test]
    fn a_minimal_and_proven_set_is_no_fault() {
        let good = row("CHOWN KILL", &["CHOWN", "KILL"], Verdict::Exact);
        assert_eq!(good.fault(), None);
        assert_eq!(totals(&[good]), (2, 4));
    }

    #[test]
    fn what_is_not_minimal_or_not_proven_is_a_fault() {
        let unproven = row("CHOWN KILL", &["CHOWN"], Verdict::Exact);
        assert_eq!(unproven.fault().as_deref(), Some("no proof of KILL"));
        let extra = Verdict::Extra("KILL".parse().unwrap());
        let fault = row("CHOWN KILL", &["CHOWN", "KILL"], extra).fault();
        assert_eq!(fault.as_deref(), Some("extra KILL"));
    }

    #[test]
    fn proofs_cannot_break_out_of_their_quotes() {
        let setting = Setting::of_test();
        let text = page(&[row("CHOWN", &["CHOWN"], Verdict::Exact)], &setting);
        assert!(text.contains("- CHOWN: status 1: `'refused'`\n"), "{text}");
    }
}
