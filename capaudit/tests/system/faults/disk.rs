//! A full disk: the earlier file stays, nothing is half written, and what was found is not lost.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use capaudit_core::capability::Capability;
use libtest_mimic::{Failed, Trial};

use super::{counted, until};
use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    daemon::Daemon,
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::disk_full_when_the_session_is_saved", session),
        Trial::test("faults::disk_full_for_exports", exports),
        Trial::test("faults::disk_full_under_the_daemon", daemon),
    ]
}

/// A small file system.
pub(super) struct Disk {
    place: PathBuf,
    /// Where it is mounted, if nobody else's.
    _directory: Option<tempfile::TempDir>,
}

impl Disk {
    fn new() -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        let mut disk = Self::over(directory.path())?;
        disk._directory = Some(directory);
        Ok(disk)
    }

    /// Over a directory that is in use already.
    pub(super) fn over(directory: &Path) -> Result<Self, Failed> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "none"])
            .arg(directory)
            .status()?;
        ensure(mounted.success(), mounted)?;
        Ok(Self {
            place: directory.to_owned(),
            _directory: None,
        })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    /// Until there is no room left.
    pub(super) fn fill(&self) -> Verdicts {
        let full = std::fs::write(self.place("filler"), vec![b'x'; 16 << 20]);
        ensure(full.is_err(), "it is not small at all")
    }

    fn names(&self) -> Result<Vec<String>, Failed> {
        let mut names: Vec<String> = std::fs::read_dir(&self.place)?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        Ok(names)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}

/// Where a message says that the session was saved instead.
fn elsewhere(text: &str) -> Result<PathBuf, Failed> {
    let quoted = text
        .split_once("saved to \"")
        .and_then(|(_before, rest)| rest.split_once('"'))
        .ok_or_else(|| format!("it does not say where: {text}"))?;
    Ok(quoted.0.into())
}

/// The command fills the disk itself, so that nobody could know before.
fn run(words: &[&str], disk: &Disk, command: &str, spare: &Path) -> Result<Output, Failed> {
    Ok(Command::new(CAPAUDIT)
        .args(words)
        .args(["--", "sh", "-c", command])
        .current_dir(&disk.place)
        .env("TMPDIR", spare)
        .stdin(Stdio::null())
        .output()?)
}

fn session() -> Verdicts {
    let (_file, path) = temporary()?;
    let spare = tempfile::tempdir()?;
    let fills = format!("chown 1 {path}; dd if=/dev/zero of=filler bs=64k 2>/dev/null");
    for (subcommand, end, status) in [
        ("run", "true", 2),
        ("run", "exit 7", 7),
        ("watch", "true", 2),
    ] {
        let disk = Disk::new()?;
        std::fs::write(disk.place("s.json"), "earlier")?;
        let command = format!("{fills}; {end}");
        let output = run(
            &[subcommand, "--save", "s.json"],
            &disk,
            &command,
            spare.path(),
        )?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // The command's own failure is still the command's.
        ensure(output.status.code() == Some(status), (output.status, &text))?;
        let told: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("s.json"))
            .collect();
        ensure(told.len() == 1 && told[0].contains("No space left"), &text)?;
        ensure(
            std::fs::read(disk.place("s.json"))? == b"earlier",
            "it was touched",
        )?;
        ensure(disk.names()? == ["filler", "s.json"], disk.names()?)?;
        let other = elsewhere(&text)?;
        ensure(other.parent() == Some(spare.path()), &other)?;
        ensure(
            counted(&capaudit_storage::load(&other)?, Capability::CHOWN) == 1,
            &other,
        )?;
        if subcommand == "run" {
            ensure(text.contains("needs CHOWN"), &text)?;
        }
    }
    // Only the report: it is shown instead.
    let disk = Disk::new()?;
    let command = format!("{fills}; true");
    let output = run(&["run", "--output", "r.txt"], &disk, &command, spare.path())?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.code() == Some(2), (output.status, &text))?;
    ensure(
        text.contains("needs CHOWN") && text.contains("cannot write"),
        &text,
    )?;
    ensure(disk.names()? == ["filler"], disk.names()?)
}

fn exports() -> Verdicts {
    let (_file, path) = temporary()?;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("s.json");
    let saved = Command::new(CAPAUDIT)
        .args(["run", "--save"])
        .arg(&session)
        .args(["--", "chown", "1", &path])
        .stderr(Stdio::null())
        .status()?;
    ensure(saved.success(), saved)?;
    let disk = Disk::new()?;
    std::fs::write(disk.place("out"), "earlier")?;
    disk.fill()?;
    for words in [
        &["report"][..],
        &["report", "--format", "json"],
        &["export", "systemd"],
    ] {
        let output = Command::new(CAPAUDIT)
            .args(words)
            .arg(&session)
            .arg("--output")
            .arg(disk.place("out"))
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure(output.status.code() == Some(2), (words, &text))?;
        ensure(
            text.lines().count() == 1 && text.contains("No space left"),
            &text,
        )?;
        ensure(
            std::fs::read(disk.place("out"))? == b"earlier",
            "it was touched",
        )?;
        ensure(disk.names()? == ["filler", "out"], disk.names()?)?;
    }
    // The same for standard output.
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "exec {CAPAUDIT} report {} > /dev/full",
            session.display()
        ))
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.code() == Some(2), output.status)?;
    ensure(
        text.lines().count() == 1 && text.contains("No space left"),
        &text,
    )
}

/// It goes on, says so once, and saves when there is room again.
fn daemon() -> Verdicts {
    let mut daemon = Daemon::start(&[])?;
    let disk = Disk::over(&daemon.state())?;
    let session = disk.place("session.json");
    until("saved", || Ok(session.exists()))?;
    disk.fill()?;
    let before = std::fs::read(&session)?;
    std::thread::sleep(Duration::from_millis(2500));
    ensure(
        daemon.live()?.schema.starts_with("capaudit.report"),
        "it does not answer",
    )?;
    ensure(std::fs::read(&session)? == before, "it was touched")?;
    std::fs::remove_file(disk.place("filler"))?;
    // Others may run containers meanwhile: the file grows.
    until("saved again", || Ok(std::fs::read(&session)? != before))?;
    disk.fill()?;
    // In the end there is no other time.
    let (status, text) = daemon.end_with_words()?;
    ensure(status.code() == Some(2), (status, &text))?;
    let told = text.lines().filter(|line| line.contains("No space left"));
    // Once for the first time, and once in the end.
    ensure(told.count() == 2, &text)?;
    let other = elsewhere(&text)?;
    let rescued = capaudit_storage::load(&other);
    std::fs::remove_file(&other)?;
    rescued?;
    ensure(disk.names()? == ["filler", "session.json"], disk.names()?)
}
