//! Reports to export in tests.

use crate::{
    advise::{Evidence, Rule, Verdict},
    ledger::{Hook, Kind},
    report::{
        CapabilityReport, Checks, Place, Report, SCHEMA, Seconds, SessionReport, SubjectReport,
    },
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
        },
        subjects,
    }
}

/// A container of a compose service, or of none, that was started as root and needs these.
pub fn container(name: &str, service: &str, needs: &[(&str, Evidence)]) -> SubjectReport {
    SubjectReport {
        kind: Kind::Container,
        name: name.to_owned(),
        id: String::new(),
        image: "nginx:1".to_owned(),
        compose_project: String::new(),
        compose_service: service.to_owned(),
        pod_namespace: String::new(),
        pod: String::new(),
        pod_container: String::new(),
        uid: 0,
        cap_add: needs.iter().map(|(name, _)| (*name).to_owned()).collect(),
        granted: Vec::new(),
        seen_from_start: true,
        no_new_privileges_is_safe: true,
        notes: Vec::new(),
        capabilities: needs
            .iter()
            .map(|(name, evidence)| CapabilityReport {
                name: (*name).to_owned(),
                verdict: Verdict::Needed,
                evidence: *evidence,
                rule: Some(Rule::AnyCheck),
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

/// The command, with the same needs.
pub fn command(name: &str, needs: &[(&str, Evidence)]) -> SubjectReport {
    SubjectReport {
        kind: Kind::Command,
        image: String::new(),
        ..container(name, "", needs)
    }
}

/// A place where an executable asked.
pub fn place(exe: &str) -> Place {
    Place {
        exe: exe.to_owned(),
        comm: "comm".to_owned(),
        syscall: "bind".to_owned(),
        object: "0.0.0.0:80".to_owned(),
        caller: "__inet_bind".to_owned(),
    }
}
