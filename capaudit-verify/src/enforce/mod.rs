//! Mechanism: how a set is enforced on a command.

pub mod bounding;
pub mod compose;
pub mod docker;
pub mod life;
pub mod lsm;
pub mod socket;
mod words;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use capaudit_core::{
    capability::CapSet,
    ledger::{Phase, Phases},
};
use capaudit_life::Image;
use compose::{ComposeRun, Resolved};
use docker::{DockerRun, Mark};
use life::LifeRun;
use serde::{Deserialize, Serialize};
use socket::SocketRun;

use crate::Grants;

pub use words::NotUnderstood;

/// How a set is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Via {
    /// Everything else is dropped before the command is executed
    Bounding,
    /// `docker run` and `podman run`: with --cap-drop ALL and the set as --cap-add
    Docker,
    /// `docker compose` and `docker-compose`: with another file, in a project of its own
    Compose,
    /// `capaudit harden`: as compose, over the project's whole life
    #[cfg_attr(feature = "clap", value(skip))]
    Life,
    /// Any command: a BPF LSM program refuses what the set does not hold, to the containers that it starts or else to
    /// itself
    Lsm,
    /// Any command that starts containers itself (`./test.sh`, testcontainers): through the engine's socket, which
    /// DOCKER_HOST and CONTAINER_HOST name to it
    Socket,
}

impl Via {
    /// What fits a command.
    ///
    /// # Errors
    ///
    /// It is a client of a container engine, but not one that runs a container.
    pub fn of(command: &[OsString]) -> Result<Self, NotUnderstood> {
        match command.first() {
            Some(program) if docker::is_client(program) => match docker::subcommand(command)?.0 {
                docker::Subcommand::Run => Ok(Self::Docker),
                docker::Subcommand::Compose => Ok(Self::Compose),
                docker::Subcommand::Other => Err(NotUnderstood::new(
                    "of an engine's commands, only `run` and `compose` start a container and tell how it ended",
                )),
            },
            Some(program) if compose::is_standalone(program) => Ok(Self::Compose),
            _ => Ok(Self::Bounding),
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bounding => "bounding",
            Self::Docker => "docker",
            Self::Compose => "compose",
            Self::Life => "life",
            Self::Lsm => "lsm",
            Self::Socket => "socket",
        }
    }
}

/// A command on which sets can be enforced.
#[derive(Clone, Debug)]
pub enum Enforcement {
    /// A plain command: capaudit drops everything else before it executes it.
    Bounding(Vec<OsString>),
    /// `docker run` or `podman run`: the same command with other capability options.
    Docker(Box<DockerRun>),
    /// `docker compose`: the same command with an edited file, made of the resolved one.
    Compose(Box<ComposeRun>, Resolved),
    /// The life of a compose project, led by capaudit itself.
    Life(Box<LifeRun>, Resolved),
    /// Any command: a BPF LSM program refuses what is not in the set, on whatever the command starts.
    Lsm(Vec<OsString>),
    /// A command that starts containers itself: an engine's socket that grants them what they may have.
    Socket(Box<SocketRun>),
}

/// What is executed for a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The program, then its arguments.
    pub words: Vec<OsString>,
    /// Set to be left to it; `None`: whatever there is.
    pub bounding: Option<CapSet>,
    /// The program is capaudit itself, which can say why it failed.
    pub ourselves: bool,
    /// What its environment has besides ours.
    pub environment: Vec<(OsString, OsString)>,
}

/// A directory of one run, and its name.
#[derive(Clone, Copy, Debug)]
pub struct Scratch<'a> {
    /// The directory; it exists and is empty at first.
    pub directory: &'a Path,
    /// Unlike any other run's.
    pub label: &'a str,
}

impl Scratch<'_> {
    /// Where the client writes the container's id to.
    pub fn cidfile(&self) -> PathBuf {
        self.directory.join("cid")
    }

    /// Where it is left that a set is in force.
    pub fn in_force(&self) -> PathBuf {
        self.directory.join("in-force")
    }

    /// The file of the run's compose project.
    pub fn compose_file(&self) -> PathBuf {
        self.directory.join("compose.yaml")
    }

    /// The container that was started, if one was.
    pub fn container(&self) -> Option<String> {
        let id = std::fs::read_to_string(self.cidfile()).ok()?;
        let id = id.trim();
        (!id.is_empty()).then(|| id.to_owned())
    }
}

impl Enforcement {
    /// Which way it is.
    pub fn via(&self) -> Via {
        match self {
            Self::Bounding(_) => Via::Bounding,
            Self::Docker(_) => Via::Docker,
            Self::Compose(..) => Via::Compose,
            Self::Life(..) => Via::Life,
            Self::Lsm(_) => Via::Lsm,
            Self::Socket(_) => Via::Socket,
        }
    }

    fn environment(&self, scratch: Scratch<'_>) -> Vec<(OsString, OsString)> {
        match self {
            Self::Socket(run) => run.environment(scratch),
            _ => Vec::new(),
        }
    }

    /// The command as it is, marked so that what it starts can be told from others.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn audited(&self, scratch: Scratch<'_>) -> std::io::Result<Invocation> {
        let words = match self {
            Self::Bounding(command) | Self::Lsm(command) => command.clone(),
            Self::Socket(run) => run.command.clone(),
            Self::Docker(run) => run.audited(Mark {
                cidfile: &scratch.cidfile(),
                label: scratch.label,
            }),
            Self::Compose(run, resolved) => {
                std::fs::write(scratch.compose_file(), resolved.text())?;
                run.with_file(&scratch.compose_file())
            }
            Self::Life(run, resolved) => {
                run.prepare_audit(resolved, scratch)?;
                run.leading(&run.life.phases, scratch)?
            }
        };
        Ok(Invocation {
            words,
            bounding: None,
            ourselves: false,
            environment: self.environment(scratch),
        })
    }

    /// What the services of a life were made of when it was audited.
    pub fn images(&self) -> BTreeMap<String, Image> {
        match self {
            Self::Life(run, _) => run.expected.get().map(|it| it.images.clone()),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// The command with exactly these sets; `subjects` are their names. Of a life, these phases.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn enforced(
        &self,
        subjects: &[String],
        sets: &Grants,
        phases: Phases,
        scratch: Scratch<'_>,
    ) -> std::io::Result<Invocation> {
        let (words, bounding) = match self {
            Self::Bounding(command) => (command.clone(), Some(sets.of(0))),
            Self::Socket(run) => (run.command.clone(), None),
            Self::Lsm(command) => {
                let file = scratch.in_force();
                (lsm::enforced(command, subjects, sets, &file), None)
            }
            Self::Docker(run) => {
                let cidfile = scratch.cidfile();
                let mark = Mark {
                    cidfile: &cidfile,
                    label: scratch.label,
                };
                (run.enforced(sets.of(0), mark), None)
            }
            Self::Life(run, resolved) => {
                run.prepare_trial(resolved, &by_name(subjects, sets), scratch)?;
                let phases: Vec<Phase> = phases.iter().collect();
                (run.leading(&phases, scratch)?, None)
            }
            Self::Compose(run, resolved) => {
                let services = by_name(subjects, sets);
                let file = run
                    .file(resolved, &services)
                    .map_err(std::io::Error::other)?;
                std::fs::write(scratch.compose_file(), file)?;
                (run.with_file(&scratch.compose_file()), None)
            }
        };
        Ok(Invocation {
            words,
            bounding,
            ourselves: matches!(self, Self::Lsm(_)),
            environment: self.environment(scratch),
        })
    }

    /// A command line that people can repeat the run with.
    pub fn shown(&self, command: &[OsString], subjects: &[String], sets: &Grants) -> Vec<String> {
        let text = |words: Vec<OsString>| -> Vec<String> {
            words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect()
        };
        let ourselves = |via: Via, sets: Vec<String>| {
            let mut words: Vec<OsString> = vec!["capaudit".into(), "verify".into()];
            words.extend(["--via".into(), via.name().into()]);
            for set in sets {
                words.extend(["--caps".into(), set.into()]);
            }
            words.push("--".into());
            words.extend(command.iter().cloned());
            text(words)
        };
        match self {
            Self::Docker(run) => text(run.shown(sets.of(0))),
            Self::Bounding(_) => ourselves(Via::Bounding, vec![listed(sets.of(0))]),
            Self::Life(..) => {
                // Its name and the subcommand come first.
                let (first, rest) = command.split_at(command.len().min(2));
                let sets = of_services(subjects, sets);
                let sets = sets.flat_map(|set| [OsString::from("--caps"), set.into()]);
                text([first, &sets.collect::<Vec<_>>(), rest].concat())
            }
            Self::Compose(..) => ourselves(Via::Compose, of_services(subjects, sets).collect()),
            Self::Lsm(_) => ourselves(Via::Lsm, of_services(subjects, sets).collect()),
            Self::Socket(_) => ourselves(
                Via::Socket,
                of_services(subjects, sets)
                    .map(|set| set.strip_prefix('=').map(str::to_owned).unwrap_or(set))
                    .collect(),
            ),
        }
    }

    /// The commands that remove what a run left behind. Each is given the output of the one before it as
    /// arguments.
    pub fn removing(&self, scratch: Scratch<'_>, last: bool) -> Vec<Vec<OsString>> {
        match self {
            // What was made through a socket was seen, and is gone by then.
            Self::Bounding(_) | Self::Lsm(_) | Self::Socket(_) => Vec::new(),
            Self::Docker(run) => vec![
                run.list(scratch.label),
                run.client(&["rm", "--force", "--volumes"]),
            ],
            Self::Compose(run, resolved) => {
                vec![run.removing(&scratch.compose_file(), resolved, last)]
            }
            Self::Life(run, _) => vec![run.compose.removing_all(&scratch.compose_file(), last)],
        }
    }

    /// Whether a run that ended by itself leaves anything behind.
    pub fn leaves_something(&self) -> bool {
        match self {
            Self::Bounding(_) | Self::Lsm(_) | Self::Socket(_) => false,
            Self::Docker(run) => !run.removes_itself(),
            Self::Compose(..) | Self::Life(..) => true,
        }
    }
}

/// Sets by the names of what they are enforced on.
fn by_name(subjects: &[String], sets: &Grants) -> BTreeMap<String, CapSet> {
    subjects
        .iter()
        .enumerate()
        .map(|(subject, name)| (name.clone(), sets.of(subject)))
        .collect()
}

/// Sets as `--caps` takes them.
fn of_services(subjects: &[String], sets: &Grants) -> impl Iterator<Item = String> {
    subjects
        .iter()
        .enumerate()
        .map(|(subject, name)| format!("{name}={}", listed(sets.of(subject))))
}

fn listed(set: CapSet) -> String {
    if set.is_empty() {
        return "NONE".to_owned();
    }
    let names: Vec<&str> = set.names().collect();
    names.join(",")
}
