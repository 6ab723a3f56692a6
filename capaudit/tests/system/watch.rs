//! Watching: lines and screen, against real programs and containers.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use capaudit_core::{
    advise::Verdict,
    capability::Capability,
    ledger::{Kind, Ledger, Outcome, Subject},
    report::Report,
};
use capaudit_live::line::{CheckLine, Line};
use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{CAPAUDIT, Verdicts, ensure, needs},
    container::docker,
    tmux::Tmux,
};

const IMAGE: &str = "gt-corpus:1";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("watch::plain_lines_of_a_command", plain),
        Trial::test("watch::json_lines_of_a_command", json),
        Trial::test("watch::machine_with_a_new_container", machine),
        Trial::test("watch::under_load_a_runtime_is_no_container", under_load),
        Trial::test("watch::only_one_container", one_container),
        Trial::test("watch::filters_are_the_kernels", filters),
        Trial::test("watch::unique_count_and_duration", unique),
        Trial::test("watch::every_check_has_a_line_or_is_told", every_check),
        Trial::test("watch::totals_are_exact_under_a_flood", flood),
        Trial::test("watch::short_lives_have_lines", short_lives),
        Trial::test("watch::a_closed_pipe_ends_it_quietly", closed_pipe),
        Trial::test("watch::hostile_names_are_escaped", hostile),
        Trial::test("watch::bad_usage_is_told_in_a_line", bad_usage),
        Trial::test("watch::screen_shows_a_container", screen),
        Trial::test("watch::screen_in_any_size", sizes),
        Trial::test("watch::screen_saves_and_copies", saves),
        Trial::test("watch::screen_keeps_the_commands_output", command_output),
        Trial::test("watch::terminal_is_given_back", given_back),
        Trial::test("watch::screen_ends_with_its_terminal", hangup),
        Trial::test("watch::screen_answers_under_a_flood", answers),
    ]
}

fn watch(words: &[&str]) -> Result<Output, Failed> {
    Ok(Command::new(CAPAUDIT)
        .arg("watch")
        .args(words)
        .stdin(Stdio::null())
        .output()?)
}

fn lines(output: &Output) -> Result<Vec<Line>, Failed> {
    String::from_utf8(output.stdout.clone())?
        .lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}").into()))
        .collect()
}

fn checks(lines: &[Line]) -> impl Iterator<Item = &CheckLine> {
    lines.iter().filter_map(|line| match line {
        Line::Check(check) => Some(check.as_ref()),
        _ => None,
    })
}

/// Checks in all, shown, and unsent.
fn end(lines: &[Line]) -> Result<(u64, u64, u64), Failed> {
    match lines.last() {
        Some(Line::End {
            checks,
            shown,
            unsent,
            losses,
            ..
        }) => {
            ensure(losses.is_none(), losses)?;
            Ok((*checks, *shown, *unsent))
        }
        other => Err(format!("the last line is no end: {other:?}").into()),
    }
}

pub(crate) fn payload(words: &[&str]) -> Result<Vec<String>, Failed> {
    let own = std::env::current_exe()?.to_string_lossy().into_owned();
    let mut command = vec![own, "payload".to_owned()];
    command.extend(words.iter().map(|word| (*word).to_owned()));
    Ok(command)
}

pub(crate) fn temporary() -> Result<(tempfile::NamedTempFile, String), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_string_lossy().into_owned();
    Ok((file, path))
}

/// A container that goes when the test does.
struct Container(String);

impl Container {
    /// Runs a script.
    fn running(name: &str, script: &str) -> Result<Self, Failed> {
        let container = Self(format!("capaudit-watch-{name}-{}", std::process::id()));
        docker(&[
            "run",
            "-d",
            "--name",
            &container.0,
            IMAGE,
            "sh",
            "-c",
            script,
        ])?;
        Ok(container)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.0]).output();
    }
}

fn plain() -> Verdicts {
    let (_file, path) = temporary()?;
    let script = format!("echo out; chown 1 {path}; exit 7");
    let output = watch(&["--plain", "--", "sh", "-c", &script])?;
    ensure(output.status.code() == Some(7), output.status)?;
    let stdout = String::from_utf8(output.stdout)?;
    let found: Vec<&str> = stdout
        .lines()
        .filter(|line| line.contains("CAP_CHOWN"))
        .collect();
    let [line] = found.as_slice() else {
        return Err(format!("not one line: {stdout}").into());
    };
    for part in [
        "granted", "command", "chown[", "fchownat", &path, "needed: ",
    ] {
        ensure(line.contains(part), (part, line))?;
    }
    ensure(!stdout.contains("out\n"), &stdout)?;
    ensure(!stdout.contains("noise:"), &stdout)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure(stderr.contains("out\n"), "the command's output goes there")?;
    ensure(stderr.contains("without consequence hidden"), &stderr)?;
    // Aligned: the capability begins at the same column everywhere.
    let columns: BTreeSet<Option<usize>> = stdout.lines().map(|line| line.find(" CAP_")).collect();
    ensure(columns.len() == 1, &stdout)
}

fn json() -> Verdicts {
    let (_file, path) = temporary()?;
    let output = watch(&["--json", "--all", "--", "chown", "1", &path])?;
    ensure(output.status.success(), output.status)?;
    let lines = lines(&output)?;
    ensure(matches!(lines.first(), Some(Line::Begin { .. })), &lines)?;
    let (all, shown, unsent) = end(&lines)?;
    ensure(
        checks(&lines).count() as u64 == shown && all == shown && unsent == 0,
        (all, shown, unsent),
    )?;
    let chown = checks(&lines)
        .find(|check| check.capability == Capability::CHOWN)
        .ok_or("no CHOWN")?;
    ensure(
        chown.outcome == Outcome::Granted
            && chown.subject.kind == Kind::Command
            && chown.syscall.as_deref() == Some("fchownat")
            && chown.object == path
            && chown.result == Some(0)
            && chown.arguments.get(2).map(String::as_str) == Some("0x1")
            && chown.exe.ends_with("/chown")
            && chown
                .callers
                .iter()
                .any(|caller| caller == "setattr_prepare")
            && chown.verdict == Verdict::Needed,
        chown,
    )
}

fn machine() -> Verdicts {
    let mut watching = Watching::start(&["--json"])?;
    let container = Container::running("new", "chown 1 /opt; sleep 0.2; chroot / true")?;
    let found = watching.until(|check| {
        check.subject.name == container.0 && check.capability == Capability::SYS_CHROOT
    })?;
    let chown = found
        .iter()
        .find(|check| check.subject.name == container.0 && check.capability == Capability::CHOWN)
        .ok_or("no CHOWN of the container's")?;
    ensure(chown.subject.kind == Kind::Container, chown)?;
    ensure(chown.subject.image == IMAGE, chown)?;
    // What sets it up is the runtime's, and no other line is the container's.
    let others: BTreeSet<&str> = found
        .iter()
        .filter(|check| check.subject.name == container.0 && check.verdict != Verdict::Noise)
        .map(|check| check.capability.name())
        .collect();
    ensure(others == BTreeSet::from(["CHOWN", "SYS_CHROOT"]), others)?;
    ensure(
        found.iter().any(|check| check.exe.ends_with("/runc")),
        "the runtime's own checks are shown, too",
    )
}

/// Processes that keep the machine busy, until the test is over.
struct Load(Vec<Child>);

impl Load {
    fn heavy() -> Result<Self, Failed> {
        let mut busy = Self(Vec::new());
        for _ in 0..2 * std::thread::available_parallelism()?.get() {
            // Busy, but with nothing to record: a storm of processes would cost records, and then there is nothing to look at.
            let script = "while :; do :; done";
            busy.0
                .push(Command::new("sh").args(["-c", script]).spawn()?);
        }
        Ok(busy)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a record does not carry is looked up late then: the engine has put its runtime into the container's cgroup.
fn under_load() -> Verdicts {
    let (_file, session) = temporary()?;
    let mut watching = Watching::start(&["--json", "--all", "--save", &session])?;
    let mut containers = Vec::new();
    {
        let _load = Load::heavy()?;
        for number in 0..8 {
            containers.push(Container::running(
                &format!("load-{number}"),
                "exec sleep 60",
            )?);
        }
    }
    // When it is this one's turn, all of theirs have been taken.
    // Again and again: under load a line may be left out.
    let last = Container::running("load-last", "while :; do chroot / true; sleep 0.2; done")?;
    watching.until(|check| {
        check.subject.name == last.0 && check.capability == Capability::SYS_CHROOT
    })?;
    let ledger = watching.end(Path::new(&session))?;
    for container in &containers {
        let subject = ledger
            .subjects
            .iter()
            .find(|subject| subject.name == container.0)
            .ok_or_else(|| {
                let names: Vec<&str> = ledger.subjects.iter().map(|it| it.name.as_str()).collect();
                format!(
                    "no {} among {names:?}; {:?} {:?}",
                    container.0, ledger.session.losses, ledger.session.unattributed
                )
            })?;
        let asked: BTreeSet<&str> = subject
            .checks
            .iter()
            .map(|check| &check.identity)
            .filter(|asked| !asked.requester.setup && asked.requester.exe.ends_with("runc"))
            .filter(|asked| {
                !asked
                    .syscall
                    .as_deref()
                    .is_some_and(|it| it.starts_with("execve"))
            })
            .map(|asked| asked.capability.name())
            .collect();
        ensure(asked.is_empty(), (&container.0, asked))?;
    }
    let report = Report::of(&ledger);
    for container in &containers {
        for subject in report.subjects.iter().filter(|it| it.name == container.0) {
            needs(subject, &[])?;
        }
    }
    Ok(())
}

fn one_container() -> Verdicts {
    let script = "while :; do chown 1 /opt; sleep 0.1; done";
    let wanted = Container::running("wanted", script)?;
    let _other = Container::running("other", script)?;
    let mut watching = Watching::start(&["--json", "--container", &wanted.0])?;
    let (_file, path) = temporary()?;
    ensure(
        Command::new("chown").args(["1", &path]).status()?.success(),
        "chown",
    )?;
    // By then it has asked for CHOWN a few times.
    std::thread::sleep(Duration::from_secs(1));
    docker(&["exec", &wanted.0, "chroot", "/", "true"])?;
    let found = watching.until(|check| check.capability == Capability::SYS_CHROOT)?;
    ensure(
        found
            .iter()
            .any(|check| check.capability == Capability::CHOWN),
        &found,
    )?;
    let others: Vec<&CheckLine> = found
        .iter()
        .filter(|check| check.subject.name != wanted.0)
        .collect();
    ensure(others.is_empty(), others)
}

fn filters() -> Verdicts {
    let (_file, path) = temporary()?;
    let script =
        format!("chown 1 {path}; setpriv --reuid=65534 --clear-groups chown 0 {path}; true");
    let of = |options: &[&str]| -> Result<Vec<Line>, Failed> {
        let mut words = vec!["--json", "--all"];
        words.extend(options);
        words.extend(["--", "sh", "-c", &script]);
        lines(&watch(&words)?)
    };
    // The end counts what the kernel counted.
    let chown = of(&["--capability", "chown"])?;
    ensure(end(&chown)?.0 == 2, &chown)?;
    let both = of(&["--capability", "chown", "--capability", "CAP_SETUID,kill"])?;
    let names: BTreeSet<&str> = checks(&both).map(|check| check.capability.name()).collect();
    ensure(names == BTreeSet::from(["CHOWN", "SETUID"]), names)?;
    ensure(end(&both)?.0 == 3, &both)?;
    let denied = of(&["--denied", "--capability", "chown"])?;
    ensure(end(&denied)?.0 == 1, &denied)?;
    ensure(
        checks(&denied).all(|check| check.outcome == Outcome::Denied && check.result == Some(-1)),
        &denied,
    )?;
    let none = of(&["--capability", "sys_time"])?;
    ensure(end(&none)?.0 == 0 && none.len() == 2, &none)
}

fn unique() -> Verdicts {
    let (_file, path) = temporary()?;
    let script = format!("for i in 1 2 3 4 5 6; do chown 1 {path}; done");
    let words = ["--", "sh", "-c", &script];
    let output = watch(&[&["--json", "--unique"][..], &words].concat())?;
    let lines_of_it = lines(&output)?;
    let of_chown = |lines: &[Line]| {
        checks(lines)
            .filter(|check| check.capability == Capability::CHOWN)
            .count()
    };
    ensure(of_chown(&lines_of_it) == 1, &lines_of_it)?;
    let output = watch(&[&["--json", "--count", "3"][..], &words].concat())?;
    let lines_of_it = lines(&output)?;
    ensure(
        of_chown(&lines_of_it) == 3 && end(&lines_of_it)?.1 == 3,
        &lines_of_it,
    )?;
    let began = Instant::now();
    let output = watch(&["--json", "--duration", "1s", "--", "sleep", "60"])?;
    ensure(output.status.success(), output.status)?;
    ensure(began.elapsed() < Duration::from_secs(10), began.elapsed())
}

/// Without a flood, every check that the kernel counted has its line.
fn every_check() -> Verdicts {
    let (_file, path) = temporary()?;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let session_text = session.to_string_lossy();
    let command = payload(&["flood", "1000", &path])?;
    let mut words = vec!["--json", "--all", "--save", &session_text, "--"];
    words.extend(command.iter().map(String::as_str));
    let lines = lines(&watch(&words)?)?;
    let (_all, shown, unsent) = end(&lines)?;
    ensure(checks(&lines).count() as u64 == shown, shown)?;
    let of_it = checks(&lines)
        .filter(|check| check.subject.kind == Kind::Command)
        .count() as u64;
    let counted = of_command(&session, None)?;
    ensure(
        unsent == 0 && of_it == counted && counted >= 1000,
        (counted, of_it, unsent),
    )
}

fn flood() -> Verdicts {
    const EACH: u64 = 150_000;
    let (_one, first) = temporary()?;
    let (_two, second) = temporary()?;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let command = payload(&["flood", &EACH.to_string(), &first, &second])?;
    let session_text = session.to_string_lossy();
    let mut words = vec!["--json", "--save", &session_text, "--"];
    words.extend(command.iter().map(String::as_str));
    let lines = lines(&watch(&words)?)?;
    let (all, shown, unsent) = end(&lines)?;
    ensure(
        all >= 2 * EACH && shown + unsent <= all,
        (all, shown, unsent),
    )?;
    ensure(chowns(&session)? == 2 * EACH, "not exact")
}

/// Checks of the command's in a saved session, for one capability or for all. Others may run containers meanwhile.
fn of_command(session: &Path, capability: Option<Capability>) -> Result<u64, Failed> {
    Ok(capaudit_storage::load(session)?
        .subjects
        .iter()
        .filter(|subject| subject.identity == Subject::Command)
        .flat_map(|subject| &subject.checks)
        .filter(|check| capability.is_none_or(|wanted| wanted == check.identity.capability))
        .map(|check| check.count)
        .sum())
}

fn chowns(session: &Path) -> Result<u64, Failed> {
    of_command(session, Some(Capability::CHOWN))
}

/// Processes that are gone, and forgotten, before their line is written.
fn short_lives() -> Verdicts {
    let (_file, path) = temporary()?;
    let command = payload(&["fork-storm", "1500", &path])?;
    let mut words = vec!["--json", "--capability", "chown", "--"];
    words.extend(command.iter().map(String::as_str));
    let lines = lines(&watch(&words)?)?;
    let (all, shown, unsent) = end(&lines)?;
    ensure(all == 1500 && shown + unsent == 1500, (all, shown, unsent))?;
    let pids: BTreeSet<u32> = checks(&lines).map(|check| check.pid).collect();
    ensure(pids.len() as u64 == shown, pids.len())
}

fn closed_pipe() -> Verdicts {
    // Of what is never asked: it has to notice by itself.
    for words in [&["--plain"][..], &["--json", "--capability", "wake_alarm"]] {
        let mut child = Command::new(CAPAUDIT)
            .arg("watch")
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(800));
        drop(child.stdout.take());
        let status = ended(&mut child)?;
        let mut stderr = String::new();
        if let Some(pipe) = &mut child.stderr {
            pipe.read_to_string(&mut stderr)?;
        }
        ensure(status == Some(0), (words, status, &stderr))?;
        ensure(!stderr.to_lowercase().contains("broken pipe"), stderr)?;
    }
    Ok(())
}

/// Waits some seconds for the end.
fn ended(child: &mut Child) -> Result<Option<i32>, Failed> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Err("it never ended".into())
}

fn hostile() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("\u{1b}[31m\u{202e}x\ny");
    std::fs::copy("/bin/chown", &program)?;
    let (_file, path) = temporary()?;
    let program = program.to_string_lossy();
    for form in ["--plain", "--json"] {
        let output = watch(&[form, "--", &program, "1", &path])?;
        let stdout = String::from_utf8(output.stdout)?;
        ensure(stdout.contains("CHOWN"), &stdout)?;
        let is_unsafe = |character| character != '\n' && capaudit_core::text::is_unsafe(character);
        ensure(!stdout.chars().any(is_unsafe), &stdout)?;
    }
    Ok(())
}

fn bad_usage() -> Verdicts {
    for (words, told) in [
        (&["--capability", "nonsense"][..], "nonsense"),
        (&["--pid", "1", "--", "true"], "--pid"),
        (&["--plain", "--json"], "--json"),
        (&["--count", "0"], "--count"),
        (
            &["--plain", "--container", "capaudit-watch-nobody"],
            "capaudit-watch-nobody",
        ),
        (
            &["--plain", "--save", "/no/such/directory/f"],
            "/no/such/directory/f",
        ),
    ] {
        let output = watch(words)?;
        ensure(output.status.code() == Some(2), (words, output.status))?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(stderr.contains(told), (words, stderr))?;
    }
    let output = watch(&["--plain", "--", "/no/such/program"])?;
    ensure(output.status.code() == Some(127), output.status)
}

/// A watch that goes on until it has shown what is wanted.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watching {
    /// Returns when it has begun.
    fn start(words: &[&str]) -> Result<Self, Failed> {
        let mut child = Command::new(CAPAUDIT)
            .arg("watch")
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let first = lines.next().ok_or("no line")??;
        ensure(first.contains("\"begin\""), &first)?;
        Ok(Self { child, lines })
    }

    /// All checks up to the wanted one.
    fn until(&mut self, wanted: impl Fn(&CheckLine) -> bool) -> Result<Vec<CheckLine>, Failed> {
        let mut found = Vec::new();
        for line in &mut self.lines {
            if let Line::Check(check) = serde_json::from_str(&line?)? {
                let is_last = wanted(&check);
                found.push(*check);
                if is_last {
                    return Ok(found);
                }
            }
        }
        Err(format!("it ended without: {found:#?}").into())
    }
}

impl Watching {
    /// Ends it as Ctrl-C would; what it saved.
    fn end(mut self, session: &Path) -> Result<Ledger, Failed> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
        for line in &mut self.lines {
            line?;
        }
        self.child.wait()?;
        Ok(capaudit_storage::load(session)?)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn screen() -> Verdicts {
    let container = Container::running("screen", "while :; do chown 1 /opt; sleep 0.2; done")?;
    let tmux = Tmux::shell("screen", 150, 40)?;
    tmux.watch("")?;
    let screen = tmux.until("the container's need shown", |screen| {
        screen.contains(&format!("▾ {}", container.0[..20].to_owned()))
            && screen.contains("+ CHOWN")
            && screen.contains("fchownat /opt")
    })?;
    ensure(
        screen.contains("the whole machine (tp_btf)") || screen.contains("(fexit)"),
        &screen,
    )?;
    // Only that container, then its capability's details.
    tmux.text(&format!("/container:{}", container.0))?;
    tmux.keys(&["Enter"])?;
    tmux.shows("only container:")?;
    tmux.keys(&["Down", "Down", "i"])?;
    let details = tmux.shows("kernel stack")?;
    for part in [
        "CAP_CHOWN",
        "Change the owner",
        "setattr_prepare",
        "arguments",
        IMAGE,
    ] {
        ensure(details.contains(part), (part, &details))?;
    }
    tmux.keys(&["Escape", "?"])?;
    tmux.shows("count from now on")?;
    tmux.keys(&["Escape", "/", "C-u"])?;
    tmux.line("cap:nonsense")?;
    tmux.shows("no such capability")?;
    tmux.keys(&["Escape", "p"])?;
    tmux.shows("PAUSED")?;
    tmux.keys(&["p", "q"])?;
    tmux.shows("status 0").map(|_| ())
}

fn sizes() -> Verdicts {
    let _container = Container::running("sizes", "while :; do chown 1 /opt; sleep 0.1; done")?;
    let tmux = Tmux::shell("sizes", 200, 60)?;
    tmux.watch("")?;
    tmux.shows("RECOMMENDATION so far")?;
    tmux.resize(40, 10)?;
    let small = tmux.until("small", |screen| {
        screen.contains("WHO, BY CONTAINER") && !screen.contains("RECOMMENDATION")
    })?;
    ensure(small.lines().count() <= 10, &small)?;
    tmux.keys(&["Tab"])?;
    tmux.shows("CHECKS, one by one")?;
    tmux.resize(80, 24)?;
    tmux.until("both panes", |screen| {
        screen.contains("CHECKS, one by one") && screen.contains("verdict so far")
    })?;
    tmux.keys(&["C-c"])?;
    tmux.shows("status 0").map(|_| ())
}

fn saves() -> Verdicts {
    let container = Container::running("saves", "while :; do chown 1 /opt; sleep 0.1; done")?;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let snippet = directory.path().join("snippet.yaml");
    let tmux = Tmux::shell("saves", 120, 40)?;
    tmux.watch(&format!("--container {}", container.0))?;
    tmux.shows("+ CHOWN")?;
    tmux.keys(&["w", "C-u"])?;
    tmux.line(&session.to_string_lossy())?;
    tmux.shows("saved to")?;
    let saved = capaudit_storage::load(&session)?;
    ensure(
        saved
            .subjects
            .iter()
            .any(|subject| subject.name == container.0),
        &saved.subjects,
    )?;
    tmux.keys(&["Y", "C-u"])?;
    tmux.line(&snippet.to_string_lossy())?;
    tmux.shows("written to")?;
    let written = std::fs::read_to_string(&snippet)?;
    ensure(
        written.contains("cap_drop") && written.contains("- CHOWN"),
        &written,
    )?;
    tmux.keys(&["y"])?;
    tmux.shows("clipboard")?;
    ensure(tmux.clipboard()? == written, tmux.clipboard()?)?;
    tmux.keys(&["q"])?;
    tmux.shows("status 0").map(|_| ())
}

fn command_output() -> Verdicts {
    let tmux = Tmux::shell("output", 100, 30)?;
    tmux.watch("-- sh -c 'printf \"to-%s\\n\" the-output; echo to-dev-tty > /dev/tty; printf \"\\033[2J\"; chroot / true; exit 5'")?;
    let screen = tmux.shows("the command failed with status 5")?;
    ensure(!screen.contains("to-the-output"), &screen)?;
    tmux.shows("SYS_CHROOT")?;
    tmux.keys(&["4"])?;
    let output = tmux.shows("to-the-output")?;
    ensure(
        output.contains("\\u{1b}[2J") && !output.contains("\nto-dev-tty"),
        &output,
    )?;
    tmux.keys(&["q"])?;
    tmux.shows("status 5").map(|_| ())
}

/// Pid of the watch in a terminal.
fn pid_of(marker: &str) -> Result<i32, Failed> {
    let found = Command::new("pgrep")
        .args(["-f", &format!("^{CAPAUDIT} watch .*{marker}")])
        .output()?;
    let text = String::from_utf8(found.stdout)?;
    let pid = text
        .lines()
        .next()
        .ok_or_else(|| format!("no watch with {marker}"))?;
    Ok(pid.parse()?)
}

fn send(pid: i32, signal: nix::sys::signal::Signal) -> Verdicts {
    Ok(nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        signal,
    )?)
}

fn given_back() -> Verdicts {
    use nix::sys::signal::Signal;
    let tmux = Tmux::shell("back", 100, 30)?;
    let sane = |tmux: &Tmux| -> Verdicts {
        tmux.until("a prompt", |screen| screen.trim_end().ends_with("ready>"))?;
        tmux.line("stty -a | tr ' ' '\\n' | grep -c '^echo$\\|^icanon$'")?;
        tmux.until("cooked", |screen| {
            screen.lines().any(|line| line.trim() == "2")
        })?;
        tmux.line("clear")
    };
    // Suspended and resumed, by key and by signal.
    tmux.watch("--duration 1001s")?;
    tmux.shows("capaudit watch:")?;
    tmux.keys(&["C-z"])?;
    tmux.shows("Stopped")?;
    sane(&tmux)?;
    tmux.line("fg")?;
    tmux.shows("capaudit watch:")?;
    send(pid_of("1001s")?, Signal::SIGTSTP)?;
    tmux.until("stopped", |screen| screen.contains("Stopped"))?;
    sane(&tmux)?;
    tmux.line("fg")?;
    tmux.shows("capaudit watch:")?;
    // Ended by a signal.
    send(pid_of("1001s")?, Signal::SIGTERM)?;
    tmux.until("ended", |screen| !screen.contains("capaudit watch:"))?;
    sane(&tmux)?;
    // What cannot be watched is told on the terminal as it was.
    tmux.watch("--container capaudit-watch-nobody")?;
    tmux.shows("status 2")?;
    sane(&tmux)
}

fn hangup() -> Verdicts {
    let tmux = Tmux::shell("hangup", 100, 30)?;
    tmux.watch("--duration 1002s")?;
    tmux.shows("capaudit watch:")?;
    let pid = pid_of("1002s")?;
    tmux.close()?;
    let deadline = Instant::now() + Duration::from_secs(4);
    while Path::new(&format!("/proc/{pid}")).exists() {
        if Instant::now() > deadline {
            send(pid, nix::sys::signal::Signal::SIGKILL)?;
            return Err("it went on without its terminal".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn answers() -> Verdicts {
    /// Twice this is shown as 800,000.
    const EACH: u64 = 400_000;
    let (_one, first) = temporary()?;
    let (_two, second) = temporary()?;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let command = payload(&["flood", &EACH.to_string(), &first, &second])?.join(" ");
    let tmux = Tmux::shell("flood", 120, 40)?;
    tmux.watch(&format!("--save {} -- {command}", session.display()))?;
    tmux.shows("counted only")?;
    let mut waits = Vec::new();
    for _ in 0..6 {
        let before = tmux.screen()?.lines().last().map(str::to_owned);
        let began = Instant::now();
        tmux.keys(&["s"])?;
        tmux.until("sorted otherwise", |screen| {
            screen.lines().last().map(str::to_owned) != before
        })?;
        waits.push(began.elapsed());
    }
    waits.sort();
    // tmux and this machine's other work are in it, too.
    ensure(waits[waits.len() / 2] < Duration::from_millis(400), &waits)?;
    tmux.shows("the command succeeded")?;
    tmux.shows(" 800,000 ")?;
    tmux.keys(&["q"])?;
    tmux.shows("status 0")?;
    ensure(chowns(&session)? == 2 * EACH, chowns(&session)?)
}
