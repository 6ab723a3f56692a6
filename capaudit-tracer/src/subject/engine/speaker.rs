//! Who speaks through an engine's socket, and for whose containers that is believed.
//!
//! Every user can listen where a rootless engine would, and say anything of any container. So what a user controls is
//! believed of containers alone whose processes are that user's, as the kernel tells, and only where the system's engine says
//! nothing.

use std::{collections::BTreeSet, io, os::unix::fs::MetadataExt as _, path::Path};

use crate::proc::ContainerId;

/// A directory that everybody may write is nobody's, unless it is sticky.
const WRITABLE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Whose word it is that comes through a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Speaker {
    /// The system's, or that of whoever runs capaudit.
    System,
    /// A user's, by number.
    User(u32),
}

impl Speaker {
    /// Who can have anything said by a socket that these control: as owners of what leads there, and as who listens. `own` is
    /// who runs capaudit.
    ///
    /// # Errors
    ///
    /// Several users do: then it is nobody's word.
    pub(super) fn among(controllers: impl IntoIterator<Item = u32>, own: u32) -> io::Result<Self> {
        let users: BTreeSet<u32> = controllers
            .into_iter()
            .filter(|uid| *uid != 0 && *uid != own)
            .collect();
        match users.first() {
            None => Ok(Self::System),
            Some(user) if users.len() == 1 => Ok(Self::User(*user)),
            Some(_several) => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

/// The users that decide what is found at a path: the owners of all that leads there, links included.
///
/// # Errors
///
/// It is not there, or anybody can put something else in its place.
pub(super) fn controllers(path: &Path) -> io::Result<BTreeSet<u32>> {
    let canonical = std::fs::canonicalize(path)?;
    let mut owners = BTreeSet::new();
    let places = path.ancestors().chain(canonical.ancestors());
    for place in places.filter(|place| !place.as_os_str().is_empty()) {
        let metadata = std::fs::symlink_metadata(place)?;
        if metadata.is_dir() && metadata.mode() & WRITABLE != 0 && metadata.mode() & STICKY == 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        owners.insert(metadata.uid());
    }
    Ok(owners)
}

/// A container that a description is asked for, with what the kernel told of the process that began it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What its engine calls it, as its cgroup's name tells.
    pub id: ContainerId,
    /// Depth of its user namespace; 0 is the machine's own.
    pub user_namespace_level: u32,
    /// Real user id of that process, in the initial user namespace.
    pub uid: u32,
}

/// Ranges of user ids that users may map into user namespaces (subuid(5)).
#[derive(Debug, Default)]
pub(super) struct Subordinates(Vec<Range>);

#[derive(Debug, PartialEq, Eq)]
struct Range {
    owner: u32,
    first: u32,
    count: u32,
}

impl Subordinates {
    /// Those of the machine. Users that no file knows have none, so that their engines name less.
    pub(super) fn of_machine() -> Self {
        let read = |path| std::fs::read(path).unwrap_or_default();
        let (ranges, users) = (read("/etc/subuid"), read("/etc/passwd"));
        Self::parse(
            &String::from_utf8_lossy(&ranges),
            &String::from_utf8_lossy(&users),
        )
    }

    pub(super) fn parse(ranges: &str, users: &str) -> Self {
        let by_name = |name: &str| {
            users.lines().find_map(|line| {
                let mut fields = line.split(':');
                let is_it = fields.next() == Some(name);
                is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
            })
        };
        let range = |line: &str| {
            let mut fields = line.split(':');
            let owner = fields.next()?;
            Some(Range {
                owner: by_name(owner).or_else(|| owner.parse().ok())?,
                first: fields.next()?.parse().ok()?,
                count: fields.next()?.trim().parse().ok()?,
            })
        };
        Self(ranges.lines().filter_map(range).collect())
    }

    /// The user whose a container is: of a user namespace of its own, with that user's ids. `None` for the system's.
    pub(super) fn owner(&self, asked: &Asked) -> Option<u32> {
        if asked.user_namespace_level == 0 {
            return None;
        }
        let holds = |range: &&Range| {
            let offset = asked.uid.checked_sub(range.first);
            offset.is_some_and(|offset| offset < range.count)
        };
        let mut owners = self.0.iter().filter(holds).map(|range| range.owner);
        match owners.next() {
            None => Some(asked.uid),
            Some(first) => owners.all(|owner| owner == first).then_some(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn asked(level: u32, uid: u32) -> Asked {
        let Some(id) = ContainerId::new(&"a".repeat(64)) else {
            unreachable!("a valid id")
        };
        Asked {
            id,
            user_namespace_level: level,
            uid,
        }
    }

    #[test]
    fn a_container_is_a_user_s_if_its_processes_are() {
        let known = Subordinates::parse(
            "ann:100000:65536\n1002:165536:65536\nnobody-knows:300000:9\nann:x\n\nbob:100000:1\n",
            "root:x:0:0::/:\nann:x:1001:1001::/home/ann:/bin/sh\nbob:x:1003:",
        );
        for (level, uid, owner) in [
            // The machine's own user namespace: an engine of the system's, as whomever it runs.
            (0, 0, None),
            (0, 1001, None),
            (0, 100_033, None),
            (1, 1001, Some(1001)),
            (1, 100_033, Some(1001)),
            (2, 165_536, Some(1002)),
            (1, 165_535, Some(1001)),
            (1, 1007, Some(1007)),
            // Two users may map it.
            (1, 100_000, None),
            // Of a user that is not known, it is nobody's but that id's.
            (1, 300_001, Some(300_001)),
        ] {
            assert_eq!(known.owner(&asked(level, uid)), owner, "{level} {uid}");
        }
    }

    #[test]
    fn a_socket_is_of_who_controls_it() {
        let of = |controllers: &[u32]| Speaker::among(controllers.iter().copied(), 1000).ok();
        assert_eq!(of(&[0, 1000]), Some(Speaker::System));
        assert_eq!(of(&[0, 64_001]), Some(Speaker::User(64_001)));
        assert_eq!(of(&[0, 64_001, 64_002]), None);
    }

    #[test]
    fn what_anybody_can_replace_is_nobody_s() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let own = rustix::process::geteuid().as_raw();
        let open = directory.path().join("open");
        std::fs::create_dir(&open)?;
        std::fs::write(open.join("sock"), "")?;
        let link = directory.path().join("link");
        symlink(open.join("sock"), &link)?;
        assert!(controllers(&link)?.contains(&own));
        for (mode, is_trusted) in [(0o777, false), (0o1777, true), (0o755, true)] {
            std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode))?;
            for path in [open.join("sock"), link.clone()] {
                assert_eq!(controllers(&path).is_ok(), is_trusted, "{mode:o} {path:?}");
            }
        }
        assert!(controllers(&directory.path().join("nothing")).is_err());
        Ok(())
    }
}
