//! capaudit's JSON report, as far as it is compared.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// What capaudit found out about a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The capabilities it recommends.
    pub(super) needs: Vec<String>,
    /// For each of these, the kernel functions that asked for it.
    callers: BTreeSet<(String, String)>,
}

#[derive(Deserialize)]
struct Report {
    session: Session,
    subjects: Vec<Subject>,
}

#[derive(Deserialize)]
struct Session {
    complete: bool,
    lost_events: u64,
    duration_s: f64,
}

/// Seconds that a command here may take, emulated; clocks that went wrong make years of them.
const LONGEST: f64 = 3600.0;

#[derive(Deserialize)]
struct Subject {
    kind: String,
    cap_add: Vec<String>,
    capabilities: Vec<Need>,
}

#[derive(Deserialize)]
struct Need {
    name: String,
    seen_in: Vec<Sighting>,
}

#[derive(Deserialize)]
struct Sighting {
    caller: String,
}

impl Finding {
    /// Reads a report on a command. An incomplete record is an error: the commands here are too small for that.
    pub(super) fn parse(report: &str) -> Result<Self> {
        let Report { session, subjects } =
            serde_json::from_str(report).context("cannot read the report")?;
        ensure!(
            session.complete,
            "the record is incomplete: {} events were lost",
            session.lost_events
        );
        ensure!(
            (0.0..LONGEST).contains(&session.duration_s),
            "it took {} s",
            session.duration_s
        );
        let command = subjects
            .into_iter()
            .find(|subject| subject.kind == "command");
        let Subject {
            cap_add,
            capabilities,
            ..
        } = command.context("the report is not on the command")?;
        let callers = capabilities
            .into_iter()
            .filter(|need| cap_add.contains(&need.name))
            .flat_map(|Need { name, seen_in }| {
                seen_in
                    .into_iter()
                    .map(move |seen| (name.clone(), seen.caller))
            })
            .collect();
        Ok(Self {
            needs: cap_add,
            callers,
        })
    }

    /// The capabilities with the functions that asked for them, for a sentence.
    pub(super) fn callers(&self) -> String {
        let mut text = String::new();
        for (name, caller) in &self.callers {
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing into text cannot fail.
            let _ = write!(text, "{separator}{name} by {caller}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{
        "session": { "complete": true, "lost_events": 0, "duration_s": 0.5 },
        "subjects": [
            { "kind": "container", "cap_add": ["KILL"], "capabilities": [] },
            { "kind": "command", "cap_add": ["CHOWN", "SETUID"], "capabilities": [
                { "name": "CHOWN", "seen_in": [{ "caller": "setattr_prepare" }, { "caller": "setattr_prepare" }] },
                { "name": "SETUID", "seen_in": [{ "caller": "__sys_setuid" }] },
                { "name": "SYS_ADMIN", "seen_in": [{ "caller": "do_brk_flags" }] } ] } ] }"#;

    #[test]
    fn the_recommendation_for_the_command_is_read() -> Result<()> {
        let finding = Finding::parse(REPORT)?;
        assert_eq!(finding.needs, ["CHOWN", "SETUID"]);
        assert_eq!(
            finding.callers(),
            "CHOWN by setattr_prepare, SETUID by __sys_setuid"
        );
        Ok(())
    }

    #[test]
    fn an_incomplete_record_is_no_finding() {
        let report = REPORT.replace("true, \"lost_events\": 0", "false, \"lost_events\": 7");
        let error = Finding::parse(&report).map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("the record is incomplete: 7 events were lost".to_owned())
        );
        assert!(Finding::parse("").is_err());
    }

    #[test]
    fn a_clock_that_went_wrong_is_no_finding() {
        for duration in ["-1", "1100000000"] {
            let report = REPORT.replace("0.5", duration);
            assert!(Finding::parse(&report).is_err(), "{duration} s");
        }
    }
}
