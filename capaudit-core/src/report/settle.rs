//! What runs without a capability make of a report.

use super::SubjectReport;
use crate::{
    advise::{Checks, Evidence, Finding, Rule, Verdict},
    capability::{CapSet, Capability},
    ledger::{Phases, Settlement},
};

impl SubjectReport {
    /// Makes `set` the recommendation, and says of each capability what runs showed. One that no check told of gets a
    /// finding, in the kernel's order.
    pub(super) fn settle(
        &mut self,
        set: CapSet,
        settled: impl IntoIterator<Item = (Capability, Settlement)>,
    ) {
        self.cap_add = set;
        for (capability, settlement) in settled {
            let findings = &mut self.capabilities;
            let place = findings
                .binary_search_by_key(&capability, |finding| finding.capability)
                .unwrap_or_else(|place| {
                    findings.insert(place, untold(capability));
                    place
                });
            findings[place].settle(settlement);
        }
    }
}

/// Of what no check told.
fn untold(capability: Capability) -> Finding {
    Finding {
        capability,
        verdict: Verdict::Needed,
        evidence: Evidence::Possible,
        rule: Some(Rule::Verified),
        reason: String::new(),
        alternatives: Vec::new(),
        checks: Checks::default(),
        unchecked: false,
        phases: Phases::default(),
        seen_in: Vec::new(),
        need_less: None,
    }
}

impl Finding {
    fn settle(&mut self, settlement: Settlement) {
        match settlement {
            Settlement::Proven => (self.verdict, self.evidence) = (Verdict::Needed, Evidence::Proven),
            Settlement::Missed => self.say(
                Verdict::Needed,
                Evidence::Proven,
                "the command was run without it, and failed, although the audit had not told of the need",
            ),
            Settlement::Removed => {
                self.say(
                    Verdict::Tolerated,
                    Evidence::Proven,
                    "the command was run without it, and succeeded",
                );
                self.alternatives.clear();
                self.need_less = None;
            }
            Settlement::Unsettled => self.say(
                Verdict::Needed,
                Evidence::Possible,
                "the command was run without it more than once, and the runs disagreed",
            ),
            Settlement::Kept => {}
        }
    }

    /// Replaces what a rule said by what runs showed.
    fn say(&mut self, verdict: Verdict, evidence: Evidence, reason: &str) {
        self.verdict = verdict;
        self.evidence = evidence;
        self.rule = Some(Rule::Verified);
        reason.clone_into(&mut self.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::sample::container;

    fn subject() -> SubjectReport {
        let mut subject = container(
            "web",
            "",
            &[
                ("CHOWN", Evidence::Decisive),
                ("SETUID", Evidence::Possible),
            ],
        );
        for finding in &mut subject.capabilities {
            "said by a rule".clone_into(&mut finding.reason);
            finding.need_less = Some("chown it".to_owned());
            finding.alternatives = vec![Capability::KILL.into()];
        }
        subject
    }

    #[test]
    fn a_new_finding_takes_its_place_in_the_kernels_order() {
        let mut subject = subject();
        let set = CapSet::of(&[Capability::KILL, Capability::SYSLOG]);
        let new = [Capability::SYSLOG, Capability::CHOWN, Capability::KILL];
        subject.settle(set, new.map(|capability| (capability, Settlement::Kept)));
        assert_eq!(subject.cap_add, set);
        let names: Vec<&str> = subject
            .capabilities
            .iter()
            .map(|finding| finding.capability.name())
            .collect();
        assert_eq!(names, ["CHOWN", "KILL", "SETUID", "SYSLOG"]);
    }

    #[test]
    fn each_settlement_tells_itself() {
        for (settlement, verdict, evidence, rule, reason, has_way) in [
            (
                Settlement::Proven,
                Verdict::Needed,
                Evidence::Proven,
                Rule::AnyCheck,
                "said by a rule",
                true,
            ),
            (
                Settlement::Missed,
                Verdict::Needed,
                Evidence::Proven,
                Rule::Verified,
                "and failed, although",
                true,
            ),
            (
                Settlement::Removed,
                Verdict::Tolerated,
                Evidence::Proven,
                Rule::Verified,
                "and succeeded",
                false,
            ),
            (
                Settlement::Unsettled,
                Verdict::Needed,
                Evidence::Possible,
                Rule::Verified,
                "the runs disagreed",
                true,
            ),
            (
                Settlement::Kept,
                Verdict::Needed,
                Evidence::Decisive,
                Rule::AnyCheck,
                "said by a rule",
                true,
            ),
        ] {
            let mut subject = subject();
            let others = subject.capabilities[1].clone();
            subject.settle(CapSet::EMPTY, [(Capability::CHOWN, settlement)]);
            let finding = &subject.capabilities[0];
            assert_eq!(
                (finding.verdict, finding.evidence, finding.rule),
                (verdict, evidence, Some(rule)),
                "{settlement:?}"
            );
            assert!(finding.reason.contains(reason), "{settlement:?}");
            assert_eq!(finding.need_less.is_some(), has_way, "{settlement:?}");
            assert_eq!(!finding.alternatives.is_empty(), has_way, "{settlement:?}");
            assert_eq!(subject.capabilities[1], others, "{settlement:?}");
        }
    }
}
