//! Descriptions of containers that engines have sent, in bounded memory.

use std::{collections::HashMap, mem};

use super::{Description, Told, speaker::Speaker};
use crate::proc::ContainerId;

/// Bytes that one generation may take: enough for 40,000 containers with names of usual length.
const GENERATION: usize = 16 << 20;

/// The same for what one user's engines say.
const GENERATION_OF_USER: usize = 1 << 20;
/// Users whose engines are listened to.
const MAX_USERS: usize = 64;

/// What each speaker has said: nobody displaces or overwrites what somebody else says.
#[derive(Debug)]
pub(super) struct Words {
    system: Known,
    users: HashMap<u32, Known>,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            system: Known::of_at_most(GENERATION),
            users: HashMap::new(),
        }
    }
}

impl Words {
    /// What the speaker says of the container.
    pub(super) fn get(&self, speaker: Speaker, container: &ContainerId) -> Option<&Description> {
        match speaker {
            Speaker::System => self.system.get(container),
            Speaker::User(user) => self.users.get(&user)?.get(container),
        }
    }

    /// Takes what the speaker says of the container. Of too many users, the last ones are not heard.
    pub(super) fn insert(
        &mut self,
        speaker: Speaker,
        container: ContainerId,
        description: Description,
    ) {
        if let Some(known) = self.heard(speaker) {
            known.insert(container, description);
        }
    }

    /// Adds what the speaker tells of the container's life.
    pub(super) fn tell(&mut self, speaker: Speaker, container: ContainerId, told: &Told) {
        if let Some(known) = self.heard(speaker) {
            known.tell(container, told);
        }
    }

    /// Volumes that the speaker named of a container that has started, and was not asked about yet: since when they are there, is
    /// not known.
    pub(super) fn to_date(&self, speaker: Speaker, container: &ContainerId) -> Vec<String> {
        let description = self.get(speaker, container);
        description.map_or_else(Vec::new, |known| known.told.to_date())
    }

    /// What the speaker says; `None` if that is a user, and there are too many already.
    fn heard(&mut self, speaker: Speaker) -> Option<&mut Known> {
        match speaker {
            Speaker::System => Some(&mut self.system),
            Speaker::User(user)
                if self.users.len() < MAX_USERS || self.users.contains_key(&user) =>
            {
                let known = || Known::of_at_most(GENERATION_OF_USER);
                Some(self.users.entry(user).or_insert_with(known))
            }
            Speaker::User(_one_too_many) => None,
        }
    }

    /// Forgets what anybody said of the container.
    pub(super) fn remove(&mut self, container: &ContainerId) {
        self.system.remove(container);
        for known in self.users.values_mut() {
            known.remove(container);
        }
    }
}

/// Descriptions by container, in two generations.
///
/// An engine reports every container that it starts for as long as capaudit runs, and a hostile one invents containers.
/// When the young generation is full, it becomes the old one, and the former old one is forgotten. So the latest 16 MiB
/// (1 MiB of a user's) are kept at least, and twice that at most.
#[derive(Debug)]
struct Known {
    /// Bytes that a generation may take.
    most: usize,
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    descriptions: HashMap<ContainerId, Description>,
    bytes: usize,
}

impl Known {
    fn of_at_most(most: usize) -> Self {
        Self {
            most,
            young: Generation::default(),
            old: Generation::default(),
        }
    }

    fn get(&self, container: &ContainerId) -> Option<&Description> {
        let young = self.young.descriptions.get(container);
        young.or_else(|| self.old.descriptions.get(container))
    }

    /// Replaces what is known of the container, but for when it was made, where that is not told again, and adds what is told of
    /// its life.
    fn insert(&mut self, container: ContainerId, mut description: Description) {
        // Only the event of its making tells when that was, and others follow.
        let before = self.get(&container).and_then(|known| known.created);
        description.created = description.created.or(before);
        if let Some(known) = self.get(&container) {
            let told = mem::take(&mut description.told);
            description.told.clone_from(&known.told);
            description.told.add(&told);
        }
        let bytes = size(&container, &description);
        if self.young.bytes + bytes > self.most {
            self.old = mem::take(&mut self.young);
        }
        self.young.remove(&container);
        self.young.bytes += bytes;
        self.young.descriptions.insert(container, description);
    }

    /// Adds what was told of a container's life. Of one that is not known yet, more will be told.
    fn tell(&mut self, container: ContainerId, told: &Told) {
        let mut description = self.get(&container).cloned().unwrap_or_default();
        description.told.add(told);
        self.insert(container, description);
    }

    fn remove(&mut self, container: &ContainerId) {
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
        told,
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
        + told.size()
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
        let mut known = Known::of_at_most(GENERATION);
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
        let mut known = Known::of_at_most(GENERATION);
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
        let mut known = Known::of_at_most(GENERATION);
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

    #[test]
    fn no_user_displaces_or_overwrites_what_others_say() {
        let mut words = Words::default();
        let Some(container) = id(1) else {
            unreachable!("a valid id")
        };
        words.insert(Speaker::System, container.clone(), named("web"));
        words.insert(Speaker::User(1001), container.clone(), named("mine"));
        let name = "n".repeat(10_000);
        for number in 2..4 * GENERATION_OF_USER / name.len() {
            id(number)
                .into_iter()
                .for_each(|id| words.insert(Speaker::User(1000), id, named(&name)));
        }
        for user in 2000..2000 + 2 * MAX_USERS as u32 {
            words.insert(Speaker::User(user), container.clone(), named("forged"));
        }
        assert_eq!(words.users.len(), MAX_USERS);
        let of_user = words.users.get(&1000).map(|known| known.young.bytes);
        assert!(of_user.is_some_and(|bytes| bytes <= GENERATION_OF_USER));
        let said = |speaker| words.get(speaker, &container).map(|it| it.name.as_str());
        assert_eq!(said(Speaker::System), Some("web"));
        assert_eq!(said(Speaker::User(1001)), Some("mine"));
        assert_eq!(said(Speaker::User(1000)), None);
        words.remove(&container);
        assert_eq!(words.get(Speaker::System, &container), None);
        assert_eq!(words.get(Speaker::User(1001), &container), None);
    }
}
