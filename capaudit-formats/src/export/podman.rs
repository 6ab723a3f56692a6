//! Quadlet units for Podman, from which its generator makes services.
//!
//! The keys are those of [podman-container.unit(5)][man], all of them since Podman 4.4.
//!
//! [man]: https://docs.podman.io/en/latest/markdown/podman-container.unit.5.html

use capaudit_core::recommend::{Recommendation, Workload};

use super::comment::{self, NO_CONTAINER, PRIVILEGED_EXECS, Possible};

/// A `[Container]` section for each container, to be merged into its `.container` file.
pub fn units(recommendation: &Recommendation) -> String {
    let sections: Vec<String> = recommendation.containers().map(section).collect();
    let mut text = comment::warnings(recommendation);
    if sections.is_empty() {
        text.push_str(NO_CONTAINER);
    }
    text.push_str(&sections.join("\n"));
    text
}

fn section(workload: &Workload) -> String {
    let mut text = comment::heading(workload, Possible::Here);
    text.push_str("[Container]\nDropCapability=all\n");
    for capability in workload.cap_add_elsewhere() {
        text.push_str(&format!("AddCapability={}\n", capability.cap_name()));
    }
    if workload.no_new_privileges_is_safe {
        text.push_str("NoNewPrivileges=true\n");
    } else {
        text.push_str(&format!(
            "# NoNewPrivileges=true would take effect: {PRIVILEGED_EXECS}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use capaudit_core::{
        advise::Evidence,
        recommend::sample::{container, recommendation},
    };

    use super::*;

    #[test]
    fn a_section_for_each_container() {
        let mut db = container("db", "", &[]);
        db.no_new_privileges_is_safe = false;
        let web = container("web", "", &[("NET_RAW", Evidence::Possible)]);
        assert_eq!(
            units(&recommendation(vec![web, db])),
            "# db, image nginx:1
[Container]
DropCapability=all
# NoNewPrivileges=true would take effect: setuid or file-capability programs were run

# web, image nginx:1
# Possibly needed, capaudit verify settles it: NET_RAW
[Container]
DropCapability=all
AddCapability=CAP_NET_RAW
NoNewPrivileges=true
"
        );
    }
}
