//! What a verification found, and what it makes of a report.

use std::collections::BTreeMap;

use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::{Ledger, Settled, Settlement},
    report::Report,
};
use capaudit_life::Image;
use serde::{Deserialize, Serialize};

use super::{
    Grant, Grants,
    enforce::Via,
    minimize::{Fate, Minimum},
    target::Target,
};

/// A verified report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verified {
    /// What the audit found, with what the runs say of it; nothing if no audit was made.
    #[serde(flatten)]
    pub report: Option<Report>,
    /// The runs.
    pub verification: Verification,
    /// The facts that the report is made of, with what the runs say of them; nothing if no audit was made. Not in the contract:
    /// it is what is saved for exports.
    #[serde(skip)]
    pub ledger: Option<Ledger>,
    /// What the services of a life were made of when it was audited. Not in the contract either: it is for the lock.
    #[serde(skip)]
    pub images: BTreeMap<String, Image>,
}

/// What the runs of a verification say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verification {
    /// How sets were enforced.
    pub via: Via,
    /// The command that was run again and again.
    pub command: Vec<String>,
    /// Whether the command succeeds with the set.
    pub passed: bool,
    /// Whether it was run with the set; if not, it failed as it is, with what it grants itself, or nothing was doubtful.
    pub enforced: bool,
    /// The set, in the kernel's order; of several services, what any of them has.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub set: CapSet,
    /// The set of each compose service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Vec<String>>"))]
    pub services: BTreeMap<String, CapSet>,
    /// How many containers of each subject were seen to run with exactly its set, in the run that decided; empty where the way
    /// to enforce sets does not show it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub in_force: BTreeMap<String, usize>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Member {
    /// Name of the capability.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub capability: Capability,
    /// The compose service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
}

/// That a capability is needed: a run without it, which failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// A grant, by the name of its subject.
    pub fn of(grant: Grant, subjects: &[String]) -> Self {
        Self {
            capability: grant.capability,
            service: subjects.get(grant.subject).cloned().unwrap_or_default(),
        }
    }
}

/// Sets by service; empty unless subjects have names.
pub fn services(set: &Grants, subjects: &[String]) -> BTreeMap<String, CapSet> {
    subjects
        .iter()
        .enumerate()
        .filter(|(_subject, name)| !name.is_empty())
        .map(|(subject, name)| (name.clone(), set.of(subject)))
        .collect()
}

/// Writes into a ledger what became of the candidates.
pub(super) fn settle(ledger: &mut Ledger, targets: &[Target], minimum: &Minimum) {
    for (place, target) in targets.iter().enumerate() {
        let settled = Settled {
            cap_add: minimum.set.of(place),
            capabilities: minimum
                .fates
                .iter()
                .filter(|(grant, _)| grant.subject == place)
                .map(|(grant, fate)| {
                    let missed = minimum.missed.contains(*grant);
                    (grant.capability, settlement(*fate, missed))
                })
                .collect(),
        };
        for subject in &target.subjects {
            if let Some(subject) = ledger.subjects.get_mut(*subject) {
                subject.settled = Some(settled.clone());
            }
        }
    }
}

fn settlement(fate: Fate, missed: bool) -> Settlement {
    match fate {
        Fate::Proven { .. } if missed => Settlement::Missed,
        Fate::Proven { .. } => Settlement::Proven,
        Fate::Removed => Settlement::Removed,
        Fate::Unsettled => Settlement::Unsettled,
        Fate::Kept => Settlement::Kept,
    }
}

#[cfg(test)]
mod tests {
    use capaudit_core::{
        advise::{Evidence, Verdict},
        ledger::{self, Container, Hook, Session, SubjectRecord},
    };

    use super::*;

    #[test]
    fn every_replica_of_a_target_is_settled_and_nothing_else() {
        let subject = |name: &str| {
            let mut subject = SubjectRecord::new(Container::default());
            subject.name = name.to_owned();
            subject
        };
        let mut ledger = Ledger {
            schema: ledger::SCHEMA.to_owned(),
            session: Session::new(Hook::TpBtf),
            subjects: vec![subject("db"), subject("web"), subject("web")],
        };
        let grant = |subject, capability| Grant {
            subject,
            capability,
        };
        let target = |name: &str, subjects: Vec<usize>| Target {
            name: name.to_owned(),
            subjects,
        };
        let (chown, kill) = (Capability::CHOWN, Capability::KILL);
        let minimum = Minimum {
            set: Grants::new(vec![CapSet::of(&[chown, kill]), chown.into()]),
            fates: vec![
                (grant(0, kill), Fate::Kept),
                (grant(1, chown), Fate::Proven { trial: 0 }),
                (grant(1, kill), Fate::Removed),
            ],
            missed: Grants::new(vec![CapSet::EMPTY, chown.into()]),
            passed: true,
            flaky: false,
            last_trial: None,
        };
        // A place that the ledger does not have is passed over.
        let targets = [target("web", vec![7]), target("web", vec![1, 2])];
        settle(&mut ledger, &targets, &minimum);
        assert_eq!(ledger.subjects[0], subject("db"));
        let report = Report::of(&ledger);
        for web in &report.subjects[1..] {
            assert_eq!(web.cap_add, chown.into());
            let found: Vec<_> = web
                .capabilities
                .iter()
                .map(|finding| (finding.verdict, finding.evidence))
                .collect();
            assert_eq!(
                found,
                [
                    (Verdict::Needed, Evidence::Proven),
                    (Verdict::Tolerated, Evidence::Proven)
                ]
            );
            assert!(web.capabilities[0].reason.contains("had not told"));
        }
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
            ledger: None,
            images: BTreeMap::new(),
            verification: Verification {
                via: Via::Bounding,
                command: vec!["true".to_owned()],
                passed: true,
                enforced: true,
                set: CapSet::EMPTY,
                services: BTreeMap::new(),
                in_force: BTreeMap::new(),
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
