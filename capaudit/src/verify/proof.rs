//! What a verification found, and what it makes of a report.

use std::collections::BTreeMap;

use capaudit_core::{
    advise::{Evidence, Rule, Verdict},
    capability::{CapSet, Capability},
    report::{CapabilityReport, Checks, Report},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Grant, Grants,
    enforce::Via,
    minimize::{Fate, Minimum},
    target::Target,
};

/// A verified report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// What the audit found, with what the runs say of it; nothing if no audit was made.
    #[serde(flatten)]
    pub report: Option<Report>,
    /// The runs.
    pub verification: Verification,
}

/// What the runs of a verification say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// How sets were enforced.
    pub via: Via,
    /// The command that was run again and again.
    pub command: Vec<String>,
    /// Whether the command succeeds with the set.
    pub passed: bool,
    /// Whether it was run with the set; if not, it failed as it is, with what it grants itself.
    pub enforced: bool,
    /// The set, in the kernel's order; of several services, what any of them has.
    pub set: Vec<String>,
    /// The set of each compose service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Vec<String>>,
    /// Runs that were made, the audit included.
    pub runs: usize,
    /// The command's exit status in the run that decided, 128 + signal if a signal ended it.
    pub exit_status: i32,
    /// Last lines of that run, if it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// One for each member of the set that was left out, and proved to be needed.
    pub proofs: Vec<Proof>,
    /// Without these the command succeeds.
    pub removed: Vec<Member>,
    /// Runs without these disagreed, so they stay in the set.
    pub unsettled: Vec<Member>,
    /// The audit had not recommended these, but the command fails without them.
    pub missed: Vec<Member>,
    /// Runs with the same set disagreed.
    pub flaky: bool,
    /// What else there is to know, each a sentence.
    pub notes: Vec<String>,
}

/// A capability, of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Name of the capability.
    pub capability: String,
    /// The compose service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
}

/// That a capability is needed: a run without it, which failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// The capability.
    #[serde(flatten)]
    pub of: Member,
    /// A command line that repeats the run.
    pub command: Vec<String>,
    /// Its exit status, 128 + signal if a signal ended it.
    pub exit_status: i32,
    /// It did not end in time, and was killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// The last lines of its output.
    pub output: Vec<String>,
}

impl Member {
    /// A grant by its names.
    pub fn of(grant: Grant, subjects: &[String]) -> Self {
        Self {
            capability: grant.capability.name().to_owned(),
            service: subjects.get(grant.subject).cloned().unwrap_or_default(),
        }
    }
}

/// The set in the form of the report.
pub fn names(set: CapSet) -> Vec<String> {
    set.names().map(str::to_owned).collect()
}

/// Sets by service; empty unless subjects have names.
pub fn services(set: &Grants, subjects: &[String]) -> BTreeMap<String, Vec<String>> {
    subjects
        .iter()
        .enumerate()
        .filter(|(_subject, name)| !name.is_empty())
        .map(|(subject, name)| (name.clone(), names(set.of(subject))))
        .collect()
}

/// Writes into a report what became of the candidates.
pub fn settle(report: &mut Report, targets: &[Target], minimum: &Minimum) {
    for (place, target) in targets.iter().enumerate() {
        for subject in &target.subjects {
            let Some(subject) = report.subjects.get_mut(*subject) else {
                continue;
            };
            subject.cap_add = minimum.set.of(place);
            for (grant, fate) in &minimum.fates {
                if grant.subject == place {
                    let finding = finding_of(&mut subject.capabilities, grant.capability);
                    settle_one(finding, *fate, minimum.missed.contains(*grant));
                }
            }
        }
    }
}

fn finding_of(
    findings: &mut Vec<CapabilityReport>,
    capability: Capability,
) -> &mut CapabilityReport {
    let place = findings
        .iter()
        .position(|finding| finding.capability >= capability)
        .unwrap_or(findings.len());
    if findings
        .get(place)
        .is_none_or(|finding| finding.capability != capability)
    {
        findings.insert(place, unseen(capability));
    }
    &mut findings[place]
}

/// Of what no check told.
fn unseen(capability: Capability) -> CapabilityReport {
    CapabilityReport {
        capability,
        verdict: Verdict::Needed,
        evidence: Evidence::Possible,
        rule: Some(Rule::Verified),
        reason: String::new(),
        alternatives: Vec::new(),
        checks: Checks {
            total: 0,
            granted: 0,
            denied: 0,
        },
        seen_in: Vec::new(),
        need_less: None,
    }
}

fn settle_one(finding: &mut CapabilityReport, fate: Fate, missed: bool) {
    match fate {
        Fate::Proven { .. } => {
            finding.verdict = Verdict::Needed;
            finding.evidence = Evidence::Proven;
            if missed {
                finding.rule = Some(Rule::Verified);
                "the command was run without it, and failed, although the audit had not told of the need"
                    .clone_into(&mut finding.reason);
            }
        }
        Fate::Removed => {
            finding.verdict = Verdict::Tolerated;
            finding.evidence = Evidence::Proven;
            finding.rule = Some(Rule::Verified);
            "the command was run without it, and succeeded".clone_into(&mut finding.reason);
            finding.alternatives.clear();
            finding.need_less = None;
        }
        // What the audit said of it stands.
        Fate::Kept => {}
        Fate::Unsettled => {
            finding.verdict = Verdict::Needed;
            finding.evidence = Evidence::Possible;
            finding.rule = Some(Rule::Verified);
            "the command was run without it more than once, and the runs disagreed"
                .clone_into(&mut finding.reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<CapabilityReport> {
        vec![unseen(Capability::CHOWN), unseen(Capability::SETUID)]
    }

    #[test]
    fn a_new_finding_takes_its_place_in_the_kernels_order() {
        let mut all = findings();
        for capability in [Capability::KILL, Capability::CHOWN, Capability::SYSLOG] {
            assert_eq!(finding_of(&mut all, capability).capability, capability);
        }
        let names: Vec<&str> = all
            .iter()
            .map(|finding| finding.capability.name())
            .collect();
        assert_eq!(names, ["CHOWN", "KILL", "SETUID", "SYSLOG"]);
    }

    #[test]
    fn each_fate_tells_itself() {
        let mut finding = unseen(Capability::CHOWN);
        finding.need_less = Some("chown it".to_owned());
        settle_one(&mut finding, Fate::Proven { trial: 0 }, false);
        assert_eq!(
            (
                finding.verdict,
                finding.evidence,
                finding.need_less.is_none()
            ),
            (Verdict::Needed, Evidence::Proven, false)
        );
        settle_one(&mut finding, Fate::Removed, false);
        assert_eq!(
            (
                finding.verdict,
                finding.reason.as_str(),
                finding.need_less.is_none()
            ),
            (
                Verdict::Tolerated,
                "the command was run without it, and succeeded",
                true
            )
        );
        settle_one(&mut finding, Fate::Unsettled, false);
        assert_eq!(
            (finding.verdict, finding.evidence),
            (Verdict::Needed, Evidence::Possible)
        );
    }

    #[test]
    fn the_schema_is_the_reports_and_more() {
        let schema = schemars::schema_for!(Verified).to_value();
        for property in ["schema", "session", "subjects", "verification"] {
            assert!(schema["properties"].get(property).is_some(), "{property}");
        }
        // A report is not always there.
        assert_eq!(schema["required"], serde_json::json!(["verification"]));
    }

    #[test]
    fn a_verification_without_a_report_is_one_object() -> serde_json::Result<()> {
        let verified = Verified {
            report: None,
            verification: Verification {
                via: Via::Bounding,
                command: vec!["true".to_owned()],
                passed: true,
                enforced: true,
                set: Vec::new(),
                services: BTreeMap::new(),
                runs: 1,
                exit_status: 0,
                output: Vec::new(),
                proofs: Vec::new(),
                removed: Vec::new(),
                unsettled: Vec::new(),
                missed: Vec::new(),
                flaky: false,
                notes: Vec::new(),
            },
        };
        let json = serde_json::to_value(&verified)?;
        assert_eq!(json["verification"]["via"], "bounding");
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(1));
        assert_eq!(serde_json::from_value::<Verified>(json)?, verified);
        Ok(())
    }
}
