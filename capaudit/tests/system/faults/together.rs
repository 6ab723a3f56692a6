//! Several capaudits at once: each counts exactly, as if it were alone.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use capaudit_core::capability::Capability;
use libtest_mimic::Trial;

use super::{Run, counted, payload};
use crate::{
    audit::{CAPAUDIT, Verdicts, audit_script, capability, ensure},
    container::{docker, unique},
    daemon::Daemon,
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::run_inside_run", inside),
        Trial::test("faults::run_watch_and_daemon_at_once", all_at_once),
    ]
}

fn inside() -> Verdicts {
    let (_file, path) = temporary()?;
    let directory = tempfile::tempdir()?;
    let inner = directory.path().join("inner.json");
    let storm = payload(&["fork-storm", "200", &path])?;
    let outer = audit_script(&format!(
        "chown 1 {path}; {CAPAUDIT} run --strict --save {} -- {storm}",
        inner.display()
    ))?;
    outer.succeeded()?;
    let inner = capaudit_storage::load(&inner)?;
    ensure(
        counted(&inner, Capability::CHOWN) == 200,
        "the inner one is not exact",
    )?;
    let found = capability(outer.command()?, "CHOWN")?;
    ensure(found.checks.granted == 201, found)?;
    // What capaudit asks for itself is the outer one's to see.
    ensure(
        capability(outer.command()?, "BPF").is_ok(),
        "the inner one was not seen",
    )
}

fn all_at_once() -> Verdicts {
    const CHECKS: &str = "150";
    let name = unique("together");
    let directory = tempfile::tempdir()?;
    let watched = directory.path().join("watched.json");
    let mut daemon = Daemon::start(&[])?;
    let mut watch = Command::new(CAPAUDIT)
        .args(["watch", "--json", "--save"])
        .arg(&watched)
        .args(["--", "sh", "-c", "read end; true"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // Its first line says that it watches; what had started by then, it would leave out.
    let mut lines = BufReader::new(watch.stdout.take().ok_or("no standard output")?);
    lines.read_line(&mut String::new())?;
    let rest = std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    let run = Run::start(&["--strict"], "true")?;
    let loop_ = format!("i=0; while [ $i -lt {CHECKS} ]; do chown 1 /opt; i=$((i+1)); done");
    docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--name",
        &name,
        "gt-corpus:1",
        "sh",
        "-c",
        &loop_,
    ])?;
    let ended = run.end()?;
    drop(watch.stdin.take());
    ensure(watch.wait()?.success(), "watch failed")?;
    rest.join().map_err(|_panic| "the reader panicked")??;
    let live = daemon.live()?;
    ensure(daemon.end()?.success(), "the daemon failed")?;
    ensure(
        ended.status.success(),
        (ended.status, &ended.report.session),
    )?;
    let watched = capaudit_core::report::Report::with_others(&capaudit_storage::load(&watched)?);
    let mut totals = Vec::new();
    for (by, report) in [
        ("run", &ended.report),
        ("watch", &watched),
        ("daemon", &live),
    ] {
        let mut subjects = report.subjects.iter();
        let subject = subjects.find(|subject| subject.name == name);
        let names = || {
            report
                .subjects
                .iter()
                .map(|subject| (&subject.name, &subject.id))
        };
        let missing = || format!("{by} has no {name}: {:?}", names().collect::<Vec<_>>());
        let found = capability(subject.ok_or_else(missing)?, "CHOWN")?;
        totals.push(found.checks.granted);
    }
    // Once by the program each time, and where the engine uses overlayfs, once on its layer.
    let wanted: u64 = CHECKS.parse()?;
    ensure((wanted..=2 * wanted).contains(&totals[0]), &totals)?;
    ensure(totals.iter().all(|total| *total == totals[0]), totals)
}
