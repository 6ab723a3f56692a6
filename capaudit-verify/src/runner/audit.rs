//! The run that all others are compared with: `capaudit run` on the command, or on each phase of a life.

use std::{
    ffi::OsString,
    path::Path,
    time::{Duration, Instant},
};

use capaudit_core::ledger::{self, Ledger, Subject};
use capaudit_life::Expected;
use capaudit_tracer::launch::shell_status;

use super::{Runner, Workplace, milliseconds, not_audited, passed};
use crate::{
    VerifyError,
    enforce::{
        Enforcement, Invocation, NotUnderstood, compose::Resolved, life::LifeRun, socket::Made,
    },
    execute::{Ended, execute},
    state::Audited,
};

/// What such a run is, for people.
const AUDIT: &str = "with what it grants itself, audited";

/// An audit that was made.
struct Led {
    ledger: Ledger,
    ended: Ended,
    /// What a life looked like.
    expected: Option<Expected>,
}

impl Runner<'_> {
    /// The audit of the command with what it grants itself, made or as it was kept.
    ///
    /// # Errors
    ///
    /// It could not be made.
    pub(crate) fn audit(&mut self) -> Result<Audited, VerifyError> {
        let audited = match self.state.audit() {
            Some(kept) => {
                self.progress
                    .ended(&format!("run 1: {AUDIT}"), "kept from before");
                kept
            }
            None => {
                let audited = self.audited()?;
                self.state.save_audit(audited.clone())?;
                audited
            }
        };
        self.usual = Some(Duration::from_millis(audited.duration_ms));
        if let (Enforcement::Life(run, _), Some(expected)) = (self.enforcement, &audited.expected) {
            run.expect(expected.clone());
        }
        Ok(audited)
    }

    fn audited(&mut self) -> Result<Audited, VerifyError> {
        let place = Workplace::new(self.directory)?;
        let proxy = self.proxy(&place, None)?;
        let led = match self.enforcement {
            Enforcement::Life(run, resolved) => self.audited_life(run, resolved, &place),
            _ => self.audited_command(&place),
        };
        let seen = proxy.map(passed);
        self.clean(&place, led.as_ref().ok().map(|led| &led.ended))?;
        let Led {
            mut ledger,
            ended,
            expected,
        } = led?;
        call_by_command(&mut ledger, self.command);
        let started = match self.enforcement {
            Enforcement::Bounding(_) | Enforcement::Lsm(_) | Enforcement::Socket(_) => None,
            Enforcement::Docker(_) => place.scratch().container(),
            Enforcement::Compose(run, _) => Some(run.project().to_owned()),
            Enforcement::Life(run, _) => Some(run.called.clone()),
        };
        let made = seen.transpose()?.map(|seen| seen.made).unwrap_or_default();
        Ok(Audited {
            ledger,
            started,
            made: made.into_iter().map(Made::from).collect(),
            output: ended.output.last_lines(),
            duration_ms: milliseconds(ended.duration),
            expected,
        })
    }

    fn audited_command(&mut self, place: &Workplace) -> Result<Led, VerifyError> {
        let plain = self
            .enforcement
            .audited(place.scratch())
            .map_err(VerifyError::system("cannot prepare a run"))?;
        let session = place.directory.path().join("session.json");
        let what = format!("run {}: {AUDIT}", self.state.used() + 1);
        let (ledger, ended) = self.recorded(&what, plain, &session)?;
        Ok(Led {
            ledger,
            ended,
            expected: None,
        })
    }

    /// Audits each phase by itself, so that it is known what was asked for in which.
    fn audited_life(
        &mut self,
        run: &LifeRun,
        resolved: &Resolved,
        place: &Workplace,
    ) -> Result<Led, VerifyError> {
        run.prepare_audit(resolved, place.scratch())
            .map_err(VerifyError::system("cannot prepare the project"))?;
        let mut ledgers = Vec::new();
        let mut expected = Expected::default();
        let mut last: Option<Ended> = None;
        for phase in &run.life.phases {
            let words = run
                .leading(&[*phase], place.scratch())
                .map_err(VerifyError::system("cannot prepare a phase"))?;
            let plain = Invocation {
                words,
                ..Invocation::default()
            };
            let session = place.directory.path().join(format!("{phase}.json"));
            let what = format!("run 1: audited with all capabilities: {phase}");
            let (ledger, mut ended) = self.recorded(&what, plain, &session)?;
            ledgers.push(ledger.seen_in(*phase));
            let is_over = !ended.status.success();
            if let Some(before) = &last {
                ended.duration = ended.duration.saturating_add(before.duration);
            }
            last = Some(ended);
            if is_over {
                break;
            }
            let learned = run
                .learned(place.scratch())
                .map_err(VerifyError::system("cannot read what a phase looked like"))?;
            expected.add(learned);
        }
        let (Some(mut ledger), Some(ended)) = (ledger::merge(ledgers), last) else {
            return Err(NotUnderstood::new("a life has at least one phase").into());
        };
        call_by_service(&mut ledger, run);
        Ok(Led {
            ledger,
            ended,
            expected: Some(expected),
        })
    }

    /// Runs a command under `capaudit run`.
    fn recorded(
        &mut self,
        what: &str,
        plain: Invocation,
        session: &Path,
    ) -> Result<(Ledger, Ended), VerifyError> {
        self.progress.begins(what, None);
        let begun = Instant::now();
        let invocation = Invocation {
            words: audited_by_ourselves(session, plain.words),
            ourselves: true,
            ..plain
        };
        let ended = execute(&invocation, self.timeout, self.signals)?;
        self.pace.add(begun.elapsed());
        if ended.timed_out {
            return Err(VerifyError::TooSlow(ended.duration));
        }
        if !session.exists() {
            return Err(not_audited(&ended));
        }
        let ledger = capaudit_storage::load(session)?;
        let how = match shell_status(ended.status) {
            0 => "passed".to_owned(),
            status => format!("failed with status {status}"),
        };
        self.progress.ended(what, &how);
        Ok((ledger, ended))
    }
}

/// `capaudit run` on a command.
fn audited_by_ourselves(session: &Path, words: Vec<OsString>) -> Vec<OsString> {
    // Not `current_exe`, which names a file that may have been replaced meanwhile.
    let mut all: Vec<OsString> = [
        "/proc/self/exe",
        "run",
        "--format",
        "json",
        "--output",
        "/dev/null",
    ]
    .map(OsString::from)
    .to_vec();
    all.extend(["--save".into(), session.into(), "--".into()]);
    all.extend(words);
    all
}

/// Names the user's command in the record, not the one that was made of it.
fn call_by_command(ledger: &mut Ledger, command: &[OsString]) {
    let words = command
        .iter()
        .map(|word| word.to_string_lossy().into_owned());
    ledger.session.command = words.collect();
    let name = ledger.session.command.join(" ");
    for subject in &mut ledger.subjects {
        if subject.identity == Subject::Command {
            subject.name.clone_from(&name);
        }
    }
}

/// Names a life's containers as those do whose project it is.
fn call_by_service(ledger: &mut Ledger, run: &LifeRun) {
    for subject in &mut ledger.subjects {
        if subject.compose_project() != Some(run.compose.project()) {
            continue;
        }
        if let Some(service) = subject.compose_service().map(str::to_owned) {
            subject.name = service;
        }
        if let Subject::Container(container) = &mut subject.identity {
            container.compose_project = Some(run.called.clone());
        }
    }
}
