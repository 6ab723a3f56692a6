//! Docker's default seccomp profile, as its engine hands it to the container runtime: by starting a container with each
//! capability and reading what the engine wrote for it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use capaudit_core::capability::Capability;
use serde_json::{Value, json};

use crate::{command, docker, docker::Client};

/// An image without any file.
const IMAGE: &str = "capaudit-empty";
const CONTAINER: &str = "capaudit-profile";
/// Where the engine has the containers of its runtime: its own containerd, or the machine's.
const STATES: [&str; 2] = [
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
    "/run/containerd/io.containerd.runtime.v2.task/moby",
];
/// Directories of this machine that a program that only waits needs.
const PROGRAMS: [&str; 4] = ["/bin", "/lib", "/lib64", "/usr"];

/// The arguments by which the program learns of a profile.
pub(super) fn arguments(profile: Option<&Path>) -> impl Iterator<Item = &OsStr> {
    profile
        .into_iter()
        .flat_map(|profile| [OsStr::new("--profile"), profile.as_os_str()])
}

/// Writes the profile by capability into a file, whose path is returned. What the engine cannot grant is left out.
pub(super) fn of_docker(folder: &Path) -> Result<PathBuf> {
    let client = docker::connect()?;
    import(&client)?;
    let without = rules(&client, None)?.context("the engine starts no container")?;
    let mut with = BTreeMap::new();
    for capability in (0..64).filter_map(Capability::from_number) {
        if let Some(rules) = rules(&client, Some(capability))? {
            with.insert(capability, rules);
        }
    }
    let path = folder.join("profile.json");
    let profile = json!({"engine": client.engine_version()?, "without": without, "with": with});
    command::write(&path, &profile.to_string())?;
    Ok(path)
}

fn import(client: &Client) -> Result<()> {
    if client.inspect_image(IMAGE, "{{.Id}}").is_some() {
        return Ok(());
    }
    let mut import = client
        .command(["import", "-", IMAGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start docker")?;
    // The end of a tar archive, and nothing before it.
    import
        .stdin
        .take()
        .context("docker takes no input")?
        .write_all(&[0; 1024])?;
    let status = import.wait()?;
    if !status.success() {
        bail!("docker cannot import an empty image ({status})");
    }
    Ok(())
}

/// What is said of system calls to a container that has this capability alone; `None` if the engine cannot grant it.
fn rules(client: &Client, capability: Option<Capability>) -> Result<Option<Value>> {
    client.remove(CONTAINER);
    let mut run = client.command(["run", "--detach", "--network=none", "--cap-drop=ALL"]);
    run.arg(format!("--name={CONTAINER}"));
    if let Some(capability) = capability {
        run.arg(format!("--cap-add={}", capability.name()));
    }
    for directory in PROGRAMS.into_iter().filter(|it| Path::new(it).exists()) {
        run.arg(format!("--volume={directory}:{directory}:ro"));
    }
    let output = command::output_of(run.args([IMAGE, "/bin/sleep", "600"]))?;
    if !output.status.success() {
        client.remove(CONTAINER);
        return Ok(None);
    }
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let written = STATES
        .iter()
        .find_map(|state| fs::read_to_string(format!("{state}/{id}/config.json")).ok());
    client.remove(CONTAINER);
    let written = written.with_context(|| {
        format!(
            "Docker has no config.json of its container {id} in {}",
            STATES.join(" or ")
        )
    })?;
    let config: Value = serde_json::from_str(&written).context("odd config.json of a container")?;
    match config.pointer("/linux/seccomp/syscalls") {
        Some(rules) => Ok(Some(rules.clone())),
        None => bail!("this Docker engine starts containers without a seccomp profile"),
    }
}
