//! What capaudit itself takes.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{page::Page, tracing::Programs};

/// How long each state is looked at.
const WHILE: Duration = Duration::from_secs(5);

pub(crate) fn measure(programs: &Programs, page: &mut Page) -> Result<()> {
    page.heading("Memory and processor time");
    let work = programs.ourselves.display();
    let flood = format!("{work} work checks 100000000 & {work} work checks 100000000 & wait");
    let storm = format!("while :; do {work} work processes 1000 10 >/dev/null; done");
    let idle = of_run(programs, "sleep 60")?;
    let rows: Vec<Vec<String>> = [
        ("`run` of an idle command", idle),
        (
            "`run` of a flood of checks on both cores",
            of_run(programs, &flood)?,
        ),
        (
            "`run` of a storm of short processes",
            of_run(programs, &storm)?,
        ),
        (
            "`daemon`, nothing going on",
            of_daemon(programs, "sleep 60")?,
        ),
        (
            "`daemon`, beside a storm of short processes in no container",
            of_daemon(programs, &storm)?,
        ),
    ]
    .into_iter()
    .map(|(what, seen)| {
        vec![
            what.to_owned(),
            format!("{:.1} MB", seen.resident),
            format!("{:.1} %", seen.processor),
        ]
    })
    .collect();
    page.table(&["", "resident", "of a core"], &rows);
    page.say(&format!(
        "The resident size counts the ring buffer (8 MB) twice, as it is mapped twice. BPF maps take {:.1} MB of kernel memory.",
        idle.maps
    ));
    Ok(())
}

#[derive(Clone, Copy)]
struct Seen {
    /// Resident memory of capaudit, in megabytes.
    resident: f64,
    /// Processor time that capaudit took, in percent of one core.
    processor: f64,
    /// Memory of its BPF maps, in megabytes.
    maps: f64,
}

/// What `capaudit run` of a script takes.
fn of_run(programs: &Programs, script: &str) -> Result<Seen> {
    let mut capaudit = Command::new(&programs.capaudit)
        .args(["run", "--output", "/dev/null", "--", "setsid", "sh", "-c"])
        .arg(script)
        .stdout(Stdio::null())
        .spawn()?;
    let seen = looked_at(&capaudit);
    for session in children(&capaudit)? {
        end_session(session);
    }
    capaudit.wait()?;
    seen
}

/// What `capaudit daemon` takes while a script runs beside it.
fn of_daemon(programs: &Programs, script: &str) -> Result<Seen> {
    let directory = tempfile::tempdir()?;
    let mut capaudit = Command::new(&programs.capaudit)
        .arg("daemon")
        .arg("--socket")
        .arg(directory.path().join("socket"))
        .arg("--state")
        .arg(directory.path().join("state"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut beside = Command::new("setsid")
        .args(["sh", "-c", script])
        .stdout(Stdio::null())
        .spawn()?;
    let seen = looked_at(&capaudit);
    end_session(i32::try_from(beside.id())?);
    beside.wait()?;
    kill(
        Pid::from_raw(i32::try_from(capaudit.id())?),
        Signal::SIGTERM,
    )?;
    capaudit.wait()?;
    seen
}

fn looked_at(capaudit: &Child) -> Result<Seen> {
    std::thread::sleep(Duration::from_secs(1));
    let before = ticks(capaudit)?;
    std::thread::sleep(WHILE);
    let ticked = ticks(capaudit)? - before;
    let status = std::fs::read_to_string(format!("/proc/{}/status", capaudit.id()))?;
    let resident = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .context("no VmRSS")?
        / 1024.0;
    Ok(Seen {
        resident,
        processor: ticked / WHILE.as_secs_f64(),
        maps: maps(capaudit)?,
    })
}

/// Hundredths of a second of processor time.
fn ticks(child: &Child) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let rest = text.rsplit_once(')').context("odd stat")?.1;
    // utime and stime, the 14th and 15th field; the second ends before `rest`.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field =
        |index: usize| -> Result<f64> { Ok(fields.get(index).context("short stat")?.parse()?) };
    Ok(field(11)? + field(12)?)
}

/// Kernel memory of the maps that a process holds, in megabytes (`memlock` in fdinfo, `bpf_map_show_fdinfo`).
fn maps(child: &Child) -> Result<f64> {
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(format!("/proc/{}/fdinfo", child.id()))? {
        let Ok(text) = std::fs::read_to_string(entry?.path()) else {
            continue;
        };
        if text.contains("map_type:") {
            bytes += text
                .lines()
                .find_map(|line| line.strip_prefix("memlock:")?.trim().parse::<f64>().ok())
                .unwrap_or(0.0);
        }
    }
    Ok(bytes / 1e6)
}

/// Processes that a process started.
fn children(child: &Child) -> Result<Vec<i32>> {
    let text = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))?;
    Ok(text
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?)
}

/// Ends a session, by its leader.
fn end_session(leader: i32) {
    let _ = kill(Pid::from_raw(-leader), Signal::SIGKILL);
    let _ = kill(Pid::from_raw(leader), Signal::SIGKILL);
}
