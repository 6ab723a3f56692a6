//! What the traced program is traced by.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use capaudit_core::ledger::Hook;
use capaudit_tracer::probe::Baseline;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a tracer may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// A way to trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tracing {
    /// Nothing traces: what the others are compared with.
    None,
    /// An empty program on the hook that capaudit uses.
    Baseline,
    /// `capaudit run -- PROGRAM`
    Run,
    /// `capaudit run --checks-only -- PROGRAM`
    RunChecksOnly,
    /// `capaudit run` on something else: what it costs the rest of the machine.
    RunElsewhere,
    /// `capaudit watch` of the whole machine, every check shown.
    Watch,
    /// bpftrace, counting by capability and process.
    BpftraceCount,
    /// bpftrace, printing a line a check.
    BpftracePrint,
}

impl Tracing {
    /// What tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "no tracing",
            Self::Baseline => "an empty program on the same hook",
            Self::Run => "capaudit run",
            Self::RunChecksOnly => "capaudit run --checks-only",
            Self::RunElsewhere => "capaudit run, of another program",
            Self::Watch => "capaudit watch --all, of the whole machine",
            Self::BpftraceCount => "bpftrace, counting",
            Self::BpftracePrint => "bpftrace, printing",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The capaudit to measure.
    pub capaudit: PathBuf,
    /// This program, which is also the traced one.
    pub ourselves: PathBuf,
    /// The hook that capaudit chooses here.
    pub hook: Hook,
    /// Times that each figure is measured.
    pub rounds: usize,
}

/// Tracing that has begun.
pub(crate) enum Active {
    /// Whoever is traced has to be started by `capaudit run`, or nothing is needed.
    Nothing,
    /// A program of this process's.
    Baseline(#[expect(dead_code, reason = "kept until it is dropped")] Baseline),
    /// A process beside the traced program; it is stopped at the end.
    Beside(Child),
}

impl Programs {
    /// Begins to trace; the traced program is to be started by [`Self::command`].
    pub(crate) fn begin(&self, tracing: Tracing) -> Result<Active> {
        Ok(match tracing {
            Tracing::None | Tracing::Run | Tracing::RunChecksOnly => Active::Nothing,
            Tracing::Baseline => Active::Baseline(Baseline::start(self.hook)?),
            Tracing::RunElsewhere => {
                let mut capaudit = Command::new(&self.capaudit)
                    .args(["run", "--output", "/dev/null", "--", "sh", "-c"])
                    .arg("echo ready; exec sleep 600")
                    .stdout(Stdio::piped())
                    .spawn()?;
                wait_for(&mut capaudit, "ready")?;
                Active::Beside(capaudit)
            }
            Tracing::Watch => {
                let mut capaudit = Command::new(&self.capaudit)
                    .args(["watch", "--json", "--all"])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()?;
                wait_for(&mut capaudit, "{\"type\":\"begin\"")?;
                Active::Beside(capaudit)
            }
            Tracing::BpftraceCount => Active::Beside(bpftrace("{ @[args->cap, pid] = count(); }")?),
            Tracing::BpftracePrint => Active::Beside(bpftrace(
                "{ printf(\"%d %s %d %d\\n\", pid, comm, args->cap, args->ret); }",
            )?),
        })
    }

    /// The command that runs a traced program.
    pub(crate) fn command(&self, tracing: Tracing, program: &Path, words: &[&OsStr]) -> Command {
        let options: &[&str] = match tracing {
            Tracing::Run => &[],
            Tracing::RunChecksOnly => &["--checks-only"],
            _ => {
                let mut command = Command::new(program);
                command.args(words);
                return command;
            }
        };
        let mut command = Command::new(&self.capaudit);
        command
            .args(["run", "--output", "/dev/null"])
            .args(options)
            .arg("--")
            .arg(program)
            .args(words);
        command
    }

    /// Nanoseconds that the traced program prints: one of [`crate::work`]'s.
    pub(crate) fn measure(&self, tracing: Tracing, words: &[&str]) -> Result<f64> {
        let active = self.begin(tracing)?;
        let mut all = vec![OsStr::new("work")];
        all.extend(words.iter().map(OsStr::new));
        let output = self
            .command(tracing, &self.ourselves, &all)
            .stderr(Stdio::inherit())
            .output()?;
        active.end()?;
        ensure!(output.status.success(), "{words:?}: {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim()
            .parse()
            .with_context(|| format!("{words:?} printed {text:?}"))
    }
}

impl Active {
    /// Stops the process that traces, if there is one.
    pub(crate) fn end(self) -> Result<()> {
        if let Self::Beside(mut child) = self {
            let pid = Pid::from_raw(i32::try_from(child.id())?);
            kill(pid, Signal::SIGINT)?;
            let asked = Instant::now();
            while child.try_wait()?.is_none() {
                // bpftrace sometimes does not end for a signal that it gets while it waits for events.
                if asked.elapsed() > PATIENCE {
                    child.kill()?;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }
}

/// bpftrace on the tracepoint, or where there is none, on the function.
fn bpftrace(action: &str) -> Result<Child> {
    let tracepoint = Path::new("/sys/kernel/tracing/events/capability/cap_capable").exists();
    let probe = if tracepoint {
        format!("tracepoint:capability:cap_capable {action}")
    } else {
        let action = action
            .replace("args->cap", "arg2")
            .replace("args->ret", "arg3");
        format!("kprobe:cap_capable {action}")
    };
    let mut child = Command::new("bpftrace")
        .args(["-e", &format!("BEGIN {{ printf(\"ready\\n\"); }} {probe}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("bpftrace")?;
    wait_for(&mut child, "ready")?;
    Ok(child)
}

/// Waits for a line that begins so, then lets go of the rest of the output.
fn wait_for(child: &mut Child, wanted: &str) -> Result<()> {
    let mut output = BufReader::new(child.stdout.take().context("no output")?);
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if line.starts_with(wanted) {
            // Whatever it prints has to be read by somebody, as a terminal or a file would.
            std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
            return Ok(());
        }
        line.clear();
    }
    bail!("{child:?} ended before it was ready")
}
