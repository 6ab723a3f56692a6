//! The daemon: totals that outlive it, and who may ask for them.

use std::{
    fs::Permissions,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use capaudit_core::{
    capability::{CapSet, Capability},
    report::Report,
};
use libtest_mimic::{Failed, Trial};
use nix::{sys::signal, unistd::Pid};

use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    container::docker,
};

const IMAGE: &str = "gt-corpus:1";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("daemon::totals_outlive_a_restart", restart),
        Trial::test("daemon::running_containers_are_attached_to", running),
        Trial::test("daemon::metrics_are_served_on_loopback", metrics),
        Trial::test("daemon::a_thousand_connections_blind_nobody", crowd),
        Trial::test("daemon::only_the_group_may_ask", peers),
        Trial::test("daemon::gives_up_what_it_does_not_need", privileges),
        Trial::test("daemon::bad_starts", bad_starts),
    ]
}

/// A daemon of a test's own.
pub(crate) struct Daemon {
    pub directory: tempfile::TempDir,
    child: Option<Child>,
}

impl Daemon {
    pub(crate) fn start(options: &[&str]) -> Result<Self, Failed> {
        Self::start_by(&[], options)
    }

    /// One that these words start.
    pub(crate) fn start_by(by: &[&str], options: &[&str]) -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        let mut daemon = Self {
            directory,
            child: None,
        };
        daemon.begin_by(by, options)?;
        Ok(daemon)
    }

    /// Starts it, and returns when it says that it is ready, as to systemd.
    pub(crate) fn begin(&mut self, options: &[&str]) -> Verdicts {
        self.begin_by(&[], options)
    }

    fn begin_by(&mut self, by: &[&str], options: &[&str]) -> Verdicts {
        std::fs::create_dir_all(self.directory.path().join("run"))?;
        let place = self.directory.path().join("notify");
        let _ = std::fs::remove_file(&place);
        let notified = UnixDatagram::bind(&place)?;
        notified.set_read_timeout(Some(Duration::from_secs(20)))?;
        let words = [by, &[CAPAUDIT]].concat();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(["daemon", "--save-every", "1s", "--socket"])
            .arg(self.socket())
            .arg("--state")
            .arg(self.directory.path().join("state"))
            .args(options)
            .env("NOTIFY_SOCKET", &place)
            .stderr(Stdio::piped())
            .spawn()?;
        self.child = Some(child);
        let mut message = [0; 256];
        let length = notified.recv(&mut message)?;
        ensure(
            message[..length].starts_with(b"READY=1"),
            String::from_utf8_lossy(&message[..length]),
        )
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("run/capaudit.sock")
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(CAPAUDIT);
        command
            .args(words.first())
            .arg("--socket")
            .arg(self.socket())
            .args(words.get(1..).unwrap_or_default());
        command
    }

    /// capaudit as nobody, in this group.
    pub(crate) fn asked_by(&self, group: &str, words: &[&str]) -> Result<Command, Failed> {
        // The binary's own directory may be root's alone.
        let program = self.directory.path().join("capaudit");
        if !program.exists() {
            std::fs::copy(CAPAUDIT, &program)?;
            std::fs::set_permissions(self.directory.path(), Permissions::from_mode(0o755))?;
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", group, "--clear-groups"])
            .arg(&program)
            .args(words)
            .arg("--socket")
            .arg(self.socket());
        Ok(command)
    }

    pub(crate) fn pid(&self) -> Result<Pid, Failed> {
        let child = self.child.as_ref().ok_or("no daemon")?;
        Ok(Pid::from_raw(i32::try_from(child.id())?))
    }

    pub(crate) fn end(&mut self) -> Result<ExitStatus, Failed> {
        signal::kill(self.pid()?, signal::Signal::SIGTERM)?;
        Ok(self.child.take().ok_or("no daemon")?.wait()?)
    }

    /// The same, with all that it said.
    pub(crate) fn end_with_words(&mut self) -> Result<(ExitStatus, String), Failed> {
        signal::kill(self.pid()?, signal::Signal::SIGTERM)?;
        let output = self.child.take().ok_or("no daemon")?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status, text))
    }

    /// Directory of its totals.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn live(&self) -> Result<Report, Failed> {
        let output = self
            .command(&["report", "--live", "--format", "json"])
            .output()?;
        ensure(
            output.status.success(),
            String::from_utf8_lossy(&output.stderr),
        )?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn recommended(report: &Report, name: &str) -> Result<CapSet, Failed> {
    report
        .subjects
        .iter()
        .find(|subject| subject.name == name)
        .map(|subject| subject.cap_add)
        .ok_or_else(|| format!("no {name} in {:?}", report.subjects).into())
}

fn restart() -> Verdicts {
    let mut daemon = Daemon::start(&[])?;
    docker(&[
        "run",
        "--rm",
        "--name",
        "daemon-before",
        IMAGE,
        "chown",
        "1",
        "/opt",
    ])?;
    ensure(daemon.end()?.success(), "the daemon failed")?;
    ensure(!daemon.socket().exists(), "its socket is left")?;
    daemon.begin(&[])?;
    docker(&[
        "run",
        "--rm",
        "--name",
        "daemon-after",
        IMAGE,
        "chroot",
        "/",
        "true",
    ])?;
    let report = daemon.live()?;
    ensure(
        recommended(&report, "daemon-before")? == CapSet::from(Capability::CHOWN),
        &report,
    )?;
    ensure(
        recommended(&report, "daemon-after")? == CapSet::from(Capability::SYS_CHROOT),
        &report,
    )?;
    // Killed, it has what was saved last.
    std::thread::sleep(Duration::from_millis(1500));
    signal::kill(daemon.pid()?, signal::Signal::SIGKILL)?;
    daemon.child.take().ok_or("no daemon")?.wait()?;
    daemon.begin(&[])?;
    let report = daemon.live()?;
    ensure(
        recommended(&report, "daemon-after")? == CapSet::from(Capability::SYS_CHROOT),
        &report,
    )
}

fn running() -> Verdicts {
    let _ = Command::new("docker")
        .args(["rm", "-f", "daemon-running"])
        .output();
    docker(&[
        "run",
        "-d",
        "--name",
        "daemon-running",
        IMAGE,
        "sleep",
        "600",
    ])?;
    let daemon = Daemon::start(&[])?;
    let executed = docker(&["exec", "daemon-running", "chown", "1", "/opt"]);
    let report = daemon.live();
    docker(&["rm", "-f", "daemon-running"])?;
    executed?;
    let report = report?;
    ensure(
        recommended(&report, "daemon-running")? == CapSet::from(Capability::CHOWN),
        &report,
    )?;
    ensure(!report.session.complete, &report.session)
}

fn metrics() -> Verdicts {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let _daemon = Daemon::start(&["--metrics", &address.to_string()])?;
    docker(&[
        "run",
        "--rm",
        "--name",
        "daemon-measured",
        IMAGE,
        "chown",
        "1",
        "/opt",
    ])?;
    let get = |path: &str| -> Result<String, Failed> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = get("/metrics")?;
    ensure(answer.starts_with("HTTP/1.0 200"), &answer)?;
    let wanted = "capaudit_needed{kind=\"container\",name=\"daemon-measured\",image=\"gt-corpus:1\",project=\"\",service=\"\",capability=\"CHOWN\"} 1";
    ensure(answer.lines().any(|line| line == wanted), &answer)?;
    ensure(answer.ends_with("# EOF\n"), &answer)?;
    ensure(get("/")?.starts_with("HTTP/1.0 404"), "no 404")
}

/// Whoever holds a thousand connections, of a daemon that may have few descriptors, takes none that looking at what
/// containers execute needs.
fn crowd() -> Verdicts {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let daemon = Daemon::start_by(
        &["prlimit", "--nofile=256:256"],
        &["--metrics", &address.to_string()],
    )?;
    let script = format!(
        "for i in $(seq 1000); do exec {{fd}}<>/dev/tcp/127.0.0.1/{}; done; sleep 60",
        address.port()
    );
    let mut crowd = Command::new("prlimit")
        .args(["--nofile=2000:2000", "bash", "-c", &script])
        .spawn()?;
    // Those beyond what waits in the kernel's queue go on trying.
    let of = format!("/proc/{}/fd", crowd.id());
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::fs::read_dir(&of)?.count() < 100 {
        ensure(Instant::now() < deadline, "it does not connect")?;
        std::thread::sleep(Duration::from_millis(20));
    }
    let peers: Vec<std::os::unix::net::UnixStream> = (0..200)
        .map(|_| std::os::unix::net::UnixStream::connect(daemon.socket()))
        .collect::<Result<_, _>>()?;
    for number in 0..10 {
        let name = format!("daemon-crowded-{number}");
        docker(&["run", "--rm", "--name", &name, IMAGE, "chown", "1", "/opt"])?;
    }
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()?))?.count();
    drop(peers);
    crowd.kill()?;
    crowd.wait()?;
    ensure(descriptors < 200, descriptors)?;
    let report = daemon.live()?;
    ensure(report.session.lost_events == 0, &report.session)?;
    for number in 0..10 {
        let name = format!("daemon-crowded-{number}");
        let found = report.subjects.iter().find(|it| it.name == name);
        let found = found.ok_or_else(|| format!("no {name}"))?;
        ensure(found.incomplete.is_empty(), found)?;
        ensure(
            found.cap_add == CapSet::from(Capability::CHOWN),
            found.cap_add,
        )?;
    }
    Ok(())
}

fn peers() -> Verdicts {
    let daemon = Daemon::start(&["--group", "daemon"])?;
    let ask = |group: &str| {
        daemon
            .asked_by(group, &["report", "--live"])?
            .output()
            .map_err(Failed::from)
    };
    let member = ask("daemon")?;
    ensure(
        member.status.success(),
        String::from_utf8_lossy(&member.stderr),
    )?;
    let stranger = ask("nogroup")?;
    let text = String::from_utf8_lossy(&stranger.stderr);
    ensure(stranger.status.code() == Some(2), stranger.status)?;
    ensure(
        text.lines().count() == 1 && text.contains("you may not ask"),
        &text,
    )?;
    // Credentials count even where the mode lets somebody in.
    std::fs::set_permissions(daemon.socket(), Permissions::from_mode(0o666))?;
    let stranger = ask("nogroup")?;
    let text = String::from_utf8_lossy(&stranger.stderr);
    ensure(
        stranger.status.code() == Some(2) && text.contains("refuses"),
        &text,
    )
}

fn privileges() -> Verdicts {
    let daemon = Daemon::start(&[])?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()?))?;
    for line in status
        .lines()
        .filter(|line| line.starts_with("CapEff:") || line.starts_with("CapPrm:"))
    {
        let set: CapSet = line[7..]
            .trim()
            .parse()
            .map_err(|error| format!("{error}"))?;
        let kept = capaudit_tracer::privilege::TO_OBSERVE;
        ensure(set.difference(kept).is_empty(), line)?;
    }
    Ok(())
}

fn bad_starts() -> Verdicts {
    let daemon = Daemon::start(&[])?;
    let refused = |words: &[&str], wanted: &str| -> Verdicts {
        let output = Command::new(CAPAUDIT).arg("daemon").args(words).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure(output.status.code() == Some(2), (words, &text))?;
        ensure(text.contains(wanted) && !text.contains("panic"), &text)
    };
    let other = tempfile::tempdir()?;
    let place = |name: &str| other.path().join(name).to_string_lossy().into_owned();
    let (socket, state) = (place("s"), place("state"));
    let taken = daemon.socket().to_string_lossy().into_owned();
    refused(
        &["--socket", &taken, "--state", &state],
        "another capaudit daemon",
    )?;
    refused(
        &[
            "--socket",
            &socket,
            "--state",
            &state,
            "--group",
            "no-such-group",
        ],
        "no group",
    )?;
    refused(&["--metrics", "0.0.0.0:9477"], "loopback")?;
    std::fs::write(other.path().join("state/session.json"), "{")?;
    refused(
        &["--socket", &socket, "--state", &state],
        "move the file away",
    )?;
    let left = std::fs::read_to_string(other.path().join("state/session.json"))?;
    ensure(left == "{", left)
}
