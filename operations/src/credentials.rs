//! With which credentials an act runs.

use std::{io, rc::Rc};

use capaudit_core::capability::{CapSet, Capability};
use serde::{Deserialize, Serialize};

use crate::{
    profile::{Filters, Profile},
    sys::{self, call, prctl},
};

/// As whom an act runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// User 0, as a container engine starts it: what is not granted is in no set, the inheritable set is empty.
    Root,
    /// User 1000 with ambient capabilities.
    User,
    /// User 0 with `no_new_privs`.
    Nnp,
    /// User 1000 with ambient capabilities and `no_new_privs`.
    UserNnp,
    /// User 0 of a user namespace of its own, in which the operation is set up, too.
    Userns,
    /// As [`Self::Root`], under the engine's default seccomp profile for the set.
    Docker,
}

impl Mode {
    pub(crate) const ALL: [Self; 6] = [
        Self::Root,
        Self::User,
        Self::Nnp,
        Self::UserNnp,
        Self::Userns,
        Self::Docker,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
            Self::Nnp => "nnp",
            Self::UserNnp => "user-nnp",
            Self::Userns => "userns",
            Self::Docker => "docker",
        }
    }

    /// The credentials of this mode with a set.
    ///
    /// # Errors
    ///
    /// The mode takes a profile and there is none, or the profile knows nothing of a capability.
    pub(crate) fn grant(self, set: CapSet, profile: Option<&Profile>) -> io::Result<Grant> {
        let filters = match (self, profile) {
            (Self::Docker, None) => {
                return Err(io::Error::other("`docker` takes `--profile FILE`"));
            }
            (Self::Docker, Some(profile)) => Some(profile.filters(set)?),
            _ => None,
        };
        Ok(Grant {
            set,
            filters,
            user: match self {
                Self::User | Self::UserNnp => 1000,
                Self::Root | Self::Nnp | Self::Userns | Self::Docker => 0,
            },
            no_new_privs: matches!(self, Self::Nnp | Self::UserNnp),
        })
    }
}

/// Exactly what an act holds.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// Bounding, permitted and effective set; for users the inheritable and the ambient set, too.
    pub set: CapSet,
    pub user: u32,
    pub no_new_privs: bool,
    /// Which system calls it may make, if not all.
    pub filters: Option<Rc<Filters>>,
}

impl Grant {
    /// Makes this process hold exactly this.
    ///
    /// # Errors
    ///
    /// Those of prctl(2), capset(2) and setresuid(2): this process held less.
    pub(crate) fn apply(&self) -> io::Result<()> {
        // As long as that is permitted without `no_new_privs`, as container runtimes do.
        if let Some(filters) = &self.filters {
            filters.install()?;
        }
        for capability in (0..64).filter_map(Capability::from_number) {
            if !self.set.contains(capability) {
                let dropped = prctl(libc::PR_CAPBSET_DROP, [capability.number().into(), 0, 0, 0]);
                // The kernel has no such capability.
                sys::granted_although(dropped, &[libc::EINVAL])?;
            }
        }
        prctl(libc::PR_SET_KEEPCAPS, [1, 0, 0, 0])?;
        call!(SYS_setgroups, 0, 0)?;
        call!(SYS_setresgid, self.user, self.user, self.user)?;
        call!(SYS_setresuid, self.user, self.user, self.user)?;
        prctl(libc::PR_SET_KEEPCAPS, [0; 4])?;
        let bits = self.set.bits();
        sys::capset(bits, bits, if self.user == 0 { 0 } else { bits })?;
        if self.user != 0 {
            for capability in &self.set {
                prctl(
                    libc::PR_CAP_AMBIENT,
                    [
                        libc::PR_CAP_AMBIENT_RAISE as u64,
                        capability.number().into(),
                        0,
                        0,
                    ],
                )?;
            }
        }
        // As after an execve: the change of the user made /proc/self root's.
        prctl(libc::PR_SET_DUMPABLE, [1, 0, 0, 0])?;
        if self.no_new_privs {
            prctl(libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0])?;
        }
        Ok(())
    }
}

/// The capabilities that this process can hand out: its permitted set.
pub(crate) fn available() -> io::Result<CapSet> {
    Ok(CapSet::from_bits(sys::capget(0)?[1]))
}
