//! A set enforced on the container of a `docker run` or `podman run`: the same command with other capability
//! options.

mod service;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use capaudit_core::{capability::CapSet, client_options as options};

use super::words::{NotUnderstood, Word, Words};

pub use service::Service;

/// A `docker run` or `podman run`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerRun {
    /// The client with its own options.
    client: Vec<OsString>,
    /// `run` or `container run`.
    subcommand: Vec<OsString>,
    /// Options of `run` that are kept.
    options: Vec<OsString>,
    /// Options of `run` that say what is granted.
    granting: Vec<OsString>,
    /// The image and the container's command.
    image: Vec<OsString>,
    name: Option<OsString>,
    removes_itself: bool,
}

/// A command line with all of its options.
struct TakenApart {
    run: DockerRun,
    options: Vec<Word>,
    detached: bool,
    interactive: bool,
    terminal: bool,
}

/// What a container gets besides, so that it can be told from others.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    /// File that the client writes the container's id to.
    pub cidfile: &'a Path,
    /// Value of the label.
    pub label: &'a str,
}

/// Label of the containers that are started here.
const LABEL: &str = "capaudit.verify";

/// What the subcommand of a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subcommand {
    /// `docker run`: starts one container.
    Run,
    /// `docker compose`: starts a project's services.
    Compose,
    /// Any other subcommand.
    Other,
}

/// Whether a program is a client of a container engine, by its name.
pub fn is_client(program: &OsStr) -> bool {
    matches!(
        Path::new(program).file_name().map(OsStr::as_bytes),
        Some(b"docker" | b"podman")
    )
}

/// The subcommand of a client's command line, and how many words stand before it.
///
/// # Errors
///
/// An option is not known.
pub fn subcommand(command: &[OsString]) -> Result<(Subcommand, usize), NotUnderstood> {
    let mut words = Words::new(command, options::GLOBAL_FLAGS, options::GLOBAL_VALUES);
    while words.next_option()?.is_some() {}
    let at = words.position();
    let word = |offset: usize| {
        command
            .get(at + offset)
            .map(|word| word.as_bytes())
            .unwrap_or_default()
    };
    Ok(match (word(0), word(1)) {
        (b"run", _) | (b"container", b"run") => (Subcommand::Run, at),
        (b"compose", _) => (Subcommand::Compose, at),
        _ => (Subcommand::Other, at),
    })
}

impl DockerRun {
    /// Takes a command line apart.
    ///
    /// # Errors
    ///
    /// It is no `run`, an option is not known, or it cannot be run again and judged by its exit status.
    pub fn parse(command: &[OsString]) -> Result<Self, NotUnderstood> {
        let TakenApart {
            run,
            detached,
            interactive,
            terminal,
            ..
        } = Self::take_apart(command)?;
        if detached {
            return Err(NotUnderstood::new(
                "a detached container's success is not in the exit status of its `run`: leave -d out",
            ));
        }
        if interactive && terminal {
            return Err(NotUnderstood::new(
                "the runs have no terminal, which `-i` with `-t` needs: leave `-i` out",
            ));
        }
        Ok(run)
    }

    fn take_apart(command: &[OsString]) -> Result<TakenApart, NotUnderstood> {
        let (Subcommand::Run, at) = subcommand(command)? else {
            return Err(NotUnderstood::new(
                "this is no `docker run` or `podman run`: for other commands use --via bounding or compose",
            ));
        };
        let length = if command[at].as_bytes() == b"run" {
            1
        } else {
            2
        };
        let (client, rest) = command.split_at(at);
        let (subcommand, rest) = rest.split_at(length);
        let mut run = Self {
            client: client.to_vec(),
            subcommand: subcommand.to_vec(),
            options: Vec::new(),
            granting: Vec::new(),
            image: Vec::new(),
            name: None,
            removes_itself: false,
        };
        let mut words = Words::from_first(rest, options::FLAGS, options::VALUES);
        let (mut detached, mut interactive, mut terminal) = (false, false, false);
        // What ours takes the place of.
        let mut replaced = Vec::new();
        let mut options = Vec::new();
        while let Some(option) = words.next_option()? {
            let on = option.is_on();
            let mut kept = &mut run.options;
            for name in &option.names {
                match name.as_str() {
                    "cap-add" | "cap-drop" | "privileged" => kept = &mut run.granting,
                    "cidfile" => kept = &mut replaced,
                    "name" => run.name = option.value.clone(),
                    "rm" => run.removes_itself = on,
                    "d" | "detach" => detached = on,
                    "i" | "interactive" => interactive = on,
                    "t" | "tty" => terminal = on,
                    _ => {}
                }
            }
            kept.extend(option.words.iter().cloned());
            options.push(option);
        }
        run.image = rest[words.position()..].to_vec();
        if run.image.is_empty() {
            return Err(NotUnderstood::new("the command names no image"));
        }
        Ok(TakenApart {
            run,
            options,
            detached,
            interactive,
            terminal,
        })
    }

    /// The command with what it grants itself.
    pub fn audited(&self, mark: Mark<'_>) -> Vec<OsString> {
        self.assembled(&mark.options(), &[&self.granting, &self.options])
    }

    /// The command with exactly this set.
    pub fn enforced(&self, set: CapSet, mark: Mark<'_>) -> Vec<OsString> {
        self.assembled(&mark.options(), &[&grants(set), &self.options])
    }

    /// The command with exactly this set, for people to repeat.
    pub fn shown(&self, set: CapSet) -> Vec<OsString> {
        self.assembled(&[], &[&grants(set), &self.options])
    }

    fn assembled(&self, mark: &[OsString], options: &[&[OsString]]) -> Vec<OsString> {
        let parts: [&[OsString]; 3] = [&self.client, &self.subcommand, mark];
        parts
            .iter()
            .chain(options)
            .chain([&self.image.as_slice()])
            .flat_map(|part| part.iter().cloned())
            .collect()
    }

    /// A command of the same client, for the same engine.
    pub fn client(&self, arguments: &[&str]) -> Vec<OsString> {
        let arguments = arguments.iter().map(OsString::from);
        self.client.iter().cloned().chain(arguments).collect()
    }

    /// The client's command that lists the containers with a mark.
    pub fn list(&self, label: &str) -> Vec<OsString> {
        let filter = format!("label={LABEL}={label}");
        self.client(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter])
    }

    /// The name that the container is given.
    pub fn name(&self) -> Option<&OsStr> {
        self.name.as_deref()
    }

    /// Whether the engine removes the container when it ends.
    pub fn removes_itself(&self) -> bool {
        self.removes_itself
    }

    /// Whether these words are given to `run`, as image or container's command.
    pub fn names_image(&self, image: &str) -> bool {
        self.image.first().is_some_and(|word| word == image)
    }

    /// Whether the container is privileged, which is more than capabilities.
    pub fn is_privileged(&self) -> bool {
        let is =
            |word: &OsString| matches!(word.as_bytes(), b"--privileged" | b"--privileged=true");
        self.granting.iter().any(is)
    }
}

impl Mark<'_> {
    fn options(&self) -> Vec<OsString> {
        vec![
            "--cidfile".into(),
            self.cidfile.into(),
            "--label".into(),
            format!("{LABEL}={}", self.label).into(),
        ]
    }
}

fn grants(set: CapSet) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec!["--cap-drop".into(), "ALL".into()];
    for name in set.names() {
        options.extend(["--cap-add".into(), name.into()]);
    }
    options
}
