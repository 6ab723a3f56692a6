//! Programs that do exactly one thing.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{FileExt as _, chown},
        net::UnixStream,
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, ExitCode},
};

use nix::{
    sys::wait::wait,
    unistd::{ForkResult, fork},
};

use crate::{mounts, secrets, silent};

/// Runs the payload named by the first word.
pub(crate) fn run(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["chown", file] => chown_once(Path::new(file)),
        ["fork-storm", count, file] => fork_storm(count.parse().unwrap_or(0), Path::new(file)),
        ["alive", count, file] => alive(count.parse().unwrap_or(0), Path::new(file)),
        ["same-pid", count, file] => same_pid(count.parse().unwrap_or(0), file),
        ["containers", count, file] => containers(count.parse().unwrap_or(0), file),
        ["flood", count, files @ ..] => flood(count.parse().unwrap_or(0), files),
        ["mixed", runs, count, files @ ..] => {
            mixed(runs.parse().unwrap_or(0), count.parse().unwrap_or(0), files)
        }
        ["threads", count, file] => threads(count.parse().unwrap_or(0), Path::new(file)),
        ["reads", rounds @ ..] => reads(rounds).unwrap_or(false),
        ["writes", before, after] => writes(before, after).unwrap_or(false),
        ["start-container", name] => start_container(name).is_some(),
        ["send-secret"] => secrets::send().unwrap_or(false),
        ["bind", port] => {
            std::net::TcpListener::bind(("127.0.0.1", port.parse().unwrap_or(0))).is_ok()
        }
        ["only-a-thread-holds"] => only_a_thread_holds(),
        ["silent", directory] => silent::serve(Path::new(directory)).is_ok(),
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

/// `count` processes that live at the same time, each of which makes two checks, for CHOWN and SETUID; then they all end.
fn alive(count: usize, file: &Path) -> bool {
    let Ok((mut ready, done)) = std::io::pipe() else {
        return false;
    };
    let Ok((end, hold)) = std::io::pipe() else {
        return false;
    };
    for _ in 0..count {
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                drop(hold);
                let checked = chown_once(file)
                    && nix::unistd::setuid(nix::unistd::getuid()).is_ok()
                    && (&done).write_all(b".").is_ok();
                // Ends with the parent's end of the pipe.
                let _ = (&end).read(&mut [0]);
                std::process::exit(i32::from(!checked));
            }
            Ok(ForkResult::Parent { .. }) => {}
            Err(_) => return false,
        }
    }
    let checked = ready.read_exact(&mut vec![0; count]).is_ok();
    drop(hold);
    checked && (0..count).all(|_| matches!(wait(), Ok(nix::sys::wait::WaitStatus::Exited(_, 0))))
}

/// `count` times each, one after the other and all with the same pid: chown(1) and chroot(8).
fn same_pid(count: usize, file: &str) -> bool {
    let mut same = None;
    (0..2 * count).all(|number| {
        let words: &[&str] = if number % 2 == 0 {
            &["/bin/chown", "1", file]
        } else {
            &["/usr/sbin/chroot", "/", "/bin/true"]
        };
        let Ok(pid) = fork_as(same) else {
            return false;
        };
        if pid == 0 {
            let failed = Command::new(words[0]).args(&words[1..]).exec();
            eprintln!("{failed}");
            std::process::exit(1);
        }
        same.get_or_insert(pid);
        let ended = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
        same == Some(pid) && matches!(ended, Ok(nix::sys::wait::WaitStatus::Exited(_, 0)))
    })
}

/// fork(2), with this pid for the child: `set_tid` of clone3(2).
fn fork_as(pid: Option<i32>) -> nix::Result<i32> {
    use nix::libc;
    // SAFETY: a structure of numbers.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(pid) = &pid {
        arguments.set_tid = std::ptr::from_ref(pid) as u64;
        arguments.set_tid_size = 1;
    }
    // SAFETY: without CLONE_VM this is a fork, and this process has one thread.
    let child = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    Ok(nix::errno::Errno::result(child)? as i32)
}

/// `count` containers, two at a time, each in a cgroup with a container's name, in a pid and a mount namespace of its
/// own, for one chown(1).
fn containers(count: usize, file: &str) -> bool {
    let Ok(unified) = mounts::unified() else {
        return false;
    };
    let container = |number: usize| {
        let group = unified.join(format!("docker-faded{number:059x}.scope"));
        if std::fs::create_dir(&group).is_err() {
            return false;
        }
        let enter = format!(
            "echo 0 > {}; exec \"$@\"",
            group.join("cgroup.procs").display()
        );
        let done = Command::new("sh")
            .args(["-c", &enter, "sh", "unshare", "--mount", "--pid", "--fork"])
            .args(["chown", "1", file])
            .status()
            .is_ok_and(|status| status.success());
        // The kernel may take a moment to see that it is empty.
        let removed = (0..200).any(|_| {
            std::fs::remove_dir(&group).is_ok() || {
                std::thread::sleep(std::time::Duration::from_millis(5));
                false
            }
        });
        done && removed
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| (0..count).step_by(2).all(container));
        let one = (1..count).step_by(2).all(container);
        one && other.join().unwrap_or(false)
    })
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

/// Reads files of the /proc directory of another user's process, by turns: how often, and which, joined by `+`; and again.
fn reads(rounds: &[&str]) -> std::io::Result<bool> {
    let other = Command::new("sleep")
        .arg("600")
        .uid(65534)
        .gid(65534)
        .spawn();
    let mut other = other?;
    let directory = Path::new("/proc").join(other.id().to_string());
    let mut done = true;
    for round in rounds.chunks_exact(2) {
        let files = round[1]
            .split('+')
            .map(|name| File::open(directory.join(name)));
        let files: Vec<File> = files.collect::<Result<_, _>>()?;
        for _ in 0..round[0].parse().unwrap_or(0) {
            for file in &files {
                done &= file.read_at(&mut [0; 1024], 0).is_ok();
            }
        }
    }
    other.kill()?;
    other.wait()?;
    Ok(done)
}

/// Writes so many pages of a file in memory before and after a write that takes SYS_ADMIN and changes nothing.
fn writes(before: &str, after: &str) -> std::io::Result<bool> {
    const SETTING: &str = "/proc/sys/kernel/dmesg_restrict";
    let value = std::fs::read(SETTING)?;
    let mut setting = File::options().write(true).open(SETTING)?;
    let mut file = tempfile::tempfile_in("/dev/shm")?;
    let mut pages =
        |count: &str| (0..count.parse().unwrap_or(0)).all(|_| file.write_all(&[1; 4096]).is_ok());
    Ok(pages(before) && setting.write_all(&value).is_ok() && pages(after))
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

/// Starts a container as the libraries of test suites do: through the engine's API, without any client program. Waits for
/// its end, and removes it.
fn start_container(name: &str) -> Option<()> {
    let wanted = r#"{"Image": "gt-corpus:1", "Cmd": ["sh", "-ec", "chown 1 /srv; chroot / true"],
        "HostConfig": {"NetworkMode": "none"}}"#;
    asked("POST", &format!("/containers/create?name={name}"), wanted)?;
    let done = asked("POST", &format!("/containers/{name}/start"), "")
        .and_then(|_| asked("POST", &format!("/containers/{name}/wait"), ""));
    asked("DELETE", &format!("/containers/{name}?force=1"), "")?;
    done?.contains("\"StatusCode\":0").then_some(())
}

/// The engine's answer; `None` if it refuses.
fn asked(method: &str, path: &str, body: &str) -> Option<String> {
    let mut engine = UnixStream::connect("/var/run/docker.sock").ok()?;
    let length = body.len();
    write!(
        engine,
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    engine.read_to_string(&mut answer).ok()?;
    if !answer.split(' ').nth(1)?.starts_with('2') {
        eprintln!("{method} {path}: {answer}");
        return None;
    }
    Some(answer)
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
