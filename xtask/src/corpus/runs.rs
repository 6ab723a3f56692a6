//! What `cargo xtask corpus` and `cargo xtask verify` have in common: which scenarios, with which capaudit, several at a time,
//! and how capaudit is started.

use std::{
    fs,
    path::PathBuf,
    process::{self, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use capaudit_core::capability::CapSet;

use crate::{
    command,
    docker::{self, Client},
    grantable, images, project,
    scenario::Scenario,
};

/// Which runs.
#[derive(Debug, clap::Args)]
pub(super) struct Choice {
    /// Scenarios to run [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// How many run at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,

    /// Write the result to this file, as Markdown
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    pub write: Option<PathBuf>,

    /// The capaudit to use, instead of building one
    #[arg(long, value_name = "FILE")]
    capaudit: Option<PathBuf>,
}

/// Everything that runs take.
#[derive(Debug)]
pub(super) struct Runs {
    /// Those that were chosen.
    pub scenarios: Vec<Scenario>,
    /// How to reach the engine.
    pub docker: Client,
    /// What the containers may use.
    pub grantable: CapSet,
    jobs: usize,
    capaudit: PathBuf,
    /// Where reports and logs go.
    folder: PathBuf,
}

/// One run of capaudit, about to be started.
#[derive(Debug)]
pub(super) struct Run {
    /// With a report to a file, and its output in a log.
    pub command: Command,
    /// What the audited container is called.
    pub container: String,
    report: PathBuf,
    log: PathBuf,
}

impl Runs {
    /// Sees to the images and to capaudit; `purpose` names the folder of reports and logs.
    pub(super) fn prepare(args: &Choice, purpose: &str) -> Result<Self> {
        let scenarios = Scenario::chosen(&args.names)?;
        let docker = docker::connect()?;
        images::prepare(&docker, &scenarios)?;
        let capaudit = match &args.capaudit {
            Some(file) => file
                .canonicalize()
                .with_context(|| format!("no capaudit at {}", file.display()))?,
            None => build()?,
        };
        let grantable = grantable::find(&docker)?;
        let folder = project::target().join(purpose);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self {
            scenarios,
            docker,
            grantable,
            jobs: usize::from(args.jobs),
            capaudit,
            folder,
        })
    }

    /// A run of a scenario's container under capaudit with these arguments.
    pub(super) fn run(&self, scenario: &Scenario, arguments: &[&str]) -> Result<Run> {
        let report = self.folder.join(format!("{}.json", scenario.name));
        let log = self.folder.join(format!("{}.log", scenario.name));
        // The report of an earlier run would be taken for this one's.
        drop(fs::remove_file(&report));
        let output = command::create(&log)?;
        let errors = output
            .try_clone()
            .with_context(|| format!("cannot write {}", log.display()))?;
        let purpose = self.folder.file_name().unwrap_or_default();
        let container = format!(
            "capaudit-{}-{}-{}",
            purpose.to_string_lossy(),
            scenario.name,
            process::id()
        );
        let mut command = Command::new(&self.capaudit);
        command
            .args(arguments)
            .args(["--format", "json", "--output"])
            .arg(&report)
            .arg("--")
            .arg(self.docker.program())
            .args(scenario.docker_arguments(&container, self.grantable))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        Ok(Run {
            command,
            container,
            report,
            log,
        })
    }

    /// What `work` makes of each scenario, in the order given, as many at a time as were asked for.
    pub(super) fn each<T: Send>(
        &self,
        work: impl Fn(&Scenario) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    while let Some((number, scenario)) =
                        self.nth(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let result = work(scenario);
                        done.lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner())
                            .push((number, result));
                    }
                });
            }
        });
        let mut done = done
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        done.sort_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, result)| result).collect()
    }

    fn nth(&self, number: usize) -> Option<(usize, &Scenario)> {
        Some((number, self.scenarios.get(number)?))
    }
}

impl Run {
    /// The report that was written; `None` if there is none.
    pub(super) fn report(&self) -> Option<Vec<u8>> {
        fs::read(&self.report).ok()
    }

    /// The last thing that was said.
    pub(super) fn last_line(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        command::last_lines(&String::from_utf8_lossy(&said), 1)
            .pop()
            .unwrap_or_else(|| "no output".to_owned())
    }
}

/// The capaudit of this workspace.
fn build() -> Result<PathBuf> {
    println!("building capaudit");
    command::succeed(project::cargo().args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "capaudit",
    ]))?;
    Ok(project::target().join("release/capaudit"))
}
