//! `capaudit harden docker run …`: a command in place of compose files.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::PathBuf,
};

use capaudit_core::text::quoted;
use capaudit_verify::{
    Verified,
    enforce::docker::{self, Service},
};
use tempfile::TempDir;

use super::{deliver, exit::Exit, failure::Failure};

/// capaudit's own command line, and the words of the `docker run` that was in it: the command has options of its own, which
/// the parser would take for capaudit's.
pub(super) fn told_apart(mut line: Vec<OsString>) -> (Vec<OsString>, Vec<OsString>) {
    let is_ours = line.get(1).is_some_and(|word| word == "harden");
    let begins = |at: usize| {
        docker::is_client(&line[at])
            && line
                .get(at + 1)
                .is_some_and(|word| word == "run" || word == "container" || is_option(word))
    };
    let end = |words: &[OsString]| words.iter().position(|word| word == "--");
    let ours = end(&line).unwrap_or(line.len());
    let Some(start) = (2..ours).find(|at| is_ours && begins(*at)) else {
        return (line, Vec::new());
    };
    let mut command = line.split_off(start);
    line.extend(command.split_off(end(&command).unwrap_or(command.len())));
    (line, command)
}

fn is_option(word: &OsStr) -> bool {
    word != "--" && word.as_encoded_bytes().starts_with(b"-")
}

/// A compose project that was made of a command, for as long as its life is led.
pub(super) struct Made {
    client: String,
    service: Service,
    directory: TempDir,
}

impl Made {
    /// The project of what is to be hardened, if that is a command.
    ///
    /// # Errors
    ///
    /// The command is not understood, or the project cannot be written.
    pub(super) fn of(command: &[OsString]) -> Result<Option<Self>, Failure> {
        let Some(client) = command.first() else {
            return Ok(None);
        };
        let directory = std::env::current_dir()
            .map_err(|error| Failure::usage(format!("there is no working directory: {error}")))?;
        let service = Service::of(command, &directory)
            .map_err(|error| Failure::usage(format!("{}: {error}", client.to_string_lossy())))?;
        let cannot_write =
            |error: io::Error| Failure::usage(format!("a project cannot be made: {error}"));
        let made = Self {
            client: client.to_string_lossy().into_owned(),
            service,
            directory: tempfile::tempdir().map_err(cannot_write)?,
        };
        // Compose names the project by the directory.
        let file = made.file();
        if let Some(parent) = file.parent() {
            std::fs::create_dir(parent).map_err(cannot_write)?;
        }
        std::fs::write(file, &made.service.text).map_err(cannot_write)?;
        Ok(Some(made))
    }

    /// The client that the command is of.
    pub(super) fn client(&self) -> &str {
        &self.client
    }

    /// The compose file that was made.
    pub(super) fn file(&self) -> PathBuf {
        self.directory
            .path()
            .join(&self.service.name)
            .join("compose.json")
    }

    /// Prints the command with what the container needs.
    ///
    /// # Errors
    ///
    /// Standard output takes nothing.
    pub(super) fn show(&self, verified: &Verified) -> Result<Exit, Failure> {
        let subjects = verified.report.iter().flat_map(|report| &report.subjects);
        let mut of_service = subjects.filter(|subject| {
            subject.compose_service.as_deref() == Some(self.service.name.as_str())
        });
        let Some(subject) = of_service.next() else {
            return Ok(Exit::Success);
        };
        let words = self.service.with(subject.cap_add);
        let words: Vec<String> = words
            .iter()
            .map(|word| quoted(&word.to_string_lossy()))
            .collect();
        let text = format!(
            "\nThe command with what it needs:\n\n  {}\n",
            words.join(" ")
        );
        deliver::deliver(&text, None, io::stdout()).map_err(Failure::usage)?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(text: &str) -> (String, String) {
        let (line, command) = told_apart(text.split(' ').map(OsString::from).collect());
        let joined = |words: Vec<OsString>| {
            let words: Vec<_> = words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            words.join(" ")
        };
        (joined(line), joined(command))
    }

    #[test]
    fn the_words_of_a_command_are_told_from_capaudit_s() {
        assert_eq!(
            apart("capaudit harden --proofs docker run -d nginx sh -c x -- docker run y"),
            (
                "capaudit harden --proofs -- docker run y".to_owned(),
                "docker run -d nginx sh -c x".to_owned()
            )
        );
        for same in [
            "capaudit harden compose.yaml --service docker -- docker run y",
            "capaudit harden docker compose.yaml",
            "capaudit run docker run nginx",
            "capaudit",
        ] {
            assert_eq!(apart(same), (same.to_owned(), String::new()));
        }
    }
}
