//! Dockerfile lines that give executables their capabilities, so that the container need not start as root.
//!
//! What execve makes of file capabilities: [capabilities(7)][man].
//!
//! [man]: https://man7.org/linux/man-pages/man7/capabilities.7.html

use std::collections::BTreeMap;

use capaudit_core::{
    capability::{CapSet, Capability},
    recommend::{Need, Recommendation, Workload},
    text::{quoted, sanitize},
};

use super::comment::{self, Possible};

/// What root's entrypoint takes to prepare files for another user and to become that user.
const TO_DROP_ROOT: CapSet =
    CapSet::of(&[Capability::CHOWN, Capability::SETGID, Capability::SETUID]);

const HEADING: &str = "\
# File capabilities, for a container that starts as a USER other than root.
# - setcap comes with libcap2-bin (Debian, Ubuntu) or libcap (Alpine, Fedora).
# - Under no-new-privileges (allowPrivilegeEscalation: false) they do nothing.
# - The container has to be granted them as well (cap_add), or the program cannot be executed.
# - A script (#!) cannot carry them: the kernel looks at its interpreter.
# - Audit again with USER set: another user than root may need more, or less.
";

/// Lines for each container's Dockerfile. A command or process gets the same, as it may be on its way into an image.
pub fn dockerfile(recommendation: &Recommendation) -> String {
    let mut text = comment::warnings(recommendation);
    text.push_str(HEADING);
    for workload in recommendation.of_interest() {
        text.push('\n');
        text.push_str(&comment::heading(workload, Possible::Here));
        lines(&mut text, workload);
    }
    text
}

fn lines(text: &mut String, workload: &Workload) {
    if workload.cap_add_elsewhere().is_empty() {
        text.push_str(if workload.is_whole {
            "# Needs no capability: USER is enough.\n"
        } else {
            "# Needs no capability, as far as it was seen: USER may be enough.\n"
        });
    }
    for (executable, set) in by_executable(workload) {
        let kept = if workload.starts_as_root {
            let pointless = set & TO_DROP_ROOT;
            if !pointless.is_empty() {
                text.push_str(&format!(
                    "# Left out for {}: {}. Needed as root to become another user, and pointless if it starts as that one;\n# give them too if it changes to several users, as su, sshd and cron do.\n",
                    quoted(executable),
                    pointless.names().collect::<Vec<_>>().join(" ")
                ));
            }
            set - TO_DROP_ROOT
        } else {
            set
        };
        if !kept.is_empty() {
            for capability in kept {
                need_less(text, workload, capability);
            }
            give(text, executable, kept);
        }
    }
    let unplaced: CapSet = granted(workload)
        .filter(|(_, need)| need.seen_in.is_empty())
        .map(|(capability, _)| capability)
        .collect();
    if !unplaced.is_empty() {
        text.push_str(&format!(
            "# No check told which executable needs: {}\n",
            unplaced.names().collect::<Vec<_>>().join(" ")
        ));
    }
    text.push_str("# USER the-user\n");
}

/// How to give less. What root had to override may well be its next user's own.
fn need_less(text: &mut String, workload: &Workload, capability: Capability) {
    let need = workload.needs.get(&capability);
    if let Some(way) = need.and_then(|need| need.need_less.as_deref()) {
        text.push_str(&format!(
            "# To do without {}: {}\n",
            capability.name(),
            sanitize(way)
        ));
    }
}

/// Each capability that has to be given to some file, here or where defaults are other ones.
fn granted(workload: &Workload) -> impl Iterator<Item = (Capability, &Need)> {
    let only = workload.only_elsewhere();
    let elsewhere = workload.elsewhere.iter();
    let elsewhere = elsewhere.filter(move |(capability, _)| only.contains(**capability));
    let needs = workload.needs.iter().chain(elsewhere);
    needs.map(|(capability, need)| (*capability, need))
}

/// What each executable asked for.
fn by_executable(workload: &Workload) -> BTreeMap<&str, CapSet> {
    let mut sets: BTreeMap<&str, CapSet> = BTreeMap::new();
    for (capability, need) in granted(workload) {
        for used in &need.seen_in {
            sets.entry(used.program()).or_default().insert(capability);
        }
    }
    sets
}

fn give(text: &mut String, executable: &str, set: CapSet) {
    let clause = format!("{}=+ep", set.to_string().to_ascii_lowercase());
    let instruction = match instruction(executable, &clause) {
        Ok(instruction) => instruction,
        Err(why) => {
            text.push_str(&format!(
                "# Not given {clause}: {}, {why}\n",
                quoted(executable)
            ));
            return;
        }
    };
    if let Some(interpreter) = interpreter(executable) {
        text.push_str(&format!(
            "# {interpreter} gives it to every script that anybody runs: better to a copy of it that only this service may execute.\n"
        ));
    }
    text.push_str(&instruction);
    text.push('\n');
}

/// The instruction, or why there can be none.
fn instruction(executable: &str, clause: &str) -> Result<String, &'static str> {
    if !executable.starts_with('/') {
        return Err("executed by no absolute path: give it to the file");
    }
    if ["/proc/", "/dev/", "/memfd:"]
        .iter()
        .any(|prefix| executable.starts_with(prefix))
    {
        return Err("no file of the image");
    }
    if is_script(executable) {
        return Err("by its name a script: its interpreter would have to carry it");
    }
    if sanitize(executable) != executable {
        return Err("a name that cannot be written here");
    }
    if quoted(executable) == executable {
        // setcap refuses symbolic links (cap_set_file of libcap), and execve followed them.
        return Ok(format!(
            "RUN setcap {clause} \"$(readlink -f {executable})\""
        ));
    }
    // In this form no shell reads the name.
    serde_json::to_string(&["setcap", clause, executable])
        .map(|words| format!("RUN {words}"))
        .map_err(|_error| "a name that cannot be written here")
}

/// Whether the name ends as scripts' names do.
fn is_script(executable: &str) -> bool {
    const ENDINGS: [&str; 7] = [".sh", ".bash", ".py", ".pl", ".rb", ".js", ".php"];
    ENDINGS.iter().any(|ending| executable.ends_with(ending))
}

/// The interpreter's name, if the executable is one by its name, with or without a version.
fn interpreter(executable: &str) -> Option<&str> {
    const NAMES: [&str; 13] = [
        "sh", "bash", "dash", "ash", "zsh", "busybox", "python", "perl", "ruby", "node", "php",
        "java", "lua",
    ];
    let name = executable.rsplit('/').next()?;
    let unversioned = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    NAMES.contains(&unversioned).then_some(name)
}

#[cfg(test)]
mod tests {
    use capaudit_core::{
        advise::Evidence,
        recommend::sample::{container, recommendation, used_by},
        report::SubjectReport,
    };

    use super::*;

    /// A container of which one executable needs all of these.
    fn of(executable: &str, names: &[&str]) -> SubjectReport {
        let needs: Vec<_> = names
            .iter()
            .map(|name| (*name, Evidence::Decisive))
            .collect();
        let mut subject = container("web", "", &needs);
        for capability in &mut subject.capabilities {
            capability.seen_in.push(used_by(executable));
        }
        subject
    }

    fn lines_of(subject: SubjectReport) -> String {
        let text = dockerfile(&recommendation(vec![subject]));
        text.strip_prefix(HEADING)
            .unwrap_or("no heading")
            .to_owned()
    }

    #[test]
    fn what_drops_root_is_left_out_aloud() {
        assert_eq!(
            lines_of(of(
                "/usr/sbin/nginx",
                &["CHOWN", "SETUID", "NET_BIND_SERVICE", "SYS_NICE"]
            )),
            "
# web, image nginx:1
# Left out for /usr/sbin/nginx: CHOWN SETUID. Needed as root to become another user, and pointless if it starts as that one;
# give them too if it changes to several users, as su, sshd and cron do.
RUN setcap cap_net_bind_service,cap_sys_nice=+ep \"$(readlink -f /usr/sbin/nginx)\"
# USER the-user
"
        );
    }

    #[test]
    fn what_another_user_needed_is_all_given() {
        let mut subject = of("/usr/bin/su", &["SETUID"]);
        subject.uid = 1000;
        let text = lines_of(subject);
        assert!(text.contains("\nRUN setcap cap_setuid=+ep "), "{text}");
        assert!(!text.contains("Left out"), "{text}");
    }

    #[test]
    fn every_executable_gets_its_own() {
        let mut subject = of("/bin/a", &["KILL", "NET_RAW"]);
        subject.capabilities[1].seen_in.push(used_by("/bin/b"));
        let text = lines_of(subject);
        assert!(text.contains("RUN setcap cap_kill,cap_net_raw=+ep \"$(readlink -f /bin/a)\"\nRUN setcap cap_net_raw=+ep \"$(readlink -f /bin/b)\"\n"), "{text}");
    }

    #[test]
    fn what_cannot_carry_capabilities_is_told_and_not_given() {
        for executable in [
            "nginx",
            "/proc/self/fd/5",
            "/entrypoint.sh",
            "/a\nb",
            "/\u{202e}",
        ] {
            let text = lines_of(of(executable, &["KILL"]));
            assert!(!text.contains("\nRUN"), "{text}");
            assert!(text.contains("\n# Not given cap_kill=+ep: "), "{text}");
        }
    }

    #[test]
    fn how_to_do_without_is_told() {
        let mut subject = of("/bin/a", &["KILL"]);
        subject.capabilities[0].need_less = Some("ask\nnicely".to_owned());
        let text = lines_of(subject);
        assert!(
            text.contains("# To do without KILL: ask\\u{a}nicely\nRUN "),
            "{text}"
        );
    }

    #[test]
    fn no_shell_reads_an_odd_name() {
        let text = lines_of(of("/opt/a b$(id)\"", &["KILL"]));
        assert!(
            text.contains("\nRUN [\"setcap\",\"cap_kill=+ep\",\"/opt/a b$(id)\\\"\"]\n"),
            "{text}"
        );
    }

    #[test]
    fn interpreters_are_warned_of() {
        for executable in ["/bin/sh", "/usr/bin/python3.11", "/usr/bin/perl"] {
            let text = lines_of(of(executable, &["KILL"]));
            assert!(text.contains(" gives it to every script"), "{text}");
        }
        assert_eq!(interpreter("/usr/sbin/nginx"), None);
    }

    #[test]
    fn needs_without_a_place_are_told() {
        let text = lines_of(container("web", "", &[("KILL", Evidence::Possible)]));
        assert!(
            text.contains("# No check told which executable needs: KILL\n"),
            "{text}"
        );
    }

    #[test]
    fn a_workload_without_needs_only_wants_a_user() {
        let text = lines_of(container("web", "", &[]));
        assert!(
            text.contains("# Needs no capability: USER is enough.\n"),
            "{text}"
        );
    }
}
