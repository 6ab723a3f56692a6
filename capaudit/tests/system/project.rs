//! A compose project of a test: its files, its audit, and what is left of it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::audit::CAPAUDIT;

/// Two services: `web` needs CHOWN and SYS_CHROOT, `worker` nothing. `db` is never started.
pub(crate) const COMPOSE: &str = "\
# The shop.
x-logging: &logging
  logging:
    driver: json-file   # read by `docker logs`

services:
  web:
    <<: *logging
    image: gt-corpus:1
    command: sh -ec 'chown 1:1 /srv; chroot / true; grep CapBnd /proc/self/status'
    network_mode: none
    cap_add:
      - NET_ADMIN   # was needed once
      # the log directory
      - CHOWN

  worker: {image: \"gt-corpus:1\", command: [\"sleep\", \"1\"], network_mode: none, cap_add: [NET_RAW]}

  # Only in production.
  db:
    image: gt-corpus:1
    profiles: [never]
version: '3.9'
";

/// A directory with a compose.yaml, and a name for docker-compose.
pub(crate) struct Project {
    directory: TempDir,
    name: String,
}

impl Project {
    pub(crate) fn new(compose: &str) -> Result<Self, Failed> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let project = Self {
            directory: tempfile::tempdir()?,
            name: format!("capaudit-patch-{}-{number}", std::process::id()),
        };
        project.write("compose.yaml", compose)?;
        Ok(project)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Failed> {
        let file = self.file(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        Ok(std::fs::write(file, text)?)
    }

    pub(crate) fn read(&self, name: &str) -> Result<String, Failed> {
        Ok(std::fs::read_to_string(self.file(name))?)
    }

    /// Runs a program in the directory.
    pub(crate) fn run(&self, program: &str, words: &[&str]) -> Result<Output, Failed> {
        Ok(self.command(program).args(words).output()?)
    }

    /// A program in the directory, for which compose has the project's name.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn capaudit(&self, words: &[&str]) -> Result<Output, Failed> {
        self.run(CAPAUDIT, words)
    }

    /// Runs it, and fails unless it ends with this status. What it printed, on both.
    pub(crate) fn expect(
        &self,
        status: i32,
        program: &str,
        words: &[&str],
    ) -> Result<(String, String), Failed> {
        let output = self.run(program, words)?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(status) {
            Ok((out, err))
        } else {
            Err(format!("{program} {words:?}: {:?}\n{out}{err}", output.status).into())
        }
    }

    /// Audits `up` into session.json.
    pub(crate) fn audit(&self) -> Result<(), Failed> {
        self.expect(
            0,
            CAPAUDIT,
            &[
                "run",
                "--strict",
                "--save",
                "session.json",
                "--output",
                "report.txt",
                "--",
                "docker-compose",
                "up",
            ],
        )?;
        Ok(())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // What a failed test leaves behind is no concern of its verdict.
        let _ = self.run(
            "docker-compose",
            &["down", "--remove-orphans", "--timeout", "0", "--volumes"],
        );
    }
}
