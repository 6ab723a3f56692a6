//! What passed through: containers that were made, and what is in force on them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use capaudit_core::capability::CapSet;

use super::{
    api::Thing,
    role::{Matched, Traits},
};

/// What passed through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Containers that were made.
    pub(crate) made: Vec<Made>,
    /// Containers that were started without having been made here, as their ids or names.
    pub(crate) others_started: BTreeSet<String>,
    /// What was made meanwhile, and not here: the command's, past our socket, or somebody else's.
    pub(crate) past: Vec<Traits>,
    /// Executions that were to be privileged, and were not.
    pub(crate) privileged_executions: usize,
    /// What else was made: its kind, its name or id.
    pub(crate) things: BTreeSet<(Thing, String)>,
}

/// A container that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// Its full id.
    pub(crate) id: String,
    /// What it looks like.
    pub(crate) traits: Traits,
    /// Which subject it is.
    pub(crate) subject: Matched,
    /// It was to be privileged, and is not.
    pub(crate) was_privileged: bool,
    /// The set that it was made with; `None` if that it asked for itself.
    pub(crate) set: Option<CapSet>,
    /// What the engine says it has.
    pub(crate) granted: Option<CapSet>,
    /// The bounding set of its first process, where that was still running when it was looked at.
    pub(crate) bounding: Option<CapSet>,
    /// It was started.
    pub(crate) started: bool,
    /// The socket of the engine that made it.
    pub(crate) engine: PathBuf,
}

impl Made {
    /// One of which nothing else is known.
    pub(crate) fn new(id: String, traits: Traits, subject: Matched) -> Self {
        Self {
            id,
            traits,
            subject,
            was_privileged: false,
            set: None,
            granted: None,
            bounding: None,
            started: false,
            engine: PathBuf::new(),
        }
    }

    /// Whether the set was in force while it ran, by what the engine says and, if it was seen, what the kernel says.
    pub(crate) fn is_in_force(&self) -> bool {
        self.started
            && self.set.is_some_and(|set| {
                self.granted == Some(set) && self.bounding.is_none_or(|it| it.is_subset(set))
            })
    }

    /// Whether it ran with something else than was to be enforced on it.
    pub(crate) fn escaped(&self) -> bool {
        self.started && self.set.is_some() && !self.is_in_force()
    }
}

impl Seen {
    /// The container that a request names: by its id, a beginning of that, or its name.
    pub(super) fn named(&mut self, name: &str) -> Option<&mut Made> {
        let is_it = |made: &Made| {
            made.id == name
                || made.traits.name.as_deref() == Some(name)
                // What people see of an id.
                || (name.len() >= 12 && made.id.starts_with(name))
        };
        self.made.iter_mut().rev().find(|made| is_it(made))
    }

    /// Keeps of what engines made what was not made here.
    pub(super) fn add_past(&mut self, told: Vec<(String, Traits)>) {
        let past = told
            .into_iter()
            .filter(|(id, _traits)| !self.made.iter().any(|made| made.id == *id))
            .map(|(_id, traits)| traits);
        let past: Vec<Traits> = past.collect();
        self.past.extend(past);
    }

    /// Ids of the containers that an engine made.
    pub(super) fn ids(&self, engine: &Path) -> Vec<String> {
        let of_engine = self.made.iter().filter(|made| made.engine == engine);
        of_engine.map(|made| made.id.clone()).collect()
    }

    pub(super) fn things(&self) -> BTreeSet<(Thing, String)> {
        self.things.clone()
    }
}

#[cfg(test)]
mod tests {
    use capaudit_core::capability::Capability;

    use super::*;

    fn made() -> Made {
        let id = "0123456789abcdef".to_owned();
        Made {
            set: Some(Capability::CHOWN.into()),
            granted: Some(Capability::CHOWN.into()),
            started: true,
            ..Made::new(id, Traits::default(), Matched::One(0))
        }
    }

    #[test]
    fn a_set_is_in_force_if_everybody_says_so() {
        assert!(made().is_in_force());
        let more = CapSet::of(&[Capability::CHOWN, Capability::KILL]);
        for wrong in [
            Made {
                granted: None,
                ..made()
            },
            Made {
                granted: Some(more),
                ..made()
            },
            Made {
                bounding: Some(more),
                ..made()
            },
        ] {
            assert!(!wrong.is_in_force() && wrong.escaped(), "{wrong:?}");
        }
        let only_made = Made {
            started: false,
            ..made()
        };
        assert!(!only_made.is_in_force() && !only_made.escaped());
        let as_it_asked = Made {
            set: None,
            ..made()
        };
        assert!(!as_it_asked.is_in_force() && !as_it_asked.escaped());
    }

    #[test]
    fn a_container_has_several_names() {
        let mut web = made();
        web.traits.name = Some("web".to_owned());
        let mut seen = Seen {
            made: vec![web],
            ..Seen::default()
        };
        for name in ["web", "0123456789ab", "0123456789abcdef"] {
            assert!(seen.named(name).is_some(), "{name}");
        }
        for name in ["0123", "we", "0123456789ac"] {
            assert!(seen.named(name).is_none(), "{name}");
        }
    }
}
