//! Whose an execution is, and whose are of interest.

use super::{attached::Attached, identity::SubjectId};

/// Whose an execution is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The subject with this number.
    Subject(SubjectId),
    /// Not known yet: met in a namespace of its own, and has not executed anything since.
    Undecided,
    /// None of ours: another service with private mounts, a container that was there before.
    Unrelated,
    /// Nobody can tell any more: the record of what it came from was lost.
    Lost,
}

/// Which containers are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Those that start while capaudit observes.
    New,
    /// All of them, and everything else on the machine.
    All,
    /// Those that were attached to, and if it says so, those that start, as they may turn out to be of a service
    /// that was attached to.
    Attached { and_new: bool },
}

impl Interest {
    /// From now on only what was attached to is ours.
    pub(super) fn attach(&mut self, attached: &Attached) {
        let service = match attached {
            Attached::Machine => {
                *self = Self::All;
                return;
            }
            Attached::EveryContainer => return,
            Attached::Service(..) => true,
            Attached::Tree(_) | Attached::Containers(_) | Attached::Cgroup(_) => false,
        };
        *self = match *self {
            Self::Attached { and_new } => Self::Attached {
                and_new: and_new || service,
            },
            Self::New => Self::Attached { and_new: service },
            Self::All => Self::All,
        };
    }

    /// Whether a container is ours that nobody attached to.
    pub(super) fn is_new_of_interest(self) -> bool {
        self != Self::Attached { and_new: false }
    }
}
