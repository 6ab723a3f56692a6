//! What else runs when no command is given: sets enforced by a BPF LSM program, where the kernel lets one load.
//!
//! A command, and what stands in for a container that a daemon starts: a process tree in mount and pid namespaces of its
//! own that does not descend from the command. Each does something that it needs a capability for, and something that it
//! can do without; leaving out one at a time has to tell which is which.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::audits::{CANNOT_TRACE, describe};
use super::initramfs::Step;
use super::results::Outcome;

/// A command whose minimal set is known.
struct Enforcement {
    name: &'static str,
    /// Shell script that runs before, in the background.
    daemon: &'static str,
    command: &'static str,
    /// What is left, and each has its proof.
    needs: &'static [&'static str],
    /// What is left out.
    removed: &'static [&'static str],
}

const ENFORCEMENTS: [Enforcement; 2] = [
    Enforcement {
        name: "command",
        daemon: "true",
        command: "touch /tmp/l; chown 1:1 /tmp/l && chroot / true || exit 9; \
                  mknod /tmp/l.null c 1 3; rm -f /tmp/l.null",
        needs: &["CHOWN", "SYS_CHROOT"],
        removed: &["MKNOD"],
    },
    Enforcement {
        name: "container",
        daemon: "while sleep 0.1; do \
                     if [ -e /tmp/c.go ]; then \
                         rm /tmp/c.go; \
                         unshare -m -p -f sh -c \"touch /tmp/c; mknod /tmp/c.null c 1 3; rm -f /tmp/c.null; \
                             chown 1:1 /tmp/c && touch /tmp/c.ok\"; \
                         touch /tmp/c.done; \
                     fi; \
                 done",
        command: "rm -f /tmp/c.ok /tmp/c.done; touch /tmp/c.go; until [ -e /tmp/c.done ]; do sleep 0.1; done; \
                  test -e /tmp/c.ok",
        needs: &["CHOWN"],
        removed: &["MKNOD"],
    },
];

#[derive(Deserialize)]
struct Report {
    verification: Verification,
}

#[derive(Deserialize)]
struct Verification {
    passed: bool,
    set: Vec<String>,
    proofs: Vec<Proof>,
    removed: Vec<Member>,
}

#[derive(Deserialize)]
struct Proof {
    #[serde(flatten)]
    of: Member,
    exit_status: i32,
}

#[derive(Deserialize)]
struct Member {
    capability: String,
}

impl Enforcement {
    fn label(&self) -> String {
        format!("{} limited by lsm", self.name)
    }

    fn report_name(&self) -> String {
        format!("lsm-{}.json", self.name)
    }

    fn step(&self) -> Step {
        let (daemon, command, report) = (self.daemon, self.command, self.report_name());
        // Without exec: the daemon must not become a child of capaudit, which ends what a run leaves behind.
        Step {
            label: self.label(),
            script: format!(
                "( {daemon} ) >/dev/null 2>&1 &\n\
                 capaudit verify --via lsm --minimize --format json --output /out/{report} -- sh -c '{command}'\n"
            ),
        }
    }

    /// Compares what was found with what is known.
    fn judge(&self, outcome: &Outcome) -> Result<()> {
        let status = outcome.status_of(&self.label());
        ensure!(status == Some(0), "ended with {}", describe(status));
        let text = outcome
            .files
            .get(&self.report_name())
            .context("there is no report")?;
        let Report { verification } =
            serde_json::from_str(text).context("cannot read the report")?;
        let removed = verification.removed.iter().map(|member| &member.capability);
        ensure!(verification.passed, "the final set did not pass");
        ensure!(
            verification.set == self.needs,
            "left {:?}, not {:?}",
            verification.set,
            self.needs
        );
        ensure!(
            removed.clone().eq(self.removed),
            "removed {:?}, not {:?}",
            removed.collect::<Vec<_>>(),
            self.removed
        );
        let proven = verification
            .proofs
            .iter()
            .filter(|proof| proof.exit_status != 0)
            .map(|proof| &proof.of.capability);
        ensure!(
            proven.clone().eq(self.needs),
            "only {:?} have a proof",
            proven.collect::<Vec<_>>()
        );
        Ok(())
    }
}

/// The commands for the virtual machine.
pub(super) fn steps() -> Vec<Step> {
    ENFORCEMENTS.iter().map(Enforcement::step).collect()
}

/// Compares what was found with what is known, on a kernel with BPF LSM or without; returns every difference as a
/// sentence.
pub(super) fn judge(outcome: &Outcome, possible: bool) -> Vec<String> {
    let mut problems = Vec::new();
    for enforcement in &ENFORCEMENTS {
        let label = enforcement.label();
        if possible {
            if let Err(error) = enforcement.judge(outcome) {
                problems.push(format!("`{label}`: {error:#}"));
            }
        } else if outcome.status_of(&label) != Some(CANNOT_TRACE) {
            problems.push(format!(
                "`{label}` ended with {}, but the kernel cannot",
                describe(outcome.status_of(&label))
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: i32, removed: &str) -> Outcome {
        let mut outcome = Outcome::default();
        for enforcement in &ENFORCEMENTS {
            outcome.steps.push((enforcement.label(), Some(status)));
            let proofs: Vec<_> = enforcement
                .needs
                .iter()
                .map(|name| serde_json::json!({ "capability": name, "exit_status": 1 }))
                .collect();
            let report = serde_json::json!({ "verification": {
                "passed": true,
                "set": enforcement.needs,
                "proofs": proofs,
                "removed": [{ "capability": removed }],
            } });
            outcome
                .files
                .insert(enforcement.report_name(), report.to_string());
        }
        outcome
    }

    #[test]
    fn what_is_right_is_no_problem() {
        assert_eq!(judge(&outcome(0, "MKNOD"), true), Vec::<String>::new());
        assert_eq!(
            judge(&outcome(CANNOT_TRACE, "MKNOD"), false),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_wrong_is_a_problem() {
        assert_eq!(judge(&outcome(0, "KILL"), true).len(), ENFORCEMENTS.len());
        assert_eq!(judge(&outcome(3, "MKNOD"), true).len(), ENFORCEMENTS.len());
        assert_eq!(judge(&outcome(0, "MKNOD"), false).len(), ENFORCEMENTS.len());
    }

    #[test]
    fn commands_can_be_put_in_single_quotes() {
        assert!(ENFORCEMENTS.iter().all(|it| !it.command.contains('\'')));
    }
}
