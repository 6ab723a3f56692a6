//! The part of capaudit's JSON report that is scored.

use serde::Deserialize;

use crate::capability::Set;

/// The version of the report that this reads.
const SCHEMA: &str = "capaudit.report/1";

#[derive(Debug, Deserialize)]
struct Report {
    schema: String,
    session: Session,
    subjects: Vec<Subject>,
}

#[derive(Debug, Deserialize)]
struct Session {
    complete: bool,
}

#[derive(Debug, Deserialize)]
struct Subject {
    kind: String,
    name: Option<String>,
    cap_add: Set,
    capabilities: Vec<Capability>,
}

#[derive(Debug, Deserialize)]
struct Capability {
    name: String,
    checks: Checks,
}

#[derive(Debug, Deserialize)]
struct Checks {
    granted: u64,
}

/// What a report says of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Findings {
    /// What capaudit recommends.
    pub recommended: Set,
    /// Every capability of which at least one check was granted.
    pub granted: Set,
    /// Whether no event was lost.
    pub complete: bool,
}

impl Findings {
    /// What the report `text` says of the container called `name`; the error is for the table.
    pub fn read(text: &[u8], name: &str) -> Result<Self, String> {
        let report: Report =
            serde_json::from_slice(text).map_err(|error| format!("odd report: {error}"))?;
        if report.schema != SCHEMA {
            return Err(format!("the report is a {}, not a {SCHEMA}", report.schema));
        }
        let containers: Vec<&Subject> = report
            .subjects
            .iter()
            .filter(|subject| subject.kind == "container")
            .collect();
        // Without an engine that answers, a container is known by its id only.
        let by_name = containers
            .iter()
            .find(|container| container.name.as_deref() == Some(name));
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
        let mut granted = Set::EMPTY;
        for capability in container
            .capabilities
            .iter()
            .filter(|capability| capability.checks.granted > 0)
        {
            granted = granted.union(Set::of(&capability.name).map_err(|error| error.to_string())?);
        }
        Ok(Self {
            recommended: container.cap_add,
            granted,
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
                "checks": { "total": granted + 1, "granted": granted, "denied": 1 }, "seen_in": [] })
    }

    fn container(name: &str, cap_add: &[&str]) -> Value {
        json!({ "kind": "container", "name": name, "id": "0123", "image": "gt-corpus:1", "cap_add": cap_add,
                "granted": ["CHOWN"], "capabilities": [
                    capability("CHOWN", "needed", 3), capability("SYS_ADMIN", "noise", 9),
                    capability("KILL", "tolerated", 0) ] })
    }

    fn report(subjects: &[Value]) -> Vec<u8> {
        let command = json!({ "kind": "command", "name": "docker", "cap_add": ["LEASE"], "capabilities": [] });
        let subjects: Vec<&Value> = [&command].into_iter().chain(subjects).collect();
        json!({ "schema": SCHEMA,
                "session": { "started": "2026-01-01T00:00:00Z", "hook": "fexit", "exit_status": 0,
                             "lost_events": 0, "complete": true },
                "subjects": subjects })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn the_containers_recommendation_and_granted_checks_are_read() {
        let findings = Findings::read(&report(&[container("a", &["CHOWN"])]), "a").unwrap();
        assert_eq!(findings.recommended.to_string(), "CHOWN");
        assert_eq!(findings.granted.to_string(), "CHOWN SYS_ADMIN");
        assert!(findings.complete);
    }

    #[test]
    fn among_several_containers_the_name_decides() {
        let both = report(&[container("a", &["CHOWN"]), container("b", &["KILL"])]);
        assert_eq!(
            Findings::read(&both, "b").unwrap().recommended.to_string(),
            "KILL"
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
