//! What all checks add up to at one moment, and what they mean so far.

use std::collections::HashMap;

use crate::{
    advise::{Evidence, Fact, Verdict, acted_upon, judge},
    capability::Capability,
    ledger::{CheckRecord, Ledger, Outcome, SubjectRecord},
    report::{Report, SubjectReport},
    watch::source::Missing,
};

/// Leaves that are kept apart; the rest is in [`State::more`].
const MOST_LEAVES: usize = 4096;

/// The totals, exact, and what they mean so far.
#[derive(Clone, Debug)]
pub struct State {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// The report, as if everything ended now.
    pub report: Report,
    /// Totals by subject, program and capability.
    pub leaves: Vec<Leaf>,
    /// Leaves beyond those, of the fewest checks.
    pub more: usize,
    /// All checks, also those of `more` and those that no subject is known of.
    pub checks: u64,
    /// Refused ones among them, as far as subjects are known.
    pub denied: u64,
    /// What is not among the single checks.
    pub missing: Missing,
}

/// One capability, as one program of one subject asked for it.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Index in the report's subjects.
    pub subject: usize,
    /// Executable, or the command name where it is not known.
    pub program: String,
    /// It set the subject up, and is not it.
    pub setup: bool,
    /// Which capability.
    pub capability: Capability,
    /// Checks that were granted.
    pub granted: u64,
    /// Checks that were refused.
    pub denied: u64,
    /// What it is so far.
    pub verdict: Verdict,
    /// How sure that is.
    pub evidence: Evidence,
    /// Why.
    pub reason: String,
    /// The check that decides, with samples.
    pub example: CheckRecord,
    /// What that acted upon; empty if unknown.
    pub object: String,
}

impl Leaf {
    /// All its checks.
    pub fn total(&self) -> u64 {
        self.granted + self.denied
    }

    /// The system call of the deciding check; empty outside one.
    pub fn syscall(&self) -> &str {
        self.example.identity.syscall.as_deref().unwrap_or_default()
    }
}

impl State {
    /// Judges a ledger so far.
    pub fn of(ledger: &Ledger, missing: Missing) -> Self {
        let report = Report::of(ledger);
        let mut leaves = Vec::new();
        for (index, subject) in ledger.subjects.iter().enumerate() {
            if let Some(advice) = report.subjects.get(index) {
                leaves.extend(leaves_of(index, subject, advice, ledger));
            }
        }
        let known: u64 = leaves.iter().map(Leaf::total).sum();
        let lost: u64 = ledger.session.unattributed.iter().map(|(_, n)| n).sum();
        let denied = leaves.iter().map(|leaf| leaf.denied).sum();
        let more = leaves.len().saturating_sub(MOST_LEAVES);
        if more > 0 {
            leaves.sort_by_key(|leaf| std::cmp::Reverse((leaf.verdict, leaf.total())));
            leaves.truncate(MOST_LEAVES);
        }
        Self {
            at_ms: ledger.session.duration_ms,
            report,
            leaves,
            more,
            checks: known + lost,
            denied,
            missing,
        }
    }
}

fn leaves_of(
    index: usize,
    subject: &SubjectRecord,
    advice: &SubjectReport,
    ledger: &Ledger,
) -> Vec<Leaf> {
    let mut groups: HashMap<(&str, bool, Capability), Vec<&CheckRecord>> = HashMap::new();
    for check in &subject.checks {
        let asker = &check.identity.asker;
        let program = if asker.exe.is_empty() {
            &asker.comm
        } else {
            &asker.exe
        };
        let group = (program.as_str(), asker.setup, check.identity.capability);
        groups.entry(group).or_default().push(check);
    }
    let mut leaves: Vec<Leaf> = groups
        .into_iter()
        .filter_map(|((program, setup, capability), checks)| {
            let judged = checks.iter().map(|check| {
                let judgement = judge(&Fact {
                    check,
                    subject,
                    session: &ledger.session,
                });
                (*check, judgement)
            });
            let (example, judgement) = judged
                .max_by_key(|(check, judged)| (judged.verdict, judged.evidence, check.count))?;
            // What is needed by itself may be met by another capability of the whole set.
            let whole = advice
                .capabilities
                .iter()
                .find(|known| known.name == capability.name());
            let (verdict, reason) = match whole {
                Some(whole)
                    if judgement.verdict == Verdict::Needed
                        && whole.verdict == Verdict::Alternative =>
                {
                    (Verdict::Alternative, whole.reason.clone())
                }
                _ => (judgement.verdict, judgement.reason),
            };
            let count = |outcome| -> u64 {
                checks
                    .iter()
                    .filter(|check| check.identity.outcome == outcome)
                    .map(|check| check.count)
                    .sum()
            };
            let syscall = example.identity.syscall.as_deref().unwrap_or_default();
            let object = example
                .samples
                .last()
                .map(|sample| acted_upon(syscall, sample))
                .unwrap_or_default();
            Some(Leaf {
                subject: index,
                program: program.to_owned(),
                setup,
                capability,
                granted: count(Outcome::Granted),
                denied: count(Outcome::Denied),
                verdict,
                evidence: judgement.evidence,
                reason,
                object,
                example: example.clone(),
            })
        })
        .collect();
    leaves.sort_by(|a, b| (&a.program, a.capability).cmp(&(&b.program, b.capability)));
    leaves
}
