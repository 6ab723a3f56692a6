//! A snippet for a compose file (the Compose Specification's services, long enough to merge or to include).

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    advise::Evidence,
    capability::CapSet,
    ledger::Kind,
    report::{Report, SubjectReport, sanitize},
};

/// What the containers of one service need together.
#[derive(Default)]
struct Service {
    cap_add: CapSet,
    /// Members of `cap_add` that no container surely needs.
    possible: CapSet,
    no_new_privileges_is_safe: bool,
    /// None of its containers was audited from its start.
    start_unseen: bool,
    members: Vec<String>,
}

/// Services with `cap_drop: [ALL]` and the recommended `cap_add`, one for each compose service or container
/// of the report. Replicas of a service are one.
pub fn snippet(report: &Report) -> String {
    let services = services(report);
    if services.is_empty() {
        return "services: {}\n".to_owned();
    }
    let mut text = "services:\n".to_owned();
    for (name, service) in &services {
        service_text(&mut text, name, service);
    }
    text
}

fn services(report: &Report) -> BTreeMap<String, Service> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for subject in &report.subjects {
        if subject.kind != Kind::Container {
            continue;
        }
        let service = services
            .entry(service_name(subject))
            .or_insert_with(|| Service {
                no_new_privileges_is_safe: true,
                start_unseen: true,
                ..Service::default()
            });
        service.members.push(subject.name.clone());
        service.start_unseen &= !subject.seen_from_start;
        service.no_new_privileges_is_safe &= subject.no_new_privileges_is_safe;
        for capability in &subject.capabilities {
            // Names of a report come from a file and may be anything: what is no capability is no member.
            let Some(number) = capability
                .name
                .parse()
                .ok()
                .filter(|_| subject.cap_add.contains(&capability.name))
            else {
                continue;
            };
            let fresh = service.cap_add.insert(number);
            if capability.evidence == Evidence::Possible && fresh {
                service.possible.insert(number);
            } else if capability.evidence != Evidence::Possible {
                service.possible.remove(number);
            }
        }
    }
    services
}

fn service_text(text: &mut String, name: &str, service: &Service) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {}:", key(name));
    let _ = writeln!(
        text,
        "    # audited: {}",
        sanitize(&service.members.join(", "))
    );
    if service.start_unseen {
        let _ = writeln!(
            text,
            "    # INCOMPLETE: it ran already when the audit began; what it needs to start may be missing"
        );
    }
    let _ = writeln!(text, "    cap_drop:\n      - ALL");
    if !service.cap_add.is_empty() {
        let _ = writeln!(text, "    cap_add:");
        for capability in service.cap_add {
            let mark = if service.possible.contains(capability) {
                " # possibly; `capaudit verify` settles it"
            } else {
                ""
            };
            let _ = writeln!(text, "      - {}{mark}", capability.name());
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

/// The service a container belongs to, or, for a container that was started by hand, its name.
fn service_name(subject: &SubjectReport) -> String {
    if subject.compose_service.is_empty() {
        subject.name.clone()
    } else {
        subject.compose_service.clone()
    }
}

/// A mapping key: plain where it cannot be mistaken, else in double quotes with YAML's escapes.
fn key(name: &str) -> String {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && !matches!(
            name.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        )
        && name.parse::<f64>().is_err();
    if plain {
        return name.to_owned();
    }
    let mut quoted = "\"".to_owned();
    for character in name.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            ' '..='~' => quoted.push(character),
            _ => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(character));
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
