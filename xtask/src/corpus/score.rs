//! How a recommendation compares with the truth.

use std::fmt;

use capaudit_core::capability::CapSet;

use crate::{capability::names, scenario::Truth};

/// How good a recommended set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the minimal set with the least power.
    Exact,
    /// It is minimal, but another minimal set has less power.
    Stronger,
    /// It suffices, but for these it would be minimal.
    Extra(CapSet),
    /// It does not suffice; with these it would.
    Missing(CapSet),
}

/// Compares `recommended` with the minimal sets: with the one that it comes closest to and, among equals, the one with
/// the least power.
pub(super) fn judge(recommended: CapSet, truth: &Truth) -> Verdict {
    if recommended == truth.preferred {
        return Verdict::Exact;
    }
    if truth.minimal.contains(&recommended) {
        return Verdict::Stronger;
    }
    let by_power = || {
        [truth.preferred]
            .into_iter()
            .chain(truth.minimal.iter().copied())
    };
    let extra = by_power()
        .filter(|set| set.is_subset(recommended))
        .map(|set| recommended - set);
    let missing = by_power().map(|set| set - recommended);
    match extra.min_by_key(|set| set.len()) {
        Some(extra) => Verdict::Extra(extra),
        None => Verdict::Missing(missing.min_by_key(|set| set.len()).unwrap_or_default()),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Stronger => f.write_str("stronger"),
            Self::Extra(set) => write!(f, "extra {}", names(*set)),
            Self::Missing(set) => write!(f, "missing {}", names(*set)),
        }
    }
}

/// What came of one scenario's run.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It did its work under capaudit, which recommended this.
    Scored {
        /// How capaudit's recommendation does.
        capaudit: Verdict,
        /// How the set of all granted checks does.
        naive: Verdict,
        /// Whether the record is complete.
        complete: bool,
    },
    /// The scenario did not do its work, or there is no report; and why.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scored {
                capaudit, complete, ..
            } => {
                let remark = if *complete {
                    ""
                } else {
                    " (incomplete record)"
                };
                write!(f, "{capaudit}{remark}")
            }
            Self::Failed(reason) => write!(f, "failed run: {reason}"),
        }
    }
}

/// One scenario's line in the score.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub scenario: String,
    /// What it needs at least.
    pub needed: CapSet,
    /// What came of its run.
    pub outcome: Outcome,
}

impl Row {
    /// The verdict on capaudit, if the run counts.
    pub(super) fn capaudit(&self) -> Option<Verdict> {
        match self.outcome {
            Outcome::Scored { capaudit, .. } => Some(capaudit),
            Outcome::Failed(_) => None,
        }
    }

    /// The verdict on the naive recommendation, if the run counts.
    pub(super) fn naive(&self) -> Option<Verdict> {
        match self.outcome {
            Outcome::Scored { naive, .. } => Some(naive),
            Outcome::Failed(_) => None,
        }
    }
}

/// How many scenarios came out how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub exact: usize,
    pub stronger: usize,
    pub extra: usize,
    pub missing: usize,
    pub failed: usize,
}

impl FromIterator<Option<Verdict>> for Tally {
    fn from_iter<I: IntoIterator<Item = Option<Verdict>>>(verdicts: I) -> Self {
        let mut tally = Self::default();
        for verdict in verdicts {
            *match verdict {
                Some(Verdict::Exact) => &mut tally.exact,
                Some(Verdict::Stronger) => &mut tally.stronger,
                Some(Verdict::Extra(_)) => &mut tally.extra,
                Some(Verdict::Missing(_)) => &mut tally.missing,
                None => &mut tally.failed,
            } += 1;
        }
        tally
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn set(names: &str) -> CapSet {
        names.parse().unwrap()
    }

    /// The truth whose minimal sets are `minimal`, the first of them preferred.
    fn truth(minimal: &[&str]) -> Truth {
        let minimal: Vec<CapSet> = minimal.iter().map(|names| set(names)).collect();
        Truth {
            preferred: *minimal.first().unwrap(),
            minimal,
        }
    }

    #[track_caller]
    fn check(recommended: &str, minimal: &[&str], expected: Verdict) {
        assert_eq!(
            judge(set(recommended), &truth(minimal)),
            expected,
            "{recommended:?}"
        );
    }

    #[test]
    fn the_least_powerful_minimal_set_is_exact() {
        check("", &[""], Verdict::Exact);
        check("SETUID CHOWN", &["CHOWN SETUID"], Verdict::Exact);
        check(
            "CHOWN DAC_READ_SEARCH",
            &["CHOWN DAC_READ_SEARCH", "CHOWN DAC_OVERRIDE"],
            Verdict::Exact,
        );
    }

    #[test]
    fn another_minimal_set_is_stronger_than_need_be() {
        check(
            "CHOWN DAC_OVERRIDE",
            &["CHOWN DAC_READ_SEARCH", "CHOWN DAC_OVERRIDE"],
            Verdict::Stronger,
        );
    }

    #[test]
    fn a_superset_names_what_is_too_much() {
        check("KILL", &[""], Verdict::Extra(set("KILL")));
        check(
            "CHOWN KILL LEASE",
            &["CHOWN"],
            Verdict::Extra(set("KILL LEASE")),
        );
        // Both minimal sets are in it: the one with more power is what is too much.
        check(
            "SYS_NICE SYS_ADMIN",
            &["SYS_NICE", "SYS_ADMIN"],
            Verdict::Extra(set("SYS_ADMIN")),
        );
        // Only the stronger one is in it.
        check(
            "SYS_ADMIN KILL",
            &["SYS_NICE", "SYS_ADMIN"],
            Verdict::Extra(set("KILL")),
        );
    }

    #[test]
    fn what_is_missing_is_told_by_the_nearest_set() {
        check("", &["CHOWN"], Verdict::Missing(set("CHOWN")));
        check(
            "CHOWN KILL",
            &["CHOWN SETUID"],
            Verdict::Missing(set("SETUID")),
        );
        check(
            "",
            &["SYS_NICE", "SYS_ADMIN"],
            Verdict::Missing(set("SYS_NICE")),
        );
        check(
            "CHOWN",
            &["KILL SETUID", "CHOWN FOWNER"],
            Verdict::Missing(set("FOWNER")),
        );
    }

    #[test]
    fn the_tally_counts_each_kind() {
        let verdicts = [
            Some(Verdict::Exact),
            Some(Verdict::Exact),
            Some(Verdict::Stronger),
            Some(Verdict::Extra(set("KILL"))),
            Some(Verdict::Missing(set("KILL"))),
            None,
        ];
        let tally: Tally = verdicts.into_iter().collect();
        assert_eq!(
            tally,
            Tally {
                exact: 2,
                stronger: 1,
                extra: 1,
                missing: 1,
                failed: 1
            }
        );
    }
}
