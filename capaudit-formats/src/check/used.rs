//! What was used, by what it is configured under.

use std::collections::{BTreeMap, BTreeSet};

use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::Kind,
    recommend::{Reach, Recommendation, Workload},
};

/// What all replicas of one thing used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Whether it is a command, a container or a process.
    pub kind: Kind,
    /// What it is called in the files that configure it, which do not name their project: services of several projects by the
    /// same name may all be meant.
    pub name: String,
    /// The same, with its project before it where that tells it from another one.
    pub qualified: String,
    /// The containers, commands or processes that it is.
    pub members: Vec<String>,
    /// Images of its containers, as far as they are known.
    pub images: BTreeSet<String>,
    /// What it needs: the recommendation.
    pub needed: CapSet,
    /// What else it would need where the engine sets no sysctls for its containers, and with systemd.
    pub elsewhere: CapSet,
    /// Why each capability is needed, in one sentence.
    pub reasons: BTreeMap<Capability, String>,
    /// No setuid or file-capability program was run.
    pub no_new_privileges_is_safe: bool,
    /// No replica was audited from its start.
    pub start_unseen: bool,
    /// How what is granted reaches programs that are not root's.
    pub reach: Reach,
}

impl From<&Workload> for Used {
    fn from(workload: &Workload) -> Self {
        Self {
            needed: workload.cap_add(),
            elsewhere: workload.only_elsewhere(),
            kind: workload.kind,
            name: workload.service.clone(),
            qualified: workload.name.clone(),
            members: workload.members.clone(),
            images: workload.images.clone(),
            reasons: workload
                .needs
                .iter()
                .chain(&workload.elsewhere)
                .map(|(capability, need)| (*capability, need.reason.clone()))
                .collect(),
            no_new_privileges_is_safe: workload.no_new_privileges_is_safe,
            start_unseen: workload.start_unseen,
            reach: workload.reach.clone(),
        }
    }
}

impl Used {
    /// Whether this is a name of it, as a service or as one of its containers.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.qualified == name || self.members.iter().any(|it| it == name)
    }

    /// What either of the two used, for replicas that are configured as one.
    #[must_use]
    pub fn united(mut self, other: Self) -> Self {
        self.needed |= other.needed;
        self.elsewhere = (self.elsewhere | other.elsewhere) - self.needed;
        for (capability, reason) in other.reasons {
            self.reasons.entry(capability).or_insert(reason);
        }
        self.images.extend(other.images);
        self.members.extend(other.members);
        self.no_new_privileges_is_safe &= other.no_new_privileges_is_safe;
        // One whose start was not seen may need more than the other shows.
        self.start_unseen |= other.start_unseen;
        self.reach = self.reach.united(other.reach);
        self
    }
}

/// What a recommendation says was used.
pub fn used(recommendation: &Recommendation) -> Vec<Used> {
    recommendation.workloads.iter().map(Used::from).collect()
}
