//! The snippet as text. Whether `docker-compose config` takes it is for the integration tests.

use super::*;
use crate::{
    advise::Verdict,
    probe::Hook,
    report::{CapabilityReport, Checks, SCHEMA, Seconds, SessionReport},
};
use proptest::prelude::*;

fn report(subjects: Vec<SubjectReport>) -> Report {
    Report {
        schema: SCHEMA.to_owned(),
        session: SessionReport {
            started: String::new(),
            duration_s: Seconds::from_millis(0),
            kernel: String::new(),
            hook: Hook::TpBtf,
            command: Vec::new(),
            exit_status: Some(0),
            lost_events: 0,
            losses: crate::probe::Losses::default(),
            complete: true,
            notes: Vec::new(),
        },
        subjects,
    }
}

fn container(name: &str, service: &str, needs: &[(&str, Evidence)]) -> SubjectReport {
    SubjectReport {
        seen_from_start: true,
        notes: Vec::new(),
        pod_namespace: String::new(),
        pod: String::new(),
        pod_container: String::new(),
        kind: Kind::Container,
        name: name.to_owned(),
        id: String::new(),
        image: String::new(),
        compose_project: String::new(),
        compose_service: service.to_owned(),
        cap_add: needs.iter().map(|(name, _)| (*name).to_owned()).collect(),
        granted: Vec::new(),
        no_new_privileges_is_safe: true,
        capabilities: needs
            .iter()
            .map(|(name, evidence)| CapabilityReport {
                name: (*name).to_owned(),
                verdict: Verdict::Needed,
                evidence: *evidence,
                reason: String::new(),
                alternatives: Vec::new(),
                checks: Checks {
                    total: 1,
                    granted: 1,
                    denied: 0,
                },
                seen_in: Vec::new(),
                need_less: String::new(),
            })
            .collect(),
    }
}

#[test]
fn replicas_of_a_service_are_one() {
    let report = report(vec![
        container("shop-web-1", "web", &[("CHOWN", Evidence::Decisive)]),
        container(
            "shop-web-2",
            "web",
            &[
                ("SETUID", Evidence::Possible),
                ("CHOWN", Evidence::Possible),
            ],
        ),
    ]);
    assert_eq!(
        snippet(&report),
        "services:\n  web:\n    # audited: shop-web-1, shop-web-2\n    cap_drop:\n      - ALL\n    cap_add:\n      - CHOWN\n      - SETUID # possibly; `capaudit verify` settles it\n    security_opt:\n      - no-new-privileges:true\n"
    );
}

#[test]
fn a_container_without_needs_drops_everything() {
    let report = report(vec![container("idle", "", &[])]);
    assert!(!snippet(&report).contains("cap_add"));
    assert!(snippet(&report).contains("cap_drop:\n      - ALL\n"));
}

#[test]
fn names_that_yaml_would_misread_are_quoted() {
    assert_eq!(key("web-1.a_b"), "web-1.a_b");
    for name in ["no", "1", "1e3", "-x", "a b", "a\"b", "é", "", "~"] {
        assert!(key(name).starts_with('"'), "{name}");
    }
    assert_eq!(key("a\n\"\u{202e}"), "\"a\\U0000000a\\\"\\U0000202e\"");
}

proptest! {
    #[test]
    fn hostile_names_stay_within_their_line(name in any::<String>()) {
        let plain = snippet(&report(vec![container("x", "x", &[])])).lines().count();
        let hostile = snippet(&report(vec![container(&name, &name, &[])]));
        prop_assert_eq!(hostile.lines().count(), plain);
        prop_assert!(hostile.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
