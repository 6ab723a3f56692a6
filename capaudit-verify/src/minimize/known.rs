//! What runs have said of sets of grants, and what follows from it for others.

use crate::Grants;

/// What is known of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passes,
    Fails {
        /// The run that failed.
        trial: usize,
        /// There is no need to see it again.
        firm: bool,
    },
    /// Some of its runs passed, others failed.
    Disagrees,
    /// The command could not be started.
    Disturbed,
}

/// Verdicts by set.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<(Grants, Verdict)>);

impl Known {
    /// Keeps what is known of a set, in the place of what was.
    pub(super) fn learn(&mut self, set: &Grants, verdict: Verdict) {
        self.0.retain(|(known, _verdict)| known != set);
        self.0.push((set.clone(), verdict));
    }

    /// What is known of a set: by its own runs, else because a part of it passes or because it is a part of what fails.
    pub(super) fn of(&self, set: &Grants) -> Option<Verdict> {
        let exactly = self.0.iter().find(|(known, _verdict)| known == set);
        let passes = self
            .0
            .iter()
            .find(|(known, verdict)| *verdict == Verdict::Passes && known.is_subset(set));
        let fails = self.0.iter().find(|(known, verdict)| {
            matches!(verdict, Verdict::Fails { .. }) && set.is_subset(known)
        });
        exactly
            .or(passes)
            .or(fails)
            .map(|(_known, verdict)| *verdict)
    }
}
