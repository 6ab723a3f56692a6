//! Descriptions of containers that engines have sent, in bounded memory.

use std::{collections::HashMap, mem};

use super::Description;
use crate::proc::ContainerId;

/// Bytes that one generation may take: enough for 40,000 containers with names of usual length.
const GENERATION: usize = 16 << 20;

/// Descriptions by container, in two generations.
///
/// An engine reports every container that it starts for as long as capaudit runs, and a hostile one invents containers.
/// When the young generation is full, it becomes the old one, and the former old one is forgotten. So the latest 16 MiB
/// are kept at least, and twice that at most.
#[derive(Debug, Default)]
pub(super) struct Known {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    descriptions: HashMap<ContainerId, Description>,
    bytes: usize,
}

impl Known {
    pub(super) fn get(&self, container: &ContainerId) -> Option<&Description> {
        let young = self.young.descriptions.get(container);
        young.or_else(|| self.old.descriptions.get(container))
    }

    /// Replaces what is known of the container, but for when it was made, where that is not told again.
    pub(super) fn insert(&mut self, container: ContainerId, mut description: Description) {
        // Only the event of its making tells when that was, and others follow.
        let before = self.get(&container).and_then(|known| known.created);
        description.created = description.created.or(before);
        let bytes = size(&container, &description);
        if self.young.bytes + bytes > GENERATION {
            self.old = mem::take(&mut self.young);
        }
        self.young.remove(&container);
        self.young.bytes += bytes;
        self.young.descriptions.insert(container, description);
    }

    pub(super) fn remove(&mut self, container: &ContainerId) {
        self.young.remove(container);
        self.old.remove(container);
    }
}

impl Generation {
    fn remove(&mut self, container: &ContainerId) {
        if let Some(description) = self.descriptions.remove(container) {
            self.bytes -= size(container, &description);
        }
    }
}

/// Bytes that an entry takes, apart from the slots that the map keeps free.
fn size(container: &ContainerId, description: &Description) -> usize {
    let Description {
        name,
        image,
        compose_project,
        compose_service,
        pod,
        engine_version,
        created: _,
    } = description;
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let pod = pod.as_ref().map_or(0, |pod| {
        pod.namespace.len() + pod.name.len() + pod.container.len()
    });
    size_of::<(ContainerId, Description)>()
        + container.as_str().len()
        + name.len()
        + image.len()
        + optional(compose_project)
        + optional(compose_service)
        + optional(engine_version)
        + pod
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> Option<ContainerId> {
        ContainerId::new(&format!("{number:064x}"))
    }

    fn named(name: &str) -> Description {
        Description {
            name: name.to_owned(),
            ..Description::default()
        }
    }

    #[test]
    fn what_was_told_last_is_known_until_it_is_removed() {
        let mut known = Known::default();
        for (id, name) in [id(1), id(2), id(1)]
            .into_iter()
            .flatten()
            .zip(["a", "b", "c"])
        {
            known.insert(id, named(name));
        }
        let name = |known: &Known, number| Some(known.get(&id(number)?)?.name.clone());
        assert_eq!(name(&known, 1).as_deref(), Some("c"));
        assert_eq!(name(&known, 2).as_deref(), Some("b"));
        id(1).iter().for_each(|id| known.remove(id));
        assert_eq!(name(&known, 1), None);
        id(2).iter().for_each(|id| known.remove(id));
        assert_eq!(known.young.bytes, 0);
    }

    #[test]
    fn an_engine_that_invents_containers_only_displaces_the_oldest() {
        let mut known = Known::default();
        let name = "n".repeat(10_000);
        let told = 4 * GENERATION / name.len();
        for id in (0..told).filter_map(id) {
            known.insert(id, named(&name));
            assert!(known.young.bytes <= GENERATION && known.old.bytes <= GENERATION);
        }
        let is_known = |number| id(number).is_some_and(|id| known.get(&id).is_some());
        assert!(!is_known(0));
        let last = GENERATION / (name.len() + 1_000);
        assert!((told - last..told).all(is_known));
    }

    #[test]
    fn what_is_in_both_generations_is_removed_from_both() {
        let mut known = Known::default();
        let Some(container) = id(1) else {
            unreachable!("a valid id")
        };
        known.old.bytes = size(&container, &named("old"));
        known
            .old
            .descriptions
            .insert(container.clone(), named("old"));
        known.insert(container.clone(), named("young"));
        assert_eq!(known.get(&container), Some(&named("young")));
        known.remove(&container);
        assert_eq!(known.get(&container), None);
    }
}
