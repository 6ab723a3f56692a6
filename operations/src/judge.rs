//! What knock-out shows. Pure: acts are a function from a set to what was seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use capaudit_core::capability::{CapSet, Capability};
use serde::{Deserialize, Serialize};

use crate::operation::{Details, Seen};

/// How an act differs from the one that had everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub(crate) enum Difference {
    /// It fails, or dies or hangs.
    Fails { with: String },
    /// It succeeds, and these details differ: with everything, and now.
    Degrades {
        details: BTreeMap<String, [String; 2]>,
    },
}

/// Compares an act with the one that had everything. `None`: no difference.
pub(crate) fn difference(full: &Details, seen: &Seen) -> Option<Difference> {
    let with = match seen {
        Seen::Ok { details } => {
            let names: BTreeSet<&String> = full.keys().chain(details.keys()).collect();
            let text = |of: &Details, name: &String| of.get(name).cloned().unwrap_or_default();
            let differing: BTreeMap<String, [String; 2]> = names
                .into_iter()
                .filter(|name| full.get(*name) != details.get(*name))
                .map(|name| (name.clone(), [text(full, name), text(details, name)]))
                .collect();
            return (!differing.is_empty()).then_some(Difference::Degrades { details: differing });
        }
        Seen::Error { name, .. } => name.clone(),
        Seen::Hung => "hangs".to_owned(),
        Seen::Died { signal } => format!("signal {signal}"),
    };
    Some(Difference::Fails { with })
}

/// How many members of found sets are excluded at once in the search for others.
const DEEPEST: usize = 3;
/// How many minimal sets are looked for.
const MOST: usize = 16;

/// Finds minimal sets that pass, the first by shrinking the whole, the others by forbidding members of those found.
/// All are found of which each differs from the others by up to three forbidden members, if what passes still passes
/// with more. `passes` returns an error to end the search.
///
/// # Errors
///
/// That of `passes`.
pub(crate) fn minimal_sets<E>(
    whole: CapSet,
    mut passes: impl FnMut(CapSet) -> Result<bool, E>,
) -> Result<Vec<CapSet>, E> {
    let mut known = BTreeMap::new();
    let mut passes = move |set: CapSet| match known.get(&set.bits()) {
        Some(known) => Ok(*known),
        None => passes(set).inspect(|answer| {
            known.insert(set.bits(), *answer);
        }),
    };
    if passes(CapSet::EMPTY)? {
        return Ok(vec![CapSet::EMPTY]);
    }
    let mut found: Vec<CapSet> = Vec::new();
    let mut tried = BTreeSet::from([0]);
    let mut excluded = VecDeque::from([CapSet::EMPTY]);
    while let Some(without) = excluded.pop_front() {
        let disjoint = found
            .iter()
            .copied()
            .find(|set| set.intersection(without).is_empty());
        let set = match disjoint {
            Some(set) => set,
            None if found.len() < MOST && passes(whole - without)? => {
                let set = shrink(CapSet::EMPTY, whole - without, false, &mut passes)?;
                found.push(set);
                set
            }
            None => continue,
        };
        if without.len() < DEEPEST {
            for member in &set {
                let next = without | CapSet::from(member);
                if tried.insert(next.bits()) {
                    excluded.push_back(next);
                }
            }
        }
    }
    found.sort_by_key(|set| (set.len(), set.bits()));
    Ok(found)
}

/// The members of `candidates` that are needed beside `kept`: QuickXplain (Junker, 2004), which needs few questions
/// when few are needed.
fn shrink<E>(
    kept: CapSet,
    candidates: CapSet,
    grew: bool,
    passes: &mut impl FnMut(CapSet) -> Result<bool, E>,
) -> Result<CapSet, E> {
    if grew && passes(kept)? {
        return Ok(CapSet::EMPTY);
    }
    if candidates.len() <= 1 {
        return Ok(candidates);
    }
    let members: Vec<Capability> = candidates.iter().collect();
    let (first, second) = members.split_at(members.len() / 2);
    let (first, second) = (CapSet::of(first), CapSet::of(second));
    let of_second = shrink(kept | first, second, true, passes)?;
    let of_first = shrink(kept | of_second, first, !of_second.is_empty(), passes)?;
    Ok(of_first | of_second)
}

/// Errors by which a kernel says that it does not have what was asked for.
const ABSENT: [i32; 14] = [
    libc::ENOSYS,
    libc::EOPNOTSUPP,
    libc::EPROTONOSUPPORT,
    libc::EAFNOSUPPORT,
    libc::ESOCKTNOSUPPORT,
    libc::EPFNOSUPPORT,
    libc::ENOPROTOOPT,
    libc::ENOTTY,
    libc::ENODEV,
    libc::ENXIO,
    libc::ENOENT,
    libc::ENOTDIR,
    libc::EINVAL,
    libc::ESRCH,
];

/// Whether an act that failed with everything met a kernel, or a machine, without what it needs.
pub(crate) fn is_absent(errno: i32) -> bool {
    ABSENT.contains(&errno)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const CHOWN: Capability = Capability::CHOWN;
    const FOWNER: Capability = Capability::FOWNER;
    const BPF: Capability = Capability::BPF;
    const SYS_ADMIN: Capability = Capability::SYS_ADMIN;

    fn search(alternatives: &[&[Capability]]) -> (Vec<CapSet>, usize) {
        let mut questions = 0;
        let found = minimal_sets::<Infallible>(CapSet::known(), |set| {
            questions += 1;
            Ok(alternatives
                .iter()
                .any(|needed| CapSet::of(needed).is_subset(set)))
        });
        (found.unwrap_or_default(), questions)
    }

    fn check(alternatives: &[&[Capability]]) {
        let mut expected: Vec<CapSet> = alternatives.iter().map(|set| CapSet::of(set)).collect();
        expected.sort_by_key(|set| (set.len(), set.bits()));
        assert_eq!(search(alternatives).0, expected);
    }

    #[test]
    fn minimal_sets_are_found() {
        check(&[&[]]);
        check(&[&[CHOWN]]);
        check(&[&[CHOWN, FOWNER]]);
        check(&[&[BPF], &[SYS_ADMIN]]);
        check(&[&[CHOWN, BPF], &[CHOWN, SYS_ADMIN], &[FOWNER]]);
        check(&[&[CHOWN], &[FOWNER], &[BPF], &[SYS_ADMIN]]);
        check(&[&Capability::KNOWN]);
    }

    #[test]
    fn nothing_passes_nothing_is_found() {
        assert_eq!(search(&[]).0, []);
    }

    #[test]
    fn one_capability_takes_few_questions() {
        assert!(search(&[&[FOWNER]]).1 < 16, "{}", search(&[&[FOWNER]]).1);
    }

    #[test]
    fn an_error_ends_the_search() {
        assert_eq!(minimal_sets(CapSet::known(), |_| Err("no")), Err("no"));
    }

    fn details(pairs: &[(&str, &str)]) -> Details {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_same_is_no_difference() {
        let full = details(&[("mode", "755")]);
        assert_eq!(
            difference(
                &full,
                &Seen::Ok {
                    details: full.clone()
                }
            ),
            None
        );
    }

    #[test]
    fn other_missing_and_new_details_degrade() {
        let full = details(&[("mode", "4755"), ("uid", "0")]);
        let seen = Seen::Ok {
            details: details(&[("mode", "755"), ("gid", "1")]),
        };
        let differing = [
            ("gid", ["", "1"]),
            ("mode", ["4755", "755"]),
            ("uid", ["0", ""]),
        ];
        let details = differing
            .map(|(name, values)| (name.to_owned(), values.map(str::to_owned)))
            .into();
        assert_eq!(
            difference(&full, &seen),
            Some(Difference::Degrades { details })
        );
    }

    #[test]
    fn whatever_does_not_succeed_fails() {
        for (seen, with) in [
            (Seen::error(libc::EPERM), "EPERM"),
            (Seen::error(9999), "9999"),
            (Seen::Hung, "hangs"),
            (Seen::Died { signal: 11 }, "signal 11"),
        ] {
            let fails = Difference::Fails {
                with: with.to_owned(),
            };
            assert_eq!(difference(&Details::new(), &seen), Some(fails));
        }
    }

    #[test]
    fn a_refusal_is_not_absence() {
        assert!(is_absent(libc::ENOSYS) && !is_absent(libc::EPERM) && !is_absent(libc::EACCES));
    }
}
