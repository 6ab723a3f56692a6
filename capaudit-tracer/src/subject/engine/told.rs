//! What an engine's events tell of a container's life: its starts and ends, and since when its volumes are there.

use std::collections::{BTreeMap, BTreeSet};

use capaudit_core::ledger::Life;

/// Starts and volumes that are remembered of one container: a hostile engine has any number of them.
const MOST: usize = 32;
/// Bytes of a volume's name that are remembered: Docker makes names of 64.
const LONGEST: usize = 255;

/// What events told. Those that come twice, by two sockets of one engine, say, are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// When it was started, in nanoseconds since 1970.
    starts: BTreeSet<i64>,
    /// It has ended.
    ended: bool,
    /// It was removed.
    removed: bool,
    /// Its volumes, and when they were made, in seconds since 1970; `None` if that is not known.
    volumes: BTreeMap<String, Option<i64>>,
}

impl Told {
    /// It was started at this time.
    pub(super) fn start(time: i64) -> Self {
        Self {
            starts: BTreeSet::from([time]),
            ..Self::default()
        }
    }

    /// It has ended.
    pub(super) fn end() -> Self {
        Self {
            ended: true,
            ..Self::default()
        }
    }

    /// It was removed.
    pub(super) fn removal() -> Self {
        Self {
            removed: true,
            ..Self::default()
        }
    }

    /// It has this volume, which was made at this time.
    pub(super) fn volume(name: String, made: Option<i64>) -> Self {
        let volumes = (name.len() <= LONGEST).then_some((name, made));
        Self {
            volumes: volumes.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adds what was told before or since.
    pub(super) fn add(&mut self, other: &Self) {
        self.ended |= other.ended;
        self.removed |= other.removed;
        for start in &other.starts {
            if self.starts.len() < MOST {
                self.starts.insert(*start);
            }
        }
        for (name, made) in &other.volumes {
            if let Some(known) = self.volumes.get_mut(name) {
                *known = known.or(*made);
            } else if self.volumes.len() < MOST {
                self.volumes.insert(name.clone(), *made);
            }
        }
    }

    /// Its volumes of which it is not known when they were made, once it has started: its engine told of all by then.
    pub(super) fn to_date(&self) -> Vec<String> {
        if self.starts.is_empty() || self.ended {
            return Vec::new();
        }
        let undated = self.volumes.iter().filter(|(_name, made)| made.is_none());
        undated.map(|(name, _made)| name.clone()).collect()
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        let volumes = self.volumes.keys();
        size_of_val(&self.starts) * self.starts.len()
            + volumes.map(|name| name.len() + 64).sum::<usize>()
    }

    /// What that is of a life, for an audit that began at this time, in seconds since 1970, of a container that was made at
    /// `made`. `None` if no start was told. `tells_volumes` is whether its engine would have told of volumes.
    pub fn life(&self, began: i64, made: Option<i64>, tells_volumes: bool) -> Option<Life> {
        let starts = self.starts.len();
        let is_made_meanwhile = made? >= began;
        if starts == 0 {
            return None;
        }
        let those = |wanted: Option<bool>| -> BTreeSet<String> {
            let fitting = self
                .volumes
                .iter()
                .filter(|(_name, made)| made.map(|made| made >= began) == wanted);
            fitting.map(|(name, _made)| name.clone()).collect()
        };
        let (new_volumes, existing_volumes) = (those(Some(true)), those(Some(false)));
        Some(Life {
            first_start: is_made_meanwhile,
            on_new_volumes: is_made_meanwhile
                && !new_volumes.is_empty()
                && new_volumes.len() == self.volumes.len(),
            on_existing_volumes: is_made_meanwhile && !existing_volumes.is_empty(),
            restart: !is_made_meanwhile || starts > 1,
            end: self.ended,
            remains: !self.removed,
            new_volumes,
            existing_volumes,
            unknown_volumes: those(None),
            volumes_known: tells_volumes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: i64 = 1000;

    fn told(parts: &[Told]) -> Told {
        let mut told = Told::default();
        parts.iter().for_each(|part| told.add(part));
        told
    }

    #[test]
    fn a_container_s_life_is_what_events_told() {
        let volume = |name: &str, made| Told::volume(name.to_owned(), made);
        let life = told(&[
            volume("old", Some(999)),
            volume("new", None),
            volume("new", Some(1000)),
            volume("gone", None),
            Told::start(7),
            Told::start(7),
        ])
        .life(BEGAN, Some(1001), true);
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let expected = Life {
            first_start: true,
            on_existing_volumes: true,
            remains: true,
            new_volumes: names(&["new"]),
            existing_volumes: names(&["old"]),
            unknown_volumes: names(&["gone"]),
            volumes_known: true,
            ..Life::default()
        };
        assert_eq!(life, Some(expected));
        let again = told(&[Told::start(7), Told::end(), Told::start(8), Told::removal()]);
        let life = again.life(BEGAN, Some(1000), true);
        assert!(life.is_some_and(|it| it.first_start && it.restart && it.end && !it.remains));
        let older = told(&[Told::start(7)]).life(BEGAN, Some(999), true);
        assert!(older.is_some_and(|it| it.restart && !it.first_start));
        for (parts, made) in [(vec![Told::end()], Some(1)), (vec![Told::start(1)], None)] {
            assert_eq!(told(&parts).life(BEGAN, made, true), None, "{parts:?}");
        }
    }

    #[test]
    fn an_engine_that_invents_volumes_is_not_believed_for_ever() {
        let mut told = Told::volume("v".repeat(LONGEST + 1), None);
        assert_eq!(told, Told::default());
        for number in 0..i64::from(u16::MAX) {
            told.add(&Told::volume(number.to_string(), None));
            told.add(&Told::start(number));
        }
        assert_eq!((told.volumes.len(), told.starts.len()), (MOST, MOST));
    }
}
