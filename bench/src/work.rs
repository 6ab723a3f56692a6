//! The traced program: one capability check over and over.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, Uid, fork, pause, setuid},
};

/// Checks made before the clock starts: by then every map has its entries.
const WARM_UP: u32 = 20_000;

/// Signal 0 to another user's process: `kill_ok_by_cred` says no, so KILL is asked, once, and nothing else happens
/// (`check_kill_permission`, kernel/signal.c). Returns nanoseconds a call.
pub fn checks(count: u32) -> Result<f64> {
    ensure!(Uid::current().is_root(), "takes root");
    let target = other_users_process()?;
    for _ in 0..WARM_UP {
        kill(target, None).context("kill")?;
    }
    let started = Instant::now();
    for _ in 0..count {
        kill(target, None).context("kill")?;
    }
    let elapsed = started.elapsed();
    kill(target, Signal::SIGKILL)?;
    waitpid(target, None)?;
    Ok(elapsed.as_nanos() as f64 / f64::from(count))
}

/// As [`checks`] with a call that makes none: what tracing costs whoever asks for nothing.
pub fn calls(count: u32) -> Result<f64> {
    let ourselves = Pid::this();
    for _ in 0..WARM_UP {
        kill(ourselves, None).context("kill")?;
    }
    let started = Instant::now();
    for _ in 0..count {
        kill(ourselves, None).context("kill")?;
    }
    Ok(started.elapsed().as_nanos() as f64 / f64::from(count))
}

/// `count` processes, one after the other, each of which makes `each` checks. Returns nanoseconds a process.
pub fn processes(count: u32, each: u32) -> Result<f64> {
    let target = other_users_process()?;
    let started = Instant::now();
    for _ in 0..count {
        // SAFETY: this process has one thread.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let done = (0..each).all(|_| kill(target, None).is_ok());
                std::process::exit(i32::from(!done));
            }
            ForkResult::Parent { child } => {
                waitpid(child, None)?;
            }
        }
    }
    let elapsed = started.elapsed();
    kill(target, Signal::SIGKILL)?;
    waitpid(target, None)?;
    Ok(elapsed.as_nanos() as f64 / f64::from(count))
}

fn other_users_process() -> Result<Pid> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let _ = setuid(Uid::from_raw(65534));
            loop {
                pause();
            }
        }
        ForkResult::Parent { child } => {
            // Until it has changed its user, no check is made.
            while user_of(child)? != Some(65534) {
                std::thread::yield_now();
            }
            Ok(child)
        }
    }
}

fn user_of(process: Pid) -> Result<Option<u32>> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()))
}
