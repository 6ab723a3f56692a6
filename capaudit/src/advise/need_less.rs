//! How to get along without a capability, as concretely as the evidence allows.

use crate::{
    capability::Capability,
    ledger::{CheckRecord, Object, SubjectRecord},
};

/// Objects that are named.
const MAX_NAMED: usize = 3;

/// The known way out of a need that these checks showed; `None` if there is none.
pub fn advice(
    capability: Capability,
    checks: &[&CheckRecord],
    subject: &SubjectRecord,
) -> Option<String> {
    let objects = named(checks);
    Some(match capability {
        Capability::NET_BIND_SERVICE => {
            let ports = ports(checks);
            let high = ports.first().map_or(8080, |port| 8000 + u32::from(*port));
            format!(
                "listen on a port from 1024 up (say {high}) and publish it as {}, or set the sysctl net.ipv4.ip_unprivileged_port_start",
                list(&ports.iter().map(u16::to_string).collect::<Vec<_>>())
            )
        }
        Capability::CHOWN => format!(
            "give {} to its owner when the image is built (COPY --chown, RUN chown), not when the container starts",
            or(&objects, "what is chowned")
        ),
        Capability::DAC_OVERRIDE | Capability::DAC_READ_SEARCH => {
            format!(
                "make {} accessible to the user that uses it (owner, group or mode) when the image is built",
                or(&objects, "the file")
            )
        }
        Capability::FOWNER => format!(
            "let the owner of {} change it, or give it to the user that does",
            or(&objects, "the file")
        ),
        Capability::SETUID | Capability::SETGID if subject.uid == 0 => {
            "start as the user that the program changes to (`user:` in compose, USER in the Dockerfile) instead of as root".to_owned()
        }
        Capability::NET_RAW => {
            "for ping, open the sysctl net.ipv4.ping_group_range and use a ping without file capabilities; else there is no way around raw sockets".to_owned()
        }
        Capability::SYS_CHROOT => {
            "switch the program's chroot off: the container is one already".to_owned()
        }
        Capability::IPC_LOCK => {
            "raise the limit of locked memory instead (`ulimits: memlock`)".to_owned()
        }
        Capability::SYS_RESOURCE => {
            "raise the limit from outside instead (`ulimits:`)".to_owned()
        }
        Capability::SYS_TIME => {
            "keep the clock outside: let the host's own time service set it".to_owned()
        }
        Capability::AUDIT_WRITE => {
            "switch auditing off in the program or its PAM configuration".to_owned()
        }
        _ => return None,
    })
}

/// Paths, with owner and mode where they are known.
fn named(checks: &[&CheckRecord]) -> Vec<String> {
    let mut names: Vec<String> = checks
        .iter()
        .flat_map(|check| &check.samples)
        .filter_map(|sample| match &sample.object {
            Some(Object::Path(path)) => Some((path, sample.owner)),
            _ => None,
        })
        .map(|(path, owner)| match owner {
            Some(owner) => format!(
                "{path} ({}:{} {:04o})",
                owner.uid,
                owner.gid,
                owner.mode & 0o7777
            ),
            None => path.clone(),
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn ports(checks: &[&CheckRecord]) -> Vec<u16> {
    let mut ports: Vec<u16> = checks
        .iter()
        .flat_map(|check| &check.samples)
        .filter_map(|sample| match sample.object {
            Some(Object::Internet { port, .. }) => Some(port),
            _ => None,
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn or(names: &[String], otherwise: &str) -> String {
    if names.is_empty() {
        otherwise.to_owned()
    } else {
        list(names)
    }
}

fn list(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(MAX_NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMED));
    }
    if text.is_empty() {
        "before".clone_into(&mut text);
    }
    text
}
