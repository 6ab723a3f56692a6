//! What is granted to several subjects at once: one capability set each.

use std::fmt;

use capaudit_core::capability::{CapSet, Capability};
use serde::{Deserialize, Serialize};

/// One capability, granted to one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Which subject, counted from 0.
    pub subject: usize,
    /// A capability that this subject is given.
    pub capability: Capability,
}

/// A capability set for each subject: one for a command or a container, one a service for compose.
///
/// The operations take the sets pairwise; a subject that one side does not know has the empty set there.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(Vec<CapSet>);

impl Grants {
    /// One set for each subject, in their order.
    #[must_use]
    pub fn new(sets: Vec<CapSet>) -> Self {
        Self(sets)
    }

    /// The set of one subject.
    #[must_use]
    pub fn of(&self, subject: usize) -> CapSet {
        self.0.get(subject).copied().unwrap_or_default()
    }

    /// The sets, in the subjects' order.
    #[must_use]
    pub fn sets(&self) -> &[CapSet] {
        &self.0
    }

    /// All capabilities of any subject.
    #[must_use]
    pub fn all(&self) -> CapSet {
        self.0
            .iter()
            .fold(CapSet::EMPTY, |all, set| all.union(*set))
    }

    /// Whether it holds a grant.
    #[must_use]
    pub fn contains(&self, grant: Grant) -> bool {
        self.of(grant.subject).contains(grant.capability)
    }

    /// Gives a subject one more capability.
    pub fn insert(&mut self, grant: Grant) {
        if self.0.len() <= grant.subject {
            self.0.resize(grant.subject + 1, CapSet::EMPTY);
        }
        self.0[grant.subject].insert(grant.capability);
    }

    /// The same without these grants.
    #[must_use]
    pub fn without(&self, grants: &[Grant]) -> Self {
        let mut rest = self.clone();
        for grant in grants {
            if let Some(set) = rest.0.get_mut(grant.subject) {
                set.remove(grant.capability);
            }
        }
        rest
    }

    /// The same with these grants.
    #[must_use]
    pub fn with(&self, grants: &[Grant]) -> Self {
        let mut more = self.clone();
        for grant in grants {
            more.insert(*grant);
        }
        more
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.pairwise(other, CapSet::intersection)
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.pairwise(other, CapSet::difference)
    }

    fn pairwise(&self, other: &Self, operation: impl Fn(CapSet, CapSet) -> CapSet) -> Self {
        let subjects = self.0.len().max(other.0.len());
        Self(
            (0..subjects)
                .map(|subject| operation(self.of(subject), other.of(subject)))
                .collect(),
        )
    }

    /// Whether everything here is in `other` too.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0
            .iter()
            .enumerate()
            .all(|(subject, set)| set.is_subset(other.of(subject)))
    }

    /// Whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|set| set.is_empty())
    }

    /// How many grants there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|set| set.len()).sum()
    }

    /// The grants, by subject and in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = Grant> + '_ {
        self.0.iter().enumerate().flat_map(|(subject, set)| {
            set.iter().map(move |capability| Grant {
                subject,
                capability,
            })
        })
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_subject_has_nothing() {
        let one = Grants::new(vec![CapSet::from(Capability::CHOWN)]);
        let two = one.with(&[Grant {
            subject: 1,
            capability: Capability::KILL,
        }]);
        assert!(one.is_subset(&two) && !two.is_subset(&one));
        assert_eq!(two.difference(&one).len(), 1);
        assert_eq!(two.intersection(&one).len(), 1);
        assert_eq!(
            two.all(),
            CapSet::of(&[Capability::CHOWN, Capability::KILL])
        );
        let grants: Vec<Grant> = two.iter().collect();
        assert!(two.without(&grants).is_empty());
    }
}
