//! What was seen of a container's life, where no life was led on purpose.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What engines told of a container's starts, its ends and its volumes while it was audited; of several that are one service,
/// what they showed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Life {
    /// A container that was made meanwhile started for the first time.
    pub first_start: bool,
    /// A first start was one on volumes that were all made meanwhile.
    pub on_new_volumes: bool,
    /// A first start was one on a volume that was there before.
    pub on_existing_volumes: bool,
    /// A container started that had run before.
    pub restart: bool,
    /// A container ended.
    pub end: bool,
    /// Containers are left that can be started again.
    pub remains: bool,
    /// Volumes that were made meanwhile.
    pub new_volumes: BTreeSet<String>,
    /// Volumes that were there before.
    pub existing_volumes: BTreeSet<String>,
    /// Volumes of which it is not known since when they are there. Podman does not tell which volumes a container has.
    pub unknown_volumes: BTreeSet<String>,
    /// Whether it is known which volumes there are.
    pub volumes_known: bool,
}

/// Volumes that are named one by one.
const MOST_NAMED: usize = 3;

impl Life {
    /// What either of two containers of one service showed.
    #[must_use]
    pub fn united(mut self, other: Self) -> Self {
        self.first_start |= other.first_start;
        self.on_new_volumes |= other.on_new_volumes;
        self.on_existing_volumes |= other.on_existing_volumes;
        self.restart |= other.restart;
        self.end |= other.end;
        self.remains |= other.remains;
        self.new_volumes.extend(other.new_volumes);
        self.existing_volumes.extend(other.existing_volumes);
        self.unknown_volumes.extend(other.unknown_volumes);
        self.volumes_known &= other.volumes_known;
        self
    }

    /// What of a life was not seen, in a sentence, with what to do about it; `None` if nothing is left to see, or if the start was
    /// not even seen, which is told otherwise.
    pub fn note(&self) -> Option<String> {
        if !self.first_start {
            return None;
        }
        let has_volumes = !(self.new_volumes.is_empty()
            && self.existing_volumes.is_empty()
            && self.unknown_volumes.is_empty());
        // What leaves nothing behind has no other start than a first one.
        let leaves_nothing = self.volumes_known && !has_volumes && !self.remains;
        let sees_later_start = self.restart || (self.on_existing_volumes && self.on_new_volumes);
        let is_seen = (leaves_nothing || sees_later_start) && self.end;
        if is_seen {
            return None;
        }
        let mut start = match (leaves_nothing || sees_later_start, self.on_existing_volumes) {
            (true, _) => "its start".to_owned(),
            (false, true) => format!(
                "only a start on existing volumes ({})",
                listed(&self.existing_volumes)
            ),
            (false, false) if self.new_volumes.is_empty() => "only a first start".to_owned(),
            (false, false) => format!(
                "only a first start, on volumes that were made meanwhile ({})",
                listed(&self.new_volumes)
            ),
        };
        if !self.unknown_volumes.is_empty() {
            start.push_str(&format!(
                " (since when {} is there, is not known)",
                listed(&self.unknown_volumes)
            ));
        } else if !self.volumes_known && !has_volumes {
            start.push_str(" (whether on new volumes, is not known)");
        }
        let missing = match (self.end, self.restart || leaves_nothing) {
            (false, false) => ", neither its end nor a restart",
            (true, false) => ", no restart",
            (false, true) => ", not its end",
            (true, true) => "",
        };
        Some(format!(
            "of its life was seen {start}{missing}: what it asks in the rest of it may be missing. `capaudit harden` audits a first start, a restart and new containers on old volumes"
        ))
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    let named: Vec<&str> = names.iter().take(MOST_NAMED).map(String::as_str).collect();
    let more = match names.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn first() -> Life {
        Life {
            first_start: true,
            remains: true,
            volumes_known: true,
            ..Life::default()
        }
    }

    fn told(life: &Life) -> String {
        life.note().unwrap_or_default()
    }

    #[test]
    fn what_was_not_seen_is_told() {
        for (life, expected) in [
            (
                Life {
                    on_new_volumes: true,
                    new_volumes: volumes(&["pgdata"]),
                    ..first()
                },
                "only a first start, on volumes that were made meanwhile (pgdata), neither its end nor a restart:",
            ),
            (
                Life {
                    on_existing_volumes: true,
                    existing_volumes: volumes(&["a", "b", "c", "d"]),
                    new_volumes: volumes(&["new"]),
                    end: true,
                    ..first()
                },
                "only a start on existing volumes (a, b, c and 1 more), no restart:",
            ),
            (
                Life {
                    unknown_volumes: volumes(&["x"]),
                    end: true,
                    ..first()
                },
                "only a first start (since when x is there, is not known), no restart:",
            ),
            (
                Life {
                    volumes_known: false,
                    end: true,
                    ..first()
                },
                "only a first start (whether on new volumes, is not known), no restart:",
            ),
            (
                Life {
                    restart: true,
                    ..first()
                },
                "its start, not its end:",
            ),
        ] {
            let told = told(&life);
            assert!(told.contains(&format!("seen {expected}")), "{told}");
            assert!(told.contains("`capaudit harden`"), "{told}");
        }
    }

    #[test]
    fn a_whole_life_and_one_without_a_start_need_no_word() {
        let gone = Life {
            remains: false,
            end: true,
            ..first()
        };
        assert_eq!(gone.note(), None, "nothing is left of it");
        let new = Life {
            on_new_volumes: true,
            new_volumes: volumes(&["v"]),
            ..gone.clone()
        };
        assert!(new.note().is_some(), "its volume is");
        let later = Life {
            on_existing_volumes: true,
            existing_volumes: volumes(&["v"]),
            ..gone.clone()
        };
        assert!(later.note().is_some());
        assert_eq!(new.united(later).note(), None, "both were seen");
        let restarted = Life {
            restart: true,
            end: true,
            ..first()
        };
        assert_eq!(restarted.note(), None);
        assert_eq!(Life::default().note(), None, "attached to");
    }
}
