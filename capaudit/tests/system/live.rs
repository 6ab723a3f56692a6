//! Watching through the daemon's socket: who may, how soon, and that nobody is held up by whoever does not read.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData};
use capaudit_core::capability::Capability;
use capaudit_live::line::{CheckLine, Line};
use libtest_mimic::{Failed, Trial};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::{
    audit::{Verdicts, ensure},
    container::docker,
    daemon::Daemon,
    tmux::Tmux,
};

const IMAGE: &str = "gt-corpus:1";
/// How soon a check has its line.
const SOON: Duration = Duration::from_secs(1);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("live::the_group_sees_checks_within_a_second", group),
        Trial::test("live::filters_choose_what_is_shown", filters),
        Trial::test("live::who_does_not_read_holds_nobody_up", stalled),
        Trial::test("live::the_kernel_sends_only_while_somebody_watches", gone),
        Trial::test("live::the_daemons_end_is_told", ends),
        Trial::test("live::screen_shows_a_container", screen),
        Trial::test("live::bad_usage_is_told_in_a_line", bad_usage),
    ]
}

/// A container's name that no other run of these tests has at the same time.
pub(crate) fn named(what: &str) -> String {
    format!("live-{what}-{}", std::process::id())
}

/// Runs a script in a container that needs no network.
fn contained(name: &str, script: &str) -> Verdicts {
    let network = ["run", "--rm", "--network", "none", "--name", name];
    docker(&[&network[..], &[IMAGE, "sh", "-c", script]].concat()).map(|_| ())
}

fn parse(line: &str) -> Result<Line, Failed> {
    serde_json::from_str(line).map_err(|error| format!("{error}: {line}").into())
}

/// A client that writes JSON lines.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    /// Returns when it has begun.
    fn start(mut command: Command) -> Result<Self, Failed> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut watching = Self { child, lines };
        match watching.next()? {
            Some(Line::Begin { .. }) => Ok(watching),
            other => Err(format!("{other:?}: {}", watching.complaint()?).into()),
        }
    }

    fn next(&mut self) -> Result<Option<Line>, Failed> {
        let mut line = String::new();
        match self.lines.read_line(&mut line)? {
            0 => Ok(None),
            _ => parse(&line).map(Some),
        }
    }

    /// Waits for a check like that.
    fn check(&mut self, is: impl Fn(&CheckLine) -> bool) -> Result<CheckLine, Failed> {
        while let Some(line) = self.next()? {
            if let Line::Check(check) = line
                && is(&check)
            {
                return Ok(*check);
            }
        }
        Err("it never came".into())
    }

    fn complaint(&mut self) -> Result<String, Failed> {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut text)?;
        }
        Ok(text)
    }

    fn signal(&self, signal: Signal) -> Verdicts {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        Ok(signal::kill(pid, signal)?)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn group() -> Verdicts {
    let daemon = Daemon::start(&["--group", "daemon"])?;
    let stranger = daemon
        .asked_by("nogroup", &["watch", "--live", "--json"])?
        .output()?;
    let text = String::from_utf8_lossy(&stranger.stderr);
    ensure(stranger.status.code() == Some(2), stranger.status)?;
    ensure(
        text.lines().count() == 1 && text.contains("you may not ask"),
        &text,
    )?;
    ensure(stranger.stdout.is_empty(), &stranger.stdout)?;

    let member = daemon.asked_by("daemon", &["watch", "--live", "--json"])?;
    let mut watching = Watching::start(member)?;
    // The second comes when everything about the container is known.
    let script = "chown 1 /opt; sleep 1; chown 2 /opt; sleep 2";
    let name = named("seen");
    let container = std::thread::spawn({
        let name = name.clone();
        move || contained(&name, script)
    });
    let is_chown = |check: &CheckLine| check.subject.name == name && check.object == "/opt";
    for _ in 0..2 {
        let check = watching.check(is_chown)?;
        let made: jiff::Timestamp = check.time.parse()?;
        let took = jiff::Timestamp::now().duration_since(made);
        ensure(took.unsigned_abs() < SOON, took)?;
        ensure(check.subject.image == IMAGE, &check.subject)?;
        ensure(
            check.capability == Capability::CHOWN && check.result == Some(0),
            &check,
        )?;
    }
    watching.signal(Signal::SIGINT)?;
    let mut last = None;
    while let Some(line) = watching.next()? {
        last = Some(line);
    }
    let Some(Line::End {
        checks,
        shown,
        unsent,
        losses,
        ..
    }) = last
    else {
        return Err(format!("the last line is no end: {last:?}").into());
    };
    ensure(
        shown >= 2 && checks >= shown + unsent,
        (checks, shown, unsent),
    )?;
    ensure(losses.is_none(), &losses)?;
    ensure(watching.child.wait()?.success(), "it failed")?;
    container.join().map_err(|_panic| "no container")?
}

fn filters() -> Verdicts {
    let daemon = Daemon::start(&[])?;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json").display().to_string();
    let wanted = named("wanted");
    let watching = daemon
        .command(&["watch", "--live", "--json", "--all", "--save", &session])
        .args(["--container", &wanted, "--capability", "kill,chown"])
        .args(["--duration", "6s"])
        .stdout(Stdio::piped())
        .spawn()?;
    // It must not miss the containers.
    std::thread::sleep(Duration::from_secs(1));
    contained(&named("other"), "chown 1 /opt")?;
    contained(&wanted, "chown 1 /opt; chroot / true")?;
    let output = watching.wait_with_output()?;
    ensure(output.status.success(), output.status)?;
    let lines: Vec<Line> = String::from_utf8(output.stdout)?
        .lines()
        .map(parse)
        .collect::<Result<_, _>>()?;
    let checks: Vec<&CheckLine> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Check(check) => Some(check.as_ref()),
            _ => None,
        })
        .collect();
    ensure(
        checks
            .iter()
            .any(|check| check.capability == Capability::CHOWN),
        &lines,
    )?;
    ensure(
        checks.iter().all(|check| {
            check.subject.name == wanted && ["CHOWN", "KILL"].contains(&check.capability.name())
        }),
        &lines,
    )?;
    let Some(Line::End {
        checks: all,
        unsent,
        ..
    }) = lines.last()
    else {
        return Err(format!("{lines:?}").into());
    };
    let ledger = capaudit_storage::load(session.as_ref())?;
    let counted: u64 = ledger
        .subjects
        .iter()
        .flat_map(|subject| &subject.checks)
        .map(|check| check.count)
        .sum();
    ensure(ledger.subjects.len() == 1, &ledger.subjects)?;
    // Too many at once are everybody's on this machine.
    let sent = checks.len() as u64;
    ensure(
        *all == sent + unsent && (sent..=*all).contains(&counted),
        (all, sent, unsent, counted),
    )
}

fn stalled() -> Verdicts {
    let daemon = Daemon::start(&[])?;
    let mut stalled = UnixStream::connect(daemon.socket())?;
    stalled.write_all(b"watch\n")?;
    let mut watching = Watching::start(daemon.command(&["watch", "--live", "--json", "--all"]))?;
    let reader = std::thread::spawn(move || -> Result<u64, Failed> {
        let mut seen = 0;
        let mut last = false;
        while !last && let Some(line) = watching.next()? {
            if let Line::Check(check) = line {
                seen += 1;
                last = check.capability == Capability::CHOWN && check.object == "/live-last";
            }
        }
        ensure(last, "the last check never came").map(|()| seen)
    });
    let script = "touch /live-last; chown -R 1 /usr/lib; sleep 1;
        chown 1 /live-last; sleep 2";
    let flood = std::thread::spawn(move || contained(&named("flood"), script));
    // Meanwhile others are answered.
    let mut slowest = Duration::ZERO;
    while !flood.is_finished() {
        let began = Instant::now();
        daemon.live()?;
        slowest = slowest.max(began.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    flood.join().map_err(|_panic| "no container")??;
    ensure(slowest < Duration::from_secs(5), slowest)?;
    let seen = reader.join().map_err(|_panic| "no reader")??;

    // Whoever begins to read at last is told how many it missed.
    stalled.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    stalled.read_to_string(&mut text)?;
    let lines: Vec<Line> = text.lines().map(parse).collect::<Result<_, _>>()?;
    let got = lines
        .iter()
        .filter(|line| matches!(line, Line::Check(_)))
        .count() as u64;
    let (
        Some(Line::Begin { .. }),
        Some(Line::End {
            checks,
            shown,
            unsent,
            ..
        }),
    ) = (lines.first(), lines.last())
    else {
        return Err(format!("{:?} … {:?}", lines.first(), lines.last()).into());
    };
    ensure(
        *shown == got && *checks == shown + unsent,
        (checks, shown, unsent),
    )?;
    // It missed what the other one saw, up to the lines that waited.
    ensure(
        *unsent > 0 && got < seen && *checks >= seen,
        (unsent, got, seen),
    )?;
    let told = lines
        .iter()
        .any(|line| matches!(line, Line::Missing { unsent: missing, .. } if missing == unsent));
    ensure(told, "what was missed is in no line of its own")
}

/// Whether the daemon has the kernel send check events.
fn is_switched_on(daemon: &Daemon) -> Result<bool, Failed> {
    for descriptor in std::fs::read_dir(format!("/proc/{}/fdinfo", daemon.pid()?))? {
        let text = std::fs::read_to_string(descriptor?.path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("map_id:"));
        let Some(id) = id.and_then(|id| id.trim().parse().ok()) else {
            continue;
        };
        let map = MapData::from_id(id)?;
        if map.info()?.name_as_str() == Some("WATCHED") {
            let switch: Array<_, u32> = Map::Array(map).try_into()?;
            return Ok(switch.get(&0, 0)? != 0);
        }
    }
    Err("the daemon has no such map".into())
}

fn gone() -> Verdicts {
    let daemon = Daemon::start(&[])?;
    let becomes = |wanted: bool| -> Verdicts {
        let deadline = Instant::now() + Duration::from_secs(2);
        while is_switched_on(&daemon)? != wanted {
            ensure(Instant::now() < deadline, format!("never {wanted}"))?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    becomes(false)?;
    let one = Watching::start(daemon.command(&["watch", "--live", "--json"]))?;
    ensure(is_switched_on(&daemon)?, "it is not on")?;
    let other = Watching::start(daemon.command(&["watch", "--live", "--json"]))?;
    one.signal(Signal::SIGKILL)?;
    drop(one);
    std::thread::sleep(Duration::from_millis(300));
    ensure(is_switched_on(&daemon)?, "the other still watches")?;
    drop(other);
    becomes(false)?;
    // One that never read anything.
    let mut mute = UnixStream::connect(daemon.socket())?;
    mute.write_all(b"watch\n")?;
    becomes(true)?;
    drop(mute);
    becomes(false)?;
    // What is counted does not depend on it.
    let name = named("counted");
    contained(&name, "chown 1 /opt")?;
    let report = daemon.live()?;
    ensure(
        report
            .subjects
            .iter()
            .any(|subject| subject.name == name && subject.cap_add.names().eq(["CHOWN"])),
        &report,
    )
}

fn ends() -> Verdicts {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let daemon = Daemon::start(&[])?;
        let mut watching = Watching::start(daemon.command(&["watch", "--live", "--json"]))?;
        signal::kill(daemon.pid()?, signal)?;
        let mut last = None;
        while let Some(line) = watching.next()? {
            last = Some(line);
        }
        ensure(matches!(last, Some(Line::End { .. })), last)?;
        let text = watching.complaint()?;
        ensure(
            text.trim_end() == "capaudit: the daemon has ended",
            (signal, &text),
        )?;
        let status = watching.child.wait()?;
        ensure(status.code() == Some(3), (signal, status))?;
    }
    Ok(())
}

fn screen() -> Verdicts {
    let mut daemon = Daemon::start(&[])?;
    let container = std::thread::spawn(|| {
        contained(
            &named("screen"),
            "for i in $(seq 60); do chown 1 /opt; sleep 0.2; done",
        )
    });
    let tmux = Tmux::shell("live", 150, 40)?;
    let socket = daemon.socket().display().to_string();
    tmux.watch(&format!("--live --socket {socket}"))?;
    tmux.until("the container's need shown", |screen| {
        screen.contains("▾ live-screen-")
            && screen.contains("+ CHOWN")
            && screen.contains("fchownat /opt")
    })?;
    tmux.keys(&["Down", "Down", "i"])?;
    tmux.shows("setattr_prepare")?;
    tmux.keys(&["Escape", "w", "C-u"])?;
    let session = daemon.directory.path().join("saved.json");
    tmux.text(&session.display().to_string())?;
    tmux.keys(&["Enter"])?;
    tmux.shows("saved to")?;
    ensure(
        capaudit_storage::load(&session)?
            .subjects
            .iter()
            .any(|subject| subject.name == named("screen")),
        "the container is not in the session",
    )?;
    // A key takes the notice away.
    tmux.keys(&["Down"])?;
    daemon.end()?;
    tmux.shows("the daemon has ended")?;
    tmux.keys(&["q"])?;
    tmux.shows("status 3")?;
    container.join().map_err(|_panic| "no container")?
}

fn bad_usage() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let nowhere = directory.path().join("nobody").display().to_string();
    for (words, wanted) in [
        (vec!["--live", "--socket", &nowhere], "no capaudit daemon"),
        (vec!["--live", "--pid", "1"], "cannot be used with"),
        (vec!["--live", "--", "true"], "cannot be used with"),
        (vec!["--socket", &nowhere], "--live"),
    ] {
        let output = Command::new(crate::audit::CAPAUDIT)
            .arg("watch")
            .args(&words)
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure(output.status.code() == Some(2), (&words, &text))?;
        ensure(text.contains(wanted) && output.stdout.is_empty(), &text)?;
    }
    Ok(())
}
