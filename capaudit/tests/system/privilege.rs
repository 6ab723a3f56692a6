//! Least privilege of capaudit itself: what it keeps, what its commands have, what it says of itself.

use std::{
    io::Read as _,
    net::{TcpListener, TcpStream},
    os::unix::fs::{MetadataExt as _, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use capaudit_core::{
    advise::Evidence,
    capability::{CapSet, Capability},
    report::Report,
};
use capaudit_tracer::privilege::{NEEDED, TO_OBSERVE, TO_RAISE_PRIORITY, TO_SIGNAL, TO_WRITE};
use libtest_mimic::{Failed, Trial};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::{
    audit::{CAPAUDIT, Verdicts, audit, ensure},
    container::docker,
    daemon::Daemon,
    live::named,
    tmux::Tmux,
};

const IMAGE: &str = "gt-corpus:1";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("privilege::what_is_not_needed_is_given_up", given_up),
        Trial::test("privilege::screens_give_it_up_too", screen),
        Trial::test("privilege::commands_have_what_they_would_have", commands),
        Trial::test("privilege::signals_reach_another_users_command", signals),
        Trial::test("privilege::attaching_blindly_is_refused", blind),
        Trial::test("privilege::capaudit_needs_what_it_documents", itself),
        Trial::test("privilege::its_unit_grants_what_it_needs", unit),
        Trial::test("privilege::files_are_the_callers_and_private", files),
    ]
}

/// A child that goes when the test does.
struct Running(Child);

impl Running {
    fn start(words: &[&str]) -> Result<Self, Failed> {
        let child = Command::new(CAPAUDIT)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    fn pid(&self) -> Result<Pid, Failed> {
        Ok(Pid::from_raw(i32::try_from(self.0.id())?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // By signal, so that it ends what it has started.
        if let Ok(pid) = self.pid() {
            let _ = signal::kill(pid, Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}

/// What a thread may do.
#[derive(Debug, PartialEq, Eq)]
struct Sets {
    permitted: CapSet,
    effective: CapSet,
    has_new_privileges: bool,
}

/// Those of each thread of a process.
fn threads(pid: impl std::fmt::Display) -> Result<Vec<Sets>, Failed> {
    let mut all = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = match std::fs::read_to_string(task?.path().join("status")) {
            // It has ended since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            status => status?,
        };
        let field = |name: &str| -> Result<&str, Failed> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            Ok(line.ok_or_else(|| format!("no {name}"))?.trim())
        };
        let set = |name: &str| -> Result<CapSet, Failed> {
            field(name)?
                .parse()
                .map_err(|error| format!("{error}").into())
        };
        all.push(Sets {
            permitted: set("CapPrm:")?,
            effective: set("CapEff:")?,
            has_new_privileges: field("NoNewPrivs:")? == "0",
        });
    }
    Ok(all)
}

/// Whether this is the thread that opens links of others' processes.
fn is_looking(sets: &Sets) -> bool {
    let looks = CapSet::of(&[Capability::SYS_PTRACE, Capability::DAC_READ_SEARCH]);
    sets.permitted == looks && sets.effective == looks && !sets.has_new_privileges
}

/// Waits until every thread has exactly these left, or less: that which looks at others' processes.
fn becomes(what: &str, pid: u32, effective: CapSet, reserve: CapSet) -> Verdicts {
    let deadline = Instant::now() + Duration::from_secs(20);
    let wanted = Sets {
        permitted: effective.union(reserve),
        effective,
        has_new_privileges: false,
    };
    loop {
        let found = threads(pid)?;
        let is_one = found.contains(&wanted);
        if is_one && found.iter().all(|sets| *sets == wanted || is_looking(sets)) {
            return Ok(());
        }
        ensure(Instant::now() < deadline, (what, wanted.permitted, found))?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Children of a process that run capaudit.
fn own_child(pid: u32) -> Result<u32, Failed> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let path = format!("/proc/{pid}/task/{pid}/children");
        for child in std::fs::read_to_string(path)?.split_whitespace() {
            if std::fs::read_link(format!("/proc/{child}/exe")).ok() == Some(CAPAUDIT.into()) {
                return Ok(child.parse()?);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err("it has no such child".into())
}

fn given_up() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("file").display().to_string();
    let mut other = Command::new("sleep").arg("60").spawn()?;
    let pid = other.id().to_string();
    let sleep = ["--", "sleep", "30"];
    let checked = (|| {
        for (options, reserve) in [
            ([&["run"][..], &sleep].concat(), TO_SIGNAL),
            (
                [&["run", "--save", &file][..], &sleep].concat(),
                TO_SIGNAL.union(TO_WRITE),
            ),
            (vec!["attach", "--pid", &pid], CapSet::EMPTY),
            (vec!["attach", "--pid", &pid, "--output", &file], TO_WRITE),
            (vec!["watch", "--json"], CapSet::EMPTY),
            ([&["watch", "--plain"][..], &sleep].concat(), TO_SIGNAL),
        ] {
            let running = Running::start(&options)?;
            becomes(&options.join(" "), running.0.id(), TO_OBSERVE, reserve)?;
        }
        // What observes for `verify` is a process of its own.
        let verify = Running::start(&[&["verify"][..], &sleep].concat())?;
        let observer = own_child(verify.0.id())?;
        becomes("verify", observer, TO_OBSERVE, TO_SIGNAL.union(TO_WRITE))
    })();
    other.kill()?;
    other.wait()?;
    checked?;
    let daemon = Daemon::start(&[])?;
    let pid = u32::try_from(daemon.pid()?.as_raw())?;
    becomes("daemon", pid, TO_OBSERVE, CapSet::EMPTY)?;
    let live = daemon
        .command(&["watch", "--live", "--json"])
        .stdout(Stdio::null())
        .spawn()?;
    let live = Running(live);
    becomes("watch --live", live.0.id(), CapSet::EMPTY, CapSet::EMPTY)
}

fn screen() -> Verdicts {
    let tmux = Tmux::shell("privilege", 120, 40)?;
    let mark = format!("3{}", std::process::id());
    tmux.watch(&format!("-- sleep {mark}"))?;
    tmux.shows("CHECKS, one by one")?;
    let find = |is: &dyn Fn(&str) -> bool| -> Result<u32, Failed> {
        for process in std::fs::read_dir("/proc")? {
            let path = process?.path();
            let text = std::fs::read_to_string(path.join("cmdline")).unwrap_or_default();
            if text.contains(&mark)
                && is(&text)
                && let Some(Ok(pid)) = path.file_name().map(|name| name.to_string_lossy().parse())
            {
                return Ok(pid);
            }
        }
        Err("it does not run".into())
    };
    let capaudit = find(&|text| text.starts_with(CAPAUDIT))?;
    let sets = threads(capaudit)?;
    ensure(sets.len() >= 3, &sets)?;
    // Each thread has what it does: one observes, one draws and writes files, one reads the command's output.
    let reserves = [
        TO_SIGNAL.union(TO_WRITE).union(TO_OBSERVE),
        TO_WRITE,
        CapSet::EMPTY,
    ];
    for thread in &sets {
        ensure(
            (reserves.contains(&thread.permitted) || is_looking(thread))
                && thread.effective == thread.permitted.intersection(TO_OBSERVE)
                && !thread.has_new_privileges,
            &sets,
        )?;
    }
    let command = threads(find(&|text| text.starts_with("sleep"))?)?;
    let own = threads("self")?;
    ensure(command.first() == own.first(), (&command, &own))?;
    tmux.keys(&["q"])?;
    tmux.shows("status")?;
    Ok(())
}

/// Without the right to look at them, nothing is said of processes that run already, and that loudly.
fn blind() -> Verdicts {
    let mut other = Command::new("sleep").arg("60").spawn()?;
    let pid = other.id().to_string();
    let output = Command::new("setpriv")
        .args([
            "--bounding-set",
            "-all,+bpf,+perfmon,+syslog,+dac_read_search",
        ])
        .args([CAPAUDIT, "attach", "--pid", &pid, "--duration", "1s"])
        .output();
    other.kill()?;
    other.wait()?;
    let output = output?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.code() == Some(3), (output.status, &text))?;
    ensure(
        text.contains("CAP_SYS_PTRACE") && output.stdout.is_empty(),
        &text,
    )
}

/// What a command finds out about itself.
const ASK: [&str; 4] = [
    "grep",
    "-E",
    "^(Cap|NoNewPrivs|Seccomp|Uid|Gid)",
    "/proc/self/status",
];

fn commands() -> Verdicts {
    let directory = tempfile::tempdir()?;
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))?;
    let program = directory.path().join("capaudit").display().to_string();
    std::fs::copy(CAPAUDIT, &program)?;
    let root: &[&str] = &["env"];
    let few = &[
        "setpriv",
        "--bounding-set",
        "-all,+bpf,+perfmon,+syslog,+sys_ptrace,+dac_read_search,+chown",
    ];
    let ambient = "+bpf,+perfmon,+syslog,+sys_ptrace,+dac_read_search,+net_raw";
    let user = &[
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--inh-caps",
        ambient,
        "--ambient-caps",
        ambient,
    ];
    for starter in [root, few, user] {
        let run = |words: &[&str]| -> Result<Output, Failed> {
            let [first, rest @ ..] = starter else {
                return Err("no words".into());
            };
            Ok(Command::new(first).args(rest).args(words).output()?)
        };
        let plain = String::from_utf8(run(&ASK)?.stdout)?;
        ensure(plain.contains("CapEff"), &plain)?;
        let audited = run(&[&[&program, "run", "--"][..], &ASK].concat())?;
        ensure(
            audited.status.success(),
            String::from_utf8_lossy(&audited.stderr),
        )?;
        ensure(
            String::from_utf8_lossy(&audited.stdout) == plain,
            (&plain, &audited),
        )?;
        let watched = run(&[&[&program, "watch", "--json", "--"][..], &ASK].concat())?;
        ensure(
            String::from_utf8_lossy(&watched.stderr).contains(&plain),
            (&plain, &watched),
        )?;
    }
    Ok(())
}

fn signals() -> Verdicts {
    let mut running = Running::start(&[
        "run",
        "--",
        "setpriv",
        "--reuid",
        "65534",
        "--clear-groups",
        "sleep",
        "60",
    ])?;
    let pid = running.0.id();
    becomes("run", pid, TO_OBSERVE, TO_SIGNAL)?;
    // Until it is another user's.
    let children = format!("/proc/{pid}/task/{pid}/children");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        // Beside it, what looks at others' files.
        let slept = std::fs::read_to_string(&children)?
            .split_whitespace()
            .map(|child| std::fs::read_to_string(format!("/proc/{child}/comm")))
            .any(|comm| comm.is_ok_and(|comm| comm == "sleep\n"));
        if slept {
            break;
        }
        ensure(Instant::now() < deadline, "it never slept")?;
        std::thread::sleep(Duration::from_millis(20));
    }
    signal::kill(running.pid()?, Signal::SIGTERM)?;
    let began = Instant::now();
    let status = running.0.wait()?;
    use std::os::unix::process::ExitStatusExt as _;
    ensure(status.signal() == Some(Signal::SIGTERM as i32), status)?;
    ensure(began.elapsed() < Duration::from_secs(10), began.elapsed())
}

/// Of a report, what the command needs.
fn recommended(report: &Report) -> Result<CapSet, Failed> {
    let command = report.subjects.first().ok_or("no subject")?;
    Ok(command.cap_add)
}

/// Audited by itself, capaudit is told to need what its documentation says, no more and no less.
fn itself() -> Verdicts {
    let audited = audit(&[CAPAUDIT, "run", "--", "true"])?;
    audited.succeeded()?;
    let found = recommended(&audited.report)?;
    let documented = NEEDED.union(TO_RAISE_PRIORITY);
    ensure(documented.is_subset(found), (found, &audited.report))?;
    // What it keeps in reserve is in a list of its own making, and that it takes what it has for it, capset(2) does not tell.
    let command = audited.report.subjects.first().ok_or("no subject")?;
    for member in found.difference(documented).iter() {
        let finding = command
            .capabilities
            .iter()
            .find(|finding| finding.capability == member)
            .ok_or("no finding")?;
        ensure(
            TO_SIGNAL.contains(member) && finding.evidence == Evidence::Possible,
            finding,
        )?;
    }
    // Another user's process, and a program that root may not read without DAC_READ_SEARCH.
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("program");
    std::fs::copy("/bin/true", &program)?;
    for path in [directory.path(), &program] {
        chown(path, Some(65534), Some(65534))?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700))?;
    }
    let script = format!("while :; do {}; sleep 0.2; done", program.display());
    let mut other = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "sh",
            "-c",
            &script,
        ])
        .spawn()?;
    std::thread::sleep(Duration::from_millis(500));
    let pid = other.id().to_string();
    let audited = audit(&[CAPAUDIT, "attach", "--pid", &pid, "--duration", "3s"]);
    other.kill()?;
    other.wait()?;
    let audited = audited?;
    audited.succeeded()?;
    let found = recommended(&audited.report)?;
    ensure(
        found == NEEDED.union(TO_RAISE_PRIORITY),
        (found, &audited.report),
    )
}

/// `capaudit check` finds nothing in the unit that is shipped, against what the daemon did.
fn unit() -> Verdicts {
    let name = named("unit");
    let session = tempfile::NamedTempFile::new()?;
    let session = session.path().display().to_string();
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    // As the unit has it, by Nice=.
    let audited_by = [
        "nice", "-n", "-10", CAPAUDIT, "run", "--save", &session, "--",
    ];
    let mut daemon = Daemon::start_by(
        &audited_by,
        &["--group", "daemon", "--metrics", &address.to_string()],
    )?;
    let mut watching = daemon
        .asked_by("daemon", &["watch", "--live", "--json", "--count", "1"])?
        .stdout(Stdio::piped())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(500));
    docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--name",
        &name,
        IMAGE,
        "chown",
        "1",
        "/opt",
    ])?;
    ensure(watching.wait()?.success(), "watch --live failed")?;
    let mut line = String::new();
    watching
        .stdout
        .take()
        .ok_or("no output")?
        .read_to_string(&mut line)?;
    ensure(line.contains(&name), &line)?;
    let report = daemon.live()?;
    ensure(
        report.subjects.iter().any(|subject| subject.name == name),
        &report,
    )?;
    let mut stream = TcpStream::connect(address)?;
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics)?;
    ensure(metrics.contains(&name), &metrics)?;
    // Totals are saved every second.
    std::thread::sleep(Duration::from_millis(1500));
    let state = daemon.directory.path().join("state/session.json");
    let mode = std::fs::metadata(&state)?.mode();
    ensure(mode & 0o7777 == 0o600, format!("{mode:o}"))?;
    ensure(daemon.end()?.success(), "the daemon failed")?;

    let ledger = capaudit_storage::load(session.as_ref())?;
    let found = recommended(&Report::of(&ledger))?;
    ensure(found == NEEDED.union(Capability::CHOWN.into()), found)?;
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/capaudit.service");
    let output = Command::new(CAPAUDIT)
        .args(["check", "--against"])
        .arg(&unit)
        .arg(&session)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure(
        output.status.success()
            && text.starts_with("0 errors, 0 warnings, 0 notes; 1 of 1 checked"),
        (&text, String::from_utf8_lossy(&output.stderr)),
    )
}

/// Whether a file has this owner, group and mode.
type Is<'a> = dyn Fn(&PathBuf, (u32, u32, u32)) -> Verdicts + 'a;

/// What the caller's own programs may have planted for a file to be written: what is not theirs stays as it is.
fn planted(directory: &Path, run: &dyn Fn(&[&str]) -> Verdicts, is: &Is<'_>) -> Verdicts {
    let elsewhere = tempfile::tempdir()?;
    let (victim, own) = (elsewhere.path().join("victim"), directory.join("planted"));
    std::fs::write(&victim, "victim")?;
    std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o4755))?;
    let write = ["report", "run.json", "--output", "planted"];
    let caller = std::fs::metadata(directory)?;
    let refused = |what: &str| -> Verdicts {
        std::os::unix::fs::lchown(&own, Some(caller.uid()), Some(caller.gid()))?;
        let began = Instant::now();
        ensure(run(&write).is_err(), what)?;
        ensure(began.elapsed() < Duration::from_secs(5), what)?;
        std::fs::remove_file(&own)?;
        Ok(())
    };
    std::os::unix::fs::symlink(&victim, &own)?;
    refused("a link to a file of root's")?;
    std::os::unix::fs::symlink(elsewhere.path().join("new"), &own)?;
    refused("a link into a directory of root's")?;
    nix::unistd::mkfifo(&own, nix::sys::stat::Mode::S_IRUSR)?;
    refused("a pipe that nobody reads")?;
    ensure(std::fs::read(&victim)? == b"victim", "it was written")?;
    ensure(
        std::fs::read_dir(elsewhere.path())?.count() == 1,
        "a new file",
    )?;
    // By another name, a file of root's that others may execute as root.
    std::fs::hard_link(&victim, &own)?;
    run(&write)?;
    is(&own, (caller.uid(), caller.gid(), 0o600))?;
    std::fs::write(&own, "")?;
    std::fs::set_permissions(&own, PermissionsExt::from_mode(0o6777))?;
    run(&write)?;
    is(&own, (caller.uid(), caller.gid(), 0o777))?;
    is(&victim, (0, 0, 0o4755))
}

/// Every file that is written: in a directory of the caller's, who called sudo; over a file of somebody else's.
fn files() -> Verdicts {
    const CALLER: (u32, u32) = (12, 34);
    let name = named("files");
    let directory = tempfile::tempdir()?;
    chown(directory.path(), Some(CALLER.0), Some(CALLER.1))?;
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700))?;
    let place = |name: &str| directory.path().join(name);
    let run = |words: &[&str]| -> Verdicts {
        let output = Command::new(CAPAUDIT)
            .current_dir(directory.path())
            .args(words)
            .env("SUDO_UID", CALLER.0.to_string())
            .env("SUDO_GID", CALLER.1.to_string())
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure(output.status.success(), (words, &text))
    };
    let is = |file: &PathBuf, wanted: (u32, u32, u32)| -> Verdicts {
        let metadata = std::fs::metadata(file).map_err(|error| format!("{file:?}: {error}"))?;
        let found = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
        ensure(found == wanted, (file, found))
    };
    let mut other = Command::new("sleep").arg("60").spawn()?;
    let pid = other.id().to_string();
    let docker = [
        "--",
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--name",
        &name,
        IMAGE,
        "true",
    ];
    let compose = format!("services:\n  {name}:\n    image: {IMAGE}\n");
    std::fs::write(place("compose.yaml"), compose)?;
    let written = (|| {
        run(&[
            &["run", "--save", "run.json", "--output", "run.txt"][..],
            &docker,
        ]
        .concat())?;
        run(&[
            "attach",
            "--pid",
            &pid,
            "--duration",
            "1s",
            "--save",
            "attach.json",
            "--output",
            "attach.txt",
        ])?;
        run(&[
            "watch",
            "--json",
            "--duration",
            "1s",
            "--save",
            "watch.json",
            "--",
            "true",
        ])?;
        run(&[
            "verify",
            "--state",
            "verify.json",
            "--output",
            "verify.txt",
            "--",
            "true",
        ])?;
        run(&["report", "run.json", "--output", "report.txt"])?;
        run(&["export", "markdown", "run.json", "--output", "export.md"])
    })();
    other.kill()?;
    other.wait()?;
    written?;
    let all = [
        "run.json",
        "run.txt",
        "attach.json",
        "attach.txt",
        "watch.json",
        "verify.json",
        "verify.txt",
        "report.txt",
        "export.md",
    ];
    for name in all {
        is(&place(name), (CALLER.0, CALLER.1, 0o600))?;
    }
    // What is patched keeps its owner and mode; what is written anew takes over neither from somebody else's file.
    for name in ["run.json", "compose.yaml"] {
        chown(place(name), Some(56), Some(78))?;
        std::fs::set_permissions(place(name), PermissionsExt::from_mode(0o640))?;
    }
    run(&[
        "run",
        "--save",
        "run.json",
        "--",
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--name",
        &name,
        IMAGE,
        "true",
    ])?;
    run(&["export", "compose", "run.json", "--patch", "compose.yaml"])?;
    run(&[
        "check",
        "--against",
        "compose.yaml",
        "run.json",
        "--output",
        "check.txt",
    ])?;
    is(&place("check.txt"), (CALLER.0, CALLER.1, 0o600))?;
    let patched = std::fs::read_to_string(place("compose.yaml"))?;
    ensure(patched.contains("cap_drop"), &patched)?;
    is(&place("compose.yaml"), (56, 78, 0o640))?;
    is(&place("run.json"), (CALLER.0, CALLER.1, 0o600))?;
    planted(directory.path(), &run, &is)?;
    let left: Vec<_> = std::fs::read_dir(directory.path())?
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    ensure(left.is_empty(), &left)
}
