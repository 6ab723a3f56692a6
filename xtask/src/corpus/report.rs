//! The part of capaudit's JSON report that is scored.

use capaudit_core::{
    capability::CapSet,
    ledger::Kind,
    report::{Report, SCHEMA, SubjectReport},
};
use serde::Deserialize;

/// What every version of the report begins with.
#[derive(Deserialize)]
struct Contract {
    schema: String,
}

/// What a report says of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Findings {
    pub recommended: CapSet,
    /// Every capability of which at least one check was granted.
    pub granted: CapSet,
    /// Whether no event was lost.
    pub complete: bool,
}

impl Findings {
    /// What the report `text` says of the container called `name`; the error is for the table.
    pub(super) fn read(text: &[u8], name: &str) -> Result<Self, String> {
        let odd = |error: serde_json::Error| format!("odd report: {error}");
        let Contract { schema } = serde_json::from_slice(text).map_err(odd)?;
        if schema != SCHEMA {
            return Err(format!("the report is a {schema}, not a {SCHEMA}"));
        }
        let report: Report = serde_json::from_slice(text).map_err(odd)?;
        let containers: Vec<&SubjectReport> = report
            .subjects
            .iter()
            .filter(|subject| subject.kind == Kind::Container)
            .collect();
        // Without an engine that answers, a container is known by its id only.
        let by_name = containers.iter().find(|container| container.name == name);
        let container = match (by_name, &containers[..]) {
            (Some(container), _) | (None, [container]) => *container,
            (None, []) => return Err("the report names no container".to_owned()),
            (None, several) => {
                return Err(format!(
                    "none of the {} containers is called {name}",
                    several.len()
                ));
            }
        };
        let granted = container
            .capabilities
            .iter()
            .filter(|capability| capability.checks.granted > 0)
            .map(|capability| capability.capability);
        Ok(Self {
            recommended: container.cap_add,
            granted: granted.collect(),
            complete: report.session.complete,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn capability(name: &str, verdict: &str, granted: u64) -> Value {
        json!({ "name": name, "verdict": verdict, "evidence": "decisive", "reason": "…", "alternatives": [],
                "checks": { "total": granted + 1, "granted": granted, "denied": 1 }, "seen_in": [],
                "need_less": "" })
    }

    fn subject(kind: &str, name: &str, cap_add: &[&str], capabilities: &[Value]) -> Value {
        json!({ "kind": kind, "name": name, "id": "0123", "image": "gt-corpus:1", "compose_project": "",
                "compose_service": "", "pod_namespace": "", "pod": "", "pod_container": "", "uid": 0,
                "cap_add": cap_add, "granted": ["CHOWN"], "seen_from_start": true,
                "no_new_privileges_is_safe": true, "notes": [], "capabilities": capabilities })
    }

    fn container(name: &str, cap_add: &[&str]) -> Value {
        let asked = [
            capability("CHOWN", "needed", 3),
            capability("SYS_ADMIN", "noise", 9),
            capability("KILL", "tolerated", 0),
        ];
        subject("container", name, cap_add, &asked)
    }

    fn report(subjects: &[Value]) -> Vec<u8> {
        let command = subject("command", "docker", &["LEASE"], &[]);
        let subjects: Vec<&Value> = [&command].into_iter().chain(subjects).collect();
        let losses = json!({ "events": 0, "checks": 0, "sites": 0, "processes": 0, "calls": 0, "stacks": 0,
                             "returns": 0, "files": 0 });
        json!({ "schema": SCHEMA,
                "session": { "started": "2026-01-01T00:00:00Z", "duration_s": 1.5, "kernel": "6.1", "hook": "fexit",
                             "command": ["docker"], "exit_status": 0, "lost_events": 0, "losses": losses,
                             "complete": true, "notes": [] },
                "subjects": subjects })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn the_containers_recommendation_and_granted_checks_are_read() {
        let findings = Findings::read(&report(&[container("a", &["CHOWN"])]), "a").unwrap();
        assert_eq!(findings.recommended, "CHOWN".parse().unwrap());
        assert_eq!(findings.granted, "CHOWN SYS_ADMIN".parse().unwrap());
        assert!(findings.complete);
    }

    #[test]
    fn among_several_containers_the_name_decides() {
        let both = report(&[container("a", &["CHOWN"]), container("b", &["KILL"])]);
        assert_eq!(
            Findings::read(&both, "b").unwrap().recommended,
            "KILL".parse().unwrap()
        );
        assert!(Findings::read(&both, "c").is_err());
        assert!(Findings::read(&report(&[container("a", &[])]), "c").is_ok());
    }

    #[test]
    fn a_report_without_a_container_or_of_another_kind_is_no_result() {
        assert_eq!(
            Findings::read(&report(&[]), "a").unwrap_err(),
            "the report names no container"
        );
        let other = json!({ "schema": "capaudit.report/2", "session": { "complete": true }, "subjects": [] });
        let error = Findings::read(other.to_string().as_bytes(), "a").unwrap_err();
        assert_eq!(
            error,
            "the report is a capaudit.report/2, not a capaudit.report/1"
        );
        assert!(
            Findings::read(b"{", "a")
                .unwrap_err()
                .starts_with("odd report")
        );
    }
}
