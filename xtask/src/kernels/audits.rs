//! What runs when no command is given: commands whose capabilities are known, audited through every hook.
//!
//! Which hooks a kernel has is told by its configuration and its symbols, not by capaudit, so that a hook capaudit fails
//! to use is noticed; one that the kernel lacks has to be refused with the exit status for it. All hooks have to agree,
//! also on who in the kernel asked.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use super::initramfs::Step;
use super::report::Finding;
use super::results::Outcome;

/// capaudit's exit status where it cannot trace.
pub(super) const CANNOT_TRACE: i32 = 3;

/// Its exit status under `--strict` where something is missing from the record.
const INCOMPLETE: i32 = 4;

/// The newest of the helpers that capaudit's programs call whatever the hook (Linux 5.15).
const NEEDED_HELPER: &str = "bpf_task_pt_regs";

/// The label of the step that asks capaudit what works.
const DOCTOR: &str = "capaudit doctor";

/// The hooks, by the names that `--hook` takes.
const HOOKS: [&str; 3] = ["fexit", "tp_btf", "kprobe"];

/// A command that needs these capabilities, in the kernel's order, when root runs it.
struct Audit {
    name: &'static str,
    command: &'static str,
    needs: &'static [&'static str],
}

const AUDITS: [Audit; 7] = [
    Audit {
        name: "nothing",
        command: "true",
        needs: &[],
    },
    Audit {
        name: "chown",
        command: "touch /tmp/owned.$$ && chown 1:1 /tmp/owned.$$",
        needs: &["CHOWN"],
    },
    Audit {
        name: "identity",
        command: "su -s /bin/sh nobody -c true",
        needs: &["SETGID", "SETUID"],
    },
    Audit {
        name: "port",
        command: "timeout 10 nc -l -p 80 </dev/null >/dev/null & \
                  until echo | nc 127.0.0.1 80 2>/dev/null; do sleep 0.1; done; wait $!",
        needs: &["NET_BIND_SERVICE"],
    },
    Audit {
        name: "chroot",
        command: "chroot / true",
        needs: &["SYS_CHROOT"],
    },
    Audit {
        name: "mknod",
        command: "mknod /tmp/null.$$ c 1 3",
        needs: &["MKNOD"],
    },
    // The machine's time of day jumps back by decades and ahead again; what is recorded must not notice.
    Audit {
        name: "clock",
        command: "date -s @1000000000 && touch /tmp/late.$$ && chown 1:1 /tmp/late.$$ && date -s @2100000000",
        needs: &["CHOWN", "SYS_TIME"],
    },
];

impl Audit {
    /// What reports call the audit through a hook.
    fn label(&self, hook: &str) -> String {
        format!("{} through {hook}", self.name)
    }

    /// The name of the report on the audit through a hook.
    fn report_name(&self, hook: &str) -> String {
        format!("{}-{hook}.json", self.name)
    }

    /// The audit through a hook, for the virtual machine.
    fn step(&self, hook: &str) -> Step {
        let (report, command) = (self.report_name(hook), self.command);
        // busybox's timeout leaves a process behind that looks once a second whether its command still runs.
        let run = format!(
            "capaudit run --hook {hook} --strict --wait-children --format json --output /out/{report} -- sh -c '{command}'"
        );
        // A hook that was refused to the first audit need not be asked for again.
        let first = AUDITS[0].report_name(hook);
        let unless_refused = if report == first {
            String::new()
        } else {
            format!("[ -e /out/{first} ] || exit {CANNOT_TRACE}\n")
        };
        Step {
            label: self.label(hook),
            // Where a hook may be left in the middle for another task that comes past it, the kernel leaves that one out. Then
            // the record is incomplete, says so, and is made again, as users are told to.
            script: format!(
                "{unless_refused}for attempt in 1 2 3; do\n{run}\nstatus=$?\n[ $status = {INCOMPLETE} ] || break\ndone\nexit \
                 $status\n"
            ),
        }
    }

    /// What was found through a hook that the kernel has.
    fn finding(&self, hook: &str, outcome: &Outcome) -> Result<Finding> {
        let status = outcome.status_of(&self.label(hook));
        ensure!(
            status == Some(0),
            "ended with {} on a kernel that has the hook",
            describe(status)
        );
        let finding = Finding::parse(
            outcome
                .files
                .get(&self.report_name(hook))
                .context("there is no report")?,
        )?;
        let (found, needs) = (finding.needs.join(", "), self.needs.join(", "));
        ensure!(
            finding.needs == self.needs,
            "found [{found}], not [{needs}]"
        );
        Ok(finding)
    }
}

/// The commands for the virtual machine.
pub(super) fn steps() -> Vec<Step> {
    let doctor = Step {
        label: DOCTOR.to_owned(),
        script: "exec capaudit doctor\n".to_owned(),
    };
    let audits = HOOKS
        .into_iter()
        .flat_map(|hook| AUDITS.iter().map(move |audit| audit.step(hook)));
    std::iter::once(doctor).chain(audits).collect()
}

/// Compares what capaudit found with what is known, and hook with hook; returns every difference as a sentence.
pub(super) fn judge(outcome: &Outcome, config: &str) -> Vec<String> {
    let present = hooks(outcome, config);
    let names: Vec<_> = present.iter().copied().collect();
    println!(
        "== hooks that work on this kernel: {}",
        if names.is_empty() {
            "none".into()
        } else {
            names.join(", ")
        }
    );

    let mut problems = Vec::new();
    let doctor = outcome.status_of(DOCTOR);
    if doctor != Some(if present.is_empty() { CANNOT_TRACE } else { 0 }) {
        problems.push(format!("`{DOCTOR}` ended with {}", describe(doctor)));
    }
    for audit in &AUDITS {
        let mut first: Option<(&str, Finding)> = None;
        for hook in HOOKS {
            let label = audit.label(hook);
            if !present.contains(hook) {
                let status = outcome.status_of(&label);
                if status != Some(CANNOT_TRACE) {
                    problems.push(format!(
                        "`{label}` ended with {}, but the kernel lacks the hook",
                        describe(status)
                    ));
                }
                continue;
            }
            match (audit.finding(hook, outcome), &first) {
                (Err(error), _) => problems.push(format!("`{label}`: {error:#}")),
                (Ok(finding), None) => first = Some((hook, finding)),
                (Ok(finding), Some((other, expected))) if finding != *expected => {
                    let (these, those) = (finding.callers(), expected.callers());
                    problems.push(format!("`{label}` saw {these}, but {other} saw {those}"));
                }
                (Ok(_), Some(_)) => {}
            }
        }
    }
    problems
}

/// The hooks a kernel has, going by what it was built with and what was found in it.
pub(super) fn hooks(outcome: &Outcome, config: &str) -> BTreeSet<&'static str> {
    let configured = |option: &str| config.lines().any(|line| line == format!("{option}=y"));
    let has = |property: &str| outcome.has.contains(property);
    if !has(NEEDED_HELPER) {
        return BTreeSet::new();
    }
    let trampolines = has("btf") && configured("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS");
    let present = |hook: &&str| match *hook {
        "fexit" => trampolines && has("cap_capable"),
        "tp_btf" => has("btf") && has("__tracepoint_cap_capable"),
        _ => configured("CONFIG_KPROBES") && has("cap_capable"),
    };
    HOOKS.into_iter().filter(present).collect()
}

/// An exit status, for a sentence.
pub(super) fn describe(status: Option<i32>) -> String {
    status.map_or("no exit status".to_owned(), |status| {
        format!("exit status {status}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "CONFIG_KPROBES=y\nCONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y\n";
    const EVERYTHING: [&str; 4] = [
        NEEDED_HELPER,
        "btf",
        "cap_capable",
        "__tracepoint_cap_capable",
    ];

    fn kernel_with(has: &[&str]) -> Outcome {
        Outcome {
            has: has.iter().map(|property| (*property).to_owned()).collect(),
            ..Outcome::default()
        }
    }

    #[test]
    fn hooks_follow_from_configuration_and_symbols() {
        let without_kprobes = "# CONFIG_KPROBES is not set\n";
        for (has, config, expected) in [
            (&EVERYTHING[..], CONFIG, &["fexit", "kprobe", "tp_btf"][..]),
            (&EVERYTHING[..3], CONFIG, &["fexit", "kprobe"]),
            (&[NEEDED_HELPER, "cap_capable"], CONFIG, &["kprobe"]),
            (&EVERYTHING, without_kprobes, &["tp_btf"]),
            (&EVERYTHING[1..], CONFIG, &[]),
        ] {
            assert!(
                hooks(&kernel_with(has), config).iter().eq(expected),
                "{has:?}"
            );
        }
    }

    /// A kernel with fexit and kprobe, on which the audits went as they should but for who asked through kprobe.
    fn outcome(kprobe_caller: &str) -> Outcome {
        let mut outcome = kernel_with(&EVERYTHING[..3]);
        for step in steps() {
            let status = if step.label.ends_with("tp_btf") {
                CANNOT_TRACE
            } else {
                0
            };
            outcome.steps.push((step.label, Some(status)));
        }
        for (hook, caller) in [("fexit", "right"), ("kprobe", kprobe_caller)] {
            for audit in &AUDITS {
                let seen = |name: &&str| serde_json::json!({ "name": name, "seen_in": [{ "caller": caller }] });
                let report = serde_json::json!({
                    "session": { "complete": true, "lost_events": 0, "duration_s": 0.5 },
                    "subjects": [{
                        "kind": "command",
                        "cap_add": audit.needs,
                        "capabilities": audit.needs.iter().map(seen).collect::<Vec<_>>(),
                    }],
                });
                outcome
                    .files
                    .insert(audit.report_name(hook), report.to_string());
            }
        }
        outcome
    }

    #[test]
    fn what_is_right_is_no_problem() {
        assert_eq!(judge(&outcome("right"), CONFIG), Vec::<String>::new());
    }

    #[test]
    fn hooks_have_to_agree_on_the_caller() {
        let problems = judge(&outcome("wrong"), CONFIG);
        assert_eq!(problems.len(), AUDITS.len() - 1, "{problems:?}");
        assert_eq!(
            problems[0],
            "`chown through kprobe` saw CHOWN by wrong, but fexit saw CHOWN by right"
        );
    }

    #[test]
    fn a_hook_that_fails_is_a_problem_only_where_the_kernel_has_it() {
        let mut outcome = outcome("right");
        outcome.has.insert("__tracepoint_cap_capable".to_owned());
        let problems = judge(&outcome, CONFIG);
        assert_eq!(problems.len(), AUDITS.len(), "{problems:?}");
        assert_eq!(
            problems[0],
            "`nothing through tp_btf`: ended with exit status 3 on a kernel that has the hook"
        );
    }

    #[test]
    fn commands_can_be_put_in_single_quotes() {
        assert!(AUDITS.iter().all(|audit| !audit.command.contains('\'')));
    }
}
