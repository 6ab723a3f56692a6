//! Findings for people.

use capaudit_core::text::{Style, sanitize};

use super::{Level, Outcome, Rule};

/// A line a finding, as compilers write them, with how to mend it; then the count.
pub fn text(outcome: &Outcome, style: Style) -> String {
    let mut out = String::new();
    for finding in &outcome.findings {
        if let Some(place) = &finding.place {
            out.push_str(&style.bold(&format!("{place}: ")));
        }
        let tag = format!("{}[{}]", finding.level, finding.rule.id());
        out.push_str(&match finding.level {
            Level::Error => style.alarm(&tag),
            Level::Warning => style.warning(&tag),
            Level::Note => style.faint(&tag),
        });
        out.push_str(&format!(": {}\n", sanitize(&finding.message)));
        out.push_str(&format!(
            "  {} {}\n",
            style.good("mend:"),
            sanitize(&finding.mend)
        ));
    }
    if !outcome.findings.is_empty() {
        out.push('\n');
    }
    let count = |level: Level| {
        let number = outcome
            .findings
            .iter()
            .filter(|finding| finding.level == level)
            .count();
        match number {
            1 => format!("1 {level}"),
            number => format!("{number} {level}s"),
        }
    };
    let audited = outcome
        .subjects
        .iter()
        .filter(|subject| subject.audited)
        .count();
    let with = if outcome.rules.contains(&Rule::LockDrift) {
        "the lock"
    } else {
        "what was audited"
    };
    out.push_str(&format!(
        "{}, {}, {}; {audited} of {} checked against {with}\n",
        count(Level::Error),
        count(Level::Warning),
        count(Level::Note),
        outcome.subjects.len()
    ));
    out
}
