//! How a recommendation compares with the truth. Pure.
//!
//! - Missing: no set with which the act sees what it sees with everything is within the recommendation. What is only
//!   needed against degradation counts: the recommendation has to hold it, be it as possible.
//! - Noted: what is only needed against degradation is not recommended, and a note says so and names it.
//! - Extra decisive: a member that is called decisive, and the act succeeds without it. What is only needed against
//!   degradation is possible: to call it decisive is to say that the program fails.
//! - Extra possible: a member that is called possible and makes no difference at all.
//!
//! Of several minimal sets the one counts that the recommendation comes closest to. Of what could not be granted nothing
//! is known, so nothing is said of it.

use capaudit_core::capability::CapSet;
use serde::Serialize;

use super::truth::Needs;

/// What capaudit recommends, by evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recommendation {
    /// Decisive or proven.
    pub decisive: CapSet,
    pub possible: CapSet,
}

/// How it does. All empty: exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// Without these the act fails, or sees something else.
    pub missing: CapSet,
    /// Without these the act sees something else, and a note says that they are not recommended.
    pub noted: CapSet,
    /// Called decisive, and makes no difference.
    pub extra_decisive: CapSet,
    /// Called decisive, and only degrades: part of what counts as extra decisive.
    pub only_degrades: CapSet,
    /// Called possible, and makes no difference.
    pub extra_possible: CapSet,
}

impl Verdict {
    pub(super) fn is_exact(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn is_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Whether something is called decisive that is not.
    pub(super) fn overstates(&self) -> bool {
        !(self.extra_decisive | self.only_degrades).is_empty()
    }

    /// How far it is from exact: what is missing weighs most.
    fn distance(&self) -> [usize; 4] {
        [
            self.missing.len(),
            (self.extra_decisive | self.only_degrades).len(),
            self.noted.len(),
            self.extra_possible.len(),
        ]
    }
}

/// Compares. `noted` is what notes say is not recommended.
pub(super) fn judge(
    recommended: Recommendation,
    noted: CapSet,
    needs: &Needs,
    lacking: CapSet,
) -> Verdict {
    let decisive = recommended.decisive - lacking;
    let possible = recommended.possible - lacking;
    let whole = recommended.decisive | recommended.possible;
    let pairs = needs.minimal.iter().flat_map(|minimal| {
        let enough = needs.minimal_to_succeed.iter().copied();
        let enough: Vec<CapSet> = enough.filter(|set| set.is_subset(*minimal)).collect();
        // Whatever sees the same succeeds, too: there is one, unless the search for them ended early.
        let alone = enough.is_empty().then_some(*minimal);
        let enough = enough.into_iter().chain(alone);
        enough.map(|set| (*minimal, set))
    });
    let verdicts = pairs.map(|(minimal, succeeds)| {
        let noted = (minimal - succeeds - whole).intersection(noted);
        Verdict {
            missing: minimal - whole - noted,
            noted,
            extra_decisive: decisive - minimal,
            only_degrades: decisive.intersection(minimal) - succeeds,
            extra_possible: possible - minimal,
        }
    });
    verdicts.min_by_key(Verdict::distance).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn set(names: &str) -> CapSet {
        names.parse().unwrap()
    }

    fn sets(texts: &[&str]) -> Vec<CapSet> {
        texts.iter().map(|text| set(text)).collect()
    }

    #[track_caller]
    fn check(decisive: &str, possible: &str, needs: [&[&str]; 2], expected: [&str; 4]) {
        let recommended = Recommendation {
            decisive: set(decisive),
            possible: set(possible),
        };
        let needs = Needs {
            minimal: sets(needs[0]),
            minimal_to_succeed: sets(needs[1]),
        };
        let [missing, extra_decisive, only_degrades, extra_possible] = expected.map(set);
        assert_eq!(
            judge(recommended, CapSet::EMPTY, &needs, set("SYS_RESOURCE")),
            Verdict {
                missing,
                noted: CapSet::EMPTY,
                extra_decisive,
                only_degrades,
                extra_possible
            }
        );
    }

    #[test]
    fn what_is_needed_and_recommended_is_exact() {
        check("CHOWN", "", [&["CHOWN"], &["CHOWN"]], ["", "", "", ""]);
        check("", "CHOWN", [&["CHOWN"], &["CHOWN"]], ["", "", "", ""]);
        check("", "", [&[""], &[""]], ["", "", "", ""]);
        // Either of two, and the closer one counts.
        check(
            "DAC_OVERRIDE",
            "",
            [&["DAC_OVERRIDE", "DAC_READ_SEARCH"]; 2],
            ["", "", "", ""],
        );
    }

    #[test]
    fn what_is_not_recommended_is_missing() {
        check("", "", [&["CHOWN"], &["CHOWN"]], ["CHOWN", "", "", ""]);
        check(
            "KILL",
            "",
            [&["CHOWN", "FOWNER KILL"]; 2],
            ["FOWNER", "", "", ""],
        );
    }

    #[test]
    fn what_only_degrades_has_to_be_possible() {
        check("", "FSETID", [&["FSETID"], &[""]], ["", "", "", ""]);
        check("", "", [&["FSETID"], &[""]], ["FSETID", "", "", ""]);
        check("FSETID", "", [&["FSETID"], &[""]], ["", "", "FSETID", ""]);
        check(
            "CHOWN FSETID",
            "",
            [&["CHOWN FSETID"], &["CHOWN"]],
            ["", "", "FSETID", ""],
        );
    }

    #[test]
    fn what_only_degrades_may_be_noted_instead() {
        let of = |minimal_to_succeed: &[&str]| {
            let needs = Needs {
                minimal: sets(&["CHOWN FSETID"]),
                minimal_to_succeed: sets(minimal_to_succeed),
            };
            let verdict = judge(
                Recommendation::default(),
                set("FSETID KILL"),
                &needs,
                CapSet::EMPTY,
            );
            (verdict.missing, verdict.noted)
        };
        assert_eq!(of(&["CHOWN"]), (set("CHOWN"), set("FSETID")));
        // Without it the act fails.
        assert_eq!(of(&["CHOWN FSETID"]), (set("CHOWN FSETID"), CapSet::EMPTY));
    }

    #[test]
    fn what_makes_no_difference_is_extra() {
        check("KILL", "LEASE", [&[""], &[""]], ["", "KILL", "", "LEASE"]);
        check(
            "CHOWN KILL",
            "",
            [&["CHOWN"], &["CHOWN"]],
            ["", "KILL", "", ""],
        );
        check(
            "BPF SYS_ADMIN",
            "",
            [&["BPF", "SYS_ADMIN"]; 2],
            ["", "SYS_ADMIN", "", ""],
        );
        // The possible one is the one that is too much.
        check(
            "SYS_ADMIN",
            "BPF",
            [&["BPF", "SYS_ADMIN"]; 2],
            ["", "", "", "BPF"],
        );
    }

    #[test]
    fn nothing_is_said_of_what_could_not_be_granted() {
        check("SYS_RESOURCE", "", [&[""], &[""]], ["", "", "", ""]);
    }
}
