//! The virtual machine: started, watched, and stopped when its time is over.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::emulator::Emulator;
use super::initramfs::Step;
use super::package::Unpacked;
use super::results::Outcome;

/// The kernel's command line. The first serial port takes the kernel's messages and what commands print; an oops stops
/// the machine; BPF LSM programs are enabled, which Debian's default leaves out up to 5.10.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=3 panic=-1 oops=panic lsm=landlock,lockdown,yama,integrity,apparmor,bpf";

/// How often a running virtual machine is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A virtual machine to be run once.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) qemu: &'a Emulator,
    /// The kernel to boot.
    pub(super) kernel: &'a Unpacked,
    /// Folder for files that are gone after the run.
    pub(super) scratch: &'a Path,
    /// Time after which it is stopped.
    pub(super) timeout: Duration,
}

impl Machine<'_> {
    /// Boots with an initramfs, passes the console on to stdout, and returns what was reported on the steps. An error if
    /// the machine stopped before it was through with them.
    pub(super) fn run(&self, initramfs: &[u8], steps: &[Step]) -> Result<Outcome> {
        let folder = Scratch::new(self.scratch.join(format!("run-{}", std::process::id())))?;
        let initrd = folder.path("initrd");
        let report = folder.path("report");
        fs::write(&initrd, initramfs)
            .with_context(|| format!("cannot write {}", initrd.display()))?;

        let started = Instant::now();
        let mut child = self.spawn(&initrd, &report)?;
        let console = child.stdout.take().context("qemu has no output")?;
        let passing_on = thread::spawn(move || pass_on(console, io::stdout()));
        let status = self.wait(&mut child, started)?;
        let panic = passing_on.join().unwrap_or_default();

        let report = fs::read(&report).unwrap_or_default();
        let outcome = Outcome::parse(&String::from_utf8_lossy(&report), steps);
        let during = match (&outcome.ready, outcome.unfinished()) {
            (None, _) => "while it booted".to_owned(),
            (Some(_), Some(step)) => format!("in `{step}`"),
            (Some(_), None) => "after the last command".to_owned(),
        };
        match status {
            _ if outcome.complete => {}
            None => bail!(
                "stopped after {} s, {during}: allow more with --timeout",
                self.timeout.as_secs()
            ),
            Some(_) if panic.is_some() => bail!("{during}: {}", panic.unwrap_or_default()),
            Some(status) if !status.success() => {
                bail!("qemu failed {during} ({status}): see its messages above")
            }
            Some(_) => bail!("the virtual machine stopped {during}: see its messages above"),
        }
        let ready = outcome.ready.as_deref().unwrap_or("?");
        println!(
            "== ran for {:.1} s, ready {ready} s after the kernel's start",
            started.elapsed().as_secs_f32()
        );
        Ok(outcome)
    }

    /// Starts the emulator, its serial ports going to stdout and to the report.
    fn spawn(&self, initrd: &Path, report: &Path) -> Result<Child> {
        let report = report
            .to_str()
            .context("the checkout's path is not valid UTF-8: move it")?;
        self.qemu
            .command()?
            .args([
                "-no-user-config",
                "-nodefaults",
                "-display",
                "none",
                "-no-reboot",
            ])
            // Both processors in one thread: with a thread each, emulation loses the race between code that the kernel
            // patches (as it does to attach a program) and the breakpoint it covers that with, and about one boot in
            // ten ends with an "int3" oops.
            .args([
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                "1G",
            ])
            .args([
                "-chardev",
                "stdio,id=console,signal=off",
                "-serial",
                "chardev:console",
            ])
            // A comma would end the path.
            .args([
                "-chardev",
                &format!("file,id=report,path={}", report.replace(',', ",,")),
            ])
            .args(["-serial", "chardev:report"])
            .args(["-append", COMMAND_LINE])
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(initrd)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run the emulator")
    }

    /// Waits for the emulator's end; nothing if it had to be stopped.
    fn wait(&self, child: &mut Child, started: Instant) -> Result<Option<ExitStatus>> {
        while started.elapsed() < self.timeout {
            if let Some(status) = child.try_wait().context("qemu is gone")? {
                return Ok(Some(status));
            }
            thread::sleep(POLL);
        }
        child.kill().context("cannot stop qemu")?;
        child.wait().context("qemu is gone")?;
        Ok(None)
    }
}

/// Copies the console, line by line and without control characters; returns the kernel's last words, if it
/// panicked.
fn pass_on(console: impl Read, mut to: impl Write) -> Option<String> {
    let mut panic = None;
    let mut lines = BufReader::new(console);
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        let text: String = String::from_utf8_lossy(&line)
            .chars()
            .filter(|c| *c == '\t' || !c.is_control())
            .collect();
        // A reader that is gone must not keep the virtual machine from running to its end.
        let _ = writeln!(to, "{text}");
        if let (None, Some(start)) = (&panic, text.find("Kernel panic")) {
            panic = Some(text[start..].to_owned());
        }
        line.clear();
    }
    panic
}

/// A folder that is removed with everything in it.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("warning: cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_on_the_console() {
        let console =
            "hello\r\n\u{1b}[0m[    2.1] Kernel panic - not syncing: Fatal exception\r\nmore\r\n";
        let mut passed_on = Vec::new();
        let panic = pass_on(console.as_bytes(), &mut passed_on);
        assert_eq!(
            panic.as_deref(),
            Some("Kernel panic - not syncing: Fatal exception")
        );
        assert!(passed_on.starts_with(b"hello\n[0m[    2.1] Kernel panic"));
        assert_eq!(pass_on("all is well\n".as_bytes(), io::sink()), None);
    }
}
