//! One operation in one mode: what came of its comparison.

use anyhow::Result;
use capaudit_core::{
    advise::{Evidence, Finding},
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
        State::Refused { .. } => (None, Needs::nothing()),
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
    Outcome::Compared(Box::new(compare(operation, needs, truth.lacking, subject)))
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
    let mut verdict = compare::judge(recommendation, &needs, lacking);
    let notes = subject.map_or_else(Vec::new, |subject| subject.notes.clone());
    let of_interest = recommended | verdict.missing;
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

fn said(finding: &Finding) -> Said {
    let asked: Vec<String> = finding
        .seen_in
        .iter()
        .map(|at| {
            let words = [&at.caller, &at.syscall, &at.object];
            let words: Vec<&str> = words
                .into_iter()
                .map(String::as_str)
                .filter(|word| !word.is_empty())
                .collect();
            words.join(" ")
        })
        .collect();
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
