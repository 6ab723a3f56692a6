//! One trial: a fresh place, the set-up, and the act with a given set, in processes of their own with a deadline.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    credentials::{Grant, Mode},
    operation::{Operation, Place, Seen},
    place,
    sys::{call, errno, fork, read, write},
};

/// How long an act may take.
const ACT: Duration = Duration::from_secs(3);
/// How long an act may take that is executed: whoever watches it may take time of its own.
const EXECUTED_ACT: Duration = Duration::from_secs(5);
/// How long set-up and act may take together.
const WHOLE: Duration = Duration::from_secs(10);

/// In what the act happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Actor<'a> {
    /// In a fork of this process.
    Forked,
    /// In a process that executes a program of its own.
    Executed {
        /// A copy of this program that everybody can execute.
        program: &'a Path,
        /// `cgroup.procs` of the cgroup that it joins first.
        cgroup: i32,
    },
}

/// What a trial came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trial {
    Acted(Seen),
    /// The set-up failed: there is nothing to act on.
    NotSetUp(Seen),
}

/// Sets the operation up and lets it act with this grant.
///
/// # Errors
///
/// Those of fork(2) and pipe(2): the machine's, not the operation's.
pub(crate) fn run(
    operation: &Operation,
    base: &Path,
    mode: Mode,
    grant: &Grant,
    actor: Actor<'_>,
) -> io::Result<Trial> {
    let [ours, theirs] = fork::pipe()?;
    let [go, release] = fork::pipe()?;
    let runner = fork::spawn(|| {
        i32::from(runner(operation, base, mode, grant, actor, theirs, go).is_err())
    })?;
    call!(SYS_close, theirs)?;
    call!(SYS_close, go)?;
    let mut buffer = Vec::new();
    let end = Instant::now() + WHOLE;
    let trial = loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || !fork::is_ready_within(ours, left.as_millis())? {
            break Trial::NotSetUp(Seen::Hung);
        }
        let bytes = read(ours, 65536)?;
        if bytes.is_empty() {
            break Trial::NotSetUp(Seen::error(libc::ECHILD));
        }
        if bytes == b"map" {
            // Identity: what was made outside keeps its owner.
            for (file, text) in [("uid_map", "0 0 65536"), ("gid_map", "0 0 65536")] {
                fs::write(format!("/proc/{runner}/{file}"), text)?;
            }
            write(release, b"x")?;
            continue;
        }
        buffer.extend(bytes);
        if buffer.last() == Some(&b'\n') {
            break serde_json::from_slice(&buffer).map_err(io::Error::other)?;
        }
    };
    call!(SYS_close, ours)?;
    call!(SYS_close, release)?;
    let _ = call!(SYS_kill, -runner, libc::SIGKILL);
    let _ = call!(SYS_kill, runner, libc::SIGKILL);
    fork::wait(runner)?;
    Ok(trial)
}

fn runner(
    operation: &Operation,
    base: &Path,
    mode: Mode,
    grant: &Grant,
    actor: Actor<'_>,
    answer: i32,
    go: i32,
) -> io::Result<()> {
    call!(SYS_setpgid, 0, 0)?;
    fork::end_with_parent()?;
    if mode == Mode::Userns {
        call!(SYS_unshare, libc::CLONE_NEWUSER)?;
        write(answer, b"map")?;
        read(go, 1)?;
    }
    let trial = match place::make(operation, base) {
        Ok(place) => Trial::Acted(act(operation, base, &place, grant, actor)?),
        Err(error) => Trial::NotSetUp(Seen::of(Err(error))),
    };
    let mut line = serde_json::to_vec(&trial).map_err(io::Error::other)?;
    line.push(b'\n');
    write(answer, &line)?;
    Ok(())
}

/// Lets the operation act in a child with this grant.
///
/// # Errors
///
/// Those of fork(2), pipe(2) and wait(2), and that of a grant that cannot be given.
fn act(
    operation: &Operation,
    base: &Path,
    place: &Place,
    grant: &Grant,
    kind: Actor<'_>,
) -> io::Result<Seen> {
    let [ours, theirs] = fork::pipe()?;
    let actor = fork::spawn(|| {
        let ready = call!(SYS_setpgid, 0, 0).map(drop);
        let seen = match kind {
            Actor::Forked => ready
                .and_then(|()| grant.apply())
                .is_ok()
                .then(|| Seen::of((operation.act)(place))),
            // Comes back only if it fails.
            Actor::Executed { program, cgroup } => {
                let _ = ready
                    .and_then(|()| write(cgroup, b"0").map(drop))
                    .and_then(|()| grant.apply())
                    .and_then(|()| Err::<(), _>(execute(program, operation, base, theirs)));
                None
            }
        };
        let line = serde_json::to_vec(&seen).unwrap_or_default();
        i32::from(write(theirs, &line).is_err())
    })?;
    call!(SYS_close, theirs)?;
    let patience = match kind {
        Actor::Forked => ACT,
        Actor::Executed { .. } => EXECUTED_ACT,
    };
    let seen = if fork::is_ready_within(ours, patience.as_millis())? {
        let mut bytes = Vec::new();
        loop {
            let more = read(ours, 65536)?;
            bytes.extend(&more);
            // A child of the act's own may hold the pipe open: an answer that is whole is enough.
            if more.is_empty() || serde_json::from_slice::<Option<Seen>>(&bytes).is_ok() {
                break;
            }
        }
        Some(bytes)
    } else {
        None
    };
    let _ = call!(SYS_kill, -actor, libc::SIGKILL);
    let _ = call!(SYS_kill, actor, libc::SIGKILL);
    let status = fork::wait(actor)?;
    call!(SYS_close, ours)?;
    match seen {
        None => Ok(Seen::Hung),
        Some(bytes) if bytes.is_empty() => Ok(Seen::Died {
            signal: status & 0x7f,
        }),
        Some(bytes) => match serde_json::from_slice(&bytes).map_err(io::Error::other)? {
            Some(seen) => Ok(seen),
            None => Err(errno(libc::EPERM)),
        },
    }
}

/// Becomes the program that acts and answers through `answer`.
fn execute(program: &Path, operation: &Operation, base: &Path, answer: i32) -> io::Error {
    if let Err(error) = call!(SYS_dup3, answer, 1, 0) {
        return error;
    }
    Command::new(program)
        .args(["act", operation.name])
        .arg(base)
        .stdin(Stdio::null())
        .exec()
}
