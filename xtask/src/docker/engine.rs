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
pub fn start() -> Result<Client> {
    if let Some(host) = env::var_os("DOCKER_HOST").filter(|host| !host.is_empty()) {
        bail!(
            "the Docker engine at {} does not answer: start it, or unset DOCKER_HOST",
            host.display()
        );
    }
    let dockerd = command::find("dockerd")
        .context("there is no Docker engine: run `cargo xtask setup --tests`")?;
    mount_control_groups()?;
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
