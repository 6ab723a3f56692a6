//! The comparison as text and as a page of the documentation.

use std::{fmt::Write as _, fs, process::Command};

use anyhow::{Context, Result};
use capaudit_core::capability::CapSet;

use super::{
    compare::Verdict,
    mode::Mode,
    row::{Comparison, Outcome, Row},
};
use crate::{capability::names, command, table::table};

/// When and where it was measured.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    date: String,
    kernel: String,
}

impl Setting {
    /// Today, on this machine.
    pub(super) fn here() -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("cannot read the kernel's release")?;
        Ok(Self {
            date: command::text_of(Command::new("date").args(["--utc", "+%F"]))?
                .trim()
                .to_owned(),
            // Without what a distributor or builder added to it.
            kernel: release
                .chars()
                .take_while(|character| character.is_ascii_digit() || *character == '.')
                .collect(),
        })
    }
}

/// The page for the documentation.
pub(super) fn whole(rows: &[Row], setting: &Setting) -> String {
    let Setting { date, kernel } = setting;
    format!(
        "# capaudit beside the truth, operation by operation

Measured on {date} with Linux {kernel} by `cargo xtask operations --write`. Each of the
[operations](../internals/operations.md) acted once under `capaudit run`, as a subject of its own that may use everything;
knock-out found the truth in the same run.

- missing: with what is recommended, the operation fails or sees something else than with everything
- noted: what only makes it see something else is not recommended, and a note says so and names the capability
- extra decisive: something is called decisive, and the operation succeeds without it
- extra possible: something is called possible, and makes no difference
- unknown: no truth, because this kernel or machine does not have it, or lacks the capability
- differs: the operation came to something else under the audit, so nothing is compared

{}",
        text(rows)
    )
}

/// Counts, and a line for everything that is not exact.
pub(super) fn text(rows: &[Row]) -> String {
    let mut text = counts(rows);
    let missing = |verdict: Verdict| verdict.missing;
    let noted = |verdict: Verdict| verdict.noted;
    let extra = |verdict: Verdict| verdict.extra_decisive;
    let degrades = |verdict: Verdict| verdict.only_degrades;
    let possible = |verdict: Verdict| verdict.extra_possible;
    section(&mut text, "Missing", rows, missing);
    section(&mut text, "Noted", rows, noted);
    section(&mut text, "Extra decisive: no difference", rows, extra);
    section(&mut text, "Extra decisive: only degrades", rows, degrades);
    section(&mut text, "Extra possible", rows, possible);
    differing(&mut text, rows);
    text
}

fn counts(rows: &[Row]) -> String {
    let lines = Mode::ALL.into_iter().filter_map(|mode| {
        let of_mode: Vec<&Row> = rows.iter().filter(|row| row.mode == mode).collect();
        let count = |wanted: &dyn Fn(Verdict) -> bool| {
            let verdicts = of_mode.iter().filter_map(|row| row.verdict());
            verdicts.filter(|verdict| wanted(*verdict)).count()
        };
        let compared = count(&|_| true);
        let overstated = count(&|verdict| verdict.overstates());
        let unknown = of_mode
            .iter()
            .filter(|row| matches!(row.outcome, Outcome::Unknown { .. }))
            .count();
        let counts = [
            compared.to_string(),
            count(&|verdict| verdict.is_exact()).to_string(),
            count(&|verdict| verdict.is_missing()).to_string(),
            count(&|verdict| !verdict.noted.is_empty()).to_string(),
            format!("{overstated} ({:.1} %)", percent(overstated, compared)),
            count(&|verdict| !verdict.extra_possible.is_empty()).to_string(),
            unknown.to_string(),
            (of_mode.len() - compared - unknown).to_string(),
        ];
        (!of_mode.is_empty()).then(|| [mode.to_string()].into_iter().chain(counts).collect())
    });
    table(
        &[
            "as",
            "compared",
            "exact",
            "missing",
            "noted",
            "extra decisive",
            "extra possible",
            "unknown",
            "differs",
        ],
        lines.collect(),
    )
}

#[allow(clippy::cast_precision_loss, reason = "counts of operations are small")]
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// The rows in which `of` is not empty. Those that differ only in the mode share an entry, which shows what the
/// report says in the first of them.
fn section(text: &mut String, title: &str, rows: &[Row], of: impl Fn(Verdict) -> CapSet) {
    let mut entries: Vec<(Entry, Vec<Mode>, Vec<String>)> = Vec::new();
    for row in rows {
        let Some(comparison) = row.comparison() else {
            continue;
        };
        let set = of(comparison.verdict);
        if set.is_empty() {
            continue;
        }
        let entry = Entry {
            operation: row.operation.clone(),
            set: short(set),
            needs: needs(comparison),
            recommended: recommended(comparison),
        };
        match entries.iter_mut().find(|(known, ..)| *known == entry) {
            Some((_, modes, _)) => modes.push(row.mode),
            None => entries.push((entry, vec![row.mode], says(comparison, set))),
        }
    }
    if entries.is_empty() {
        return;
    }
    entries.sort();
    // A String takes whatever is written.
    let _ = writeln!(text, "\n## {title} ({})\n", entries.len());
    for (entry, modes, says) in entries {
        let Entry {
            operation,
            set,
            needs,
            recommended,
        } = entry;
        let modes: Vec<&str> = modes.iter().map(|mode| mode.name()).collect();
        let _ = writeln!(
            text,
            "- **{operation}** ({}): {set}. Needs {needs}; recommended {recommended}.",
            modes.join(" ")
        );
        for line in says {
            let _ = writeln!(text, "  - {line}");
        }
    }
}

/// One operation of a section, but for the modes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    operation: String,
    set: String,
    needs: String,
    recommended: String,
}

/// More names than these help nobody.
const MOST_NAMES: usize = 8;

fn short(set: CapSet) -> String {
    if set.len() > MOST_NAMES {
        format!("{} capabilities", set.len())
    } else {
        names(set)
    }
}

/// The minimal sets, and where they differ those to succeed at all.
fn needs(comparison: &Comparison) -> String {
    let sets = |sets: &[CapSet]| {
        let sets: Vec<String> = sets.iter().map(|set| short(*set)).collect();
        sets.join(" or ")
    };
    let (same, succeed) = (
        &comparison.needs.minimal,
        &comparison.needs.minimal_to_succeed,
    );
    if same == succeed {
        sets(same)
    } else {
        format!("{}; to succeed {}", sets(same), sets(succeed))
    }
}

fn recommended(comparison: &Comparison) -> String {
    let Comparison {
        decisive, possible, ..
    } = comparison;
    match (decisive.is_empty(), possible.is_empty()) {
        (_, true) => names(*decisive),
        (true, false) => format!("possible {}", names(*possible)),
        (false, false) => format!("{}, possible {}", names(*decisive), names(*possible)),
    }
}

/// What the report says of these, and its notes.
fn says(comparison: &Comparison, set: CapSet) -> Vec<String> {
    comparison
        .said
        .iter()
        .filter(|said| set.names().any(|name| name == said.capability))
        .map(|said| format!("{} {}: {}", said.capability, said.verdict, said.text))
        .chain(comparison.notes.iter().map(|note| format!("note: {note}")))
        .map(|line| line.replace('\n', " "))
        .collect()
}

fn differing(text: &mut String, rows: &[Row]) {
    let lines: Vec<Vec<String>> = rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Differs { alone, audited } => Some(vec![
                row.operation.clone(),
                row.mode.to_string(),
                alone.clone(),
                audited.clone(),
            ]),
            Outcome::Compared(_) | Outcome::Unknown { .. } => None,
        })
        .collect();
    if !lines.is_empty() {
        let _ = write!(
            text,
            "\n## Differs\n\n{}",
            table(&["operation", "as", "alone", "audited"], lines)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{super::row::tests::compared, *};

    #[test]
    fn modes_that_agree_share_an_entry() {
        let rows = [
            compared("chown", Mode::Root, "CHOWN", ""),
            compared("chown", Mode::User, "CHOWN", ""),
            compared("kill", Mode::Root, "", "KILL"),
            compared("nothing", Mode::Root, "", ""),
        ];
        let expected = "\
| as   | compared | exact | missing | noted | extra decisive | extra possible | unknown | differs |
| ---- | -------- | ----- | ------- | ----- | -------------- | -------------- | ------- | ------- |
| root | 3        | 1     | 1       | 0     | 1 (33.3 %)     | 0              | 0       | 0       |
| user | 1        | 0     | 1       | 0     | 0 (0.0 %)      | 0              | 0       | 0       |

## Missing (1)

- **chown** (root user): CHOWN. Needs CHOWN; recommended (none).

## Extra decisive: no difference (1)

- **kill** (root): KILL. Needs (none); recommended KILL.
";
        assert_eq!(text(&rows), expected);
    }
}
