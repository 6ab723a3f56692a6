//! Sets enforced on the containers that a command starts itself, through an engine's socket: the command finds ours in
//! its environment.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, fs::FileTypeExt as _},
    path::{Path, PathBuf},
};

use capaudit_core::{
    ledger::{Ledger, SubjectRecord},
    text::sanitize,
    whose::is_generated,
};
use serde_json::Value;

use super::Scratch;
use crate::{
    Grants,
    proxy::{
        self, Policy, Socket,
        role::{Role, Traits, short},
    },
};

/// Why no socket can stand in for an engine's, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoSocket(String);

/// A command that finds an engine by its environment.
#[derive(Clone, Debug)]
pub struct SocketRun {
    /// The command as it is.
    pub command: Vec<OsString>,
    docker: Option<PathBuf>,
    podman: Option<PathBuf>,
    /// What tells the subjects apart; known once it is known what the subjects are.
    roles: RefCell<Vec<Role>>,
    /// Images of which all containers are one subject, since nothing tells them apart that stays the same.
    merged: RefCell<Vec<String>>,
}

impl SocketRun {
    /// Finds the engines that the command would find.
    ///
    /// # Errors
    ///
    /// There is none, or one that no socket on this machine leads to.
    pub fn new(command: &[OsString]) -> Result<Self, NoSocket> {
        let docker = match variable("DOCKER_HOST").or_else(of_context) {
            Some(host) => Some(path_of("DOCKER_HOST or docker's context", &host)?),
            None => usual(&["/var/run/docker.sock"], "docker.sock"),
        };
        let podman = match variable("CONTAINER_HOST") {
            Some(host) => Some(path_of("CONTAINER_HOST", &host)?),
            None => usual(&["/run/podman/podman.sock"], "podman/podman.sock"),
        };
        if docker.is_none() && podman.is_none() {
            return Err(NoSocket(
                "there is no socket of a container engine here, neither Docker's nor Podman's: start the engine, or name its socket in DOCKER_HOST"
                    .to_owned(),
            ));
        }
        Ok(Self {
            command: command.to_vec(),
            docker,
            podman,
            roles: RefCell::default(),
            merged: RefCell::default(),
        })
    }

    /// Sockets for a run.
    pub(crate) fn sockets(&self, scratch: Scratch<'_>) -> Vec<Socket> {
        let of = |name: &str, engines: &Option<PathBuf>| {
            engines.clone().map(|engines| Socket {
                ours: scratch.directory.join(name),
                engines,
            })
        };
        [
            of("docker.sock", &self.docker),
            of("podman.sock", &self.podman),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What a run's command finds in its environment.
    pub(crate) fn environment(&self, scratch: Scratch<'_>) -> Vec<(OsString, OsString)> {
        let url = |name: &str| {
            let mut url = OsString::from("unix://");
            url.push(scratch.directory.join(name));
            url
        };
        let mut variables = Vec::new();
        if let Some(engines) = &self.docker {
            variables.push(("DOCKER_HOST".into(), url("docker.sock")));
            // What testcontainers mounts into the container that cleans up: that does so after the run as well, when ours is gone.
            const OVERRIDE: &str = "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE";
            if variable(OVERRIDE).is_none() {
                variables.push((OVERRIDE.into(), engines.into()));
            }
        }
        if self.podman.is_some() {
            variables.push(("CONTAINER_HOST".into(), url("podman.sock")));
        }
        variables
    }

    /// What is enforced on whom; `None`: what they ask for themselves.
    pub(crate) fn policy(&self, sets: Option<&Grants>) -> Policy {
        let roles = self.roles.borrow().clone();
        let sets = sets.map(|sets| (0..roles.len()).map(|place| sets.of(place)).collect());
        Policy { roles, sets }
    }

    /// Makes one subject of all containers of the images of these subjects. Says whether that is anything new.
    pub(crate) fn merge(&self, subjects: &[String]) -> bool {
        let mut merged = self.merged.borrow_mut();
        let before = merged.len();
        for role in self.roles.borrow().iter() {
            if subjects.contains(&role.name) {
                let images = role.traits.iter().filter_map(|it| it.image.as_deref());
                let new = images.map(|image| short(image).to_owned());
                merged.extend(new);
            }
        }
        merged.sort();
        merged.dedup();
        merged.len() > before
    }

    /// The subjects among an audit's containers. `made` are those that were seen to be made; without any, the audit is
    /// somebody else's, and the names of its containers may or may not have been given to them.
    ///
    /// Of the others of an audit, which were started past the socket or by somebody else, the next runs tell
    /// ([`Self::past`]).
    pub(crate) fn subjects(&self, ledger: &Ledger, made: &[Made]) -> Vec<(String, Vec<usize>)> {
        let merged = self.merged.borrow();
        let mut found: BTreeMap<String, (Role, Vec<usize>)> = BTreeMap::new();
        for (place, subject) in ledger.subjects.iter().enumerate() {
            let Some(container) = subject.container() else {
                continue;
            };
            let known = made
                .iter()
                .find(|made| Some(made.id.as_str()) == container.id.as_deref());
            if known.is_none() && (subject.other || !made.is_empty()) {
                continue;
            }
            let mut traits = match known {
                Some(made) => made.traits.clone(),
                None => traits_of(subject),
            };
            let is_merged = |image: &String| merged.iter().any(|it| *it == short(image));
            if traits.image.as_ref().is_some_and(is_merged) {
                traits.name = None;
            }
            let Some(name) = called(&traits) else {
                continue;
            };
            let (role, places) = found.entry(name.clone()).or_insert_with(|| {
                let role = Role {
                    name,
                    ..Role::default()
                };
                (role, Vec::new())
            });
            places.push(place);
            if !role.traits.contains(&traits) {
                role.traits.push(traits);
            }
        }
        let (roles, subjects) = found
            .into_iter()
            .map(|(name, (role, places))| (role, (name, places)))
            .unzip();
        *self.roles.borrow_mut() = roles;
        subjects
    }

    /// What else was started in an audit, by nobody else as far as that can be told.
    pub(crate) fn past(ledger: &Ledger, made: &[Made]) -> Vec<Traits> {
        let is_ours = |subject: &&SubjectRecord| {
            let id = subject.id();
            !subject.other && !made.iter().any(|made| Some(made.id.as_str()) == id)
        };
        ledger
            .subjects
            .iter()
            .filter(|subject| subject.container().is_some())
            .filter(is_ours)
            // One of several replicas stands for all of them.
            .filter(|subject| {
                subject.compose_service().is_none_or(|service| {
                    let is_it = |made: &Made| made.traits.service.as_deref() == Some(service);
                    !made.iter().any(is_it)
                })
            })
            .map(traits_of)
            .collect()
    }

    /// The sockets of the engines that are found.
    pub(crate) fn engines(&self) -> Vec<PathBuf> {
        [&self.docker, &self.podman]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// The subjects that a user names: services, names of containers, images; what has no name is everything else.
    pub(crate) fn name(&self, subjects: &[String]) {
        let role = |name: &String| {
            let some = || Some(name.clone());
            Role {
                name: name.clone(),
                takes_rest: name.is_empty(),
                traits: [
                    Traits {
                        service: some(),
                        ..Traits::default()
                    },
                    Traits {
                        name: some(),
                        ..Traits::default()
                    },
                    Traits {
                        image: some(),
                        ..Traits::default()
                    },
                ]
                .into_iter()
                .filter(|_traits| !name.is_empty())
                .collect(),
            }
        };
        *self.roles.borrow_mut() = subjects.iter().map(role).collect();
    }
}

/// A container that the audited command made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Made {
    /// Its full id.
    pub id: String,
    /// What it looks like.
    #[serde(flatten)]
    pub(crate) traits: Traits,
}

impl From<proxy::Made> for Made {
    fn from(made: proxy::Made) -> Self {
        Self {
            id: made.id,
            traits: made.traits,
        }
    }
}

/// What a container looks like in a record, which does not tell who gave it its name: its engine, if it may have.
fn traits_of(subject: &SubjectRecord) -> Traits {
    Traits {
        service: subject.compose_service().map(str::to_owned),
        name: Some(subject.name.clone()).filter(|name| !name.is_empty() && !is_generated(name)),
        image: subject.image().map(str::to_owned),
    }
}

/// What people call such a container.
pub(crate) fn called(traits: &Traits) -> Option<String> {
    let image = || traits.image.as_deref().map(|image| short(image).to_owned());
    traits
        .service
        .clone()
        .or_else(|| traits.name.clone())
        .or_else(image)
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn path_of(named_by: &str, host: &OsStr) -> Result<PathBuf, NoSocket> {
    match host.as_bytes().strip_prefix(b"unix://") {
        Some(path) => Ok(Path::new(OsStr::from_bytes(path)).to_owned()),
        None => Err(NoSocket(format!(
            "{named_by} names {}, and only an engine at a Unix socket of this machine can be stood in for: run this where the engine is",
            sanitize(&host.to_string_lossy())
        ))),
    }
}

/// The first socket at one of these places, or below the directory that a user's engine has its socket in.
fn usual(places: &[&str], of_user: &str) -> Option<PathBuf> {
    let of_user = variable("XDG_RUNTIME_DIR").map(|directory| Path::new(&directory).join(of_user));
    places
        .iter()
        .map(PathBuf::from)
        .chain(of_user)
        .find(|path| std::fs::metadata(path).is_ok_and(|it| it.file_type().is_socket()))
}

/// The host of docker's current context, unless that is the default one.
fn of_context() -> Option<OsString> {
    let directory = variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&variable("HOME")?).join(".docker")))?;
    let name = match variable("DOCKER_CONTEXT") {
        Some(name) => name.to_str()?.to_owned(),
        None => {
            let config = json(&directory.join("config.json"))?;
            config["currentContext"].as_str()?.to_owned()
        }
    };
    // Each is in a directory that is called by the hash of its name.
    let contexts = std::fs::read_dir(directory.join("contexts/meta")).ok()?;
    contexts
        .flatten()
        .filter_map(|context| json(&context.path().join("meta.json")))
        .find(|context| context["Name"] == name.as_str())
        .and_then(|context| Some(context["Endpoints"]["docker"]["Host"].as_str()?.into()))
}

fn json(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use capaudit_core::ledger::{self, Container, Hook, Session};

    use super::*;
    use crate::proxy::role::{Matched, matched};

    fn run() -> SocketRun {
        SocketRun {
            command: Vec::new(),
            docker: Some("/run/docker.sock".into()),
            podman: None,
            roles: RefCell::default(),
            merged: RefCell::default(),
        }
    }

    fn container(id: &str, name: &str, image: &str, service: Option<&str>) -> SubjectRecord {
        let mut subject = SubjectRecord::new(Container {
            id: Some(id.to_owned()),
            image: Some(image.to_owned()),
            compose_project: service.map(|_service| "p4711".to_owned()),
            compose_service: service.map(str::to_owned),
            ..Container::default()
        });
        subject.name = name.to_owned();
        subject
    }

    fn ledger() -> Ledger {
        let mut others = container("9", "neighbour", "app", None);
        others.other = true;
        Ledger {
            schema: ledger::SCHEMA.to_owned(),
            session: Session::new(Hook::TpBtf),
            subjects: vec![
                SubjectRecord::new(ledger::Subject::Command),
                container("1", "p4711_db_1", "postgres", Some("db")),
                container("2", "app-4711", "app:latest", None),
                container("3", "app-4712", "app", None),
                container("4", "proxy", "nginx", None),
                others,
            ],
        }
    }

    fn grouped() -> Vec<(String, Vec<usize>)> {
        vec![
            ("app".to_owned(), vec![2, 3]),
            ("db".to_owned(), vec![1]),
            ("proxy".to_owned(), vec![4]),
        ]
    }

    #[test]
    fn what_was_seen_to_be_made_tells_which_names_were_given() {
        let made = |id: &str, service: Option<&str>, name: Option<&str>, image: &str| Made {
            id: id.to_owned(),
            traits: Traits {
                service: service.map(str::to_owned),
                name: name.map(str::to_owned),
                image: Some(image.to_owned()),
            },
        };
        let made = [
            made("1", Some("db"), Some("p4711_db_1"), "postgres"),
            made("2", None, None, "app:latest"),
            made("3", None, None, "app"),
            made("4", None, Some("proxy"), "nginx"),
        ];
        assert_eq!(run().subjects(&ledger(), &made), grouped());
        assert!(SocketRun::past(&ledger(), &made).is_empty());
        // Past the socket, or somebody else's: nothing in this record tells which.
        let past = SocketRun::past(&ledger(), &made[..3]);
        let names: Vec<_> = past.iter().map(called).collect();
        assert_eq!(names, [Some("proxy".to_owned())]);
        assert_eq!(run().subjects(&ledger(), &made[..3]), grouped()[..2]);
    }

    /// Of a session it is not known, until a run shows containers of other names.
    #[test]
    fn names_that_do_not_stay_make_one_subject() {
        let run = run();
        let subjects = run.subjects(&ledger(), &[]);
        assert_eq!(subjects.len(), 4);
        let unnamed = Traits {
            name: Some("app-4713".to_owned()),
            image: Some("app".to_owned()),
            ..Traits::default()
        };
        let Matched::Several(places) = matched(&run.policy(None).roles, &unnamed) else {
            panic!("not ambiguous");
        };
        let ambiguous: Vec<String> = places.iter().map(|it| subjects[*it].0.clone()).collect();
        assert!(run.merge(&ambiguous) && !run.merge(&ambiguous));
        assert_eq!(run.subjects(&ledger(), &[]), grouped());
        let found = matched(&run.policy(None).roles, &unnamed);
        assert_eq!(found, Matched::One(0));
    }

    #[test]
    fn only_unix_sockets_can_be_stood_in_for() {
        let path = |host: &str| path_of("DOCKER_HOST", OsStr::new(host)).ok();
        assert_eq!(path("unix:///run/d.sock"), Some("/run/d.sock".into()));
        for host in ["tcp://localhost:2375", "ssh://host", "/run/docker.sock"] {
            assert_eq!(path(host), None, "{host}");
        }
    }

    #[test]
    fn a_command_finds_our_socket() {
        let scratch = Scratch {
            directory: Path::new("/tmp/x"),
            label: "x",
        };
        let found = run().environment(scratch);
        let host = (
            OsString::from("DOCKER_HOST"),
            OsString::from("unix:///tmp/x/docker.sock"),
        );
        assert!(found.contains(&host), "{found:?}");
        assert!(!found.iter().any(|(name, _value)| name == "CONTAINER_HOST"));
        let sockets = run().sockets(scratch);
        assert_eq!(sockets[0].ours, Path::new("/tmp/x/docker.sock"));
        assert_eq!(sockets[0].engines, Path::new("/run/docker.sock"));
    }
}
