//! Attaching to what runs already.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use capaudit_core::{
    capability::Capability,
    report::{Report, SubjectReport},
};
use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{CAPAUDIT, Verdicts, ensure, needs},
    container::docker,
};

const IMAGE: &str = "gt-corpus:1";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("attach::process_and_its_descendants", process),
        Trial::test("attach::container_and_what_is_executed_in_it", container),
        Trial::test("attach::a_restart_does_not_make_it_complete", restart),
        Trial::test("attach::service_and_its_new_replicas", service),
        Trial::test("attach::cgroup", cgroup),
        Trial::test("attach::what_is_not_there_is_named", not_there),
    ]
}

/// A container or process that goes when the test does.
struct Gone<F: FnMut()>(F);

impl<F: FnMut()> Drop for Gone<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn removed(names: &'static [&'static str]) -> Gone<impl FnMut()> {
    let remove = move || {
        let _ = Command::new("docker")
            .args(["rm", "-f"])
            .args(names)
            .output();
    };
    remove();
    Gone(remove)
}

struct Attached(Child);

impl Attached {
    /// Returns when it observes.
    fn to(words: &[&str]) -> Result<Self, Failed> {
        let mut child = Command::new(CAPAUDIT)
            .args(["attach", "--format", "json"])
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.as_mut().ok_or("no stderr")?;
        let mut line = String::new();
        BufReader::new(stderr).read_line(&mut line)?;
        ensure(line.contains("observing"), &line)?;
        Ok(Self(child))
    }

    /// Ends it as Ctrl-C would.
    fn end(self) -> Result<Report, Failed> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
        self.report()
    }

    /// Waits for its own end.
    fn report(self) -> Result<Report, Failed> {
        let output = self.0.wait_with_output()?;
        ensure(output.status.success(), output.status)?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn only(report: &Report) -> Result<&SubjectReport, Failed> {
    ensure(report.subjects.len() == 1, &report.subjects)?;
    report.subjects.first().ok_or("no subject".into())
}

fn process() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_string_lossy().into_owned();
    let shell = |script: String| {
        Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .spawn()
    };
    // Asks after a line comes: by itself, by a child of later, and by one that was there.
    let mut ours = shell(format!(
        "(sleep 3; chown 1 {path}; true) & read go; chown 1 {path}; wait"
    ))?;
    let mut other = shell("read go; chroot / true".to_owned())?;
    let attached = Attached::to(&["--pid", &ours.id().to_string()])?;
    drop(other.stdin.take());
    drop(ours.stdin.take());
    ours.wait()?;
    other.wait()?;
    let report = attached.report()?;
    let subject = only(&report)?;
    ensure(subject.name.starts_with("sh["), &subject.name)?;
    needs(subject, &["CHOWN"])?;
    ensure(
        !subject.seen_from_start && !report.session.complete,
        subject,
    )?;
    let chown = subject
        .capabilities
        .iter()
        .find(|capability| capability.capability == Capability::CHOWN)
        .ok_or("no CHOWN")?;
    ensure(chown.checks.total == 2, chown.checks)
}

fn container() -> Verdicts {
    let _gone = removed(&["attach-one", "attach-other"]);
    for name in ["attach-one", "attach-other"] {
        docker(&["run", "-d", "--name", name, IMAGE, "sleep", "600"])?;
    }
    let attached = Attached::to(&["--container", "attach-one"])?;
    docker(&["exec", "attach-one", "chown", "1", "/opt"])?;
    docker(&["exec", "attach-other", "chroot", "/", "true"])?;
    docker(&["run", "--rm", IMAGE, "chroot", "/", "true"])?;
    let report = attached.end()?;
    let subject = only(&report)?;
    ensure(subject.name == "attach-one", &subject.name)?;
    needs(subject, &["CHOWN"])
}

fn restart() -> Verdicts {
    let _gone = removed(&["attach-again"]);
    let script = "chown 1 /opt; exec sleep 600";
    docker(&[
        "run",
        "-d",
        "--name",
        "attach-again",
        IMAGE,
        "sh",
        "-c",
        script,
    ])?;
    let attached = Attached::to(&["--container", "attach-again", "--duration", "600s"])?;
    docker(&["restart", "-t", "0", "attach-again"])?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let report = attached.end()?;
    let subject = only(&report)?;
    // Its files are as the first start left them, which nobody saw.
    ensure(
        !subject.seen_from_start && !report.session.complete,
        subject,
    )?;
    ensure(
        subject.incomplete.iter().any(|it| it.contains("made anew")),
        &subject.incomplete,
    )?;
    needs(subject, &["CHOWN"])
}

fn service() -> Verdicts {
    let _gone = removed(&["attach-web-1", "attach-web-2", "attach-db-1"]);
    let start = |name: &str, service: &str, script: &str| {
        docker(&[
            "run",
            "-d",
            "--name",
            name,
            "--label",
            "com.docker.compose.project=attach",
            "--label",
            &format!("com.docker.compose.service={service}"),
            IMAGE,
            "sh",
            "-c",
            script,
        ])
    };
    start("attach-web-1", "web", "sleep 600")?;
    let attached = Attached::to(&["--service", "web"])?;
    start("attach-web-2", "web", "chown 1 /opt; sleep 600")?;
    start("attach-db-1", "db", "chroot / true; sleep 600")?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let report = attached.end()?;
    let subject = only(&report)?;
    ensure(subject.compose_service.as_deref() == Some("web"), subject)?;
    needs(subject, &["CHOWN"])
}

fn cgroup() -> Verdicts {
    let directory = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .iter()
        .map(|root| std::path::Path::new(root).join("capaudit-attach"))
        .find(|directory| {
            directory
                .parent()
                .is_some_and(|root| root.join("cgroup.procs").is_file())
        })
        .ok_or("no unified cgroup hierarchy is mounted")?;
    let _ = std::fs::create_dir(&directory);
    let _gone = Gone(|| {
        let _ = std::fs::remove_dir(&directory);
    });
    let file = tempfile::NamedTempFile::new()?;
    let mut inside = Command::new("sh")
        .arg("-c")
        .arg(format!("read go; chown 1 {}", file.path().display()))
        .stdin(Stdio::piped())
        .spawn()?;
    std::fs::write(directory.join("cgroup.procs"), inside.id().to_string())?;
    let attached = Attached::to(&["--cgroup", &directory.to_string_lossy()])?;
    drop(inside.stdin.take());
    inside.wait()?;
    let report = attached.report()?;
    needs(only(&report)?, &["CHOWN"])
}

fn not_there() -> Verdicts {
    for words in [
        ["--pid", "999999999"],
        ["--container", "attach-nobody"],
        ["--service", "attach-nobody"],
        ["--cgroup", "/sys/fs/cgroup/attach-nobody"],
    ] {
        let output = Command::new(CAPAUDIT).arg("attach").args(words).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure(output.status.code() == Some(2), (words, output.status))?;
        ensure(
            text.lines().count() == 1 && text.contains(words[1]),
            (words, &text),
        )?;
    }
    Ok(())
}
