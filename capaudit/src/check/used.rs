//! What a report says was used, by what it is configured under.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    advise::Evidence,
    capability::{CapSet, Capability},
    ledger::Kind,
    report::{Report, SubjectReport},
};

/// What all replicas of one thing used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// What it is.
    pub kind: Kind,
    /// The compose service, else what people call it.
    pub name: String,
    /// Images of its containers, as far as they are known.
    pub images: BTreeSet<String>,
    /// What it needs: the recommendation.
    pub needed: CapSet,
    /// What of it no replica surely needs.
    pub possible: CapSet,
    /// Why, by capability.
    pub reasons: BTreeMap<Capability, String>,
    /// What it was started with.
    pub granted: CapSet,
    /// No setuid or file-capability program was run.
    pub no_new_privileges_is_safe: bool,
}

impl Used {
    fn of(subject: &SubjectReport) -> Self {
        // Names of a report come from a file and may be anything: what is no capability is no member.
        let set = |names: &[String]| -> CapSet {
            names
                .iter()
                .filter_map(|name| name.parse::<Capability>().ok())
                .collect()
        };
        let needed = set(&subject.cap_add);
        let mut possible = CapSet::EMPTY;
        let mut reasons = BTreeMap::new();
        for finding in &subject.capabilities {
            if let Ok(capability) = finding.name.parse::<Capability>()
                && needed.contains(capability)
            {
                reasons.insert(capability, finding.reason.clone());
                if finding.evidence == Evidence::Possible {
                    possible.insert(capability);
                }
            }
        }
        Self {
            kind: subject.kind,
            name: if subject.compose_service.is_empty() {
                subject.name.clone()
            } else {
                subject.compose_service.clone()
            },
            images: (!subject.image.is_empty())
                .then(|| subject.image.clone())
                .into_iter()
                .collect(),
            needed,
            possible,
            reasons,
            granted: set(&subject.granted) & CapSet::known(),
            no_new_privileges_is_safe: subject.no_new_privileges_is_safe,
        }
    }

    /// What both used.
    #[must_use]
    pub fn united(mut self, other: Self) -> Self {
        let sure = (self.needed - self.possible) | (other.needed - other.possible);
        self.needed |= other.needed;
        self.possible = self.needed - sure;
        for (capability, reason) in other.reasons {
            self.reasons.entry(capability).or_insert(reason);
        }
        self.images.extend(other.images);
        self.granted |= other.granted;
        self.no_new_privileges_is_safe &= other.no_new_privileges_is_safe;
        self
    }
}

/// What a report says was used, in its order; replicas are one.
pub fn used(report: &Report) -> Vec<Used> {
    let mut all: Vec<Used> = Vec::new();
    for subject in &report.subjects {
        let new = Used::of(subject);
        match all
            .iter_mut()
            .find(|known| known.kind == new.kind && known.name == new.name)
        {
            Some(known) => *known = known.clone().united(new),
            None => all.push(new),
        }
    }
    all
}
