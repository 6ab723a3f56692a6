//! Who may ask: root, the daemon's own user, members of the group.

use std::{ffi::CString, io};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// Users and groups that may ask the daemon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    group: Option<Gid>,
}

impl Allowed {
    /// Root, this process's user, and the members of a group.
    ///
    /// # Errors
    ///
    /// There is no such group.
    pub(super) fn with_group(name: Option<&str>) -> io::Result<Self> {
        let group = match name {
            None => None,
            Some(name) => Some(
                Group::from_name(name)?
                    .ok_or_else(|| {
                        io::Error::new(
                            io::ErrorKind::NotFound,
                            format!("there is no group {name:?}"),
                        )
                    })?
                    .gid,
            ),
        };
        Ok(Self { group })
    }

    /// The group, if there is one.
    pub(super) fn group(&self) -> Option<Gid> {
        self.group
    }

    /// Whether a peer with these credentials may ask (`SO_PEERCRED`: those of its connect(2)).
    pub(super) fn allows(&self, uid: Uid, gid: Gid) -> bool {
        if uid.is_root() || uid == Uid::effective() {
            return true;
        }
        let Some(group) = self.group else {
            return false;
        };
        // Supplementary groups are not among a peer's credentials: the user database has them.
        gid == group || is_member(uid, gid, group).unwrap_or(false)
    }
}

fn is_member(uid: Uid, gid: Gid, group: Gid) -> io::Result<bool> {
    let Some(user) = User::from_uid(uid)? else {
        return Ok(false);
    };
    let name = CString::new(user.name)?;
    Ok(getgrouplist(&name, gid)?.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_members_are_allowed_and_nobody_else() -> io::Result<()> {
        let root = Allowed::with_group(None)?;
        let (nobody, nogroup) = (Uid::from_raw(65534), Gid::from_raw(65534));
        assert!(root.allows(Uid::from_raw(0), nogroup));
        assert!(!root.allows(nobody, Gid::from_raw(0)));
        let group = Allowed::with_group(Some("daemon"))?;
        assert!(group.allows(nobody, Gid::from_raw(1)));
        assert!(!group.allows(nobody, nogroup));
        assert!(Allowed::with_group(Some("no such group")).is_err());
        Ok(())
    }
}
