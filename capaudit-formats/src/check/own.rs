//! What the audited things were started with, as something to check.

use capaudit_core::{
    capability::CapSet, ledger::Kind, recommend::workload::name_of, report::Report,
};

use super::{Outcome, Used, check, used};
use crate::manifest::{Named, Platform, Workload};

/// Compares what containers were started with (without any, what the command was) with what they used.
pub fn own_grants(report: &Report) -> Outcome {
    let used = used(report);
    let has_containers = used.iter().any(|used| used.kind == Kind::Container);
    let workloads: Vec<Workload> = used
        .iter()
        .filter(|used| !has_containers || used.kind == Kind::Container)
        .map(|used| (used, started_with(report, used)))
        .map(|(used, granted)| Workload {
            platform: Platform::Start,
            name: used.name.clone(),
            image: String::new(),
            title: match used.kind {
                Kind::Container => format!("container {}", used.name),
                Kind::Command => format!("command {}", used.name),
                Kind::Process => format!("process {}", used.name),
            },
            place: None,
            granted,
            held: granted,
            named: vec![Named {
                capabilities: granted,
                place: None,
            }],
            privileged: None,
            adds_all: None,
            drops_all: true,
            no_new_privileges: None,
            allowed: Vec::new(),
            unclear: Vec::new(),
        })
        .collect();
    check(&workloads, report).unwrap_or(Outcome {
        subjects: Vec::new(),
        findings: Vec::new(),
    })
}

/// What its replicas were started with, all of them together.
fn started_with(report: &Report, used: &Used) -> CapSet {
    let granted = report
        .subjects
        .iter()
        .filter(|subject| subject.kind == used.kind && name_of(subject) == used.name)
        .fold(CapSet::EMPTY, |all, subject| all | subject.granted);
    granted & CapSet::known()
}
