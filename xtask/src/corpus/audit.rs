//! One scenario's run under capaudit.

use std::{
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    report::Findings,
    runs::{Run, Runs},
    score::{Outcome, Row, judge},
};
use crate::scenario::Scenario;

/// How long a scenario may take; the slowest takes five seconds by itself.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long capaudit may take to write its report once the container is gone.
const GRACE: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(20);

/// Runs `scenario` once and scores the recommendation. A run that fails is an outcome; an error is trouble with the
/// corpus itself.
pub(super) fn score(runs: &Runs, scenario: &Scenario) -> Result<Row> {
    let truth = scenario.truth()?;
    let outcome = match audit(runs, scenario)? {
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
fn audit(runs: &Runs, scenario: &Scenario) -> Result<Result<Findings, String>> {
    let mut run = runs.run(scenario, &["run"])?;
    let Some(status) = in_time(runs, &mut run)? else {
        return Ok(Err(format!("no end after {} s", PATIENCE.as_secs())));
    };
    if !status.success() {
        return Ok(Err(format!("{status}: {}", run.last_line())));
    }
    Ok(match run.report() {
        Some(text) => Findings::read(&text, &run.container),
        None => Err("capaudit wrote no report".to_owned()),
    })
}

/// How a run ended; `None` if it had to be stopped.
fn in_time(runs: &Runs, run: &mut Run) -> Result<Option<ExitStatus>> {
    let mut child = run.command.spawn().context("cannot start capaudit")?;
    let status = wait(&mut child, PATIENCE)?;
    if status.is_none() {
        runs.docker.remove(&run.container);
        if wait(&mut child, GRACE)?.is_none() {
            child
                .kill()
                .and_then(|()| child.wait())
                .context("cannot stop capaudit")?;
        }
    }
    Ok(status)
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
    use std::process::Command;

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
