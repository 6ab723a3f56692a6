//! Whether a check costs more where more is followed, and whether anything gets lost then.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use capaudit_core::{ledger, report::Report};

use crate::{
    page::Page,
    rounds::medians,
    tracing::{Programs, Tracing},
};

pub(crate) fn measure(programs: &Programs, page: &mut Page) -> Result<()> {
    page.heading("Growth");
    let counts = [1_u32, 100, 10_000];
    let found = medians(programs.rounds.min(3), &counts, |count| {
        // Equally many checks in all.
        let each = 100_000 / count;
        let words = ["processes".to_owned(), count.to_string(), each.to_string()];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let traced = programs.measure(Tracing::Run, &words)?;
        let plain = programs.measure(Tracing::None, &words)?;
        Ok((traced - plain) / f64::from(each))
    })?;
    page.say("100,000 checks by so many processes, one after the other, each counted by itself; what a check costs more under `capaudit run`, the process's own fork, sightings and end included:");
    table(page, "processes", &counts, &found);

    let counts = [1_u32, 50];
    let found = medians(programs.rounds.min(3), &counts, |count| {
        let traced = among_containers(programs, Tracing::Run, count)?;
        let plain = among_containers(programs, Tracing::None, count)?;
        Ok(traced - plain)
    })?;
    page.say("The same check over and over in one of so many containers (a cgroup and a mount namespace each):");
    table(page, "containers", &counts, &found);

    let (made, counted, lost) = hammered(programs)?;
    page.say(&format!(
        "Two processes that make {made} checks as fast as they can, on both cores: **{counted} counted, {lost} records lost**."
    ));
    ensure!(made == counted, "{made} checks made, {counted} counted");
    Ok(())
}

/// What a check costs more, by how many `what` there are.
fn table(page: &mut Page, what: &str, counts: &[u32], added: &[f64]) {
    let rows: Vec<Vec<String>> = counts
        .iter()
        .zip(added)
        .map(|(count, added)| vec![count.to_string(), format!("{added:+.0} ns")])
        .collect();
    page.table(&[what, "added a check"], &rows);
}

/// Puts so many containers up, all but one of them idle, and has that make checks.
const CONTAINERS: &str = r#"
root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts) || exit
contained() {
    group=$root/docker-$(printf 'be9c%060x' "$1").scope
    shift
    mkdir "$group" || exit
    sh -c 'echo 0 > "$1/cgroup.procs"; shift; exec unshare --mount "$@"' sh "$group" "$@"
}
count=$1 program=$2
number=2
while [ "$number" -le "$count" ]; do
    contained "$number" sleep 600 &
    number=$((number + 1))
done
contained 1 "$program" work checks 200000
for group in "$root"/docker-be9c*.scope; do
    xargs -r kill <"$group/cgroup.procs"
done
wait
rmdir "$root"/docker-be9c*.scope
"#;

/// Nanoseconds a check in one of `count` containers.
fn among_containers(programs: &Programs, tracing: Tracing, count: u32) -> Result<f64> {
    let count = count.to_string();
    let words = [
        OsStr::new("-c"),
        OsStr::new(CONTAINERS),
        OsStr::new("sh"),
        OsStr::new(&count),
        programs.ourselves.as_os_str(),
    ];
    let output = programs
        .command(tracing, Path::new("/bin/sh"), &words)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "{count} containers: {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .with_context(|| format!("{count} containers printed {text:?}"))
}

/// Checks made by two processes at once, checks counted, and records lost.
fn hammered(programs: &Programs) -> Result<(u64, u64, u64)> {
    const EACH: u64 = 1_000_000;
    /// What [`crate::work::checks`] makes besides: before the clock starts, and to end its target.
    const BESIDES: u64 = 20_001;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let work = format!(
        "{:?} work checks {EACH}",
        programs.ourselves.display().to_string()
    );
    let status = Command::new(&programs.capaudit)
        .args(["run", "--output", "/dev/null", "--save"])
        .arg(&session)
        .args(["--", "sh", "-c", &format!("{work} & {work} & wait")])
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "{status}");
    let ledger = ledger::from_bytes(&std::fs::read(&session)?, &session)?;
    let report = Report::of(&ledger);
    let kill = report
        .subjects
        .iter()
        .flat_map(|subject| &subject.capabilities)
        .find(|capability| capability.capability.name() == "KILL")
        .context("KILL was not seen")?;
    Ok((
        2 * (EACH + BESIDES),
        kill.checks.total,
        report.session.lost_events,
    ))
}
