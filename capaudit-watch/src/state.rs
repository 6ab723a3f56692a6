//! What all checks add up to at one moment, and what they mean so far.

use std::collections::{HashMap, HashSet};

use capaudit_core::{
    advise::{Assessment, Evidence, Fact, Verdict, acted_upon, judge},
    capability::Capability,
    ledger::{CheckRecord, Ledger, Outcome, SubjectRecord, unite_by_image},
    report::{Report, SubjectReport},
};
use capaudit_live::Missing;

/// Leaves that are kept apart; the rest is in [`State::more`].
const MOST_LEAVES: usize = 4096;
/// Containers that have ended and are still listed by themselves; of more, those that asked last.
const MOST_ENDED: usize = 100;
/// What stands for the image of those of which it was never known.
const UNKNOWN_IMAGE: &str = "ended containers";

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
    /// Containers that ended so long ago that they are not told apart any more.
    pub forgotten: usize,
    /// All checks, also those of `more` and those that no subject is known of.
    pub checks: u64,
    /// Refused ones among them, as far as subjects are known.
    pub denied: u64,
    /// What is not among the check events.
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
    /// The capability that was asked for.
    pub capability: Capability,
    /// Checks that were granted.
    pub granted: u64,
    /// Checks that were refused.
    pub denied: u64,
    /// What it is so far.
    pub verdict: Verdict,
    /// How sure that is.
    pub evidence: Evidence,
    /// The rule's sentence for the verdict.
    pub reason: String,
    /// The check that decides, with samples.
    pub example: CheckRecord,
    /// What that acted upon; empty if unknown.
    pub object: String,
}

impl Leaf {
    /// Checks, whatever their outcome.
    pub fn total(&self) -> u64 {
        self.granted + self.denied
    }

    /// The system call of the deciding check; empty outside one.
    pub fn syscall(&self) -> &str {
        self.example.identity.syscall.as_deref().unwrap_or_default()
    }
}

impl State {
    /// Judges a ledger so far. Of the containers that have ended, which `has_ended` tells, those that asked last are listed
    /// by themselves.
    pub fn of(
        mut ledger: Ledger,
        missing: Missing,
        has_ended: impl Fn(&SubjectRecord) -> bool,
    ) -> Self {
        let forgotten = forget(&mut ledger, has_ended);
        let ledger = &ledger;
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
            forgotten,
            checks: known + lost,
            denied,
            missing,
        }
    }
}

/// Forgets which the containers were that ended longest ago, as far as they are too many: they become one for each
/// service, pod or image, so that what is watched for days stays legible, and none of their needs is lost. Says how many.
fn forget(ledger: &mut Ledger, has_ended: impl Fn(&SubjectRecord) -> bool) -> usize {
    let mut ended: Vec<(u64, usize)> = ledger
        .subjects
        .iter()
        .enumerate()
        .filter(|(_, subject)| subject.container().is_some() && has_ended(subject))
        .map(|(place, subject)| {
            let last = subject.checks.iter().map(|check| check.last_ms).max();
            (last.unwrap_or(0), place)
        })
        .collect();
    ended.sort_unstable();
    ended.truncate(ended.len().saturating_sub(MOST_ENDED));
    let places: HashSet<usize> = ended.iter().map(|(_, place)| *place).collect();
    let mut place = 0..;
    let forgotten = ledger.subjects.extract_if(.., |subject| {
        let is_forgotten = place.next().is_some_and(|place| places.contains(&place));
        if is_forgotten && let Some(container) = subject.container_mut() {
            let image = &mut container.image;
            image.get_or_insert_with(|| UNKNOWN_IMAGE.to_owned());
        }
        is_forgotten
    });
    let forgotten = unite_by_image(forgotten.collect());
    ledger.subjects.extend(forgotten);
    ended.len()
}

fn leaves_of(
    index: usize,
    subject: &SubjectRecord,
    advice: &SubjectReport,
    ledger: &Ledger,
) -> Vec<Leaf> {
    let mut groups: HashMap<(&str, bool, Capability), Vec<&CheckRecord>> = HashMap::new();
    for check in &subject.checks {
        let requester = &check.identity.requester;
        let program = if requester.exe.is_empty() {
            &requester.comm
        } else {
            &requester.exe
        };
        let group = (program.as_str(), requester.setup, check.identity.capability);
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
                (*check, Assessment::from(judgement))
            });
            let (example, judgement) = judged
                .max_by_key(|(check, judged)| (judged.verdict, judged.evidence, check.count))?;
            // What is needed by itself may be met by another capability of the whole set.
            let whole = advice
                .capabilities
                .iter()
                .find(|known| known.capability == capability);
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
                .samples()
                .seen()
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

#[cfg(test)]
mod tests {
    use capaudit_core::ledger::{Container, Subject};

    use super::*;
    use crate::samples;

    #[test]
    fn containers_that_ended_long_ago_become_one_and_none_of_their_needs_is_lost() {
        let mut ledger = samples::ledger(1);
        ledger.subjects.retain(|it| it.container().is_some());
        ledger.subjects.truncate(1);
        let like = ledger.subjects.clone();
        ledger.subjects.clear();
        for number in 0..MOST_ENDED as u64 + 7 {
            for mut subject in like.clone() {
                subject.name = format!("c{number}");
                subject.identity = Subject::Container(Container {
                    id: Some(number.to_string()),
                    image: (number % 2 == 0).then(|| "a:1".to_owned()),
                    ..Container::default()
                });
                for check in &mut subject.checks {
                    check.last_ms = number;
                }
                ledger.subjects.push(subject);
            }
        }
        let all = State::of(ledger.clone(), Missing::default(), |_| false);
        let some = State::of(ledger, Missing::default(), |subject| subject.name != "c0");
        assert_eq!((all.forgotten, some.forgotten), (0, 6));
        let names: Vec<&str> = some
            .report
            .subjects
            .iter()
            .map(|subject| subject.name.as_str())
            .collect();
        assert_eq!(names.len(), 1 + MOST_ENDED + 2);
        // c0 runs, and c7 asked later than c6.
        assert_eq!(names[..2], ["c0", "c7"]);
        assert_eq!(names[MOST_ENDED + 1..], [UNKNOWN_IMAGE, "a:1"]);
        assert!(all.denied > 0);
        assert_eq!((some.checks, some.denied), (all.checks, all.denied));
        let needs = |state: &State| state.report.subjects.last().map(|it| it.cap_add);
        assert_eq!(needs(&some), needs(&all));
    }
}
