//! What capaudit does when something goes wrong around it: docs/internals/faults.md has a line for each of these.

mod clock;
mod disk;
mod engine;
mod forged;
mod full;
mod killed;
mod many;
mod memory;
mod reuse;
mod stopped;
mod suspended;
mod together;

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use capaudit_core::{capability::Capability, ledger::Ledger, report::Report};
use libtest_mimic::{Failed, Trial};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::audit::{CAPAUDIT, Verdicts, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    [
        killed::trials(),
        full::trials(),
        memory::trials(),
        disk::trials(),
        engine::trials(),
        forged::trials(),
        many::trials(),
        reuse::trials(),
        stopped::trials(),
        clock::trials(),
        together::trials(),
        suspended::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How long something may take to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a whole run may take.
const LONGEST: Duration = Duration::from_secs(90);

/// `capaudit run`, under way.
struct Run {
    child: Child,
    directory: tempfile::TempDir,
    input: Option<ChildStdin>,
}

impl Run {
    /// Starts it; the command waits for a line, or the end, of its input before it does anything. Returns when it does.
    fn start(options: &[&str], script: &str) -> Result<Self, Failed> {
        Self::start_with(Command::new(CAPAUDIT), options, script)
    }

    /// The same, where `capaudit` is the program, maybe with something around it.
    fn start_with(mut capaudit: Command, options: &[&str], script: &str) -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        // The containers of these tests are started from outside.
        let mut child = capaudit
            .args(["run", "--others", "--format", "json", "--output"])
            .arg(directory.path().join("report.json"))
            .arg("--save")
            .arg(directory.path().join("session.json"))
            .args(options)
            .args(["--", "sh", "-c"])
            .arg(format!("echo ready; read go; {script}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = [0; 6];
        let stdout = child.stdout.as_mut().ok_or("no output")?;
        stdout.read_exact(&mut ready)?;
        Ok(Self {
            input: child.stdin.take(),
            child,
            directory,
        })
    }

    fn pid(&self) -> Result<Pid, Failed> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    fn signal(&self, signal: Signal) -> Verdicts {
        Ok(kill(self.pid()?, signal)?)
    }

    /// Lets the command go on.
    fn go(&mut self) -> Verdicts {
        let mut input = self.input.take().ok_or("it was let go already")?;
        Ok(input.write_all(b"\n")?)
    }

    /// Lets the command go on, if that was not done, and waits for the end.
    fn end(mut self) -> Result<Ended, Failed> {
        drop(self.input.take());
        let deadline = Instant::now() + LONGEST;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None => ensure(Instant::now() < deadline, "it does not end")?,
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Ok(Ended {
            status,
            report: report(&self.directory.path().join("report.json"))?,
            ledger: capaudit_storage::load(&self.directory.path().join("session.json"))?,
        })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A failed test leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `capaudit run`, over.
struct Ended {
    status: ExitStatus,
    report: Report,
    ledger: Ledger,
}

fn report(file: &Path) -> Result<Report, Failed> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("no report: {error}"))?;
    Ok(serde_json::from_str(&text)?)
}

/// Checks for a capability in all, with those of which it is not known whose they are.
fn counted(ledger: &Ledger, capability: Capability) -> u64 {
    let of_subjects = ledger
        .subjects
        .iter()
        .flat_map(|subject| &subject.checks)
        .filter(|check| check.identity.capability == capability)
        .map(|check| check.count);
    of_subjects.sum::<u64>() + unattributed(ledger, capability)
}

fn unattributed(ledger: &Ledger, capability: Capability) -> u64 {
    ledger
        .session
        .unattributed
        .iter()
        .filter(|(asked, _count)| *asked == capability)
        .map(|(_capability, count)| count)
        .sum()
}

/// A command for the shell: one of this binary's payloads.
fn payload(words: &[&str]) -> Result<String, Failed> {
    let words = crate::watch::payload(words)?;
    Ok(shlex_join(&words))
}

fn shlex_join(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    quoted.join(" ")
}

/// Waits until something is so.
fn until(what: &str, mut is: impl FnMut() -> Result<bool, Failed>) -> Verdicts {
    let deadline = Instant::now() + PATIENCE;
    while !is()? {
        ensure(Instant::now() < deadline, format!("never {what}"))?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
