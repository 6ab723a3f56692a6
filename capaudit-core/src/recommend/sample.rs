//! Reports to export in tests.

use crate::{
    advise::{Checks, Elsewhere, Evidence, Finding, Rule, Use, Verdict},
    capability::{CapSet, Capability},
    ledger::{Hook, Kind},
    recommend::Recommendation,
    report::{Report, SCHEMA, Seconds, SessionReport, SubjectReport},
};

/// A complete record of a command that succeeded.
pub fn report(subjects: Vec<SubjectReport>) -> Report {
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
            losses: crate::ledger::Losses::default(),
            complete: true,
            notes: Vec::new(),
            checks_only: false,
            others: 0,
        },
        subjects,
    }
}

/// What such a record recommends.
pub fn recommendation(subjects: Vec<SubjectReport>) -> Recommendation {
    Recommendation::of(&report(subjects))
}

/// A container of a compose service, or of none, that was started as root and needs these.
pub fn container(name: &str, service: &str, needs: &[(&str, Evidence)]) -> SubjectReport {
    SubjectReport {
        kind: Kind::Container,
        name: name.to_owned(),
        id: None,
        image: Some("nginx:1".to_owned()),
        compose_project: None,
        compose_service: (!service.is_empty()).then(|| service.to_owned()),
        pod_namespace: None,
        pod: None,
        pod_container: None,
        uid: 0,
        cap_add: needs.iter().map(|(name, _)| capability(name)).collect(),
        granted: CapSet::EMPTY,
        seen_from_start: true,
        program: false,
        other: false,
        life: None,
        incomplete: Vec::new(),
        losses: crate::ledger::Losses::default(),
        no_new_privileges_is_safe: true,
        user_namespace_level: 0,
        privileged_files: Vec::new(),
        held_by_user: CapSet::EMPTY,
        unlocks_calls: CapSet::EMPTY,
        elsewhere: Vec::new(),
        notes: Vec::new(),
        capabilities: needs
            .iter()
            .map(|(name, evidence)| Finding {
                capability: capability(name),
                verdict: Verdict::Needed,
                evidence: *evidence,
                rule: Some(Rule::AnyCheck),
                reason: String::new(),
                alternatives: Vec::new(),
                checks: Checks::new(1, 0),
                unchecked: false,
                phases: crate::ledger::Phases::default(),
                seen_in: Vec::new(),
                need_less: None,
            })
            .collect(),
    }
}

#[expect(clippy::expect_used, reason = "a test fails by panicking")]
fn capability(name: &str) -> Capability {
    name.parse().expect("the name of a capability")
}

/// What it would need where the engine has other defaults.
pub fn elsewhere(name: &str) -> Elsewhere {
    Elsewhere {
        capability: capability(name),
        evidence: Evidence::Decisive,
        reason: "binds port 80".to_owned(),
        seen_in: vec![used_by("/usr/sbin/nginx")],
    }
}

/// The command, with the same needs.
pub fn command(name: &str, needs: &[(&str, Evidence)]) -> SubjectReport {
    SubjectReport {
        kind: Kind::Command,
        image: None,
        ..container(name, "", needs)
    }
}

/// A use by an executable.
pub fn used_by(exe: &str) -> Use {
    Use {
        exe: exe.to_owned(),
        comm: "comm".to_owned(),
        syscall: "bind".to_owned(),
        object: "0.0.0.0:80".to_owned(),
        caller: "__inet_bind".to_owned(),
    }
}
