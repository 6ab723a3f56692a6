//! Options for `docker run`, `docker create` and `podman run`.

use capaudit_core::recommend::{Recommendation, Workload};

use super::comment::{self, NO_CONTAINER, PRIVILEGED_EXECS, Possible};

/// One line of options for each container, behind comments that say for which.
pub fn options(recommendation: &Recommendation) -> String {
    let lines: Vec<String> = recommendation.containers().map(container).collect();
    let mut text = comment::warnings(recommendation);
    if lines.is_empty() {
        text.push_str(NO_CONTAINER);
    }
    text.push_str(&lines.join("\n"));
    text
}

fn container(workload: &Workload) -> String {
    let mut words = vec!["--cap-drop=ALL".to_owned()];
    words.extend(
        workload
            .cap_add()
            .names()
            .map(|name| format!("--cap-add={name}")),
    );
    let mut text = comment::heading(workload, Possible::Here);
    if let Some(line) = comment::without_effect(workload) {
        text.push_str(&format!("# {line}\n"));
    }
    if workload.no_new_privileges_is_safe {
        words.push("--security-opt=no-new-privileges:true".to_owned());
    } else {
        text.push_str(&format!(
            "# Without --security-opt=no-new-privileges:true, which would take effect: {PRIVILEGED_EXECS}\n"
        ));
    }
    text.push_str(&words.join(" "));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use capaudit_core::{
        advise::Evidence,
        recommend::sample::{command, container, recommendation},
    };

    use super::*;

    #[test]
    fn a_line_for_each_container() {
        let mut db = container("db", "", &[]);
        db.no_new_privileges_is_safe = false;
        let web = container(
            "web-1",
            "web",
            &[("CHOWN", Evidence::Decisive), ("KILL", Evidence::Possible)],
        );
        assert_eq!(
            options(&recommendation(vec![web, db])),
            "# db, image nginx:1
# Without --security-opt=no-new-privileges:true, which would take effect: setuid or file-capability programs were run
--cap-drop=ALL

# web, image nginx:1, audited: web-1
# Possibly needed, capaudit verify settles it: KILL
--cap-drop=ALL --cap-add=CHOWN --cap-add=KILL --security-opt=no-new-privileges:true
"
        );
    }

    #[test]
    fn no_container_no_line() {
        let text = options(&recommendation(vec![command(
            "sh",
            &[("KILL", Evidence::Decisive)],
        )]));
        assert_eq!(text, "# No container was audited.\n");
    }
}
