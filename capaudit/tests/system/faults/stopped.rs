//! SIGTERM and SIGINT end capaudit soon, whatever it waits for by then.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat};

use super::{payload, until};
use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    daemon::Daemon,
    mounts,
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::stopped_while_a_file_system_is_silent", || {
            thrice(silent)
        }),
        Trial::test("faults::stopped_daemon_of_a_silent_container", || {
            thrice(silent_container)
        }),
        Trial::test("faults::stopped_while_nobody_reads_a_fifo", || thrice(fifo)),
        Trial::test("faults::stopped_while_an_engine_is_silent", || {
            thrice(engine)
        }),
        Trial::test("faults::stopped_while_nobody_reads_its_output", || {
            thrice(output)
        }),
        Trial::test("faults::stopped_while_disk_and_journal_are_full", || {
            thrice(journal)
        }),
    ]
}

/// Where much else runs, capaudit may not have come as far as it should when the signal comes. What waits for ever, or for
/// seconds, does so each time.
fn thrice(test: fn() -> Verdicts) -> Verdicts {
    test().or_else(|_late| test()).or_else(|_late| test())
}

/// A second, and as much again where much else runs.
const SOON: Duration = Duration::from_secs(2);
/// What a test waits for is under way by then.
const UNDER_WAY: Duration = Duration::from_millis(700);

/// capaudit, which goes when the test does.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self, Failed> {
        Ok(Self(command.spawn()?))
    }

    fn capaudit(words: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        let mut command = Command::new(CAPAUDIT);
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Sends a signal, and waits for the end, which must be soon.
    fn end(mut self, signal: Signal) -> Result<ExitStatus, Failed> {
        ensure(self.0.try_wait()?.is_none(), "it has ended already")?;
        kill(Pid::from_raw(i32::try_from(self.0.id())?), signal)?;
        let sent = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure(sent.elapsed() < SOON, "it does not end")?;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file system that does not answer any more.
struct Silent(Running);

impl Silent {
    /// Returns when it does not. `words` execute the rest of theirs.
    fn start(words: &[&str], directory: &Path) -> Result<Self, Failed> {
        let served = crate::watch::payload(&["silent", &directory.to_string_lossy()])?;
        let child = Command::new(words.first().unwrap_or(&"env"))
            .args(words.get(1..).unwrap_or_default())
            .args(served)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut silent = Self(Running(child));
        let mut line = String::new();
        let output = silent.0.0.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        ensure(line == "silent\n", line)?;
        Ok(silent)
    }
}

/// Words with the session's name and this process's number.
fn named(words: &[&str], session: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let word = |word: &&str| match *word {
        "SESSION" => session.to_owned(),
        "OWN" => own.clone(),
        other => other.to_owned(),
    };
    words.iter().map(word).collect()
}

/// The command is what is silent, or what is watched.
fn silent() -> Verdicts {
    for (words, signal) in [
        (&["run", "--save", "SESSION", "--"][..], Signal::SIGTERM),
        (&["run", "--save", "SESSION", "--"], Signal::SIGINT),
        (
            &["watch", "--json", "--save", "SESSION", "--"],
            Signal::SIGTERM,
        ),
        (
            &["watch", "--json", "--save", "SESSION", "--duration", "1h"],
            Signal::SIGINT,
        ),
        (
            &[
                "attach",
                "--save",
                "SESSION",
                "--duration",
                "1h",
                "--pid",
                "OWN",
            ],
            Signal::SIGTERM,
        ),
    ] {
        let directory = tempfile::tempdir()?;
        let session = directory.path().join("session.json");
        let (place, session_name) = (directory.path().join("mounted"), session.to_string_lossy());
        std::fs::create_dir(&place)?;
        let words = named(words, &session_name);
        let is_command = words.last().is_some_and(|word| word == "--");
        let served = crate::watch::payload(&["silent", &place.to_string_lossy()])?;
        let mut command = Running::capaudit(&words);
        let (_others, capaudit) = if is_command {
            (None, Running::start(command.args(served))?)
        } else {
            let capaudit = Running::start(&mut command)?;
            // It observes by then.
            std::thread::sleep(4 * UNDER_WAY);
            (Some(Silent::start(&[], &place)?), capaudit)
        };
        std::thread::sleep(if is_command { 4 * UNDER_WAY } else { UNDER_WAY });
        let ended = capaudit.end(signal);
        ended.map_err(|error| format!("{words:?}: {}", error.message().unwrap_or_default()))?;
        let ledger = capaudit_storage::load(&session)?;
        ensure(!ledger.subjects.is_empty(), &words)?;
    }
    Ok(())
}

/// A control group that is called as a container's.
struct Container(std::path::PathBuf);

impl Container {
    fn new() -> Result<Self, Failed> {
        let name = format!("docker-51e27{:059x}.scope", std::process::id());
        let group = mounts::unified()?.join(name);
        std::fs::create_dir(&group)?;
        Ok(Self(group))
    }

    fn enter(&self) -> String {
        let processes = self.0.join("cgroup.procs");
        format!(
            "echo 0 > {}; exec unshare --mount \"$@\"",
            processes.display()
        )
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = until("empty", || Ok(std::fs::remove_dir(&self.0).is_ok()));
    }
}

/// It goes on observing others, and ends when it is to.
fn silent_container() -> Verdicts {
    let (_file, path) = temporary()?;
    let directory = tempfile::tempdir()?;
    let mut daemon = Daemon::start(&[])?;
    let container = Container::new()?;
    let _silent = Silent::start(&["sh", "-c", &container.enter(), "sh"], directory.path())?;
    std::thread::sleep(UNDER_WAY);
    let innocent = Command::new("sh")
        .args(["-c", &payload(&["containers", "1", &path])?])
        .status()?;
    ensure(innocent.success(), innocent)?;
    until("observed", || {
        let subjects = daemon.live()?.subjects;
        let innocent = subjects
            .iter()
            .find(|subject| subject.name.starts_with("faded"));
        Ok(innocent.is_some_and(|subject| {
            subject
                .capabilities
                .iter()
                .any(|member| member.capability.name() == "CHOWN")
        }))
    })?;
    let began = Instant::now();
    ensure(daemon.end()?.success(), "the daemon failed")?;
    ensure(began.elapsed() < SOON, began.elapsed())?;
    capaudit_storage::load(&daemon.state().join("session.json"))?;
    Ok(())
}

/// Somebody has it open, and never reads: it has no room.
fn fifo() -> Verdicts {
    for option in ["--save", "--output"] {
        let directory = tempfile::tempdir()?;
        let place = directory.path().join("fifo");
        mknodat(CWD, &place, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let open = File::options().read(true).write(true).open(&place)?;
        fill(&open)?;
        let name = place.to_string_lossy();
        let mut command = Running::capaudit(&["run", option, &name, "--", "true"]);
        let capaudit = Running::start(command.env("TMPDIR", directory.path()))?;
        std::thread::sleep(5 * UNDER_WAY);
        let status = capaudit.end(Signal::SIGTERM)?;
        ensure(status.code() == Some(2), status)?;
        let saved = std::fs::read_dir(directory.path())?
            .flatten()
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with("capaudit-session-")
            })
            .map(|entry| capaudit_storage::load(&entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        ensure(saved.len() == usize::from(option == "--save"), saved.len())?;
    }
    Ok(())
}

/// Until there is no room left in a pipe.
fn fill(pipe: &File) -> Verdicts {
    let before = fcntl_getfl(pipe)?;
    fcntl_setfl(pipe, before | OFlags::NONBLOCK)?;
    let mut pipe = pipe;
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    Ok(fcntl_setfl(pipe, before)?)
}

/// Takes connections, answers so many of them with a word that says nothing, and the others never.
fn listen(place: &Path, answers: usize) -> Verdicts {
    let listener = UnixListener::bind(place)?;
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            if held.len() < answers {
                let _ = greet(&stream);
            }
            held.push(stream);
        }
    });
    Ok(())
}

fn greet(mut stream: &UnixStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let _length = stream.read(&mut request)?;
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    )
}

/// As it begins to observe, and as names are asked for in the end.
fn engine() -> Verdicts {
    let silent = |answers| -> Result<_, Failed> {
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("engine");
        listen(&socket, answers)?;
        let host = format!("unix://{}", socket.display());
        Ok((directory, host))
    };
    for words in [
        &["run", "--", "sleep", "60"][..],
        &["attach", "--duration", "1h", "--pid", "OWN"],
        &["watch", "--json", "--duration", "1h"],
    ] {
        let (_directory, host) = silent(0)?;
        let mut command = Running::capaudit(&named(words, ""));
        let capaudit = Running::start(command.env("DOCKER_HOST", host))?;
        std::thread::sleep(Duration::from_millis(300));
        let ended = capaudit.end(Signal::SIGTERM);
        ended.map_err(|error| format!("{words:?}: {}", error.message().unwrap_or_default()))?;
    }
    // One that answers once is not waited for with a container's name.
    let (_file, path) = temporary()?;
    let script = payload(&["containers", "1", &path])?;
    let (_directory, host) = silent(1)?;
    let began = Instant::now();
    let mut command = Running::capaudit(&["run", "--", "sh", "-c", &script]);
    let status = command.env("DOCKER_HOST", host).status()?;
    ensure(
        status.success() && began.elapsed() < 3 * SOON,
        (status, began.elapsed()),
    )
}

/// A pipe that has no room, and nobody who reads it.
fn full() -> Result<(OwnedFd, OwnedFd), Failed> {
    let (reader, writer) = std::io::pipe()?;
    let writer = OwnedFd::from(writer);
    fill(&File::from(writer.try_clone()?))?;
    Ok((reader.into(), writer))
}

fn output() -> Verdicts {
    let (_file, path) = temporary()?;
    let storm = payload(&["fork-storm", "20", &path])?;
    for words in [
        &["run", "--save", "SESSION", "--", "sh", "-c", &storm][..],
        &[
            "watch", "--json", "--save", "SESSION", "--", "sh", "-c", &storm,
        ],
        &[
            "watch", "--plain", "--save", "SESSION", "--", "sh", "-c", &storm,
        ],
        &[
            "attach",
            "--save",
            "SESSION",
            "--duration",
            "1s",
            "--pid",
            "OWN",
        ],
    ] {
        let directory = tempfile::tempdir()?;
        let session = directory.path().join("session.json");
        let name = session.to_string_lossy();
        let words = named(words, &name);
        let (_reader, writer) = full()?;
        let mut command = Running::capaudit(&words);
        command.stdout(writer.try_clone()?).stderr(writer);
        let capaudit = Running::start(&mut command)?;
        drop(command);
        std::thread::sleep(6 * UNDER_WAY);
        let ended = capaudit.end(Signal::SIGTERM);
        ended.map_err(|error| format!("{words:?}: {}", error.message().unwrap_or_default()))?;
        capaudit_storage::load(&session)?;
    }
    Ok(())
}

/// There is no room for totals, and nobody reads what the daemon says about that.
fn journal() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let disk = super::disk::Disk::over(directory.path())?;
    let (_reader, writer) = full()?;
    let socket = directory.path().join("socket");
    let mut command = Running::capaudit(&["daemon", "--save-every", "1s", "--socket"]);
    command
        .arg(&socket)
        .arg("--state")
        .arg(directory.path().join("state"))
        .env("TMPDIR", directory.path())
        .stderr(writer);
    let daemon = Running::start(&mut command)?;
    drop(command);
    until("listening", || Ok(socket.exists()))?;
    std::thread::sleep(2 * UNDER_WAY);
    disk.fill()?;
    std::thread::sleep(3 * UNDER_WAY);
    let status = daemon.end(Signal::SIGTERM)?;
    ensure(status.code() == Some(2), status)
}
