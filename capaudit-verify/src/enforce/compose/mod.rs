//! Sets enforced on the services of a compose project: the same command with another file.
//!
//! An override file could not do it: compose joins the `cap_add` lists of its files, so that what one of them
//! grants no later one can take back (only since 2.24, with a tag that older ones refuse). So the files are
//! resolved by compose itself (`config`), and the result is edited.
//!
//! The runs are a project of their own: its containers, networks and volumes are made for each run and removed
//! after it. What the user's own project holds is not touched, and no run finds what another one left.

mod edit;
mod isolate;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use capaudit_core::capability::CapSet;

use super::{
    docker,
    words::{NotUnderstood, Words},
};

pub use edit::{Resolved, with_capabilities, with_capabilities_and_no_more, with_everything};
pub use isolate::{Copy, Isolated, isolated};

/// A command line of compose, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeRun {
    /// `docker-compose` or `docker compose`.
    program: Vec<OsString>,
    /// Its options, but files and project.
    options: Vec<OsString>,
    /// Options that name files.
    files: Vec<OsString>,
    first_file: Option<OsString>,
    directory: Option<OsString>,
    /// The subcommand with its own options and arguments.
    subcommand: Vec<OsString>,
    /// Name of the project that the runs make.
    project: String,
}

/// Options of compose itself that take no value, of 1.29 and 2.
const FLAGS: &str = "\
    all-resources compatibility dry-run h help no-ansi skip-hostname-check tls tlsverify v verbose version";

/// Options of compose itself that take a value.
const VALUES: &str = "\
    ansi c context env-file f file H host log-level p parallel profile progress project-directory \
    project-name tlscacert tlscert tlskey workdir";

/// Options of `run` that take no value.
const RUN_FLAGS: &str = "\
    build d detach help i interactive no-deps no-TTY no-tty P q quiet quiet-build quiet-pull remove-orphans \
    rm service-ports T t tty use-aliases";

/// Options of `run` that take a value.
const RUN_VALUES: &str = "\
    cap-add cap-drop e entrypoint env env-from-file l label name p publish pull u user v volume w workdir";

impl ComposeRun {
    /// Takes a command line apart.
    ///
    /// # Errors
    ///
    /// It is none of compose, an option is not known, or its exit status does not tell of the services.
    pub fn parse(command: &[OsString], project: String) -> Result<Self, NotUnderstood> {
        let programs = match command.first() {
            Some(program) if docker::is_client(program) => match docker::subcommand(command)? {
                (docker::Subcommand::Compose, at) => at + 1,
                _ => return Err(no_compose()),
            },
            Some(program) if is_standalone(program) => 1,
            _ => return Err(no_compose()),
        };
        let (program, rest) = command.split_at(programs);
        let mut run = Self {
            program: program.to_vec(),
            options: Vec::new(),
            files: Vec::new(),
            first_file: None,
            directory: None,
            subcommand: Vec::new(),
            project,
        };
        let mut words = Words::from_first(rest, FLAGS, VALUES);
        // What ours takes the place of.
        let mut replaced = Vec::new();
        while let Some(option) = words.next_option()? {
            let kept = match option.names.last().map(String::as_str) {
                Some("f" | "file") => {
                    run.first_file = run.first_file.or(option.value);
                    &mut run.files
                }
                Some("p" | "project-name") => &mut replaced,
                Some("project-directory" | "workdir") => {
                    run.directory = option.value;
                    &mut replaced
                }
                _ => &mut run.options,
            };
            kept.extend(option.words);
        }
        let subcommand = &rest[words.position()..];
        match subcommand.first().map(|word| word.as_bytes()) {
            Some(b"up") => check_up(subcommand)?,
            Some(b"run") => check_run(subcommand)?,
            _ => {
                return Err(NotUnderstood::new(
                    "of compose's commands, only `up` and `run` start services and tell how they ended",
                ));
            }
        }
        run.subcommand = subcommand.to_vec();
        Ok(run)
    }

    /// The command of compose for these files and this project, without anything that it is to do.
    pub fn of_files(program: Vec<OsString>, files: &[PathBuf], project: String) -> Self {
        let files_options = files
            .iter()
            .flat_map(|file| [OsString::from("--file"), file.into()]);
        Self {
            program,
            options: Vec::new(),
            files: files_options.collect(),
            first_file: files.first().map(|file| file.into()),
            directory: None,
            subcommand: Vec::new(),
            project,
        }
    }

    /// The command with another file, without anything that it is to do.
    pub fn bare(&self, file: &Path) -> Vec<OsString> {
        self.assembled(&self.for_file(file), &[])
    }

    /// The command that lists the containers of a service, also those that have ended.
    pub fn listing(&self, file: &Path, service: &str) -> Vec<OsString> {
        let subcommand = ["ps", "--all", "--quiet", service].map(OsString::from);
        self.assembled(&self.for_file(file), &subcommand)
    }

    /// Whether it is this service that `run` starts, and whose exit status is that of the command: its container may be gone
    /// at the end.
    pub fn runs(&self, service: &str) -> bool {
        let mut words = Words::new(&self.subcommand, RUN_FLAGS, RUN_VALUES);
        let is_run = self.subcommand.first().is_some_and(|word| word == "run");
        while is_run && matches!(words.next_option(), Ok(Some(_))) {}
        is_run
            && self
                .subcommand
                .get(words.position())
                .is_some_and(|it| it == service)
    }

    /// The command that removes a project of which everything is its own.
    pub fn removing_all(&self, file: &Path, images_too: bool) -> Vec<OsString> {
        let mut subcommand: Vec<OsString> =
            ["down", "--remove-orphans", "--timeout", "0", "--volumes"]
                .map(OsString::from)
                .to_vec();
        if images_too {
            subcommand.extend(["--rmi".into(), "local".into()]);
        }
        self.assembled(&self.for_file(file), &subcommand)
    }

    /// The command that prints the files as compose understands them.
    pub fn resolving(&self) -> Vec<OsString> {
        let mut options = self.options.clone();
        options.extend(self.files.iter().cloned());
        if let Some(directory) = &self.directory {
            options.extend(["--project-directory".into(), directory.clone()]);
        }
        self.assembled(&options, &["config".into()])
    }

    /// The command with another file.
    pub fn with_file(&self, file: &Path) -> Vec<OsString> {
        self.assembled(&self.for_file(file), &self.subcommand)
    }

    /// The command that removes what the other one made.
    pub fn removing(&self, file: &Path, resolved: &Resolved, images_too: bool) -> Vec<OsString> {
        let mut subcommand: Vec<OsString> = vec![
            "down".into(),
            "--remove-orphans".into(),
            "--timeout".into(),
            "0".into(),
        ];
        // Volumes that were given a name are the user's.
        if resolved.volumes_are_of(&self.project) {
            subcommand.push("--volumes".into());
        }
        if images_too {
            // Those without a name of their own, which were built for this project.
            subcommand.extend(["--rmi".into(), "local".into()]);
        }
        self.assembled(&self.for_file(file), &subcommand)
    }

    fn for_file(&self, file: &Path) -> Vec<OsString> {
        let mut options = self.options.clone();
        options.extend(["--project-directory".into(), self.directory().into()]);
        options.extend(["--file".into(), file.into()]);
        options
    }

    fn assembled(&self, options: &[OsString], subcommand: &[OsString]) -> Vec<OsString> {
        let project: [OsString; 2] = ["--project-name".into(), self.project.clone().into()];
        let parts: [&[OsString]; 4] = [&self.program, &project, options, subcommand];
        parts.concat()
    }

    /// Where relative paths of the project begin.
    fn directory(&self) -> PathBuf {
        let given = self.directory.as_ref().map(PathBuf::from);
        let first_file = || {
            let file = Path::new(self.first_file.as_ref()?);
            file.parent().map(Path::to_owned)
        };
        given
            .or_else(first_file)
            .filter(|directory| !directory.as_os_str().is_empty())
            .unwrap_or_else(|| ".".into())
    }

    /// The project that the runs make.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The file for a run: these services have exactly these sets, others are as they were.
    ///
    /// # Errors
    ///
    /// The resolved file is not of the form that compose writes.
    pub fn file(
        &self,
        resolved: &Resolved,
        sets: &BTreeMap<String, CapSet>,
    ) -> Result<String, NotUnderstood> {
        with_capabilities(resolved.text(), sets)
    }
}

fn check_up(subcommand: &[OsString]) -> Result<(), NotUnderstood> {
    let has = |options: &[&str]| {
        subcommand.iter().any(|word| {
            let name = word.as_bytes().split(|byte| *byte == b'=').next();
            options.iter().any(|option| name == Some(option.as_bytes()))
        })
    };
    if has(&["-d", "--detach", "--wait"]) {
        return Err(NotUnderstood::new(
            "a detached service's success is not in the exit status of `up`: leave -d out",
        ));
    }
    if !has(&[
        "--exit-code-from",
        "--abort-on-container-exit",
        "--abort-on-container-failure",
    ]) {
        return Err(NotUnderstood::new(
            "the exit status of `up` tells nothing of the services: add --exit-code-from SERVICE",
        ));
    }
    Ok(())
}

fn check_run(subcommand: &[OsString]) -> Result<(), NotUnderstood> {
    let mut words = Words::new(subcommand, RUN_FLAGS, RUN_VALUES);
    while let Some(option) = words.next_option()? {
        for name in &option.names {
            match name.as_str() {
                "d" | "detach" => {
                    return Err(NotUnderstood::new(
                        "a detached service's success is not in the exit status of `run`: leave -d out",
                    ));
                }
                "cap-add" | "cap-drop" => {
                    return Err(NotUnderstood::new(format!(
                        "--{name} of compose's `run` would add to the set that is enforced: say it in the compose file"
                    )));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether a program is compose as a program of its own.
pub fn is_standalone(program: &OsStr) -> bool {
    Path::new(program)
        .file_name()
        .is_some_and(|name| name == "docker-compose")
}

fn no_compose() -> NotUnderstood {
    NotUnderstood::new(
        "this is no `docker compose` or `docker-compose`: --via compose is for these",
    )
}
