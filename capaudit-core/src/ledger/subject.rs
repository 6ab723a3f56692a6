//! What was audited, with all facts about it.

mod saved;

use serde::{Deserialize, Serialize, Serializer};

use self::saved::SavedSubject;
use super::{CallRecord, CheckRecord, ExecRecord, Life, Losses, Phase, Phases, Settled, Unseen};
use crate::capability::CapSet;

/// What kind of thing was audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The command that capaudit ran, with its descendants.
    Command,
    /// A container.
    Container,
    /// A process that was running already.
    Process,
}

/// What was audited, with what only such a thing has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The command that capaudit ran, with its descendants: of these, there is one.
    Command,
    /// A container, however it was started.
    Container(Container),
    /// A process that was running already, or several that are one to people: a service, a cgroup, a program.
    Process {
        /// Its pid, or what the service, the cgroup or the program is called.
        id: String,
        /// Engine of the container that it ran in, if that was one.
        engine: Option<Engine>,
        /// It is all runs of a program outside of containers and services, where the whole machine is observed.
        program: bool,
    },
}

/// A container. Neither its id nor its image is an empty text: in a file, that stands for one that is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// What its engine calls it; `None` for several that became one.
    pub id: Option<String>,
    /// Its container image; `None` if unknown.
    pub image: Option<String>,
    /// Engine; `None` if it cannot be told.
    pub engine: Option<Engine>,
    /// Release of the engine, as it calls itself; `None` if no engine told.
    pub engine_version: Option<String>,
    /// Compose project. A label of its own, that may be there without that of the service.
    pub compose_project: Option<String>,
    /// Compose service, from the label that compose gives it; `None` if it has none.
    pub compose_service: Option<String>,
    /// Kubernetes pod, from the labels that the kubelet gives it; `None` outside of Kubernetes.
    pub pod: Option<Pod>,
}

impl From<Container> for Subject {
    fn from(container: Container) -> Self {
        Self::Container(container)
    }
}

/// What runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Docker's daemon, dockerd.
    Docker,
    /// Podman, which runs containers without a daemon.
    Podman,
    /// containerd, as Kubernetes' container runtime.
    Containerd,
    /// CRI-O, as Kubernetes' container runtime.
    Crio,
}

/// Where in Kubernetes a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The container's name in the pod.
    pub container: String,
}

/// All facts about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "SavedSubject<'static>")]
pub struct SubjectRecord {
    /// What it is.
    pub identity: Subject,
    /// What people call it.
    pub name: String,
    /// Real user id at the start, in the initial user namespace.
    pub uid: u32,
    /// Bounding set at the start.
    pub granted: CapSet,
    /// Depth of the user namespace it was started in; above 0, some capabilities cannot be granted at all.
    pub user_namespace_level: u32,
    /// Whether it was observed from its very start; false if it ran already.
    pub seen_from_start: bool,
    /// Whether it is a container that somebody else started while the command ran.
    pub other: bool,
    /// What its engine told of its starts, ends and volumes; `None` if that is not known.
    pub life: Option<Life>,
    /// What of it is known not to be in the record.
    pub unseen: Vec<Unseen>,
    /// What the kernel side lost while it lived, its own or another's: all that may be missing of it, but for the files that
    /// it executed ([`Self::losses`]).
    pub lost: Losses,
    /// Checks, by what makes them different.
    pub checks: Vec<CheckRecord>,
    /// Executed files that carry privilege.
    pub execs: Vec<ExecRecord>,
    /// System calls that matter without any check.
    pub calls: Vec<CallRecord>,
    /// What runs with a set enforced showed; `None` if there were none.
    pub settled: Option<Settled>,
}

// By hand: `serde(into)` would copy every fact.
impl Serialize for SubjectRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SavedSubject::from(self).serialize(serializer)
    }
}

impl SubjectRecord {
    /// A subject of which nothing else is known yet.
    pub fn new(identity: impl Into<Subject>) -> Self {
        Self {
            identity: identity.into(),
            name: String::new(),
            uid: 0,
            granted: CapSet::EMPTY,
            user_namespace_level: 0,
            seen_from_start: true,
            other: false,
            life: None,
            unseen: Vec::new(),
            lost: Losses::default(),
            checks: Vec::new(),
            execs: Vec::new(),
            calls: Vec::new(),
            settled: None,
        }
    }

    /// Whether it was observed from its start to its end, with all that it executed and had others do.
    pub fn is_complete(&self) -> bool {
        self.seen_from_start && self.unseen.is_empty() && self.losses().is_none()
    }

    /// What was lost that may be its own, executed files that were not seen among it.
    pub fn losses(&self) -> Losses {
        let files = self.unseen_files().map(|exec| exec.count);
        let mut losses = self.lost.clone();
        losses.files = files.fold(losses.files, u64::saturating_add);
        losses
    }

    /// Executed files that were not seen: whether they grant capabilities is not known.
    pub fn unseen_files(&self) -> impl Iterator<Item = &ExecRecord> {
        self.execs.iter().filter(|exec| exec.unseen)
    }

    /// The phases of a life that facts about it were seen in; empty where no life was audited.
    pub fn phases(&self) -> Phases {
        let checks = self.checks.iter().map(|check| check.phases);
        let execs = self.execs.iter().map(|exec| exec.phases);
        let calls = self.calls.iter().map(|call| call.phases);
        checks
            .chain(execs)
            .chain(calls)
            .fold(Phases::default(), Phases::union)
    }

    /// The same with those facts alone that were seen in a phase.
    #[must_use]
    pub fn limited_to(&self, phase: Phase) -> Self {
        let mut limited = self.clone();
        limited.checks.retain(|it| it.phases.contains(phase));
        limited.execs.retain(|it| it.phases.contains(phase));
        limited.calls.retain(|it| it.phases.contains(phase));
        limited
    }

    /// Says of all facts that they were seen in this phase.
    pub(super) fn set_phase(&mut self, phase: Phase) {
        let phases = Phases::from(phase);
        self.checks.iter_mut().for_each(|it| it.phases = phases);
        self.execs.iter_mut().for_each(|it| it.phases = phases);
        self.calls.iter_mut().for_each(|it| it.phases = phases);
    }

    /// What it is, without what only such a thing has.
    pub fn kind(&self) -> Kind {
        match self.identity {
            Subject::Command => Kind::Command,
            Subject::Container(_) => Kind::Container,
            Subject::Process { .. } => Kind::Process,
        }
    }

    /// The container that it is; `None` if it is none.
    pub fn container(&self) -> Option<&Container> {
        match &self.identity {
            Subject::Container(container) => Some(container),
            _ => None,
        }
    }

    /// The same, to change it.
    pub fn container_mut(&mut self) -> Option<&mut Container> {
        match &mut self.identity {
            Subject::Container(container) => Some(container),
            _ => None,
        }
    }

    /// What tells it from others of its kind; `None` for a command, and for several containers that became one.
    pub fn id(&self) -> Option<&str> {
        match &self.identity {
            Subject::Command => None,
            Subject::Container(container) => container.id.as_deref(),
            Subject::Process { id, .. } => (!id.is_empty()).then_some(id),
        }
    }

    /// Whether it is nothing but a program of the machine.
    pub fn is_program(&self) -> bool {
        matches!(self.identity, Subject::Process { program: true, .. })
    }

    /// The container image; `None` if unknown, or if it is no container.
    pub fn image(&self) -> Option<&str> {
        self.container()?.image.as_deref()
    }

    /// The release of a container's engine.
    pub fn engine_version(&self) -> Option<&str> {
        self.container()?.engine_version.as_deref()
    }

    /// The compose project of a container.
    pub fn compose_project(&self) -> Option<&str> {
        self.container()?.compose_project.as_deref()
    }

    /// The compose service of a container.
    pub fn compose_service(&self) -> Option<&str> {
        self.container()?.compose_service.as_deref()
    }

    /// The Kubernetes pod of a container.
    pub fn pod(&self) -> Option<&Pod> {
        self.container()?.pod.as_ref()
    }
}
