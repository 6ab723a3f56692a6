//! How to get along without a capability, as concretely as the evidence allows.

use std::collections::BTreeMap;

use crate::{
    capability::Capability,
    ledger::{CheckRecord, FileOwner, Object, SubjectRecord},
    text::quoted,
};

/// The greatest number of objects that advice names.
const MAX_NAMED: usize = 3;

/// The known way out of a need that these checks showed; `None` if there is none.
pub(super) fn advice(
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
        Capability::CHOWN => match chowns(checks) {
            commands if commands.is_empty() => {
                "set owners when the image is built (COPY --chown, RUN chown), not when the container starts"
                    .to_owned()
            }
            commands => format!(
                "set owners when the image is built ({}), not when the container starts",
                commands
                    .iter()
                    .take(MAX_NAMED)
                    .map(|command| format!("RUN {command}"))
                    .collect::<Vec<_>>()
                    .join("; ")
            ),
        },
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
    let mut owners: BTreeMap<&str, Option<FileOwner>> = BTreeMap::new();
    for sample in checks.iter().flat_map(|check| check.samples().seen()) {
        if let Some(Object::Path(path)) = &sample.object {
            let owner = owners.entry(path).or_default();
            *owner = owner.or(sample.owner);
        }
    }
    owners
        .into_iter()
        .map(|(path, owner)| match owner {
            Some(owner) => format!(
                "{path} ({}:{} {:04o})",
                owner.uid,
                owner.gid,
                owner.mode & 0o7777
            ),
            None => path.to_owned(),
        })
        .collect()
}

/// The chown(1) commands that do what the program did, one for each owner; paths that cannot be told are left out.
fn chowns(checks: &[&CheckRecord]) -> Vec<String> {
    /// An id that is left as it is: `(uid_t) -1`.
    const UNCHANGED: u32 = u32::MAX;
    let mut by_owner: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for check in checks {
        let first = match check.identity.syscall.as_deref() {
            Some("chown" | "lchown" | "fchown") => 1,
            Some("fchownat") => 2,
            _ => continue,
        };
        for sample in check.samples().seen() {
            let Some(Object::Path(path)) = &sample.object else {
                continue;
            };
            // The kernel takes the lower half of the registers.
            let [uid, gid] = [first, first + 1].map(|index| sample.arguments[index] as u32);
            let owner = match (uid, gid) {
                (UNCHANGED, UNCHANGED) => continue,
                (uid, UNCHANGED) => uid.to_string(),
                (UNCHANGED, gid) => format!(":{gid}"),
                (uid, gid) => format!("{uid}:{gid}"),
            };
            let paths = by_owner.entry(owner).or_default();
            if path.starts_with('/') && !paths.contains(path) {
                paths.push(path.clone());
            }
        }
    }
    by_owner
        .into_iter()
        .filter(|(_owner, paths)| !paths.is_empty())
        .map(|(owner, mut paths)| {
            paths.sort();
            let more = paths.len().saturating_sub(MAX_NAMED);
            paths.truncate(MAX_NAMED);
            let rest = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            // To be pasted: the names are those of whoever was audited.
            let paths: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
            format!("chown {owner} {}{rest}", paths.join(" "))
        })
        .collect()
}

fn ports(checks: &[&CheckRecord]) -> Vec<u16> {
    let mut ports: Vec<u16> = checks
        .iter()
        .flat_map(|check| check.samples().seen())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{CheckIdentity, Sample, Subject, UserIds};

    #[test]
    fn what_is_to_be_pasted_is_quoted_for_a_shell() {
        let mut check = CheckRecord::new(CheckIdentity::usual(Capability::CHOWN, Some("chown")));
        check.add_sample(Sample {
            arguments: [0, 33, 33, 0, 0, 0],
            object: Some(Object::Path("/tmp/x$(touch /pwned)\n; id".to_owned())),
            second: None,
            owner: None,
            ids: UserIds::default(),
            result: None,
        });
        let subject = SubjectRecord::new(Subject::Command);
        let told = advice(Capability::CHOWN, &[&check], &subject).unwrap_or_default();
        let line = r"RUN chown 33:33 '/tmp/x$(touch /pwned)\u{a}; id'";
        assert!(told.contains(line), "{told}");
    }
}
