//! One scenario's run under capaudit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    report::Findings,
    score::{Outcome, Row, judge},
};
use crate::{capability::Set, command, docker::Client, scenario::Scenario};

/// How long a scenario may take; the slowest takes five seconds by itself.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long capaudit may take to write its report once the container is gone.
const GRACE: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(20);

/// What every run has in common.
#[derive(Debug)]
pub struct Auditor {
    /// The capaudit to score.
    pub capaudit: PathBuf,
    /// How to reach the engine.
    pub docker: Client,
    /// What the containers may use.
    pub grantable: Set,
    /// Where reports and logs go.
    pub folder: PathBuf,
}

impl Auditor {
    /// Runs `scenario` once and scores the recommendation. A run that fails is an outcome; an error is trouble with the
    /// corpus itself.
    pub fn score(&self, scenario: &Scenario) -> Result<Row> {
        let truth = scenario.truth()?;
        let outcome = match self.run(scenario)? {
            Ok(findings) => Outcome::Scored {
                capaudit: judge(findings.recommended, &truth),
                naive: judge(findings.granted, &truth),
                complete: findings.complete,
            },
            Err(reason) => Outcome::Failed(reason),
        };
        Ok(Row {
            scenario: scenario.name.clone(),
            needed: truth.preferred,
            outcome,
        })
    }

    /// The findings, or why the run does not count.
    fn run(&self, scenario: &Scenario) -> Result<Result<Findings, String>> {
        let container = format!("capaudit-corpus-{}-{}", scenario.name, process::id());
        let report = self.folder.join(format!("{}.json", scenario.name));
        let log = self.folder.join(format!("{}.log", scenario.name));
        // The report of an earlier run would be taken for this one's.
        drop(fs::remove_file(&report));
        let Some(status) = self.run_logged(scenario, &container, &report, &log)? else {
            return Ok(Err(format!("no end after {} s", PATIENCE.as_secs())));
        };
        if !status.success() {
            let said = fs::read(&log).unwrap_or_default();
            let last = command::last_lines(&String::from_utf8_lossy(&said), 1).pop();
            let last = last.unwrap_or_else(|| "no output".to_owned());
            return Ok(Err(format!("{status}: {last}")));
        }
        Ok(match fs::read(&report) {
            Ok(text) => Findings::read(&text, &container),
            Err(_) => Err("capaudit wrote no report".to_owned()),
        })
    }

    /// Runs it with its output in `log`; `None` if it had to be stopped.
    fn run_logged(
        &self,
        scenario: &Scenario,
        container: &str,
        report: &Path,
        log: &Path,
    ) -> Result<Option<ExitStatus>> {
        let output = command::create(log)?;
        let errors = output
            .try_clone()
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = Command::new(&self.capaudit)
            .args(["run", "--format", "json", "--output"])
            .arg(report)
            .arg("--")
            .arg(self.docker.program())
            .args(scenario.docker_arguments(container, self.grantable))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", self.capaudit.display()))?;
        let status = wait(&mut child, PATIENCE)?;
        if status.is_none() {
            self.docker.remove(container);
            if wait(&mut child, GRACE)?.is_none() {
                child
                    .kill()
                    .and_then(|()| child.wait())
                    .context("cannot stop capaudit")?;
            }
        }
        Ok(status)
    }
}

/// How `child` ended, if it did in time.
fn wait(child: &mut Child, patience: Duration) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        let status = child.try_wait().context("cannot wait for capaudit")?;
        if status.is_some() || started.elapsed() >= patience {
            return Ok(status);
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_child_or_with_the_patience() {
        let mut quick = Command::new("true").spawn().unwrap();
        assert!(wait(&mut quick, PATIENCE).unwrap().unwrap().success());
        let mut slow = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(wait(&mut slow, PAUSE).unwrap().is_none());
        slow.kill().and_then(|()| slow.wait()).unwrap();
    }
}
