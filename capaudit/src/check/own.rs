//! What the audited things were started with, as something to check.

use super::{Outcome, check, used};
use crate::{
    ledger::Kind,
    manifest::{Named, Platform, Workload},
    report::Report,
};

/// Compares what containers were started with (without any, what the command was) with what they used.
pub fn own_grants(report: &Report) -> Outcome {
    let used = used(report);
    let has_containers = used.iter().any(|used| used.kind == Kind::Container);
    let workloads: Vec<Workload> = used
        .iter()
        .filter(|used| !has_containers || used.kind == Kind::Container)
        .map(|used| Workload {
            platform: Platform::Start,
            name: used.name.clone(),
            image: String::new(),
            title: match used.kind {
                Kind::Container => format!("container {}", used.name),
                Kind::Command => format!("command {}", used.name),
                Kind::Process => format!("process {}", used.name),
            },
            place: None,
            granted: used.granted,
            held: used.granted,
            named: vec![Named {
                capabilities: used.granted,
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
