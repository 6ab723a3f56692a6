//! A container engine that comes, goes, and hangs: one of the test's own, as others use the machine's.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use capaudit_core::{ledger::Losses, report::SubjectReport};
use libtest_mimic::{Failed, Trial};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Ended, Run, payload, until};
use crate::{
    audit::{CAPAUDIT, Verdicts, capability, ensure, needs},
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::engine_restarted_meanwhile", restarted),
        Trial::test("faults::engine_started_later", later),
        Trial::test("faults::engine_hangs", hangs),
        Trial::test("faults::fifty_containers_of_an_engine", fifty),
    ]
}

const IMAGE: &str = "capaudit-faults:1";

/// A dockerd of its own, with socket and data in a directory that is removed.
struct Engine {
    directory: tempfile::TempDir,
    child: Option<Child>,
}

impl Engine {
    /// One that runs, with an image that has nothing but busybox.
    fn new() -> Result<Self, Failed> {
        let mut engine = Self {
            directory: tempfile::tempdir()?,
            child: None,
        };
        engine.start()?;
        let busybox = "d=$(mktemp -d); mkdir $d/bin; cp $(command -v busybox) $d/bin
             tar -C $d -c . | docker import - ";
        let imported = engine
            .client(Command::new("sh"))
            .args(["-ec", &format!("{busybox}{IMAGE}; rm -r $d")])
            .stdout(Stdio::null())
            .status()?;
        ensure(imported.success(), "no image (busybox-static)")?;
        Ok(engine)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&mut self) -> Verdicts {
        let log = std::fs::File::create(self.place("log"))?;
        // In a network namespace of its own: told to do without a bridge, a dockerd removes the machine's docker0
        // (`removeDefaultBridgeInterface`, daemon/daemon_unix.go), which is another engine's.
        let child = Command::new("unshare")
            .args(["--net", "dockerd"])
            .arg("--data-root")
            .arg(self.place("data"))
            .arg("--exec-root")
            .arg(self.place("exec"))
            .arg("--pidfile")
            .arg(self.place("pid"))
            .arg(format!("--host=unix://{}", self.place("sock").display()))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--storage-driver=vfs", "--live-restore"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        until("an engine", || Ok(self.docker(&["version"]).is_ok()))
    }

    fn stop(&mut self) -> Verdicts {
        if let Some(mut child) = self.child.take() {
            kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
            child.wait()?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Verdicts {
        let child = self.child.as_ref().ok_or("it does not run")?;
        Ok(kill(Pid::from_raw(i32::try_from(child.id())?), signal)?)
    }

    /// A client of it, capaudit, say.
    fn client(&self, mut command: Command) -> Command {
        command.env("DOCKER_HOST", host(&self.place("sock")));
        command
    }

    fn docker(&self, words: &[&str]) -> Result<String, Failed> {
        let output = self.client(Command::new("docker")).args(words).output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(output.status.success(), (words, text))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs a script in a container.
    fn run(&self, name: &str, options: &[&str], script: &str) -> Result<String, Failed> {
        let mut words = vec!["run", "--network", "none", "--name", name];
        words.extend(options);
        words.extend([IMAGE, "/bin/busybox", "sh", "-c", script]);
        self.docker(&words)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.signal(Signal::SIGCONT);
        if let Ok(left) = self.docker(&["ps", "--all", "--quiet"]) {
            let left: Vec<&str> = left.lines().collect();
            if !left.is_empty() {
                let _ = self.docker(&[&["rm", "-f"][..], &left].concat());
            }
        }
        let _ = self.stop();
        // What an engine leaves mounted for containers that outlive it would keep the directory.
        let _ = Command::new("umount")
            .args(["-l", "--recursive"])
            .arg(self.place("data"))
            .stderr(Stdio::null())
            .status();
    }
}

fn host(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

fn called<'a>(ended: &'a Ended, name: &str) -> Result<&'a SubjectReport, Failed> {
    let found = ended
        .report
        .subjects
        .iter()
        .find(|subject| subject.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = ended
            .report
            .subjects
            .iter()
            .map(|subject| &subject.name)
            .collect();
        format!("no {name}, only {names:?}").into()
    })
}

const CHOWN: &str = "busybox chown 1 /bin/busybox";

/// Containers of before, of meanwhile and of afterwards have their names.
fn restarted() -> Verdicts {
    let mut engine = Engine::new()?;
    let run = Run::start_with(engine.client(Command::new(CAPAUDIT)), &["--strict"], "true")?;
    engine.run("before", &["--rm"], CHOWN)?;
    // It outlives its engine, and does something while there is none.
    let script = format!("busybox sleep 1.5; {CHOWN}; busybox sleep 600");
    engine.run("meanwhile", &["-d"], &script)?;
    engine.stop()?;
    std::thread::sleep(Duration::from_secs(2));
    engine.start()?;
    // At once: nobody has had time to connect again.
    engine.run("afterwards", &["--rm"], CHOWN)?;
    std::thread::sleep(Duration::from_secs(1));
    engine.run("again", &["--rm"], CHOWN)?;
    let ended = run.end()?;
    ensure(
        ended.status.success(),
        (ended.status, &ended.report.session),
    )?;
    for name in ["before", "meanwhile", "afterwards", "again"] {
        let container = called(&ended, name)?;
        ensure(
            container.image.as_deref() == Some(IMAGE),
            (name, &container.image),
        )?;
        needs(container, &["CHOWN"])?;
        ensure(
            capability(container, "CHOWN")?.checks.granted == 1,
            container,
        )?;
    }
    Ok(())
}

/// There is no engine to begin with, nor a socket; then there is one that has started containers already.
fn later() -> Verdicts {
    let engine = Engine::new()?;
    let socket = engine.place("later");
    let mut capaudit = Command::new(CAPAUDIT);
    capaudit.env("DOCKER_HOST", host(&socket));
    let run = Run::start_with(capaudit, &["--strict"], "true")?;
    engine.run("unseen", &[], CHOWN)?;
    std::os::unix::fs::symlink(engine.place("sock"), &socket)?;
    std::thread::sleep(Duration::from_secs(1));
    engine.run("seen", &["--rm"], CHOWN)?;
    let ended = run.end()?;
    ensure(
        ended.status.success(),
        (ended.status, &ended.report.session),
    )?;
    for name in ["unseen", "seen"] {
        needs(called(&ended, name)?, &["CHOWN"])?;
    }
    Ok(())
}

/// It takes connections, but never answers. What it is asked about in vain goes by its id, and that is found out once,
/// not for each container.
fn hangs() -> Verdicts {
    const UNKNOWN: usize = 10;
    let (_file, path) = temporary()?;
    let engine = Engine::new()?;
    let script = payload(&["containers", &UNKNOWN.to_string(), &path])?;
    let capaudit = engine.client(Command::new(CAPAUDIT));
    let run = Run::start_with(capaudit, &["--strict"], &script)?;
    engine.run("known", &["--rm"], CHOWN)?;
    engine.signal(Signal::SIGSTOP)?;
    let began = Instant::now();
    let ended = run.end()?;
    // Two seconds for each would be twenty.
    ensure(began.elapsed() < Duration::from_secs(15), began.elapsed())?;
    let by_id = ended.report.subjects.iter().filter(|subject| {
        let id = subject.id.as_deref().unwrap_or_default();
        id.starts_with("faded") && subject.name == id[..12]
    });
    ensure(by_id.count() == UNKNOWN, &ended.report.subjects)?;
    needs(called(&ended, "known")?, &["CHOWN"])?;
    // And one that hangs from the start keeps nobody waiting for long.
    let began = Instant::now();
    let output = engine
        .client(Command::new(CAPAUDIT))
        .args(["run", "--", "true"])
        .output()?;
    ensure(output.status.success(), output.status)?;
    ensure(began.elapsed() < Duration::from_secs(6), began.elapsed())
}

/// Two at a time.
fn fifty() -> Verdicts {
    const EACH: usize = 25;
    let engine = Engine::new()?;
    let run = Run::start_with(engine.client(Command::new(CAPAUDIT)), &["--strict"], "true")?;
    std::thread::scope(|scope| -> Verdicts {
        let jobs: Vec<_> = ["even", "odd"]
            .into_iter()
            .map(|job| {
                let engine = &engine;
                scope.spawn(move || -> Result<(), String> {
                    for index in 0..EACH {
                        let name = format!("{job}-{index}");
                        let ran = engine.run(&name, &["--rm"], CHOWN);
                        ran.map_err(|error| format!("{error:?}"))?;
                    }
                    Ok(())
                })
            })
            .collect();
        for job in jobs {
            job.join().map_err(|_panic| "panicked")??;
        }
        Ok(())
    })?;
    let ended = run.end()?;
    // What a program has executed may be gone before it can be seen whether it has capabilities. Nothing else is missing.
    let losses = &ended.report.session.losses;
    let expected = Losses {
        files: losses.files,
        ..Losses::default()
    };
    ensure(*losses == expected, losses)?;
    let status = if losses.is_none() { 0 } else { 4 };
    ensure(ended.status.code() == Some(status), (ended.status, losses))?;
    for job in ["even", "odd"] {
        for index in 0..EACH {
            let container = called(&ended, &format!("{job}-{index}"))?;
            needs(container, &["CHOWN"])?;
            ensure(
                capability(container, "CHOWN")?.checks.granted == 1,
                container,
            )?;
        }
    }
    Ok(())
}
