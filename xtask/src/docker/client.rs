//! The `docker` program.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::command;

/// A `docker` that gets an answer.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    program: PathBuf,
}

impl Client {
    /// The first `docker` on the search path, or at its usual place, that gets an answer from an engine. There may be
    /// several of different age, and an old engine does not talk to every client.
    pub(crate) fn that_answers() -> Option<Self> {
        let usual = PathBuf::from("/usr/bin/docker");
        let mut programs: Vec<PathBuf> = command::find_all("docker").collect();
        if usual.is_file() && !programs.contains(&usual) {
            programs.push(usual);
        }
        programs
            .into_iter()
            .map(|program| Self { program })
            .find(|client| client.engine_version().is_ok())
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The command `docker ARGUMENTS…`.
    pub(crate) fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        command
    }

    /// The engine's version; an error if none answers.
    pub(crate) fn engine_version(&self) -> Result<String> {
        let version =
            command::text_of(&mut self.command(["version", "--format", "{{.Server.Version}}"]))?;
        Ok(version.trim().to_owned())
    }

    /// What `docker image inspect` shows of an image that is there.
    pub(crate) fn inspect_image(&self, image: &str, format: &str) -> Option<String> {
        let shown =
            command::text_of(&mut self.command(["image", "inspect", "--format", format, image]))
                .ok()?;
        Some(shown.trim().to_owned())
    }

    /// Removes a container, whether it runs or is there at all.
    pub(crate) fn remove(&self, container: &str) {
        // Docker complains of a container that is not there, which is as well.
        drop(command::output_of(
            &mut self.command(["rm", "--force", container]),
        ));
    }
}
