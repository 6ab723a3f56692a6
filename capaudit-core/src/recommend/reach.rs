//! How what is granted to a workload reaches its programs.

use crate::{advise::PrivilegedFile, capability::CapSet, report::SubjectReport};

/// How what is granted reaches programs that are not root's: only by files, and by what an engine makes ambient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The user that a member was started as, if none was started as root. `None` also where that cannot be told, as in a user
    /// namespace.
    pub starts_as_user: Option<u32>,
    /// Every member was in a user namespace below the initial one.
    pub in_user_namespace: bool,
    /// Files that members executed and that give whoever executes them capabilities.
    pub privileged_files: Vec<PrivilegedFile>,
    /// What members held that were not started as root, other than by such a file.
    pub held_by_user: CapSet,
    /// What has the engine's seccomp profile allow system calls that members make, whoever they are.
    pub unlocks_calls: CapSet,
}

impl Reach {
    pub(super) fn of(subject: &SubjectReport) -> Self {
        let is_in_namespace = subject.user_namespace_level > 0;
        Self {
            starts_as_user: (subject.uid != 0 && !is_in_namespace).then_some(subject.uid),
            in_user_namespace: is_in_namespace,
            privileged_files: subject.privileged_files.clone(),
            held_by_user: subject.held_by_user,
            unlocks_calls: subject.unlocks_calls,
        }
    }

    /// That of two members of one workload.
    #[must_use]
    pub fn united(mut self, other: Self) -> Self {
        self.starts_as_user = self.starts_as_user.and(other.starts_as_user);
        self.in_user_namespace &= other.in_user_namespace;
        self.held_by_user |= other.held_by_user;
        self.unlocks_calls |= other.unlocks_calls;
        for file in other.privileged_files {
            match self
                .privileged_files
                .iter_mut()
                .find(|known| known.exe == file.exe)
            {
                Some(known) => {
                    known.set_user_id |= file.set_user_id;
                    known.unseen |= file.unseen;
                    known.gives |= file.gives;
                    known.needed |= file.needed;
                }
                None => self.privileged_files.push(file),
            }
        }
        self
    }

    /// What of a grant does something for a user that is not root though nothing is ambient: by files that were executed, and by
    /// calls that a seccomp profile allows for it.
    pub fn for_user(&self, no_new_privileges: bool) -> CapSet {
        self.privileged_files
            .iter()
            .fold(self.unlocks_calls, |set, file| {
                set | file.may_give(no_new_privileges)
            })
    }
}
