//! Very many at a time: containers, processes.

use std::time::{Duration, Instant};

use capaudit_core::{capability::Capability, ledger::Kind};
use libtest_mimic::{Failed, Trial};

use super::{Ended, Run, counted, payload};
use crate::{
    audit::{Verdicts, capability, ensure},
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::a_thousand_short_containers", containers),
        Trial::test("faults::twenty_thousand_short_processes", short),
        Trial::test("faults::twenty_thousand_processes_at_once", at_once),
    ]
}

/// Audits a payload, within bounds of time, and of the most memory that capaudit had, in KiB: 7 to 15 s and 60 to 75 MiB
/// on two processors.
fn bounded(options: &[&str], words: &[&str]) -> Result<Ended, Failed> {
    let (memory, file) = temporary()?;
    // The command is capaudit's child.
    let script = format!(
        "{} && grep VmHWM /proc/$PPID/status > {file}",
        payload(words)?
    );
    let began = Instant::now();
    let ended = Run::start(options, &script)?.end()?;
    let took = began.elapsed();
    let text = std::fs::read_to_string(memory.path())?;
    let kib: u64 = text
        .split_ascii_whitespace()
        .nth(1)
        .ok_or_else(|| format!("the command failed: {:?}", ended.status))?
        .parse()?;
    ensure(took < Duration::from_secs(90), took)?;
    ensure(kib < 256 << 10, kib)?;
    Ok(ended)
}

/// Each is a cgroup with a container's name, a pid and a mount namespace, and a program that asks once.
fn containers() -> Verdicts {
    const CONTAINERS: usize = 1000;
    let (_file, path) = temporary()?;
    let ended = bounded(
        &["--strict"],
        &["containers", &CONTAINERS.to_string(), &path],
    )?;
    ensure(
        ended.status.success(),
        (ended.status, &ended.report.session),
    )?;
    let seen: Vec<_> = ended
        .report
        .subjects
        .iter()
        .filter(|subject| subject.kind == Kind::Container)
        .filter(|container| {
            let id = container.id.as_ref();
            id.is_some_and(|id| id.starts_with("faded"))
        })
        .collect();
    ensure(seen.len() == CONTAINERS, seen.len())?;
    for container in seen {
        let found = capability(container, "CHOWN")?;
        ensure(
            found.checks.total == 1 && container.cap_add == Capability::CHOWN.into(),
            container,
        )?;
    }
    Ok(())
}

const PROCESSES: u64 = 20_000;

fn processes(payload: &str) -> Verdicts {
    let (_file, path) = temporary()?;
    let ended = bounded(
        &["--strict", "--wait-children"],
        &[payload, &PROCESSES.to_string(), &path],
    )?;
    let losses = &ended.report.session.losses;
    // Either nothing is lost, or that is said; what is counted is exact in any case, and the run has ended.
    ensure(
        ended.status.code() == Some(if losses.is_none() { 0 } else { 4 }),
        (ended.status, losses),
    )?;
    let all = counted(&ended.ledger, Capability::CHOWN);
    ensure(all + losses.processes == PROCESSES, (all, losses))?;
    ensure(losses.processes == 0, losses)
}

fn short() -> Verdicts {
    processes("fork-storm")
}

fn at_once() -> Verdicts {
    processes("alive")
}
