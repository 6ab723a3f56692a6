//! Programs that do exactly one thing.

use std::{
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::{Command, ExitCode},
};

use nix::{
    sys::wait::wait,
    unistd::{ForkResult, fork},
};

/// Runs the payload named by the first word.
pub fn run(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["chown", file] => chown_once(Path::new(file)),
        ["fork-storm", count, file] => fork_storm(count.parse().unwrap_or(0), Path::new(file)),
        ["flood", count, files @ ..] => flood(count.parse().unwrap_or(0), files),
        ["mixed", runs, count, files @ ..] => {
            mixed(runs.parse().unwrap_or(0), count.parse().unwrap_or(0), files)
        }
        ["threads", count, file] => threads(count.parse().unwrap_or(0), Path::new(file)),
        ["bind", port] => {
            std::net::TcpListener::bind(("127.0.0.1", port.parse().unwrap_or(0))).is_ok()
        }
        ["only-a-thread-holds"] => only_a_thread_holds(),
        ["setuid-to-self"] => nix::unistd::setuid(nix::unistd::getuid()).is_ok(),
        _ => false,
    };
    if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One check for CHOWN: the owner only, of a file that is not ours afterwards either.
fn chown_once(file: &Path) -> bool {
    chown(file, Some(1), None).is_ok()
}

/// `count` processes, each of which makes one check and is gone.
fn fork_storm(count: usize, file: &Path) -> bool {
    for _ in 0..count {
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => std::process::exit(i32::from(!chown_once(file))),
            Ok(ForkResult::Parent { .. }) => {}
            Err(_) => return false,
        }
    }
    (0..count).all(|_| matches!(wait(), Ok(nix::sys::wait::WaitStatus::Exited(_, 0))))
}

/// As many processes as files, each of which makes `count` checks as fast as it can.
fn flood(count: usize, files: &[&str]) -> bool {
    for file in files {
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                let done = (0..count).all(|_| chown_once(Path::new(file)));
                std::process::exit(i32::from(!done));
            }
            Ok(ForkResult::Parent { .. }) => {}
            Err(_) => return false,
        }
    }
    (0..files.len()).all(|_| matches!(wait(), Ok(nix::sys::wait::WaitStatus::Exited(_, 0))))
}

/// Owners that [`mixed`] gives in turn: more than the keys that a processor counts by itself.
const OWNERS: u32 = 700;

/// As many processes as files, each of which executes itself `runs` times, and each time makes `count` checks: some of the
/// same kind one after the other, and some of ever other kinds.
fn mixed(runs: usize, count: u32, files: &[&str]) -> bool {
    let executed = |runs: usize, file: &str| {
        let mut all_kinds = (0..count).map(|number| match number / OWNERS % 2 {
            0 => 1 + number % OWNERS,
            _ => 1,
        });
        if !all_kinds.all(|owner| chown(file, Some(owner), None).is_ok()) {
            return false;
        }
        if runs <= 1 {
            return true;
        }
        let words = [
            "payload",
            "mixed",
            &(runs - 1).to_string(),
            &count.to_string(),
            file,
        ];
        let Ok(own) = std::env::current_exe() else {
            return false;
        };
        let _error = Command::new(own).args(words).exec();
        false
    };
    if let [file] = files {
        return executed(runs, file);
    }
    for file in files {
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => std::process::exit(i32::from(!executed(runs, file))),
            Ok(ForkResult::Parent { .. }) => {}
            Err(_) => return false,
        }
    }
    (0..files.len()).all(|_| matches!(wait(), Ok(nix::sys::wait::WaitStatus::Exited(_, 0))))
}

/// `count` threads, each of which makes ten checks.
fn threads(count: usize, file: &Path) -> bool {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..count)
            .map(|_| scope.spawn(|| (0..10).all(|_| chown_once(file))))
            .collect();
        workers
            .into_iter()
            .all(|worker| worker.join().unwrap_or(false))
    })
}

/// The first thread gives everything up, another keeps what it has. Says so, and goes on until its input ends.
fn only_a_thread_holds() -> bool {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    let nothing = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let done = set_capabilities(None, nothing).is_ok();
    println!("ready");
    let mut line = String::new();
    done && std::io::stdin().read_line(&mut line).is_ok()
}
