//! A drop-in for a service unit, as [systemd.exec(5)][man] has it.
//!
//! [man]: https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#Capabilities

use capaudit_core::{
    capability::CapSet,
    ledger::Kind,
    recommend::{Recommendation, Workload},
};

use super::comment::{self, PRIVILEGED_EXECS, Possible};

/// A `[Service]` section for the command and for each process. Containers are their engine's.
pub fn drop_ins(recommendation: &Recommendation) -> String {
    let workloads: Vec<&Workload> = recommendation.of_interest().collect();
    let mut text = comment::warnings(recommendation);
    if workloads.is_empty() {
        text.push_str("# Nothing was audited.\n");
    }
    if workloads
        .iter()
        .any(|workload| workload.kind == Kind::Container)
    {
        text.push_str(
            "# Containers are not here, as their engine starts them: `capaudit export podman` makes units of them.\n",
        );
    }
    let services: Vec<String> = workloads
        .iter()
        .filter(|workload| workload.kind != Kind::Container)
        .map(|workload| service(workload))
        .collect();
    text.push_str(&services.join("\n"));
    text
}

fn service(workload: &Workload) -> String {
    let set = workload.cap_add_elsewhere();
    let mut text = comment::heading(workload, Possible::Here);
    text.push_str("# For SERVICE.service.d/capabilities.conf\n[Service]\n");
    // Without the empty one first, a list would be added to what the unit has.
    text.push_str("CapabilityBoundingSet=\n");
    if !set.is_empty() {
        text.push_str(&format!("CapabilityBoundingSet={}\n", words(set)));
    }
    text.push_str(&ambient(workload));
    if workload.no_new_privileges_is_safe {
        text.push_str("NoNewPrivileges=true\n");
    } else {
        text.push_str(&format!(
            "# NoNewPrivileges=true would take effect: {PRIVILEGED_EXECS}\n"
        ));
    }
    text
}

/// execve gives root what is in the bounding set, and another user nothing but the ambient set.
fn ambient(workload: &Workload) -> String {
    let set = workload.cap_add_elsewhere();
    if set.is_empty() {
        return "AmbientCapabilities=\n".to_owned();
    }
    let setting = format!("AmbientCapabilities={}\n", words(set));
    if workload.starts_as_root {
        format!(
            "# It was audited as root. With User= it gets nothing by itself, and needs also:\n# AmbientCapabilities=\n# {setting}"
        )
    } else {
        format!("AmbientCapabilities=\n{setting}")
    }
}

fn words(set: CapSet) -> String {
    set.iter()
        .map(capaudit_core::capability::Capability::cap_name)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use capaudit_core::{
        advise::Evidence,
        recommend::sample::{command, container, recommendation},
        report::SubjectReport,
    };

    use super::*;

    #[test]
    fn for_root_ambient_capabilities_are_a_comment() {
        let needs = [("CHOWN", Evidence::Decisive), ("KILL", Evidence::Possible)];
        assert_eq!(
            drop_ins(&recommendation(vec![command("my daemon", &needs)])),
            "# 'my daemon'
# Possibly needed, capaudit verify settles it: KILL
# For SERVICE.service.d/capabilities.conf
[Service]
CapabilityBoundingSet=
CapabilityBoundingSet=CAP_CHOWN CAP_KILL
# It was audited as root. With User= it gets nothing by itself, and needs also:
# AmbientCapabilities=
# AmbientCapabilities=CAP_CHOWN CAP_KILL
NoNewPrivileges=true
"
        );
    }

    #[test]
    fn for_another_user_they_are_set() {
        let process = SubjectReport {
            kind: Kind::Process,
            uid: 33,
            no_new_privileges_is_safe: false,
            ..command("nginx", &[("NET_BIND_SERVICE", Evidence::Decisive)])
        };
        let text = drop_ins(&recommendation(vec![process]));
        assert!(
            text.contains(
                "\nAmbientCapabilities=\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n# NoNewPrivileges"
            ),
            "{text}"
        );
    }

    #[test]
    fn nothing_needed_nothing_kept() {
        let text = drop_ins(&recommendation(vec![command("true", &[])]));
        assert!(
            text.ends_with("CapabilityBoundingSet=\nAmbientCapabilities=\nNoNewPrivileges=true\n"),
            "{text}"
        );
    }

    #[test]
    fn containers_are_left_to_their_engine() {
        let text = drop_ins(&recommendation(vec![container("web", "", &[])]));
        assert!(!text.contains("[Service]"), "{text}");
        assert!(text.contains("capaudit export podman"), "{text}");
    }
}
