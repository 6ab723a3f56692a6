//! The traced program: one capability check over and over.

use std::{fs::File, os::unix::fs::FileExt as _, time::Instant};

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

/// Calls that are timed together. Whatever else the machine does only ever adds to a batch, so the least of many is what
/// the calls take themselves. Long enough that each batch has its share of what is done for every 4096th check only.
const CALLS: u32 = 8_192;
/// Processes that are timed together.
const PROCESSES: u32 = 50;

/// Signal 0 to another user's process: `kill_ok_by_cred` says no, so KILL is asked, once, and nothing else happens
/// (`check_kill_permission`, kernel/signal.c). Returns nanoseconds a call.
pub(crate) fn checks(count: u32) -> Result<f64> {
    ensure!(Uid::current().is_root(), "takes root");
    let target = other_users_process()?;
    for _ in 0..WARM_UP {
        kill(target, None).context("kill")?;
    }
    let least = least_of_batches(count, CALLS, || kill(target, None).context("kill"))?;
    kill(target, Signal::SIGKILL)?;
    waitpid(target, None)?;
    Ok(least)
}

/// As [`checks`] with a call that makes none: what tracing costs whoever asks for nothing.
pub(crate) fn calls(count: u32) -> Result<f64> {
    let ourselves = Pid::this();
    for _ in 0..WARM_UP {
        kill(ourselves, None).context("kill")?;
    }
    least_of_batches(count, CALLS, || kill(ourselves, None).context("kill"))
}

/// As [`checks`] with files of the other process's /proc directory, whose every read asks for SYS_PTRACE: each from a function of its
/// own. Returns nanoseconds a read.
pub(crate) fn turns(count: u32) -> Result<f64> {
    const FILES: [&str; 4] = ["stat", "wchan", "personality", "syscall"];
    let target = other_users_process()?;
    let open = |name| File::open(format!("/proc/{target}/{name}"));
    let files: Vec<File> = FILES.into_iter().map(open).collect::<Result<_, _>>()?;
    let mut next = files.iter().cycle();
    let mut read = || {
        let file = next.next().context("no file")?;
        file.read_at(&mut [0; 1024], 0).context("cannot read")?;
        Ok(())
    };
    for _ in 0..WARM_UP {
        read()?;
    }
    let least = least_of_batches(count, CALLS, read)?;
    kill(target, Signal::SIGKILL)?;
    waitpid(target, None)?;
    Ok(least)
}

/// `count` processes, one after the other, each of which makes `each` checks. Returns nanoseconds a process, of the quickest
/// batch.
pub(crate) fn processes(count: u32, each: u32) -> Result<f64> {
    let target = other_users_process()?;
    let least = least_of_batches(count, PROCESSES, || {
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
        Ok(())
    })?;
    kill(target, Signal::SIGKILL)?;
    waitpid(target, None)?;
    Ok(least)
}

/// Nanoseconds a time in the quickest batch of `count` times that `act` is called.
fn least_of_batches(count: u32, size: u32, mut act: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    let mut left = count;
    while left > 0 {
        let batch = left.min(size);
        let started = Instant::now();
        for _ in 0..batch {
            act()?;
        }
        least = least.min(started.elapsed().as_nanos() as f64 / f64::from(batch));
        left -= batch;
    }
    Ok(least)
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
