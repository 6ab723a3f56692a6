//! Running capaudit, and looking at what it reports.

use std::{
    ffi::OsStr,
    process::{Command, Output, Stdio},
};

use capaudit_core::{
    advise::{Finding, Verdict},
    ledger::Ledger,
    report::{Report, SubjectReport},
};
use libtest_mimic::Failed;

/// What a test says when it is over.
pub(crate) type Verdicts = Result<(), Failed>;

/// The binary under test.
pub(crate) const CAPAUDIT: &str = env!("CARGO_BIN_EXE_capaudit");

/// An audit that was made.
pub(crate) struct Audited {
    pub report: Report,
    pub ledger: Ledger,
    pub output: Output,
}

/// Audits a command with further options for `capaudit run`.
pub(crate) fn audit_with<S: AsRef<OsStr>>(
    options: &[&str],
    command: &[S],
) -> Result<Audited, Failed> {
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report.json");
    let session = directory.path().join("session.json");
    let output = Command::new(CAPAUDIT)
        .args(["run", "--format", "json", "--output"])
        .arg(&report)
        .arg("--save")
        .arg(&session)
        .args(options)
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .output()?;
    let text = std::fs::read_to_string(&report).map_err(|error| {
        format!(
            "no report ({error}); capaudit said: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    Ok(Audited {
        report: serde_json::from_str(&text)?,
        ledger: capaudit_storage::load(&session)?,
        output,
    })
}

/// Audits a command.
pub(crate) fn audit<S: AsRef<OsStr>>(command: &[S]) -> Result<Audited, Failed> {
    let audited = audit_with(&[], command)?;
    if !audited.report.session.complete {
        return Err(format!("the record is incomplete: {:?}", audited.ledger.session).into());
    }
    Ok(audited)
}

/// Audits a shell script.
pub(crate) fn audit_script(script: &str) -> Result<Audited, Failed> {
    audit(&["sh", "-ec", script])
}

/// Audits one of this binary's own payloads.
pub(crate) fn audit_payload(options: &[&str], payload: &[&str]) -> Result<Audited, Failed> {
    let own = std::env::current_exe()?;
    let mut command: Vec<&OsStr> = vec![own.as_os_str(), OsStr::new("payload")];
    command.extend(payload.iter().map(OsStr::new));
    audit_with(options, &command)
}

impl Audited {
    /// The command's own subject.
    pub(crate) fn command(&self) -> Result<&SubjectReport, Failed> {
        self.report
            .subjects
            .first()
            .ok_or_else(|| "no subject in the report".into())
    }

    /// The container of this name.
    pub(crate) fn container(&self, name: &str) -> Result<&SubjectReport, Failed> {
        self.report
            .subjects
            .iter()
            .find(|subject| subject.name == name)
            .ok_or_else(|| {
                let names: Vec<&String> = self
                    .report
                    .subjects
                    .iter()
                    .map(|subject| &subject.name)
                    .collect();
                format!("no container {name} in the report, only {names:?}").into()
            })
    }

    /// Fails unless the command succeeded.
    pub(crate) fn succeeded(&self) -> Verdicts {
        if self.output.status.success() {
            return Ok(());
        }
        Err(format!(
            "{:?}: {}{}",
            self.output.status,
            String::from_utf8_lossy(&self.output.stdout),
            String::from_utf8_lossy(&self.output.stderr)
        )
        .into())
    }
}

/// What is said of a capability.
pub(crate) fn capability<'a>(
    subject: &'a SubjectReport,
    name: &str,
) -> Result<&'a Finding, Failed> {
    subject
        .capabilities
        .iter()
        .find(|capability| capability.capability.name() == name)
        .ok_or_else(|| format!("{name} was never asked for: {:#?}", subject.capabilities).into())
}

/// Fails unless exactly these capabilities are recommended.
pub(crate) fn needs(subject: &SubjectReport, expected: &[&str]) -> Verdicts {
    if subject.cap_add.names().eq(expected.iter().copied()) {
        return Ok(());
    }
    let needed: Vec<&Finding> = subject
        .capabilities
        .iter()
        .filter(|capability| capability.verdict == Verdict::Needed)
        .collect();
    Err(format!(
        "expected {expected:?}, found {:?}: {needed:#?}",
        subject.cap_add
    )
    .into())
}

/// Fails unless the condition holds, and says at which line of which test that was.
#[track_caller]
pub(crate) fn ensure(condition: bool, otherwise: impl std::fmt::Debug) -> Verdicts {
    if condition {
        Ok(())
    } else {
        let place = std::panic::Location::caller();
        Err(format!("{place}: {otherwise:#?}").into())
    }
}
