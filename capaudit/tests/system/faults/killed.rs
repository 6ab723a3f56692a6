//! SIGKILL at any moment: nothing stays attached, no file is half written, nothing temporary stays for ever.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use libtest_mimic::{Failed, Trial};

use super::{payload, until};
use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::killed_at_any_moment", at_any_moment),
        Trial::test("faults::killed_while_saving", while_saving),
    ]
}

/// Programs and maps of ours, by their names in the kernel.
const PROGRAMS: [&str; 11] = [
    "process_fork",
    "process_exec",
    "process_exit",
    "call_exit",
    "check_tp_btf",
    "check_fexit",
    "check_kprobe",
    "check_kretprobe",
    "enforce_capable",
    "floor_tp_btf",
    "floor_fexit",
];
const MAPS: [&str; 6] = [
    "EVENTS",
    "CHECKS",
    "SITES",
    "CALLS",
    "PROCESSES",
    "SPAWNING",
];

/// What of ours is in the kernel, each as the line of /proc/PID/fdinfo of who holds it.
fn ours() -> Result<BTreeSet<String>, Failed> {
    let mut loaded = BTreeSet::new();
    // One may be gone by the time it is asked about.
    for program in aya::programs::loaded_programs().flatten() {
        if program
            .name_as_str()
            .is_some_and(|name| PROGRAMS.contains(&name))
        {
            loaded.insert(format!("prog_id:\t{}", program.id()));
        }
    }
    for map in aya::maps::loaded_maps().flatten() {
        if map.name_as_str().is_some_and(|name| MAPS.contains(&name)) {
            loaded.insert(format!("map_id:\t{}", map.id()));
        }
    }
    Ok(loaded)
}

/// What of ours is in the kernel although no process holds it: it would stay there. Others may run capaudit meanwhile.
fn orphans() -> Result<BTreeSet<String>, Failed> {
    let mut loaded = ours()?;
    if loaded.is_empty() {
        return Ok(loaded);
    }
    for process in std::fs::read_dir("/proc")?.flatten() {
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fdinfo")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let text = std::fs::read_to_string(descriptor.path()).unwrap_or_default();
            for line in text.lines() {
                loaded.remove(line);
            }
        }
    }
    Ok(loaded)
}

/// Nothing is pinned, and nothing that nobody holds is there, or soon will not be: the kernel takes a moment.
pub(super) fn nothing_is_left() -> Verdicts {
    let pinned = std::fs::read_dir("/sys/fs/bpf").map_or(0, Iterator::count);
    ensure(pinned == 0, "something is pinned")?;
    let mut left = BTreeSet::new();
    until("gone", || {
        left = orphans()?;
        Ok(left.is_empty())
    })
    .map_err(|_late| format!("still in the kernel: {left:?}").into())
}

/// The session is whole or absent, and nothing but it and what is kept for a daemon is in its directory.
fn is_whole(directory: &Path) -> Verdicts {
    let session = directory.join("session.json");
    if session.exists() {
        capaudit_storage::load(&session)?;
    }
    Ok(())
}

fn at_any_moment() -> Verdicts {
    let (_file, path) = temporary()?;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let session = session.to_string_lossy();
    std::fs::create_dir(directory.path().join("run"))?;
    let socket = directory.path().join("run/socket");
    let socket = socket.to_string_lossy();
    let state = directory.path().to_string_lossy();
    let storm = payload(&["fork-storm", "40", &path])?;
    let command = ["--", "sh", "-c", &storm];
    let kinds: [Vec<&str>; 3] = [
        [&["run", "--save", &session][..], &command].concat(),
        [&["watch", "--json", "--save", &session][..], &command].concat(),
        vec![
            "daemon",
            "--save-every",
            "1s",
            "--socket",
            &socket,
            "--state",
            &state,
        ],
    ];
    let start = |words: &[&str]| {
        Command::new(CAPAUDIT)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    };
    // How long a whole run takes here, so that the moments are in all of it.
    let began = Instant::now();
    let mut child = start(&kinds[0])?;
    until("found in the kernel", || Ok(ours()?.len() > 10))?;
    ensure(child.wait()?.success(), "it does not even work")?;
    let whole = began.elapsed();
    let mut cut_short = 0;
    for moment in 0..30u32 {
        let mut child = start(&kinds[moment as usize % 3])?;
        std::thread::sleep(whole * moment / 28);
        child.kill()?;
        cut_short += u32::from(!child.wait()?.success());
        is_whole(directory.path())?;
    }
    ensure(cut_short >= 20, cut_short)?;
    nothing_is_left()?;
    // The next one finds its way, and clears up.
    ensure(
        start(&kinds[0])?.wait()?.success(),
        "nothing works any more",
    )?;
    let left: Vec<String> = std::fs::read_dir(directory.path())?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "session.json" && name != "run")
        .collect();
    ensure(left.is_empty(), left)
}

/// strace kills it as it enters each of the system calls that saving is made of.
fn while_saving() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let run = |moment: Option<&str>, command: &[&str]| {
        let mut run = match moment {
            Some(moment) => {
                let mut strace = Command::new("strace");
                strace
                    .args(["-o", "/dev/null", "-e"])
                    .arg(format!("inject={moment}:signal=SIGKILL:when=1"))
                    .arg(CAPAUDIT);
                strace
            }
            None => Command::new(CAPAUDIT),
        };
        run.args(["run", "--save"])
            .arg(&session)
            .arg("--")
            .args(command)
            .stderr(Stdio::null())
            .status()
    };
    let files = || -> Result<Vec<String>, Failed> {
        Ok(std::fs::read_dir(directory.path())?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect())
    };
    let mut left_over = 0;
    for before in [false, true] {
        if before {
            ensure(run(None, &["true"])?.success(), "no session")?;
        }
        for moment in ["fsync", "linkat", "rename,renameat,renameat2"] {
            let status = run(Some(moment), &["true", "again"])?;
            ensure(!status.success(), (moment, status))?;
            left_over += usize::from(files()?.len() > usize::from(before));
            if before {
                // The one of before, untouched.
                ensure(
                    capaudit_storage::load(&session)?.session.command == ["true"],
                    moment,
                )?;
            } else {
                ensure(!session.exists(), moment)?;
            }
        }
    }
    // Between its getting a name and its getting the right one: the only moment at which something can be left.
    ensure(left_over == 2, left_over)?;
    ensure(run(None, &["true"])?.success(), "no session")?;
    ensure(files()? == ["session.json"], files()?)?;
    nothing_is_left()
}
