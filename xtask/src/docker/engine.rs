//! `dockerd`, started in a session of its own so that it outlives this program and the terminal.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::Client;
use crate::{command, project};

/// How long the engine may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(200);

/// Starts the engine and waits for its answer.
pub(super) fn start() -> Result<Client> {
    if let Some(host) = env::var_os("DOCKER_HOST").filter(|host| !host.is_empty()) {
        bail!(
            "the Docker engine at {} does not answer: start it, or unset DOCKER_HOST",
            host.display()
        );
    }
    let dockerd = command::find("dockerd")
        .context("there is no Docker engine: run `cargo xtask setup --tests`")?;
    mount_control_groups()?;
    forget_dead_engine();
    let log = project::target().join("dockerd.log");
    println!("starting {} (log in {})", dockerd.display(), log.display());
    let output = command::create(&log)?;
    let errors = output
        .try_clone()
        .with_context(|| format!("cannot write {}", log.display()))?;
    let mut engine = Command::new("setsid")
        .arg(&dockerd)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .context("cannot start setsid: install util-linux")?;
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(client) = Client::that_answers() {
            return Ok(client);
        }
        if let Some(status) = engine.try_wait().context("cannot watch dockerd")? {
            bail!("dockerd ended ({status}): {}", command::tail_of_log(&log));
        }
        thread::sleep(PAUSE);
    }
    bail!(
        "dockerd does not answer after {} s: {}",
        PATIENCE.as_secs(),
        command::tail_of_log(&log)
    )
}

/// Removes the pid files of an engine that was killed: a new one takes a process that is about to end, or not yet
/// reaped, for alive, and refuses to start or waits for it in vain.
fn forget_dead_engine() {
    let engine = PidFile {
        path: "/var/run/docker.pid",
        program: "dockerd",
    };
    let started = Instant::now();
    // One that lives may be starting, or ending: soon it answers, or is gone.
    while engine.names_the_living() && started.elapsed() < PATIENCE {
        if Client::that_answers().is_some() {
            return;
        }
        thread::sleep(PAUSE);
    }
    let containers = PidFile {
        path: "/var/run/docker/containerd/containerd.pid",
        program: "containerd",
    };
    // It is told to end with the engine, which takes it a moment.
    thread::sleep(PAUSE);
    for file in [engine, containers] {
        if Path::new(file.path).exists() && !file.names_the_living() {
            println!("removing {}: the process it names is gone", file.path);
            // If it cannot be removed, the new engine says so itself.
            let _ = fs::remove_file(file.path);
        }
    }
}

/// Where a program keeps its process id.
struct PidFile {
    path: &'static str,
    program: &'static str,
}

impl PidFile {
    fn names_the_living(&self) -> bool {
        let pid = fs::read_to_string(self.path).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        is_living(&stat, self.program)
    }
}

/// Whether a line of /proc/PID/stat is that of this program, running.
fn is_living(stat: &str, program: &str) -> bool {
    stat.split_once(&format!("({program}) "))
        .is_some_and(|(_pid, rest)| !rest.starts_with(['Z', 'X']))
}

/// Mounts the control groups, which the engine needs and which init has done almost everywhere.
fn mount_control_groups() -> Result<()> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let is_mounted = mounts
        .lines()
        .any(|line| matches!(line.split(' ').nth(2), Some("cgroup" | "cgroup2")));
    match command::find("cgroupfs-mount") {
        Some(program) if !is_mounted && Path::new("/sys/fs/cgroup").is_dir() => {
            command::succeed(&mut Command::new(program))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_living;

    #[test]
    fn a_dead_engine_is_told_from_a_living_one_and_from_others() {
        let is_engine = |stat| is_living(stat, "dockerd");
        assert!(is_engine("6317 (dockerd) S 1 6317 6317 0"));
        assert!(!is_engine("6317 (dockerd) Z 1 6317 6317 0"));
        assert!(!is_engine("6317 (bash) S 1 6317 6317 0"));
        assert!(!is_engine(""));
    }
}
