//! What the audited things were started with, as something to check.

use capaudit_core::{
    capability::CapSet,
    ledger::Kind,
    recommend::{Recommendation, Workload as Audited},
};

use super::{Mapping, Outcome, Rule, check};
use crate::manifest::{Named, Platform, Workload};

/// Compares what containers were started with (without any, what the command was) with what they used.
pub fn own_grants(recommendation: &Recommendation) -> Outcome {
    let has_containers = recommendation.containers().next().is_some();
    let workloads: Vec<Workload> = recommendation
        .workloads
        .iter()
        .filter(|audited| !has_containers || audited.kind == Kind::Container)
        .map(started_with)
        .collect();
    check(&workloads, recommendation, &Mapping::default()).unwrap_or(Outcome {
        rules: &Rule::ALL,
        subjects: Vec::new(),
        findings: Vec::new(),
    })
}

/// What the members of a workload were started with, as if a file granted that.
fn started_with(audited: &Audited) -> Workload {
    let granted = audited.granted & CapSet::known();
    let kind = match audited.kind {
        Kind::Container => "container",
        Kind::Command => "command",
        Kind::Process => "process",
    };
    Workload {
        name: audited.name.clone(),
        title: format!("{kind} {}", audited.name),
        named: vec![Named {
            capabilities: granted,
            place: None,
        }],
        ..Workload::of_set(Platform::Start, granted)
    }
}
