//! Container ids in cgroup names.

use std::fmt;

use capaudit_core::ledger::Engine;

/// The 64 hexadecimal digits by which engines name a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

/// Digits of an id.
const LENGTH: usize = 64;

impl ContainerId {
    /// Takes a full id as it is.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() == LENGTH && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// The id in the name of one cgroup: `ID` (Docker's and Podman's cgroupfs driver), `docker-ID.scope`,
    /// `libpod-ID.scope`, `cri-containerd-ID.scope`, `crio-ID` (the systemd driver, Kubernetes).
    pub fn from_cgroup(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        // conmon's own cgroup carries its container's id, but is not the container.
        if name.contains("conmon") {
            return None;
        }
        let name = name.strip_suffix(".scope").unwrap_or(name);
        let start = name.len().checked_sub(LENGTH)?;
        // Not in the middle of a longer run of digits.
        if start > 0
            && !name
                .as_bytes()
                .get(start - 1)
                .is_some_and(|byte| matches!(byte, b'-' | b':'))
        {
            return None;
        }
        Self::new(name.get(start..)?)
    }

    /// The id in the names of a cgroup and those above it; the innermost counts (a container in a container).
    pub fn from_cgroups(names: &[&[u8]]) -> Option<Self> {
        names.iter().find_map(|name| Self::from_cgroup(name))
    }

    /// The engine whose way of naming cgroups this is, from the names of a cgroup and of those above it.
    pub fn engine(names: &[&[u8]]) -> Option<Engine> {
        let begins = |beginning: &str| {
            names
                .iter()
                .any(|name| name.starts_with(beginning.as_bytes()))
        };
        // What is in Kubernetes' cgroups without a name of its own (cgroupfs driver) may be either's.
        if begins("libpod") {
            Some(Engine::Podman)
        } else if begins("crio-") {
            Some(Engine::Crio)
        } else if begins("cri-containerd") {
            Some(Engine::Containerd)
        } else if begins("docker-") || names.contains(&&b"docker"[..]) {
            Some(Engine::Docker)
        } else {
            None
        }
    }

    /// The whole id: all its hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 12 digits that people see.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "39bf4a995c6cb1e532f912c87300949dcff77a405c644395cc2cd3095c6a8914";

    #[test]
    fn every_engines_names_are_understood() {
        for name in [
            ID.to_owned(),
            format!("docker-{ID}.scope"),
            format!("libpod-{ID}.scope"),
            format!("cri-containerd-{ID}.scope"),
            format!("crio-{ID}"),
            format!("cri-containerd:{ID}"),
        ] {
            let found = ContainerId::from_cgroup(name.as_bytes());
            assert_eq!(found.as_ref().map(ContainerId::as_str), Some(ID), "{name}");
        }
    }

    #[test]
    fn engines_are_told_by_their_names() {
        let engine = |names: &[&str]| {
            let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
            ContainerId::engine(&names)
        };
        assert_eq!(engine(&[ID, "docker"]), Some(Engine::Docker));
        let scope = format!("docker-{ID}.scope");
        assert_eq!(engine(&[&scope, "system.slice"]), Some(Engine::Docker));
        let libpod = format!("libpod-{ID}");
        assert_eq!(engine(&[&libpod, "libpod_parent"]), Some(Engine::Podman));
        let cri = format!("cri-containerd-{ID}.scope");
        assert_eq!(engine(&[&cri, "kubepods.slice"]), Some(Engine::Containerd));
        assert_eq!(engine(&[&format!("crio-{ID}.scope")]), Some(Engine::Crio));
        assert_eq!(engine(&[ID, "pod7", "kubepods"]), None);
    }

    #[test]
    fn what_is_no_container_is_not_taken_for_one() {
        for name in [
            String::new(),
            "user.slice".to_owned(),
            format!("a{ID}"),
            format!("libpod-conmon-{ID}.scope"),
            ID.to_uppercase(),
            ID[..63].to_owned(),
        ] {
            assert_eq!(ContainerId::from_cgroup(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn podmans_inner_cgroup_is_seen_through() {
        let parent = format!("libpod-{ID}.scope");
        let names: [&[u8]; 3] = [b"container", parent.as_bytes(), b"machine.slice"];
        assert!(ContainerId::from_cgroups(&names).is_some());
    }

    proptest! {
        #[test]
        fn any_name_is_survived(name in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some(id) = ContainerId::from_cgroup(&name) {
                prop_assert_eq!(id.as_str().len(), LENGTH);
            }
        }
    }
}
