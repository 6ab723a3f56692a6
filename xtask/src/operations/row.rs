//! One operation in one mode: what came of its comparison.

use std::collections::BTreeSet;

use anyhow::Result;
use capaudit_core::{
    advise::{Evidence, Finding, Verdict as Advised},
    capability::CapSet,
    report::SubjectReport,
};
use serde::Serialize;

use super::{
    audit::{Audit, Seen, Trial},
    compare::{self, Recommendation, Verdict},
    mode::Mode,
    program::Operation,
    truth::{Needs, State, Truth},
};

/// One operation in one mode.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub operation: String,
    pub area: String,
    pub mode: Mode,
    /// What its author had in mind.
    pub aim: CapSet,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub(super) enum Outcome {
    Compared(Box<Comparison>),
    /// There is no truth: the kernel does not have it, or it cannot be tried.
    Unknown {
        why: String,
    },
    /// Under the audit it came to something else than alone with everything.
    Differs {
        alone: String,
        audited: String,
    },
}

/// A recommendation beside the truth.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Comparison {
    pub verdict: Verdict,
    #[serde(flatten)]
    pub needs: Needs,
    pub decisive: CapSet,
    pub possible: CapSet,
    /// The operation looks at its own sets, which no check shows, and the report has a note.
    pub noted: bool,
    /// What the report says of each capability that is recommended or missing.
    pub said: Vec<Said>,
    /// The report's notes.
    pub notes: Vec<String>,
}

/// What the report says of a capability.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Said {
    pub capability: String,
    /// With the evidence.
    pub verdict: String,
    /// The reason, and the kernel functions that asked in which call.
    pub text: String,
}

impl Row {
    /// Compares what the audit says of an operation with the truth.
    pub(super) fn new(operation: &Operation, truth: &Truth, audit: &Audit) -> Result<Self> {
        let (act, subject) = audit.get(&operation.operation)?;
        Ok(Self {
            operation: operation.operation.clone(),
            area: operation.area.clone(),
            mode: audit.mode,
            aim: operation.aim,
            outcome: outcome(operation, truth, &act.trial, subject),
        })
    }

    pub(super) fn comparison(&self) -> Option<&Comparison> {
        match &self.outcome {
            Outcome::Compared(comparison) => Some(comparison),
            Outcome::Unknown { .. } | Outcome::Differs { .. } => None,
        }
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.comparison().map(|comparison| comparison.verdict)
    }
}

fn outcome(
    operation: &Operation,
    truth: &Truth,
    trial: &Trial,
    subject: Option<&SubjectReport>,
) -> Outcome {
    let (alone, needs) = match &truth.state {
        State::Tested { full, needs } if !needs.minimal.is_empty() => (
            Some(Seen::Ok {
                details: full.clone(),
            }),
            needs.clone(),
        ),
        State::Tested { .. } | State::Nondeterministic {} => {
            return Outcome::Unknown {
                why: "two equal trials differ".to_owned(),
            };
        }
        // What it needs to come as far as it does, it needs; nothing can be missing.
        State::Refused { minimal } => (
            None,
            Needs {
                minimal: minimal.clone(),
                minimal_to_succeed: minimal.clone(),
            },
        ),
        State::Absent { why } => {
            return Outcome::Unknown {
                why: format!("absent: {why}"),
            };
        }
        State::Untestable { why } => {
            return Outcome::Unknown {
                why: format!("untestable: {why}"),
            };
        }
    };
    let audited = match trial {
        Trial::Acted(seen) => seen,
        Trial::NotSetUp(seen) => {
            return Outcome::Differs {
                alone: "is set up".to_owned(),
                audited: format!("is not: {seen}"),
            };
        }
    };
    let same = match &alone {
        Some(alone) => alone == audited,
        None => !matches!(audited, Seen::Ok { .. }),
    };
    if !same {
        return Outcome::Differs {
            alone: alone.map_or_else(|| "is refused".to_owned(), |seen| seen.to_string()),
            audited: audited.to_string(),
        };
    }
    let mut comparison = compare(operation, needs, truth.lacking, subject);
    if alone.is_none() {
        comparison.verdict.missing = CapSet::EMPTY;
    }
    Outcome::Compared(Box::new(comparison))
}

fn compare(
    operation: &Operation,
    needs: Needs,
    lacking: CapSet,
    subject: Option<&SubjectReport>,
) -> Comparison {
    let findings = subject.map_or(&[][..], |subject| &subject.capabilities);
    let recommended = subject.map_or(CapSet::EMPTY, |subject| subject.cap_add);
    let is_possible = |finding: &&Finding| finding.evidence == Evidence::Possible;
    let possible: CapSet = findings
        .iter()
        .filter(is_possible)
        .map(|finding| finding.capability)
        .collect();
    let recommendation = Recommendation {
        decisive: recommended - possible,
        possible: recommended.intersection(possible),
    };
    let notes = subject.map_or_else(Vec::new, |subject| subject.notes.clone());
    let mut verdict = compare::judge(recommendation, not_recommended(&notes), &needs, lacking);
    let of_interest = recommended | verdict.missing | verdict.noted;
    verdict.missing -= met_by(findings, recommended.intersection(lacking));
    // One run cannot tell what a program makes of a look at itself. It must not pass over it in silence.
    let noted = operation.looks_at_sets && !notes.is_empty() && verdict.is_missing();
    if noted {
        verdict.missing = CapSet::EMPTY;
    }
    Comparison {
        verdict,
        decisive: recommendation.decisive,
        possible: recommendation.possible,
        needs,
        said: findings
            .iter()
            .filter(|finding| of_interest.contains(finding.capability))
            .map(said)
            .collect(),
        noted,
        notes,
    }
}

/// What notes say is not recommended although a program is shown less without it (`hidden`, advise/subject.rs).
fn not_recommended(notes: &[String]) -> CapSet {
    notes
        .iter()
        .filter_map(|note| note.split_once(" is not recommended for what "))
        .filter_map(|(name, _)| name.parse::<CapSet>().ok())
        .fold(CapSet::EMPTY, |all, named| all | named)
}

/// What is not recommended because one of `untried`, which is, does as well: whether that is so could not be tried.
fn met_by(findings: &[Finding], untried: CapSet) -> CapSet {
    findings
        .iter()
        .filter(|finding| finding.verdict == Advised::Alternative)
        .filter(|finding| {
            let mut others = finding.alternatives.iter();
            others.any(|other| !other.is_empty() && other.is_subset(untried))
        })
        .map(|finding| finding.capability)
        .collect()
}

fn said(finding: &Finding) -> Said {
    // Not the objects: they bear numbers of processes and of the trial's directory.
    let asked: BTreeSet<String> = finding
        .seen_in
        .iter()
        .map(|at| match at.syscall.as_str() {
            "" => at.caller.clone(),
            syscall => format!("{} in {syscall}", at.caller),
        })
        .collect();
    let asked: Vec<String> = asked.into_iter().collect();
    let asked = if asked.is_empty() {
        String::new()
    } else {
        format!(" [{}]", asked.join("; "))
    };
    Said {
        capability: finding.capability.name().to_owned(),
        verdict: format!("{:?} {:?}", finding.verdict, finding.evidence).to_lowercase(),
        text: format!("{}{asked}", finding.reason),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A comparison in which these are missing, and these called decisive for nothing.
    pub(in super::super) fn compared(
        operation: &str,
        mode: Mode,
        missing: &str,
        extra: &str,
    ) -> Row {
        let missing: CapSet = missing.parse().unwrap();
        let extra_decisive: CapSet = extra.parse().unwrap();
        let needs = Needs {
            minimal: vec![missing],
            minimal_to_succeed: vec![missing],
        };
        Row {
            operation: operation.to_owned(),
            area: "area".to_owned(),
            mode,
            aim: CapSet::EMPTY,
            outcome: Outcome::Compared(Box::new(Comparison {
                verdict: Verdict {
                    missing,
                    extra_decisive,
                    ..Verdict::default()
                },
                needs,
                decisive: extra_decisive,
                possible: CapSet::EMPTY,
                noted: false,
                said: Vec::new(),
                notes: Vec::new(),
            })),
        }
    }

    /// The row of an operation with this truth, which acted so and was reported on so.
    fn row(looks_at_sets: bool, truth: Value, trial: Value, evidence: &str, notes: &[&str]) -> Row {
        let operation =
            json!({ "operation": "o", "area": "a", "aim": [], "looks_at_sets": looks_at_sets });
        let mut line = json!({ "operation": "o", "mode": "root", "lacking": [] });
        line.as_object_mut()
            .unwrap()
            .extend(truth.as_object().unwrap().clone());
        let acts = json!({ "operation": "o", "mode": "root", "id": "0123", "trial": trial });
        let capability = json!({ "name": "KILL", "verdict": "needed", "evidence": evidence, "reason": "…",
            "alternatives": [], "checks": { "total": 1, "granted": 1, "denied": 0 }, "seen_in": [], "need_less": "" });
        let subject = json!({ "kind": "container", "name": "n", "id": "0123", "image": "", "compose_project": "",
            "compose_service": "", "pod_namespace": "", "pod": "", "pod_container": "", "uid": 0, "cap_add": ["KILL"],
            "granted": [], "seen_from_start": true, "no_new_privileges_is_safe": true, "notes": notes,
            "capabilities": [capability] });
        let losses = json!({ "events": 0, "checks": 0, "sites": 0, "processes": 0, "calls": 0, "stacks": 0,
            "returns": 0, "files": 0 });
        let report = json!({ "schema": "capaudit.report/1",
            "session": { "started": "2026-01-01T00:00:00Z", "duration_s": 1.5, "kernel": "6.1", "hook": "fexit",
                "command": [], "exit_status": 0, "lost_events": 0, "losses": losses, "complete": true, "notes": [] },
            "subjects": [subject] });
        let audit = Audit::parse(Mode::Root, &acts.to_string(), &report.to_string()).unwrap();
        let truth: Truth = serde_json::from_value(line).unwrap();
        Row::new(&serde_json::from_value(operation).unwrap(), &truth, &audit).unwrap()
    }

    fn tested(minimal: Value) -> Value {
        json!({ "state": "tested", "full": {}, "minimal": minimal, "minimal_to_succeed": minimal })
    }

    fn acted() -> Value {
        json!({ "acted": { "result": "ok", "details": {} } })
    }

    #[test]
    fn a_recommendation_is_compared_by_its_evidence() {
        let extra = |evidence| {
            let row = row(false, tested(json!([[]])), acted(), evidence, &[]);
            let verdict = row.verdict().unwrap();
            (verdict.extra_decisive.len(), verdict.extra_possible.len())
        };
        assert_eq!(extra("decisive"), (1, 0));
        assert_eq!(extra("proven"), (1, 0));
        assert_eq!(extra("possible"), (0, 1));
        let needed = row(false, tested(json!([["KILL"]])), acted(), "decisive", &[]);
        assert!(needed.verdict().unwrap().is_exact());
    }

    #[test]
    fn a_look_at_its_own_sets_has_to_be_noted() {
        let is_missing = |looks, notes: &[&str]| {
            let row = row(
                looks,
                tested(json!([["CHOWN"]])),
                acted(),
                "possible",
                notes,
            );
            row.verdict().unwrap().is_missing()
        };
        assert!(is_missing(false, &["a note"]));
        assert!(is_missing(true, &[]));
        assert!(!is_missing(true, &["a note"]));
    }

    #[test]
    fn of_what_another_covers_that_could_not_be_tried_nothing_is_missing() {
        let finding = |verdict| {
            let finding = json!({ "name": "SYS_ADMIN", "verdict": verdict, "evidence": "decisive", "reason": "…",
                "alternatives": [["SYS_RESOURCE"]], "checks": { "total": 1, "granted": 1, "denied": 0 },
                "seen_in": [], "need_less": "" });
            serde_json::from_value::<Finding>(finding).unwrap()
        };
        let of = |verdict, untried: &str| met_by(&[finding(verdict)], untried.parse().unwrap());
        assert_eq!(
            of("alternative", "SYS_RESOURCE"),
            "SYS_ADMIN".parse().unwrap()
        );
        assert!(of("alternative", "KILL").is_empty());
        assert!(of("needed", "SYS_RESOURCE").is_empty());
    }

    #[test]
    fn a_note_names_what_is_not_recommended() {
        let notes = [
            "KILL is not recommended for what /bin/x asked it for: less is shown",
            "no seccomp filter was in force: with Docker's default profile it would take SYS_ADMIN to call bpf",
        ];
        assert_eq!(
            not_recommended(&notes.map(str::to_owned)),
            "KILL".parse().unwrap()
        );
    }

    #[test]
    fn of_what_is_refused_nothing_is_missing() {
        let truth = json!({ "state": "refused", "why": "EPERM", "minimal": [["CHOWN"]] });
        let acted = json!({ "acted": { "result": "error", "errno": 1, "name": "EPERM" } });
        let verdict = row(false, truth, acted, "decisive", &[]).verdict().unwrap();
        assert!(!verdict.is_missing() && verdict.overstates());
    }

    #[test]
    fn what_comes_to_something_else_is_not_compared() {
        let failed = json!({ "acted": { "result": "error", "errno": 1, "name": "EPERM" } });
        let unset = json!({ "not_set_up": { "result": "hung" } });
        for trial in [failed, unset] {
            let row = row(false, tested(json!([[]])), trial, "decisive", &[]);
            assert!(matches!(row.outcome, Outcome::Differs { .. }));
        }
        let absent = json!({ "state": "absent", "why": "ENOSYS" });
        let row = row(false, absent, acted(), "decisive", &[]);
        assert!(matches!(row.outcome, Outcome::Unknown { .. }));
    }
}
