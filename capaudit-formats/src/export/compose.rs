//! A snippet for a compose file (the Compose Specification's services, long enough to merge or to include).

use std::{collections::BTreeMap, fmt::Write as _};

use capaudit_core::{
    recommend::{POSSIBLY, Recommendation, START_UNSEEN, Workload},
    text::sanitize,
};

use super::{comment, yaml::scalar};

/// Services with `cap_drop: [ALL]` and the recommended `cap_add`, one for each compose service or container
/// that was audited. Replicas of a service are one.
pub fn snippet(recommendation: &Recommendation) -> String {
    let mut services = recommendation.containers().peekable();
    if services.peek().is_none() {
        return "services: {}\n".to_owned();
    }
    let mut by_project: BTreeMap<Option<&str>, Vec<&Workload>> = BTreeMap::new();
    for service in services {
        by_project
            .entry(service.project.as_deref())
            .or_default()
            .push(service);
    }
    let documents: Vec<String> = by_project
        .into_iter()
        .map(|(project, services)| document(project, &services))
        .collect();
    documents.join("---\n")
}

/// One file: of all services, or of those of one project that has services of the same names as another one.
fn document(project: Option<&str>, services: &[&Workload]) -> String {
    let mut text = String::new();
    if let Some(project) = project {
        let _ = writeln!(text, "# For the file of project {}:", sanitize(project));
    }
    text.push_str("services:\n");
    for service in services {
        service_text(&mut text, service);
    }
    text
}

fn service_text(text: &mut String, service: &Workload) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {}:", scalar(&service.service));
    let _ = writeln!(
        text,
        "    # audited: {}",
        sanitize(&service.members.join(", "))
    );
    if service.start_unseen {
        let _ = writeln!(text, "    # {START_UNSEEN}");
    }
    if let Some(lost) = service.lost() {
        let _ = writeln!(text, "    # {lost}");
    }
    for (capability, need) in &service.elsewhere {
        if service.only_elsewhere().contains(*capability) {
            let _ = writeln!(
                text,
                "    # elsewhere also {}: {}",
                capability.name(),
                sanitize(&need.reason)
            );
        }
    }
    for line in comment::life(service)
        .into_iter()
        .chain(comment::without_effect(service))
    {
        let _ = writeln!(text, "    # {line}");
    }
    let _ = writeln!(text, "    cap_drop:\n      - ALL");
    let (cap_add, possible) = (service.cap_add(), service.possible());
    if !cap_add.is_empty() {
        let _ = writeln!(text, "    cap_add:");
        for capability in cap_add {
            let mark = if possible.contains(capability) {
                format!(" # {POSSIBLY}")
            } else {
                String::new()
            };
            // One that has no name yet is a number, which compose would not take for a name.
            let _ = writeln!(text, "      - {}{mark}", scalar(capability.name()));
        }
    }
    if service.no_new_privileges_is_safe {
        let _ = writeln!(text, "    security_opt:\n      - no-new-privileges:true");
    } else {
        let _ = writeln!(
            text,
            "    # security_opt: [no-new-privileges:true] would take effect: setuid or file-capability programs were run"
        );
    }
}

#[cfg(test)]
mod tests;
