//! The contract `capaudit.watch/1`: one JSON object a line.

use std::sync::Arc;

use capaudit_core::{
    advise::{Assessment, Evidence, Verdict},
    capability::Capability,
    ledger::{
        CheckIdentity, CheckRecord, Container, Credentials, Hook, Kind, Losses, Outcome, Place,
        Pod, Requester, Sample, Subject, SubjectRecord, UserIds,
    },
    report::Seconds,
    text::escape_json,
};
use serde::{Deserialize, Serialize};

use super::{Missing, Summary, judged::JudgedCheck};

/// Names the format of the lines.
pub const SCHEMA: &str = "capaudit.watch/1";

/// One line; `type` tells which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line {
    /// The first line.
    Begin {
        /// `capaudit.watch/1`
        schema: String,
        /// How checks are seen.
        hook: Hook,
        /// What is watched, in words.
        watching: String,
    },
    /// A check.
    Check(Box<CheckLine>),
    /// More has gone missing since the last such line: at most one a second.
    Missing {
        /// Checks so far that were counted but not sent one by one, because there were too many at once, or because the
        /// reader of a daemon's lines was too slow.
        unsent: u64,
        /// What could not even be recorded so far.
        losses: Losses,
    },
    /// The last line.
    End {
        /// All checks that were made, exact. Through a daemon: those that came and pass the filters, and all that
        /// did not come (`unsent`).
        checks: u64,
        /// How many of them have a line.
        shown: u64,
        /// How many were not sent one by one, because there were too many at once.
        unsent: u64,
        /// What could not be recorded.
        losses: Losses,
        /// Length of the watch in seconds.
        duration_s: Seconds,
    },
}

/// A check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckLine {
    /// When (RFC 3339, UTC).
    pub time: String,
    /// Whose it is.
    pub subject: SubjectLine,
    /// Process id, in the initial pid namespace.
    pub pid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// Path of the executable as it was given to execve; empty if unknown.
    pub exe: String,
    /// Command name of the thread.
    pub comm: String,
    /// It was made by what set the subject up (a container runtime), not by the program.
    pub setup: bool,
    /// The capability, without `CAP_`.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub capability: Capability,
    /// The kernel's answer.
    pub outcome: Outcome,
    /// System call, by name or number; null outside one.
    pub syscall: Option<String>,
    /// What the call acted upon, in words; empty if unknown.
    pub object: String,
    /// A second such thing: a new name, an attribute's name; null if there is none.
    pub second: Option<String>,
    /// Arguments of the call, hexadecimal.
    pub arguments: Vec<String>,
    /// What the call returned; negative is an errno; null if it had not by then.
    pub result: Option<i64>,
    /// Who asks.
    pub ids: UserIds,
    /// The user namespace in which the capability was asked.
    pub asked_in: NamespaceLine,
    /// The user namespace of the examined credentials.
    pub credentials_of: NamespaceLine,
    /// The first of these seen from the subject.
    pub place: Place,
    /// Whose credentials were examined.
    pub credentials: Credentials,
    /// Kernel functions from the one that called `cap_capable` outwards; empty if unknown.
    pub callers: Vec<String>,
    /// What it means, as far as this check alone tells.
    pub verdict: Verdict,
    /// How sure that is.
    pub evidence: Evidence,
    /// Why, in one sentence.
    pub reason: String,
}

/// Whose a check is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SubjectLine {
    /// What it is.
    pub kind: Kind,
    /// What people call it.
    pub name: String,
    /// What its engine calls it; empty for a command.
    pub id: String,
    /// The image of a container; empty if unknown.
    pub image: String,
    /// Compose project of a container; empty if there is none.
    pub compose_project: String,
    /// Compose service of a container; empty if there is none.
    pub compose_service: String,
    /// Its Kubernetes pod; null if it is in none.
    pub pod: Option<Pod>,
}

/// A user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NamespaceLine {
    /// Inode number.
    pub inode: u32,
    /// How deep it lies below the initial one.
    pub level: u32,
}

impl CheckLine {
    /// The check that the line tells, as far as it does. `None` if no check could have it.
    pub fn judged(self) -> Option<JudgedCheck> {
        let optional = |text: String| (!text.is_empty()).then_some(text);
        let identity = match self.subject.kind {
            Kind::Command => Subject::Command,
            Kind::Container => Subject::Container(Container {
                id: optional(self.subject.id),
                image: optional(self.subject.image),
                engine: None,
                engine_version: None,
                compose_project: optional(self.subject.compose_project),
                compose_service: optional(self.subject.compose_service),
                pod: self.subject.pod,
            }),
            Kind::Process => Subject::Process {
                id: self.subject.id,
                engine: None,
                program: false,
            },
        };
        let subject = SubjectRecord {
            name: self.subject.name,
            ..SubjectRecord::new(identity)
        };
        let mut arguments = [0; 6];
        for (argument, text) in arguments.iter_mut().zip(&self.arguments) {
            *argument = u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
        }
        let mut record = CheckRecord::new(CheckIdentity {
            capability: self.capability,
            outcome: self.outcome,
            requester: Requester {
                exe: self.exe,
                comm: self.comm,
                setup: self.setup,
            },
            place: self.place,
            inner_credentials: false,
            credentials: self.credentials,
            options: None,
            syscall: self.syscall,
            operation: 0,
            callers: self.callers,
        });
        record.count = 1;
        record.returned(self.result);
        record.add_sample(Sample {
            arguments,
            object: None,
            second: self.second,
            owner: None,
            ids: self.ids,
            result: self.result,
        });
        Some(JudgedCheck {
            time: self.time.parse().ok()?,
            subject: Arc::new(subject),
            pid: self.pid,
            tid: self.tid,
            record,
            object: self.object,
            judgement: Assessment {
                verdict: self.verdict,
                evidence: self.evidence,
                reason: self.reason,
            },
            target_namespace: self.asked_in.inode,
            target_level: self.asked_in.level,
            credentials_namespace: self.credentials_of.inode,
            credentials_level: self.credentials_of.level,
        })
    }
}

impl Line {
    /// The first line of a stream: which contract it follows and how checks are seen.
    pub fn begin(hook: Hook, watching: &str) -> Self {
        Self::Begin {
            schema: SCHEMA.to_owned(),
            hook,
            watching: watching.to_owned(),
        }
    }

    /// The line of a check.
    pub fn check(check: &JudgedCheck) -> Self {
        let identity = &check.record.identity;
        let sample = check.record.samples().seen().first();
        let subject = &check.subject;
        let text = |known: Option<&str>| known.unwrap_or_default().to_owned();
        Self::Check(Box::new(CheckLine {
            time: check.time.to_string(),
            subject: SubjectLine {
                kind: subject.kind(),
                name: subject.name.clone(),
                id: text(subject.id()),
                image: text(subject.image()),
                compose_project: text(subject.compose_project()),
                compose_service: text(subject.compose_service()),
                pod: subject.pod().cloned(),
            },
            pid: check.pid,
            tid: check.tid,
            exe: identity.requester.exe.clone(),
            comm: identity.requester.comm.clone(),
            setup: identity.requester.setup,
            capability: identity.capability,
            outcome: identity.outcome,
            syscall: identity.syscall.clone(),
            object: check.object.clone(),
            second: sample.and_then(|sample| sample.second.clone()),
            arguments: sample
                .map(|sample| sample.arguments.map(|value| format!("{value:#x}")).to_vec())
                .unwrap_or_default(),
            result: check.result(),
            ids: sample.map(|sample| sample.ids).unwrap_or_default(),
            asked_in: NamespaceLine {
                inode: check.target_namespace,
                level: check.target_level,
            },
            credentials_of: NamespaceLine {
                inode: check.credentials_namespace,
                level: check.credentials_level,
            },
            place: identity.place,
            credentials: identity.credentials,
            callers: identity.callers.clone(),
            verdict: check.judgement.verdict,
            evidence: check.judgement.evidence,
            reason: check.judgement.reason.clone(),
        }))
    }

    /// What has gone missing so far.
    pub fn missing(missing: &Missing) -> Self {
        Self::Missing {
            unsent: missing.unsent,
            losses: missing.losses.clone(),
        }
    }

    /// The last line of a stream: how many checks there were, and what is missing.
    pub fn end(shown: u64, summary: &Summary) -> Self {
        Self::End {
            checks: summary.checks,
            shown,
            unsent: summary.missing.unsent,
            losses: summary.missing.losses.clone(),
            duration_s: Seconds::from_millis(summary.duration_ms),
        }
    }

    /// In JSON, safe for a terminal: what serde_json does not escape by itself can only be in strings.
    pub fn text(&self) -> String {
        // Strings, numbers and lists of them: there is nothing that could not be written.
        let json = serde_json::to_string(self).unwrap_or_default();
        escape_json(&json)
    }
}

#[cfg(test)]
mod tests {
    use capaudit_core::text::is_unsafe;

    use super::*;
    use crate::samples;

    #[test]
    fn what_could_move_a_terminal_or_a_reader_is_escaped_and_read_back() {
        let line = Line::begin(Hook::TpBtf, "a\u{9b}31m\u{202e}\u{e0041}\x1b");
        let text = line.text();
        assert!(!text.chars().any(is_unsafe), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).ok(), Some(line));
    }

    #[test]
    fn a_line_about_no_capability_is_none() {
        let check = samples::check_events().remove(0);
        let text = Line::check(&check).text();
        assert!(serde_json::from_str::<Line>(&text).is_ok());
        let wrong = text.replace(r#""capability":"CHOWN""#, r#""capability":"CHOWM""#);
        assert_ne!(wrong, text);
        assert!(serde_json::from_str::<Line>(&wrong).is_err());
    }
}
