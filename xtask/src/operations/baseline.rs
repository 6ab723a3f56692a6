//! What is known to be wrong, which may only become less.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use capaudit_core::capability::CapSet;
use serde::{Deserialize, Serialize};

use super::{mode::Mode, row::Row};
use crate::{capability::names, command};

/// What is known to be wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Baseline {
    /// Operation, mode, and what its recommendation lacks.
    missing: BTreeMap<String, BTreeMap<Mode, CapSet>>,
    /// Recommendations that call something decisive that is not, by mode.
    extra_decisive: BTreeMap<Mode, usize>,
}

impl Baseline {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no baseline", path.display()))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        command::write(path, &format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// What is wrong in these.
    pub(super) fn of(rows: &[Row], percent: Option<usize>) -> Self {
        let mut missing: BTreeMap<String, BTreeMap<Mode, CapSet>> = BTreeMap::new();
        for (row, set) in rows.iter().filter_map(missing_in) {
            missing
                .entry(row.operation.clone())
                .or_default()
                .insert(row.mode, set);
        }
        let mut extra_decisive = BTreeMap::new();
        for mode in Mode::ALL {
            let (overstated, compared) = overstated(rows, mode);
            if percent.is_some_and(|percent| overstated * 100 > compared * percent) {
                extra_decisive.insert(mode, overstated);
            }
        }
        Self {
            missing,
            extra_decisive,
        }
    }

    /// What is worse in these than is known, and what is known and not wrong any more.
    pub(super) fn faults(&self, rows: &[Row], percent: Option<usize>) -> Vec<String> {
        let known = |row: &Row| {
            let known = self.missing.get(&row.operation)?.get(&row.mode)?;
            Some(*known)
        };
        let mut faults = Vec::new();
        for row in rows.iter().filter(|row| row.comparison().is_some()) {
            let now = missing_in(row).map_or(CapSet::EMPTY, |(_, set)| set);
            let before = known(row).unwrap_or_default();
            let which = format!("{} as {}", row.operation, row.mode);
            if !(now - before).is_empty() {
                faults.push(format!(
                    "{which}: the recommendation lacks {}",
                    names(now - before)
                ));
            }
            if !(before - now).is_empty() {
                faults.push(format!(
                    "{which}: nothing lacks {} any more: take it out of the baseline",
                    names(before - now)
                ));
            }
        }
        let Some(percent) = percent else {
            return faults;
        };
        for mode in Mode::ALL {
            let (overstated, compared) = overstated(rows, mode);
            let known = self.extra_decisive.get(&mode).copied().unwrap_or_default();
            let allowed = known.max(compared * percent / 100);
            if overstated > allowed {
                faults.push(format!(
                    "{overstated} recommendations as {mode} call something decisive that is not; at most {allowed} may"
                ));
            }
        }
        faults
    }
}

fn missing_in(row: &Row) -> Option<(&Row, CapSet)> {
    let verdict = row.verdict()?;
    verdict.is_missing().then_some((row, verdict.missing))
}

/// How many recommendations of a mode call something decisive that is not, and how many there are.
fn overstated(rows: &[Row], mode: Mode) -> (usize, usize) {
    let verdicts = || {
        rows.iter()
            .filter(move |row| row.mode == mode)
            .filter_map(Row::verdict)
    };
    (
        verdicts().filter(|verdict| verdict.overstates()).count(),
        verdicts().count(),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{super::row::tests::compared, *};

    #[test]
    fn what_is_known_is_no_fault_and_what_is_new_is() {
        let rows = [
            compared("one", Mode::Root, "CHOWN", ""),
            compared("two", Mode::Root, "", "KILL"),
        ];
        let known = Baseline::of(&rows, Some(2));
        assert!(known.faults(&rows, Some(2)).is_empty());
        let none = Baseline::default();
        assert_eq!(
            none.faults(&rows, None),
            ["one as root: the recommendation lacks CHOWN"]
        );
        assert_eq!(none.faults(&rows, Some(2)).len(), 2);
        assert_eq!(none.faults(&rows, Some(50)).len(), 1);
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), known);
    }

    #[test]
    fn what_is_not_wrong_any_more_has_to_go() {
        let rows = [compared("one", Mode::User, "CHOWN KILL", "")];
        let known = Baseline::of(&rows, None);
        assert_eq!(
            known.faults(&[compared("one", Mode::User, "KILL", "")], None),
            ["one as user: nothing lacks CHOWN any more: take it out of the baseline"]
        );
        // Of what was not compared nothing is known.
        assert!(known.faults(&[], None).is_empty());
    }
}
