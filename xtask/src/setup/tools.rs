//! The programs that the tests start.

use anyhow::{Context, Result, bail};

use super::apt::Apt;
use crate::{command, docker::Client};

/// Programs that belong together, and the packages that bring them.
struct Tool {
    name: &'static str,
    find: fn() -> Option<String>,
    packages: &'static [&'static str],
}

const TOOLS: [Tool; 15] = [
    // With, for a machine whose init does not, the program that mounts control groups.
    Tool {
        name: "docker",
        find: docker,
        packages: &["docker.io", "cgroupfs-mount", "ca-certificates"],
    },
    Tool {
        name: "docker-compose",
        find: || all(&["docker-compose"]),
        packages: &["docker-compose"],
    },
    Tool {
        name: "podman",
        find: || all(&["podman", "runc", "busybox"]),
        packages: &[
            "podman",
            "golang-github-containers-common",
            "runc",
            "busybox-static",
        ],
    },
    Tool {
        name: "debootstrap",
        find: || all(&["debootstrap"]),
        packages: &["debootstrap"],
    },
    Tool {
        name: "bpftool",
        find: || all(&["bpftool"]),
        packages: &["bpftool"],
    },
    Tool {
        name: "libcap's tools",
        find: || all(&["capsh", "setcap", "getcap"]),
        packages: &["libcap2-bin"],
    },
    Tool {
        name: "ping",
        find: || all(&["ping"]),
        packages: &["iputils-ping"],
    },
    Tool {
        name: "util-linux",
        find: || all(&["setpriv", "unshare", "setsid"]),
        packages: &["util-linux"],
    },
    Tool {
        name: "attr",
        find: || all(&["setfattr", "getfattr"]),
        packages: &["attr"],
    },
    Tool {
        name: "systemd-analyze",
        find: || all(&["systemd-analyze"]),
        packages: &["systemd"],
    },
    Tool {
        name: "tmux",
        find: || all(&["tmux"]),
        packages: &["tmux"],
    },
    Tool {
        name: "strace",
        find: || all(&["strace"]),
        packages: &["strace"],
    },
    Tool {
        name: "groff",
        find: || all(&["groff"]),
        packages: &["groff-base"],
    },
    Tool {
        name: "man",
        find: || all(&["man"]),
        packages: &["man-db"],
    },
    Tool {
        name: "lintian",
        find: || all(&["lintian"]),
        packages: &["lintian"],
    },
];

/// Finds every program, or installs the packages that bring it.
pub(super) fn ensure(apt: &mut Apt) -> Result<()> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !is_there(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|tool| tool.packages)
        .copied()
        .collect();
    apt.install(&packages)
        .context("the tests need more than is here")?;
    match missing.into_iter().find(|tool| !is_there(tool)) {
        Some(tool) => bail!(
            "{} is still missing after {} was installed",
            tool.name,
            tool.packages.join(" ")
        ),
        None => Ok(()),
    }
}

/// Says where a tool is, if it is there.
fn is_there(tool: &Tool) -> bool {
    let found = (tool.find)();
    if let Some(place) = &found {
        println!("found {} ({place})", tool.name);
    }
    found.is_some()
}

/// The place of the first of `programs`, if all are there.
fn all(programs: &[&str]) -> Option<String> {
    let places: Option<Vec<_>> = programs
        .iter()
        .map(|program| command::find(program))
        .collect();
    Some(places?.first()?.display().to_string())
}

/// An engine that answers, or both halves of one that can be started.
fn docker() -> Option<String> {
    let running = Client::that_answers().map(|client| client.program().display().to_string());
    running.or_else(|| all(&["dockerd", "docker"]))
}
